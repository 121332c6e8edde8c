"""The figures of the pages are of today's recipe, models, cards and tables, and what their scripts
draw."""

import importlib
import re
import shlex
from html import unescape
from importlib.metadata import version
from xml.etree import ElementTree

import pytest
from environment import REPOSITORY

import charrnn
from benchmarks.losses import peers
from charrnn.cells.records import ColouredText
from charrnn.detectors.registry import get_detectors
from charrnn.views.scores import score_text
from charrnn.views.theme import Palette

DOCS = REPOSITORY / "docs"
pytestmark = pytest.mark.docs


@pytest.fixture
def load(monkeypatch):
    """Import a script of tools/."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    return importlib.import_module


@pytest.fixture
def entries(load):
    """The module that reads the entries of the figures."""
    return load("figure_entries")


def test_every_figure_is_of_the_recipe_and_the_models_of_today(entries):
    assert entries.stale_figures() == [], "see: python tools/figures.py --list"


def test_another_number_in_a_section_makes_its_figures_stale(entries, monkeypatch, tmp_path):
    monkeypatch.setattr(entries, "DOCS", tmp_path / "docs")
    log = tmp_path / "LOG.md"
    figure = {"of": ["./LOG.md#2026-one"]}
    text = "## 2026: one\n\nLoss 1.5.\n\n### More\n\n2 s.\n\n## 2026: two\n\n3 s.\n"
    versions = []
    for changed in (text, text.replace("2 s", "4 s"), text.replace("3 s", "5 s")):
        log.write_text(changed)
        versions.append(entries.version_of(figure))
    assert versions[0] == versions[2] != versions[1]
    with pytest.raises(LookupError, match="has no section 2026-three"):
        entries.read_shown("./LOG.md#2026-three")


def test_a_section_or_picture_with_a_score_of_a_card_says_so(entries):
    figures = entries.read_figures().values()
    for model in ("prose", "code"):
        card = f"card of {model}"
        named = {
            section for figure in figures if card in figure["of"] for section in figure["pages"]
        }
        drawn = {file for figure in figures if card in figure["of"] for file in figure["files"]}
        # A line with the cell and its score. Not ρ: that of the column is the same on other texts.
        scores = [score for score in charrnn.load(model).card_scores if score.auc is not None]
        lines = [rf"\b{score.layer}:{score.unit}\b.*{score_text(score)}" for score in scores]
        pattern = re.compile("|".join(lines))
        shown = {section for section, text in entries.sections() if pattern.search(text)}
        assert shown - named == set()
        pictures = {path: text_of(path) for path in DOCS.rglob("*.svg")}
        shown = {path for path, text in pictures.items() if pattern.search(text)}
        assert {path.relative_to(DOCS).as_posix() for path in shown} - drawn == set()


def text_of(picture):
    """The text of a picture, a line for each element."""
    elements = ElementTree.parse(picture).iter()
    texts = ["".join(element.itertext()) for element in elements if element.tag.endswith("text")]
    return "\n".join(texts)


def test_every_section_with_a_figure_is_named_by_an_entry(entries):
    assert entries.unnamed_sections() == [], "name it in docs/figures.yaml: pages"


def page_of(section):
    """Return the path of the page of a section."""
    page = section.partition("#")[0]
    if page == "README":
        return REPOSITORY / "README.md"
    [path] = DOCS.rglob(f"{page}.md")
    return path


def test_figures_that_take_seconds_are_those_of_their_pages(entries, command):
    figures = entries.read_figures()
    quick = [figure for figure in figures.values() if "prints" in figure]
    assert quick
    for figure in quick:
        outputs = [command(*shlex.split(call)).out for call in calls(figure)]
        output = " ".join("".join(outputs).split())
        shown = [page_of(section).read_text(encoding="utf-8") for section in figure["pages"]]
        shown += [text_of(DOCS / file) for file in figure["files"] if file.endswith(".svg")]
        text = " ".join(" ".join(shown).split())
        for printed in figure["prints"]:
            assert " ".join(printed.split()) in output
            assert " ".join(printed.split()) in text, "run: python tools/figures.py NAME"


def test_every_picture_has_an_entry_and_is_on_a_page(entries):
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    pages += (REPOSITORY / "README.md").read_text(encoding="utf-8")
    listed = [file for figure in entries.read_figures().values() for file in figure["files"]]
    pictures = [path for path in DOCS.rglob("*") if path.suffix in (".svg", ".png")]
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in pictures)
    assert [file for file in listed if file not in pages] == []


def calls(figure):
    """Return the calls of charrnn in the command of a figure."""
    return [call.strip() for call in re.findall(r"\bcharrnn ([^|&#\n]*)", figure["command"])]


@pytest.mark.parametrize("name", ["cells", "code"])
def test_a_picture_is_what_an_included_model_writes(load, tmp_path, name):
    draw = getattr(load("coloured_texts"), f"draw_{name}")
    draw(folder=tmp_path)
    drawn = tmp_path / f"{name}.svg"
    assert drawn.read_bytes() == (DOCS / "pictures" / drawn.name).read_bytes()


def test_a_picture_with_a_label_is_of_the_first_text_in_which_it_changes(load):
    coloured_texts = load("coloured_texts")
    [detector] = get_detectors(["digit"])
    texts = {1: "no number", 2: "0123456789", 3: "19 of 20", 4: "in 1812"}
    assert coloured_texts.seed_of_change(detector, lambda seed: texts.get(seed, "")) == 3
    assert coloured_texts.seed_of_change(detector, lambda seed: "") is None


def test_a_label_is_named_and_underlined_and_blue_is_inside(load):
    coloured_texts = load("coloured_texts")
    [detector] = get_detectors(["digit"])
    text = "in 1812 and so on"
    values = tuple(-1.0 if character.isdigit() else 1.0 for character in text)
    coloured = ColouredText(text=text, values=values, polarity=-1)
    picture = coloured_texts.labelled_picture(coloured, detector=detector, title="Numbers")
    assert ": inside a number" in unescape(picture).replace("\N{NO-BREAK SPACE}", " ")
    underlined = re.findall(r"\.(\S+) { [^}]*underline", picture.partition("@media")[0])
    shown = re.findall(r'<text class="([^"]*)"[^>]*>([^<]*)', picture)
    assert {text for style, text in shown if style in underlined} == {"underlined", "1812"}
    palette = Palette("light")
    blue = palette.value(1.0).bgcolor.name
    red = palette.value(-1.0).bgcolor.name
    assert re.findall('<rect fill="([^"]*)"', picture) == [blue, red, red, blue, red]


def test_the_moving_picture_of_a_training_ends_with_the_text_of_the_included_model(load):
    training = load("training_picture")
    frame = training.frame_of(charrnn.load("prose"), heading="after 5,250 steps")
    assert frame in (DOCS / "pictures" / "training.svg").read_text(encoding="utf-8")


def test_the_charts_of_programs_are_those_of_their_figures(load, tmp_path):
    pinned = f'matplotlib=={version("matplotlib")}; python_version >= "3.11"'
    if pinned not in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"):
        pytest.skip("another version of matplotlib writes other bytes")
    load("charts").draw_peers(folder=tmp_path)
    load("charts").draw_bars(folder=tmp_path)
    for path in tmp_path.iterdir():
        [saved] = DOCS.rglob(path.name)
        assert path.read_bytes() == saved.read_bytes()


def test_the_results_have_the_figures_of_the_chart():
    results = (DOCS / "look-up" / "results.md").read_text(encoding="utf-8")
    rows = peers.table_of(peers.read_rows(DOCS / "peers.csv"))
    assert [row for row in rows if f"| {row['seconds']} | {row['loss']} |" not in results] == []
