"""Loops at the end of a text: the most likely text of a character model often repeats itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from charrnn.generation.sample_options import SampleOptions, SearchOptions

MIN_REPEATS = 3
"""The smallest number of repeats of a loop. The most likely text of a character model often ends in
a loop."""
MIN_CHARS = 30
"""The smallest number of characters of all repeats together."""
MAX_AFTER = 10
"""The largest number of characters after a loop: a text often leaves its loop just before it is cut
at its length."""
LOOP_CHARS = 2_000
"""Characters at the end of a text that are searched for a loop."""


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

    `loop_at_end` says which of them a user is told of.

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


def loop_at_end(text: str, options: SampleOptions) -> Loop | None:
    """Return the loop in which a text ends, or None. In a text that was drawn at random, blanks and
    rows of dashes do not count as loops.

    A command tells a user so whose text repeats itself.
    """
    # Only the end matters: a loop that a text has left is no reason to worry.
    end = text[-LOOP_CHARS:]
    loop = find_loop(end)
    if loop is None:
        return None

    # Indentations and rules are usual in code. But the most likely text repeats them for another
    # reason, and a text of blanks alone shows nothing.
    repeated = end[: len(end) - loop.after][-loop.period :]
    is_random = not isinstance(options, SearchOptions) and options.temperature > 0
    if is_random and end.strip() and not any(map(str.isalnum, repeated)):
        return None
    return loop
