"""The model from which a training starts, instead of from new weights (`Config.init_from`)."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

from charrnn.config.settings import DOCUMENTS, FIELD_NAMES, INHERITED, MODEL_FIELDS, Config
from charrnn.errors import UsageError, named
from charrnn.model.shapes import check_shapes, check_vocab_size
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.included import card_of
from charrnn.runs.reader import open_run_to_read
from charrnn.text.sources import entry_of


class InitialModel(NamedTuple):
    """The model from which a training starts."""

    config: Config
    """The configuration with the settings of that model."""
    checkpoint: Checkpoint | None
    """Its best checkpoint; None for new weights."""


def open_initial_model(config: Config, asked: Collection[str] = ()) -> InitialModel:
    """Load the best checkpoint of `config.init_from`, if given, before anything is planned: the
    model decides the sizes and the alphabet. `asked` are the fields of `with_model_of`.

    Raises CheckpointError if that run is missing or damaged, UsageError if `config` asks for
    another model.
    """
    if config.init_from is None:
        return InitialModel(config, checkpoint=None)

    # The weights and the alphabet must belong together: both are continued.
    run = open_run_to_read(config.init_from).run
    initial = run.load_best()
    theirs = initial.description.config()
    # The included models are older than the setting, and their texts were clean.
    if card_of(initial.digest):
        theirs = replace(theirs, clean=True)
    config = with_model_of(run.name, theirs=theirs, config=config, asked=asked)
    vocab_size = check_shapes(config, tensors=initial.model, path=run.path)
    check_vocab_size(vocab_size, vocab=initial.description.vocab(), name=run.name)
    return InitialModel(config, checkpoint=initial)


def with_model_of(run: str, theirs: Config, config: Config, asked: Collection[str] = ()) -> Config:
    """Return the configuration with the model of `run`, which has the configuration `theirs`, and
    with its way of reading a text and its dropout where `config` asks for none.

    A default value counts as not asked for, unless it is that of one of the fields `asked`. Raises
    UsageError if `config` asks for another model, or for initial weights.
    """
    # All settings that shape the weights come from that run.
    default = Config()
    changed = [name for name in FIELD_NAMES if getattr(config, name) != getattr(default, name)]
    model: dict[str, Any] = {name: getattr(theirs, name) for name in MODEL_FIELDS}
    kept: dict[str, Any] = dict.fromkeys(("parameters", "initial_weights", "forget_bias")) | model
    for name in changed:
        wanted = getattr(config, name)
        if name in kept and wanted != kept[name]:
            raise UsageError(
                f"{named(name)} is {wanted}, but {named('init_from')} keeps the model of {run} and"
                " its weights. Leave one of them out."
            )

    # So do the settings of the text, unless they are asked for, and the dropout: weights that have
    # learned without it know less once it begins. The two fields of documents go together, and the
    # catalogue knows the encoding of its texts.
    asked_for = {*changed, *asked}
    if asked_for.intersection(DOCUMENTS):
        asked_for.update(DOCUMENTS)
    if any(map(entry_of, config.corpus)):
        asked_for.add("encoding")
    inherited = {name: getattr(theirs, name) for name in INHERITED if name not in asked_for}
    same = replace(config, **model, **inherited)

    # Nothing would end a document.
    is_new = same.end_id is not None and theirs.end_id is None and same.alphabet != "byte"
    if is_new and not config.extend_alphabet:
        raise UsageError(
            f"{named('documents')} is {config.documents}, but the alphabet of {run} has no END"
            f" symbol: use {named('extend_alphabet', 'true')}, or leave {named('documents')} out."
        )
    return same
