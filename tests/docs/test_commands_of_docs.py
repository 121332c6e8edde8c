"""Every command of the README, the tour and other pages runs, in order, at small
budgets."""

import random
import shutil
import string
import sys

import commands_of_pages
import pytest
from commands_of_pages import (
    PYTHON,
    SKIPPED,
    blocks,
    environment,
)
from environment import REPOSITORY
from synthetic import make_corpus

from charrnn.text import sources

PAGES = [
    "README.md",
    "docs/learn/tour.md",
    "docs/use/your-text.md",
    "docs/use/lists.md",
    "docs/learn/teaching.md",
    "docs/use/music.md",
    "docs/use/fine-tuning.md",
]
"""The pages whose commands run."""
MODULE = """# The state of {0}.
class {1}:
    def {0}(self, {2}):
        if {2} > {3}:  # {1} is large
            return self.{0}({2} - 1, "{1} {2}")
        print('{0}', "{2}", {2}[{3}])
"""
LETTERS = string.ascii_letters + string.digits + string.punctuation + " "
"""Characters that every text contains."""
pytestmark = [
    pytest.mark.docs,
    pytest.mark.trained,
    pytest.mark.skipif(
        sys.platform == "win32" or shutil.which("bash") is None, reason="the pages use bash"
    ),
]


def words(number, separator, seed=0):
    """Draw words of a few letters."""
    generator = random.Random(seed)
    drawn = (
        "".join(generator.choices("abdeiklmnorstu", k=generator.randint(3, 8)))
        for _ in range(number)
    )
    return separator.join(drawn)


def source(seed):
    """Draw a module of Python."""
    drawn = [words(60, " ", seed * 100 + part).split() for part in range(4)]
    return "\n\n".join(
        MODULE.format(a, b.title(), c, len(d)) for a, b, c, d in zip(*drawn, strict=True)
    )


def write_texts(folder):
    """Write the texts that the pages name into a folder."""
    # With every letter, so that any prime of the pages is known.
    prose = "\n".join([*[LETTERS] * 3, make_corpus(num_chars=20_000).text])
    tunes = (
        f"X:{number}\nT:{LETTERS}\nM:4/4\nK:D\n{words(16, '|', number)}|]" for number in range(300)
    )
    generator = random.Random(0)
    molecules = "\n".join("C" * generator.randint(1, 9) + "S(=O)(=O)N" for _ in range(300))
    texts = {
        **dict.fromkeys(("novel.txt", "draft.txt", "alice.txt"), prose),
        **dict.fromkeys(("many.smi", "few.smi", "sulfonamides.smi"), molecules),
        "_chat.txt": "".join(f"Mara: {line}\n" for line in (LETTERS, words(900, " "))),
        "names.txt": "\n".join([*[LETTERS] * 3, words(1500, "\n")]),
        "poems.txt": "\n\n".join(words(24, " ", seed).replace(" m", "\nm") for seed in range(200)),
        "tunes.abc": "\n\n".join(tunes),
        "monday.log": "\n".join(f"{LETTERS} {words(5, ' ', day)}" for day in range(90)),
        "tuesday.log": "\n".join(words(8, " ", day) for day in range(200, 260)),
        "russian.txt": words(4000, " ").replace("e", "ä").replace("s", "й"),
        "messages.csv": "date,text\n"
        + "\n".join(f"{day},{words(6, ' ', day)}" for day in range(300)),
        "firms.csv": "id,name\n" + "\n".join(f"{row},{words(2, ' ', row)}" for row in range(300)),
        "my.py": source(99),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for part in range(6):
        project = folder / "project" / f"part{part}.py"
        project.parent.mkdir(exist_ok=True)
        project.write_text(source(part), encoding="utf-8")
    (folder / "chapters").mkdir()
    (folder / "chapters" / "one.txt").write_text(prose, encoding="utf-8")
    (folder / "poems").mkdir()
    for number in range(60):
        (folder / "poems" / f"{number}.txt").write_text(words(24, " ", number), encoding="utf-8")


@pytest.fixture
def run_page(command, tmp_path, monkeypatch):
    """Return a function that runs the commands of a page in a new folder with the texts that the
    pages name."""
    folder, library = tmp_path / "folder", tmp_path / "library"
    folder.mkdir()
    library.mkdir()
    write_texts(folder)
    for part in range(12):
        (library / f"module{part}.py").write_text(source(part), encoding="utf-8")
    # The standard library has 5 million characters: too many for a test.
    monkeypatch.setattr(
        sources,
        "standard_library",
        lambda order, folder=None, read=sources.standard_library: read(order, str(library)),
    )

    def call(arguments, where, stdin):
        if arguments[0] == PYTHON:
            with monkeypatch.context() as patch:
                patch.chdir(where)
                exec(compile(arguments[1], "the page", "exec"), {})
            return 0, "", ""
        with monkeypatch.context() as patch:
            patch.chdir(where)
            for name, value in environment(arguments).items():
                patch.setenv(name, value)
            ran = command(*commands_of_pages.small(arguments), stdin=stdin)
        return ran.code, ran.out, ran.err

    return lambda page: commands_of_pages.run_blocks(
        "".join(commands_of_pages.commands_of(language, block) for language, block in blocks(page)),
        folder,
        call,
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_the_page_run(name, run_page):
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    log = run_page(page)
    assert log.failed == []
    assert log.ran, "the page shows a command"
    assert set(log.skipped) <= {*SKIPPED}
    shown = [
        line
        for _, text in blocks(page)
        for line in text.splitlines()
        if line.lstrip("$ ").startswith("charrnn ")
    ]
    assert len(log.ran) >= len(shown)
