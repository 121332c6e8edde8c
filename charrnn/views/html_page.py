"""A self-contained HTML page: a text coloured by a cell, a table and a map of cells, and a page for
each cell.

Shapes: N characters, L layers, H units per layer, C cells on the page.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.views.theme import (
    LINE_ENDS,
    NUM_SHADES,
    end_note,
    shade_rules,
    shown_at_each,
    shown_character,
)

TEMPLATE = Path(__file__).with_name("html_page.html")
"""The page without its data."""
CHARS_ON_PAGE = 8_000
"""Characters that a page shows, at most."""
VALUE_BYTES = 2_200_000
"""Bytes of the values of all cells over the text of a page, before they are encoded as base64."""
FEW_CELLS = 64
"""Up to so many cells, each value has 8 bits; the values of more cells have 4."""
MOST_COUNTS = 999
"""Counts of a histogram are scaled down to this largest one: its bars are not higher than so many
pixels."""
MARK = 0xE000
"""The first code point for characters that are shown as several: the private use area of Unicode,
to U+F8FF."""
NUM_MARKS = 0x1900
"""Code points of that area."""
NUM_LEVELS = 7
"""Levels on either side of 0."""


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """A row of the table of findings: its columns, the cell (layer, unit) it selects, the detector
    the cell follows."""

    shown: Sequence[str]
    cell: tuple[int, int]
    detector: str = ""


@dataclass(frozen=True, kw_only=True)
class CellColumn:
    """A column of the table of all cells."""

    name: str
    about: str
    is_number: bool = True


@dataclass(frozen=True, kw_only=True)
class ShownPassage:
    """A segment of the page's source, and the values (n,) of a cell there."""

    title: str
    begin: int
    values: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class PagePart:
    """A section of the page of a cell.

    `draw_as` is `text` (a string), `figures` or `bars` (names with a number, figures also with a
    string), `histogram` (low, high, counts), `cells` (cells with a number) or `passages`.
    """

    title: str
    draw_as: str
    content: Any
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class CellEntry:
    """What a page shows of a cell, besides its values over the text."""

    cell: tuple[int, int]
    shown: Sequence[str | float | None]
    """Its columns in the table of all cells."""
    label: str = ""
    """The cell in a few words."""
    found: str = ""
    """Name on the map, for cells that stand out."""
    place: tuple[float, float] | None = None
    """On the map, in [0, 1] each."""
    sections: Sequence[PagePart] = ()


@dataclass(frozen=True, kw_only=True)
class HeatMapPage:
    """A text of N characters, and how a model reads it: L layers of H units, K guesses."""

    title: str
    shows: str
    """Formula of a cell's value, such as tanh(c)."""
    text: str
    cells: NDArray[np.float32]
    """Cell values (N, L, H)."""
    bits: Sequence[float]
    """Surprisal (N,) in bits; nan for a character that was not predicted."""
    guesses: Sequence[Sequence[tuple[str, float]]]
    """The K most probable next characters with their probabilities, for each of the N characters.
    """
    columns: Sequence[str]
    rows: Sequence[PageRow]
    """Rows of the table of findings."""
    labels: Mapping[str, NDArray[np.bool_]]
    """Labels (N,) by the name of a yes/no detector; they are underlined."""
    notes: Sequence[str] = ()
    """Sentences that can be unfolded."""
    source: str = ""
    """The text of which `text` is a part, and in which the passages are; `text` itself if it is
    empty."""
    begin: int = 0
    """The index of `text` in `source`."""
    cell_columns: Sequence[CellColumn] = ()
    entries: Sequence[CellEntry] = ()
    """The cells of the table of all cells, in the order of their numbers; without any, the cells of
    `rows`."""


def chars_on_page(num_cells: int) -> int:
    """Return how many characters a page shows with the values of so many cells."""
    return max(1, min(CHARS_ON_PAGE, 2 * VALUE_BYTES // max(1, num_cells)))


def to_html_page(page: HeatMapPage) -> str:
    """Return the page as HTML. The data adds only text to the template: no markup, scripts or
    control characters."""
    # The data is JSON in a script element of the template.
    data = _PageEncoder(page).data()
    encoded = json.dumps(
        data,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )

    # A character that can be printed takes a third of the space of its escape.
    encoded = re.sub(r"[^ -~]", _escape_unprintable, encoded)
    # Without "<" no value ends the script.
    encoded = encoded.replace("<", "\\u003c")

    # SHADES first: the data may contain the word.
    html = TEMPLATE.read_text(encoding="utf-8")
    html = html.replace("SHADES", shade_rules(), 1)
    return html.replace("DATA", encoded, 1)


def _escape_unprintable(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    return json.dumps(found[0]).strip('"')


Key = TypeVar("Key")


class _Numbers(dict[Key, int]):
    """Numbers from 0 for keys, in the order in which they are first asked for."""

    def __missing__(self, key: Key) -> int:
        self[key] = len(self)
        return self[key]


class _PageEncoder:
    """Encodes a page as data for the script of the template.

    Names and headings that many cells repeat are written once, and otherwise by their number.
    """

    def __init__(self, page: HeatMapPage) -> None:
        # Without a table of all cells, those of the findings.
        self.page = page
        self.entries = {entry.cell: entry for entry in page.entries}
        self.cells = list(self.entries or dict.fromkeys(row.cell for row in page.rows))
        self.num_bits = 4
        if len(self.cells) <= FEW_CELLS:
            self.num_bits = 8
        self.cell_numbers = {cell: number for number, cell in enumerate(self.cells)}
        self.names: _Numbers[str] = _Numbers()
        self.headings: _Numbers[tuple[str, str, str]] = _Numbers()
        """(title, about, draw_as) of sections."""

    def data(self) -> dict[str, Any]:
        """Return the data by its name in the script."""
        # First what numbers names and headings, then the lists of them.
        page = self.page
        cells = list(map(self._cell, self.cells))
        guesses = list(map(self._guesses, page.guesses))
        source, marks = _one_code_point_each(page.source or page.text)

        labels = {}
        for name, of_chars in page.labels.items():
            labels[shown_character(name)] = _pack(of_chars)

        return {
            "title": shown_character(page.title),
            "shows": page.shows,
            "text": shown_at_each(page.text),
            "breaks": [place for place, char in enumerate(page.text) if char in LINE_ENDS],
            "begin": page.begin,
            "source": source,
            "marks": marks,
            "bits_per_value": self.num_bits,
            "num_shades": NUM_SHADES,
            "dot_radius": max(4, min(16, round(180 / max(1, len(cells)) ** 0.5))),
            "cells": cells,
            "sections": list(map(_heading, self.headings)),
            "cell_columns": list(map(_column, page.cell_columns)),
            "bits": list(map(_bits, page.bits)),
            "guesses": guesses,
            "columns": _show_all(page.columns),
            "rows": list(map(self._row, page.rows)),
            "notes": _show_all(page.notes),
            # Of the whole source: a passage of a cell may have an END where the text has none.
            "end_note": end_note(page.source or page.text),
            "labels": labels,
            "names": list(self.names),
        }

    def _cell(self, cell: tuple[int, int]) -> dict[str, Any]:
        # Values first: they are most of the page.
        layer, unit = cell
        values = self.page.cells[:, layer, unit]
        data: dict[str, Any] = {"name": f"{layer}:{unit}"}

        # 8 bits for values of [-1, 1], 4 for those of the range that the cell reaches.
        if self.num_bits == 8:
            data["values"] = _pack(127 * values)
            data["scale"] = 1.0
        else:
            data["values"], data["scale"] = pack(values)

        entry = self.entries.get(cell)
        if entry is None:
            return data

        # What a cell does not have is missing, because there are thousands of cells.
        data["shown"] = list(map(_text_or_number, entry.shown))
        data["sections"] = list(map(self._section, entry.sections))
        if entry.label:
            data["label"] = shown_character(entry.label)
        if entry.found:
            data["is_found"] = shown_character(entry.found)
        if entry.place is not None:
            data["place"] = [round(side, 4) for side in entry.place]
        return data

    def _section(self, section: PagePart) -> list[Any]:
        heading = (shown_character(section.title), shown_character(section.about), section.draw_as)
        return [self.headings[heading], self._content(section)]

    def _content(self, section: PagePart) -> Any:
        content = section.content
        match section.draw_as:
            case "text":
                return shown_character(content)
            case "histogram":
                low, high, counts = content
                # Small counts stay as they are.
                unit = max(1, max(counts, default=0) / MOST_COUNTS)
                heights = [round(count / unit) for count in counts]
                return {"low": _number(low), "high": _number(high), "counts": heights}
            case "cells":
                # A cell that is not on the page cannot be gone to.
                numbers = self.cell_numbers
                return [[numbers[cell], _number(one)] for cell, one in content if cell in numbers]
            case "passages":
                return list(map(_passage, content))
        return [[self.names[shown_character(name)], _text_or_number(one)] for name, one in content]

    def _guesses(self, after: Sequence[tuple[str, float]]) -> list[int]:
        """Return the number of each guess, followed by its probability in thousandths."""
        # Pairs in one flat list: brackets around each would double its size.
        numbers = []
        for shown, share in after:
            numbers += [self.names[shown_character(shown)], round(1000 * share)]
        return numbers

    def _row(self, row: PageRow) -> dict[str, Any]:
        return {
            "shown": _show_all(row.shown),
            "cell": self.cell_numbers[row.cell],
            "detector": shown_character(row.detector),
        }


def _heading(heading: tuple[str, str, str]) -> dict[str, str]:
    title, about, draw_as = heading
    return {"title": title, "about": about, "draw_as": draw_as}


def _passage(passage: ShownPassage) -> list[Any]:
    packed, scale = pack(passage.values)
    return [shown_character(passage.title), passage.begin, len(passage.values), packed, scale]


def _bits(bits: float) -> float | None:
    """Return a surprisal to two digits; None for a character that was not predicted."""
    if math.isnan(bits):
        return None
    return round(bits, 2)


def _column(column: CellColumn) -> dict[str, Any]:
    return {
        "name": shown_character(column.name),
        "about": shown_character(column.about),
        "is_number": column.is_number,
    }


def _text_or_number(one: str | float | None) -> str | float | None:
    if isinstance(one, str):
        return shown_character(one)
    return _number(one)


def _number(number: float | None) -> float | None:
    """Round to four digits; None for a number that is not finite."""
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.4g}")


def _one_code_point_each(text: str) -> tuple[str, dict[str, str]]:
    """Return a text as it is shown, one code point per character, and what marks stand for.

    What is shown as several or as none, such as tabs and the parts of a grapheme cluster, becomes a
    mark: a code point of the private use area.
    """
    # In the order in which they appear: the same page gives the same bytes.
    marks: dict[str, str] = {}
    known: dict[str, str] = {}
    pieces = shown_at_each(text)
    for shown in dict.fromkeys(pieces):
        known[shown] = shown
        # A character of the private use area becomes a mark, too: it could be one.
        if len(shown) != 1 or MARK <= ord(shown) < MARK + NUM_MARKS:
            mark = chr(MARK + len(marks) % NUM_MARKS)
            marks[mark] = shown
            known[shown] = mark
    return "".join(known[shown] for shown in pieces), marks


def _show_all(texts: Sequence[str]) -> list[str]:
    return list(map(shown_character, texts))


def _pack(values: NDArray[Any]) -> str:
    """Encode rounded values (N,) as base64, a byte each; nan as 0."""
    # A byte has no nan, and 0 has no colour.
    levels = np.rint(np.nan_to_num(values)).astype(np.int8)
    return base64.b64encode(levels).decode("ascii")


def pack(values: NDArray[np.float32]) -> tuple[str, float | None]:
    """Encode values (N,) as (base64, scale): levels from -7 to 7 in units of scale / 7.

    There are two in a byte, the first in its upper half. The scale is the largest absolute value,
    to four digits.
    """
    # An odd number of values gets one more level, 0, which the script does not read.
    scale = float(np.abs(values).max(initial=0))
    levels = np.zeros(len(values) + len(values) % 2, np.int8)
    if scale > 0:
        levels[: len(values)] = np.rint(NUM_LEVELS * (values / scale))

    # Two's complement: the lower half needs a mask, the upper one is shifted.
    pairs = (levels[::2] << 4) | (levels[1::2] & 15)
    return _pack(pairs), _number(scale)
