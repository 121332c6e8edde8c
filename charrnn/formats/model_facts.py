"""What is known of a model that is given away: its text, its losses and its cells.

The facts are a dictionary, which the manifest of a model file contains as `card`. README.md, the
page and the demo show a part of it. What was not measured is missing there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charrnn.cells.findings import CellScore
from charrnn.cells.study import found_cells
from charrnn.detectors.registry import get_detectors
from charrnn.text.sources import CatalogueEntry, find_entry, load_catalogue
from charrnn.trained_model import TrainedModel
from charrnn.views.tables import ends_text, score_text

Facts = dict[str, Any]
"""What is known of a model, by name; it is written as JSON."""
STANDARD_LIBRARY = "the standard library of Python"
"""The text that is learned where none is named."""
PRIVATE = "a private text, which is not named"
"""Stands for a text that is not of the catalogue."""
_MARKS = re.compile(r"[\\`*_\[\]<>#|~]")
"""Matches what Markdown reads as a mark."""


def catalogued(model: TrainedModel) -> list[CatalogueEntry | None]:
    """Return the entry of the catalogue for each source of a model's text, None for a private
    text."""
    sources = model.config.corpus
    if model.card:  # an included model, whose text is public
        return [find_entry(name) for name in model.card.get("catalogue", ())]

    locations: Sequence[str | None] = ()
    digest = None
    if model.recorded_corpus is not None:
        locations = model.recorded_corpus.locations
        digest = model.recorded_corpus.digest
    # The standard library has a location, and no source.
    pairs = zip(sources, locations or [None] * len(sources), strict=False)
    return [_entry_at(source, location, digest) for source, location in pairs]


def _entry_at(source: str, location: str | None, digest: str | None) -> CatalogueEntry | None:
    """Return the entry of the catalogue that a source was, as far as this can be known: another
    text, or a folder of texts, may have its name."""
    path = Path(location or source)
    for entry in load_catalogue():
        # A text of the catalogue is named by its entry or by its file.
        if Path(source).name not in (entry.name, entry.file):
            continue
        # A private file may be called like an entry. The file of the entry has a suffix.
        is_named = source == entry.name and (location is None or path.name == entry.file)
        is_entry = is_named or digest == entry.sha256
        # A folder without a recorded location was not read, as that of a run with this name.
        if path.is_file() or (location is not None and path.exists()):
            is_entry = entry.is_file(path)
        return entry if is_entry else None
    return None


def facts_of(model: TrainedModel) -> Facts:
    """Return what is known of a model: of an included model what its card says, of a run what the
    run has recorded, and the cells that were found."""
    if model.card:
        return dict(model.card)
    facts: Facts = {"losses": {}}
    if model.val_nats is not None:
        facts["losses"]["validation"] = model.val_nats

    # The text, if it is public.
    entries = catalogued(model)
    named = [entry for entry in entries if entry is not None]
    if not model.config.corpus:
        facts["text"] = STANDARD_LIBRARY
    elif len(named) == len(entries):
        facts["text"] = " ".join(f"{entry.about} {entry.address}" for entry in named)
        facts["catalogue"] = [entry.name for entry in named]
        facts["licence"] = ", ".join(dict.fromkeys(entry.licence for entry in named))
    if "text" in facts and model.recorded_corpus is not None:
        facts["text_digest"] = model.recorded_corpus.digest

    facts["cells"] = [score.to_json() for score in found_cells(model.findings)]
    return facts


def cells_in(facts: Facts) -> tuple[CellScore, ...]:
    """Return the scores of the cells that follow a property better than by chance and than an
    untrained network does, best first."""
    scores = [score for score in _scores_in(facts) if score.is_found]
    return tuple(sorted(scores, key=lambda score: -score.gain))


def _scores_in(facts: Facts) -> list[CellScore]:
    return [CellScore(**fields) for fields in facts["cells"]]


def to_readme(model: TrainedModel, facts: Facts, *, page: str) -> str:
    """Return README.md of a model with the name and the configuration that strangers may read;
    `page` is the name of the page beside it, "" if there is none."""
    name = _MARKS.sub(r"\\\g<0>", _on_one_line(model.name))
    described = model.description
    lines = [f"# {name}", ""]
    lines.append(
        f"A recurrent network that writes texts, one character after the other:"
        f" {described.architecture}, {described.num_parameters:,} weights, {described.symbols}."
    )
    if page:
        lines.append(f"Open `{page}` in a browser to let it write, or name this folder to charrnn:")
    else:
        lines.append("Name this folder to charrnn, as in `charrnn sample FOLDER`:")
    lines += ["", f"- text: {facts.get('text', PRIVATE)}"]
    lines.append(f"- licence of the text: {facts.get('licence', 'not known')}")
    unit = "character"
    if model.vocab.kind == "byte":
        unit = "byte"
    for part, nats in facts["losses"].items():
        interval = ends_text(*facts.get("intervals", {}).get(part, (None, None)))
        measured = f"- loss on its {part} part: {nats:.4f} nats per {unit}"
        if interval:
            measured = f"{measured}, 95 % interval {interval}"
        lines.append(measured)
    for score in _scores_in(facts):
        [detector] = get_detectors([score.detector])
        interval = ends_text(score.ci_low, score.ci_high)
        lines.append(
            f"- cell {score.layer}:{score.unit}: {detector.looks_for},"
            f" {score_text(score)} ({interval})"
        )
    lines += ["", "What it writes is not meant to be true, and can repeat what it has read."]
    return "\n".join(lines) + "\n"


def _on_one_line(name: str) -> str:
    """Return a name in which a blank stands for each character that is not printed: what follows a
    line end would be a heading of its own."""
    return "".join(character if character.isprintable() else " " for character in name)
