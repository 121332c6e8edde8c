"""Finds loops at the end of a text: the most likely text of a character model often ends in one."""

from collections.abc import Sequence
from dataclasses import dataclass

MIN_REPEATS = 3
"""Repeats of a loop at least."""
MIN_CHARS = 30
"""Characters of all repeats at least."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A text that ends in the same `period` characters, `repeats` times in a row."""

    period: int
    repeats: int


def find_loop(text: Sequence[object]) -> Loop | None:
    """Return the loop at the end of a text or of its ids, that with the smallest period; None if there is none.

    It has at least `MIN_REPEATS` repeats and `MIN_CHARS` characters. The last repeat may be cut anywhere.
    """
    reverse = text[::-1]
    for period in range(1, len(reverse) // MIN_REPEATS + 1):
        # This is not quadratic: if a text agrees with itself for m characters at two distances that differ by less than
        # m / 3, their difference is a period, and the search has ended there. So N characters take O(N log N).
        agreed = 0
        while period + agreed < len(reverse) and reverse[agreed] == reverse[period + agreed]:
            agreed += 1
        repeats = (period + agreed) // period
        if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
            return Loop(period, repeats)
    return None
