"""The models that come with the package: model files, each beside a card that says what is known of
it.

`benchmarks/included_models.py` makes both. No text comes with them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

INCLUDED = Path(__file__).parents[1] / "included"
"""The folder of the models and of their cards, NAME.zip and NAME.json."""


@cache
def read_cards() -> dict[str, dict[str, Any]]:
    """Read the cards of all included models by name, in alphabetical order.

    A card has the `digest` of its model, the `text` that it learned with its `licence`, the
    `losses` on held-out text, the scores of its `cells` there, and the cells that are `found`.
    """
    paths = sorted(INCLUDED.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
