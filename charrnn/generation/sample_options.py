"""Options of generated text: their defaults, their ranges, and how the command line sets them.
Without NumPy."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from charrnn.config.options import option
from charrnn.errors import UsageError, did_you_mean, named

if TYPE_CHECKING:
    from charrnn.model.clamping import Clampable

DEFAULT_LENGTH = 1000
"""Characters of a sample."""
DOCUMENT_LENGTH = 10_000
"""Characters after which `charrnn sample` cuts a document that has not ended."""
SAMPLE_TEMPERATURE = 0.8
"""Temperature of `charrnn sample`, of the samples during training and of the explorer.
`Model.sample` takes 1."""
DEFAULT_PRECISION = "auto"
"""Precision of the weights while sampling: 8 bits."""
DEFAULT_UNKNOWN = "error"
"""What happens to characters of a prime that are not in the vocabulary."""
DEFAULT_TOP = 5
"""Characters that a prediction lists."""
DEFAULT_WIDTH = 8
"""Beams of a search."""
DEFAULT_SEARCH_LENGTH = 200
"""Characters of a text that `Model.beam` searches for; `charrnn sample --beam` takes
`DEFAULT_LENGTH`."""
DEFAULT_DIVERSITY = 0.5
"""Nats that a diverse search subtracts for each beam of an earlier group that chose the same
character."""
PRECISIONS = ("auto", "int8", "fp32")
"""Precisions of the weights while sampling; `auto` is `int8`."""
UNKNOWN_CHOICES = ("error", "skip", "nearest")
"""What to do with characters of a prime that are not in the vocabulary."""
MAX_WIDTH = 4096
"""Largest number of beams."""
MAX_BEAM_CHARS = MAX_WIDTH * 1024
"""Characters of all live texts together at most. A search keeps all of them, in about 100 bytes
each, until it ends."""
MAX_LENGTH_PENALTY = 10
"""Largest exponent of the length penalty."""
DISTRIBUTION, TEXT, SEARCH, CELLS = "Which characters are drawn", "The text", "Beam search", "Cells"
"""Panels of the options in `charrnn sample --help`."""

Mode = Literal["plain", "diverse", "stochastic"]
"""What a beam search looks for: the most likely texts (Graves 2012); groups that avoid each other's
characters (Vijayakumar 2016); texts drawn without replacement (Kool, van Hoof & Welling 2019)."""
Clamps = Mapping["tuple[int, int] | Clampable", float]
"""Cells (layer, unit), and directions (`charrnn.analyses.directions`), with the value of each cell
and the output of each direction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shaping:
    """How logits become probabilities. Raises UsageError naming the option and its range.

    Order: banned ids, temperature, top-k, top-p (nucleus; Holtzman 2020), min-p.
    """

    temperature: float = 1.0
    """0 is greedy: all probability on the most likely character, the first of equals."""
    top_k: int | None = None
    """Keep the k most likely characters."""
    top_p: float | None = None
    """Keep the smallest set of most likely characters with a total probability of at least p."""
    min_p: float | None = None
    """Keep characters at least min_p times as likely as the most likely one."""
    banned: tuple[int, ...] = ()
    """Ids that are never drawn."""
    inner_temperature: float | None = None
    """Temperature after one of `inner_ids`; None: the same as elsewhere."""
    inner_ids: frozenset[int] = frozenset()

    def after(self, id: int) -> "Shaping":
        """Return how the logits after this id become probabilities."""
        if self.inner_temperature is None or id not in self.inner_ids:
            return self
        return replace(self, temperature=self.inner_temperature)

    def __post_init__(self) -> None:
        is_right = math.isfinite(self.temperature) and self.temperature >= 0
        _check(
            "temperature",
            self.temperature,
            is_right,
            f"0 (greedy) or more, and finite. Try {SAMPLE_TEMPERATURE}.",
        )
        _check("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "at least 1.")
        _check(
            "top_p",
            self.top_p,
            self.top_p is None or 0 < self.top_p <= 1,
            "more than 0 and at most 1.",
        )
        _check("min_p", self.min_p, self.min_p is None or 0 <= self.min_p <= 1, "between 0 and 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOptions:
    """Options that sampling and beam search share. Raises UsageError naming the option, its value
    and its range."""

    length: int = option(
        DEFAULT_LENGTH,
        "--length N",
        f"Number of characters. Default: {DEFAULT_LENGTH:,}. A document has at most so many:"
        f" {DOCUMENT_LENGTH:,}.",
    )
    """Number of characters to generate; of bytes, with the byte alphabet."""
    seed: int | None = option(
        None,
        "--seed N",
        "The same seed gives the same text. Default: a new one, printed on stderr.",
        least=0,
    )
    """The same seed gives the same text. None draws a new seed, which `GeneratedText.seed` returns.
    """
    prime: str | bytes = option("", "--prime TEXT", "Text to continue; printed first.")
    """Text to read first, of any length; not part of the result. An empty one stands for a newline;
    for a model of documents the prime is the beginning of one."""
    unknown: str = option(
        DEFAULT_UNKNOWN,
        "--unknown WORD",
        "Characters not in the alphabet: error, skip, or nearest for a similar one.",
        TEXT,
    )
    """Characters of the prime that are not in the vocabulary: `error`, `skip`, or `nearest` for a
    similar character."""
    stops: Sequence[str] = option(
        (), "--stop TEXT", "Stop before this text. Repeatable; \\n is a newline."
    )
    """Strings that end the text."""
    keep_stop: bool = option(
        False, "--keep-stop", "Stop after the --stop text, not before it.", TEXT
    )
    """Whether the stop string is part of the result."""
    ban: str = option("", "--ban CHARS", "Never generate these characters.", DISTRIBUTION)
    """Characters that are never generated."""
    match: str | None = option(
        None,
        "--match REGEX",
        "Write a text that matches this as a whole, of at most --length characters.",
        DISTRIBUTION,
    )
    """A regular expression of Python that the text matches as by `re.fullmatch`: other characters
    have probability 0. The text ends where it matches and nothing can follow, or after `length`
    characters."""
    words: Sequence[str] = option(
        (),
        "--words A,B",
        "Write a text with each of these; whole words, if the model writes spaces.",
        DISTRIBUTION,
    )
    """Words that all occur in the text, in any order: a case of `match`. Whole words, if there are
    spaces."""
    clamps: Clamps = option(
        dict,
        "--clamp L:U=V|DETECTOR=V",
        "Clamp cell U of layer L to V, from -1 to 1, or the direction of a detector to an output:"
        " quote=high, quote@8=low, quote=0.5. Repeatable.",
        CELLS,
    )
    """What is clamped while the model generates: cells (layer, unit) at values in [-1, 1] (Radford
    2017), directions at their output."""
    on_draw: Callable[[int], object] = lambda num_chars: None
    """Called with the number of characters, of all texts together, that were drawn since the last
    call."""

    def __post_init__(self) -> None:
        for name in ("stops", "words"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        check_word("unknown", self.unknown, UNKNOWN_CHOICES)
        if "" in self.stops:
            raise UsageError(
                f"{named('stops')} has an empty string; it must be at least 1 character, or left"
                " out."
            )
        is_right = self.match is None or (isinstance(self.match, str) and self.match != "")
        _check(
            "match",
            repr(self.match),
            is_right,
            "a string with a regular expression, such as 'ab*'.",
        )
        given = [
            name
            for name in ("match", "words", "stops", "max_line", "no_repeat")
            if getattr(self, name, None)
        ]
        if len(given) > 1 and given[0] in ("match", "words"):
            raise UsageError(
                f"{named(given[1])} does not go with {named(given[0])}, whose text must match as a"
                " whole."
            )
        _check("seed", self.seed, self.seed is None or self.seed >= 0, "0 or more.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOptions(TextOptions):
    """Options of a text that is drawn at random. Raises UsageError naming the option, its value and
    its range."""

    temperature: float = option(
        1.0,
        "--temp, --temperature, --temps T[,T]",
        "0 is greedy, 1 the model's own distribution; of several, such as 0.2,0.5,1, each has a"
        f" text. Default: {SAMPLE_TEMPERATURE}.",
    )
    """Divisor of the logits: 0 is greedy, 1 the model's own distribution."""
    top_k: int | None = option(
        None, "--top-k K", "Draw from the K most likely characters only.", DISTRIBUTION
    )
    """Number of the most likely characters that are kept; None: all."""
    top_p: float | None = option(
        None,
        "--top-p P",
        "Draw from the most likely characters with total probability P.",
        DISTRIBUTION,
    )
    """Total probability of the most likely characters that are kept (nucleus sampling; Holtzman
    2020)."""
    min_p: float | None = option(
        None,
        "--min-p P",
        "Draw from characters at least P times as likely as the most likely one.",
        DISTRIBUTION,
    )
    """Probability that a character needs to be kept, as a multiple of that of the most likely one.
    """
    temp_at: str | None = option(
        None, "--temp-at words[=T]", "Temperature T within words; 0 if left out.", DISTRIBUTION
    )
    """`words`, or `words=T`: after a letter, a mark, a digit or an apostrophe, temperature T, by
    default 0 (greedy)."""
    max_line: int = option(0, "--max-line N", "End a line after N characters.", TEXT, least=1)
    """Characters after which a line is ended; 0: never."""
    cell: tuple[int, int] | None = option(
        None,
        "--color, --show-cell WHAT",
        "Colour the text by its surprise, or by a cell: surprise, or L:U.",
        TEXT,
    )
    """A cell (layer, unit) whose values `Generator.stream` yields with the text."""
    precision: str = option(
        DEFAULT_PRECISION,
        "--precision WORD",
        "auto or int8: weights in 8 bits, the fastest. fp32: weights as trained.",
        DISTRIBUTION,
    )
    """`int8` (`auto`): weights in 8 bits, the same text compiled or not, alone or among others;
    `fp32`: weights as they are."""
    on_cut: Callable[[], object] = lambda: None
    """Called for each document that has not ended after `length` characters."""

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        _check("length", self.length, self.length >= 0, "0 or more.")
        _check("max_line", self.max_line, self.max_line >= 0, "1 or more.")
        check_word("precision", self.precision, PRECISIONS)
        self.shaping(self.temperature)

    def shaping(
        self,
        temperature: float,
        banned: tuple[int, ...] = (),
        inner_ids: frozenset[int] = frozenset(),
    ) -> Shaping:
        """Return how the logits become probabilities at a temperature, after `inner_ids` at that of
        `temp_at`.

        Raises UsageError if a temperature is out of range.
        """
        return Shaping(
            temperature=temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            banned=banned,
            inner_temperature=self._inner_temperature(),
            inner_ids=inner_ids,
        )

    def _inner_temperature(self) -> float | None:
        if self.temp_at is None:
            return None
        where, equals, number = self.temp_at.partition("=")
        with suppress(ValueError):
            temperature = float(number) if equals else 0.0
            if where == "words" and math.isfinite(temperature) and temperature >= 0:
                return temperature
        wanted = "words, or words=T with a temperature of 0 or more. Try words=0.3."
        raise UsageError(f"{named('temp_at')} is {self.temp_at}; it must be {wanted}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions(TextOptions):
    """Options of a beam search; the weights are taken as they are (fp32).

    Raises UsageError naming the option, its value and its range.
    """

    length: int = DEFAULT_SEARCH_LENGTH
    """Number of characters, unless a stop string ends the text; of bytes, with the byte alphabet.
    """
    width: int = option(
        DEFAULT_WIDTH, "--beam N", "Search for the most likely text with N beams.", SEARCH
    )
    """Number of texts kept at every step, and returned."""
    mode: Mode = option(
        "plain",
        "--beam-mode WORD",
        "plain: most likely texts. diverse: groups that avoid each other. stochastic: different"
        " samples.",
        SEARCH,
    )
    """`plain`: the most likely texts (Graves 2012). `diverse`: groups that avoid each other's
    characters (Vijayakumar 2016). `stochastic`: texts drawn without replacement (Kool, van Hoof &
    Welling 2019)."""
    groups: int | None = option(
        None, "--groups N", "Number of groups of a diverse search. Default: one per beam.", SEARCH
    )
    """Number of groups of a diverse search, a divisor of the width. None: one per beam."""
    diversity: float | None = option(
        None,
        "--diversity NATS",
        f"Penalty for a character that an earlier group chose. Default: {DEFAULT_DIVERSITY}.",
        SEARCH,
    )
    """Nats subtracted in a diverse search for each beam of an earlier group that chose the
    character at a step. None: `DEFAULT_DIVERSITY` (Vijayakumar 2016 recommends 0.2 to 0.8). The
    penalty is not part of a beam's score."""
    length_penalty: float = option(
        0.0,
        "--length-penalty ALPHA",
        "With --stop: 0 (default) prefers short texts, 1 neither.",
        SEARCH,
    )
    """Alpha of Wu 2016: texts are ranked by log-probability / ((5 + N) / 6)^alpha. 0 prefers short
    texts."""
    no_repeat: int | None = option(
        None, "--no-repeat N", "Never generate the same N characters twice.", SEARCH
    )
    """Length of n-grams that occur at most once, those of the prime included; in bytes with the
    byte alphabet. None: any may recur."""

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        _check(
            "width",
            self.width,
            1 <= self.width <= MAX_WIDTH,
            f"between 1 and {MAX_WIDTH}. Try {DEFAULT_WIDTH}.",
        )
        _check("length", self.length, self.length >= 1, "at least 1 in a beam search.")
        if self.width * self.length > MAX_BEAM_CHARS:
            raise UsageError(
                f"{named('width', self.width)} with {named('length', self.length)} would keep "
                f"{self.width * self.length:,} characters; at most {MAX_BEAM_CHARS:,} fit. "
                f"Use {named('length', MAX_BEAM_CHARS // self.width)} or fewer beams."
            )
        _check(
            "no_repeat",
            self.no_repeat,
            self.no_repeat is None or self.no_repeat >= 1,
            "at least 1. Try 20.",
        )
        check_word("mode", self.mode, get_args(Mode))
        for name, value in (("groups", self.groups), ("diversity", self.diversity)):
            if value is not None and self.mode != "diverse":
                what = f"{named(name)} is {as_typed(value)}"
                raise UsageError(
                    f"{what}, but the search is {self.mode}. Add {named('mode', 'diverse')}."
                )
        if self.groups is not None and (self.groups < 1 or self.width % self.groups):
            divisors = ", ".join(str(d) for d in range(1, self.width + 1) if self.width % d == 0)
            raise UsageError(
                f"{named('groups')} is {self.groups}; it must divide {named('width', self.width)}:"
                f" one of {divisors}."
            )
        is_right = self.diversity is None or (math.isfinite(self.diversity) and self.diversity > 0)
        _check(
            "diversity",
            self.diversity,
            is_right,
            f"more than 0, and finite. Try {DEFAULT_DIVERSITY}.",
        )
        is_right = 0 <= self.length_penalty <= MAX_LENGTH_PENALTY
        _check(
            "length_penalty",
            self.length_penalty,
            is_right,
            f"between 0 and {MAX_LENGTH_PENALTY}. Try 0.6.",
        )
        if self.length_penalty and self.mode == "stochastic":
            raise UsageError(
                f"{named('length_penalty')} is {as_typed(self.length_penalty)}, but a stochastic"
                " search draws texts by their probability. Leave it out, or search plain or"
                " diverse."
            )

    @property
    def num_groups(self) -> int:
        """Groups that search side by side: one, but in `diverse`."""
        return (self.groups or self.width) if self.mode == "diverse" else 1

    @property
    def penalty(self) -> float:
        """Nats per earlier group's beam with the same character."""
        return DEFAULT_DIVERSITY if self.diversity is None else self.diversity

    def length_divisor(self, num_chars: int) -> float:
        """Return the divisor of the log-probability of a text of `num_chars` (Wu 2016, equation
        14)."""
        return math.pow((5 + num_chars) / 6, self.length_penalty)


def _check(name: str, value: object, is_right: bool, wanted: str) -> None:
    """Raise UsageError that names the option and its value unless it `is_right`: as it is
    `wanted`."""
    if not is_right:
        raise UsageError(f"{named(name)} is {as_typed(value)}; it must be {wanted}")


def as_typed(value: object) -> str:
    """Return a number as it is typed: 90, not 90.0."""
    return str(value).removesuffix(".0")


def check_word(name: str, word: str, words: Sequence[str]) -> None:
    """Raise UsageError that names the option unless `word` is one of `words`."""
    if word not in words:
        raise UsageError(
            f"{named(name)} is {word}; it must be one of"
            f" {', '.join(words)}.{did_you_mean(word, words)}"
        )
