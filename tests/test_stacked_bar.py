"""Stacked bars: as wide as the console, divided by shares, readable without colours."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from charrnn.views.charts import ASCII_FILLS, FILLS, MAX_WIDTH, StackedBar, part_widths

PARTS = [("n-gram", 0.5), ("memory", 0.25), ("rare word", 0.125), ("boost", 0.125)]


def lines_of(width: int, *, encoding: str = "utf-8", color: bool = False) -> list[str]:
    class Stream(StringIO):
        @property
        def encoding(self) -> str:
            return encoding

    stream = Stream()
    console = Console(
        file=stream, width=width, force_terminal=color, color_system="truecolor" if color else None, _environ={}
    )
    console.print(StackedBar(PARTS))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("shares", "width", "expected"),
    [
        ([0.5, 0.25, 0.125, 0.125], 80, [40, 20, 10, 10]),
        ([1 / 3] * 3, 10, [3, 4, 3]),
        ([0.0, 1.0], 7, [0, 7]),
        ([0.0, 0.0], 7, [0, 0]),
        ([], 7, []),
    ],
)
def test_the_parts_fill_the_width(shares: list[float], width: int, expected: list[int]) -> None:
    assert part_widths(shares, width) == expected


def test_without_colours_parts_differ_in_what_they_consist_of() -> None:
    bar, *legend = lines_of(40)
    assert bar == "".join(fill * n for fill, n in zip(FILLS, [20, 10, 5, 5], strict=False))
    assert all(len(line) <= 40 for line in legend)
    joined = "  ".join(legend)
    for (name, share), fill in zip(PARTS, FILLS, strict=False):
        assert f"{fill} {name} {share:.1%}" in joined
    assert len(lines_of(200)[0]) == MAX_WIDTH
    assert lines_of(40, encoding="ascii")[0] == "".join(
        fill * n for fill, n in zip(ASCII_FILLS, [20, 10, 5, 5], strict=False)
    )


def test_with_colours_all_parts_are_blocks() -> None:
    assert "\x1b[" in lines_of(40, color=True)[0]
    assert "▓" not in lines_of(40, color=True)[0]
