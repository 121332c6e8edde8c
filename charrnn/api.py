"""The public Python interface: the verbs and the option names of the command line.

`Model` is a `TrainedModel` with the methods that need analyses, reports or formats. Their modules
are imported when a method uses them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from charrnn import trained_model
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
from charrnn.system.display import RecordList
from charrnn.system.lazy import LazyModule
from charrnn.text.given_text import GivenText, read_given, text_to_continue
from charrnn.trained_model import (
    MAX_LAG,
    NUM_LEFT_OUT,
    NUM_PLACES,
    SGD_LEARNING_RATE,
    TextOrIds,
    TrainedModel,
)

if TYPE_CHECKING:
    from charrnn.analyses import backpropagation, evidence, gates, gradients, numbers, ranking, why
    from charrnn.analyses.backpropagation import Backpropagation
    from charrnn.analyses.evidence.results import EvidenceCard
    from charrnn.analyses.gates import GateReport
    from charrnn.analyses.numbers import NetworkNumbers
    from charrnn.analyses.why import Why, many_places
    from charrnn.analyses.why.places_record import WhyPlaces
    from charrnn.cells.findings import CellScore
    from charrnn.cells.study import Study
    from charrnn.detectors.detector import Detector
    from charrnn.formats import export
    from charrnn.generation.sample_options import Forbid
    from charrnn.reports import learned_texts, provenance
    from charrnn.reports.provenance import Provenance, ReferenceText
else:
    backpropagation = LazyModule("charrnn.analyses.backpropagation")
    evidence = LazyModule("charrnn.analyses.evidence")
    ranking = LazyModule("charrnn.analyses.ranking")
    gates = LazyModule("charrnn.analyses.gates")
    gradients = LazyModule("charrnn.analyses.gradients")
    numbers = LazyModule("charrnn.analyses.numbers")
    why = LazyModule("charrnn.analyses.why")
    many_places = LazyModule("charrnn.analyses.why.many_places")
    export = LazyModule("charrnn.formats.export")
    learned_texts = LazyModule("charrnn.reports.learned_texts")
    provenance = LazyModule("charrnn.reports.provenance")

Options = TypeVar("Options", bound=SampleOptions)
"""The options of a text that is drawn, or of one that is searched for."""


class Model(TrainedModel):
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
        return self.generator.begin(_with_read_prime(options, self.config)).whole()

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
        drawn = self.generator.iter_samples(_with_read_prime(options, self.config))
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
        return self.generator.begin(_with_read_prime(options, self.config)).pieces()

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
        return self.generator.begin(_with_read_prime(options, self.config)).chunks()

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
        return self.generator.beam(_with_read_prime(options, self.config))

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
    ) -> "dict[str, tuple[CellScore, ...]]":
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
        target = export.target_of(path, force=force, read=read)
        export.write_model(self, target, title=title, known_words=known_words, new=new)
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
        return provenance.trace_text(
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


def _with_read_prime(options: Options, config: Config) -> Options:
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
    # The same model, with the methods that need analyses, reports or formats.
    return Model(**trained_model.load(run, step=step).__getstate__())
