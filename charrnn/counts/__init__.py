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
def model_methods() -> Mapping[str, str]:
    """Return the methods of `Model`."""
    return {
        "ngram_model": "charrnn.counts.kneser_ney:ngram_model",
        "with_counts": "charrnn.counts.counting:with_counts",
        "growing_counts": "charrnn.counts.growing:growing_counts",
    }


@hookimpl
def compiled_loops() -> Mapping[str, str]:
    """Return the modules of the loops by the name of the loop."""
    return {"write with counts": "charrnn.counts.writing"}


@hookimpl
def after_training() -> Mapping[str, str]:
    """Return what is done with a run that has been trained."""
    return {"counts": "charrnn.counts.counting:count_text"}


@hookimpl
def package_functions() -> Mapping[str, str]:
    """Return the functions of the package `charrnn`."""
    return {"evaluate_ngrams": "charrnn.counts.kneser_ney:evaluate_ngrams"}
