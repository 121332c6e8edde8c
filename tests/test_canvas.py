"""Drawings in characters: each dot where it belongs, in braille and in ASCII."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style

from charrnn.views.charts import Canvas

RED, BLUE = Style(color="red"), Style(color="blue")
SHARE = st.floats(0, 1)


def drawn(canvas: Canvas) -> list[str]:
    return [line.plain for line in canvas.lines()]


def test_a_character_has_eight_dots_and_ascii_counts_them() -> None:
    canvas = Canvas(1, 1, ascii_only=False)
    seen = []
    for column in (0, 1):
        for row in (1, 2 / 3, 1 / 3, 0):  # from above, as the dots 1, 2, 3, 7 and 4, 5, 6, 8 of braille
            alone = Canvas(1, 1, ascii_only=False)
            alone.dot(column, row, RED)
            seen += drawn(alone)
            canvas.dot(column, row, RED)
    assert seen == [*"⠁⠂⠄⡀⠈⠐⠠⢀"] and drawn(canvas) == ["⣿"]
    canvas = Canvas(5, 1, ascii_only=True)
    for column in range(5):
        for _ in range(column):
            canvas.dot(column / 4, 0.5, RED)
    assert drawn(canvas) == [" .:+#"]


def test_lines_are_without_holes_and_one_dot_thick() -> None:
    canvas = Canvas(4, 1, ascii_only=False)
    canvas.line((0, 0), (1, 0), RED)
    canvas.line((0, 0), (0, 1), RED)
    assert drawn(canvas) == ["⣇⣀⣀⣀"]
    steep = Canvas(2, 4, ascii_only=True)
    steep.line((0, 0), (1, 1), RED)
    assert sorted("".join(drawn(steep))) == sorted("    ....")
    steep.line((0, 0), (1, 1), RED)
    assert sorted("".join(drawn(steep))) == sorted("    ....")


def test_a_mark_stands_over_dots_and_keeps_its_style() -> None:
    canvas = Canvas(2, 1, ascii_only=False)
    canvas.mark(0, 0, "o", BLUE)
    canvas.dot(0, 0, RED)
    canvas.dot(1, 0, RED)
    canvas.dot(1, 1, BLUE)
    (line,) = canvas.lines()
    assert line.plain == "o⢈"
    assert [(span.start, span.end, span.style) for span in line.spans] == [(0, 1, BLUE), (1, 2, BLUE)]


@given(SHARE, SHARE, SHARE, SHARE, st.integers(1, 9), st.integers(1, 9), st.booleans())
@settings(max_examples=100)
def test_all_is_inside(x: float, y: float, to_x: float, to_y: float, width: int, height: int, ascii_only: bool) -> None:
    canvas = Canvas(width, height, ascii_only=ascii_only)
    canvas.line((x, y), (to_x, to_y), RED)
    lines = drawn(canvas)
    assert [len(line) for line in lines] == [width] * height
    for place in ((x, y), (to_x, to_y)):
        assert lines[canvas.row(place[1])][canvas.column(place[0])] != " "
