"""Make the files of a model that is given away: the folder of `charrnn export`, or its .zip."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from charrnn.config.settings import Config
from charrnn.errors import UsageError
from charrnn.formats.model_facts import (
    Facts,
    catalogued,
    cells_in,
    facts_of,
    to_readme,
)
from charrnn.formats.model_page.page import to_model_page
from charrnn.runs.checkpoint import (
    MANIFEST,
    MODEL,
    list_files,
    tensors_to_bytes,
)
from charrnn.runs.config_files import CONFIG, VOCAB, RunDescription
from charrnn.runs.included import read_cards
from charrnn.runs.model_file import (
    CARD,
    MODEL_FILE_VERSION,
    PAGE,
)
from charrnn.system.files import JSON, encode_text, json_to_bytes
from charrnn.trained_model import TrainedModel
from charrnn.version import __version__

PRIVATE_TEXT, PRIVATE_MODEL = "a private text", "a private model"
"""Stand for the name of a text that is not of the catalogue, and of a run."""


def public_config(model: TrainedModel) -> Config:
    """Return the configuration of a model without what only its author should know: names of texts
    that are not of the catalogue, and of runs."""
    names = [PRIVATE_TEXT if entry is None else entry.name for entry in catalogued(model)]
    return replace(model.config, corpus=tuple(names), init_from=_public_base(model))


def _public_base(model: TrainedModel) -> str | None:
    """Return the name that strangers may read of the model from whose weights training started."""
    start = model.config.init_from
    # An exported model has public names alone.
    if start is None or model.path is None:
        return start
    # By the weights, because a private run may be called like an included model.
    for name, card in read_cards().items():
        if card["digest"] == model.base.get("digest"):
            return name
    return PRIVATE_MODEL


def without_private_name(model: TrainedModel, name: str) -> TrainedModel:
    """Return a model of a private text with another name, because the name of its run may be that
    of the text; another model as it is."""
    if None in catalogued(model):
        return replace(model, name=name, path=None)
    return model


def page_of(model: TrainedModel, name: str, title: str | None = None) -> bytes:
    """Return the page of a model, which has another name if its text is private."""
    shared = replace(without_private_name(model, name), config=public_config(model))
    return to_model_page(shared, cells_in(facts_of(model)), title=title).encode("utf-8")


def files_of(model: TrainedModel, name: str) -> dict[str, bytes]:
    """Return the files of a model by their names. The same model gives the same bytes.

    `name` is the name that the model has there, because the name of its run may be that of a
    private text.
    """
    shared = replace(model, name=name, config=public_config(model), path=None)
    description = RunDescription.of(Path(), config=shared.config, vocab=shared.vocab)
    files = {**description.files(), MODEL: tensors_to_bytes(shared.tensors)}
    facts = facts_of(model)
    with suppress(UsageError):  # A browser cannot run every network.
        files[PAGE] = to_model_page(shared, cells_in(facts), run=name).encode("utf-8")
    return with_card(files, shared, facts=facts)


def with_card(files: Mapping[str, bytes], model: TrainedModel, *, facts: Facts) -> dict[str, bytes]:
    """Return the files of a model with its card and the manifest, which is the last,
    because a folder without it is no model. The model has the name and the configuration that
    strangers may read."""
    page = ""
    if PAGE in files:
        page = PAGE
    card = encode_text(to_readme(model, facts, page=page))
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
    return {
        **files,
        CARD: card,
        MANIFEST: json_to_bytes(manifest),
    }
