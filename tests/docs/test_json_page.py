"""docs/look-up/json.md is written from the code, and has the fields that commands print."""

import json
import re

import pytest
from built_runs import build_chain_and_quoting
from environment import REPOSITORY, load_script

pytestmark = pytest.mark.docs

PAGE = REPOSITORY / "docs" / "look-up" / "json.md"
DAMAGED = 4
"""The exit code of `runs check` for runs that have no log, as the built ones."""
MAPS = {"config", "labels", "nats_by_run", "replaced", "settings", "tests"}
"""Fields whose value is an object that names runs, settings or the like."""
LINES = {
    "train": ["train quotes.txt --steps 2 --hidden-size 8 --out trained --json"],
    "sample": [
        "sample quoting --length 40 --seed 1 --color 0:5 --json",
        "sample quoting --length 60 --temp 0 --trace --match [a-z]{9} --json",
        "sample quoting --length 400 --temp 0 --json",
    ],
    "predict": ["predict chain abc --json"],
    "predict --trace and --within": [
        "predict --within --text twice.txt --json",
        "predict chain abcdefgabcdefg --trace --json",
    ],
    "predict --why": ["predict chain abc --why next --json"],
    "predict --numbers": ["predict four hello --numbers --backward --json"],
    "evaluate": [
        "evaluate chain quoting --text quotes.txt --windowed --json",
        "evaluate chain --ngrams --chars 600 --json",
    ],
    "evaluate --per-line": ["evaluate quoting chain --text quotes.txt --per-line --json"],
    "runs": ["runs --json"],
    "runs --plot": ["runs --plot --json"],
    "runs check": ["runs check quoting --json"],
    "corpora": ["corpora show alice --json"],
    "visualize": ["visualize quoting --find --json"],
    "visualize --cell": [
        "visualize quoting --cell 0:5 --guesses --chars 60 --json",
        "visualize quoting --cell 0:5 --detector quote --chars 60 --json",
    ],
    "visualize --surprise": ["visualize quoting --surprise --chars 600 --json"],
    "visualize --gates": ["visualize gated --gates --json"],
    "visualize --gradients": ["visualize quoting --gradients --json"],
    "visualize --why": ["visualize quoting --why x --json"],
    "visualize --evidence": ["visualize quoting --evidence 0:5 --detector quote --why x --json"],
}
"""Commands of each section."""


@pytest.fixture(scope="module")
def sections():
    """The text of each section of the page."""
    parts = re.split(r"(?m)^## (.*)\n", PAGE.read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def laboratory(command, tmp_path):
    """Two runs whose weights are known, two small networks that are trained, and texts."""
    build_chain_and_quoting(tmp_path)
    (tmp_path / "twice.txt").write_text("a passage that stands here twice, as one sees. " * 2)
    command("train --recipe hello --steps 2 --out four")
    command("train quotes.txt --type lstm --steps 2 --hidden-size 8 --out gated")


def keys_of(value):
    """Return the names of all fields of a value."""
    found = set()
    if isinstance(value, dict):
        for name, entry in value.items():
            found.add(name)
            if name not in MAPS:
                found |= keys_of(entry)
    elif isinstance(value, list):
        for entry in value:
            found |= keys_of(entry)
    return found


def test_the_page_is_that_of_the_code():
    script = load_script(REPOSITORY / "tools" / "make_json_page.py")
    assert script.make_page() == PAGE.read_text("utf-8"), "run: python tools/make_json_page.py"


@pytest.mark.trained
@pytest.mark.usefixtures("laboratory")
@pytest.mark.parametrize("heading", LINES)
def test_a_section_has_the_fields_that_its_command_prints(heading, sections, command):
    printed = set()
    for line in LINES[heading]:
        ran = command(line)
        assert ran.code in (0, DAMAGED), ran.err
        for record in ran.out.splitlines():
            printed |= keys_of(json.loads(record))
    # A section may send to another one for an object that both have.
    texts = [sections[heading]]
    for name, text in sections.items():
        if f"](#{name.replace(' ', '-')})" in sections[heading]:
            texts.append(text)
    described = {*re.findall(r"`(\w+)`", "".join(texts))}
    assert printed - described == set()
