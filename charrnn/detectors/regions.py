"""What scanners of source code return: a region, a bracket depth and an if-statement flag for every character."""

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
    """Labels of N characters of source code; each says what holds after reading its character."""

    regions: NDArray[np.int8]
    """The Region (N,)."""
    depths: NDArray[np.int64]
    """The number of open brackets (N,)."""
    in_if: NDArray[np.bool_]
    """Whether the character is in the condition or the body of an if-statement (N,)."""


class RegionsAndDepths:
    """Builds the regions and bracket depths of a text of N characters, token by token from left to right."""

    def __init__(self, num_chars: int) -> None:
        self.regions = np.zeros(num_chars, np.int8)
        self.depth = 0
        self._changes = np.zeros(num_chars, np.int64)

    def add_span(self, region: Region, begin: int, end: int, *, is_closed: bool) -> None:
        """Add a string or a comment [begin, end). If it is closed, its last character is outside."""
        self.regions[begin : end - is_closed] = region

    def add_bracket(self, bracket: str, position: int) -> None:
        """Add a bracket outside strings and comments.

        A closing bracket closes an opening one of any kind, and is ignored where none is open: the text may be cut.
        """
        change = 1 if bracket in "([{" else -min(1, self.depth)
        self.depth += change
        self._changes[position] = change

    def close_all(self, position: int) -> None:
        """Close all open brackets at a position."""
        self._changes[position] -= self.depth
        self.depth = 0

    @property
    def depths(self) -> NDArray[np.int64]:
        """The number of open brackets (N,)."""
        return np.cumsum(self._changes)
