"""The public Python interface: the verbs and the option names of the command line.

`Model` is a `TrainedModel` with a method for each function of the package that takes one. The
modules of these functions are imported when a method uses them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from charrnn import model_texts, trained_model
from charrnn.config.settings import Config
from charrnn.generation.generated_text import MIN_COPY_LENGTH, GeneratedText, Prediction
from charrnn.generation.keywords import with_options
from charrnn.generation.sample_options import (
    DEFAULT_TOP,
    DEFAULT_UNKNOWN,
    SampleOptions,
    SearchOptions,
    SeveralOptions,
)
from charrnn.generation.writing import Piece
from charrnn.model_texts import HeldOutText, TextOrIds
from charrnn.system.arrays import Float64Array
from charrnn.system.display import Displayable, RecordList
from charrnn.system.lazy import LazyModule
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, TextPiece, read_given, text_to_continue, texts_of
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import (
    MAX_LAG,
    NUM_LEFT_OUT,
    NUM_PLACES,
    SGD_LEARNING_RATE,
    TrainedModel,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.analyses import backpropagation, evidence, gates, gradients, numbers, ranking, why
    from charrnn.analyses.backpropagation import Backpropagation
    from charrnn.analyses.evidence.results import EvidenceCard
    from charrnn.analyses.gates import GateReport
    from charrnn.analyses.numbers import NetworkNumbers
    from charrnn.analyses.why import Why, many_places
    from charrnn.analyses.why.places_record import WhyPlaces
    from charrnn.cells import known_cells, records
    from charrnn.cells import study as studies
    from charrnn.cells import trace as traces
    from charrnn.cells.study import Study
    from charrnn.cells.trace import Trace
    from charrnn.detectors.detector import Detector
    from charrnn.evaluation import probabilities
    from charrnn.formats import export
    from charrnn.generation.sample_options import Forbid
    from charrnn.model.network import CharRNN
    from charrnn.reports import learned_texts, provenance
    from charrnn.reports.provenance import Provenance, ReferenceText
    from charrnn.runs.overview import ModelDescription
else:
    backpropagation = LazyModule("charrnn.analyses.backpropagation")
    evidence = LazyModule("charrnn.analyses.evidence")
    ranking = LazyModule("charrnn.analyses.ranking")
    gates = LazyModule("charrnn.analyses.gates")
    gradients = LazyModule("charrnn.analyses.gradients")
    numbers = LazyModule("charrnn.analyses.numbers")
    why = LazyModule("charrnn.analyses.why")
    many_places = LazyModule("charrnn.analyses.why.many_places")
    known_cells = LazyModule("charrnn.cells.known_cells")
    studies = LazyModule("charrnn.cells.study")
    traces = LazyModule("charrnn.cells.trace")
    probabilities = LazyModule("charrnn.evaluation.probabilities")
    export = LazyModule("charrnn.formats.export")
    learned_texts = LazyModule("charrnn.reports.learned_texts")
    provenance = LazyModule("charrnn.reports.provenance")

Options = TypeVar("Options", bound=SampleOptions)
"""The options of a text that is drawn, or of one that is searched for."""


class Model(TrainedModel, Displayable):
    """A trained model: generates text (without torch), predicts, and shows its cells.

    `load` returns one. It is a `TrainedModel`, whose fields say what it is, with a method for each
    function of the package that takes one.

    A text, and a prime that is continued, has one of these forms: a string, bytes, the
    `pathlib.Path` of a file, or a list of these. What is measured several times may be encoded
    once, by `encode`.

    `sample`, `stream` and `write` take the fields of `SampleOptions`, `samples` those of
    `SeveralOptions`, and `beam` those of `SearchOptions`, which are in
    `charrnn.generation.sample_options`. The methods raise UsageError for an unknown option and for
    one out of range, and DataError for a prime with characters outside the vocabulary. The defaults
    are those of `charrnn sample`, but that a document has at most 1,000 characters.

    A method that reads or writes a text with the model raises CheckpointError if the weights do not
    fit the configuration or are not finite: the file was damaged, or the model was built of other
    tensors.
    """

    # What it is.

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

    @property
    def description(self) -> "ModelDescription":
        """The cells, the number of weights, the alphabet, the text, the step and the validation
        loss if it is known.

        A program reads single facts from it, to log them or to sort models by them; `print(model)`
        has them in a line, and `view` in a table.
        """
        return trained_model.describe(self)

    # Text that it writes.

    @with_options(SampleOptions)
    def sample(self, options: SampleOptions) -> GeneratedText:
        r"""Draw a text.

        `samples` draws many texts faster, `stream` tells the probability of each character as it is
        drawn, and `write` draws a text of any length. The options are given by name. They are the
        fields of `SampleOptions` in `charrnn.generation.sample_options`, which describes all of
        them; the first are these.

        Args:
            length: The number of characters, at least 0; by default 1,000. A document may end
                earlier.
            prime: The text that the model reads first, which is not part of the result, in a form
                that `Model` lists. Without it the text begins like the training text: the
                model reads a newline, with a full stop before it and newlines after it if it
                expects them.
            temperature: The divisor of the logits, by default 0.8: 1 is the model's own
                distribution, 0 is greedy.
            seed: The same seed gives the same text. By default a new one is drawn.

        Returns:
            A `GeneratedText`: the `text`, the log-probability of each of its characters in nats,
            and the seed. The weights that draw have 8 bits unless `precision` is `fp32`: then a
            `trace` of the text, with what was read before it as its context, has the same
            log-probabilities.

        Raises:
            UsageError: There is no such option, an option is out of range, or a cell that is
                clamped does not exist.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.

        Example:
            >>> model = charrnn.load("prose")
            >>> drawn = model.sample(length=60, prime="What is the ", temperature=0.8, seed=1)
            >>> len(drawn.text), len(drawn.logprobs), drawn.seed
            (60, 60, 1)
            >>> model.sample(length=20, top_k=3, ban="e", stops=["\n"]).text
            >>> exact = model.sample(length=60, precision="fp32", seed=1)
            >>> before = model.vocab.decode(model.generator.encode_prime(None))
            >>> trace = model.trace(exact.text, context=before)
            >>> abs(exact.logprob - float(trace.logprobs.sum())) < 0.01
            True
        """
        return self.generator.begin(_with_prime_text(options, self.config)).whole()

    @with_options(SeveralOptions)
    def samples(self, options: SeveralOptions) -> list[GeneratedText]:
        """Draw several texts at once.

        A list of names, molecules or tunes needs this: it is faster than a loop of `sample`, and
        can leave out what it has drawn or what is known. The options are those of `sample`, too:
        the fields of `SeveralOptions` in `charrnn.generation.sample_options`.

        Args:
            count: The number of texts, at least 1. Text i does not depend on it: `sample` draws the
                same text with its `seed`.
            unique: Whether a text that was drawn before is rejected.
            accept: A function of a text with its prime; a text for which it returns False is
                rejected.
            length: The number of characters of each text, at least 0; by default 1,000. A document
                may end earlier.

        Returns:
            A list of `GeneratedText`, in the order of their seeds.

        Raises:
            UsageError: There is no such option, an option is out of range, a cell that is
                clamped does not exist, or 1,000 texts in a row were rejected.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.

        Example:
            >>> model = charrnn.load("prose")
            >>> [len(drawn.text) for drawn in model.samples(3, length=40, seed=1)]
            [40, 40, 40]
            >>> texts = model.samples(2, length=40, unique=True, accept=lambda text: "t" in text)
        """
        drawn = self.generator.iter_samples(_with_prime_text(options, self.config))
        return RecordList(drawn)

    @with_options(SampleOptions)
    def stream(self, options: SampleOptions) -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn.

        It is for a program that shows each character at once, with its probability or the value of
        a cell. `write` is faster where the text alone is wanted. The options are those of `sample`,
        of which `cell` is for this method.

        Args:
            length: The number of characters, at least 0; by default 1,000. A document may end
                earlier.
            cell: The cell (layer, unit) whose value is yielded with each piece.

        Returns:
            An iterator over `Piece`: a `text`, its log-probability `logprob` in nats, and the
            `value` of `cell` in [-1, 1]. The text is a character; with the byte alphabet it is ""
            until the bytes of a character are complete.

        Raises:
            UsageError: There is no such option, an option is out of range, or a cell does not
                exist.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.

        Example:
            >>> model = charrnn.load("prose")
            >>> for piece in model.stream(length=20, seed=1, cell=(0, 17)):
            ...     print(repr(piece.text), piece.logprob, piece.value)
        """
        return self.generator.begin(_with_prime_text(options, self.config)).pieces()

    @with_options(SampleOptions)
    def write(self, options: SampleOptions) -> Iterator[str]:
        r"""Yield a text in chunks, as fast as it can be drawn.

        It is for a text that goes to a file or to another program: it may have any length, because
        nothing of it is kept. The options are those of `sample`.

        Args:
            length: The number of characters, at least 0; by default 1,000. A document may end
                earlier.
            stops: Strings that end the text, which is cut before them.

        Returns:
            An iterator over parts of the text.

        Raises:
            UsageError: There is no such option, an option is out of range, or a cell that is
                clamped does not exist.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.

        Example:
            >>> model = charrnn.load("prose")
            >>> for chunk in model.write(length=10_000, stops=["\n\n"]):
            ...     print(chunk, end="")
        """
        return self.generator.begin(_with_prime_text(options, self.config)).chunks()

    @with_options(SearchOptions)
    def beam(self, options: SearchOptions) -> list[GeneratedText]:
        """Return the most likely texts that a beam search finds.

        It answers what the model would write at its surest, such as the likeliest end of a word;
        for text to read, `sample` is better, because the likeliest text repeats itself. The search
        is that of Graves (2012), and draws nothing. The options are the fields of
        `SearchOptions` in `charrnn.generation.sample_options`.

        Args:
            width: The number of texts that are kept at every step, and returned, from 1 to 4,096;
                by default 8.
            length: The number of characters, at least 1, unless a stop string ends the text; by
                default 200.
            prime: The text that the model reads first, which is not part of the result, in a form
                that `Model` lists. Without it the text begins like the training text: the
                model reads a newline, with a full stop before it and newlines after it if it
                expects them.
            no_repeat: The length of the n-grams that must not occur twice. By default every n-gram
                may recur.

        Returns:
            A list of `GeneratedText`, most likely first.

        Raises:
            UsageError: There is no such option, an option is out of range, or a stop string
                has characters outside the vocabulary.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.

        Example:
            >>> model = charrnn.load("prose")
            >>> best, *others = model.beam(width=4, length=40, prime="What is ")
            >>> all(best.logprob >= other.logprob for other in others)
            True
        """
        return self.generator.beam(_with_prime_text(options, self.config))

    def predict(
        self, text: GivenText, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN
    ) -> list[Prediction]:
        """Return the most likely next characters after a text, most likely first.

        It shows what the model expects at one place; `trace` with `num_guesses` does so after every
        character. The unknown symbol is left out; the probabilities of all other characters have
        the sum 1.

        Args:
            text: The text, in a form that `Model` lists. An empty text stands for a newline;
                for a model of documents it is the beginning of a document.
            top: The number of characters, at least 1.
            unknown: What happens to a character outside the vocabulary: `error`, or `nearest`,
                which reads a similar one, or none if there is none.

        Returns:
            A list of `Prediction`: a character, and its probability from 0 to 1.

        Raises:
            UsageError: `top` is under 1, or `unknown` is another word.
            DataError: The text has characters outside the vocabulary and `unknown` is `error`, or a
                file cannot be read.

        Example:
            >>> model = charrnn.load("prose")
            >>> predictions = model.predict("Th", top=3)
            >>> len(predictions), predictions[0].character
            (3, 'e')
        """
        beginning = text_to_continue(text, config=self.config)
        return RecordList(self.generator.predict(beginning, top=top, unknown=unknown))

    # Texts that it reads.

    def encode(self, text: TextOrIds, *, context: str | bytes = "") -> EncodedText:
        r"""Encode a text and its context once, for several measurements.

        Every method that measures a text encodes it; a long text that is traced, studied and looked
        into again is encoded once by this. For a model of documents the text is divided as the run
        divides its own text, and each document ends in END (U+0000), unless the text has an END
        already or follows a context. A character outside the alphabet is read as a similar one if
        there is one, such as a curly quote as a straight one, else as the unknown symbol. A
        RuntimeWarning tells of a string that is the name of a file, and of many unknown characters.

        Args:
            text: The text, in a form that `Model` lists, or what `encode` returned, which
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
        return model_texts.encode(self, text, context=context)

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
        return model_texts.held_out(self, part)

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
        return model_texts.training_text(self, part, instead=instead)

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
        return trained_model.read_parts(self, instead=instead, reason=reason)

    def written_text(self) -> str:
        """Return the text that an included model, which has no other, is measured on.

        An included model comes without its training text, so cells are looked for in what it
        writes: at temperature 0.8 with seed 1, the same everywhere. It is kept in `cache`.

        Returns:
            A text of 20,000 characters.

        Example:
            >>> model = charrnn.load("prose")
            >>> model.survey(model.written_text())
        """
        return model_texts.written_text(self)

    # How likely a text is.

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
            return float(probabilities.log_probabilities(self, [text], context=context)[0])
        return probabilities.log_probabilities(self, texts_of(text), context=context)

    # What its cells do.

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
            text: The text, in a form that `Model` lists, or what `encode` returned.
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
        return traces.trace_of(
            self,
            text,
            context=context,
            network=network,
            num_guesses=num_guesses,
            keeps_hidden=keeps_hidden,
        )

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
        return traces.guesses_of(trace, vocab=self.vocab, part=part)

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
        return traces.coloured_text(self, trace, layer=layer, unit=unit, part=part)

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
            text: The text, in a form that `Model` lists, or what `encode` returned.
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
        findings = study.findings(detectors, untrained=untrained)
        known_cells.record_found_cells(study.cache, findings.scores)
        return findings

    def study(self, text: TextOrIds, *, context: str | bytes = "", cached: bool = False) -> "Study":
        """Return a study of the cells over a text: findings, passages, values, pages of cells.

        Several questions about the cells and one text need it: each result is computed once, when
        it is asked for. For the findings alone, `survey` is enough.

        Args:
            text: The text, in a form that `Model` lists, or what `encode` returned.
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
        return studies.study_of(self, text, context=context, cached=cached)

    @property
    def found_cells(self) -> "tuple[records.CellScore, ...]":
        """The scores of the cells that were found to follow a built-in detector better than an
        untrained network, best first; of an included model those of its card.

        It says which cells are worth a look before anything is measured again. A command such as
        `charrnn visualize --find` finds them, and so does `survey` with `cached=True`. What
        `survey` finds without it, and what a `study` finds, is not recorded.
        """
        return known_cells.found_cells(self.cache)

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
        return known_cells.known_polarity(self.cache, layer=layer, unit=unit)

    @property
    def card_scores(self) -> "tuple[records.CellScore, ...]":
        """The scores of an included model's cells on held-out text; none of another model.

        They were measured on text that does not come with the model, and stand beside what `survey`
        finds in its `written_text`. Unlike `found_cells`, they also have cells that were not found
        to be better than untrained ones.
        """
        return known_cells.card_scores(self.card)

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
        return trained_model.untrained_baseline(self)

    # Why it predicts what it predicts.

    def why(
        self,
        text: GivenText,
        character: str | bytes | None = None,
        *,
        chars: int = NUM_LEFT_OUT,
        unknown: str = DEFAULT_UNKNOWN,
    ) -> "Why":
        """Explain why a character is predicted after a text, by leaving out each earlier one.

        It tells which of the characters before it a prediction rests on: an opening quotation mark
        far back, or the letters of the word. A character is left out by not reading it. Its effect
        is the log-probability of the predicted character with everything read, minus that without
        it. The difference of the logit is a sum over the entries of the vector that the output
        layer reads, which says what carries it.

        Args:
            text: The text, of at least 2 characters, in a form that `Model` lists. It is
                read from the beginning of its last document.
            character: The predicted character, "end" for the end of a document, or a byte of a
                model of bytes. By default the most likely one.
            chars: The number of characters at the end of the text that are left out, from 1 to
                2,000.
            unknown: What happens to a character outside the vocabulary: `error`, or `nearest`,
                which reads a similar one, or none if there is none.

        Returns:
            A `Why`: its `effects` (N,) in nats for the last N characters of the text, the
            `probabilities` (N,) without each of them, and the `terms` (K, N, H) that add up to the
            differences of the logit.

        Raises:
            UsageError: The text has one character, `character` is several or cannot come next, or
                an argument is out of range.
            DataError: The text or the character is outside the vocabulary and `unknown` is
                `error`, or a file cannot be read.

        Example:
            >>> why = charrnn.load("prose").why('"What is the matter?', '"')
            >>> print(why.sentence)
            '"' has a chance of ...
            >>> strongest = why.strongest(1)[0]
            >>> strongest.character, strongest.distance
            ('?', 1)
            >>> why.effects.shape, why.terms.shape
            ((20,), (1, 20, 384))
        """
        given = text_to_continue(text, config=self.config)
        if character is None:
            character = "next"
        return why.why(self, given, character=character, chars=chars, unknown=unknown)

    def why_places(
        self,
        text: TextOrIds,
        character: str | bytes,
        *,
        context: str | bytes = "",
        num_places: int = NUM_PLACES,
        seed: int = 0,
        unknown: str = DEFAULT_UNKNOWN,
    ) -> "WhyPlaces":
        """Explain why a character is predicted at places of a text where it comes next.

        `why` explains one prediction; this says what holds for most predictions of the character.
        At each place the 200 characters before it are read, and left out one by one. The earlier
        characters that are often the strongest are compared with others at like distances, and with
        an untrained twin. The result is kept in the user's cache folder.

        Args:
            text: The text, in a form that `Model` lists, or what `encode` returned.
            character: The predicted character, "end" for the end of a document, or a byte of a
                model of bytes.
            context: What stands before the text. By default nothing.
            num_places: The most places, which are spread over the text.
            seed: Decides which places are drawn.
            unknown: What happens if the model lacks the character: `error`, or `nearest`.

        Returns:
            A `WhyPlaces`: its `rows` have the earlier characters that matter, with intervals and
            what carries their effects.

        Raises:
            UsageError: The character is several, or cannot come next.
            DataError: It comes next at under 10 places, or the model lacks it.

        Example:
            >>> found = model.why_places(text, " ", num_places=12)
            >>> found.num_places
            12
            >>> [(row.character, row.effect) for row in found.rows]
            [...]
        """
        encoded = self.encode(text, context=context)
        return many_places.why_places(
            self,
            encoded.ids,
            first=encoded.first,
            character=character,
            num_places=num_places,
            seed=seed,
            unknown=unknown,
        )

    # How cells are looked into.

    def evidence(
        self,
        study: "Study",
        layer: int | None = None,
        unit: int | None = None,
        detector: "str | Detector | None" = None,
    ) -> "EvidenceCard":
        """Measure the evidence for the claim that a cell tracks the property of a detector.

        A high score says that a cell follows the property, not that the model uses it: before one
        says so of a cell that `survey` found, its card is due. The cell is held at its mean, set to
        other values, and exchanged between places of the text. What the prediction then does says
        whether the cell is necessary and sufficient for it.

        Args:
            study: What `study` returned.
            layer: The layer of the cell, from 0. Without a cell, the best cell of the detector is
                taken or, without a detector, the cell that exceeds the untrained baseline most.
            unit: The unit of the cell in its layer, from 0.
            detector: The name of a detector, such as `quote`, or a `Detector`. By default the one
                that the cell follows best.

        Returns:
            An `EvidenceCard`: the score, the tests and the mistakes.

        Raises:
            UsageError: There is no such detector or cell, or the cell follows no detector best and
                none is given.
            DataError: The text is too short or has too few labels.

        Example:
            >>> card = model.evidence(study, 0, 5, "quote")
            >>> card.tests()["sufficient"]
            True
            >>> card.necessary.rank  # among all cells, by what holding it at its mean costs
            1
        """
        return evidence.evidence(study, layer=layer, unit=unit, detector=detector)

    def ranking(
        self, study: "Study", detectors: "Sequence[str | Detector] | None" = None
    ) -> "dict[str, tuple[records.CellScore, ...]]":
        """Rank all cells for each detector that can be scored.

        `survey` names the best cell of each detector; this says how many others do nearly as well,
        so whether the property is in one cell or in many.

        Args:
            study: What `study` returned.
            detectors: Names of detectors, such as `quote`, or objects of the class `Detector`. By
                default all.

        Returns:
            A tuple of `CellScore` for each detector by its name, the best cell first.

        Raises:
            UsageError: There is no such detector.
            DataError: The text has fewer than 200 characters.

        Example:
            >>> best, *others = model.ranking(study, ["quote"])["quote"]
            >>> best.layer, best.unit
            (0, 5)
        """
        return ranking.ranking(study, detectors)

    def gates(self, text: TextOrIds, *, context: str | bytes = "") -> "GateReport":
        """Count how often each gate of each unit is saturated in a text.

        It shows which units keep their memory for long (a forget gate that is mostly open) and
        which forget at once. A gate is shut below 0.1 and open above 0.9 (Karpathy, Johnson & Li
        2015, Figure 3).

        Args:
            text: The text, in a form that `Model` lists, or what `encode` returned.
            context: What the model reads before the text; it is not measured. By default nothing.

        Returns:
            A `GateReport`. Each of its `gates` has for every unit of a layer the shares of
            characters at which the gate is shut (`left`) and open (`right`), from 0 to 1.

        Raises:
            UsageError: The cells of the model have no gates, or the text is bytes and the model
                reads characters, or it was encoded for another alphabet.
            DataError: The text is empty, or a file cannot be read.
            CharRNNError: There is no room on the disk for the values of the cells.

        Example:
            >>> model = charrnn.load("prose")
            >>> for gate in model.gates("What is the king to me?").gates:
            ...     print(gate.layer, gate.gate, len(gate.right))
            0 f 384
            0 i 384
            0 o 384
        """
        return gates.count_gates(
            self.network, text=self.encode(text, context=context), name=self.name
        )

    def gradients_with(
        self,
        others: "Iterable[Model]",
        text: GivenText,
        *,
        context: str | bytes = "",
        max_lag: int = MAX_LAG,
    ) -> "tuple[gradients.GradientReach, ...]":
        """Compute how far gradients reach back in this model and in others, beside untrained ones.

        It shows why an RNN learns no long dependency where an LSTM does: its gradients vanish, or
        explode. The norm of the gradient of the loss at a character, by the state some characters
        before it, is averaged over the text. Each model reads the text by its own alphabet.

        Args:
            others: The models that are compared with this one; [] for this one alone.
            text: The text, in a form that `Model` lists.
            context: What the models read before the text. By default nothing.
            max_lag: The largest distance between the loss and the state, in characters.

        Returns:
            Two `GradientReach` for each model: of the model, and of the same network with new
            weights. `norms[layer][i]` belongs to the distance `lags[i]`, in characters.

        Raises:
            UsageError: `max_lag` is under 1.
            DataError: The text and its context have fewer than `max_lag` + 2 characters, or a file
                cannot be read.

        Example:
            >>> prose, code = charrnn.load("prose"), charrnn.load("code")
            >>> reaches = prose.gradients_with([code], "What is the king? " * 4, max_lag=20)
            >>> [reach.name for reach in reaches]
            ['prose', 'prose, new weights', 'code', 'code, new weights']
            >>> reaches[0].norms[0][9]  # of layer 0, 10 characters back
        """
        return gradients.gradients_of((self, *others), text, context=context, max_lag=max_lag)

    def numbers(self, text: GivenText, *, unknown: str = DEFAULT_UNKNOWN) -> "NetworkNumbers":
        """Compute every number of a small network that reads a text, in float64.

        It is for learning and teaching: every number can be computed again by hand. The network
        reads the text from its initial state. For a model of documents the text is the beginning of
        a document.

        Args:
            text: The text, at most 1,000 characters, in a form that `Model` lists.
            unknown: What happens to a character outside the vocabulary: `error`, or `nearest`,
                which reads a similar one, or none if there is none.

        Returns:
            A `NetworkNumbers`: the weights, and for each character a step with the vectors of each
            layer, the logits and the loss in nats.

        Raises:
            UsageError: The network is no plain stack or has more than 16 units in a layer, the text
                is empty or too long, or `unknown` is another word.
            DataError: The text has characters outside the vocabulary and `unknown` is `error`, or a
                file cannot be read.

        Example:
            >>> numbers = charrnn.load("hello").numbers("hel")
            >>> len(numbers.steps)
            3
            >>> h = numbers.steps[0].layers[0].row("h").values  # (H,)
        """
        beginning = text_to_continue(text, config=self.config)
        return numbers.model_numbers(self, beginning, unknown=unknown)

    def backpropagation(
        self,
        text: GivenText,
        *,
        learning_rate: float = SGD_LEARNING_RATE,
        unknown: str = DEFAULT_UNKNOWN,
    ) -> "Backpropagation":
        """Compute the gradients of a text's loss by every number of a small network, in float64.

        It is for learning and teaching backpropagation through time, or for checking a program of
        one's own. The loss is the sum over the characters of the text, in nats.

        Args:
            text: The text, at most 1,000 characters, in a form that `Model` lists.
            learning_rate: The learning rate of the step of SGD after which `updated` has the
                weights; above 0.
            unknown: What happens to a character outside the vocabulary: `error`, or `nearest`,
                which reads a similar one, or none if there is none.

        Returns:
            A `Backpropagation`: the numbers of the forward pass (`forward`), a step with the
            gradients of each of them, the gradients of the weights, and the weights after a step of
            SGD.

        Raises:
            UsageError: The cell is no rnn, lstm or gru, the text has no character to predict,
                `learning_rate` is not above 0, or `numbers` refuses the network or the text.
            DataError: The text has characters outside the vocabulary and `unknown` is `error`, or a
                file cannot be read.

        Example:
            >>> backward = charrnn.load("hello").backpropagation("hello")
            >>> dh = backward.steps[0].layers[0].row("dh right").values  # (H,)
        """
        beginning = text_to_continue(text, config=self.config)
        return backpropagation.model_backpropagation(
            self, beginning, learning_rate=learning_rate, unknown=unknown
        )

    # Files that other programs read.

    def export(
        self,
        path: str | Path,
        *,
        force: bool = False,
        title: str | None = None,
        known_words: bool = False,
        new: bool = False,
    ) -> Path:
        """Write the model to a folder, or to a file in the format of its suffix.

        It is how a model is given to somebody else. A folder has a card that describes the model,
        and a `.zip` is the same folder: both are read by `load`, and by every command that asks for
        a trained model. An `.html` is a page that runs the model, and a `.js` or `.mjs` a module of
        JavaScript. No format contains the optimizer, or a name of this machine or of a private
        text.

        Args:
            path: The path of the file, whose suffix says the format, or of a folder: a string that
                ends in `/`, or a folder that is there.
            force: Whether a file that exists, or a model in the folder, is replaced.
            title: The title of a page, by default the name of the model.
            known_words: Whether the words of the text that the model has read are in the file, so
                that `known_words` of a sample works without that text. By default the file has
                none, even if the model came with a list of them.
            new: Whether digests of the documents of the text are in a module, so that its `isNew`
                leaves out what the model has read. Whoever has the module can test whether a guess
                is one of the documents.

        Returns:
            The path of the file or the folder.

        Raises:
            UsageError: The suffix is another one, the folder or a package is missing, the file
                exists and `force` is false, the folder has other files than those of a model, an
                option is given for a format that does not have it.
            CheckpointError: The step stands for a damaged one, and `load` did not get its number,
                or the weights are not finite.
            CharRNNError: The file cannot be written.

        Example:
            >>> path = model.export("model.zip", force=True)
            >>> charrnn.load(path).step == model.step
            True
        """
        read = () if self.path is None else (self.path,)
        destination = export.destination_of(path, force=force, read=read)
        export.write_model(self, destination, title=title, known_words=known_words, new=new)
        return Path(path)

    # What of a text was copied.

    def new_documents(self) -> Callable[[str | bytes], bool]:
        """Return a function that says whether a document is new: the `accept` of `samples`.

        A list of invented names or molecules should not have real ones in it. A new document stands
        neither in the text of the model, held-out parts included, nor in the texts of the models
        that it started from. Case, blanks at the ends and forms of Unicode make no difference.

        Returns:
            A function of a document that returns a bool.

        Raises:
            UsageError: The model was not trained on documents.
            DataError: The text of the run is missing or changed.

        Example:
            >>> model = charrnn.load("names")
            >>> is_new = model.new_documents()
            >>> is_new("Zxyq")
            True
            >>> names = model.samples(2, length=20, temperature=4, unique=True, accept=is_new)
        """
        return learned_texts.new_documents(self)

    def provenance(self, text: GivenText, *, min_length: int = MIN_COPY_LENGTH) -> "Provenance":
        """Find the passages of a text that stand in the training text.

        Before one publishes what a model has written, it tells what the model has copied. Of
        several texts, `reference_text` saves reading the training text again. The training text of
        the run is read again, once. What the beginning of the validation text shares with the
        training text is found, too, as `held_out_share`: names, idioms and licences recur without
        any copying, so a share near it is no sign of copying.

        Args:
            text: The text, at most 20,000,000 characters, in a form that `Model` lists. It
                may have characters outside the vocabulary.
            min_length: The length of the shortest passage that counts as a copy, in characters, at
                least 1.

        Returns:
            A `Provenance`: its `passages` with their places, and the shares of the text and of
            held-out text that are copied, from 0 to 1. The offsets of the passages refer to its
            `text`, which has LF line ends or, for the byte alphabet, is bytes.

        Raises:
            DataError: The text of the run is missing or changed, or nobody recorded it, or the text
                is empty or too long, or a file cannot be read.
            UsageError: `min_length` is under 1, or the text is bytes and the model reads
                characters.

        Example:
            >>> found = model.provenance(model.training_text()[:100] + "zyx")
            >>> int(found.is_copied.sum())
            100
            >>> found.share_copied, found.held_out_share
            >>> found.passages[0].place.line
            1
        """
        given = read_given(text, self.config)
        return provenance.find_copies(
            given, reference_text=self.reference_text(), min_length=min_length
        )

    def reference_text(self) -> "ReferenceText":
        """Read and verify the training text of the run, to trace several texts.

        A loop over many samples needs it, which asks only for the passages of each: it measures no
        held-out share and draws no tables, which `provenance` does for one text. The text is read
        once, and kept with the model.

        Returns:
            A `ReferenceText`, whose `passages` finds what a text copies.

        Raises:
            DataError: The text of the run is missing or changed, or nobody recorded it.

        Example:
            >>> reference_text = model.reference_text()
            >>> drawn = model.samples(3, length=50)
            >>> passages = [reference_text.passages(text.text) for text in drawn]
        """
        return self._reference_text

    @cached_property
    def _reference_text(self) -> "ReferenceText":
        return provenance.read_reference_text(self)

    def known_passages(self, num_chars: int) -> "Forbid":
        """Read the training text, so that no sample copies more than a passage of it in a row.

        `provenance` tells what was copied; this keeps it from being written. The texts of the
        models that this one started from are read, too.

        Args:
            num_chars: The length of the longest passage that a sample may copy, in characters.

        Returns:
            A function, for the option `forbid` of a sample.

        Raises:
            DataError: The text of the run is missing or changed, or nobody recorded it.

        Example:
            >>> known = model.known_passages(10)
            >>> drawn = model.sample(length=200, forbid=known)
            >>> int(model.provenance(drawn.text, min_length=11).is_copied.sum())
            0
        """
        return learned_texts.known_passages(self, num_chars)


def _with_prime_text(options: Options, config: Config) -> Options:
    """Return the options with the text of the prime, which may be a file or a list of texts."""
    if options.prime is None:
        return options
    return replace(options, prime=text_to_continue(options.prime, config=config))


def load(run: str | Path | None = None, *, step: int | None = None) -> Model:
    """Load a trained model: the best checkpoint of a run, or a file that `Model.export` wrote.

    Every question to a model begins with it. To choose among many runs first, `run_summaries` has
    their losses without loading any. The best checkpoint is the one with the lowest validation
    loss, or the latest if nothing was validated yet. How many threads the model computes with does
    not depend on the `threads` of its run: torch takes all cores that the process may use.
    `torch.set_num_threads` changes this, and so does the environment variable OMP_NUM_THREADS, if
    it is set before torch is imported.

    Args:
        run: The name of a run in `checkpoints` or in the current folder, the path of a run or of a
            file, the name of an included model (`prose`, `code`), or "RUN@STEP". By default the
            newest run that was validated or, if there is none, the newest: one of its `warnings`
            says so.
        step: The step whose checkpoint is loaded, instead of the best one.

    Returns:
        The `Model`.

    Raises:
        CheckpointError: There is no such run or step, or none of its checkpoints is intact.
        RunInUseError: Another process is just starting the run.

    Example:
        >>> model = charrnn.load("prose")
        >>> model.config.cell_type, model.step
        ('lstm', 5250)
        >>> earlier = charrnn.load("shakespeare@1")
    """
    return trained_model.load_as(Model, run, step=step)
