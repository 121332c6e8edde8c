"""A trained model: what it has learned, and where it comes from.

What is asked of a model is a function of it, in the packages above this module; the class that
users get, `api.Model`, has a method for each.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from charrnn.config.settings import Config, resolved
from charrnn.errors import (
    CharRNNError,
    DataError,
    UsageError,
    counted,
    named,
)
from charrnn.generation.generator import TextGenerator
from charrnn.model.shapes import check_shapes, check_vocab_size, num_parameters
from charrnn.model.stepper import Stepper
from charrnn.runs.checkpoint import Checkpoint, best_checkpoint
from charrnn.runs.included import card_of
from charrnn.runs.measurement_cache import MeasurementCache
from charrnn.runs.model_file import WORDS, ModelFile
from charrnn.runs.reader import RunReader, open_run_to_read, split_step
from charrnn.system.lazy import LazyModule
from charrnn.system.process import load_torch
from charrnn.system.progress import tell
from charrnn.system.progress import warn as warn_user
from charrnn.system.spinning import limit_loaded_torch
from charrnn.text.corpus import CorpusPart
from charrnn.text.recorded_corpus import RecordedCorpus, recorded_corpus
from charrnn.text.splits import split_text
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import WordList, read_words

if TYPE_CHECKING:
    from charrnn.model.network import CharRNN
    from charrnn.runs import overview
else:
    # `sample` does not use it, and importing it takes a part of its start.
    overview = LazyModule("charrnn.runs.overview")

MAX_LAG = 200
"""Characters back to which gradients are computed, unless another number is asked for."""
NUM_LEFT_OUT = 200
"""Characters before a predicted one that are left out one by one, unless another number is asked
for."""
NUM_PLACES = 100
"""Places of a text at which a prediction is explained, if there are as many."""
SGD_LEARNING_RATE = 0.1
"""Learning rate of the step of SGD after back-propagation, unless another one is asked for."""


@dataclass(eq=False, repr=False)
class TrainedModel:
    """What a run has learned: weights, with the configuration and the alphabet that belong to them.

    It is what analyses and reports of the package take; `charrnn.Model`, which users get, has a
    method for each of them. Its `generator` generates text. The properties below the fields are
    made of these when they are first asked for.

    Whatever reads or writes a text with a model raises CheckpointError if the weights do not fit
    the configuration or are not finite: the file was damaged, or the model was built of other
    tensors.
    """

    config: Config
    """The configuration of the run."""
    vocab: Vocab
    """The alphabet, with V entries."""
    tensors: dict[str, NDArray[Any]]
    """The weights by name, as NumPy arrays."""
    _: KW_ONLY
    name: str = "model"
    """The name of the run."""
    path: Path | None = None
    """The folder of the run; None if it was not loaded from one."""
    step: int = 0
    """The step at which it was saved."""
    recorded_corpus: RecordedCorpus | None = None
    """None if the run does not say what it learned."""
    warnings: tuple[str, ...] = ()
    """Warnings from loading it."""
    step_digest: str | None = None
    """The digest of its weights, configuration and alphabet."""
    val_nats: float | None = None
    """The validation loss at that step, in nats per character; None if it is not known."""
    base: Mapping[str, Any] = field(default_factory=dict)
    """What tells the model from whose weights training started (`runs.checkpoint.base_state`);
    empty without one, and where nobody recorded it."""
    instead_of: str | None = None
    """What is wrong with the checkpoint that was asked for, if this is another one; `export`
    refuses it."""
    words: bytes | None = None
    """The file of the words that the model has read, if its own file has one."""
    _parts: list[CorpusPart] | None = field(default=None, init=False)
    """The parts of the run's text, once they are read."""

    def __post_init__(self) -> None:
        self.generator = TextGenerator(
            self.config,
            vocab=self.vocab,
            tensors=self.tensors,
            name=self.name,
            word_list=lambda: self.word_list,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, which another process may get: all else is built from them."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.init}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    @property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy and float32. Raises CheckpointError if
        weights do not fit.

        A loop of one's own over characters needs it, in which something is done to the state
        between two of them: a small step is fast, and torch is not imported. `network` reads many
        characters in one call, and has gradients.
        """
        return self.generator.stepper_for("fp32", clamps={})

    @cached_property
    def cache(self) -> MeasurementCache:
        """What was measured of these weights; kept in the user's cache folder if the model was
        loaded from a run.

        A measurement of one's own that takes long can be kept there, too: `study(text,
        cached=True).look_up` does so. What was found by surveys is read from `found_cells`.
        """
        return MeasurementCache(self.step_digest)

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """What the card of an included model says (`runs.included`); empty for any other model.

        It has the losses on held-out text and where the text came from: a model that came without
        its text can be neither evaluated on it nor traced to it.
        """
        return card_of(self.step_digest)

    @cached_property
    def network(self) -> "CharRNN":
        """The model as a torch module on the CPU. Raises CheckpointError if weights are missing or
        misshapen.

        An experiment of one's own with PyTorch needs it: gradients, other inputs, changed weights,
        another device. Nothing else does: the methods of the model build it where they use it.
        `stepper` computes the same in NumPy, one character at a time.
        """
        return build_trained_network(self)

    @cached_property
    def word_list(self) -> WordList:
        """The words that the model has read, which `known_words` lets it write.

        It shows what `known_words` will allow, before a long text is drawn. They are the list in
        the model's file or, without one, the words of the training part of its text, and of the
        list of the model from whose weights training started. Raises UsageError for a model of
        bytes and for a text whose words cannot be told, DataError if there is neither a list nor
        the text.
        """
        return read_word_list(self)


AnyModel = TypeVar("AnyModel", bound=TrainedModel)
"""`TrainedModel`, or a class with more methods."""


def describe(model: TrainedModel) -> "overview.ModelDescription":
    """Return what a model is: its cells, the number of weights, the alphabet, the text, the step
    and the validation loss if it is known.

    Its card, its page and `Model.description` have it.
    """
    return overview.ModelDescription(
        name=model.name,
        cell_type=model.config.cell_type,
        depth=model.config.depth,
        num_layers=resolved(model.config.num_layers),
        hidden_size=resolved(model.config.hidden_size),
        num_parameters=num_parameters(model.config, len(model.vocab)),
        alphabet=model.vocab.kind,
        vocab_size=len(model.vocab),
        text=overview.text_name(model.config.corpus),
        step=model.step,
        val_nats=model.val_nats,
        init_from=model.config.init_from,
    )


def build_trained_network(model: TrainedModel) -> "CharRNN":
    """Build the network of a model, with its weights; `TrainedModel.network` keeps it."""
    load_torch()
    import torch

    limit_loaded_torch()
    from charrnn.model.network import load_network

    # Checked here, too: whoever builds a model of tensors of their own has read no file.
    check_vocab_size(check_shapes(model.config, model.tensors), vocab=model.vocab, name=model.name)
    tensors = {name: torch.from_numpy(array) for name, array in model.tensors.items()}
    return load_network(model.config, vocab_size=len(model.vocab), tensors=tensors)


def untrained_baseline(model: TrainedModel) -> "CharRNN":
    """Build the network of a model, or the same several, with newly drawn weights.

    Only what a trained cell does better than a cell of it is learned.
    """
    from charrnn.model.ensemble import build_network, tensors_of

    # Another seed: with that of the run, the weights would be those that it began with.
    config = replace(model.config, seed=(model.config.seed + 1) % 2**32)
    tensors = tensors_of(build_network(config, len(model.vocab)))
    return replace(model, config=config, tensors=tensors).network


def read_parts(model: TrainedModel, *, instead: str = "", reason: str = "") -> list[CorpusPart]:
    """Read the parts of the text of a model's run: training, validation and, if it has one, test.

    Whoever needs several parts reads the text by it; `model_texts` returns one of them. The parts
    are read once, and kept with the model. The message of a DataError names another way, `instead`,
    and ends with the `reason` why the text is needed.
    """
    if "-" in model.config.corpus:
        remedy = instead or "train on a file instead"
        raise DataError(
            f"{model.name} learned from standard input, which is gone: {remedy}.{reason}"
        )

    # Without a digest, the run of a stranger could name any file of this disk.
    if model.recorded_corpus is None:
        remedy = ""
        if instead:
            remedy = f": {instead}"
        raise DataError(f"{model.name} does not record which text it learned{remedy}.{reason}")

    # It is read once, and its digest is that of the run: whatever becomes of the files, this is
    # the text.
    if model._parts is None:
        corpus = model.recorded_corpus.read(vocab=model.vocab, instead=instead, reason=reason)
        model._parts = [
            CorpusPart(corpus, begin=part.start, end=part.stop)
            for part in split_text(corpus.ids, model.config)
        ]
    return list(model._parts)


def read_word_list(model: TrainedModel) -> WordList:
    """Read the words that a model has read: from its file or, without a list there, from the
    training part of its text and from the file of the model from whose weights training started.

    `TrainedModel.word_list` keeps them. Raises UsageError for a model of bytes and for a text whose
    words cannot be told, DataError if there is neither a list nor the text.
    """
    if model.vocab.kind == "byte":
        raise UsageError(
            f"{named('known_words')} does not go with {model.name}, which reads bytes: a word is"
            " made of characters. Leave it out."
        )
    if model.words is not None:
        return WordList.from_bytes(model.words, model.vocab, Path(model.name) / WORDS)

    export = f"`charrnn export {model.name} FILE` with {named('known_words')}"
    training, *_ = read_parts(
        model, reason=f" Its words stand in it: {export} would have kept them."
    )
    found = read_words(training)
    found.check(model.name)
    tell(*found.notes)
    words = WordList.of([*found.words, *_words_before(model)], model.vocab)
    if words.num_left_out:
        tell(
            f"left out {counted(words.num_left_out, 'word')} of the text, of which the model has"
            " not all characters"
        )
    return words


def _words_before(model: TrainedModel) -> tuple[str, ...]:
    """Return the words in the file of the model from whose weights training started, directly or
    through other runs; none if no file has any."""
    later = model
    for earlier in earlier_models(model):
        if earlier is None:
            name = os.path.basename(later.config.init_from or "")
            warn_user(f"words that {name} had read are left out: it is no longer here")
            return ()
        if earlier.words is not None:
            return tuple(earlier.word_list.forms())
        later = earlier
    return ()


def load_base(model: TrainedModel) -> TrainedModel | None:
    """Load the model from whose weights the training of a model started; None if another model has
    its name now. Raises the errors of `load`.

    It is one step back, and says by its error what is wrong; `earlier_models` goes back to the
    first.
    """
    earlier = load(model.config.init_from)
    # The same weights, or another step of a run with the same text.
    recorded = earlier.recorded_corpus
    digest = earlier.step_digest
    has_weights = digest is not None and model.base.get("digest") == digest
    has_text = recorded is not None and model.base.get("corpus_digest") == recorded.digest
    if has_weights or has_text:
        return earlier
    return None


def earlier_models(model: TrainedModel) -> Iterator[TrainedModel | None]:
    """Yield the models from whose weights training started, directly and through other runs, the
    nearest first; None in the place of one that is no longer here, at which the list ends.

    Whoever asks what a model has read asks its earlier models, too: words, documents and passages
    may come from them.
    """
    # A run that was trained again from what once began with it would come back without end.
    seen: set[str | None] = set()
    while model.config.init_from is not None:
        try:
            earlier = load_base(model)
        except CharRNNError:
            earlier = None
        if earlier is not None and earlier.step_digest in seen:
            earlier = None
        yield earlier
        if earlier is None:
            return
        seen.add(earlier.step_digest)
        model = earlier


def load(run: str | Path | None = None, *, step: int | None = None) -> TrainedModel:
    """Load a model; the arguments and errors are those of `charrnn.load`.

    The modules below `api` call it, which need no method of `Model`.
    """
    return load_as(TrainedModel, run, step=step)


def load_as(
    kind: type[AnyModel], run: str | Path | None = None, *, step: int | None = None
) -> AnyModel:
    """Load a model as an object of the class `kind`; the other arguments and the errors are those
    of `charrnn.load`.

    `charrnn.load` gives `Model`, which has a method for each question to a model; `load` is for all
    others.
    """
    # The best checkpoint unless a step is named: the latest one may have learned its text by heart.
    name = None if run is None else str(run)
    if step is None:
        name, step = split_step(name)
    found, warning = open_run_to_read(name)
    loaded = found.load_best() if step is None else found.load_step(step)
    model = _model_of(kind, found=found, loaded=loaded)
    if warning is not None:
        model.warnings = (f"{warning}, at step {model.step}", *model.warnings)
    return model


def _model_of(kind: type[AnyModel], found: RunReader | ModelFile, loaded: Checkpoint) -> AnyModel:
    """Return what was loaded as an object of the class `kind`. Raises CheckpointError if the
    weights do not fit the configuration or the alphabet."""
    config = loaded.description.config()
    # A file has no folder with other steps, to which reports about training could go.
    if isinstance(found, ModelFile):
        name, path = found.name, None
    else:
        name, path = found.path.name, found.path.absolute()

    # Other steps were validated, too, but only the best loss is in the state.
    state: Mapping[str, Any] = loaded.state
    val_nats = None
    if best_checkpoint(state) == loaded.name:
        val_nats = state["best_nats"]
    base = state.get("base")
    if not isinstance(base, Mapping):
        base = {}

    model = kind(
        config,
        vocab=loaded.description.vocab(),
        tensors=dict(loaded.model),
        name=name,
        path=path,
        step=loaded.step,
        recorded_corpus=recorded_corpus(name, config=config, state=state, folder=path),
        warnings=loaded.warnings,
        step_digest=loaded.digest,
        base=base,
        instead_of=loaded.instead_of,
        val_nats=val_nats,
        words=loaded.words,
    )

    # An error about a damaged file should name it now, not in the middle of a measurement.
    vocab_size = check_shapes(model.config, tensors=model.tensors, path=found.path)
    check_vocab_size(vocab_size, vocab=model.vocab, name=model.name)
    return model
