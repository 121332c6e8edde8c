"""Rows and reports of `charrnn evaluate`, one file each, and what of a generated text was
copied."""

from collections.abc import Mapping, Sequence
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


@hookimpl
def model_methods() -> Mapping[str, str]:
    """Return the methods of `Model`."""
    return {
        "adapted": "charrnn.reports.dynamic:adapted",
        "gradient_scale": "charrnn.reports.dynamic:gradient_scale",
        "new_documents": "charrnn.reports.novelty:new_documents",
        "novelty": "charrnn.reports.novelty:novelty",
        "known_passages": "charrnn.reports.copies:known_passages",
        "novelty_reference": "charrnn.reports.novelty:novelty_reference",
    }


@hookimpl
def package_functions() -> Mapping[str, str]:
    """Return the functions and classes of the package `charrnn`."""
    return {
        "Mixture": "charrnn.reports.mixing:Mixture",
        "Novelty": "charrnn.reports.novelty:Novelty",
        "error_kinds": "charrnn.reports.error_kinds:error_kinds",
        "losses_by_line": "charrnn.reports.lines:losses_by_line",
        "mix": "charrnn.reports.mixing:mix",
    }
