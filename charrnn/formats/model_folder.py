"""Make the files of a model that is given away: the folder of `charrnn export`, or its .zip.

What is known of the model, its text, its losses and its cells, is a dictionary, the facts, which
the manifest contains as `card`. README.md, the page and the demo show a part of it. What was not
measured is missing there.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from charrnn.cells.known_cells import found_cells, record_found_cells
from charrnn.cells.records import CHARS_SCORED, CellScore
from charrnn.cells.study import study_of
from charrnn.cli.arguments import read_measured_text
from charrnn.config.settings import Config
from charrnn.detectors.registry import get_detectors
from charrnn.errors import CharRNNError, DataError, UsageError
from charrnn.formats.model_page.page import PRIVATE_TEXT, STANDARD_LIBRARY, to_model_page
from charrnn.runs.checkpoint import (
    CONFIG,
    MANIFEST,
    MODEL,
    VOCAB,
    RunDescription,
    list_files,
    tensors_to_bytes,
)
from charrnn.runs.included import read_cards
from charrnn.runs.model_file import (
    CARD,
    MODEL_FILE_VERSION,
    PAGE,
    WORDS,
)
from charrnn.system.files import JSON, encode_text, json_to_bytes
from charrnn.system.progress import warn
from charrnn.text.sources import CatalogueEntry, find_entry
from charrnn.trained_model import TrainedModel, describe, earlier_models, read_parts
from charrnn.version import __version__
from charrnn.views.scores import ends_text, score_text
from charrnn.views.theme import all_visible

LANGUAGES = {
    "Awadhi": "awa",
    "Chinese": "zh",
    "English": "en",
    "Finnish": "fi",
    "French": "fr",
    "German": "de",
    "Greek": "el",
    "Italian": "it",
    "Japanese": "ja",
    "Korean": "ko",
    "Latin": "la",
    "Portuguese": "pt",
    "Russian": "ru",
    "Spanish": "es",
}
"""The code of each language of the catalogue."""
PRIVATE_MODEL = "a private model"
"""Stands for the name of a run."""
Facts = dict[str, Any]
"""What is known of a model, by name; it is written as JSON."""
_MARKS = re.compile(r"[\\`*_\[\]<>#|~]")
"""Matches what Markdown reads as a mark."""


def catalogued(model: TrainedModel) -> list[CatalogueEntry | None]:
    """Return the entry of the catalogue for each source of a model's text, None for a private
    text."""
    sources = model.config.corpus
    if model.card:  # an included model, whose text is public
        return [find_entry(name) for name in model.card.get("catalogue", ())]

    locations: Sequence[str | None] = ()
    if model.recorded_corpus is not None:
        locations = model.recorded_corpus.locations
    # The standard library has a location, and no source.
    return list(map(_entry_at, sources, locations or [None] * len(sources)))


def _entry_at(source: str, location: str | None) -> CatalogueEntry | None:
    """Return the entry of the catalogue that a source was, as far as this can be known: another
    text, or a folder of texts, may have its name."""
    # A text of the catalogue is named by its entry or by its file.
    entry = find_entry(Path(source).stem)
    if entry is None:
        return None
    path = Path(location or source)
    # A private file may be called like an entry. The file of the entry has a suffix.
    is_entry = source == entry.name and (location is None or path.name == entry.file)
    # A folder without a recorded location was not read, as that of a run with this name.
    if path.is_file() or (location is not None and path.exists()):
        is_entry = entry.is_file(path)
    return entry if is_entry else None


def language_of(model: TrainedModel) -> str | None:
    """Return the code of the language of a model's text (BCP 47); None where it is not known: of a
    private text, and of what is written in no language."""
    languages = {entry.language for entry in catalogued(model) if entry is not None}
    if len(languages) != 1 or None in catalogued(model):
        return None
    return LANGUAGES.get(languages.pop())


def facts_of(model: TrainedModel, cells: Sequence[CellScore]) -> Facts:
    """Return what is known of a model: of an included model what its card says, of a run what the
    run has recorded, and its `cells` that follow something in the validation text."""
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

    facts["cells"] = [score.to_json() for score in cells]
    return facts


def _cells_of(model: TrainedModel) -> tuple[CellScore, ...]:
    """Return the cells that follow something in the validation text, best first; of an included
    model those of its card.

    They are found as `charrnn visualize` does. A run whose text has changed or is gone has those
    that were found before, which a warning says.
    """
    if model.card:
        return found_cells(model.cache)
    try:
        read_parts(model, reason=" Its cells are found in its validation text:")
    except DataError as error:
        # What was exported before has no text, as everybody knows.
        if model.path is not None and model.recorded_corpus is not None:
            warn(f"{error} {_kept_cell(model)}.")
        return found_cells(model.cache)
    # One whose text is too short has none.
    with suppress(CharRNNError):
        read = read_measured_text(model, source=None, num_chars=CHARS_SCORED)
        findings = study_of(model, read.encoded, cached=True).findings()
        record_found_cells(model.cache, findings.scores)
    return found_cells(model.cache)


def _kept_cell(model: TrainedModel) -> str:
    """Say which cell colours the page of a run whose text is not here."""
    found = found_cells(model.cache)
    if not found:
        return "the page is coloured by cell 0:0, which may follow nothing"
    best = found[0]
    return (
        f"the page is coloured by cell {best.layer}:{best.unit}, which followed"
        f" {best.detector} when cells were found last"
    )


def _scores_in(facts: Facts) -> list[CellScore]:
    return [CellScore(**fields) for fields in facts["cells"]]


def to_readme(model: TrainedModel, facts: Facts, *, has_page: bool) -> str:
    """Return README.md of a model with the name and the configuration that strangers may read,
    which may have a page beside it."""
    # On one line: what follows a line end would be a heading of its own.
    name = _MARKS.sub(r"\\\g<0>", all_visible(model.name))
    described = describe(model)
    lines = [f"# {name}", ""]
    lines.append(
        f"A recurrent network that writes texts, one character after the other:"
        f" {described.architecture}, {described.num_parameters:,} weights, {described.symbols}."
    )
    if has_page:
        lines.append(f"Open `{PAGE}` in a browser to let it write.")
    lines.append("Every command of charrnn reads this folder: `charrnn sample FOLDER`.")
    texts = [facts.get("text", PRIVATE_TEXT)]
    # The card of an included model names the text that was read first.
    if base := read_cards().get(model.config.init_from or ""):
        texts.insert(0, base["text"])
    lines += ["", f"- text: {' and then '.join(texts)}"]
    lines.append(f"- licence of the text: {facts.get('licence', 'not known')}")
    if model.words is not None:
        lines.append(f"- words of the text: in the file `{WORDS}`")
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


def public_config(model: TrainedModel) -> Config:
    """Return the configuration of a model without what only its author should know: names of texts
    that are not of the catalogue, and of runs."""
    names = [PRIVATE_TEXT if entry is None else entry.name for entry in catalogued(model)]
    # Several private texts are one for the reader, who learns nothing of them.
    corpus = tuple(dict.fromkeys(names))
    return replace(model.config, corpus=corpus, init_from=_public_base(model))


def _public_base(model: TrainedModel) -> str | None:
    """Return the name that strangers may read of the model from whose weights training started,
    directly or through private runs."""
    start = model.config.init_from
    # An exported model has public names alone.
    if start is None or model.path is None:
        return start
    for earlier in chain((model,), earlier_models(model)):
        # By the weights, because a private run may be called like an included model.
        for name, card in read_cards().items():
            if earlier is not None and card["digest"] == earlier.base.get("digest"):
                return name
    return PRIVATE_MODEL


def page_of(model: TrainedModel, name: str, title: str | None = None) -> bytes:
    """Return the page of a model, which has another name if its text is private, because the name
    of its run may be that of the text.

    It is the format `.html`; `files_of` is the folder and the .zip.
    """
    config = public_config(model)
    cells = _cells_of(model)
    language = language_of(model)
    if None in catalogued(model):
        model = replace(model, name=name, path=None)
    page = to_model_page(replace(model, config=config), cells, title=title, language=language)
    return page.encode("utf-8")


def files_of(model: TrainedModel, name: str) -> dict[str, bytes]:
    """Return the files of a model by their names. The same model gives the same bytes.

    `name` is the name that the model has there, because the name of its run may be that of a
    private text.
    """
    shared = replace(model, name=name, config=public_config(model), path=None)
    description = RunDescription.of(Path(), config=shared.config, vocab=shared.vocab)
    files = {**description.files(), MODEL: tensors_to_bytes(shared.tensors)}
    if shared.words is not None:
        files[WORDS] = shared.words
    cells = _cells_of(model)
    with suppress(UsageError):  # A browser cannot run every network.
        page = to_model_page(shared, cells, run=name, language=language_of(model))
        files[PAGE] = page.encode("utf-8")
    return with_card(files, shared, facts=facts_of(model, cells))


def with_card(files: Mapping[str, bytes], model: TrainedModel, *, facts: Facts) -> dict[str, bytes]:
    """Return the files of a model with its card and the manifest, which is the last,
    because a folder without it is no model. The model has the name and the configuration that
    strangers may read."""
    card = encode_text(to_readme(model, facts, has_page=PAGE in files))
    # A short private text could be guessed from its digest.
    manifest: dict[str, JSON] = {
        "format": MODEL_FILE_VERSION,
        "charrnn": __version__,
        "step": model.step,
        "val_nats": model.val_nats,
        "corpus_digest": facts.get("text_digest"),
        "files": list_files({name: files[name] for name in (CONFIG, VOCAB, MODEL)}),
        "card": dict(facts),
        "card_sha256": hashlib.sha256(card).hexdigest(),
    }
    # Not among the files, of which an older charrnn knows each.
    if WORDS in files:
        manifest |= list_files({WORDS: files[WORDS]})
    return {
        **files,
        CARD: card,
        MANIFEST: json_to_bytes(manifest),
    }
