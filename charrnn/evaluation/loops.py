"""Texts that go round in circles: what the likeliest text of a character model often does, once it is long."""

from collections.abc import Sequence
from dataclasses import dataclass

MIN_REPEATS = 3
MIN_CHARS = 30


@dataclass(frozen=True, slots=True)
class Loop:
    """The last `period` * `repeats` characters of a text are `repeats` times the same `period` characters."""

    period: int
    repeats: int


def find_loop(text: Sequence[object]) -> Loop | None:
    """The loop that a text or its ids end in: the smallest period of `MIN_REPEATS` or more and of `MIN_CHARS` or more.

    None if there is none. The last repeat may break off anywhere.
    """
    reverse = text[::-1]
    for period in range(1, len(reverse) // MIN_REPEATS + 1):
        # Looks quadratic, and is not: where a text agrees with itself for m characters at two distances less than m / 3
        # apart, their difference is a period, at which the search has ended. So N characters take O(N log N).
        agreed = 0
        while period + agreed < len(reverse) and reverse[agreed] == reverse[period + agreed]:
            agreed += 1
        repeats = (period + agreed) // period
        if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
            return Loop(period, repeats)
    return None
