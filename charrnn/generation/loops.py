"""Loops at the end of a text: the most likely text of a character model often repeats itself."""

from collections.abc import Sequence
from dataclasses import dataclass

MIN_REPEATS = 3
"""The smallest number of repeats of a loop. The most likely text of a character model often ends in
a loop."""
MIN_CHARS = 30
"""The smallest number of characters of all repeats together."""
MAX_AFTER = 10
"""The largest number of characters after a loop: a text often leaves its loop just before it is cut
at its length."""


@dataclass(frozen=True)
class Loop:
    """The end of a text that repeats the same `period` characters `repeats` times, before `after`
    other characters."""

    period: int
    """Characters of one repeat."""
    repeats: int
    """How often they stand one after the other; the last repeat may be cut."""
    after: int = 0
    """Characters that follow the loop."""


def find_loop(text: Sequence[object]) -> Loop | None:
    """Return the loop with the smallest period at the end of a text, or of its ids; None if the
    text does not end in a loop.

    A command tells so a user whose text repeats itself.

    A loop has at least `MIN_REPEATS` repeats and `MIN_CHARS` characters. The last repeat may be cut
    anywhere. Up to `MAX_AFTER` characters may follow it, as few as possible.
    """
    for after in range(min(MAX_AFTER, len(text) - MIN_CHARS) + 1):
        # Backwards, because the loop is at the end.
        reverse = text[: len(text) - after][::-1]
        for period in range(1, len(reverse) // MIN_REPEATS + 1):
            # This is not quadratic: if a text agrees with itself for m characters at two distances
            # that differ by less than m / 3, their difference is a period, and the search has ended
            # there. So N characters take O(N log N).
            num_equal = 0
            while (
                period + num_equal < len(reverse)
                and reverse[num_equal] == reverse[period + num_equal]
            ):
                num_equal += 1

            # The first repeat has no earlier repeat to which it is equal.
            repeats = (period + num_equal) // period
            if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
                return Loop(period=period, repeats=repeats, after=after)
    return None
