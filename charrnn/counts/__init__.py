"""Counts of n-grams in the training text of a run, which predict together with its network."""

from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.hooks import hookimpl


@hookimpl
def evaluations() -> Sequence[Any]:
    """Return the rows of `evaluate` for counts and n-grams."""
    # Imported here: the help of other commands does not need them.
    from charrnn.counts.rows import COUNT_ROWS, NGRAM_ROWS

    return [COUNT_ROWS, NGRAM_ROWS]


@hookimpl
def compiled_loops() -> Mapping[str, str]:
    """Return the modules of the loops by the name of the loop."""
    return {"write with counts": "charrnn.counts.writing"}
