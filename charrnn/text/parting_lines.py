"""Part records at the lines that stand between them, such as % in a file of sayings, and find such
lines in a text."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from charrnn.config.settings import PARTED_BY
from charrnn.errors import named
from charrnn.text.text_files import Line

NUM_NAMED = 3
"""Number of repeated lines that an error names."""
MIN_RECORDS = 10
"""Minimum number of lines that part records in the beginning of a text, for a note."""
MOST_RECORD_LINES = 50
"""Lines of a record on average, at most: scenes of a novel are longer."""
BETWEEN_LINES = 0.8
"""Share of these lines, at least, that stand between two lines with text: what underlines a heading
stands before a blank line."""
MAX_SHOWN = 60
"""Characters of a repeated line that are shown."""
# One sign, once or several times, or a mark as models of language have it.
_PARTING = re.compile(r"%|([%=_~#$&-])\1{1,}|<\|[^|<>\s]{1,40}\|>")
_IS_LATEX = re.compile(r"\\(?:begin|section|chapter|documentclass|newcommand)\b")


def records_between(lines: Iterable[Line], mark: str) -> Iterator[Iterator[Line]]:
    """Yield the lines of each record, without the lines that equal `mark` but for blanks at their
    ends. Take a record before the next one.

    Files with `%` or `***` between poems or sayings are divided by it.
    """
    for is_mark, record in groupby(lines, key=lambda line: is_parting(line.content, mark)):
        if not is_mark:
            yield record


def is_parting(line: str, mark: str) -> bool:
    """Whether a line parts records: it equals `mark` but for blanks at its ends."""
    return mark != "" and line.strip() == mark


def repeated_lines(start: str) -> Counter[str]:
    """Count the lines that occur more than once in the beginning of a text, without blanks at their
    ends.

    The line that parts records is one of them: they are shown to a user who has named another line,
    or none.
    """
    counts = Counter(line.strip() for line in start.split("\n"))
    del counts[""]
    return Counter({line: num for line, num in counts.items() if num > 1})


def name_repeated(counts: Counter[str]) -> str:
    """Name the most frequent of the repeated lines, for a message."""
    if not counts:
        return "no line of it is repeated"
    shown = [f"{line[:MAX_SHOWN]!r} ({num:,} times)" for line, num in counts.most_common(NUM_NAMED)]
    return f"its most frequent lines are {', '.join(shown)}"


def describe_parting(start: str) -> str:
    """Propose, for a note, the line at which the records of a text are parted, by its beginning;
    "" if it has none."""
    lines = [line.strip() for line in start.split("\n")]
    for mark, num in repeated_lines(start).most_common(NUM_NAMED):
        if num >= MIN_RECORDS and _PARTING.fullmatch(mark) and _parts_records(mark, lines):
            kind = shlex.quote(f"{PARTED_BY}{mark}")
            return (
                f"has {num:,} lines {mark!r} in its beginning: {named('documents', kind)} makes"
                " each record between them a document"
            )
    return ""


def _parts_records(mark: str, lines: list[str]) -> bool:
    """Whether a repeated line of a text probably parts records."""
    places = [index for index, line in enumerate(lines) if line == mark]
    if len(lines) > MOST_RECORD_LINES * len(places):
        return False
    if mark.startswith("<|"):
        return True
    # An empty comment stands between two lines, too.
    if mark == "%" and any(map(_IS_LATEX.search, lines)):
        return False
    num_between = sum(
        1
        for index in places
        if index and index + 1 < len(lines) and lines[index - 1] != ""
        if lines[index + 1] != "" or index + 2 >= len(lines)
    )
    return num_between >= BETWEEN_LINES * len(places)
