"""The losses of lines, and the search for copied passages in a generated text."""

from collections.abc import Sequence
from typing import Any

from charrnn.hooks import hookimpl


@hookimpl
def evaluations() -> Sequence[Any]:
    """Return what this plugin adds to `evaluate`, in the order of the help."""
    # Imported here: the help of another command needs none of these modules.
    from charrnn.reports.lines import PER_LINE

    return [PER_LINE]
