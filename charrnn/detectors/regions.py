"""What a scanner of source code hands over: a region, a bracket depth and an if-statement for every character."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Region(IntEnum):
    """What a character of source code belongs to."""

    CODE = 0
    STRING = 1
    COMMENT = 2


@dataclass(frozen=True, slots=True, eq=False)
class SourceLabels:
    """For each of N characters, what holds after reading it."""

    regions: NDArray[np.int8]
    """The Region (N,)."""
    depths: NDArray[np.int64]
    """The number of open brackets (N,)."""
    in_if: NDArray[np.bool_]
    """Whether it is in the condition or the body of an if-statement (N,)."""


class RegionsAndDepths:
    """Regions and bracket depths of a text of N characters, built mark by mark from left to right."""

    def __init__(self, num_chars: int) -> None:
        self.regions = np.zeros(num_chars, np.int8)
        self.depth = 0
        self._changes = np.zeros(num_chars, np.int64)

    def add_span(self, region: Region, begin: int, end: int, *, is_closed: bool) -> None:
        """A string or a comment [begin, end): inside from its opening mark up to before the end of its closing one."""
        self.regions[begin : end - is_closed] = region

    def add_bracket(self, bracket: str, position: int) -> None:
        """A bracket of the code. Any closes any, and none closes what was never opened: text is cut anywhere."""
        change = 1 if bracket in "([{" else -min(1, self.depth)
        self.depth += change
        self._changes[position] = change

    def close_all(self, position: int) -> None:
        """No bracket is open from here on."""
        self._changes[position] -= self.depth
        self.depth = 0

    @property
    def depths(self) -> NDArray[np.int64]:
        return np.cumsum(self._changes)
