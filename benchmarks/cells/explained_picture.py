"""Draw the units of an explained network: a tile for each.

    python benchmarks/cells/explained_picture.py explained/war-and-peace-lstm-64-seed0.json \\
        docs/pictures/network-explained.svg

A tile has a square whose area is what the unit carries: how much the loss rises if the unit is held
at its mean. Its colour is what the unit follows most; the square is grey if no sentence passed.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

from rich.style import Style
from rich.text import Text

from charrnn.views.svg import COLUMN_WIDTH, GRID, INK, LINE_HEIGHT, colour_of, to_svg

COLOURS = {
    "character": "blue",
    "earlier": "cyan",
    "word": "green",
    "line": "yellow",
    "quotation": "red",
    "state": "magenta",
    "rule": "magenta",
}
"""The colour of what a unit follows most."""
MEANINGS = {
    "character": "the last character",
    "earlier": "an earlier character",
    "word": "the place in the word",
    "line": "the place in the line",
    "quotation": "quotation marks",
    "state": "another state or rule",
    "unknown": "unknown: no sentence passed",
}
"""The words of the legend."""
COLUMNS = 8
"""Tiles of a row."""
TILE_HEIGHT, SQUARE = 118.0, 62.0
"""Height of a tile, and the side of the largest square."""
LEGEND_COLUMNS = 3
"""Entries of the legend in a row."""
CAPTION = (
    "A square is a unit. Its area is how much worse the network predicts the next character if the unit",
    "stays at its mean. + the unit is highest after these characters, – lowest after these (␣ a blank,",
    "↵ the end of a line). 1 back: not the last character, but the one before it. Colour: what it follows most.",
)
"""What is written below the legend."""
SMALL = 0.62
"""The size of the text in a tile, as a share of the font size."""


def colour(kind: str) -> str:
    """Return the colour of a kind on light paper; the picture replaces it on dark paper."""
    if kind == "unknown":
        return GRID
    return colour_of(Style(color=COLOURS[kind]))


def kind_of(row: dict[str, Any]) -> str:
    """Return what a unit follows most, or unknown if its sentence did not pass."""
    if not row["passed"]:
        return "unknown"
    return "state" if row["kind"] == "rule" else str(row["kind"])


def first_words(row: dict[str, Any]) -> list[str]:
    """Return the first phrase of a sentence in at most two short lines."""
    if not row["passed"]:
        return ["unknown"]
    phrase = row["sentence"].split("; ")[0]
    high, comma, low = phrase.partition(", low ")
    if not comma:
        return [short(phrase)]
    where = {"on": "", "after": "1 back: ", "two": "2 back: "}
    lines = []
    for sign, side in (("+", high.removeprefix("high ")), ("–", low)):
        place, *characters = side.split(" ")
        characters = [one for one in characters if one != "after"]
        lines.append(f"{sign} {where.get(place, '')}{' '.join(characters)}")
    return lines


def short(phrase: str) -> str:
    """Shorten a phrase to the width of a tile."""
    words = {
        "inside double quotation marks": "in quotations",
        " with word position": " in a word",
        " with line position": " in a line",
        " with bracket depth": " with brackets",
        "where word position": "at place",
    }
    for long, brief in words.items():
        phrase = phrase.replace(long, brief)
    return phrase if len(phrase) <= 19 else f"{phrase[:18]}…"


def label(x: float, y: float, text: str, anchor: str = "start", fill: str = INK) -> str:
    """Return text whose start or middle is at x."""
    position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {position}>{escape(text)}</text>"


def square(left: float, top: float, side: float, fill: str) -> str:
    """Return a filled square."""
    position = f'x="{left:.1f}" y="{top:.1f}" width="{side:.1f}" height="{side:.1f}"'
    return f'<rect {position} fill="{fill}"/>'


def small(x: float, y: float, text: str, anchor: str = "middle") -> str:
    """Return small text whose middle, or start, is at x."""
    return f'<g transform="translate({x:.1f} {y:.1f}) scale({SMALL})">{label(0, 0, text, anchor=anchor)}</g>'


class Tiles:
    """The tiles of all units, and the legend."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows

    def to_shapes(self, columns: int) -> tuple[Sequence[Text], Sequence[str]]:
        """Return blank lines, and the elements that are drawn there."""
        width = columns * COLUMN_WIDTH
        tile = width / COLUMNS
        largest = max(row["held"] for row in self.rows)
        shapes = []
        for number, row in enumerate(self.rows):
            middle = tile * (number % COLUMNS + 0.5)
            top = TILE_HEIGHT * (number // COLUMNS)
            # The area is what the unit carries, and never less than a dot.
            side = max(4.0, SQUARE * (max(0.0, row["held"]) / largest) ** 0.5)
            left, upper = middle - side / 2, top + 12 + (SQUARE - side) / 2
            shapes.append(square(left, upper, side, colour(kind_of(row))))
            shapes.append(small(middle - tile / 2 + 16, top + 12, str(row["unit"])))
            for line, words in enumerate(first_words(row)):
                shapes.append(small(middle, top + SQUARE + 28 + 15 * line, words))
        height = TILE_HEIGHT * -(-len(self.rows) // COLUMNS) + 24

        counts = Counter(map(kind_of, self.rows))
        shown = [kind for kind in MEANINGS if counts[kind]]
        for number, kind in enumerate(shown):
            x = width / LEGEND_COLUMNS * (number % LEGEND_COLUMNS)
            y = height + 30 * (number // LEGEND_COLUMNS)
            shapes.append(square(x, y - 14, 16, colour(kind)))
            shapes.append(label(x + 24, y, f"{MEANINGS[kind]}: {counts[kind]}"))
        height += 30 * -(-len(shown) // LEGEND_COLUMNS)
        for line in CAPTION:
            shapes.append(small(0, height, line, anchor="start"))
            height += 16
        return [Text()] * ceil(height / LINE_HEIGHT), shapes


def draw(record: dict[str, Any]) -> str:
    """Return the picture of a record as SVG."""
    units = len(record["units"])
    title = (
        f"{units} units of an {record['cell']}: sentences of {record['passed']} pass their tests and"
        f" keep {record['share']:.0%} of the loss between the network and its means"
    )
    return to_svg([Tiles(record["units"])], title)


def main() -> None:
    """Draw a record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path)
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    record = json.loads(given.record.read_text(encoding="utf-8"))
    given.picture.write_text(draw(record), encoding="utf-8")


if __name__ == "__main__":
    main()
