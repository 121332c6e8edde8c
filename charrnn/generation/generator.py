"""Text from a trained model: sampled, searched for by beam search, or predicted one character
ahead. Without torch."""

import heapq
import reprlib
import secrets
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, wraps
from inspect import Parameter, signature
from operator import attrgetter
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, DataError, UsageError, check_range, named
from charrnn.generation import sampling
from charrnn.generation.beam import BeamSearch
from charrnn.generation.distribution import log_softmax, next_char_probs
from charrnn.generation.generated import GeneratedText, Hesitation, Prediction
from charrnn.generation.patterns import Pattern, all_words, match_text
from charrnn.generation.sample_options import (
    DEFAULT_TOP,
    DEFAULT_UNKNOWN,
    UNKNOWN_CHOICES,
    Clamps,
    SampleOptions,
    SearchOptions,
    Shaping,
    TextOptions,
    check_word,
)
from charrnn.generation.sampling import Block, Ids, PrimedState
from charrnn.generation.writing import (
    Piece,
    TextSearch,
    TextStream,
    write_chunks,
    write_text,
    write_texts,
)
from charrnn.model.shapes import check_finite
from charrnn.model.stepper import CharacterModel, Stepper
from charrnn.system.display import RecordList
from charrnn.text.vocab import Vocab

MAX_COUNT = 4096
"""Number of samples in one call at most."""
GROUP_CHARS = 2_000_000
"""Characters of several texts that are drawn together at most, unless one text alone is longer.
They are kept until the texts before them are handed over: about 10 bytes each."""
GROUP_BYTES = 1 << 28
"""Bytes of the states of these texts at most."""
NUM_PROBED = 4
"""Characters that a model reads when it is loaded, to find weights whose predictions are not
finite."""
CONTEXT = 30
"""Characters before and after a place where the model hesitated."""
NUM_ALTERNATIVES = 5
"""Other characters that are listed there."""
MAX_FRESH_SEED = 2**31 - 1
"""Largest seed that `fresh_seed` draws: small enough to type."""

Options = TypeVar("Options", bound=TextOptions)
Fields = ParamSpec("Fields")
Result = TypeVar("Result")
Variant = tuple[float, int]
"""What distinguishes a text from the others of one call: its temperature and its seed."""


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
        """Take the weights by name in `tensors`; `name` is that of the run, for messages."""
        self.config = config
        self.vocab = vocab
        self.tensors = tensors
        self.name = name
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
        stepper = Stepper(self.config, self.tensors, precision)
        check_vocab_size(stepper.vocab_size, self.vocab, self.name)
        with np.errstate(all="ignore"):
            check_finite(stepper.read(np.arange(NUM_PROBED) % stepper.vocab_size)[0], "predictions")
        return stepper

    def model_for(self, precision: str, clamps: Clamps) -> CharacterModel:
        """Return what predicts the characters, with weights in a precision; a new one if something
        is clamped."""
        if not clamps:
            return self.stepper if precision == "fp32" else self.int8_stepper
        stepper = self._make_stepper("fp32" if precision == "fp32" else "int8")
        for what, value in clamps.items():
            if isinstance(what, tuple):
                stepper.clamp(*what, value)
        for what, value in clamps.items():
            if not isinstance(what, tuple):
                for layer, clamped in what.clamped_sums(value, stepper.cell).items():
                    stepper.clamp_sum(layer, clamped)
        return stepper

    def encode_prime(self, prime: str | bytes, unknown: str = DEFAULT_UNKNOWN) -> Ids:
        """Encode the text that a model reads first, an empty one as a newline. Bytes are for the
        byte alphabet.

        A model of documents reads END before it.

        Characters that are not in the vocabulary are an error, are left out (`skip`), or are read
        as the `nearest` one that is. Raises DataError naming them, UsageError for another word.
        """
        prime = self.known_text(prime, unknown)
        end_id = self.config.end_id
        if end_id is None:
            return self.vocab.encode(prime) if prime else sampling.start_ids(self.vocab)
        ids = np.concatenate((sampling.start_ids(self.vocab, end_id), self.vocab.encode(prime)))
        # What is before an END makes no difference.
        return ids[np.flatnonzero(ids == end_id)[-1] :]

    def known_text(
        self, text: str | bytes, unknown: str = DEFAULT_UNKNOWN, *, what: str = "prime"
    ) -> str | bytes:
        """Return a text without characters outside the vocabulary, as `encode_prime` reads it.

        `what` names the text in the message of the DataError.
        """
        check_word("unknown", unknown, UNKNOWN_CHOICES)
        missing = self.vocab.unknown_characters(text)
        if missing and unknown == "error":
            shown = ", ".join(f"{character!r}" for character in missing[:8])
            raise DataError(
                f"The {what} has characters that are not in the vocabulary of {self.name}: {shown}."
                f" Leave them out, use {named('unknown', 'skip')} or nearest, or train with"
                f" {named('alphabet', 'byte')}, which knows all."
            )
        if missing and isinstance(text, str):
            text = text.translate(
                {ord(c): self.vocab.nearest(c) if unknown == "nearest" else "" for c in missing}
            )
        return text

    def stream(self, options: SampleOptions) -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn: (text, log-probability in nats, value of
        `cell`); see `sample`.

        A piece is a character; with the byte alphabet it is "" until the bytes of a character are
        complete.
        """
        return write_text(self._draw_one(options), self._text_stream(options))

    def write(self, options: SampleOptions) -> Iterator[str]:
        """Yield the text of `stream` in larger chunks, as fast as it can be drawn; see `sample`."""
        return write_chunks(self._draw_one(options), self._text_stream(options))

    def sample(self, options: SampleOptions) -> GeneratedText:
        """Draw a text. The options are the fields of `generation.sample_options.SampleOptions`.

        Raises UsageError for an option out of range, DataError for a prime with characters outside
        the vocabulary.
        """
        return next(self.iter_samples(1, options))

    def iter_samples(
        self, count: int, options: SampleOptions, *, temperatures: Sequence[float] = ()
    ) -> Iterator[GeneratedText]:
        """Yield `count` texts one after the other, keeping about `GROUP_CHARS` characters, or one
        text.

        Text i is the same however many there are: that which `sample` draws with its `seed`, which
        is the `seed` of the options plus i * 2^32. With `temperatures`, yield a text for each of
        them instead, all by the same random numbers. Raises UsageError for a `count` out of range,
        when the first text is asked for.
        """
        for blocks, streams, seeds in self._groups(
            _variants(count, _with_seed(options), temperatures), options
        ):
            yield from write_texts(blocks, streams, seeds)

    def draw_ids(self, options: SampleOptions) -> Ids:
        """Draw the ids (length,) of one text; after the END of a document another one begins."""
        return np.concatenate([block.ids[0] for block in self._draw_one(options)])

    def write_each(self, count: int, options: SampleOptions) -> Iterator[Iterator[str]]:
        """Yield the texts of `iter_samples`, each in chunks.

        A text that is longer than `GROUP_CHARS` is drawn by itself, chunk by chunk; use up its
        chunks before asking for the next text.
        """
        for blocks, streams, seeds in self._groups(_variants(count, _with_seed(options)), options):
            if len(streams) == 1:
                yield write_chunks(blocks, streams[0])
            else:
                yield from (iter((record.text,)) for record in write_texts(blocks, streams, seeds))

    def search(self, options: SearchOptions) -> TextSearch:
        """Return a beam search to iterate over: it yields the best text as far as it is certain.

        The options are the fields of `generation.sample_options.SearchOptions`; without a seed a
        stochastic search draws a new one. Raises UsageError for an option out of range or a stop
        string with characters outside the vocabulary, DataError for such a prime.
        """
        for stop in options.stops:
            if missing := self.vocab.unknown_characters(stop):
                raise UsageError(
                    f"{named('stops')} has {stop!r}, but {missing[0]!r} is not in the vocabulary of"
                    f" {self.name}. Leave it out."
                )
        if options.mode == "stochastic":
            options = _with_seed(options)
        end_id = self.config.end_id
        stops = [tuple(self.vocab.encode(stop).tolist()) for stop in options.stops]
        search = BeamSearch(
            self.model_for("fp32", options.clamps),
            self.encode_prime(options.prime, options.unknown),
            options,
            options.on_draw,
            stops=stops if end_id is None else (*stops, (end_id,)),
            banned=self._never_drawn(options.ban),
            pattern=self._pattern(options),
        )
        return TextSearch(
            search, self.vocab, options.stops, keeps_stop=options.keep_stop, end_id=end_id
        )

    def beam(self, options: SearchOptions) -> list[GeneratedText]:
        """Return the best texts that a beam search finds, most likely first; options and errors as
        for `search`."""
        search = self.search(options)
        list(search)
        return search.best()

    def predict(
        self, text: str | bytes, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN
    ) -> list[Prediction]:
        """Return the `top` most likely characters after `text` and their probabilities, most likely
        first.

        An empty text stands for a newline; for a model of documents the text is the beginning of
        one. The unknown symbol is left out; the probabilities of all others sum to 1. Raises
        UsageError for a `top` under 1.
        """
        check_range("top", top, 1)
        logits = sampling.prime_model(
            self.model_for("fp32", {}), self.encode_prime(text, unknown)
        ).logits
        excluded = sampling.undrawable_ids(self.vocab, self.config.end_id)
        probs = next_char_probs(logits, Shaping(banned=excluded))[0]
        best = np.argsort(-probs, kind="stable")[: min(top, len(probs) - len(excluded))]
        return [
            Prediction(character=self.character(int(i)), probability=float(probs[i])) for i in best
        ]

    def hesitations(self, text: str, count: int, options: TextOptions) -> list[Hesitation]:
        """Return the `count` places of a generated text where the next character was least certain,
        in their order.

        `options` are those that it was generated with. With the byte alphabet the text ends before
        bytes of no character.
        """
        prime = self.encode_prime(options.prime, options.unknown)
        stepper = self.model_for(getattr(options, "precision", "fp32"), options.clamps)
        ids = self.vocab.encode(text.partition("\ufffd")[0] if self.vocab.kind == "byte" else text)
        # Neither END nor the newline for an empty prime is shown.
        begin = prime[prime != self.config.end_id] if options.prime else prime[:0]
        read, names, never = (
            np.concatenate((begin, ids)),
            self.vocabulary(),
            self._never_drawn(options.ban),
        )

        def places() -> Iterator[Hesitation]:
            logits, state = self._read_prime(stepper, prime)
            for at, id in enumerate(ids.tolist(), len(begin)):
                logprobs = log_softmax(logits)[0]
                probs = np.exp(logprobs)
                others = [
                    i
                    for i in np.argsort(-logprobs, kind="stable").tolist()
                    if i != id and i not in never
                ]
                best = [(names[i], float(probs[i])) for i in others[:NUM_ALTERNATIVES]]
                yield Hesitation(
                    position=at - len(begin),
                    before=self.vocab.decode(read[max(0, at - CONTEXT) : at]),
                    character=names[id],
                    probability=float(probs[id]),
                    after=self.vocab.decode(read[at + 1 : at + 1 + CONTEXT]),
                    entropy=-float(probs @ logprobs / np.log(2)),
                    alternatives=tuple(
                        Prediction(character=name, probability=share) for name, share in best
                    ),
                )
                logits, state = stepper.step(np.array([id]), state)

        return sorted(
            heapq.nlargest(count, places(), attrgetter("entropy")), key=attrgetter("position")
        )

    def vocabulary(self) -> tuple[str, ...]:
        """Return `character` of every id."""
        return tuple(map(self.character, range(len(self.vocab))))

    def character(self, id: int) -> str:
        """Return the character of an id, `\\xNN` for a byte that is none by itself, "" for the
        unknown symbol."""
        return (
            f"\\x{id:02x}" if self.vocab.kind == "byte" and id >= 128 else self.vocab.characters[id]
        )

    def _text_stream(self, options: SampleOptions) -> TextStream:
        end_id = self.config.end_id
        return TextStream(
            self.vocab,
            options.stops,
            keeps_stop=options.keep_stop,
            end_id=end_id,
            on_cut=options.on_cut,
        )

    def _groups(
        self, variants: Sequence[Variant], options: SampleOptions
    ) -> Iterator[tuple[Iterator[Block], list[TextStream], list[int]]]:
        """Yield the blocks of as many texts as are drawn together, and the text stream and the seed
        of each."""
        most = GROUP_BYTES // self.model_for(options.precision, {}).initial_state(1).nbytes
        # A text that must match may end before others.
        is_alone = options.words or options.match is not None
        size = 1 if is_alone else max(1, min(most, GROUP_CHARS // max(1, options.length)))
        for first in range(0, len(variants), size):
            group = variants[first : first + size]
            yield (
                self._draw(group, options),
                [self._text_stream(options) for _ in group],
                [seed for _, seed in group],
            )

    def _draw_one(self, options: SampleOptions) -> Iterator[Block]:
        return self._draw(_variants(1, _with_seed(options)), options)

    def _draw(self, variants: Sequence[Variant], options: SampleOptions) -> Iterator[Block]:
        """Check the options against the model, read the prime, and return an iterator over the
        blocks."""
        stepper = self.model_for(options.precision, options.clamps)
        if options.cell is not None:
            if not isinstance(stepper, Stepper):
                raise UsageError(
                    f"{named('cell')} is a cell of one model, and this is a mixture. Leave it out."
                )
            stepper.check_unit(*options.cell)
        banned = self._never_drawn(options.ban)
        newline = int(sampling.start_ids(self.vocab)[0])
        if options.max_line and (self.vocab.characters[newline] != "\n" or newline in banned):
            raise UsageError(
                f"{named('max_line')} needs a newline, which this model cannot generate."
            )
        prime = self.encode_prime(options.prime, options.unknown)
        inner_ids = frozenset(
            id for id, character in enumerate(self.vocabulary()) if _is_inner(character)
        )
        shapings = [options.shaping(temperature, banned, inner_ids) for temperature, _ in variants]
        blocks = sampling.sample_ids(
            stepper,
            self._read_prime(stepper, prime),
            shapings,
            [seed for _, seed in variants],
            length=options.length,
            max_line=options.max_line,
            newline=newline,
            cell=options.cell,
            ends_early=self.config.end_id is not None,
            last_id=int(prime[-1]),
            pattern=self._pattern(options),
        )
        return _counted(blocks, options.on_draw)

    def _pattern(self, options: TextOptions) -> Pattern | None:
        """Return what the text must match; with the byte alphabet it is ASCII. Raises UsageError if
        none can."""
        if options.match is None and not options.words:
            return None
        name, typed = (
            ("words", ",".join(options.words))
            if options.match is None
            else ("match", options.match)
        )
        # END is no character of a document: `Pattern` reads it where the text matches, unless it is
        # banned.
        banned, end_id = self._never_drawn(options.ban), self.config.end_id
        never = {*banned, end_id}
        numbered = enumerate(self.vocabulary())
        characters = tuple(
            text if len(text) == 1 and id not in never else "" for id, text in numbered
        )
        return match_text(
            (
                all_words(options.words, are_whole=" " in characters)
                if options.match is None
                else options.match
            ),
            f"{named(name)} is {reprlib.repr(typed)}",
            characters,
            length=options.length,
            end_id=None if end_id in banned else end_id,
            smaller=(
                "Give shorter or fewer words." if options.match is None else "Repeat less of it."
            ),
        )

    def _never_drawn(self, ban: str) -> tuple[int, ...]:
        """Return the ids that are never drawn: those of no character, and those of the characters
        of `ban`."""
        if self.vocab.kind == "byte" and not ban.isascii():
            raise UsageError(
                f"{named('ban')} is {ban!r}; with the byte alphabet only ASCII characters can be"
                " banned."
            )
        known = set(ban) - set(self.vocab.unknown_characters(ban))
        banned_ids = set(self.vocab.encode("".join(sorted(known))).tolist())
        banned = (*sampling.undrawable_ids(self.vocab, self.config.end_id), *banned_ids)
        if len(banned) >= len(self.vocab):
            raise UsageError(f"{named('ban')} leaves no character to generate.")
        return banned

    def _read_prime(self, stepper: CharacterModel, prime: Ids) -> PrimedState:
        """Read the prime. The last result is kept, so that a long prime is read once."""
        key = prime.tobytes(), stepper.changes
        if self._last_primed is None or self._last_primed[0] != key:
            self._last_primed = key, sampling.prime_model(stepper, prime)
        return self._last_primed[1]


def by_fields(
    options: Callable[Fields, Options], method: Callable[[Generator, Options], Result]
) -> Callable[Concatenate[Any, Fields], Result]:
    """Return a method that calls one of the `generator` with the fields of its options as keyword
    arguments.

    Type checkers, `help` and editors then know the fields, which are declared once.
    """

    @wraps(method)
    def call(self: Any, /, *args: Fields.args, **kwargs: Fields.kwargs) -> Result:
        return method(self.generator, options(*args, **kwargs))

    parameters = [
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        *signature(options).parameters.values(),
    ]
    call.__signature__ = signature(method).replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {"return": method.__annotations__.get("return")}
    return call


def _is_inner(character: str) -> bool:
    """Return whether a word goes on after a character: a letter, a mark, a digit, an apostrophe, a
    byte of a letter."""
    return len(character) > 1 or character in "'’" or unicodedata.category(character)[0] in "LMN"


def _variants(
    count: int, options: SampleOptions, temperatures: Sequence[float] = ()
) -> list[Variant]:
    """Return what distinguishes several texts: a temperature each, or a seed each."""
    assert options.seed is not None, "whoever draws has chosen a seed"
    if temperatures:
        return [(temperature, options.seed) for temperature in temperatures]
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"{named('count')} is {count}; it must be between 1 and {MAX_COUNT}.")
    return [
        (options.temperature, options.seed + stream * sampling.NUM_SEEDS) for stream in range(count)
    ]


def _with_seed(options: Options) -> Options:
    return replace(options, seed=fresh_seed()) if options.seed is None else options


def _counted(blocks: Iterator[Block], on_draw: Callable[[int], object]) -> Iterator[Block]:
    """Yield `blocks`, and call `on_draw` with the number of characters of each before."""
    for block in blocks:
        on_draw(block.ids.size)
        yield block


class Generating:
    """Generates text with its `generator`; each method takes the fields of an options dataclass by
    name."""

    generator: Generator
    """Generates text, with options in a dataclass."""

    sample = by_fields(SampleOptions, Generator.sample)
    stream = by_fields(SampleOptions, Generator.stream)
    write = by_fields(SampleOptions, Generator.write)
    search = by_fields(SearchOptions, Generator.search)
    beam = by_fields(SearchOptions, Generator.beam)

    def samples(
        self, count: int, *, temperatures: Sequence[float] = (), **options: Any
    ) -> list[GeneratedText]:
        """Draw `count` texts at once, or one for each of `temperatures` by the same random numbers;
        see `sample`.

        Text i is the same however many there are: that which `sample` draws with its `seed`.
        """
        return RecordList(
            self.generator.iter_samples(count, SampleOptions(**options), temperatures=temperatures)
        )

    def predict(
        self, text: str | bytes, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN
    ) -> list[Prediction]:
        """Return the `top` most likely characters after `text` and their probabilities, most likely
        first.

        An empty text stands for a newline. The unknown symbol is left out; the probabilities of all
        others sum to 1. Raises UsageError for a `top` under 1, DataError as `sample` does.
        """
        return RecordList(self.generator.predict(text, top=top, unknown=unknown))
