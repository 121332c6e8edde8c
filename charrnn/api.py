"""The public Python interface: the verbs and the option names of the command line."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from charrnn.cells.findings_cache import FindingsCache
from charrnn.config.settings import Config, resolved
from charrnn.errors import (
    CharRNNError,
    DataError,
    UsageError,
    counted,
    did_you_mean,
    named,
)
from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.generation.generator import GenerationMethods, Generator, check_vocab_size, fresh_seed
from charrnn.generation.sample_options import DEFAULT_UNKNOWN, SAMPLE_TEMPERATURE, SampleOptions
from charrnn.model.clamping import NUM_CELLS
from charrnn.model.shapes import check_shapes, num_parameters
from charrnn.model.stepper import Stepper
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.included import card_of
from charrnn.runs.model_file import ModelFile
from charrnn.runs.reader import RunReader, open_run_to_read
from charrnn.runs.targets import Target
from charrnn.system.display import Displayable, RecordList
from charrnn.system.lazy import LazyModule
from charrnn.system.process import check_room_for_numba, check_room_for_torch
from charrnn.system.progress import task
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END, split_text
from charrnn.text.recorded_corpus import RecordedCorpus, recorded_corpus
from charrnn.text.vocab import EncodedText, Vocab, decode_each, encode_text

TextOrIds = str | bytes | EncodedText
"""A text to measure: as it is, or encoded with its context by `Model.encode`."""

if TYPE_CHECKING:
    from torch import Tensor

    from charrnn.analyses import atlas as atlases
    from charrnn.analyses import backpropagation as gradients_of_numbers
    from charrnn.analyses import gates as gate_reports
    from charrnn.analyses import gradients
    from charrnn.analyses import numbers as network_numbers
    from charrnn.analyses.directions import Direction
    from charrnn.cells import findings as records
    from charrnn.cells.analysis import CellAnalysis
    from charrnn.cells.trace import Trace
    from charrnn.counts import counting, growing, kneser_ney
    from charrnn.counts.counted_model import CountedModel
    from charrnn.detectors.detector import Detector
    from charrnn.evaluation.loss_reports import Adaptation
    from charrnn.formats import export
    from charrnn.model.network import CharRNN
    from charrnn.reports import copies, dynamic
    from charrnn.reports import novelty as novelties
    from charrnn.runs import overview
    from charrnn.tui.write import continuations as assistant
else:
    # `sample` uses neither, and importing them takes a tenth of its start.
    records = LazyModule("charrnn.cells.findings")
    overview = LazyModule("charrnn.runs.overview")

    # Of rooms, which may be missing: a method that needs one imports it when it is called.
    gate_reports = LazyModule("charrnn.analyses.gates")
    gradients = LazyModule("charrnn.analyses.gradients")
    network_numbers = LazyModule("charrnn.analyses.numbers")
    gradients_of_numbers = LazyModule("charrnn.analyses.backpropagation")
    counting = LazyModule("charrnn.counts.counting")
    growing = LazyModule("charrnn.counts.growing")
    kneser_ney = LazyModule("charrnn.counts.kneser_ney")
    export = LazyModule("charrnn.formats.export")
    copies = LazyModule("charrnn.reports.copies")
    dynamic = LazyModule("charrnn.reports.dynamic")
    novelties = LazyModule("charrnn.reports.novelty")
    assistant = LazyModule("charrnn.tui.write.continuations")

WRITTEN = SampleOptions(length=20_000, temperature=SAMPLE_TEMPERATURE, seed=1)
"""How an included model writes the text that it is measured on."""
MAX_LAG = 200
"""Characters back to which gradients are computed, unless another number is asked for."""
SGD_LEARNING_RATE = 0.1
"""Learning rate of the step of SGD after back-propagation, unless another one is asked for."""
NUM_CONTINUATIONS = 5
"""The number of continuations that are offered at a time."""
FEW_UNKNOWN = 0.001
"""The share of unknown characters in a text from which on there is a warning about them."""


@dataclass(eq=False, repr=False)
class Model(GenerationMethods, Displayable):
    """A trained model: generates text (without torch), predicts, and shows its cells.

    Its `generator` generates text, with options in a dataclass.
    """

    config: Config
    vocab: Vocab
    tensors: dict[str, NDArray[Any]]
    """The weights by name."""
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
    adaptation: "Adaptation | None" = None
    """None unless `adapted` made it."""
    val_nats: float | None = None
    """The validation loss at that step; None if it is not known."""
    instead_of: str | None = None
    """What is wrong with the checkpoint that was asked for, if this is another one; `export`
    refuses it."""

    def __post_init__(self) -> None:
        self.generator = Generator(
            self.config, vocab=self.vocab, tensors=self.tensors, name=self.name
        )

    def __repr__(self) -> str:
        # A loss that is not known is left out, and not shown as None.
        found = self.description
        loss = ""
        if found.val_nats is not None:
            loss = f", {found.val_nats:.4f} nats per character"
        size = f"{found.architecture}, {found.num_parameters:,} weights, {found.symbols}"
        return f"<Model {found.name}: {size}, step {found.step:,}{loss}>"

    def origin(self) -> dict[str, Any]:
        """Return the text that the model was adapted to, for JSON; nothing for another model."""
        if self.adaptation is None:
            return {}
        return {"adaptation": asdict(self.adaptation)}

    @property
    def description(self) -> "overview.ModelDescription":
        """The cells, the number of weights, the alphabet, the text, the step and the validation
        loss if it is known."""
        return overview.ModelDescription(
            name=self.name,
            cell=self.config.cell,
            depth=self.config.depth,
            num_layers=resolved(self.config.num_layers),
            hidden_size=resolved(self.config.hidden_size),
            num_parameters=num_parameters(self.config, len(self.vocab)),
            alphabet=self.vocab.kind,
            vocab_size=len(self.vocab),
            text=overview.text_name(self.config.corpus),
            step=self.step,
            val_nats=self.val_nats,
        )

    @property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy and float32. Raises CheckpointError if
        weights do not fit."""
        return self.generator.stepper

    def character(self, id: int) -> str:
        """Return the character of an id, `\\xNN` for a byte that is none by itself, "" for the
        unknown symbol."""
        return self.generator.character(id)

    @cached_property
    def findings(self) -> FindingsCache:
        """What was measured of these weights; kept in the user's cache folder if the model was
        loaded from a run."""
        return FindingsCache(self.step_digest)

    @property
    def found_cells(self) -> "tuple[records.FoundCell, ...]":
        """The cells that were found to follow a built-in detector better than an untrained network,
        best first; of an included model those of its card."""
        from charrnn.cells.analysis import found_cells

        return found_cells(self.findings)

    def polarity(self, layer: int, unit: int) -> int:
        """Return -1 if the cell is low inside what it was found to follow, which turns the sign
        with which it is drawn; else 1."""
        from charrnn.cells.analysis import known_polarity

        return known_polarity(self.findings, layer, unit)

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """What the card of an included model says (`runs.included`); empty for any other model."""
        return card_of(self.step_digest)

    @property
    def card_scores(self) -> "tuple[records.CellScore, ...]":
        """The scores of an included model's cells on held-out text; none of another model."""
        return tuple(records.CellScore(**fields) for fields in self.card.get("cells", ()))

    def written_text(self) -> str:
        """Return the text that an included model, which has no other, is measured on: it writes it
        itself, by exact sampling with the options WRITTEN, so that it is the same everywhere. It is
        kept with the findings.

        >>> model = charrnn.load("prose")
        >>> model.survey(model.written_text())
        """
        key = {"length": WRITTEN.length}
        written = self.findings.load("written", key, str)
        if written is None:
            with task("writing", total=WRITTEN.length) as advance:
                written = self.generator.sample(replace(WRITTEN, on_draw=advance)).text
            self.findings.save("written", key, written)
        return written

    @cached_property
    def network(self) -> "CharRNN":
        """The model as a torch module on the CPU. Raises CheckpointError if weights are missing or
        misshapen."""
        check_room_for_torch()
        import torch

        from charrnn.model.network import load_network

        # Checked here, too: whoever builds a model of tensors of their own has read no file.
        check_vocab_size(check_shapes(self.config, self.tensors), vocab=self.vocab, name=self.name)
        tensors = {name: torch.from_numpy(array) for name, array in self.tensors.items()}
        return load_network(self.config, vocab_size=len(self.vocab), tensors=tensors)

    def untrained_baseline(self) -> "CharRNN":
        """Build the same network, or the same several, with newly drawn weights."""
        from charrnn.model.ensemble import build_network, tensors_of

        # Another seed: with that of the run, the weights would be those that it began with.
        config = replace(self.config, seed=(self.config.seed + 1) % 2**32)
        tensors = tensors_of(build_network(config, len(self.vocab)))
        return replace(self, config=config, tensors=tensors).network

    def encoding_warnings(self, text: str | bytes) -> tuple[str, ...]:
        """Return warnings about characters outside the vocabulary, and about bytes that are parts
        of characters."""
        if isinstance(text, bytes):
            # Every byte from 128 on is a part of a longer character in UTF-8.
            num_parts = len(text) - len(text.translate(None, bytes(range(128, 256))))
            if not num_parts:
                return ()
            warning = (
                f"{counted(num_parts, 'byte')} of longer characters: each is shown, and labelled,"
                " as Latin-1."
            )
            return (warning,)

        # A few unknown characters change no figure that is shown.
        num_unknown = self.vocab.num_unknown(self.vocab.encode(text))
        if num_unknown < FEW_UNKNOWN * len(text):
            return ()

        is_or_are = "are"
        it_or_each = "each of them"
        if num_unknown == 1:
            is_or_are = "is"
            it_or_each = "it"
        unknown = (
            f"{num_unknown:,} of {counted(len(text), 'character')} {is_or_are} unknown to"
            f" {self.name}"
        )
        return (f"{unknown}, which reads {it_or_each} as the unknown symbol.",)

    @property
    def is_imported(self) -> bool:
        """Whether another program trained it, and the text that it records is held out."""
        return self.recorded_corpus is not None and self.recorded_corpus.is_held_out

    def check_learned_here(self, instead: str = "") -> None:
        """Raise DataError for an imported model, whose training text nobody recorded. `instead` is
        another way for the message."""
        remedy = ""
        if instead:
            remedy = f": {instead}"
        if self.is_imported:
            raise DataError(f"{self.name} was imported without its training text{remedy}.")

    def held_out(self, part: str = "validation") -> CorpusPart:
        """Return the run's `validation` or `test` text in its corpus, which is read in blocks
        however large it is.

        Raises DataError if the corpus is not there any more, came from standard input, or has
        changed; UsageError if the run has no such part; CharRNNError if the ids of a large corpus
        cannot be written to a disk.

        >>> charrnn.evaluate(model, model.held_out()).bpc
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

    def held_out_text(self, part: str = "validation") -> tuple[str | bytes, str | bytes]:
        """Read `held_out` into memory: the whole text, and up to 65,536 characters before it (its
        context).

        Raises DataError if the corpus is missing or has changed, UsageError if the run has no such
        part.

        >>> text, context = model.held_out_text()
        >>> trace = model.trace(text[:5000], context=context)
        """
        found = self.held_out(part)
        return found[:], found.context

    def training_text(self, part: CorpusPart | None = None, *, instead: str = "") -> CorpusPart:
        """Return the run's training text in its corpus, which is read again unless it is that of
        `part`.

        `instead` is another way for the message if it cannot be read. Raises DataError if it is
        missing or has changed, and for a model that another program trained.
        """
        # A part of the same corpus saves a second reading of all of it.
        self.check_learned_here(instead)
        if part is None or part.corpus.vocab != self.vocab:
            return self.read_parts(
                instead=instead, reason=" n-grams are counted in the training text."
            )[0]
        training, *_ = split_text(part.corpus.ids, self.config)
        return CorpusPart(part.corpus, begin=training.start, end=training.stop)

    def read_parts(self, *, instead: str = "", reason: str = "") -> list[CorpusPart]:
        """Read the parts of the run's text: training, validation and, if it has one, test. Raises
        DataError if it is missing or changed."""
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

        corpus = self.recorded_corpus.read(vocab=self.vocab, instead=instead, reason=reason)
        if self.is_imported:
            # The first character is only read: nothing predicts it.
            return [
                CorpusPart(corpus, begin=0, end=1),
                CorpusPart(corpus, begin=1, end=len(corpus)),
            ]
        return [
            CorpusPart(corpus, begin=part.start, end=part.stop)
            for part in split_text(corpus.ids, self.config)
        ]

    def encode(self, text: TextOrIds, *, context: str | bytes = "") -> EncodedText:
        r"""Encode a text and the context the model reads before it, once for several measurements.

        For a model of documents, END (U+0000) stands between the documents of a text, and a text
        without context begins a document. A text that is encoded already is returned as it is.
        Raises DataError for an empty text, UsageError for bytes where the model reads characters
        and for a text that another alphabet has encoded.

        >>> text = model.encode("ROMEO: what is it?", context="\n")
        >>> model.trace(text).bits.mean()
        """
        # Documents begin after an END, which nobody types.
        if not isinstance(text, EncodedText):
            if self.config.end_id is not None and not context:
                context = END
            return encode_text(self.vocab, text=text, context=context)

        # An encoded text may come from another model, whose ids stand for other characters.
        if context:
            raise UsageError("An encoded text contains its context: leave the context out.")
        if len(text) == 0:
            raise DataError("The text is empty: give at least one character.")
        is_ours = text.kind == self.vocab.kind and int(text.ids.max()) < len(self.vocab)
        if not is_ours or decode_each(self.vocab, text.ids[text.first :]) != text.text:
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
        """Compute every cell's value at every character of `text`, read after `context`.

        `network` is used in place of the model's (such as `untrained_baseline()`); `num_guesses`
        and `keeps_hidden` add the optional parts of a `Trace`. Raises DataError for an empty text.

        >>> trace = model.trace("ROMEO: what is it?")
        >>> trace.cells[:, 0, 17]  # of cell 0:17, after each character
        """
        from charrnn.cells.trace import trace_text

        encoded = self.encode(text, context=context)
        return trace_text(
            network or self.network,
            text=encoded,
            num_guesses=num_guesses,
            keeps_hidden=keeps_hidden,
        )

    def guesses(self, trace: "Trace", part: slice = slice(None)) -> list[list[tuple[str, float]]]:
        """Return the most likely next characters and their probabilities after each character of a
        part of a trace.

        The list is empty if the trace was made without `num_guesses`.

        >>> trace = model.trace("ROMEO: what is it?", num_guesses=5)
        >>> model.guesses(trace)[0]  # five pairs (character, probability)
        """
        if trace.guess_ids is None or trace.guess_probs is None:
            return []

        # Lists at once: reading single elements of an array is many times slower.
        all_ids = trace.guess_ids[part].tolist()
        all_probs = trace.guess_probs[part].tolist()
        guesses = []
        for ids, probs in zip(all_ids, all_probs, strict=True):
            characters = map(self.character, ids)
            guesses.append(list(zip(characters, probs, strict=True)))
        return guesses

    def coloured_text(
        self, trace: "Trace", layer: int, unit: int, part: slice = slice(None)
    ) -> "records.ColouredText":
        """Return a part of a traced text with the values of a cell, and with the guesses if the
        trace has them.

        Raises UsageError for an unknown cell.

        >>> model.coloured_text(model.trace("ROMEO: what is it?"), 0, 17).values
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
        """Find the best cell for each named detector (all, if none is named), strongest first:
        chosen on the first half of the text, scored on the second.

        A text of any length is read once, after `context`, and up to 262,144 characters of it by an
        untrained baseline unless `untrained` is false.

        With `cached`, measurements are looked up in the user's cache folder and saved there (see
        docs/formats.md). Raises UsageError, DataError.

        >>> for score in model.survey(text, detectors=["quote", "line-position"]).scores:
        ...     print(score.detector, score.layer, score.unit)
        """
        study = self.study(text, context=context, cached=cached)
        return study.findings(detectors, untrained=untrained)

    def study(
        self, text: TextOrIds, *, context: str | bytes = "", cached: bool = False
    ) -> "CellAnalysis":
        """Return a study of the cells over `text`, read after `context`: findings, rankings,
        passages, values, history.

        With `cached` each result is saved in the user's cache folder. Raises DataError for an empty
        text.

        >>> study = model.study(text, cached=True)
        >>> study.passages(study.findings())
        """
        from charrnn.cells.analysis import CellAnalysis

        return CellAnalysis(
            text=self.encode(text, context=context),
            num_layers=resolved(self.config.num_layers),
            num_units=resolved(self.config.hidden_size),
            network=lambda: self.network,
            untrained_baseline=self.untrained_baseline,
            cache=self.findings if cached else FindingsCache(),
            steps=self._steps,
        )

    def _steps(self) -> "Iterator[tuple[int, CharRNN]]":
        """Yield the step and the network of every checkpoint of the run, if there is one."""
        # One network at a time is in memory.
        if self.path is not None:
            for model in load_steps(self.path):
                yield model.step, model.network

    # The room `analyses`: how cells are looked into.

    def atlas(
        self, text: TextOrIds, *, context: str | bytes = "", cached: bool = False
    ) -> "atlases.Atlas":
        """Measure all cells over `text`, read after `context`: values, places on a map,
        descriptions, inputs, outputs and findings.

        With `cached` the findings, the descriptions, the inputs and the outputs are saved in the
        user's cache folder. Raises DataError for a text too short for findings.

        >>> atlas = model.atlas(text)
        >>> len(atlas.cells), atlas.findings.scores[0]
        """
        return self.study(text, context=context, cached=cached).atlas()

    def direction(self, detector: "str | Detector", size: int | None = NUM_CELLS) -> "Direction":
        """Fit a direction for a detector on the beginning of the run's validation text: `size`
        cells, None for all.

        It can be clamped. The result is saved in the user's cache folder. Raises UsageError for an
        unknown detector or a `size` out of range, DataError if the text is missing or the detector
        cannot be scored.

        >>> direction = model.direction("quote")
        >>> model.sample(clamps={direction: direction.high}, length=100).text
        """
        # A text that the model was not trained on, and the one that `--find` reads by default.
        held_out = self.held_out()
        study = self.study(held_out[: records.CHARS_SCORED], context=held_out.context, cached=True)
        try:
            return study.direction(detector, size=size)
        except DataError as error:
            # Its last sentence asks for another text, which nobody who clamps can give.
            reason, _, _ = error.marked.rpartition(" Give ")
            raise DataError(
                f"{reason} It is the validation text of {self.name}. Clamp a cell, such as 0:17, or"
                " in Python a direction of another text: model.study(text).direction(...)."
            ) from None

    def gates(self, text: TextOrIds, *, context: str | bytes = "") -> "gate_reports.GateReport":
        """Count how often each gate of each unit is saturated in `text`, read after `context`.

        Raises UsageError for a cell type without gates, DataError for an empty text, CharRNNError
        if there is no room on the disk.

        >>> for gate in model.gates(text).gates:
        ...     print(gate.layer, gate.gate, max(gate.right))  # the unit that is open most often
        """
        return gate_reports.count_gates(
            self.network, text=self.encode(text, context=context), name=self.name
        )

    def gradients_with(
        self,
        others: "Iterable[Model]",
        text: str | bytes,
        *,
        context: str | bytes = "",
        max_lag: int = MAX_LAG,
    ) -> "tuple[gradients.GradientReach, ...]":
        """Compute how far gradients reach back in this model and in others, each beside its
        untrained baseline, over `text`, read after `context`.

        Each model encodes the text by its own alphabet. Raises UsageError for a `max_lag` under 1,
        DataError for a text too short.

        >>> first, untrained, *others = model.gradients_with([charrnn.load("other")], raw)
        >>> first.norms[0][50]  # of layer 0, 50 characters back
        """
        return gradients.gradients_of((self, *others), text, context=context, max_lag=max_lag)

    def numbers(
        self, text: str | bytes, *, unknown: str = DEFAULT_UNKNOWN
    ) -> "network_numbers.NetworkNumbers":
        """Compute every number of a small network that reads `text` from the initial state, in
        float64.

        For a model of documents the text is the beginning of one. Raises UsageError for a network
        or a text too large and for an empty text, DataError for characters outside the vocabulary
        unless `unknown` is `nearest`.

        >>> numbers = charrnn.load("tiny").numbers("hel")
        >>> numbers.steps[0].layers[0].row("h").values
        """
        return network_numbers.model_numbers(self, text, unknown=unknown)

    def backpropagation(
        self,
        text: str | bytes,
        *,
        learning_rate: float = SGD_LEARNING_RATE,
        unknown: str = DEFAULT_UNKNOWN,
    ) -> "gradients_of_numbers.Backpropagation":
        """Compute the gradients of the sum of the losses of `text` by every number of a small
        network and by its weights, in float64, and the weights after a step of SGD.

        The equations of rnn, lstm and gru are written out; other networks raise UsageError, and so
        do a text without a character to predict and what `numbers` refuses. Raises DataError as
        `numbers`.

        >>> backward = charrnn.load("tiny").backpropagation("hello")
        >>> backward.steps[0].layers[0].row("dh right").values
        """
        return gradients_of_numbers.model_backpropagation(
            self, text, learning_rate=learning_rate, unknown=unknown
        )

    # The room `counts`: n-grams of the training text.

    def ngram_model(
        self, order: int = 20, *, training: CorpusPart | None = None
    ) -> "kneser_ney.NgramModel":
        """Count the n-grams of the run's training text, n = 1 … `order`, in the model's alphabet.

        `training` is that text where it is read already. Raises DataError if the training text is
        missing, changed or shorter than `order`, UsageError for an order out of range.

        >>> model.ngram_model(5).order
        """
        return kneser_ney.fit_ngrams(training or self.training_text(), order)

    def with_counts(self) -> "CountedModel":
        """Return the model together with the counts of its training text, which training keeps
        beside the checkpoints.

        Raises DataError for a model that has none, CheckpointError if they are damaged or belong to
        another step, CharRNNError if there is too little memory.

        >>> model.with_counts().sample(length=200, seed=1).text
        """
        check_room_for_numba()
        return counting.with_counts(self)

    def growing_counts(self, ids: NDArray[Any], first: int) -> "growing.GrowingCounts | None":
        """Return the counts of the training text, to grow with the characters of ids (N,) from
        `first` on; None for a model without counts.

        >>> part = model.held_out()
        >>> counts = model.growing_counts(part.ids, first=part.begin)
        """
        try:
            together = self.with_counts()
        except CharRNNError:
            return None
        return growing.GrowingCounts(together.counts, ids=ids, first=first)

    # The room `formats`: files that other programs read.

    def export(self, path: str | Path, *, force: bool = False, title: str | None = None) -> Path:
        """Write the model to a file in the format of its suffix, and return its path.

        `load` and every command take a .zip. `title` is that of a page, by default the name of the
        model. No format contains the optimizer, a text or the name of a folder.

        Raises UsageError for another suffix, for a folder or a package that is missing, for a file
        that exists unless `force`, and for the title of another file than a page; CheckpointError
        for a step that stands for a damaged one, unless `load` got its number; CharRNNError if it
        cannot be written.

        >>> model.export("model.zip", force=True)
        >>> charrnn.load("model.zip").step
        """
        read = () if self.path is None else (self.path,)
        export.write_model(self, Target(Path(path), force=force, read=read), title=title)
        return Path(path)

    # The room `reports`: what was learned, and what of a text was copied.

    def adapted(
        self,
        text: str | bytes,
        *,
        unknown: str = DEFAULT_UNKNOWN,
        settings: "dynamic.DynamicSettings | None" = None,
    ) -> "Model":
        """Return a model whose weights have learned from `text` by dynamic evaluation; this one
        stays as it is.

        The result's `adaptation` has the losses. It belongs to no run: its `path` and `step_digest`
        are None, and it is not saved. `unknown` is that of `sample`. Raises DataError for a text of
        one segment or less and for characters outside the vocabulary, UsageError for bytes where
        the model reads characters, NonFiniteError if the weights diverge.

        >>> letters = model.adapted("What is the king to me? " * 20)
        >>> letters.sample(length=100, seed=1).text
        """
        return dynamic.adapted(self, text, unknown=unknown, settings=settings)

    def gradient_scale(self, part: CorpusPart | None = None) -> "dict[str, Tensor]":
        """Compute the root mean square of each weight's gradient, by which dynamic evaluation
        divides its steps: on the training text in the corpus of `part` or, without any, on texts
        that the model draws.

        >>> model.gradient_scale()["output.weight"].mean()
        """
        return dynamic.gradient_scale(self, part)

    def new_documents(self) -> Callable[[str | bytes], bool]:
        """Return a function that says whether a document is none of those that the model, and the
        models that it started from, were trained on: `accept` of `samples`.

        Raises DataError if the run's text is missing or changed, UsageError for a model without
        documents.

        >>> model.samples(100, unique=True, accept=model.new_documents())
        """
        return novelties.new_documents(self)

    def novelty(
        self, text: str | bytes, *, min_length: int = MIN_COPY_LENGTH
    ) -> "novelties.Novelty":
        """Find what `text` copies from the run's training text, which is read again: segments of at
        least `min_length` characters.

        `Novelty.text`, which the offsets refer to, is `text` encoded as the corpus is: with LF line
        ends or, for the byte alphabet, as bytes. Characters outside the model's alphabet are
        compared like any other. `held_out_share` is what the beginning of the validation text
        shares with the training text: names, idioms and licences recur without any copying. A share
        near it is no sign of copying. Raises DataError if the run's text is missing or changed and
        for a text too long, UsageError for a `min_length` under 1.

        >>> found = model.novelty(model.sample(length=2000).text)
        >>> found.share_copied, found.held_out_share
        """
        return self.novelty_reference().compare(text, min_length=min_length)

    def novelty_reference(self, *, length: int = 0) -> "novelties.NoveltyReference":
        """Read and verify the run's training text, so that `compare` can compare several texts with
        it.

        Raises DataError if it is missing or changed, UsageError if a sample of `length` characters
        is too long to be compared.

        >>> reference = model.novelty_reference(length=500)
        >>> [reference.compare(drawn.text).share_copied for drawn in model.samples(3, length=500)]
        """
        return novelties.novelty_reference(self, length=length)

    def known_passages(self, num_chars: int) -> "copies.KnownPassages":
        """Read the training text of the run, and of the runs that it started from, so that no
        sample copies more than `num_chars` characters of it in a row.

        Raises DataError if the text is missing or has changed.

        >>> known = model.known_passages(30)
        >>> model.sample(length=200, forbid=known).text
        """
        return copies.known_passages(self, num_chars)

    # The room `tui`: the assistant of the editor.

    def continuations(
        self,
        text: str,
        *,
        count: int = NUM_CONTINUATIONS,
        until: str = "word",
        temperature: float = SAMPLE_TEMPERATURE,
        seed: int | None = None,
    ) -> "list[assistant.Continuation]":
        """Return `count` different continuations of a text to the end of a `word`, a `line` or a
        `sentence`.

        A fifth of them come from a beam search, the others are samples. Fewer are returned only if
        the model has no more. Characters that the model does not know are replaced by similar ones.
        Without a seed a new one is drawn. Raises UsageError for an option out of range.

        >>> for continuation in model.continuations("What is the ", until="word", seed=1):
        ...     print(continuation.text)
        """
        if seed is None:
            seed = fresh_seed()
        options = assistant.ContinuationOptions(until=until, temperature=temperature, seed=seed)
        return RecordList(assistant.continue_text(self, text, options).take(count))


def load(run: str | Path | None = None, *, step: int | None = None) -> Model:
    """Load a run's best checkpoint (its latest, if nothing was validated yet), or a file that
    `Model.export` wrote.

    Without `run`, the newest run that was validated, in `checkpoints` or directly in the current
    folder; where none was, the newest, which is one of its `warnings`. With `step`, the checkpoint
    of that step. Raises CheckpointError if there is no such run or step, or nothing in it can be
    verified.

    >>> model = charrnn.load("shakespeare")  # a name in checkpoints/, or a path
    >>> model.step, model.val_nats
    """
    # The best checkpoint unless a step is named: the latest one may have learned its text by heart.
    found, warning = open_run_to_read(None if run is None else str(run))
    model = _model_of(found, found.load_best() if step is None else found.load_step(step))
    if warning is not None:
        model.warnings = (f"{warning}, at step {model.step}", *model.warnings)
    return model


def load_steps(run: str | Path) -> Iterator[Model]:
    """Load every checkpoint of a run that is whole, from the first to the last.

    Raises CheckpointError if there is no such run, UsageError for a model file, which has one step.
    """
    folder, _ = open_run_to_read(str(run))
    if isinstance(folder, ModelFile):
        raise UsageError(
            f"{folder.path} contains one step of a run: name the folder of the run, with all its"
            " steps."
        )
    for name in folder.checkpoints():
        # A training process may have pruned it meanwhile.
        if not (folder.path / name).is_dir():
            continue
        loaded = folder.load_checkpoint(name, with_training=False)

        # If the checkpoint is damaged, another one was taken in its place.
        if loaded.name == name:
            yield _model_of(folder, loaded)


def _model_of(found: RunReader | ModelFile, loaded: Checkpoint) -> Model:
    config = loaded.description.config()
    # A file has no folder with other steps, to which reports about training could go.
    if isinstance(found, ModelFile):
        name, model_file, path = found.name, found.path.name, None
    else:
        name, model_file, path = found.path.name, "", found.path.absolute()

    model = Model(
        config,
        vocab=loaded.description.vocab(),
        tensors=dict(loaded.model),
        name=name,
        path=path,
        step=loaded.step,
        recorded_corpus=recorded_corpus(
            name, config=config, state=loaded.state, model_file=model_file
        ),
        warnings=loaded.warnings,
        step_digest=loaded.digest,
        instead_of=loaded.instead_of,
        val_nats=_val_nats_of(loaded),
    )

    # An error about a damaged file should name it now, not in the middle of a measurement.
    vocab_size = check_shapes(model.config, tensors=model.tensors, path=found.path)
    check_vocab_size(vocab_size, vocab=model.vocab, name=model.name)
    return model


def _val_nats_of(loaded: Checkpoint) -> float | None:
    """Return the validation loss of a checkpoint, None if it is not the best one of its run."""
    # Other steps were validated, too, but only the best loss is in the state.
    nats = loaded.state.get("best_nats")
    if loaded.state.get("best_step") != loaded.step or not isinstance(nats, float):
        return None
    return nats
