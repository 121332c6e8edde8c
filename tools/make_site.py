"""Make a web site of the pages: `python tools/make_site.py` writes it to the folder site/, and
`--serve` shows it in a browser.

The pages are those of the repository, in the order of docs/README.md. The site adds a search, the
included models as pages in which they write, and a reference of the Python interface with every
signature. A link that leads nowhere ends the command. Needs the extra `docs`.
"""

import argparse
import contextlib
import html
import inspect
import itertools
import posixpath
import re
import shutil
import tempfile
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

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
GONE = {
    "use/choosing": "use/your-text",
    "use/how-to": "use/your-text",
    "use/names": "use/lists",
    "use/publishing": "use/export",
}
"""Pages that other pages have taken in."""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>charrnn</title>
<style>body {{ margin: 2rem; font: 1rem/1.5 sans-serif; }}</style>
{head}
</head>
<body>
{body}
</body>
</html>
"""
"""A page between the versions."""


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
        "model expects next. [Exporting a model](docs/use/export.md#a-web-page) explains the parts of "
        "such a page, and `charrnn export RUN page.html` makes one of your own model.\n"
    ]
    for name in LIVE:
        model = charrnn.load(name)
        model.export(extra / "live" / f"{name}.html")
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


def write_interface(source: Path) -> None:
    """Write the page of the public names, whose signatures and docstrings Sphinx fills in."""
    values = {name: getattr(charrnn, name) for name in charrnn.__all__}
    functions = [name for name, value in values.items() if inspect.isfunction(value)]
    classes = [name for name, value in values.items() if inspect.isclass(value)]
    results = [name for name in classes if name not in ("Model", "Config")]
    events = get_args(charrnn.TrainEvent)
    parts = [
        _heading("Python interface", "="),
        "Every public name of ``charrnn``, made from the source code. :doc:`docs/use/python` shows "
        "how they work together.\n",
        _heading("Functions", "-"),
        *(f".. autofunction:: charrnn.{name}\n" for name in functions),
        _heading("Model", "-"),
        _class("charrnn.Model"),
        _heading("Options of sample, stream, write, samples and beam", "-"),
        "``samples`` takes the fields of ``SeveralOptions``. Those of ``sample``, ``stream`` and"
        " ``write`` are among them. ``beam`` takes the fields of ``SearchOptions``.\n",
        _class("charrnn.generation.sample_options.SeveralOptions"),
        _class("charrnn.generation.sample_options.SearchOptions"),
        _heading("Study of a model", "-"),
        "``model.study(text)`` returns it.\n",
        _class("charrnn.cells.study.Study"),
        _heading("Config", "-"),
        "The fields are the settings of a training, which :doc:`docs/look-up/reference` describes,"
        " too.\n",
        _class("charrnn.Config"),
        _heading("Results and errors", "-"),
        *(_class(f"charrnn.{name}") for name in results),
        _heading("Events of a training", "-"),
        "``charrnn.TrainEvent`` is one of these. Their module is ``charrnn.training.events``.\n",
        *(_class(f"{event.__module__}.{event.__name__}") for event in events),
    ]
    (source / "python-interface.rst").write_text("\n".join(parts), encoding="utf-8")


def _heading(title: str, line: str) -> str:
    """Return a heading of reStructuredText, underlined by the character `line`."""
    return f"{title}\n{line * len(title)}\n"


def _class(path: str) -> str:
    """Return the directive that documents a class and its members."""
    return f".. autoclass:: {path}\n   :members:\n   :inherited-members: Exception\n"


def copy_pages(source: Path) -> None:
    """Copy the pages and what they link to."""
    ignored = shutil.ignore_patterns("__pycache__")
    for path in itertools.chain.from_iterable(map(REPOSITORY.glob, COPIED)):
        if path.is_dir():
            shutil.copytree(path, source / path.name, ignore=ignored)
        else:
            shutil.copy(path, source)


def build(folder: Path, release: str) -> int:
    """Build the site of one version into a folder. Returns 0, or another number if a link is
    broken."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        extra = Path(temporary) / "extra"
        source.mkdir()
        copy_pages(source)
        write_live_models(source, extra)
        write_interface(source)
        write_program(source)
        write_navigation(source)
        (extra / "index.html").write_text(redirection("README.html"), encoding="utf-8")
        write_old_addresses(source, extra)
        options = ["-q", "-W", "--keep-going", "-c", str(CONFIGURATION), "-d", f"{temporary}/trees"]
        options += ["-D", f"html_extra_path={extra}", "-D", f"release={release}"]
        return build_main([*options, str(source), str(folder)])


def write_old_addresses(source: Path, extra: Path) -> None:
    """Let the address of each page before the folders of docs/, and of each page that is gone, lead to
    the page of today."""
    addresses = {}
    for path in source.glob("docs/*/*.md"):
        page = path.relative_to(source / "docs").with_suffix(".html").as_posix()
        addresses[posixpath.basename(page)] = page
    for old, new in GONE.items():
        addresses[f"{old}.html"] = addresses[f"{posixpath.basename(old)}.html"] = f"{new}.html"

    for old, new in addresses.items():
        page = extra / "docs" / old
        page.parent.mkdir(parents=True, exist_ok=True)
        address = posixpath.relpath(new, posixpath.dirname(old) or ".")
        page.write_text(redirection(address), encoding="utf-8")


def redirection(address: str) -> str:
    """Return a page that leads to another address."""
    head = f'<meta http-equiv="refresh" content="0; url={address}">'
    return PAGE.format(head=head, body=f'<a href="{address}">charrnn</a>')


def write_versions(site: Path) -> None:
    """Write the first page of a site, which leads to its newest version, and the list of all.

    Each folder is one version. A name without a number, such as main, counts as the oldest.
    """
    names = [path.name for path in site.iterdir() if path.is_dir()]
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)], reverse=True)
    items = "".join(f'<li><a href="{name}/">{name}</a></li>\n' for name in names)
    versions = PAGE.format(head="", body=f"<h1>charrnn: all versions</h1>\n<ul>\n{items}</ul>")
    (site / "versions.html").write_text(versions, encoding="utf-8")
    (site / "index.html").write_text(redirection(f"{names[0]}/"), encoding="utf-8")


def serve(site: Path) -> None:
    """Serve a site to this machine alone, and open it in a browser, until Ctrl-C."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print(f"{address} (Ctrl-C ends)")
        webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def main() -> None:
    """Read the command line, and make the site."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "site", help="of all versions")
    parser.add_argument("--name", default=charrnn.__version__, help="of the folder of this version")
    parser.add_argument("--serve", action="store_true", help="open the site in a browser")
    options = parser.parse_args()

    release = charrnn.__version__
    if options.name != release:
        release += f" ({options.name})"
    if build(options.folder / options.name, release) != 0:
        raise SystemExit(1)

    write_versions(options.folder)
    if options.serve:
        serve(options.folder)


if __name__ == "__main__":
    main()
