"""Charts in files: what is drawn, every name as it stands, and nothing of the user, the machine or
the process in them.

Tests `views.chart_fonts` and `views.matplotlib_settings`, too.
"""

import io
import json
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from example_results import STRAIGHT, curve
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.text import Text

from charrnn.runs.destinations import MARK_BYTES
from charrnn.runs.logs import MAX_VALUE
from charrnn.runs.overview import LearningCurves
from charrnn.views import chart_fonts
from charrnn.views.chart_files import HEX_COLOURS, draw_chart
from charrnn.views.chart_fonts import ChartFonts
from charrnn.views.charts import learning_chart, line_plot, numbered_line
from charrnn.views.delivery import FORMATS, Shown
from charrnn.views.drawing import COLOURS, GREY, Drawing, PlotLine
from charrnn.views.matplotlib_settings import matplotlib_with

CHART = learning_chart(LearningCurves([STRAIGHT, curve("beside", (10, 2.9), (30, 2.1))]))
FORMAT = pytest.mark.parametrize("format", ["svg", "png", "pdf"])


def chart_of(*names):
    """A chart of lines that lie one above the other."""
    points = [(step, 1 + 1 / step) for step in range(1, 40)]
    lines = []
    for number, name in enumerate(names):
        lines.append(numbered_line(number, name, [(x, y + number) for x, y in points]))
    return Drawing("", rows=[[line_plot(lines, x_label="steps", y_label="loss (nats)")]])


def texts_of(drawing):
    """The texts of an SVG, in the order in which they are drawn."""
    elements = ElementTree.fromstring(draw_chart(drawing, "svg")).iter()
    return [element.text for element in elements if element.tag.endswith("}text")]


def pixels_of(drawing):
    """The pixels of a PNG, as 0 to 255 for red, green and blue."""
    return np.asarray(Image.open(io.BytesIO(draw_chart(drawing, "png"))).convert("RGB"))


def num_pixels(pixels, colour):
    """How many pixels have a colour of HEX_COLOURS."""
    rgb = [int(HEX_COLOURS[colour][place : place + 2], 16) for place in (1, 3, 5)]
    return int((pixels == rgb).all(axis=2).sum())


@FORMAT
def test_a_file_has_its_mark_near_its_beginning(format):
    shown = Shown("Learning curves of " + "lamps, " * 500, pictures=[], data=[], chart=CHART)
    written = FORMATS[f".{format}"]
    assert written.mark in written.write(shown)[:MARK_BYTES]


def test_a_page_has_the_chart_above_the_other_pictures():
    pictures = [Text("a table"), CHART, Text("an example")]
    shown = Shown("Curves & <lamps>", pictures=pictures, data=[], chart=chart_of("a<b"))
    page = FORMATS[".html"].write(shown).decode()
    assert "<title>Curves &amp; &lt;lamps&gt;</title>" in page
    assert 0 < page.index(">a&lt;b</text>") < page.index("a table") < page.index("an example")
    assert "┤" not in page, "no dots"


NAMES = ["_draft", "a$b$c", "x_1^2 \\alpha", "紅樓夢", "<b>&amp;</b>", "two  blanks", "%s {0} \\n"]


def test_names_are_drawn_as_they_stand():
    assert [text for text in texts_of(chart_of(*NAMES)) if text in NAMES] == NAMES


def test_blanks_of_a_name_stay():
    root = ElementTree.fromstring(draw_chart(chart_of("two  blanks"), "svg"))
    assert root.attrib["{http://www.w3.org/XML/1998/namespace}space"] == "preserve"


def test_control_characters_are_visible():
    assert {"x␛[31m↵", "a<202e>b"} <= set(texts_of(chart_of("x\x1b[31m\n", "a\u202eb")))


def test_every_run_is_in_the_legend_in_its_order():
    names = [f"run-{number:03}" for number in range(30)]
    assert [text for text in texts_of(chart_of(*names)) if text in names] == names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["W" * 255, "many words " * 20, "語" * 80])
def test_a_long_name_is_divided_and_stays_inside(name):
    drawing = chart_of(name, "short")
    pieces = [text for text in texts_of(drawing) if set(text) <= set(name)]
    assert "".join(pieces) == name
    if "語" not in name:  # which the machine may draw in a font of its own, or not at all
        pixels = pixels_of(drawing)
        assert (pixels[:, :2] == 255).all()
        assert (pixels[:, -2:] == 255).all()


def test_the_title_stands_above_the_plots_and_the_notes_below():
    drawing = replace(chart_of("a"), title="lamps", notes=("by day",))
    pixels = pixels_of(drawing)
    for changes, begin, end in (({"title": "rivers"}, 0, 0.2), ({"notes": ("by night",)}, 0.8, 1)):
        differs = (pixels_of(replace(drawing, **changes)) != pixels).any(axis=(1, 2))
        (rows,) = np.nonzero(differs)
        assert len(rows) > 0
        assert begin * len(pixels) <= rows.min() <= rows.max() <= end * len(pixels)


def test_the_notes_and_the_title_are_drawn():
    note = "These runs learned different texts: their losses must not be compared."
    drawing = replace(chart_of("lamps"), title="What it shows", about="A dot.", notes=(note,))
    assert {"What it shows", "A dot.", note} <= set(texts_of(drawing))


@pytest.fixture
def without_fonts(monkeypatch):
    """A machine that has no other font than that of matplotlib."""
    monkeypatch.setattr(chart_fonts, "_fonts_of_machine", lambda: iter(()))


@pytest.mark.parametrize("format", ["png", "pdf"])
def test_letters_without_a_font_are_named_in_a_warning(format, without_fonts):
    with pytest.warns(RuntimeWarning, match="no font of this machine has 紅樓夢: ") as caught:
        draw_chart(chart_of("紅樓夢", "lamps\x1b"), format)
    assert len(caught) == 1
    assert "\\.svg" not in str(caught[0].message)
    assert "export a .svg" in str(caught[0].message)


def test_letters_without_a_font_are_drawn_as_their_numbers():
    fonts = ChartFonts(families=("DejaVu Sans",), missing=frozenset("紅␛"))
    assert fonts.drawn("紅 lamp\x1b") == "<7d05> lamp<1b>"
    assert fonts.missing_letters("紅 lamp\x1b紅") == "紅"


def test_letters_are_drawn_in_a_font_of_the_machine_that_has_them(monkeypatch):
    with matplotlib_with({}):
        from matplotlib.font_manager import findfont, get_font

        path = findfont("STIXGeneral")
        known = get_font(findfont(chart_fonts.FAMILY)).get_charmap()
        codes = set(get_font(path).get_charmap()) - set(known)
        # The letters of mathematics; control characters would be replaced.
        code = min(code for code in codes if code > 0x2100)
    monkeypatch.setattr(chart_fonts, "_fonts_of_machine", lambda: iter([("STIXGeneral", path)]))
    with matplotlib_with({}):
        fonts = chart_fonts.find_fonts(["lamp", chr(code)])
    assert fonts == ChartFonts(families=("DejaVu Sans", "STIXGeneral"), missing=frozenset())
    assert draw_chart(chart_of(chr(code)), "png") != draw_chart(chart_of("lamp"), "png")


def test_equal_lines_can_be_told_apart():
    points = [(step, 1 + 1 / step) for step in range(1, 100)]
    lines = [numbered_line(number, name, points) for number, name in enumerate("abc")]
    drawing = Drawing("", rows=[[line_plot(lines, x_label="steps", y_label="loss (nats)")]])
    pixels = pixels_of(drawing)
    # Those of the legend below are not counted.
    plot = pixels[: int(0.8 * len(pixels))]
    for colour in COLOURS[:2]:
        assert num_pixels(plot, colour) > 500


# What people without the cones for green (deuteranopia) or for red (protanopia) see of linear red,
# green and blue: Machado, Oliveira & Fernandes (2009), table 1, severity 1.
SEEN = {
    "all cones": np.eye(3),
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def oklab(colour, seen):
    """The place of a colour in OKLab, a space in which equal distances look equal, as it is seen."""
    share = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(to_lab) @ np.cbrt(np.array(to_cones) @ np.clip(SEEN[seen] @ linear, 0, 1))


@pytest.mark.parametrize("seen", SEEN)
def test_two_runs_have_two_colours_also_for_people_who_see_no_red_or_no_green(seen):
    places = [oklab(HEX_COLOURS[colour], seen) for colour in COLOURS]
    distances = [math.dist(*pair) for pair in combinations(places, 2)]
    assert min(distances) > 0.1
    first = [math.dist(*pair) for pair in combinations(places[:3], 2)]
    assert min(first) > 0.2


def test_forty_two_lines_differ_in_colour_mark_or_style():
    lines = [numbered_line(number, "run", []) for number in range(42)]
    assert len({(line.colour, line.mark) for line in lines}) == 42
    assert len({line.dashes for line in lines[:4]}) == 4


def test_a_grey_line_is_drawn_in_grey():
    chance = PlotLine("chance", points=[(0, 0.5), (9, 0.5)], colour=GREY, mark="×")
    plot = line_plot([chance], x_label="distance (characters)", y_label="effect (nats)")
    assert num_pixels(pixels_of(Drawing("", rows=[[plot]])), GREY) > 500


POINTS = {
    "none": [],
    "one": [(5, 2.0)],
    "equal": [(1, 2.0), (2, 2.0)],
    "not finite": [(1, math.nan), (2, math.inf), (3, -math.inf)],
    "gap": [(1, 2.0), (2, 1.5), (3, math.nan), (4, 1.0), (5, 0.5)],
}


@FORMAT
def test_any_points_are_drawn_beside_others(format):
    lines = [numbered_line(place, name, POINTS[name]) for place, name in enumerate(POINTS)]
    plot = line_plot(lines, x_label="steps", y_label="loss (nats)")
    assert draw_chart(Drawing("", rows=[[plot]]), format)


@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS)
def test_any_points_are_drawn_alone(points):
    plot = line_plot([numbered_line(0, "lamps", points)], x_label="steps", y_label="loss (nats)")
    assert "lamps" in texts_of(Drawing("", rows=[[plot]]))


def test_a_line_has_a_gap_where_a_value_is_not_finite():
    line = numbered_line(0, "gap", POINTS["gap"])
    plot = line_plot([line], x_label="steps", y_label="loss (nats)")
    drawn = draw_chart(Drawing("", rows=[[plot]]), "svg").decode()
    path, _of_legend = re.findall(r'<path d="([^"]*)" [^>]*"fill: none; stroke: #0072b2', drawn)
    assert path.count("M") == 2


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(-MAX_VALUE, MAX_VALUE), min_size=1, max_size=4))
def test_whatever_numbers_a_log_holds_are_drawn(nats):
    drawing = learning_chart(LearningCurves([curve("lamps-001", *enumerate(nats))]))
    assert ElementTree.fromstring(draw_chart(drawing, "svg")) is not None


@FORMAT
def test_a_file_has_no_date(format, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    content = draw_chart(CHART, format)
    assert re.search(rb"CreationDate|dc:date|tIME|\b20\d\d-\d\d-\d\d|2001", content) is None


@pytest.mark.slow
@FORMAT
def test_settings_of_this_process_neither_change_a_chart_nor_are_changed(format):
    usual = draw_chart(CHART, format)
    # It is loaded by now; older versions warn while they are.
    matplotlib = sys.modules["matplotlib"]
    with matplotlib.rc_context({"lines.linewidth": 50.0, "svg.fonttype": "path"}):
        assert draw_chart(CHART, format) == usual
        assert matplotlib.rcParams["lines.linewidth"] == 50.0


DRAW = """
import io, json, logging, os, sys, warnings
from hashlib import sha256
from charrnn.runs.overview import LearningCurves
sys.path.insert(0, sys.argv[1])
from example_results import STRAIGHT, curve
from charrnn.views.chart_files import draw_chart
from charrnn.views.charts import learning_chart

def state():
    logger = logging.getLogger("matplotlib")
    return [
        dict(os.environ), os.getcwd(), list(map(str, warnings.filters)),
        logger.handlers, logger.propagate, logger.level,
    ]

before = state()
chart = learning_chart(LearningCurves([STRAIGHT, curve("beside", (10, 2.9), (30, 2.1))]))
digests = [sha256(draw_chart(chart, format)).hexdigest() for format in ("svg", "png", "pdf")]
after = state()
changed = [str(pair) for pair in zip(before, after) if pair[0] != pair[1]]
print(json.dumps([digests, changed, "matplotlib.pyplot" in sys.modules]))
"""
PACKAGE = str(Path(chart_fonts.__file__).parents[2])
"""The folder of the package."""
HELPERS = Path(sys.modules["example_results"].__file__).parent
"""The folder of `example_results`."""


@pytest.fixture
def draw_elsewhere(process, tmp_path):
    """Draw CHART in another process, in whose folder and home matplotlib finds settings that it
    would obey; return what DRAW prints."""
    home = tmp_path / "home"
    for folder in (tmp_path, home / ".config/matplotlib"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "matplotlibrc").write_bytes(b"lines.linewidth: 50\nnonsense: \xff\n")

    def call(**environment):
        variables = {
            "HOME": str(home),
            "MPLBACKEND": "nonsense",
            "MATPLOTLIBRC": str(home / ".config/matplotlib"),
            "PYTHONPATH": PACKAGE,
        }
        ran = process("-W", "error", "-c", DRAW, HELPERS, **variables | environment)
        assert ran.stderr.decode() == ""
        return json.loads(ran.stdout)

    return call


def digests():
    """The digests of CHART in all formats."""
    return [sha256(draw_chart(CHART, format)).hexdigest() for format in ("svg", "png", "pdf")]


@pytest.mark.slow
def test_another_process_draws_the_same_bytes_and_stays_as_it_was(draw_elsewhere):
    assert draw_elsewhere(PYTHONHASHSEED="7") == [digests(), [], False]


@pytest.mark.slow
def test_nothing_is_said_where_no_folder_can_be_written(draw_elsewhere, tmp_path):
    # Not even the superuser makes a folder inside a file.
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file/home")
    drawn = draw_elsewhere(HOME=nowhere, CHARRNN_CACHE=nowhere, XDG_CACHE_HOME=nowhere)
    assert drawn == [digests(), [], False]


@pytest.mark.slow
def test_a_current_folder_that_was_removed_does_not_matter(process):
    code = """
import os
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
from charrnn.views.matplotlib_settings import matplotlib_with
with matplotlib_with({}):
    import matplotlib.figure
"""
    ran = process("-c", code, PYTHONPATH=PACKAGE)
    assert (ran.returncode, ran.stderr) == (0, b"")
