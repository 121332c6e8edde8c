"""One page of HTML that needs no network: a text whose cells are picked from a table, and told of under the pointer."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.render.visible import all_visible, visible

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """A row of the table: what it shows, which cell (layer, unit) it colours by, and the detector that it follows."""

    shown: Sequence[str]
    cell: tuple[int, int]
    detector: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A text of N characters and what a model made of it."""

    title: str
    shows: str
    """What a cell's value is, such as tanh(c)."""
    text: str
    cells: NDArray[np.float32]
    """(N, L, H)"""
    bits: Sequence[float]
    """(N,): surprisal; nan where nothing predicted the character."""
    guesses: Sequence[Sequence[tuple[str, float]]]
    """(N, K): the likeliest next characters and their probabilities."""
    columns: Sequence[str]
    rows: Sequence[PageRow]
    """At least one."""
    labels: Mapping[str, NDArray[np.bool_]]
    """Yes/no detector to its labels (N,), which are underlined."""
    notes: Sequence[str] = ()
    """Sentences that stand under the table."""


def to_page(page: Page) -> str:
    """Spell the page. Nothing in it comes from the data but text: no markup, no script, no control character."""
    cells = list(dict.fromkeys(row.cell for row in page.rows))
    data = {
        "title": _show(page.title),
        "shows": page.shows,
        "text": [visible(character) for character in page.text],
        "breaks": [character == "\n" for character in page.text],
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
    # As ASCII and without "<", so that nothing in it ends the element it stands in.
    spelled = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("DATA", spelled, 1)


def _show(text: str) -> str:
    return "␣" if text == " " else all_visible(text)


def _pack(values: NDArray[Any]) -> str:
    return base64.b64encode(np.rint(np.nan_to_num(values)).astype(np.int8).tobytes()).decode("ascii")
