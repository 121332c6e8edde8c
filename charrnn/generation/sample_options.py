"""Options of generated text: their defaults, their ranges, and how the command line sets them.
Without NumPy.

Options that the command line does not take as they are, such as a prime from a file, are declared
in `cli.sample`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charrnn.config.options import option
from charrnn.errors import UsageError, did_you_mean, named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from charrnn.model.clamping import Clampable

DEFAULT_LENGTH = 1000
"""Characters of a sample."""
DOCUMENT_LENGTH = 10_000
"""Characters after which `charrnn sample` cuts a document that has not ended."""
SAMPLE_TEMPERATURE = 0.8
"""Temperature of `charrnn sample`, of the samples during training and of the explorer.
`Model.sample` takes 1."""
DEFAULT_PRECISION = "int8"
"""Precision of the weights while sampling."""
DEFAULT_UNKNOWN = "error"
"""What happens to characters of a prime that are not in the vocabulary."""
DEFAULT_TOP = 5
"""Characters that a prediction lists."""
DEFAULT_WIDTH = 8
"""Beams of a search."""
DEFAULT_SEARCH_LENGTH = 200
"""Characters of a text that `Model.beam` searches for; `charrnn sample --beam` takes
`DEFAULT_LENGTH`."""
PRECISIONS = ("int8", "fp32")
"""Precisions of the weights while sampling."""
UNKNOWN_CHOICES = ("error", "nearest")
"""What to do with characters of a prime that are not in the vocabulary."""
UNKNOWN_HELP = "Characters outside the alphabet: error, or nearest for a similar one."
"""What the help says of --unknown."""
MAX_WIDTH = 4096
"""Largest number of beams."""
MAX_BEAM_CHARS = MAX_WIDTH * 1024
"""Characters of all live texts together at most. A search keeps all of them, in about 100 bytes
each, until it ends."""
DISTRIBUTION, TEXT, SEARCH, CELLS = "Which characters are drawn", "The text", "Beam search", "Cells"
"""Panels of the options in `charrnn sample --help`."""

Forbid = Callable[[Sequence[int]], "NDArray[np.bool_]"]
"""Says which characters must not follow a text of ids."""
Clamps = Mapping["tuple[int, int] | Clampable", float]
"""Cells (layer, unit), and directions (`charrnn.analyses.directions`), with the value of each cell
and the output of each direction."""


@dataclass(frozen=True, kw_only=True)
class Shaping:
    """How logits become probabilities, in the order of the fields.

    An option of the distribution is added here, in `distribution.char_weights` and in its compiled
    copy (`compiled.sampling`). Raises UsageError naming the option and its range.
    """

    temperature: float = 1.0
    """Divisor of the logits. 1 is the model's own distribution; 0 is greedy: all probability on the
    most likely character, the first of equals."""
    top_k: int | None = option(
        None,
        flags="--top-k K",
        help="Draw from the K most likely characters only.",
        panel=DISTRIBUTION,
    )
    """Number of the most likely characters that are kept; None: all."""
    top_p: float | None = option(
        None,
        flags="--top-p P",
        help="Draw from the most likely characters with total probability P.",
        panel=DISTRIBUTION,
    )
    """Keep the smallest set of most likely characters with a total probability of at least p
    (nucleus sampling; Holtzman 2020)."""
    min_p: float | None = option(
        None,
        flags="--min-p P",
        help="Draw from characters at least P times as likely as the most likely one.",
        panel=DISTRIBUTION,
    )
    """Keep characters at least min_p times as likely as the most likely one."""

    def __post_init__(self) -> None:
        _check(
            "temperature",
            self.temperature,
            is_right=math.isfinite(self.temperature) and self.temperature >= 0,
            wanted=f"0 (greedy) or more, and finite. Try {SAMPLE_TEMPERATURE}.",
        )
        _check(
            "top_k",
            self.top_k,
            is_right=self.top_k is None or self.top_k >= 1,
            wanted="at least 1.",
        )
        _check(
            "top_p",
            self.top_p,
            is_right=self.top_p is None or 0 < self.top_p <= 1,
            wanted="more than 0 and at most 1.",
        )
        _check(
            "min_p",
            self.min_p,
            is_right=self.min_p is None or 0 <= self.min_p <= 1,
            wanted="between 0 and 1.",
        )


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Options that sampling and beam search share. Raises UsageError naming the option, its value
    and its range."""

    length: int = DEFAULT_LENGTH
    """Number of characters to generate; of bytes, with the byte alphabet."""
    seed: int | None = option(
        None,
        flags="--seed N",
        help="The same seed gives the same text.",
        least=0,
        shown_default="a new one, printed on stderr",
    )
    """The same seed gives the same text. None draws a new seed, which `GeneratedText.seed` returns.
    A beam search draws nothing."""
    prime: str | bytes | None = None
    """Text to read first, of any length; not part of the result. Without one the text begins as
    texts begin: after a blank line, if the training text has such. An empty one stands for a
    newline. For a model of documents the prime is the beginning of one."""
    unknown: str = option(
        DEFAULT_UNKNOWN,
        flags="--unknown WORD",
        help=UNKNOWN_HELP,
        panel=TEXT,
    )
    """Characters of the prime that are not in the vocabulary: `error`, or `nearest` for a similar
    character, which are left out if there is none."""
    stops: Sequence[str] = option(
        (), flags="--stop TEXT", help="Stop before this text (repeatable)."
    )
    """Strings that end the text, which is cut before them."""
    ban: str = option(
        "", flags="--ban CHARS", help="Never generate these characters.", panel=DISTRIBUTION
    )
    """Characters that are never generated."""
    match: str | None = option(
        None,
        flags="--match REGEX",
        help="Write a text that matches this as a whole, of at most --length characters.",
        panel=DISTRIBUTION,
    )
    """A regular expression of Python that the text matches as by `re.fullmatch`: other characters
    have probability 0. The text ends where it matches and nothing can follow, or after `length`
    characters."""
    clamps: Clamps = field(default_factory=dict)
    """What is clamped while the model generates: cells (layer, unit) at values in [-1, 1] (Radford
    2017), directions at their output."""
    on_draw: Callable[[int], object] = lambda num_chars: None
    """Called with the number of characters, of all texts together, that were drawn since the last
    call."""

    def __post_init__(self) -> None:
        # A single string is a sequence too, of its characters, which is never what was meant.
        if isinstance(self.stops, str):
            object.__setattr__(self, "stops", (self.stops,))

        check_word("unknown", self.unknown, words=UNKNOWN_CHOICES)
        if "" in self.stops:
            raise UsageError(
                f"{named('stops')} has an empty string; it must be at least 1 character, or left"
                " out."
            )

        # An empty expression matches only the empty text. A stop string could cut the text where it
        # does not match.
        _check(
            "match",
            repr(self.match),
            is_right=self.match is None or (isinstance(self.match, str) and self.match != ""),
            wanted="a string with a regular expression, such as 'ab*'.",
        )
        if self.stops:
            self._check_without_match("stops")

        _check("seed", self.seed, is_right=self.seed is None or self.seed >= 0, wanted="0 or more.")

    def _check_without_match(self, name: str) -> None:
        """Raise UsageError for an option that may end or change a text which must match."""
        if self.match is not None:
            raise UsageError(
                f"{named(name)} does not go with {named('match')}, whose text must match as a"
                " whole."
            )


@dataclass(frozen=True, kw_only=True)
class SampleOptions(TextOptions, Shaping):
    """Options of a text that is drawn at random. Raises UsageError naming the option, its value and
    its range."""

    cell: tuple[int, int] | None = None
    """A cell (layer, unit) whose values `Generator.stream` yields with the text."""
    precision: str = option(
        DEFAULT_PRECISION,
        flags="--precision WORD",
        help="int8 (weights in 8 bits, the fastest) or fp32 (weights as trained).",
        panel=DISTRIBUTION,
    )
    """`int8`: weights in 8 bits, the same text compiled or not, alone or among others;
    `fp32`: weights as they are."""
    forbid: "Forbid | None" = None
    """Returns the characters (V,) that must not follow the ids of the prime and of the text so far;
    where all must not, the text ends."""
    on_cut: Callable[[], object] = lambda: None
    """Called for each document that has not ended after `length` characters."""

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        Shaping.__post_init__(self)
        _check("length", self.length, is_right=self.length >= 0, wanted="0 or more.")
        check_word("precision", self.precision, words=PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class SearchOptions(TextOptions):
    """Options of a beam search (Graves 2012); the weights are taken as they are (fp32).

    Raises UsageError naming the option, its value and its range.
    """

    length: int = DEFAULT_SEARCH_LENGTH
    """Number of characters, unless a stop string ends the text; of bytes, with the byte alphabet.
    """
    width: int = DEFAULT_WIDTH
    """Number of texts kept at every step, and returned."""
    no_repeat: int | None = None
    """Length of n-grams that occur at most once, those of the prime included; in bytes with the
    byte alphabet. None: any may recur."""

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        _check(
            "width",
            self.width,
            is_right=1 <= self.width <= MAX_WIDTH,
            wanted=f"between 1 and {MAX_WIDTH}. Try {DEFAULT_WIDTH}.",
        )
        _check(
            "length",
            self.length,
            is_right=self.length >= 1,
            wanted="at least 1 in a beam search.",
        )

        # Each may be large, but not both.
        if self.width * self.length > MAX_BEAM_CHARS:
            raise UsageError(
                f"{named('width', self.width)} with {named('length', self.length)} would keep "
                f"{self.width * self.length:,} characters; at most {MAX_BEAM_CHARS:,} fit. "
                f"Use {named('length', MAX_BEAM_CHARS // self.width)} or fewer beams."
            )
        if self.no_repeat is not None:
            self._check_without_match("no_repeat")
            _check(
                "no_repeat",
                self.no_repeat,
                is_right=self.no_repeat >= 1,
                wanted="at least 1. Try 20.",
            )


def _check(name: str, value: object, *, is_right: bool, wanted: str) -> None:
    """Raise UsageError that names the option and its value unless it `is_right`: as it is
    `wanted`."""
    if not is_right:
        # A number as it is typed: 90, not 90.0.
        typed = str(value).removesuffix(".0")
        raise UsageError(f"{named(name)} is {typed}; it must be {wanted}")


def check_word(name: str, word: str, words: Sequence[str]) -> None:
    """Raise UsageError that names the option unless `word` is one of `words`."""
    if word not in words:
        raise UsageError(
            f"{named(name)} is {word}; it must be one of"
            f" {', '.join(words)}.{did_you_mean(word, words)}"
        )
