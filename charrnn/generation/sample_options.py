"""Declare the options of generated text: their defaults, their ranges, and their flags on the
command line. Does not import NumPy.

An option that has another form on the command line, such as a prime from a file, is declared in
`commands.sample_options`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from charrnn.config.options import (
    RANGE,
    Range,
    at_least,
    between,
    check_fields,
    one_of,
    option,
    setting,
)
from charrnn.errors import UsageError, named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from charrnn.text.given_text import GivenText

DEFAULT_LENGTH = 1000
"""Characters of a sample."""
DOCUMENT_LENGTH = 10_000
"""Characters after which `charrnn sample` cuts a document that has not ended."""
SAMPLE_TEMPERATURE = 0.8
"""Temperature of `charrnn sample`, of `Model.sample`, and of the samples during training."""
DEFAULT_PRECISION = "int8"
"""Precision of the weights while sampling."""
DEFAULT_UNKNOWN = "error"
"""The treatment of characters of a prime that are not in the vocabulary."""
DEFAULT_TOP = 5
"""Characters that a prediction lists."""
DEFAULT_WIDTH = 8
"""Beams of a search."""
DEFAULT_SEARCH_LENGTH = 200
"""Characters of a text that `Model.beam` searches for; `charrnn sample --beam` takes
`DEFAULT_LENGTH`."""
UNKNOWN_CHOICES = one_of("error", "nearest")
"""Treatments of characters of a prime that are not in the vocabulary."""
UNKNOWN_HELP = "Unknown characters: error, or nearest."
"""The help of --unknown."""
MAX_WIDTH = 4096
"""The largest number of beams."""
BEAMS = Range(f"between 1 and {MAX_WIDTH}", contains=range(1, MAX_WIDTH + 1).__contains__)
"""The range of the number of beams, a whole number."""
MAX_BEAM_CHARS = MAX_WIDTH * 1024
"""The largest number of characters of all live texts together. A search keeps all of them, in about
100 bytes each, until it ends."""
DISTRIBUTION, TEXT = "Which characters are drawn", "The text"
"""Panels of the options in `charrnn sample --help`."""

EXPRESSIONS = Range(
    "a string with a regular expression, such as 'ab*'",
    contains=lambda match: isinstance(match, str) and match != "",
)
STOPS = Range("strings of at least 1 character", contains=lambda stops: "" not in stops)
Forbid = Callable[[Sequence[int]], "NDArray[np.bool_]"]
"""Called with a text of ids; returns the characters that must not follow it."""
Accept = Callable[[str], bool]
"""Returns whether a drawn text, which is passed with its prime, is kept."""
DRAWING = ("temperature", "top_k", "top_p", "min_p", "precision", "cell", "forbid")
"""The options that a search does not have."""
Clamps = Mapping[tuple[int, int], float]
"""The value at which each cell (layer, unit) is clamped."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Options of a text that is drawn at random. Raises UsageError naming the option, its value and
    its range.

    `Model.sample`, `stream` and `write` take these fields by name. An object of this class is
    needed only for `Model.generator`, which takes it whole. The first four make the distribution,
    in the order in which they are applied to the logits. A new one is added here, in
    `distribution.char_weights` and in its compiled copy (`compiled.sampling`).
    """

    temperature: float = setting(
        SAMPLE_TEMPERATURE,
        allowed=Range(
            "0 (greedy) or more, and finite", contains=lambda number: bool(0 <= number < math.inf)
        ),
    )
    """Divisor of the logits, by default 0.8, as of `charrnn sample`. 1 is the model's own
    distribution; 0 is greedy: the most likely character has all probability, or the first of
    several that are equally likely."""
    top_k: int | None = option(
        None,
        flags="--top-k K",
        help="Draw from the K likeliest characters.",
        panel=DISTRIBUTION,
        allowed=at_least(1),
    )
    """Number of the most likely characters that are kept; None: all."""
    top_p: float | None = option(
        None,
        flags="--top-p P",
        help="Draw from the likeliest of total probability P.",
        panel=DISTRIBUTION,
        allowed=Range("more than 0 and at most 1", contains=lambda share: bool(0 < share <= 1)),
    )
    """Keep the smallest set of most likely characters with a total probability of at least p
    (nucleus sampling; Holtzman 2020)."""
    min_p: float | None = option(
        None,
        flags="--min-p P",
        help="Draw from characters at least P times as likely as the most likely one.",
        is_hidden=True,
        allowed=between(0, 1),
    )
    """Keep characters at least min_p times as likely as the most likely one."""
    length: int = setting(DEFAULT_LENGTH, allowed=at_least(0))
    """Number of characters to generate; of bytes, with the byte alphabet."""
    seed: int | None = option(
        None,
        flags="--seed N",
        help="The same seed gives the same text.",
        allowed=at_least(0),
        shown_default="a new one",
    )
    """The same seed gives the same text. None draws a new seed, which `GeneratedText.seed` returns.
    A beam search draws nothing."""
    prime: "GivenText | None" = None
    """Text of any length that the model reads first; it is not part of the result. It is a string
    or bytes; the methods of a model take the `pathlib.Path` of a file or a list of texts, too.
    Without a prime the text begins like the training text: the model reads a newline or, if it
    expects them, a full stop before it and up to two newlines after it
    (`model.vocab.decode(model.generator.encode_prime(None))`). An empty prime stands for a newline.
    For a model of documents the prime is the beginning of a document."""
    unknown: str = option(
        DEFAULT_UNKNOWN,
        flags="--unknown WORD",
        help=UNKNOWN_HELP,
        panel=TEXT,
        allowed=UNKNOWN_CHOICES,
    )
    """The treatment of characters of the prime that are not in the vocabulary: `error`, or
    `nearest` for a similar character; a character without a similar one is left out."""
    stops: Sequence[str] = option(
        (), flags="--stop TEXT", help="Stop before this text (repeatable).", allowed=STOPS
    )
    """Strings that end the text. It is cut before them."""
    ban: str = option(
        "", flags="--ban CHARS", help="Never generate these characters.", panel=DISTRIBUTION
    )
    """Characters that are never generated."""
    match: str | None = option(
        None,
        flags="--match REGEX",
        help="The whole text matches this expression.",
        panel=DISTRIBUTION,
        allowed=EXPRESSIONS,
    )
    """A regular expression of Python that the text matches as by `re.fullmatch`: other characters
    have probability 0. The text ends where it matches and nothing can follow, or after `length`
    characters."""
    known_words: bool = option(
        False,
        flags="--known-words",
        help="Write only words that the model has read.",
        panel=DISTRIBUTION,
    )
    """Whether every word of the text is one that the model has read: other letters have probability
    0. A word is a run of letters, with apostrophes and hyphens inside. It may be written as it
    stands in the training text, in small letters, or with a capital; only the length may cut it.
    Log-probabilities are those of the model without this rule."""
    clamps: Clamps = field(default_factory=dict)
    """Cells (layer, unit) that are clamped at values in [-1, 1] while the model generates (Radford
    2017)."""

    cell: tuple[int, int] | None = None
    """A cell (layer, unit) whose values `stream` yields with the text."""
    precision: str = option(
        DEFAULT_PRECISION,
        flags="--precision WORD",
        help="int8 (weights in 8 bits, the fastest) or fp32 (weights as trained).",
        is_hidden=True,
        allowed=one_of("int8", "fp32"),
    )
    """`int8`: weights in 8 bits; a text is the same compiled or not, alone or beside other texts.
    `fp32`: weights as they are. The log-probabilities are those of the weights that draw."""
    forbid: "Forbid | None" = None
    """Returns the characters (V,) that must not follow the ids of the prime and of the text so far;
    if no character may follow, the text ends."""

    def __post_init__(self) -> None:
        # A string is also a sequence of stop strings of one character, which nobody means.
        if isinstance(self.stops, str):
            object.__setattr__(self, "stops", (self.stops,))

        check_fields(self)
        # A stop string could cut the text so that it no longer matches.
        if self.stops:
            self._check_without_match("stops")

    @property
    def prime_text(self) -> str | bytes | None:
        """The prime, where it is a text. Raises UsageError for a file or a list, which a `Model`
        reads."""
        if self.prime is None or isinstance(self.prime, str | bytes):
            return self.prime
        raise UsageError(f"{named('prime')} is {self.prime!r}; it must be a text.")

    def _check_without_match(self, name: str) -> None:
        """Raise UsageError for an option that may end or change a text which must match."""
        if self.match is not None:
            raise UsageError(
                f"{named(name)} does not go with {named('match')}, whose text must match as a"
                " whole."
            )


@dataclass(frozen=True)
class SeveralOptions(SampleOptions):
    """Options of several texts that are drawn at random. Raises UsageError naming the option, its
    value and its range.

    `Model.samples` takes these fields by name, beside those of `SampleOptions`.
    """

    count: int = field(metadata={RANGE: at_least(1)})
    """Number of texts. Text i does not depend on it: `sample` draws the same text with its
    `seed`."""
    _: KW_ONLY
    unique: bool = False
    """Whether a text that was drawn before is rejected."""
    accept: Accept | None = None
    """A text is rejected if this returns False for the text with its prime."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SampleOptions):
    """Options of a beam search (Graves 2012), which uses the weights as they are (fp32) and draws
    nothing, whatever the seed is.

    `Model.beam` takes these fields by name. They are for the likeliest text, those of
    `SampleOptions` for a varied one. Raises UsageError naming the option, its value and its range,
    and for an option of drawing.
    """

    length: int = setting(DEFAULT_SEARCH_LENGTH, allowed=at_least(1))
    """Number of characters, unless a stop string ends the text; of bytes, with the byte alphabet.
    """
    width: int = setting(DEFAULT_WIDTH, allowed=BEAMS)
    """Number of texts that are kept at every step, and returned."""
    no_repeat: int | None = setting(None, allowed=at_least(1))
    """Length of the n-grams that must not occur twice in the prime and the text; in bytes with the
    byte alphabet. None: every n-gram may recur."""

    def __post_init__(self) -> None:
        SampleOptions.__post_init__(self)
        for name in DRAWING:
            if getattr(self, name) != getattr(SampleOptions, name):
                raise UsageError(f"{named(name)} is an option of drawing; a search draws nothing.")

        # The width or the length may be large, but not both.
        if self.width * self.length > MAX_BEAM_CHARS:
            raise UsageError(
                f"{named('width', self.width)} with {named('length', self.length)} would keep "
                f"{self.width * self.length:,} characters; at most {MAX_BEAM_CHARS:,} fit. "
                f"Use {named('length', MAX_BEAM_CHARS // self.width)} or fewer beams."
            )
        if self.no_repeat is not None:
            self._check_without_match("no_repeat")
