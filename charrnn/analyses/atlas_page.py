"""Write an atlas as a self-contained HTML page: a text coloured by a cell, a table and a map of
cells, and a page for each cell.

Shapes: N characters, L layers, H units per layer, C cells on the page.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.findings import CellPassage
from charrnn.views.cell_page import Pairs, Part, passage_name, with_numbers
from charrnn.views.page_template import fill_page
from charrnn.views.theme import LINE_ENDS, end_note, shown_at_each, shown_character

TEMPLATE = Path(__file__).with_name("atlas_page.html")
"""The page without what all pages share, and without its data."""
CHARS_ON_PAGE = 8_000
"""The largest number of characters on a page."""
VALUE_BYTES = 2_200_000
"""The largest size of the values of all cells over the text of a page, in bytes, before they are
encoded as base64."""
FULL_HEIGHT = 100
"""The height of a full bar; the others are whole numbers, which take little space."""
MARK = 0xE000
"""The first code point of the marks for characters that are shown as several: the private use area
of Unicode, to U+F8FF."""
NUM_MARKS = 0x1900
"""The number of code points of the private use area."""
NUM_LEVELS = 7
"""Levels of a value on either side of 0."""


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """A row of the table of findings."""

    columns: Sequence[str]
    """The text of each column."""
    cell: tuple[int, int]
    """The cell (layer, unit) that the row selects."""
    detector: str = ""
    """The detector that the cell follows."""
    polarity: int = 1
    """-1 if the cell is drawn with its sign turned."""


@dataclass(frozen=True, kw_only=True)
class CellColumn:
    """A column of the table of all cells."""

    name: str
    about: str
    """The explanation of the column."""
    is_number: bool = True


@dataclass(frozen=True, kw_only=True)
class CellEntry:
    """A cell on the page: its row in the table of all cells, its point on the map, and its own
    page."""

    cell: tuple[int, int]
    """Layer and unit."""
    columns: Sequence[str | float | None]
    """The columns of its row in the table of all cells."""
    label: str = ""
    """The cell in a few words."""
    map_name: str = ""
    """The name on the map, for cells that stand out."""
    map_position: tuple[float, float]
    """The position (x, y) on the map, from 0 to 1."""
    parts: Sequence[Part] = ()
    """The parts of its own page."""


@dataclass(frozen=True, kw_only=True)
class HeatMapPage:
    """A text of N characters, and the values and guesses of a model that reads it: L layers of H
    units, K guesses."""

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
    """The headings of the table of findings."""
    rows: Sequence[PageRow]
    """The rows of the table of findings."""
    labels: Mapping[str, NDArray[np.bool_]]
    """Labels (N,) by the name of a yes/no detector; they are underlined."""
    notes: Sequence[str]
    """Sentences that can be unfolded."""
    source: str
    """The text around `text`, which contains the passages."""
    begin: int
    """The index of `text` in `source`."""
    cell_columns: Sequence[CellColumn]
    """The columns of the table of all cells."""
    entries: Sequence[CellEntry]
    """All cells, in the order of their numbers."""

    def to_html(self) -> str:
        """Return the page as HTML. The data adds only text to the template: no markup, scripts or
        control characters."""
        # The data is JSON in a script element of the template.
        data = _PageEncoder(self).data()
        encoded = json.dumps(
            data,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )

        # Printable characters stay, because they take a third of the space of their escapes.
        encoded = re.sub(r"[^ -~]", _escape_unprintable, encoded)
        # A value with "</script>" would end the script.
        encoded = encoded.replace("<", "\\u003c")
        return fill_page(TEMPLATE, fields={"DATA": encoded})


def chars_on_page(num_cells: int) -> int:
    """Return how many characters fit on a page that has the values of `num_cells` cells."""
    return max(1, min(CHARS_ON_PAGE, 2 * VALUE_BYTES // max(1, num_cells)))


def _escape_unprintable(character: re.Match[str]) -> str:
    if character[0].isprintable():
        return character[0]
    return json.dumps(character[0]).strip('"')


Key = TypeVar("Key")


class _Numbers(dict[Key, int]):
    """Numbers from 0 for keys, in the order in which they are first asked for."""

    def __missing__(self, key: Key) -> int:
        self[key] = len(self)
        return self[key]


class _PageEncoder:
    """Encodes a page as data for the script of the template.

    Names and headings that many cells repeat are in lists; the data of a cell has their numbers.
    """

    def __init__(self, page: HeatMapPage) -> None:
        self.page = page
        self.cell_numbers = {entry.cell: number for number, entry in enumerate(page.entries)}
        self.names: _Numbers[str] = _Numbers()
        self.headings: _Numbers[tuple[str, str, str]] = _Numbers()
        """(title, about, draw_as) of parts."""

    def data(self) -> dict[str, object]:
        """Return the data by its name in the script."""
        # Encoding the cells and guesses numbers the names and headings, which are listed below.
        page = self.page
        cells = list(map(self._cell, page.entries))
        guesses = list(map(self._guesses, page.guesses))
        source, marks = _one_code_point_each(page.source)

        labels = {}
        for name, is_on in page.labels.items():
            labels[shown_character(name)] = "".join(map(str, is_on.astype(int)))

        return {
            "title": shown_character(page.title),
            "shows": page.shows,
            "text": shown_at_each(page.text),
            "breaks": [index for index, char in enumerate(page.text) if char in LINE_ENDS],
            "begin": page.begin,
            "source": source,
            "marks": marks,
            "dot_radius": max(4, min(16, round(180 / max(1, len(cells)) ** 0.5))),
            "cells": cells,
            "parts": list(map(_heading, self.headings)),
            "cell_columns": list(map(_column, page.cell_columns)),
            # To two digits; None for a character that was not predicted.
            "bits": [None if math.isnan(bits) else round(bits, 2) for bits in page.bits],
            "guesses": guesses,
            "columns": _show_all(page.columns),
            "rows": list(map(self._row, page.rows)),
            "notes": _show_all(page.notes),
            # The passages of cells are in the source, which may have an END outside the text.
            "end_note": end_note(page.source),
            "labels": labels,
            "names": list(self.names),
        }

    def _cell(self, entry: CellEntry) -> dict[str, object]:
        layer, unit = entry.cell
        values, scale = pack(self.page.cells[:, layer, unit])
        data: dict[str, object] = {
            "name": f"{layer}:{unit}",
            "values": values,
            "scale": scale,
            "shown": list(map(_text_or_number, entry.columns)),
            "parts": [self._part(part) for part in entry.parts if part.content],
            "place": [round(coordinate, 4) for coordinate in entry.map_position],
        }
        # Empty fields are left out, because there are thousands of cells.
        if entry.label:
            data["label"] = shown_character(entry.label)
        if entry.map_name:
            data["is_found"] = shown_character(entry.map_name)
        return data

    def _part(self, part: Part) -> list[object]:
        heading = (shown_character(part.title), shown_character(part.about), part.draw_as)
        return [self.headings[heading], self._content(part)]

    def _content(self, part: Part) -> object:
        match part.draw_as:
            case "rows":
                return [[self._name(name), self._shown(shown)] for name, shown in part.content]
            case "bars":
                first, last, heights = part.content
                return [first, last, [round(FULL_HEIGHT * max(0, height)) for height in heights]]
            case "passages":
                return list(map(_passage, part.content))
        return _show_all(part.content)

    def _shown(self, shown: str | Pairs) -> object:
        """Return the text of a row, or the number of each of its names, followed by a text."""
        if isinstance(shown, str):
            return shown_character(shown)
        return [[self._name(label), number] for label, number in with_numbers(shown)]

    def _name(self, name: str) -> int:
        return self.names[shown_character(name)]

    def _guesses(self, guesses: Sequence[tuple[str, float]]) -> list[int]:
        """Return the number of each guess, followed by its probability in thousandths."""
        # A flat list: brackets around each pair would double its size.
        numbers = []
        for guess, probability in guesses:
            numbers += [self._name(guess), round(1000 * probability)]
        return numbers

    def _row(self, row: PageRow) -> dict[str, object]:
        return {
            "shown": _show_all(row.columns),
            "cell": self.cell_numbers[row.cell],
            "detector": shown_character(row.detector),
            "polarity": row.polarity,
        }


def _heading(heading: tuple[str, str, str]) -> dict[str, str]:
    title, about, draw_as = heading
    return {"title": title, "about": about, "draw_as": draw_as}


def _passage(passage: CellPassage) -> list[object]:
    packed, scale = pack(np.array(passage.values, np.float32))
    title = f"{passage_name(passage)}: {passage.value:+.2f}"
    return [title, passage.begin, len(passage.values), packed, scale]


def _column(column: CellColumn) -> dict[str, object]:
    return {
        "name": shown_character(column.name),
        "about": shown_character(column.about),
        "is_number": column.is_number,
    }


def _text_or_number(value: str | float | None) -> str | float | None:
    if isinstance(value, str):
        return shown_character(value)
    return _number(value)


def _number(number: float | None) -> float | None:
    """Round to four digits; None for a number that is not finite."""
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.4g}")


def _one_code_point_each(text: str) -> tuple[str, dict[str, str]]:
    """Return the visible form of a text with one code point per character, and the visible forms
    that its marks stand for.

    A form with several code points or none, such as a tab or a character of a grapheme cluster,
    becomes a mark: a code point of the private use area.
    """
    # In the order of the text, so that the same page gives the same bytes.
    marks: dict[str, str] = {}
    code_points: dict[str, str] = {}
    forms = shown_at_each(text)
    for form in dict.fromkeys(forms):
        code_points[form] = form
        # A character of the private use area would look like a mark, so it becomes one, too.
        if len(form) != 1 or MARK <= ord(form) < MARK + NUM_MARKS:
            mark = chr(MARK + len(marks) % NUM_MARKS)
            marks[mark] = form
            code_points[form] = mark
    return "".join(code_points[form] for form in forms), marks


def _show_all(texts: Sequence[str]) -> list[str]:
    return list(map(shown_character, texts))


def pack(values: NDArray[np.float32]) -> tuple[str, float | None]:
    """Encode values (N,) as (base64, scale): levels from -7 to 7 in units of scale / 7.

    A byte has two levels, the first of them in its upper half. The scale is the largest absolute
    value, to four digits.
    """
    # After an odd number of values comes a level of 0, which the script does not read.
    scale = float(np.abs(values).max(initial=0))
    levels = np.zeros(len(values) + len(values) % 2, np.int8)
    if scale > 0:
        levels[: len(values)] = np.rint(NUM_LEVELS * (values / scale))

    # Two's complement: the lower half of the byte needs a mask, the upper half is shifted.
    pairs = (levels[::2] << 4) | (levels[1::2] & 15)
    return base64.b64encode(pairs.tobytes()).decode("ascii"), _number(scale)
