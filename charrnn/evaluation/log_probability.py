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
        """Compute the log-probability ln p(text) of a text or of each of several texts, in nats.

        For a model of documents a text begins a document, and the END after each of its documents
        counts, too: the probabilities of all documents have the sum 1. For another model this is ln
        p(text | context); without a context nothing predicts the first character, which is then not
        counted. Unknown characters cost as much as in `evaluate`.

        Args:
            text: The text: a string, bytes or the `pathlib.Path` of a file, or a list of N such
                texts.
            context: What the model reads before each text. By default nothing.

        Returns:
            A float for a text, an array (N,) for a list of N texts.

        Raises:
            DataError: A text has no character to predict, or a file cannot be read.
            UsageError: A text is bytes and the model reads characters.

        Example:
            >>> model = charrnn.load("prose")
            >>> likely, unlikely = model.logprob(["What is the king", "the is king What"])
            >>> bool(likely > unlikely)
            True
        """
        if isinstance(text, str | bytes | os.PathLike):
            return float(comparison.log_probabilities(self, [text], context=context)[0])
        return comparison.log_probabilities(self, texts_of(text), context=context)
