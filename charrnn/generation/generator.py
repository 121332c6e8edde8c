"""What writes: a model's weights and its alphabet, texts drawn from them or searched for, by options checked here."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import CheckpointError, DataError, UsageError, did_you_mean, named
from charrnn.generation.beam import BeamOptions, BeamSearch, Mode
from charrnn.generation.distribution import Shaping, next_char_probs
from charrnn.generation.sampling import (
    Block,
    Ids,
    OnCompile,
    OnWarning,
    Reading,
    read_prime,
    sample_ids,
    start_ids,
    unwritable_ids,
    warn,
)
from charrnn.generation.writing import (
    Piece,
    TextSearch,
    TextStream,
    write_chunks,
    write_text,
    write_texts,
)
from charrnn.model.stepper import Stepper
from charrnn.records.generation import GeneratedText, Prediction
from charrnn.text.vocab import Vocab

if TYPE_CHECKING:
    from typing_extensions import Unpack

PRECISIONS = ("auto", "int8", "fp32")
UNKNOWN_WAYS = ("error", "skip", "nearest")
DEFAULT_LENGTH = 1000
"""Characters of a text, unless asked otherwise."""
MAX_COUNT = 4096
"""Samples at once."""
GROUP_CHARS = 2_000_000
"""Characters of several texts that are drawn together, at most, unless one text alone is longer. They are kept until
the texts before them are handed over: some 10 bytes each."""
MAX_FRESH_SEED = 2**31 - 1
"""Fresh seeds are small enough to be typed."""


class SamplingOptions(TypedDict, total=False):
    """How a text is drawn. Each is checked where it is used, and a UsageError names the option and its range."""

    length: int
    """Characters to write (bytes, with the byte alphabet). Default: 1000."""
    temperature: float
    """0 is greedy, 1 (default) the model's own distribution."""
    top_k: int | None
    top_p: float | None
    min_p: float | None
    """As in `generation.distribution.Shaping`."""
    seed: int | None
    """The same seed draws the same text. Default: None, a fresh one, which `GeneratedText.seed` carries."""
    prime: str | bytes
    """What comes before, of any length; not repeated. Default: a new line."""
    unknown: str
    """What becomes of a prime's characters that the model never saw: error (default), skip or nearest."""
    stops: Sequence[str]
    """Strings that end the text."""
    keep_stop: bool
    """Whether the stop string stays in the text."""
    ban: str
    """Characters that are never written."""
    max_line: int
    """A line of so many characters is ended. 0 (default): none is."""
    clamps: Mapping[tuple[int, int], float]
    """Cells (layer, unit) that are held at a value in [-1, 1] while writing, as Radford 2017 held one."""
    cell: tuple[int, int] | None
    """A cell (layer, unit) whose values come with the pieces."""
    precision: str
    """`int8` (`auto`): weights in eight bits, the same text compiled or not, alone or among others; `fp32`: weights as
    they are."""
    on_warning: OnWarning
    """Called with a message if compiled code on disk is damaged, or none can be kept. Default: a Python warning."""
    on_compile: OnCompile
    """Called before the loop is compiled that draws long texts, or reads long primes: some 10 seconds, once on a
    machine."""
    on_read: Callable[[int], object]
    """Told how many characters of the prime were read since it was last called."""
    on_draw: Callable[[int], object]
    """Called with the number of characters (of all texts together) drawn since it was last called."""


def fresh_seed() -> int:
    """Draw a seed between 0 and `MAX_FRESH_SEED` from the operating system's random numbers."""
    return secrets.randbelow(MAX_FRESH_SEED + 1)


class Generator:
    """A trained model as what writes texts, without torch. In errors its options are called as on the command line.

    Attributes: `config`, `vocab`, `tensors` (the weights by name), `name` (of the run).
    """

    def __init__(self, config: Config, vocab: Vocab, tensors: dict[str, NDArray[Any]], name: str) -> None:
        self.config = config
        self.vocab = vocab
        self.tensors = tensors
        self.name = name
        self._last_reading: tuple[object, Reading] | None = None

    @cached_property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy and float32. Raises CheckpointError if weights do not fit."""
        return self._make_stepper("fp32")

    @cached_property
    def _int8_stepper(self) -> Stepper:
        return self._make_stepper("int8")

    def _make_stepper(self, precision: str) -> Stepper:
        stepper = Stepper(self.config, self.tensors, precision)
        self._check_alphabet(stepper.vocab_size)
        return stepper

    def _check_alphabet(self, vocab_size: int) -> None:
        if vocab_size != len(self.vocab):
            raise CheckpointError(
                f"The alphabet of {self.name} has {len(self.vocab)} entries, its weights are for {vocab_size}."
            )

    def _stepper_for(self, precision: str, clamps: Mapping[tuple[int, int], float]) -> Stepper:
        if precision not in PRECISIONS:
            near = did_you_mean(precision, PRECISIONS)
            raise UsageError(f"{named('precision')} is {precision}; it must be one of {', '.join(PRECISIONS)}.{near}")
        if not clamps:
            return self.stepper if precision == "fp32" else self._int8_stepper
        stepper = self._make_stepper("fp32" if precision == "fp32" else "int8")
        for (layer, unit), value in clamps.items():
            stepper.hold(layer, unit, value)
        return stepper

    def encode_prime(self, prime: str | bytes, unknown: str = "error") -> Ids:
        """The ids that a model reads before it writes; a newline if `prime` is empty. Bytes are for the byte alphabet.

        Characters that the model never saw are an error, left out (`skip`), or read as the `nearest` that it knows.
        Raises DataError naming them, UsageError for another word.
        """
        if unknown not in UNKNOWN_WAYS:
            near = did_you_mean(unknown, UNKNOWN_WAYS)
            raise UsageError(f"{named('unknown')} is {unknown}; it must be one of {', '.join(UNKNOWN_WAYS)}.{near}")
        missing = self.vocab.unknown_characters(prime)
        if missing and unknown == "error":
            shown = ", ".join(f"{character!r}" for character in missing[:8])
            raise DataError(
                f"The model {self.name} never saw {shown} (of the prime). Leave them out, use "
                f"{named('unknown', 'skip')} or nearest, or train with {named('alphabet', 'byte')}, which knows "
                "every character."
            )
        if missing and isinstance(prime, str):
            nearest = {ord(c): self.vocab.nearest(c) if unknown == "nearest" else "" for c in missing}
            prime = prime.translate(nearest)
        return self.vocab.encode(prime) if prime else start_ids(self.vocab)

    def stream(self, **options: "Unpack[SamplingOptions]") -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn: (text, log-probability in nats, value of `cell`).

        A piece is a character; with the byte alphabet it is "" until the bytes of a character are complete.
        Raises UsageError for an option out of range, DataError for a prime with characters the model never saw.
        """
        return write_text(self._draw([{}], **options), self._text_stream(options))

    def write(self, **options: "Unpack[SamplingOptions]") -> Iterator[str]:
        """Yield the text of `stream` in larger chunks, as fast as it can be drawn. Raises as `stream` does."""
        return write_chunks(self._draw([{}], **options), self._text_stream(options))

    def sample(self, **options: "Unpack[SamplingOptions]") -> GeneratedText:
        """Draw a text after a prime (which is not repeated). Raises as `stream` does."""
        return next(self.iter_samples(1, **options))

    def samples(
        self, count: int, *, temperatures: Sequence[float] = (), **options: "Unpack[SamplingOptions]"
    ) -> list[GeneratedText]:
        """Draw `count` texts at once: text i is the same however many there are, and the first is that of `sample`.

        With `temperatures`, a text for each of them instead, all by the same random numbers. All texts share one seed.
        Raises as `stream` does.
        """
        return list(self.iter_samples(count, temperatures=temperatures, **options))

    def iter_samples(
        self, count: int, *, temperatures: Sequence[float] = (), **options: "Unpack[SamplingOptions]"
    ) -> Iterator[GeneratedText]:
        """Yield the texts of `samples` one after the other, keeping about `GROUP_CHARS` characters, or one text.

        Raises as `stream` does, when the first text is asked for.
        """
        options["seed"] = seed = _seed_of(options)
        for blocks, streams in self._groups(_changes(count, temperatures), options):
            for record in write_texts(blocks, streams):
                yield GeneratedText(text=record.text, logprobs=record.logprobs, seed=seed)

    def write_each(self, count: int, **options: "Unpack[SamplingOptions]") -> Iterator[Iterator[str]]:
        """Yield the texts of `samples` one after the other, each in chunks, keeping about `GROUP_CHARS` characters.

        A text that is longer than that is drawn by itself, chunk by chunk; use up its chunks before asking for the next
        text. Raises as `iter_samples` does.
        """
        options["seed"] = _seed_of(options)
        for blocks, streams in self._groups(_changes(count), options):
            if len(streams) == 1:
                yield write_chunks(blocks, streams[0])
            else:
                yield from (iter((record.text,)) for record in write_texts(blocks, streams))

    def _groups(
        self, changes: Sequence[Mapping[str, Any]], options: SamplingOptions
    ) -> Iterator[tuple[Iterator[Block], list[TextStream]]]:
        """The blocks of as many of the texts `changes` as are drawn together, and a stream for each, group by group."""
        size = max(1, GROUP_CHARS // max(1, options.get("length", DEFAULT_LENGTH)))
        for first in range(0, len(changes), size):
            group = changes[first : first + size]
            yield self._draw(group, **options), [self._text_stream(options) for _ in group]

    def beam(self, **options: Any) -> list[GeneratedText]:
        """The best texts that a beam search finds after `prime`, best first. Options, errors: as `search`."""
        search = self.search(**options)
        for _ in search:
            pass
        return search.texts

    def search(
        self,
        *,
        width: int = 8,
        length: int = 200,
        mode: Mode = "plain",
        groups: int | None = None,
        diversity: float | None = None,
        length_penalty: float = 0.0,
        no_repeat: int | None = None,
        stops: Sequence[str] = (),
        keep_stop: bool = False,
        ban: str = "",
        seed: int | None = None,
        prime: str | bytes = "",
        unknown: str = "error",
        clamps: Mapping[tuple[int, int], float] = MappingProxyType({}),
        on_draw: Callable[[int], object] = lambda num_chars: None,
    ) -> TextSearch:
        """A beam search for what comes after `prime`, to be iterated over: it yields the best text as it gets certain.

        The options are those of `BeamOptions` and `SamplingOptions`; the weights are taken as they are (fp32). Without
        `seed` a stochastic search draws a fresh one. With the byte alphabet `length` and `no_repeat` count bytes.
        Raises UsageError for an option out of range or a stop string with characters the model never saw, DataError
        for such a prime.
        """
        for stop in stops:
            if missing := self.vocab.unknown_characters(stop):
                raise UsageError(
                    f"{named('stops')} is {stop!r}, but the model {self.name} never saw {missing[0]!r} and so "
                    "never writes it. Leave it out."
                )
        options = BeamOptions(
            width=width,
            length=length,
            mode=mode,
            groups=groups,
            diversity=diversity,
            length_penalty=length_penalty,
            no_repeat=no_repeat,
            stops=tuple(tuple(self.vocab.encode(stop).tolist()) for stop in stops),
            banned=(*unwritable_ids(self.vocab), *self._banned_ids(ban)),
            seed=_seed_of({"seed": seed}) if mode == "stochastic" else seed or 0,
        )
        search = BeamSearch(self._stepper_for("fp32", clamps), self.encode_prime(prime, unknown), options, on_draw)
        return TextSearch(search, self.vocab, stops, keeps_stop=keep_stop)

    def predict(self, text: str | bytes, *, top: int = 5, unknown: str = "error") -> list[Prediction]:
        """The `top` likeliest characters after `text` and their probabilities, likeliest first.

        An empty text stands for a new line. The unknown symbol is left out, the others sum to 1. A byte that is no
        character by itself is spelled `\\xNN`. Raises DataError as `encode_prime` does.
        """
        if top < 1:
            raise UsageError(f"{named('top')} is {top}; it must be at least 1.")
        logits = read_prime(self.stepper, self.encode_prime(text, unknown)).logits
        probs = next_char_probs(logits, Shaping(banned=unwritable_ids(self.vocab)))[0]
        likeliest = np.argsort(-probs, kind="stable")[: min(top, len(probs) - len(unwritable_ids(self.vocab)))]
        return [Prediction(character=self.spell(int(i)), probability=float(probs[i])) for i in likeliest]

    def spell(self, char: int) -> str:
        """An id by itself: its character, `\\xNN` for a byte that is none, nothing for the unknown symbol."""
        return f"\\x{char:02x}" if self.vocab.kind == "byte" and char >= 128 else self.vocab.characters[char]

    def _text_stream(self, options: SamplingOptions) -> TextStream:
        stops = options.get("stops", ())
        stops = (stops,) if isinstance(stops, str) else stops
        if "" in stops:
            raise UsageError(f"{named('stops')} is empty; give the text that ends the sample.")
        return TextStream(self.vocab, stops, keeps_stop=options.get("keep_stop", False))

    def _draw(
        self,
        changes: Sequence[Mapping[str, Any]],
        *,
        length: int = DEFAULT_LENGTH,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        prime: str | bytes = "",
        unknown: str = "error",
        stops: Sequence[str] = (),
        keep_stop: bool = False,
        ban: str = "",
        max_line: int = 0,
        clamps: Mapping[tuple[int, int], float] = MappingProxyType({}),
        cell: tuple[int, int] | None = None,
        precision: str = "auto",
        on_compile: OnCompile = lambda: None,
        on_warning: OnWarning = warn,
        on_read: Callable[[int], object] = lambda num_chars: None,
        on_draw: Callable[[int], object] = lambda num_chars: None,
    ) -> Iterator[Block]:
        """The ids of a stream for each of `changes` (its `temperature` and number, where they differ).

        `stops` and `keep_stop` are not used here but by `_text_stream`, which takes the same options.
        """
        seed = fresh_seed() if seed is None else seed
        if length < 0:
            raise UsageError(f"{named('length')} is {length}; it must be 0 or more.")
        if max_line < 0:
            raise UsageError(f"{named('max_line')} is {max_line}; it must be 1 or more.")
        if seed < 0:
            raise UsageError(f"{named('seed')} is {seed}; it must be 0 or more.")
        stepper = self._stepper_for(precision, clamps)
        if cell is not None:
            stepper.check_cell(*cell)
        banned = (*unwritable_ids(self.vocab), *self._banned_ids(ban))
        newline = int(start_ids(self.vocab)[0])
        if max_line and (self.vocab.characters[newline] != "\n" or newline in banned):
            raise UsageError(f"{named('max_line')} needs a newline, which this model cannot write.")
        shapings = [
            Shaping(
                temperature=change.get("temperature", temperature),
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                banned=banned,
            )
            for change in changes
        ]
        seeds = [(seed, change.get("stream", 0)) for change in changes]
        reading = self._reading_of(self.encode_prime(prime, unknown), stepper, on_compile, on_read, on_warning)
        blocks = sample_ids(
            stepper,
            reading,
            shapings,
            seeds,
            length=length,
            max_line=max_line,
            newline=newline,
            cell=cell,
            on_compile=on_compile,
            on_warning=on_warning,
        )
        return _counted(blocks, on_draw)

    def _banned_ids(self, ban: str) -> set[int]:
        """Ids of the characters of `ban`; ones that the model never saw are never written anyway."""
        if self.vocab.kind == "byte" and not ban.isascii():
            raise UsageError(f"{named('ban')} is {ban!r}; a model of bytes can only be kept from ASCII characters.")
        known = set(ban) - set(self.vocab.unknown_characters(ban))
        banned = set(self.vocab.encode("".join(sorted(known))).tolist())
        if len(banned) + len(unwritable_ids(self.vocab)) >= len(self.vocab):
            raise UsageError(f"{named('ban')} leaves no character to write.")
        return banned

    def _reading_of(
        self,
        prime: Ids,
        stepper: Stepper,
        on_compile: OnCompile,
        on_read: Callable[[int], object],
        on_warning: OnWarning,
    ) -> Reading:
        """What the model knows after `prime`; the last one is remembered, so that a long prime is read once."""
        key = (prime.tobytes(), stepper.precision, repr(stepper.held))
        if self._last_reading is None or self._last_reading[0] != key:
            self._last_reading = key, read_prime(stepper, prime, on_compile, on_read, on_warning)
        return self._last_reading[1]


def _changes(count: int, temperatures: Sequence[float] = ()) -> list[dict[str, Any]]:
    """What each of several texts has of its own: the number of its stream, or a temperature."""
    if temperatures:
        return [{"temperature": temperature, "stream": 0} for temperature in temperatures]
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"{named('count')} is {count}; it must be between 1 and {MAX_COUNT}.")
    return [{"stream": stream} for stream in range(count)]


def _seed_of(options: SamplingOptions) -> int:
    seed = options.get("seed")
    return fresh_seed() if seed is None else seed


def _counted(blocks: Iterator[Block], on_draw: Callable[[int], object]) -> Iterator[Block]:
    for block in blocks:
        on_draw(block.ids.size)
        yield block
