"""n-grams that are counted in the training text of a run, beside its network."""

from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.hooks import hookimpl


@hookimpl
def evaluations() -> Sequence[Any]:
    """Return the rows that `evaluate` prints of n-grams."""
    # Imported here: the help of another command needs none of them.
    from charrnn.counts.kneser_ney import ROWS as NGRAMS
    from charrnn.counts.rows import ROWS as COUNTS

    return [COUNTS, NGRAMS]


@hookimpl
def compiled_loops() -> Mapping[str, str]:
    """Return the modules of the loops by the name of the loop."""
    return {"write with counts": "charrnn.counts.writing"}
