"""Descriptions of cells to JSON and back, for the findings of a run. What is read is checked."""

import math
from dataclasses import asdict, fields
from typing import Any

from charrnn.files import JSON
from charrnn.lab.descriptions_records import Description, DescriptionReport
from charrnn.lab.rules import MAX_TERMS

MAX_PHRASE = 1_000
"""Characters of a condition in words, at most."""
_NAMES = {field.name for field in fields(Description)}
_REPORT_NAMES = {field.name for field in fields(DescriptionReport)}
_NUMBERS = ("chosen_on", "untrained", "control", "ci_low", "ci_high", "auc", "spearman", "share")
"""Figures of a description that may be None, like its means."""
_SHARES = ("control_level", "level", "share_of_variance", "untrained_share_of_variance", "untrained_share_explained")


def report_to_json(report: DescriptionReport) -> JSON:
    """Return all fields of a report as one object."""
    value: dict[str, Any] = asdict(report)
    value["descriptions"] = [one | {"conditions": list(one["conditions"])} for one in value["descriptions"]]
    return value


def report_from_json(value: JSON, num_layers: int, num_units: int) -> DescriptionReport | None:
    """Return the report of all cells of L layers of H units; None if `value` is anything else."""
    if not isinstance(value, dict) or value.keys() != _REPORT_NAMES:
        return None
    report: dict[str, Any] = dict(value)
    has_counts = all(type(report[name]) is int and report[name] >= 0 for name in ("num_chars", "num_conditions"))
    has_shares = all(_is_number(report[name], is_needed=not name.startswith("untrained")) for name in _SHARES)
    listed = report["descriptions"]
    if not has_counts or not has_shares:
        return None
    if not isinstance(listed, list) or len(listed) != num_layers * num_units:
        return None
    descriptions = [_from_json(one, divmod(column, num_units)) for column, one in enumerate(listed)]
    known = tuple(one for one in descriptions if one is not None)
    return DescriptionReport(**{**report, "descriptions": known}) if len(known) == len(listed) else None


def _from_json(value: Any, cell: tuple[int, int]) -> Description | None:
    """Return the description of the cell (layer, unit); None if `value` is anything else."""
    if not isinstance(value, dict) or value.keys() != _NAMES or (value["layer"], value["unit"]) != cell:
        return None
    numbers_fit = all(_is_number(value[name]) for name in (*_NUMBERS, "mean_inside", "mean_outside"))
    phrases = value["conditions"]
    least, most = {"rule": (1, MAX_TERMS), "count": (1, 1), "none": (0, 0)}.get(str(value["kind"]), (1, 0))
    if not numbers_fit or not _is_number(value["score"], is_needed=True) or type(value["explained"]) is not bool:
        return None
    if not isinstance(phrases, list) or not least <= len(phrases) <= most or value["polarity"] not in (-1, 1):
        return None
    if not all(isinstance(phrase, str) and len(phrase) <= MAX_PHRASE for phrase in phrases):
        return None
    return Description(**{**value, "conditions": tuple(phrases)})


def _is_number(value: object, *, is_needed: bool = False) -> bool:
    return not is_needed if value is None else isinstance(value, float) and math.isfinite(value)
