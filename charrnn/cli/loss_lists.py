"""Print the losses of a text line by line or character by character: evaluate --per-line and --per-char."""

import heapq
import sys
from typing import TYPE_CHECKING, Any

from charrnn.cli.flags import with_flags
from charrnn.cli.progress import progress_of_unknown
from charrnn.cli.streams import print_json, result_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charrnn.api import Model
    from charrnn.evaluation.lines import ScoredText

NUM_SHOWN = 20
"""Lines that are shown on a terminal."""


def print_lines(
    models: "Sequence[Model]", text: str | bytes | None, *, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Print the loss of each line as JSON Lines or, on a terminal without --json, the least likely lines as a table."""
    from charrnn.evaluation import comparison
    from charrnn.views.losses import lines_view

    names = comparison.distinct_names(models)
    scored = _score(models, text, quiet=quiet, **settings)
    lines = scored.iter_lines()
    if as_json or not sys.stdout.isatty():
        for line in lines:
            print_json(line.to_json(names))
        return
    num_lines = 0
    # The heap keeps the lines with the largest excess, however many there are; the line number makes its order total.
    heap: list[tuple[float, int, Any]] = []
    for line in lines:
        num_lines += 1
        entry = (line.excess, -line.line, line)
        (heapq.heappush if len(heap) < NUM_SHOWN else heapq.heappushpop)(heap, entry)
    least_likely = [entry[2] for entry in sorted(heap, reverse=True)]
    result_console().print(lines_view(least_likely, num_lines, names))
    if not quiet:
        sys.stderr.write("Add --json for all lines, as JSON Lines.\n")


def print_chars(
    models: "Sequence[Model]", text: str | bytes | None, *, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Print the loss of each character as JSON Lines, with --json and without."""
    from charrnn.evaluation import comparison

    names = comparison.distinct_names(models)
    for character in _score(models, text, quiet=quiet, **settings).iter_chars():
        print_json(character.to_json(names))


def _score(models: "Sequence[Model]", text: str | bytes | None, *, quiet: bool, **settings: Any) -> "ScoredText":
    """Measure the losses, and print on stderr which segments were scored if that is not all of the text."""
    from charrnn.evaluation import comparison

    with progress_of_unknown("evaluate", quiet=quiet) as (advance, set_total):
        scored = comparison.score_text(models, text, on_progress=advance, on_total=set_total, **settings)
    if (note := scored.note) is not None and not quiet:
        sys.stderr.write(f"{with_flags(note)}\n")
    return scored
