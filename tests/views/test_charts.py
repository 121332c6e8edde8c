"""Charts of learning curves, and dots in characters: what stands where, in a terminal and in
pictures.

Tests `views.drawing`, too.
"""

import xml.etree.ElementTree as ElementTree

import pytest
from drawn import lines as drawn
from example_results import STRAIGHT, curve
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.runs.logs import MAX_VALUE
from charrnn.runs.overview import LearningCurves
from charrnn.views.charts import (
    MAX_RISE,
    enclosing_ticks,
    learning_chart,
)
from charrnn.views.drawing import MAX_TICKS, Canvas
from charrnn.views.svg import to_svg


def chart(*curves):
    return learning_chart(LearningCurves(curves))


def test_a_loss_that_diverges_does_not_flatten_the_others():
    lines = drawn(chart(STRAIGHT, curve("wild", (10, 2.0 + MAX_RISE / 2), (20, 1e9))), 60)
    ticks = [float(line.split("┤")[0]) for line in lines if "┤" in line]
    assert ticks[0] <= 2.0 + MAX_RISE
    assert ticks[-1] <= 2.0


LOGGED = st.floats(-MAX_VALUE, MAX_VALUE, exclude_min=True, exclude_max=True)


@given(st.lists(LOGGED, min_size=1, max_size=4))
@example([353907060623169.0])
@example([3.5e14, 3.5e14 + 1 / 16])
@example([-3.5e14, 2.0])
def test_whatever_numbers_a_log_holds_are_drawn(nats):
    shown = chart(curve("lamps-001", *enumerate(nats)))
    assert any("┤" in line for line in drawn(shown)), "it has ticks"
    assert "".join(ElementTree.fromstring(to_svg([shown])).itertext()).strip()


@pytest.mark.parametrize(
    "low, high",
    [
        (2.0, 3.0),
        (1.2345, 1.2346),
        (0.0, 0.0),
        (1.0, 1.0),
        (1.31, 11.3),
        (4e-9, 7),
        (3.5e14, 3.5e14),
    ],
)
def test_ticks_enclose_every_loss_and_are_few(low, high):
    ticks = enclosing_ticks(low, high)
    values = [value for value, _ in ticks]
    assert values[0] <= low + 1e-6
    assert values[-1] >= high - 1e-6
    assert 2 <= len(ticks) <= MAX_TICKS
    assert len({shown for _, shown in ticks}) == len(ticks), "no two ticks read the same"
    assert [float(shown.replace(",", "")) for _, shown in ticks] == pytest.approx(values)


RED = "red"
SHARE = st.floats(0, 1)


def dots(canvas):
    return [line.plain for line in canvas.lines()]


@given(SHARE, SHARE, SHARE, SHARE, st.integers(1, 9), st.integers(1, 9))
def test_all_is_inside(x, y, to_x, to_y, width, height):
    canvas = Canvas(width, height)
    canvas.line([(x, y), (to_x, to_y)], RED)
    lines = dots(canvas)
    assert [len(line) for line in lines] == [width] * height
    for place in ((x, y), (to_x, to_y)):
        column, row = canvas.cell(place)
        assert lines[row][column] != " "
