"""Print the losses of a text line by line or character by character: evaluate --per-line and --per-char."""

import heapq
import sys
from typing import TYPE_CHECKING, Any

from charrnn.cli.progress import progress
from charrnn.cli.streams import print_json, result_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charrnn.api import Model

NUM_SHOWN = 20
"""Lines that are shown on a terminal."""


def print_lines(
    models: "Sequence[Model]", text: str | bytes | None, *, as_json: bool, quiet: bool, **settings: Any
) -> None:
    """Print the loss of each line as JSON Lines or, on a terminal without --json, the least likely lines as a table."""
    from charrnn import comparison
    from charrnn.render.losses import lines_view

    names = comparison.distinct_names(models)
    with progress(0, "evaluate", quiet=quiet) as advance:
        lines = comparison.losses_by_line(models, text, on_progress=advance, **settings)
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
    from charrnn import comparison

    names = comparison.distinct_names(models)
    with progress(0, "evaluate", quiet=quiet) as advance:
        characters = comparison.losses_by_char(models, text, on_progress=advance, **settings)
    for character in characters:
        print_json(character.to_json(names))
