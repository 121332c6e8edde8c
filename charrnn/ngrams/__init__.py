"""N-grams of the training text of a run."""

from collections.abc import Sequence
from typing import Any

from charrnn.hooks import hookimpl


@hookimpl
def evaluations() -> Sequence[Any]:
    """Return the rows of `evaluate` for n-grams."""
    # Imported here: the help of other commands does not need them.
    from charrnn.ngrams.rows import NGRAM_ROWS

    return [NGRAM_ROWS]
