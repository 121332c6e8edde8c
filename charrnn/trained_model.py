"""A trained model: what it has learned, how it reads a text, and what its cells do.

What looks into models more closely takes a `TrainedModel`; the class that users get, `api.Model`,
adds those methods.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config, resolved
from charrnn.errors import (
    CharRNNError,
    DataError,
    GivenTextWarning,
    UsageError,
    check_length,
    counted,
    did_you_mean,
    named,
    warn,
)
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import (
    SAMPLE_TEMPERATURE,
    SampleOptions,
)
from charrnn.model.shapes import check_shapes, check_vocab_size, num_parameters
from charrnn.model.stepper import Stepper
from charrnn.runs.checkpoint import Checkpoint, best_checkpoint
from charrnn.runs.findings_cache import FindingsCache
from charrnn.runs.included import card_of
from charrnn.runs.model_file import WORDS, ModelFile
from charrnn.runs.reader import RunReader, open_run_to_read, split_step
from charrnn.system.arrays import Float64Array
from charrnn.system.display import Displayable
from charrnn.system.lazy import LazyModule
from charrnn.system.process import load_torch
from charrnn.system.progress import tell
from charrnn.system.progress import warn as warn_user
from charrnn.system.spinning import limit_loaded_torch
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END, split_text
from charrnn.text.given_text import (
    GivenText,
    TextPiece,
    ended,
    texts_of,
    unknown_warning,
    whole_text,
)
from charrnn.text.recorded_corpus import RecordedCorpus, recorded_corpus
from charrnn.text.vocab import EncodedText, IdArray, Vocab, encode_given
from charrnn.text.word_list import WordList, read_words

TextOrIds = GivenText | EncodedText
"""A text to measure: as it is, or encoded with its context by `Model.encode`."""

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.cells import findings as records
    from charrnn.cells.study import Study
    from charrnn.cells.trace import Trace
    from charrnn.detectors.detector import Detector
    from charrnn.model import losses
    from charrnn.model.network import CharRNN
    from charrnn.runs import overview
else:
    # `sample` uses none of them, and importing them takes a tenth of its start.
    losses = LazyModule("charrnn.model.losses")
    records = LazyModule("charrnn.cells.findings")
    overview = LazyModule("charrnn.runs.overview")

WRITTEN = SampleOptions(length=20_000, temperature=SAMPLE_TEMPERATURE, seed=1)
"""How an included model writes the text that it is measured on."""
MAX_LAG = 200
"""Characters back to which gradients are computed, unless another number is asked for."""
NUM_LEFT_OUT = 200
"""Characters before a predicted one that are left out one by one, unless another number is asked
for."""
NUM_PLACES = 100
"""Places of a text at which a prediction is explained, if there are as many."""
SGD_LEARNING_RATE = 0.1
"""Learning rate of the step of SGD after back-propagation, unless another one is asked for."""


class HeldOutText(NamedTuple):
    """A held-out part of the text of a run, in memory.

    It unpacks into the two arguments that methods take: `text, context = model.held_out_text()`.
    """

    text: str | bytes
    """The whole part."""
    context: str | bytes
    """Up to 65,536 characters before it."""


@dataclass(eq=False, repr=False)
class TrainedModel(Displayable):
    """What a run has learned: weights, with the configuration and the alphabet that belong to them.

    It is what analyses and reports of the package take; `charrnn.Model`, which users get, has a
    method for each of them. Its `generator` generates text, with options in a dataclass.

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
        self.generator = Generator(
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

    def __repr__(self) -> str:
        # A loss that is not known is left out, and not shown as None.
        found = self.description
        loss = ""
        if found.val_nats is not None:
            loss = f", {found.val_nats:.4f} nats per character"
        size = f"{found.architecture}, {found.num_parameters:,} weights, {found.symbols}"
        return f"<{type(self).__name__} {found.name}: {size}, step {found.step:,}{loss}>"

    def view(self) -> "Sequence[RenderableType]":
        """Return the table that describes the model: what it is and what it has learned.

        A notebook shows it by itself; `rich.print` needs it. `description` has the same as fields.

        Returns:
            Renderables, which `rich.print` prints.

        Example:
            >>> import rich
            >>> rich.print(*model.view())
        """
        return self.description.view()

    @overload
    def logprob(
        self,
        text: str | bytes | os.PathLike[str],
        *,
        context: str | bytes = "",
    ) -> float: ...

    @overload
    def logprob(
        self,
        text: list[Any] | tuple[Any, ...],
        *,
        context: str | bytes = "",
    ) -> Float64Array: ...

    def logprob(
        self,
        text: TextPiece | Sequence[TextPiece],
        *,
        context: str | bytes = "",
    ) -> float | Float64Array:
        """Compute the log-probability ln p(text) of a text or of each of several texts, in nats.

        It compares texts: which spelling, which name or which molecule does the model find
        likelier? The loss of one long text, with its interval, is `charrnn.evaluate`. For a model
        of documents a text begins a document, and the END after each of its documents counts, too:
        the probabilities of all documents have the sum 1. For another model this is ln p(text |
        context); without a context nothing predicts the first character, which is then not counted.
        Unknown characters cost as much as in `evaluate`. The weights are in fp32, or in bf16 for a
        large network that was trained in it where the processor is fast in it; `sample` draws by
        weights of 8 bits unless its `precision` is `fp32`.

        Args:
            text: The text: a string, bytes or the `pathlib.Path` of a file, or a list of N such
                texts.
            context: What the model reads before each text. By default nothing.

        Returns:
            A float for a text, an array (N,) for a list of N texts.

        Raises:
            DataError: A text has no character to predict, or a file cannot be read.
            UsageError: A text is bytes and the model reads characters.

        Example:
            >>> model = charrnn.load("prose")
            >>> likely, unlikely = model.logprob(["What is the king", "the is king What"])
            >>> bool(likely > unlikely)
            True
        """
        if isinstance(text, str | bytes | os.PathLike):
            return float(self._log_probabilities([text], context)[0])
        return self._log_probabilities(texts_of(text), context)

    def _log_probabilities(self, texts: Sequence[TextPiece], context: str | bytes) -> Float64Array:
        """Compute the natural logarithm of the probability of each of N texts (N,)."""
        encoded: list[EncodedText] = []
        for text in texts:
            content = whole_text(text, config=self.config, context=context)
            if self.config.end_id is not None:
                content = ended(content)
            encoded.append(self.encode(content, context=context))

        # A network starts anew at each END, so all documents are read together.
        if self.config.end_id is not None and not context and encoded:
            pieces = [whole.ids[whole.first :] for whole in encoded]
            exact_pieces = [whole.exact_ids[whole.first :] for whole in encoded]
            starts = np.cumsum([0, *map(len, pieces[:-1])])
            nats = self._nats(
                np.concatenate((encoded[0].ids[:1], *pieces)),
                first=1,
                exact_ids=np.concatenate((encoded[0].ids[:1], *exact_pieces)),
            )
            return -np.add.reduceat(nats, starts)

        log_probabilities = np.zeros(len(encoded))
        for index, whole in enumerate(encoded):
            # Nothing predicts the first character of a text without a context.
            first = max(1, whole.first)
            if first == len(whole.ids):
                check_length(len(whole), least=2, what="its probability")
            nats = self._nats(whole.ids, first=first, exact_ids=whole.exact_ids)
            log_probabilities[index] = -nats.sum()
        return log_probabilities

    def _nats(self, ids: IdArray, *, first: int, exact_ids: IdArray) -> Float64Array:
        """Compute the loss in nats of each of ids[first:], with the price of unknown characters,
        which are those of the id 0 in `exact_ids` (`EncodedText.exact_ids`)."""
        precision = losses.precision_of(self.config, device=self.network.device, precision="auto")
        nats = losses.char_losses(self.network, ids=ids, first=first, precision=precision).nats
        return (nats + self.vocab.escapes(exact_ids[first:])).astype(np.float64)

    @property
    def description(self) -> "overview.ModelDescription":
        """The cells, the number of weights, the alphabet, the text, the step and the validation
        loss if it is known.

        A program reads single facts from it, to log them or to sort models by them; `print(model)`
        has them in a line, and `view` in a table.
        """
        return overview.ModelDescription(
            name=self.name,
            cell_type=self.config.cell_type,
            depth=self.config.depth,
            num_layers=resolved(self.config.num_layers),
            hidden_size=resolved(self.config.hidden_size),
            num_parameters=num_parameters(self.config, len(self.vocab)),
            alphabet=self.vocab.kind,
            vocab_size=len(self.vocab),
            text=overview.text_name(self.config.corpus),
            step=self.step,
            val_nats=self.val_nats,
            init_from=self.config.init_from,
        )

    @property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy and float32. Raises CheckpointError if
        weights do not fit.

        A loop of one's own over characters needs it, in which something is done to the state
        between two of them: a small step is fast, and torch is not imported. `network` reads many
        characters in one call, and has gradients.
        """
        return self.generator.model_for("fp32", clamps={})

    @cached_property
    def findings(self) -> FindingsCache:
        """What was measured of these weights; kept in the user's cache folder if the model was
        loaded from a run.

        A measurement of one's own that takes long can be kept there, too: `study(text,
        cached=True).look_up` does so. What was found by surveys is read from `found_cells`.
        """
        return FindingsCache(self.step_digest)

    @property
    def found_cells(self) -> "tuple[records.CellScore, ...]":
        """The scores of the cells that were found to follow a built-in detector better than an
        untrained network, best first; of an included model those of its card.

        It says which cells are worth a look before anything is measured again. A command such as
        `charrnn visualize --find` finds them, and so does `survey` or `study` with `cached=True`.
        Without `cached` a result is known only to its study.
        """
        from charrnn.cells.study import found_cells

        return found_cells(self.findings)

    def polarity(self, layer: int, unit: int) -> int:
        """Return the sign with which a cell is drawn.

        Pictures of one's own look like those of `charrnn visualize` with it: a cell that is low
        inside quotation marks has the colour of high values there.

        Args:
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.

        Returns:
            -1 if the cell is low inside what it follows by `found_cells`, which turns the sign;
            else 1, also if no survey was cached.

        Example:
            >>> charrnn.load("prose").polarity(0, 0) in (-1, 1)
            True
        """
        from charrnn.cells.study import known_polarity

        return known_polarity(self.findings, layer=layer, unit=unit)

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """What the card of an included model says (`runs.included`); empty for any other model.

        It has the losses on held-out text and where the text came from: a model that came without
        its text can be neither evaluated on it nor traced to it.
        """
        return card_of(self.step_digest)

    @property
    def card_scores(self) -> "tuple[records.CellScore, ...]":
        """The scores of an included model's cells on held-out text; none of another model.

        They were measured on text that does not come with the model, and stand beside what `survey`
        finds in its `written_text`. Unlike `found_cells`, they also have cells that were not found
        to be better than untrained ones.
        """
        return tuple(records.CellScore(**fields) for fields in self.card.get("cells", ()))

    def written_text(self) -> str:
        """Return the text that an included model, which has no other, is measured on.

        An included model comes without its training text, so cells are looked for in what it
        writes: at temperature 0.8 with seed 1, the same everywhere. It is kept with the findings.

        Returns:
            A text of 20,000 characters.

        Example:
            >>> model = charrnn.load("prose")
            >>> model.survey(model.written_text())
        """
        key = {"length": WRITTEN.length}
        written = self.findings.load("written", key, result=str)
        if written is None:
            written = self.generator.begin(WRITTEN).whole().text
            self.findings.save("written", key, value=written)
        return written

    @cached_property
    def network(self) -> "CharRNN":
        """The model as a torch module on the CPU. Raises CheckpointError if weights are missing or
        misshapen.

        An experiment of one's own with PyTorch needs it: gradients, other inputs, changed weights,
        another device. Nothing else does: the methods of the model build it where they use it.
        `stepper` computes the same in NumPy, one character at a time.
        """
        load_torch()
        import torch

        limit_loaded_torch()
        from charrnn.model.network import load_network

        # Checked here, too: whoever builds a model of tensors of their own has read no file.
        check_vocab_size(check_shapes(self.config, self.tensors), vocab=self.vocab, name=self.name)
        tensors = {name: torch.from_numpy(array) for name, array in self.tensors.items()}
        return load_network(self.config, vocab_size=len(self.vocab), tensors=tensors)

    def untrained_baseline(self) -> "CharRNN":
        """Build the same network, or the same several, with newly drawn weights.

        A cell of a network that has learned nothing may follow a property, too: only what a trained
        cell does better is learned. `survey` and `study` build it themselves; a comparison of one's
        own, with `trace`, needs it. Its weights are not those that the run began with.

        Returns:
            The torch module on the CPU.

        Example:
            >>> model = charrnn.load("prose")
            >>> untrained = model.trace("What is the king?", network=model.untrained_baseline())
        """
        from charrnn.model.ensemble import build_network, tensors_of

        # Another seed: with that of the run, the weights would be those that it began with.
        config = replace(self.config, seed=(self.config.seed + 1) % 2**32)
        tensors = tensors_of(build_network(config, len(self.vocab)))
        return replace(self, config=config, tensors=tensors).network

    def held_out(self, part: str = "validation") -> CorpusPart:
        """Return a held-out part of the text of the run: text from which the model has not learned.

        What is measured on it holds for new text, too. `evaluate` takes it as it is; where a method
        asks for a string, `held_out_text` has it with its context. It is read in blocks, however
        large it is.

        Args:
            part: `validation` or `test`.

        Returns:
            A `CorpusPart`. A slice of it is text, and its `context` is the text before it.

        Raises:
            DataError: The text came from standard input, is missing or has changed, or nobody
                recorded it.
            UsageError: The run has no such part.
            CharRNNError: The ids of a large text cannot be written to a disk.

        Example:
            >>> part = model.held_out()
            >>> len(part)
            3000
            >>> charrnn.evaluate(model, part).bpc
        """
        # The training text is not held out; it has a method of its own.
        index = {"validation": 1, "test": 2}.get(part)
        if index is None:
            near = did_you_mean(part, ("validation", "test"))
            raise UsageError(f"There is no part {part!r}; use validation or test.{near}")
        if index >= len(self.config.split):
            raise UsageError(
                f"{self.name} has no test text: it was trained without"
                f" {named('split', '80/10/10')}. Leave {named('part')} out."
            )
        return self.read_parts(instead=f"give {named('text', 'FILE')}")[index]

    def held_out_text(self, part: str = "validation") -> HeldOutText:
        """Read a held-out part of the text of the run into memory, with the text before it.

        Methods that take a `context` can use both. For a part that does not fit into memory, slice
        `held_out` instead.

        Args:
            part: `validation` or `test`.

        Returns:
            The whole `text` of the part, and its `context`: up to 65,536 characters before it. Give
            both to a method, because the model has read the one before the other.

        Raises:
            DataError: The text came from standard input, is missing or has changed, or nobody
                recorded it.
            UsageError: The run has no such part.
            CharRNNError: The ids of a large text cannot be written to a disk.

        Example:
            >>> text, context = model.held_out_text()
            >>> trace = model.trace(text[:1000], context=context)
        """
        found = self.held_out(part)
        return HeldOutText(found[:], context=found.context)

    def training_text(self, part: CorpusPart | None = None, *, instead: str = "") -> CorpusPart:
        """Return the training text of the run, which is read once.

        It is for comparisons with what was learned: of losses, or of counts of n-grams.

        Args:
            part: A part of the same corpus, if there is one: then nothing is read.
            instead: What the message names as another way, if the text cannot be read.

        Returns:
            A `CorpusPart`, of which a slice is text.

        Raises:
            DataError: The text came from standard input, is missing or has changed, or nobody
                recorded it.
            CharRNNError: The ids of a large text cannot be written to a disk.

        Example:
            >>> training = model.training_text()
            >>> len(training), len(training[:5])
            (27000, 5)
        """
        # A part of the same corpus saves a second reading of all of it.
        if part is None or part.corpus.vocab != self.vocab:
            return self.read_parts(
                instead=instead, reason=" n-grams are counted in the training text."
            )[0]
        training, *_ = split_text(part.corpus.ids, self.config)
        return CorpusPart(part.corpus, begin=training.start, end=training.stop)

    def read_parts(self, *, instead: str = "", reason: str = "") -> list[CorpusPart]:
        """Read the parts of the run's text: training, validation and, if it has one, test.

        Whoever needs several parts reads the text by this; `held_out` and `training_text` return
        one of them. The parts are read once, and kept with the model.

        Args:
            instead: What the message names as another way, if the text cannot be read.
            reason: Why the text is needed: the end of the message.

        Returns:
            A list of `CorpusPart`, of which a slice is text.

        Raises:
            DataError: The text came from standard input, is missing or has changed, or nobody
                recorded it.

        Example:
            >>> [len(part) for part in model.read_parts()]
            [27000, 3000]
        """
        if "-" in self.config.corpus:
            remedy = instead or "train on a file instead"
            raise DataError(
                f"{self.name} learned from standard input, which is gone: {remedy}.{reason}"
            )

        # Without a digest, the run of a stranger could name any file of this disk.
        if self.recorded_corpus is None:
            remedy = ""
            if instead:
                remedy = f": {instead}"
            raise DataError(f"{self.name} does not record which text it learned{remedy}.{reason}")

        # It is read once, and its digest is that of the run: whatever becomes of the files, this is
        # the text.
        if self._parts is None:
            corpus = self.recorded_corpus.read(vocab=self.vocab, instead=instead, reason=reason)
            self._parts = [
                CorpusPart(corpus, begin=part.start, end=part.stop)
                for part in split_text(corpus.ids, self.config)
            ]
        return list(self._parts)

    @cached_property
    def word_list(self) -> WordList:
        """The words that the model has read, which `known_words` lets it write.

        It shows what `known_words` will allow, before a long text is drawn. They are the list in
        the model's file or, without one, the words of the training part of its text, and of the
        list of the model from whose weights training started. Raises UsageError for a model of
        bytes and for a text whose words cannot be told, DataError if there is neither a list nor
        the text.
        """
        if self.vocab.kind == "byte":
            raise UsageError(
                f"{named('known_words')} does not go with {self.name}, which reads bytes: a word is"
                " made of characters. Leave it out."
            )
        if self.words is not None:
            return WordList.from_bytes(self.words, self.vocab, Path(self.name) / WORDS)

        export = f"`charrnn export {self.name} FILE` with {named('known_words')}"
        training, *_ = self.read_parts(
            reason=f" Its words stand in it: {export} would have kept them."
        )
        found = read_words(training)
        found.check(self.name)
        tell(*found.notes)
        words = WordList.of([*found.words, *self._words_before()], self.vocab)
        if words.num_left_out:
            tell(
                f"{counted(words.num_left_out, 'word')} of the text are left out: the model has not"
                " all of their characters"
            )
        return words

    def _words_before(self) -> tuple[str, ...]:
        """Return the words in the file of the model from whose weights training started, directly
        or through other runs; none if no file has any."""
        later = self
        for earlier in earlier_models(self):
            if earlier is None:
                name = os.path.basename(later.config.init_from or "")
                warn_user(f"words that {name} had read are left out: it is no longer here")
                return ()
            if earlier.words is not None:
                return tuple(earlier.word_list.forms())
            later = earlier
        return ()

    def encode(self, text: TextOrIds, *, context: str | bytes = "") -> EncodedText:
        r"""Encode a text and its context once, for several measurements.

        Every method that measures a text encodes it; a long text that is traced, studied and looked
        into again is encoded once by this. For a model of documents the text is divided as the run
        divides its own text, and each document ends in END (U+0000), unless the text has an END
        already or follows a context. A character outside the alphabet is read as a similar one if
        there is one, such as a curly quote as a straight one, else as the unknown symbol. A
        RuntimeWarning tells of a string that is the name of a file, and of many unknown characters.

        Args:
            text: The text, in a form that `TrainedModel` lists, or what `encode` returned, which
                stays as it is.
            context: What the model reads before the text; it is not measured. By default nothing.

        Returns:
            An `EncodedText` of N characters, which every method takes whose argument may be what
            `encode` returned.

        Raises:
            DataError: The text is empty, or a file cannot be read.
            UsageError: The text is bytes and the model reads characters, or it was encoded for
                another alphabet, or it contains its context already.

        Example:
            >>> model = charrnn.load("prose")
            >>> text = model.encode("What is the king to me?", context="\n")
            >>> len(text)
            23
            >>> model.trace(text).bits.mean()  # bits per character
        """
        # Documents begin after an END, which nobody types.
        if not isinstance(text, EncodedText):
            content = whole_text(text, config=self.config, context=context)
            if self.config.end_id is not None and not context:
                context = END
            encoded = encode_given(self.vocab, text=content, context=context)
            for warning in unknown_warning(self.name, encoded):
                warn(warning, GivenTextWarning)
            return encoded

        # An encoded text may come from another model, whose ids stand for other characters.
        if context:
            raise UsageError("An encoded text contains its context: leave the context out.")
        if len(text) == 0:
            raise DataError("The text is empty: give at least one character.")
        if text.vocab != self.vocab:
            raise UsageError(
                f"The text was encoded for another alphabet than that of {self.name}: encode it"
                " again."
            )
        return text

    def trace(
        self,
        text: TextOrIds,
        *,
        context: str | bytes = "",
        network: "CharRNN | None" = None,
        num_guesses: int = 0,
        keeps_hidden: bool = False,
    ) -> "Trace":
        """Compute the value of every cell at every character of a text.

        It is where one's own analysis of cells begins: all values are in one array, in memory. A
        `study` finds the cells of a longer text without it.

        Args:
            text: The text, in a form that `TrainedModel` lists, or what `encode` returned.
            context: What the model reads before the text. By default nothing.
            network: The network that reads the text, in place of the model's own, such as
                `untrained_baseline()`.
            num_guesses: The number of most likely next characters that are kept after each
                character.
            keeps_hidden: Whether the outputs of the layers are kept, too.

        Returns:
            A `Trace` of N characters: its `cells` (N, L, H) are in [-1, 1], and its `logprobs` (N,)
            are the log-probabilities of the characters in nats. They are those of a single pass
            over the context and the text, up to rounding (1e-5).

        Raises:
            DataError: The text is empty, or a file cannot be read.
            UsageError: The text is bytes and the model reads characters, or it was encoded for
                another alphabet.

        Example:
            >>> model = charrnn.load("prose")
            >>> trace = model.trace("What is the king to me?")
            >>> trace.cells.shape
            (23, 1, 384)
            >>> values = trace.cells[:, 0, 17]  # of cell 0:17, after each character
        """
        from charrnn.cells.trace import trace_text

        encoded = self.encode(text, context=context)
        trace = trace_text(
            network or self.network,
            text=encoded,
            num_guesses=num_guesses,
            keeps_hidden=keeps_hidden,
        )
        # An unknown character costs as much as in `evaluate`.
        return replace(trace, logprobs=trace.logprobs - self.vocab.escapes(trace.ids))

    def guesses(self, trace: "Trace", part: slice = slice(None)) -> list[list[tuple[str, float]]]:
        """Return the most likely next characters after each character of a traced text.

        The rows of guesses below a coloured text are made of them.

        Args:
            trace: What `trace` returned, with `num_guesses`.
            part: The characters of the trace; by default all.

        Returns:
            For each character a list of pairs (character, probability), most likely first. The
            whole list is empty if the trace was made without `num_guesses`.

        Example:
            >>> model = charrnn.load("prose")
            >>> trace = model.trace("What is the king to me?", num_guesses=5)
            >>> guesses = model.guesses(trace)
            >>> len(guesses), len(guesses[0])
            (23, 5)
        """
        if trace.guess_ids is None or trace.guess_probs is None:
            return []

        # Lists at once: reading single elements of an array is many times slower.
        all_ids = trace.guess_ids[part].tolist()
        all_probs = trace.guess_probs[part].tolist()
        guesses = []
        for ids, probs in zip(all_ids, all_probs, strict=True):
            characters = map(self.vocab.character, ids)
            guesses.append(list(zip(characters, probs, strict=True)))
        return guesses

    def coloured_text(
        self, trace: "Trace", layer: int, unit: int, part: slice = slice(None)
    ) -> "records.ColouredText":
        """Return a part of a traced text with the value of a cell at each character.

        A notebook shows it in colours, and `rich.print(*coloured.view())` prints it in colours.
        The sign is turned for a cell that is low inside what it follows by `found_cells`, which
        only a survey with `cached=True` or a command knows.

        Args:
            trace: What `trace` returned. The result has its guesses, if it has any.
            layer: The layer of the cell, from 0.
            unit: The unit of the cell in its layer, from 0.
            part: The characters of the trace; by default all.

        Returns:
            A `ColouredText`: the text, and a value in [-1, 1] for each of its characters.

        Raises:
            UsageError: There is no such cell.

        Example:
            >>> model = charrnn.load("prose")
            >>> trace = model.trace("What is the king to me?")
            >>> coloured = model.coloured_text(trace, 0, 17, slice(8, 16))
            >>> coloured.text
            'the king'
        """
        self.stepper.check_unit(layer, unit)
        return records.ColouredText(
            text=trace.text[part],
            values=tuple(trace.cells[part, layer, unit].tolist()),
            guesses=tuple(map(tuple, self.guesses(trace, part))),
            polarity=self.polarity(layer, unit),
        )

    def survey(
        self,
        text: TextOrIds,
        *,
        context: str | bytes = "",
        detectors: "Sequence[str | Detector] | None" = None,
        untrained: bool = True,
        cached: bool = False,
    ) -> "records.CellFindings":
        """Find the best cell for each detector over a text, strongest first.

        It is the first question to a new model: which of its cells follow something that has a
        name? A cell is chosen on the first half of the text and scored on the second. A text of any
        length is read once, and the first 262,144 characters of it by an untrained baseline. It is
        `study(text).findings()` in one call; `charrnn.find_cells` does the same for a trace.

        Args:
            text: The text, in a form that `TrainedModel` lists, or what `encode` returned.
            context: What the model reads before the text; it is not measured. By default nothing.
            detectors: Names of detectors, such as `quote`, or objects of the class `Detector`, or
                one name. By default all of `charrnn.detectors.registry.DETECTORS`.
            untrained: Whether an untrained network is scored, too, for comparison.
            cached: Whether measurements are looked up in the user's cache folder and saved there.
                By default they are kept in memory only.

        Returns:
            A `CellFindings`: the score of the best cell for each detector, and the reason for each
            detector that was not scored.

        Raises:
            UsageError: There is no such detector, or the text is bytes and the model reads
                characters, or it was encoded for another alphabet.
            DataError: The text is empty or has fewer than 200 characters, or a file cannot be read.

        Example:
            >>> findings = model.survey(text, detectors=["quote", "line-position"], untrained=False)
            >>> for score in findings.scores:
            ...     print(score.detector, f"{score.layer}:{score.unit}")
            quote 0:5
            line-position ...
        """
        study = self.study(text, context=context, cached=cached)
        return study.findings(detectors, untrained=untrained)

    def study(self, text: TextOrIds, *, context: str | bytes = "", cached: bool = False) -> "Study":
        """Return a study of the cells over a text: findings, passages, values, pages of cells.

        Several questions about the cells and one text need it: each result is computed once, when
        it is asked for. For the findings alone, `survey` is enough.

        Args:
            text: The text, in a form that `TrainedModel` lists, or what `encode` returned.
            context: What the model reads before the text; it is not measured. By default nothing.
            cached: Whether results are looked up in the user's cache folder and saved there. By
                default they are kept in memory only.

        Returns:
            A `Study` of the N characters of the text and the C = L × H cells of the model.

        Raises:
            DataError: The text is empty, or a file cannot be read.
            UsageError: The text is bytes and the model reads characters, or it was encoded for
                another alphabet.

        Example:
            >>> study = model.study(text)
            >>> findings = study.findings(["quote"])
            >>> [score.detector for score in findings.scores]
            ['quote']
            >>> passages = study.passages(findings)
        """
        from charrnn.cells.study import Study

        return Study(
            text=self.encode(text, context=context),
            num_layers=resolved(self.config.num_layers),
            num_units=resolved(self.config.hidden_size),
            network=self._whole_network,
            untrained_baseline=self.untrained_baseline,
            cache=self.findings if cached else FindingsCache(),
        )

    def _whole_network(self) -> "CharRNN":
        """Return the network: a method, because a study may be copied to another process."""
        return self.network


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
    # The best checkpoint unless a step is named: the latest one may have learned its text by heart.
    name = None if run is None else str(run)
    if step is None:
        name, step = split_step(name)
    found, warning = open_run_to_read(name)
    model = _model_of(found, found.load_best() if step is None else found.load_step(step))
    if warning is not None:
        model.warnings = (f"{warning}, at step {model.step}", *model.warnings)
    return model


def _model_of(found: RunReader | ModelFile, loaded: Checkpoint) -> TrainedModel:
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

    model = TrainedModel(
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
