"""What the manifest of a model file says of the model, for the card of a file that is made of it.

A stranger may have written the manifest. What is not as `charrnn export` writes it is left out:
nobody has measured it then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from charrnn.cells.findings import CellScore
from charrnn.config.settings import resolved
from charrnn.detectors.registry import DETECTORS
from charrnn.trained_model import TrainedModel

SENTENCES = ("text", "licence", "weights_licence", "note")
"""Facts that are a text of one line."""
_SENTENCE = re.compile(r"[^\\`\[\]<>|]{1,300}")
"""Matches a text that is no mark of Markdown or HTML of its own."""
_COMMAND = re.compile(r"charrnn train [\w ./%=+-]{1,300}", re.ASCII)
"""Matches a command that a reader can paste: it does nothing but train."""
_MEASURED = {field.name for field in fields(CellScore)} - {"detector", "probe"}


def carried_facts(model: TrainedModel) -> dict[str, Any]:
    """Return the facts that the manifest of a model file states about these weights; none of a
    run."""
    stated = _mapping(model.stated_facts)
    if model.step_digest is None or stated.get("digest") != model.step_digest:
        return {}

    # What it has read, and how to train it again.
    facts = {name: stated[name] for name in SENTENCES if _is_sentence(stated.get(name))}
    command = stated.get("command")
    if isinstance(command, str) and _COMMAND.fullmatch(command):
        facts["command"] = command

    # How good it is.
    facts["losses"] = _chosen(stated.get("losses"), is_valid=_is_loss)
    facts["intervals"] = _chosen(stated.get("intervals"), is_valid=_is_interval)

    # The cells, each with its verdict.
    cells = stated.get("cells")
    if isinstance(cells, list):
        facts["cells"] = [cell for cell in cells if _is_score(cell, model=model)]
    facts["verdicts"] = _chosen(stated.get("verdicts"), is_valid=_is_sentence)
    return facts


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _chosen(value: object, is_valid: Callable[[Any], bool]) -> dict[str, Any]:
    return {name: item for name, item in _mapping(value).items() if is_valid(item)}


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(_SENTENCE.fullmatch(value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e9


def _is_loss(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_loss, value))


def _is_score(value: Any, model: TrainedModel) -> bool:
    """Whether this is the score of a cell of the model for a built-in detector, with AUC or ρ."""
    cell = dict(_mapping(value))
    detector = cell.pop("detector", None)
    if not isinstance(detector, str) or detector not in DETECTORS or cell.pop("probe", []):
        return False

    # A number too many would be an unknown argument of the record, and no score a crash.
    scores = [cell.get(name) for name in ("auc", "spearman") if cell.get(name) is not None]
    sizes = (resolved(model.config.num_layers), resolved(model.config.hidden_size))
    return (
        cell.keys() <= _MEASURED
        and all(number is None or _is_number(number) for number in cell.values())
        and len(scores) == 1
        and cell.get("layer") in range(sizes[0])
        and cell.get("unit") in range(sizes[1])
        and cell.get("polarity") in (-1, 1)
        and cell.get("num_positive") is not None
    )
