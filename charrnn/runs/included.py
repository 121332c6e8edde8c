"""The models that are included in the package: model files, which `charrnn export` has written.

`benchmarks/cells/included_models.py` makes them. Their training texts are not included, and their
pages are not: exporting such a model writes its page.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from charrnn.runs.model_file import MODEL_FILE_SUFFIX, ModelFile

INCLUDED = Path(__file__).parents[1] / "included"
"""The folder of the models, NAME.zip."""


@cache
def read_cards() -> dict[str, dict[str, Any]]:
    """Read the cards of all included models by name, in alphabetical order.

    They say which names mean an included model. A card has the `digest` of its model, the `text`
    that the model learned with the `licence` of the text, the `losses` on held-out text with their
    `intervals`, and the scores of the model's `cells` on that text.
    """
    paths = sorted(INCLUDED.glob(f"*{MODEL_FILE_SUFFIX}"))
    return {path.stem: ModelFile(path).read_manifest()["card"] for path in paths}


def card_of(digest: str | None) -> Mapping[str, Any]:
    """Return the card of the included model whose weights have this digest; empty for others.

    It tells an included model by its weights, whatever the file is called now.
    """
    # By the weights, and not by the name: another run or file may have the same.
    for card in read_cards().values():
        if card["digest"] == digest:
            return card
    return {}
