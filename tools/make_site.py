"""Make a web site of the pages: `python tools/make_site.py` writes it to the folder site/.

The pages are those of the repository, in the order of docs/README.md. The site adds a search, the
included models as pages in which they write, and a reference of the Python interface with every
signature. A link that leads nowhere ends the command. Needs the extra `docs`.
"""

import argparse
import html
import itertools
import posixpath
import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

import charrnn

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGURATION = Path(__file__).with_name("site")
"""The folder of Sphinx's conf.py, and of a style and a template."""
COPIED = ("*.md", "LICENSE", "CITATION.cff", "docs", "benchmarks", "charrnn")
"""What the pages are, and what they link to."""
LIVE = ("prose", "code")
"""The included models that write in the site."""
LIVE_OPTIONS = "temp=0.5&seed=9&length=600&write=1"
"""What their pages do when they are opened."""
FIRST = ("live-models", "docs/README")
"""The pages before the sections of docs/README.md."""


def read_sections(index: str) -> dict[str, dict[str, str]]:
    """Return the pages of each section of docs/README.md, in its order, and what is done with them.

    A page is named as Sphinx does: its path from the repository, without the suffix. Its value is the
    text of its link, which begins with a verb.
    """
    sections: dict[str, dict[str, str]] = {}
    for part in index.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        links = re.findall(r"\[([^]]+)\]\(([^)#:]+)\.md[#)]", text)
        sections[title] = {posixpath.normpath(f"docs/{link}"): task for task, link in links}
    return sections


def write_program(source: Path) -> None:
    """Write a page that shows docs/learn/examples/minimal.py, and let the other pages link to it."""
    block = "```{literalinclude} minimal.py\n:language: python\n```"
    page = f"# The whole idea in one file\n\n{block}\n"
    (source / "docs/learn/examples/minimal.md").write_text(page, encoding="utf-8")
    for path in source.glob("docs/**/*.md"):
        text = path.read_text(encoding="utf-8")
        text = text.replace("examples/minimal.py)", "examples/minimal.md)")
        path.write_text(text, encoding="utf-8")


def write_navigation(source: Path) -> None:
    """Append the order of all pages to README.md, the home of the site. Pages that docs/README.md
    does not list come last."""
    sections = read_sections((source / "docs/README.md").read_text(encoding="utf-8"))
    sections["From Python"]["python-interface"] = "Look up a name of Python"
    listed = {*FIRST, "README"}.union(*sections.values())
    paths = [*source.glob("*.md"), *source.glob("docs/**/*.md"), *source.glob("benchmarks/**/*.md")]
    names = {path.relative_to(source).with_suffix("").as_posix() for path in paths}
    sections["The project"] = dict.fromkeys(sorted(names - listed), "")

    blocks = [_toctree("", dict.fromkeys(FIRST, ""))]
    blocks += [_toctree(f":caption: {title}\n", pages) for title, pages in sections.items()]
    with (source / "README.md").open("a", encoding="utf-8") as home:
        home.write("".join(blocks))


def _toctree(caption: str, pages: dict[str, str]) -> str:
    """Return the Markdown that lists pages in the navigation, below a line for their caption, each by
    its task or, without one, by its own title."""
    lines = "\n".join(f"{task} <{page}>" if task else page for page, task in pages.items())
    return f"\n```{{toctree}}\n:hidden:\n{caption}\n{lines}\n```\n"


def write_live_models(source: Path, extra: Path) -> None:
    """Export the included models as pages, and write the page that shows them."""
    (extra / "live").mkdir(parents=True)
    parts = [
        "# Live models\n\nThe two models that come with charrnn write here, in your browser. "
        "Nothing is sent anywhere. Choose a temperature and generate, or type and see what the "
        "model expects next. Each writes [words that it has "
        "read](docs/use/generation.md#words-that-exist), unless you switch that off. [Exporting a "
        "model](docs/use/export.md#a-web-page) explains the parts of such a page, and `charrnn export RUN page.html` makes one of your own model.\n"
    ]
    for name in LIVE:
        model = charrnn.load(name)
        model.export(extra / "live" / f"{name}.html", known_words=True)
        card = model.card
        about = (
            f"It has read {card['text']} ({card['licence']}). On text that it never saw it has a loss of "
            f"{card['losses']['test']:.3f} nats per character."
        )
        address = html.escape(f"live/{name}.html#{LIVE_OPTIONS}")
        frame = f'<iframe class="live" title="The model {name}" loading="lazy" src="{address}">'
        link = f'<p><a href="{address}">Open this page alone</a></p>'
        parts.append(f"## {name}\n\n{about}\n\n{frame}</iframe>\n\n{link}\n")
    (source / "live-models.md").write_text("\n".join(parts), encoding="utf-8")


INTERFACE = """# Python interface

Every public name of `charrnn`, made from the source code. [From Python](docs/use/python.md) shows how
they work together. `samples` takes the fields of `SeveralOptions`, and `beam` those of `SearchOptions`.

```{eval-rst}
.. automodule:: charrnn
   :members:
   :imported-members:
   :inherited-members: Exception
   :special-members: __call__
.. autoclass:: charrnn.generation.sample_options.SeveralOptions
   :members:
   :inherited-members:
.. autoclass:: charrnn.generation.sample_options.SearchOptions
   :members:
   :inherited-members:
.. autoclass:: charrnn.cells.study.Study
   :members:
.. automodule:: charrnn.training.events
   :members:
```
"""
"""The page of the public names, whose signatures and docstrings Sphinx fills in."""


def copy_pages(source: Path) -> None:
    """Copy the pages and what they link to."""
    ignored = shutil.ignore_patterns("__pycache__")
    for path in itertools.chain.from_iterable(map(REPOSITORY.glob, COPIED)):
        if path.is_dir():
            shutil.copytree(path, source / path.name, ignore=ignored)
        else:
            shutil.copy(path, source)


def build(folder: Path) -> int:
    """Build the site into a folder. Returns 0, or another number if a link is broken."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        extra = Path(temporary) / "extra"
        source.mkdir()
        copy_pages(source)
        write_live_models(source, extra)
        (source / "python-interface.md").write_text(INTERFACE, encoding="utf-8")
        write_program(source)
        write_navigation(source)
        home = '<meta http-equiv="refresh" content="0; url=README.html">'
        (extra / "index.html").write_text(home, encoding="utf-8")
        options = ["-q", "-W", "--keep-going", "-c", str(CONFIGURATION), "-d", f"{temporary}/trees"]
        options += ["-D", f"html_extra_path={extra}", "-D", f"release={charrnn.__version__}"]
        return build_main([*options, str(source), str(folder)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "site")
    sys.exit(build(parser.parse_args().folder))
