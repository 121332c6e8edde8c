"""Generate text with a trained model: draw samples, search for the most likely text with a beam, or
predict the next character. Nothing here needs torch."""

import math
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import (
    CheckpointError,
    DataError,
    UsageError,
    check_range,
    counted,
    named,
)
from charrnn.generation import sampling
from charrnn.generation.beam import BeamSearch
from charrnn.generation.distribution import next_char_probs
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.generation.keywords import with_options
from charrnn.generation.patterns import Guide, Pattern, match_text
from charrnn.generation.sample_options import (
    DEFAULT_TOP,
    DEFAULT_UNKNOWN,
    UNKNOWN_CHOICES,
    Accept,
    Clamps,
    SampleOptions,
    SearchOptions,
    SeveralOptions,
    Shaping,
    TextOptions,
    check_word,
)
from charrnn.generation.sampling import Beginning, GrowingText, Ids, PrimedState
from charrnn.generation.special_ids import opening_ids, start_ids, undrawable_ids
from charrnn.generation.writing import (
    DrawnIds,
    Piece,
    TextInPieces,
    TextSearch,
    TextStream,
    WrittenText,
    as_wholes,
    in_chunks,
    in_pieces,
)
from charrnn.model.shapes import check_finite
from charrnn.model.stepper import CharacterModel, Stepper
from charrnn.system.display import RecordList
from charrnn.text.documents import END, separator_of
from charrnn.text.given_text import GivenText, text_to_continue
from charrnn.text.vocab import Vocab

MAX_ROWS = 256
"""The largest number of texts that are drawn side by side: more do not fit into the caches of a
core."""
GROUP_CHARS = 2_000_000
"""The largest number of characters of several texts that are drawn together, unless a single text
is longer. A text waits in memory, at about 10 bytes a character, until the texts before it are
handed over."""
MOST_REJECTED = 1_000
"""The number of texts in a row that may be rejected before this is an error. If one text of a
hundred is accepted, so many rejections in a row happen once in 20,000 texts."""
NUM_PROBED = 4
"""Characters that a model reads when it is loaded, to find weights whose predictions are not
finite."""
MAX_FRESH_SEED = 2**31 - 1
"""Largest seed that `fresh_seed` draws: small enough to type."""


Options = TypeVar("Options", bound=TextOptions)
"""The options of a text that is drawn, or of one that is searched for."""


def fresh_seed() -> int:
    """Draw a seed between 0 and `MAX_FRESH_SEED` from the operating system's random numbers."""
    return secrets.randbelow(MAX_FRESH_SEED + 1)


def check_vocab_size(vocab_size: int, vocab: Vocab, name: str) -> None:
    """Raise CheckpointError unless the weights of run `name` are for as many characters as its
    vocabulary has."""
    if vocab_size != len(vocab):
        raise CheckpointError(
            f"The alphabet of {name} has {len(vocab)} entries, its weights are for {vocab_size}."
        )


class Generator:
    """Generates text with a trained model.

    Every method raises DataError if the prime has characters that are not in the vocabulary (and
    `unknown` is `error`), UsageError if a clamped or shown cell does not exist, a direction cannot
    reach its output, or a character cannot be banned, and CheckpointError if the weights do not fit
    the configuration.
    """

    def __init__(
        self, config: Config, vocab: Vocab, tensors: dict[str, NDArray[Any]], name: str
    ) -> None:
        """Take the weights by name in `tensors`, and the `name` of the run, which messages use."""
        self.config = config
        self.vocab = vocab
        self.tensors = tensors
        self.name = name
        # The key of the prime that was read last, and the state after it.
        self._last_primed: tuple[object, PrimedState] | None = None

    @cached_property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy and float32. Raises CheckpointError if
        weights do not fit."""
        return self._make_stepper("fp32")

    @cached_property
    def int8_stepper(self) -> Stepper:
        """The model one character at a time, with weights in 8 bits, whose sums are exact."""
        return self._make_stepper("int8")

    def _make_stepper(self, precision: str) -> Stepper:
        stepper = Stepper(self.config, self.tensors, precision=precision)
        check_vocab_size(stepper.vocab_size, self.vocab, name=self.name)

        # Weights that have become nan are found here, and not as a text of one character.
        with np.errstate(all="ignore"):
            check_finite(stepper.read(np.arange(NUM_PROBED) % stepper.vocab_size)[0], "predictions")
        return stepper

    def model_for(self, precision: str, clamps: Clamps) -> CharacterModel:
        """Return the model that predicts characters with weights in a precision. If cells or
        directions are clamped, the model is a new one."""
        if not clamps:
            if precision == "fp32":
                return self.stepper
            return self.int8_stepper

        # A clamp stays in a stepper, so this one is not kept. Cells come first, so that a direction
        # with one of them is refused.
        stepper = self._make_stepper(precision)
        for target, value in clamps.items():
            if isinstance(target, tuple):
                stepper.clamp(*target, value)
        for target, value in clamps.items():
            if not isinstance(target, tuple):
                for layer, clamped in target.clamped_sums(value, stepper.cell).items():
                    stepper.clamp_sum(layer, clamped)
        return stepper

    def encode_prime(
        self, prime: str | bytes | None, unknown: str = DEFAULT_UNKNOWN, *, what: str = "prime"
    ) -> Ids:
        """Encode the prime, which is the text that a model reads before it writes.

        An empty prime is encoded as a newline, and None as `opening_ids`. A prime of bytes is for
        the byte alphabet. A model of documents reads END before the prime.

        With `unknown="error"`, characters that are not in the vocabulary raise a DataError, which
        names them and calls the text `what`. With `unknown="nearest"`, the most similar character
        of the vocabulary is read instead of each of them, or nothing if there is none; a DataError
        is raised if nothing is left of the text. Raises UsageError for another word.
        """
        end_id = self.config.end_id
        if prime is None:
            # In one precision and without clamps, so that all texts of a model begin alike.
            stepper = self.model_for("int8", clamps={})
            return opening_ids(stepper, vocab=self.vocab, end_id=end_id)
        prime = self.known_text(prime, unknown, what=what)
        if end_id is None:
            if not prime:
                return start_ids(self.vocab)
            return self.vocab.encode(prime)

        # The state starts anew at an END, so that the text before the last END makes no difference.
        ids = np.concatenate((start_ids(self.vocab, end_id), self.vocab.encode(prime)))
        return ids[np.flatnonzero(ids == end_id)[-1] :]

    def known_text(
        self, text: str | bytes, unknown: str = DEFAULT_UNKNOWN, *, what: str = "prime"
    ) -> str | bytes:
        """Return a text without characters outside the vocabulary, as `encode_prime` reads it.

        `what` names the text in the message of the DataError.
        """
        check_word("unknown", unknown, words=UNKNOWN_CHOICES)

        # The message names a few of these characters: a text in another script has hundreds.
        missing = self.vocab.unknown_characters(text)
        if not missing or isinstance(text, bytes):
            return text
        if unknown == "error":
            shown = ", ".join(map(repr, missing[:8]))
            if "\n" in missing and separator_of(self.config, self.vocab) == "\n":
                raise DataError(
                    f"The {what} has a newline, and a document of {self.name} is one line. Give"
                    " one line, which is the beginning of a document."
                )
            raise DataError(
                f"The {what} has characters that are not in the vocabulary of {self.name}: {shown}."
                f" Leave them out, use {named('unknown', 'nearest')}, or train with"
                f" {named('alphabet', 'byte')}, which knows all."
            )

        # An empty text would be read as a newline, which nobody has written.
        known = text.translate({ord(c): self.vocab.nearest(c) for c in missing})
        if not known:
            raise DataError(
                f"{self.name} knows no character of the {what}, and none that is similar. Give"
                " another one."
            )
        return known

    def stream(self, options: SampleOptions) -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn: (text, log-probability in nats, value of
        `cell`); see `sample`.

        A piece is a character; with the byte alphabet it is "" until the bytes of a character are
        complete.
        """
        text = TextInPieces(
            self._text_stream(options), seed=_seed_of(options), length=options.length
        )
        return in_pieces(self._write(options, [text]), text)

    def write(self, options: SampleOptions) -> Iterator[str]:
        """Yield the text of `stream` in larger chunks, as fast as it can be drawn; see `sample`."""
        text = self._written_text(options, _seed_of(options))
        return in_chunks(self._write(options, [text]), text)

    def sample(self, options: SampleOptions) -> GeneratedText:
        """Draw a text. The options are the fields of `generation.sample_options.SampleOptions`.

        Raises UsageError for an option out of range, DataError for a prime with characters outside
        the vocabulary.
        """
        return next(self.iter_samples(1, options))

    def iter_samples(
        self,
        count: int,
        options: SampleOptions,
        *,
        temperatures: Sequence[float] = (),
        unique: bool = False,
        accept: Accept | None = None,
    ) -> Iterator[GeneratedText]:
        """Yield `count` texts one after the other. At most about `GROUP_CHARS` characters, or one
        longer text, are kept in memory.

        Text i does not depend on `count`: `sample` draws the same text with its seed
        (`sampling.seed_of_text`). With `temperatures`, one text is drawn for each temperature
        instead, all with the same random numbers. With `unique`, a text that was drawn before is
        rejected; with `accept`, a text is rejected if `accept` returns False for it.

        Raises UsageError, when the first text is asked for, if `count` is out of range, and later
        after `MOST_REJECTED` rejected texts in a row.
        """
        seed = _seed_of(options)

        # The texts differ in their temperatures, or else in their seeds.
        if temperatures and (unique or accept is not None):
            raise UsageError(
                f"{named('temperatures')} has one text each: leave {named('unique')} and"
                f" {named('accept')} out."
            )
        if temperatures:
            for temperature in temperatures:
                yield from self._whole_texts(replace(options, temperature=temperature), [seed])
            return
        seeds = _seeds_of_texts(count, seed)
        if unique or accept is not None:
            seeds = _seeds_of_texts(count * MOST_REJECTED, seed)

        beginning = beginning_of(options.prime_text)
        seen = set[str]()
        num_left = count
        num_rejected = 0
        num_rows = self._num_rows(options, count)
        for text in self._whole_texts(options, seeds, num_expected=count, num_rows=num_rows):
            is_accepted = accept is None or accept(beginning + text.text)
            num_rejected += 1
            if is_accepted and text.text not in seen:
                yield text
                num_left -= 1
                num_rejected = 0
            if unique:
                seen.add(text.text)

            if num_left == 0:
                return
            if num_rejected == MOST_REJECTED:
                remedy = f"raise {named('temperature')}"
                if accept is not None:
                    remedy = (
                        f"change {named('temperature')}: a lower one writes more that is valid, a"
                        " higher one more that is new"
                    )
                raise UsageError(
                    f"{named('count')} is {count:,}, and after {counted(count - num_left, 'text')}"
                    f" the next {MOST_REJECTED:,} were left out. Ask for fewer, or {remedy}."
                )

    def _whole_texts(
        self,
        options: SampleOptions,
        seeds: Sequence[int],
        *,
        num_expected: int = 1,
        num_rows: int = 1,
    ) -> Iterator[GeneratedText]:
        """Yield the text of each seed, in their order; `num_rows` texts are drawn side by side.

        `num_expected` texts are enough, unless some are rejected: so many decide whether compiling
        the loop pays.
        """
        # A text that nothing is drawn beside has a guide of its own, which follows one text.
        if num_rows == 1 and len(seeds) > 1:
            for seed in seeds:
                yield from self._whole_texts(options, [seed])
            return

        begun = deque[WrittenText]()

        def begin_texts() -> Iterator[WrittenText]:
            for seed in seeds:
                begun.append(self._written_text(options, seed))
                yield begun[-1]

        grown = self._write(options, begin_texts(), num_texts=num_expected, num_rows=num_rows)
        yield from as_wholes(grown, begun)

    def write_each(
        self,
        count: int,
        options: SampleOptions,
        *,
        unique: bool = False,
        accept: Accept | None = None,
    ) -> Iterator[Iterator[str]]:
        """Yield the texts of `iter_samples`, each in chunks.

        A text that is longer than `GROUP_CHARS` is drawn by itself, chunk by chunk, unless `unique`
        or `accept` need the whole text. Use up the chunks of a text before asking for the next
        text.
        """
        is_chosen = unique or accept is not None
        if is_chosen or self._num_rows(options, count) > 1:
            for text in self.iter_samples(count, options, unique=unique, accept=accept):
                yield iter((text.text,))
            return
        for seed in _seeds_of_texts(count, _seed_of(options)):
            yield self.write(replace(options, seed=seed))

    def search(self, options: SearchOptions) -> TextSearch:
        """Return a beam search to iterate over: it yields the best text as far as it is certain.

        The options are the fields of `generation.sample_options.SearchOptions`. Raises UsageError
        for an option out of range, and for a stop string with characters outside the vocabulary;
        DataError for a prime with such characters.
        """
        # The search compares ids: a stop string with an unknown character could never appear.
        for stop in options.stops:
            if missing := self.vocab.unknown_characters(stop):
                raise UsageError(
                    f"{named('stops')} has {stop!r}, but {missing[0]!r} is not in the vocabulary of"
                    f" {self.name}. Leave it out."
                )

        # The search treats END as one more stop string.
        end_id = self.config.end_id
        stops = [tuple(self.vocab.encode(stop).tolist()) for stop in options.stops]
        if end_id is not None:
            stops.append((end_id,))
        search = BeamSearch(
            stepper=self.model_for("fp32", options.clamps),
            prime=self.encode_prime(options.prime_text, options.unknown),
            options=options,
            on_step=options.on_draw,
            stops=stops,
            banned=self.never_drawn(options.ban),
            pattern=self._pattern(options),
        )
        return TextSearch(search, self.vocab, stops=options.stops, end_id=end_id)

    def beam(self, options: SearchOptions) -> list[GeneratedText]:
        """Return the best texts that a beam search finds, most likely first. Takes the options of
        `search`, and raises the same errors."""
        search = self.search(options)
        for _ in search:
            pass
        return search.texts

    def predict(
        self, text: str | bytes, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN
    ) -> list[Prediction]:
        """Return the `top` most likely characters after `text` and their probabilities, most likely
        first.

        An empty text stands for a newline. For a model of documents, the text is the beginning of a
        document. The unknown symbol is left out, and the probabilities of all other symbols sum
        to 1. Raises
        UsageError for a `top` under 1.
        """
        check_range("top", top)
        prime = self.encode_prime(text, unknown, what="text")
        logits = sampling.prime_model(self.model_for("fp32", clamps={}), prime).logits

        # Ids that stand for no character get the probability 0, and are left out of the list.
        excluded = undrawable_ids(self.vocab, self.config.end_id)
        probs = next_char_probs(logits, Shaping(), banned=excluded)[0]
        most_likely = np.argsort(-probs, kind="stable")[: min(top, len(probs) - len(excluded))]
        return [self.prediction(id, probs[id]) for id in most_likely.tolist()]

    def prediction(self, id: int, probability: Any) -> Prediction:
        """Return the prediction of an id."""
        return Prediction(character=self.character(id), probability=float(probability))

    def vocabulary(self) -> tuple[str, ...]:
        """Return `character` of every id."""
        return tuple(map(self.character, range(len(self.vocab))))

    def character(self, id: int) -> str:
        """Return the character of an id, `\\xNN` for a byte that is no character by itself, "" for
        the unknown symbol."""
        if self.vocab.kind == "byte" and id >= 128:
            return f"\\x{id:02x}"
        return self.vocab.characters[id]

    def _text_stream(self, options: SampleOptions) -> TextStream:
        return TextStream(
            self.vocab, options.stops, end_id=self.config.end_id, on_cut=options.on_cut
        )

    def _written_text(self, options: SampleOptions, seed: int) -> WrittenText:
        return WrittenText(self._text_stream(options), seed=seed, length=options.length)

    def _num_rows(self, options: SampleOptions, count: int) -> int:
        """Return how many of `count` texts are drawn side by side."""
        # A guide allows other characters after each text.
        if options.is_guided:
            return 1
        most = max(1, min(GROUP_CHARS // max(1, options.length), MAX_ROWS))

        # The texts are spread evenly over the rounds, because a row that has no text left is drawn
        # on until the other rows have ended.
        num_rounds = max(1, math.ceil(count / most))
        return max(1, math.ceil(count / num_rounds))

    def draw_ids(self, options: SampleOptions) -> list[int]:
        """Draw `length` ids of one text; after the END of a document another one begins."""
        text = DrawnIds(_seed_of(options), length=options.length)
        for _ in self._write(options, [text]):
            pass
        return text.ids

    def _write(
        self,
        options: SampleOptions,
        texts: Iterable[GrowingText],
        *,
        num_texts: int = 1,
        num_rows: int = 1,
    ) -> Iterator[GrowingText]:
        """Return an iterator that draws texts, as `sampling.write_texts` does."""
        # All errors are raised here, before a caller prints the first character.
        beginning = self._begin(options)
        if options.length == 0:
            return iter(texts)
        num_chars = num_texts * options.length
        return sampling.write_texts(
            beginning, options=options, texts=texts, num_chars=num_chars, num_rows=num_rows
        )

    def _begin(self, options: SampleOptions) -> Beginning:
        """Check the options against the model and read the prime."""
        stepper = self.model_for(options.precision, options.clamps)
        if options.cell is not None:
            stepper.check_unit(*options.cell)
        prime = self.encode_prime(options.prime_text, options.unknown)
        banned = self.never_drawn(options.ban)

        guide = None
        if options.is_guided:
            # Without a prime, the characters that the model reads first are no part of the text.
            guide = Guide(
                self._pattern(options),
                options.forbid,
                banned=banned,
                prime=prime.tolist() if options.prime else (),
            )
        return Beginning(
            stepper,
            primed=self.read_prime(stepper, prime),
            banned=banned,
            guide=guide,
            ends_early=self.config.end_id is not None,
        )

    def _pattern(self, options: TextOptions) -> Pattern | None:
        """Return the pattern that the text must match, None if there is none. With the byte
        alphabet, a pattern matches ASCII. Raises UsageError if no text can match."""
        if options.match is None:
            return None
        # END is no character of a document: `Pattern` reads it where the text matches, unless it is
        # banned.
        end_id = self.config.end_id
        banned = self.never_drawn(options.ban)

        # A byte that is no character by itself has a name of several ones, \xNN, and stays "".
        characters = [""] * len(self.vocab)
        for id, character in enumerate(self.vocabulary()):
            if len(character) == 1 and id != end_id and id not in banned:
                characters[id] = character
        return match_text(
            options.match,
            tuple(characters),
            length=options.length,
            end_id=None if end_id in banned else end_id,
        )

    def never_drawn(self, ban: str) -> tuple[int, ...]:
        """Return the ids that are never drawn: ids that stand for no character, and the ids of the
        characters of `ban`."""
        if self.vocab.kind == "byte" and not ban.isascii():
            raise UsageError(
                f"{named('ban')} is {ban!r}; with the byte alphabet only ASCII characters can be"
                " banned."
            )

        # Characters that the model does not know are never drawn anyway.
        known = set(ban) - set(self.vocab.unknown_characters(ban))
        banned_ids = set(self.vocab.encode("".join(sorted(known))).tolist())
        banned = (*undrawable_ids(self.vocab, self.config.end_id), *banned_ids)
        if len(banned) >= len(self.vocab):
            raise UsageError(f"{named('ban')} leaves no character to generate.")
        return banned

    def read_prime(self, stepper: CharacterModel, prime: Ids) -> PrimedState:
        """Read the prime. The last result is kept, so that a long prime is read once."""
        # Another prime and other clamps lead to another state.
        key = prime.tobytes(), stepper.changes
        if self._last_primed is None or self._last_primed[0] != key:
            self._last_primed = key, sampling.prime_model(stepper, prime)
        return self._last_primed[1]


def _seed_of(options: SampleOptions) -> int:
    """Return the seed of the first text: a new one if the options have none."""
    if options.seed is None:
        return fresh_seed()
    return options.seed


def _seeds_of_texts(count: int, first: int) -> Sequence[int]:
    """Return the seed of each of `count` texts (`sampling.seed_of_text`)."""
    check_range("count", count)
    return range(first, sampling.seed_of_text(first, count), sampling.NUM_SEEDS)


def beginning_of(prime: str | bytes | None) -> str:
    """Return the part of a prime with which the generated text begins.

    This is the whole prime, or its last document if the prime has several documents.
    """
    if isinstance(prime, bytes):
        prime = prime.decode("utf-8", "replace")
    return (prime or "").rpartition(END)[2]


class GenerationMethods:
    """Generates text with its `generator`: each option is given by name.

    `sample`, `stream` and `write` take the fields of `SampleOptions`, `samples` those of
    `SeveralOptions`, and `search` and `beam` those of `SearchOptions`, which are in
    `charrnn.generation.sample_options`. A prime, or a text to predict after, is a string, bytes,
    the `pathlib.Path` of a file or a list of texts. The methods raise UsageError for an unknown
    option and for one out of range, and DataError for a prime with characters outside the
    vocabulary.

    The defaults are those of `charrnn sample`, but that a document has at most 1,000 characters.
    """

    config: Config
    generator: Generator
    """Generates text, with options in a dataclass."""

    def _with_read_prime(self, options: Options) -> Options:
        """Return the options with the text of the prime, which may be a file or a list of texts."""
        if options.prime is None:
            return options
        return replace(options, prime=text_to_continue(options.prime, self.config))

    @with_options(SampleOptions)
    def sample(self, options: SampleOptions) -> GeneratedText:
        r"""Draw a text.

        The options are given by name. They are the fields of `SampleOptions` in
        `charrnn.generation.sample_options`, which describes all of them; the first are these.

        Args:
            length: The number of characters, at least 0; by default 1,000. A document may end
                earlier.
            prime: The text that the model reads first, which is not part of the result: a string,
                bytes, the `pathlib.Path` of a file, or a list of these. Without it the text begins
                like the training text: the model reads a newline, with a full stop before it and
                newlines after it if it expects them.
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
            CheckpointError: The weights do not fit the configuration or are not finite.

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
        return self.generator.sample(self._with_read_prime(options))

    @with_options(SeveralOptions)
    def samples(self, options: SeveralOptions) -> list[GeneratedText]:
        """Draw several texts at once.

        The options are those of `sample`, too: the fields of `SeveralOptions` in
        `charrnn.generation.sample_options`.

        Args:
            count: The number of texts, at least 1. Text i does not depend on it: `sample` draws the
                same text with its `seed`. With `temperatures` it is ignored.
            temperatures: One text is drawn for each of these temperatures, all with the same seed,
                whatever `count` is.
            unique: Whether a text that was drawn before is rejected.
            accept: A function of a text with its prime; a text for which it returns False is
                rejected.
            length: The number of characters of each text, at least 0; by default 1,000. A document
                may end earlier.

        Returns:
            A list of `GeneratedText`, in the order of their seeds or, with `temperatures`, in the
            order of these.

        Raises:
            UsageError: There is no such option, an option is out of range, a cell that is
                clamped does not exist, or 1,000 texts in a row were rejected.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.
            CheckpointError: The weights do not fit the configuration or are not finite.

        Example:
            >>> model = charrnn.load("prose")
            >>> [len(drawn.text) for drawn in model.samples(3, length=40, seed=1)]
            [40, 40, 40]
            >>> cool, hot = model.samples(1, length=40, temperatures=[0.2, 1.0])
            >>> texts = model.samples(2, length=40, unique=True, accept=lambda text: "t" in text)
        """
        return RecordList(
            self.generator.iter_samples(
                options.count,
                self._with_read_prime(options),
                temperatures=options.temperatures,
                unique=options.unique,
                accept=options.accept,
            )
        )

    @with_options(SampleOptions)
    def stream(self, options: SampleOptions) -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn.

        The options are those of `sample`, of which `cell` is for this method.

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
            CheckpointError: The weights do not fit the configuration or are not finite.

        Example:
            >>> model = charrnn.load("prose")
            >>> for piece in model.stream(length=20, seed=1, cell=(0, 17)):
            ...     print(repr(piece.text), piece.logprob, piece.value)
        """
        return self.generator.stream(self._with_read_prime(options))

    @with_options(SampleOptions)
    def write(self, options: SampleOptions) -> Iterator[str]:
        r"""Yield a text in chunks, as fast as it can be drawn.

        The options are those of `sample`. A text may have any length, because nothing of it is
        kept.

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
            CheckpointError: The weights do not fit the configuration or are not finite.

        Example:
            >>> model = charrnn.load("prose")
            >>> for chunk in model.write(length=10_000, stops=["\n\n"]):
            ...     print(chunk, end="")
        """
        return self.generator.write(self._with_read_prime(options))

    @with_options(SearchOptions)
    def search(self, options: SearchOptions) -> TextSearch:
        """Return a beam search, which yields the most likely text as far as it is certain.

        The search is that of Graves (2012), and draws nothing. The options are the fields of
        `SearchOptions` in `charrnn.generation.sample_options`.

        Args:
            width: The number of texts that are kept at every step, from 1 to 4,096; by default 8.
            length: The number of characters, at least 1, unless a stop string ends the text; by
                default 200.
            prime: The text that the model reads first, which is not part of the result: a string,
                bytes, the `pathlib.Path` of a file, or a list of these. Without it the text begins
                like the training text: the model reads a newline, with a full stop before it and
                newlines after it if it expects them.
            no_repeat: The length of the n-grams that must not occur twice. By default every n-gram
                may recur.

        Returns:
            A `TextSearch` to iterate over. Afterwards its `texts` has all texts that were found,
            most likely first.

        Raises:
            UsageError: There is no such option, an option is out of range, or a stop string
                has characters outside the vocabulary.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.
            CheckpointError: The weights do not fit the configuration or are not finite.

        Example:
            >>> model = charrnn.load("prose")
            >>> search = model.search(width=4, length=40)
            >>> "".join(search) == search.texts[0].text
            True
        """
        return self.generator.search(self._with_read_prime(options))

    @with_options(SearchOptions)
    def beam(self, options: SearchOptions) -> list[GeneratedText]:
        """Return the most likely texts that a beam search finds.

        The options are those of `search`.

        Args:
            width: The number of texts that are kept at every step, and returned, from 1 to 4,096;
                by default 8.
            length: The number of characters, at least 1, unless a stop string ends the text; by
                default 200.

        Returns:
            A list of `GeneratedText`, most likely first.

        Raises:
            UsageError: There is no such option, an option is out of range, or a stop string
                has characters outside the vocabulary.
            DataError: The prime has characters outside the vocabulary and `unknown` is `error`, or
                a file cannot be read.
            CheckpointError: The weights do not fit the configuration or are not finite.

        Example:
            >>> model = charrnn.load("prose")
            >>> best, *others = model.beam(width=4, length=40, prime="What is ")
            >>> all(best.logprob >= other.logprob for other in others)
            True
        """
        return self.generator.beam(self._with_read_prime(options))

    def predict(
        self, text: GivenText, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN
    ) -> list[Prediction]:
        """Return the most likely next characters after a text, most likely first.

        The unknown symbol is left out; the probabilities of all other characters have the sum 1.

        Args:
            text: The text: a string, bytes, the `pathlib.Path` of a file, or a list of these. An
                empty text stands for a newline; for a model of documents it is the beginning of a
                document.
            top: The number of characters, at least 1.
            unknown: What happens to a character outside the vocabulary: `error`, or `nearest`,
                which reads a similar one, or none if there is none.

        Returns:
            A list of `Prediction`: a character, and its probability from 0 to 1.

        Raises:
            UsageError: `top` is under 1, or `unknown` is another word.
            DataError: The text has characters outside the vocabulary and `unknown` is `error`, or a
                file cannot be read.
            CheckpointError: The weights do not fit the configuration or are not finite.

        Example:
            >>> model = charrnn.load("prose")
            >>> predictions = model.predict("Th", top=3)
            >>> len(predictions), predictions[0].character
            (3, 'e')
        """
        beginning = text_to_continue(text, self.config)
        return RecordList(self.generator.predict(beginning, top=top, unknown=unknown))
