"""What the values of one cell look like over a text."""

from dataclasses import asdict, dataclass, field
from typing import Any

from charrnn.display import Displayable

NUM_BINS = 40
"""Bins of a histogram of cell values, of equal width over [-1, 1]."""
LAGS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
"""Distances in characters at which the autocorrelation is measured, if the text is longer."""
FROM_AUTOCORRELATION = "autocorrelation"
"""Where the timescale of a cell type comes from in which no gate keeps the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellGate:
    """The share of characters at which a gate of a cell, named by its letter, is below 0.1 or above 0.9."""

    gate: str
    closed: float
    open: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AfterCharacter:
    """The mean value of a cell after a character, which occurs `count` times. It is decoded as in `EncodedText`."""

    character: str
    mean: float
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrelatedCell:
    """Another cell, and the Pearson correlation of the values of the two."""

    layer: int
    unit: int
    correlation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PassagePlace:
    """Where a passage of a text is: characters `begin` to `end`, chosen for the cell's `value` at `index`.

    `kind` is `top` or `bottom` (the largest and the smallest values) or `decile`: the value is in the middle of tenth
    number `rank` of all values, from 1 for the smallest. `rank` counts the others from 1, the most extreme one.
    """

    kind: str
    rank: int
    index: int
    begin: int
    end: int
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CellValues(Displayable):
    """The values of the cell `layer`:`unit` over a text of `num_chars` characters.

    `timescale` is the number of characters after which its memory has decayed to 1/e: -1 / log of the mean of the gate
    that keeps the memory (Mahto et al. 2021), times the dilation of its layer. `timescale_from` is the letter of that
    gate. A cell type without one has the lag at which the autocorrelation falls to 1/e. None if it is longer than can
    be measured.
    """

    layer: int
    unit: int
    num_chars: int
    mean: float
    spread: float
    """Standard deviation."""
    histogram: tuple[int, ...] = field(repr=False)
    """Characters in each of NUM_BINS bins of equal width over [-1, 1]; a bin includes its lower end, the last both."""
    autocorrelation: tuple[float, ...] = field(repr=False)
    """At those of LAGS that are shorter than the text; () for a constant cell."""
    decay: float | None
    """The lag at which the autocorrelation falls to 1/e, between two lags interpolated; None if it does not."""
    timescale: float | None
    timescale_from: str
    gates: tuple[CellGate, ...]
    after_characters: tuple[AfterCharacter, ...] = field(repr=False)
    """The characters of the text, the most frequent one first."""
    correlated: tuple[CorrelatedCell, ...]
    """The cells with the largest absolute correlation, the largest first."""
    passages: tuple[PassagePlace, ...] = field(repr=False)
    """Top, bottom, then deciles, from the largest values to the smallest. They do not overlap, and the characters for
    which they were chosen are in different sentences."""

    @property
    def density(self) -> tuple[float, ...]:
        """The histogram as a density, whose integral over [-1, 1] is 1."""
        return tuple(count / self.num_chars * NUM_BINS / 2 for count in self.histogram)

    @property
    def lags(self) -> tuple[int, ...]:
        """The lags of `autocorrelation`."""
        return LAGS[: len(self.autocorrelation)]

    def fits(self, num_chars: int) -> bool:
        """Return whether it can be of a text of so many characters: counts, lags and places are possible."""
        return (
            self.num_chars == num_chars == sum(self.histogram)
            and len(self.histogram) == NUM_BINS
            and min(self.histogram) >= 0
            and len(self.autocorrelation) <= len(LAGS)
            and all(0 <= one.begin <= one.index < one.end <= num_chars for one in self.passages)
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object, with `density` and `lags`."""
        return asdict(self) | {"density": list(self.density), "lags": list(self.lags)}
