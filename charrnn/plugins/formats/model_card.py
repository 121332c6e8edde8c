"""The card of a model file, README.md: what a stranger must know of a model.

`model_card.md` is its text, with fields for the facts. The facts are a dictionary that the manifest
contains, too. What was not measured is missing there, and the card says that it is not known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from charrnn.cells.findings import CellScore
from charrnn.cells.study import found_scores
from charrnn.detectors.registry import get_detectors
from charrnn.runs.checkpoint import COUNTS_FILE
from charrnn.runs.config_files import CONFIG
from charrnn.runs.model_file import PAGE, PICTURE
from charrnn.runs.overview import summarize
from charrnn.runs.reader import RunReader
from charrnn.text.sources import CatalogueEntry, load_catalogue
from charrnn.trained_model import TrainedModel
from charrnn.version import __version__
from charrnn.views.tables import ends_text, meaning, score_text

TEMPLATE = Path(__file__).with_name("model_card.md")
"""The card without the facts."""
STANDARD_LIBRARY = "the standard library of Python"
"""The text that is learned where none is named."""
UNKNOWN = "not known"
"""Stands for what was not measured."""
PRIVATE = "a private text, which is not named"
"""Stands for a text that is not of the catalogue."""
PARTS = {
    "validation": "validation: the text by which the best weights were chosen",
    "test": "test: text that was used for nothing else",
    "with counts": "validation, together with counts of the training text",
}
"""What the losses of a card are measured on."""


def catalogued(model: TrainedModel) -> list[CatalogueEntry | None]:
    """Return the entry of the catalogue for each source of a model's text, None for a private
    text."""
    sources = model.config.corpus
    locations: Sequence[str | None] = ()
    if model.recorded_corpus is not None:
        locations = model.recorded_corpus.locations
    return list(map(_entry_at, map(Path, sources), locations or sources))


def _entry_at(source: Path, location: str | None) -> CatalogueEntry | None:
    path = Path(location or source)
    for entry in load_catalogue():
        if source.name in (entry.name, entry.file):
            # Another text may have the name.
            is_entry = not path.exists() or path.is_dir() or entry.is_file(path)
            return entry if is_entry else None
    return None


def facts_of(model: TrainedModel) -> dict[str, Any]:
    """Return what is known of a model: of an included model what its card says, of a run what the
    run has recorded, and the cells that were found."""
    if model.card:
        return dict(model.card)
    facts: dict[str, Any] = {"split": model.config.split, "losses": {}, "cells": []}
    if model.val_nats is not None:
        facts["losses"]["validation"] = model.val_nats
    if model.recorded_corpus is not None:
        facts["text_digest"] = model.recorded_corpus.digest

    # The text, if it is public.
    entries = catalogued(model)
    named = [entry for entry in entries if entry is not None]
    if not model.config.corpus:
        facts["text"] = STANDARD_LIBRARY
    elif len(named) == len(entries):
        facts["text"] = " ".join(f"{entry.about} {entry.address}" for entry in named)
        facts["catalogue"] = [entry.name for entry in named]
        facts["licence"] = ", ".join(dict.fromkeys(entry.licence for entry in named))
        facts["languages"] = sorted({entry.language_code for entry in named} - {""})

    # The log has the loss with counts of the best step alone.
    if model.path is not None and model.val_nats is not None:
        with_counts = summarize(RunReader(model.path)).with_counts_nats
        if with_counts is not None:
            facts["losses"]["with counts"] = with_counts

    facts["verdicts"] = {}
    for score in found_scores(model.findings):
        facts["cells"].append(score.to_json())
        place = f"{score.layer}:{score.unit} {score.detector}"
        verdict = model.findings.load("verdict", {"cell": place}, result=str)
        if verdict is not None:
            facts["verdicts"][place] = verdict
    return facts


def to_readme(
    model: TrainedModel, facts: Mapping[str, Any], *, has_page: bool, has_counts: bool
) -> str:
    """Return the card of a model with the name and the configuration that strangers may read."""
    page = "A browser cannot run this network, so there is no page of it."
    if has_page:
        page = f"Open `{PAGE}` in a browser to let it write. The page needs no server, and sends"
        page += " nothing."
    return TEMPLATE.read_text(encoding="utf-8").format(
        metadata=yaml.safe_dump(_metadata(model, facts), sort_keys=False, allow_unicode=True),
        name=model.name,
        argument=quote(model.name),
        literal=json.dumps(model.name),
        version=__version__,
        picture=PICTURE,
        page=page,
        facts=_table([("", ""), *_fact_rows(model, facts)]),
        losses=_table([("measured on", "nats per character", "95 % interval"), *_losses(facts)]),
        num_symbols=len(model.vocab),
        uniform=f"{math.log(len(model.vocab)):.3f}",
        counts=_about_counts(facts, has_counts=has_counts),
        cells=_cells(facts),
        unknown="\n".join(f"- {sentence}" for sentence in _unknown(facts)),
    )


def _metadata(model: TrainedModel, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the block of metadata that model hubs read."""
    metadata: dict[str, Any] = {
        "library_name": "charrnn",
        "license": facts.get("weights_licence", "unknown"),
        "pipeline_tag": "text-generation",
        "tags": ["charrnn", "character-level", "recurrent-neural-network", model.config.cell],
    }
    if facts.get("languages"):
        metadata["language"] = facts["languages"]
    results = []
    for part, nats in facts["losses"].items():
        text = facts.get("text", PRIVATE)
        results.append(
            {
                "task": {"type": "text-generation"},
                "dataset": {"name": f"{text}, {part}", "type": "text", "split": part},
                "metrics": [{"name": "nats per character", "type": "loss", "value": nats}],
            }
        )
    if results:
        metadata["model-index"] = [{"name": model.name, "results": results}]
    return metadata


def _fact_rows(model: TrainedModel, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    described = model.description
    names = facts.get("catalogue", [])
    text = facts.get("text", PRIVATE)
    if names:
        text += f" (`{' '.join(names)}` in the catalogue of charrnn)"

    # The command of an included model is known; config.yaml has the settings of any other.
    retrain = " ".join(names)
    if facts.get("text") is None:
        retrain = "TEXT"
    command = f"charrnn train {retrain} --recipe {CONFIG}"
    if model.config.init_from is not None:
        command = UNKNOWN
    # The shares may have any sum.
    whole = math.fsum(facts["split"])
    shares = " / ".join(f"{share / whole:.0%}" for share in facts["split"])
    return [
        ("text that it has read", text),
        ("licence of the text", facts.get("licence", UNKNOWN)),
        ("SHA-256 of the text", f"`{facts.get('text_digest', UNKNOWN)}`"),
        ("parts: training / validation / test", shares),
        ("alphabet", f"{described.symbols}, one of which stands for all others"),
        ("network", f"{described.architecture}, {described.num_parameters:,} weights"),
        ("weights", f"those of training step {model.step:,}"),
        ("licence of the weights", facts.get("weights_licence", UNKNOWN)),
        ("command that trains it again", f"`{facts.get('command', command)}`"),
    ]


def _losses(facts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of losses."""
    intervals = facts.get("intervals", {})
    for part, text in PARTS.items():
        loss = UNKNOWN
        if part in facts["losses"]:
            loss = f"{facts['losses'][part]:.4f}"
        yield text, loss, ends_text(*intervals.get(part, (None, None))) or UNKNOWN


def _cells(facts: Mapping[str, Any]) -> str:
    """Return the table of the cells, below a sentence if none was looked for."""
    head = ("cell", "property", "score", "95 % interval", "chance level", "untrained", "evidence")
    rows = []
    for fields in facts["cells"]:
        score = CellScore(**fields)
        place = f"{score.layer}:{score.unit}"
        property_of = get_detectors([score.detector])[0].looks_for
        rows.append(
            (
                place,
                f"{property_of} ({score.detector})",
                score_text(score),
                ends_text(score.ci_low, score.ci_high) or UNKNOWN,
                _number(score.null_level),
                _number(score.untrained),
                meaning(score) or facts.get("verdicts", {}).get(f"{place} {score.detector}", "-"),
            )
        )
    if not rows:
        return "Nobody has looked for cells that follow a property of the text: this is not known."
    return _table([head, *rows])


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def _unknown(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for what nobody has measured."""
    yield "How well it predicts texts of other kinds, and how much it repeats of its own text."
    if "text" not in facts:
        yield "Which text it has read, and under which licence that is. Only its owner knows."
    if "weights_licence" not in facts:
        yield "The licence of the weights: ask who published them."
    for part in PARTS.keys() - facts["losses"].keys():
        yield f"The loss on {PARTS[part]}."
    for part in facts["losses"].keys() - facts.get("intervals", {}).keys():
        yield f"How far the loss on {PARTS[part]} is from that of another sample of such texts."
    if not facts["cells"]:
        yield "What its cells follow."


def _about_counts(facts: Mapping[str, Any], *, has_counts: bool) -> str:
    """Return what a reader must know of the counts of the training text."""
    if has_counts:
        return (
            f"`{COUNTS_FILE}` has the counts of the training text, and contains that text itself,"
            " character by character. charrnn uses both unless it is told not to."
        )
    if "with counts" in facts["losses"]:
        return (
            "The counts contain the training text, and are not in this folder: the network writes"
            " and predicts alone, with its own loss."
        )
    return "No counts of the training text are in this folder."


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row is its head."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    lines.insert(1, "| --- " * len(rows[0]) + "|")
    return "\n".join(lines)
