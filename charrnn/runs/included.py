"""The models that are included in the package: model files, each with a card that describes it.

`benchmarks/cells/included_models.py` makes the models and the cards. Their training texts are not
included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

INCLUDED = Path(__file__).parents[1] / "included"
"""The folder of the models, NAME.zip, and their cards, NAME.json."""


@cache
def read_cards() -> dict[str, dict[str, Any]]:
    """Read the cards of all included models by name, in alphabetical order.

    A card has the `digest` of its model, the `text` that the model learned with the `licence` of
    the text, the `losses` on held-out text, the scores of the model's `cells` on that text, and the
    cells that `find_cells` has `found`.
    """
    paths = sorted(INCLUDED.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def card_of(digest: str | None) -> Mapping[str, Any]:
    """Return the card of the included model whose weights have this digest; empty for others."""
    # By the weights, and not by the name: another run or file may have the same.
    for card in read_cards().values():
        if card["digest"] == digest:
            return card
    return {}
