"""The probability of whole texts: a method of everything that predicts."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from charrnn.system.lazy import LazyModule
from charrnn.text.given_text import TextPiece, texts_of

if TYPE_CHECKING:
    from charrnn.evaluation import comparison
else:
    comparison = LazyModule("charrnn.evaluation.comparison")


class ProbabilityMethods:
    """Computes the probability of texts, with what `evaluation.comparison.MeasuredModel` has."""

    @overload
    def logprob(
        self: "comparison.MeasuredModel",
        text: str | bytes | os.PathLike[str],
        *,
        context: str | bytes = "",
    ) -> float: ...

    @overload
    def logprob(
        self: "comparison.MeasuredModel",
        text: list[Any] | tuple[Any, ...],
        *,
        context: str | bytes = "",
    ) -> NDArray[np.float64]: ...

    def logprob(
        self: "comparison.MeasuredModel",
        text: TextPiece | Sequence[TextPiece],
        *,
        context: str | bytes = "",
    ) -> float | NDArray[np.float64]:
        """Compute ln p(text) in nats: a number for a text, an array (N,) for a list of N texts.

        For a model of documents, a text begins a document, and the END after each of its documents
        counts, too: the probabilities of all documents have the sum 1. For another model this is ln
        p(text | context); without context, nothing predicts the first character, which is then not
        counted. Unknown characters cost as much as in `evaluate`. Raises DataError for a text
        without a character to predict.

        >>> model.logprob("What is the king")
        >>> model.logprob(["What is the king", "the is king What"])
        """
        if isinstance(text, str | bytes | os.PathLike):
            return float(comparison.log_probabilities(self, [text], context=context)[0])
        return comparison.log_probabilities(self, texts_of(text), context=context)
