"""The size and shape of exported pictures."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Ran, TrainedRun
from rich.text import Text

from charrnn.cells.records import ColouredText
from charrnn.errors import UsageError
from charrnn.views.heatmap import HeatMap
from charrnn.views.svg import (
    COLUMN_WIDTH,
    FONT_SIZE,
    MARGIN,
    MAX_COLUMNS,
    MIN_COLUMNS,
    Layout,
    parse_aspect,
    to_png,
    to_svg,
)

Command = Callable[..., Ran]
PROSE = HeatMap(ColouredText(text="the lamp was lit at once " * 60, values=(0.5,) * 25 * 60))


def size_of(svg: str) -> tuple[float, float]:
    root = ElementTree.fromstring(svg)
    return float(root.get("width", "")), float(root.get("height", ""))


@pytest.mark.parametrize("columns", [MIN_COLUMNS, 100, MAX_COLUMNS])
def test_a_picture_is_as_wide_as_its_columns(columns: int) -> None:
    svg = to_svg([PROSE], layout=Layout(columns=columns))
    assert size_of(svg)[0] == pytest.approx(columns * COLUMN_WIDTH + 2 * MARGIN, abs=0.01)
    texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    lines = ["".join(element.itertext()) for element in texts]
    assert max(map(len, lines)) <= columns and len(lines[0]) > columns - 6, "words are whole"
    assert "".join(line.rstrip() + " " for line in lines) == PROSE.coloured.text


def test_the_font_scales_the_picture() -> None:
    usual, large = to_svg([PROSE]), to_svg([PROSE], layout=Layout(font_size=1.5 * FONT_SIZE))
    assert size_of(large) == pytest.approx([1.5 * size for size in size_of(usual)], abs=0.02)
    assert large.split("\n", 1)[1] == usual.split("\n", 1)[1], "the same in other units"
    assert to_svg([PROSE], layout=Layout()) == usual


@pytest.mark.parametrize("aspect", [16 / 9, 4 / 3, 1.0, 0.6, 5.0])
def test_a_slide_has_its_shape_and_is_filled(aspect: float) -> None:
    svg = to_svg([Text("cell 0:3", style="bold"), PROSE], layout=Layout(aspect=aspect))
    width, height = size_of(svg)
    assert width / height == pytest.approx(aspect, rel=1e-3)
    left, top = map(float, re.findall(r'translate\(([0-9.]+) ([0-9.]+)\)" font', svg)[0])
    assert left >= MARGIN and top >= MARGIN
    # What is left empty at the sides or above and below is little: the columns were chosen for the shape.
    assert 2 * (left - MARGIN) < 0.12 * width and 2 * (top - MARGIN) < 0.12 * height


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("16:9", 16 / 9), ("1.5", 1.5), *((wrong, None) for wrong in ("", ":", "16x9", "16:0", "nan", "inf", "16:9:4"))],
)
def test_shapes(text: str, ratio: float | None) -> None:
    if ratio is None:
        with pytest.raises(UsageError, match="give width to height, such as 16:9"):
            parse_aspect(text)
    else:
        assert parse_aspect(text) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--columns=19",), "--columns 19: a picture has 20 to 400 columns"),
        (("--font-size=nan",), "--font-size nan: a font has 4 to 200 pixels"),
        (("--font-size=1e9",), "--font-size 1e+09: a font has 4 to 200 pixels"),
        (("--aspect=-16:9",), "--aspect -1.77778: width to height is from 1:5 to 5:1"),
        (("--columns=60", "--export=x.json"), "--columns applies to exported pictures: add --export FILE.svg or"),
    ],
)
def test_absurd_layouts_are_refused(command: Command, lstm: TrainedRun, options: tuple[str, ...], message: str) -> None:
    ran = command("visualize", lstm.path, "--cell", "0:1", "--export=x.svg", *options)
    assert ran.code == 2 and message in ran.err and len(ran.err.splitlines()) <= 3
    assert [*Path().iterdir()] == []


def test_a_picture_has_the_layout_that_was_asked_for(command: Command, lstm: TrainedRun) -> None:
    layout = ("--export", "x.svg", "--aspect", "4:3", "--font-size", 30)
    assert command("visualize", lstm.path, "--surprise", "--chars", 300, *layout).code == 0
    width, height = size_of(Path("x.svg").read_text(encoding="utf-8"))
    assert width / height == pytest.approx(4 / 3, rel=1e-3)


def test_a_png_too_large_to_draw_is_refused_before_it_is_drawn() -> None:
    pytest.importorskip("resvg_py", reason="the extra `png` is not installed")
    svg = to_svg([PROSE], layout=Layout(columns=400, font_size=200, aspect=1.0))
    with pytest.raises(UsageError, match="pixels is too large; 200,000,000 pixels are the most"):
        to_png(svg)
