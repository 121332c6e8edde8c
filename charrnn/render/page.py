"""A self-contained HTML page: a text coloured by the cell selected in a table, with details under the pointer."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.render.visible import LINE_ENDS, all_visible, visible

TEMPLATE = Path(__file__).with_name("page.html")
"""The page without its data."""


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """A row of the table: its columns, the cell (layer, unit) it selects, and the detector that the cell follows."""

    shown: Sequence[str]
    cell: tuple[int, int]
    detector: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
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
    """The K most probable next characters with their probabilities, for each of the N characters."""
    columns: Sequence[str]
    rows: Sequence[PageRow]
    """Rows of the table; at least one."""
    labels: Mapping[str, NDArray[np.bool_]]
    """Labels (N,) by the name of a yes/no detector; they are underlined."""
    notes: Sequence[str] = ()
    """Sentences below the table."""


def to_page(page: Page) -> str:
    """Return the page as HTML. The data adds only text to the template: no markup, scripts or control characters."""
    cells = list(dict.fromkeys(row.cell for row in page.rows))
    data = {
        "title": _show(page.title),
        "shows": page.shows,
        "text": [visible(character) for character in page.text],
        "breaks": [character in LINE_ENDS for character in page.text],
        "cells": [
            {"name": f"{layer}:{unit}", "values": _pack(127 * page.cells[:, layer, unit])} for layer, unit in cells
        ],
        "bits": [round(bits, 3) if bits == bits else None for bits in page.bits],
        "guesses": [[(_show(shown), round(share, 4)) for shown, share in after] for after in page.guesses],
        "columns": list(map(_show, page.columns)),
        "rows": [
            {"shown": list(map(_show, row.shown)), "cell": cells.index(row.cell), "detector": _show(row.detector)}
            for row in page.rows
        ],
        "notes": list(map(_show, page.notes)),
        "labels": {_show(name): _pack(labels) for name, labels in page.labels.items()},
    }
    # ASCII without "<", so that no value can end the script element.
    encoded = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("DATA", encoded, 1)


def _show(text: str) -> str:
    return "␣" if text == " " else all_visible(text)


def _pack(values: NDArray[Any]) -> str:
    return base64.b64encode(np.rint(np.nan_to_num(values)).astype(np.int8).tobytes()).decode("ascii")
