"""Options of a text that is sampled or searched for, checked when they are made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from typing import Concatenate, ParamSpec, TypeVar

from charrnn.errors import UsageError, did_you_mean, named
from charrnn.generation.beam import BeamOptions, Mode
from charrnn.generation.defaults import (
    DEFAULT_LENGTH,
    DEFAULT_PRECISION,
    DEFAULT_SEARCH_LENGTH,
    DEFAULT_UNKNOWN,
    DEFAULT_WIDTH,
)
from charrnn.generation.distribution import Shaping
from charrnn.generation.sampling import OnCompile, OnWarning, warn
from charrnn.model.clamping import Direction

PRECISIONS = ("auto", "int8", "fp32")
"""Precisions of the weights while sampling; `auto` is `int8`."""
UNKNOWN_CHOICES = ("error", "skip", "nearest")
"""What to do with characters of a prime that are not in the vocabulary."""

Clamps = Mapping[tuple[int, int] | Direction, float]
"""Cells (layer, unit) and directions, with the value of each cell and the output of each direction."""
Fields = ParamSpec("Fields")
Options = TypeVar("Options")
Owner = TypeVar("Owner")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOptions:
    """Options that sampling and beam search share. Raises UsageError naming the option, its value and its range."""

    length: int = DEFAULT_LENGTH
    """Number of characters to generate; of bytes, with the byte alphabet."""
    seed: int | None = None
    """The same seed gives the same text. None draws a new seed, which `GeneratedText.seed` returns."""
    prime: str | bytes = ""
    """Text to read first, of any length; not part of the result. An empty one stands for a newline; for a model of
    documents the prime is the beginning of one."""
    unknown: str = DEFAULT_UNKNOWN
    """Characters of the prime that are not in the vocabulary: `error`, `skip`, or `nearest` for a similar character."""
    stops: Sequence[str] = ()
    """Strings that end the text."""
    keep_stop: bool = False
    """Whether the stop string is part of the result."""
    ban: str = ""
    """Characters that are never generated."""
    clamps: Clamps = field(default_factory=dict)
    """What is clamped while the model generates: cells (layer, unit) at values in [-1, 1] (Radford 2017), directions at
    their output."""
    on_draw: Callable[[int], object] = lambda num_chars: None
    """Called with the number of characters, of all texts together, that were drawn since the last call."""

    def __post_init__(self) -> None:
        if isinstance(self.stops, str):
            object.__setattr__(self, "stops", (self.stops,))
        check_unknown(self.unknown)
        if "" in self.stops:
            raise UsageError(f"{named('stops')} has an empty string; it must be at least 1 character, or left out.")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"{named('seed')} is {self.seed}; it must be 0 or more.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOptions(TextOptions):
    """Options of a text that is drawn at random. Raises UsageError naming the option, its value and its range."""

    temperature: float = 1.0
    """Divisor of the logits: 0 is greedy, 1 the model's own distribution."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    """As in `generation.distribution.Shaping`."""
    max_line: int = 0
    """Characters after which a line is ended; 0: never."""
    cell: tuple[int, int] | None = None
    """A cell (layer, unit) whose values `Generator.stream` yields with the text."""
    precision: str = DEFAULT_PRECISION
    """`int8` (`auto`): weights in 8 bits, the same text compiled or not, alone or among others; `fp32`: weights as
    they are."""
    on_warning: OnWarning = warn
    """Called with a message if compiled code on disk is damaged, or none can be kept. Default: a Python warning."""
    on_compile: OnCompile = lambda: None
    """Called before the loop for long texts or long primes is compiled: about 10 seconds, once on a machine."""
    on_cut: Callable[[], object] = lambda: None
    """Called for each document that has not ended after `length` characters."""
    on_read: Callable[[int], object] = lambda num_chars: None
    """Called with the number of characters of the prime that were read since the last call."""

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        if self.length < 0:
            raise UsageError(f"{named('length')} is {self.length}; it must be 0 or more.")
        if self.max_line < 0:
            raise UsageError(f"{named('max_line')} is {self.max_line}; it must be 1 or more.")
        check_precision(self.precision)
        self.shaping(self.temperature)

    def shaping(self, temperature: float, banned: tuple[int, ...] = ()) -> Shaping:
        """Return how the logits become probabilities at a temperature. Raises UsageError if that is out of range."""
        return Shaping(temperature=temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p, banned=banned)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions(TextOptions):
    """Options of a beam search; the weights are taken as they are (fp32). Raises UsageError as `BeamOptions` does."""

    length: int = DEFAULT_SEARCH_LENGTH
    """Number of characters, unless a stop string ends the text; of bytes, with the byte alphabet."""
    width: int = DEFAULT_WIDTH
    mode: Mode = "plain"
    groups: int | None = None
    diversity: float | None = None
    length_penalty: float = 0.0
    no_repeat: int | None = None
    """As in `generation.beam.BeamOptions`; `no_repeat` counts bytes with the byte alphabet."""

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        # Whether the model's texts end by themselves, as documents do, is not known here: END stands for that.
        stops = (*self.stops, "\0")
        self.beam_options(stops=tuple(tuple(map(ord, stop)) for stop in stops), banned=(), seed=self.seed or 0)

    def beam_options(self, *, stops: tuple[tuple[int, ...], ...], banned: tuple[int, ...], seed: int) -> BeamOptions:
        """Return the options of the search over ids, for stop strings and banned characters in ids."""
        return BeamOptions(
            width=self.width,
            length=self.length,
            mode=self.mode,
            groups=self.groups,
            diversity=self.diversity,
            length_penalty=self.length_penalty,
            no_repeat=self.no_repeat,
            stops=stops,
            banned=banned,
            seed=seed,
        )


def check_precision(precision: str) -> None:
    """Raise UsageError unless `precision` is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        near = did_you_mean(precision, PRECISIONS)
        raise UsageError(f"{named('precision')} is {precision}; it must be one of {', '.join(PRECISIONS)}.{near}")


def check_unknown(unknown: str) -> None:
    """Raise UsageError unless `unknown` is one of `UNKNOWN_CHOICES`."""
    if unknown not in UNKNOWN_CHOICES:
        near = did_you_mean(unknown, UNKNOWN_CHOICES)
        raise UsageError(f"{named('unknown')} is {unknown}; it must be one of {', '.join(UNKNOWN_CHOICES)}.{near}")


def takes_fields_of(
    options: Callable[Fields, Options],
) -> Callable[[Callable[[Owner, Options], Result]], Callable[Concatenate[Owner, Fields], Result]]:
    """Let a method that takes an options dataclass be called with the fields of that class as keyword arguments.

    Type checkers, `help` and editors then know the fields, which are declared once.
    """

    def decorate(method: Callable[[Owner, Options], Result]) -> Callable[Concatenate[Owner, Fields], Result]:
        @wraps(method)
        def call(self: Owner, /, *args: Fields.args, **kwargs: Fields.kwargs) -> Result:
            return method(self, options(*args, **kwargs))

        this = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
        own = signature(method)
        fields = signature(options).parameters.values()
        call.__signature__ = own.replace(parameters=[this, *fields])  # type: ignore[attr-defined]
        call.__annotations__ = {"return": method.__annotations__.get("return")}
        return call

    return decorate
