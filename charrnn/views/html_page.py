"""A self-contained HTML page: a text coloured by a cell, a table and a map of cells, and a page for
each cell.

Shapes: N characters, L layers, H units per layer, C cells on the page.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.views.theme import LINE_ENDS, NUM_SHADES, all_visible, shade_rules, visible

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
    entries = {entry.cell: entry for entry in page.entries}
    cells = list(entries or dict.fromkeys(row.cell for row in page.rows))
    numbers = {cell: index for index, cell in enumerate(cells)}
    num_bits = 8 if len(cells) <= FEW_CELLS else 4
    marks: dict[str, str] = {}
    names: dict[str, int] = {}
    kinds: dict[tuple[str, str, str], int] = {}
    data = {
        "title": _show(page.title),
        "shows": page.shows,
        "text": [visible(character) for character in page.text],
        "breaks": [index for index, character in enumerate(page.text) if character in LINE_ENDS],
        "begin": page.begin,
        "source": _mark(page.source or page.text, marks),
        "marks": marks,
        "bits_per_value": num_bits,
        "num_shades": NUM_SHADES,
        "dot_radius": max(4, min(16, round(180 / max(1, len(cells)) ** 0.5))),
        "cells": [
            {"name": f"{cell[0]}:{cell[1]}"}
            | _pack_values(page.cells[:, cell[0], cell[1]], num_bits)
            | (_entry(entries[cell], numbers, names, kinds) if cell in entries else {})
            for cell in cells
        ],
        "sections": [
            {"title": title, "about": about, "draw_as": draw_as} for title, about, draw_as in kinds
        ],
        "cell_columns": [
            {
                "name": _show(column.name),
                "about": _show(column.about),
                "is_number": column.is_number,
            }
            for column in page.cell_columns
        ],
        "bits": [round(bits, 2) if bits == bits else None for bits in page.bits],
        "guesses": [_guesses(after, names) for after in page.guesses],
        "columns": list(map(_show, page.columns)),
        "rows": [
            {
                "shown": list(map(_show, row.shown)),
                "cell": numbers[row.cell],
                "detector": _show(row.detector),
            }
            for row in page.rows
        ],
        "notes": list(map(_show, page.notes)),
        "labels": {_show(name): _pack(labels) for name, labels in page.labels.items()},
        "names": list(names),
    }
    encoded = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A character that can be printed takes a third of the space of its escape. Without "<" no value
    # ends the script.
    encoded = re.sub(
        r"[^ -~]",
        lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1],
        encoded,
    )
    encoded = encoded.replace("<", "\\u003c")
    return (
        TEMPLATE.read_text(encoding="utf-8")
        .replace("SHADES", shade_rules(), 1)
        .replace("DATA", encoded, 1)
    )


def _guesses(after: Sequence[tuple[str, float]], names: dict[str, int]) -> list[int]:
    """Return the number of each guess in `names`, followed by its probability in thousandths."""
    pairs = (
        (names.setdefault(_show(shown), len(names)), round(1000 * share)) for shown, share in after
    )
    return [number for pair in pairs for number in pair]


def _entry(
    entry: CellEntry,
    numbers: Mapping[tuple[int, int], int],
    names: dict[str, int],
    kinds: dict[tuple[str, str, str], int],
) -> dict[str, Any]:
    """Return the data of a cell. `names` and `kinds` number the names of figures and the kinds of
    sections."""
    sections = []
    for section in entry.sections:
        kind = (_show(section.title), _show(section.about), section.draw_as)
        sections.append([kinds.setdefault(kind, len(kinds)), _content(section, numbers, names)])
    data: dict[str, Any] = {"shown": list(map(_plain, entry.shown)), "sections": sections}
    data |= {"label": _show(entry.label)} if entry.label else {}
    data |= {"is_found": _show(entry.found)} if entry.found else {}
    return data | (
        {"place": [round(side, 4) for side in entry.place]} if entry.place is not None else {}
    )


def _content(
    section: PagePart, numbers: Mapping[tuple[int, int], int], names: dict[str, int]
) -> Any:
    """Return the content of a section as data."""
    content = section.content
    if section.draw_as == "text":
        return _show(content)
    if section.draw_as == "histogram":
        low, high, counts = content
        unit = max(1, max(counts, default=0) / MOST_COUNTS)
        return {
            "low": _number(low),
            "high": _number(high),
            "counts": [round(count / unit) for count in counts],
        }
    if section.draw_as == "cells":
        return [[numbers[cell], _number(number)] for cell, number in content if cell in numbers]
    if section.draw_as == "passages":
        return [
            [_show(one.title), one.begin, len(one.values), *pack(one.values)] for one in content
        ]
    return [[names.setdefault(_show(name), len(names)), _plain(one)] for name, one in content]


def _plain(one: str | float | None) -> str | float | None:
    return _show(one) if isinstance(one, str) else _number(one)


def _number(number: float | None) -> float | None:
    """Round to four digits; None for a number that is not finite."""
    return float(f"{number:.4g}") if number is not None and np.isfinite(number) else None


def _mark(text: str, marks: dict[str, str]) -> str:
    """Return a text as it is shown, one code point per character.

    Characters that are shown as several, such as tabs, become code points of the private use area;
    `marks` receives how each of them is shown.
    """
    known: dict[str, str] = {}
    for character in dict.fromkeys(text):
        shown = visible(character)
        if len(shown) != 1 or MARK <= ord(shown) < MARK + NUM_MARKS:
            mark = chr(MARK + len(marks) % NUM_MARKS)
            marks[mark], shown = shown, mark
        known[character] = shown
    return "".join(known[character] for character in text)


def _show(text: str) -> str:
    return "␣" if text == " " else all_visible(text)


def _pack_values(values: NDArray[np.float32], num_bits: int) -> dict[str, Any]:
    """Return values (N,) as levels of 8 bits, of [-1, 1], or of 4 bits, of the range that they
    reach."""
    packed, scale = (_pack(127 * values), 1.0) if num_bits == 8 else pack(values)
    return {"values": packed, "scale": scale}


def _pack(values: NDArray[Any]) -> str:
    return base64.b64encode(np.rint(np.nan_to_num(values)).astype(np.int8).tobytes()).decode(
        "ascii"
    )


def pack(values: NDArray[np.float32]) -> tuple[str, float | None]:
    """Encode values (N,) as (base64, scale): levels from -7 to 7 in units of scale / 7.

    There are two in a byte, the first in its upper half. The scale is the largest absolute value,
    to four digits.
    """
    scale = float(np.abs(values).max(initial=0))
    levels = np.zeros(len(values) + len(values) % 2, np.int8)
    if scale > 0:
        levels[: len(values)] = np.rint(NUM_LEVELS * (values / scale))
    pairs = (levels[::2] << 4) | (levels[1::2] & 15)
    return base64.b64encode(pairs.astype(np.int8).tobytes()).decode("ascii"), _number(scale)
