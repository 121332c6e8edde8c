"""Rows and reports of `charrnn evaluate`, one file each, and what of a generated text was
copied."""

from collections.abc import Sequence
from typing import Any

from charrnn.hooks import hookimpl


@hookimpl
def evaluations() -> Sequence[Any]:
    """Return what `evaluate` prints beside or in place of its rows, in the order of the help."""
    # Imported here: the help of another command needs none of them.
    from charrnn.reports.breakdown import ROWS as BREAKDOWN
    from charrnn.reports.dynamic import ROWS as DYNAMIC
    from charrnn.reports.error_kinds import ERRORS
    from charrnn.reports.lines import PER_LINE

    # Rows beside the losses first, then what is printed in their place.
    return [BREAKDOWN, DYNAMIC, ERRORS, PER_LINE]
