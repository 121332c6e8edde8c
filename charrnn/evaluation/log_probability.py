"""The probability of whole texts: a method of everything that predicts."""

import os
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from charrnn.errors import check_length
from charrnn.system.arrays import Float64Array
from charrnn.text.given_text import TextPiece, ended, texts_of, whole_text
from charrnn.text.vocab import EncodedText, IdArray
from charrnn.trained_model import TextModel


class ProbabilityMethods(TextModel):
    """Computes the probability of texts."""

    @overload
    def logprob(
        self,
        text: str | bytes | os.PathLike[str],
        *,
        context: str | bytes = "",
    ) -> float: ...

    @overload
    def logprob(
        self,
        text: list[Any] | tuple[Any, ...],
        *,
        context: str | bytes = "",
    ) -> Float64Array: ...

    def logprob(
        self,
        text: TextPiece | Sequence[TextPiece],
        *,
        context: str | bytes = "",
    ) -> float | Float64Array:
        """Compute the log-probability ln p(text) of a text or of each of several texts, in nats.

        For a model of documents a text begins a document, and the END after each of its documents
        counts, too: the probabilities of all documents have the sum 1. For another model this is ln
        p(text | context); without a context nothing predicts the first character, which is then not
        counted. Unknown characters cost as much as in `evaluate`. The weights are in fp32, or in
        bf16 for a large network that was trained in it where the processor is fast in it; `sample`
        draws by weights of 8 bits unless its `precision` is `fp32`.

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
            return float(log_probabilities(self, [text], context=context)[0])
        return log_probabilities(self, texts_of(text), context=context)


def log_probabilities(
    model: TextModel, texts: Sequence[TextPiece], context: str | bytes
) -> Float64Array:
    """Compute the natural logarithm of the probability of each of N texts (N,): see
    `ProbabilityMethods.logprob`."""
    encoded = []
    for text in texts:
        content = whole_text(text, model.config, context=context)
        if model.config.end_id is not None:
            content = ended(content)
        encoded.append(model.encode(content, context=context))

    # A network starts anew at each END, so all documents are read together.
    if model.config.end_id is None or context or not encoded:
        return np.array([-_nats_of_text(model, text).sum() for text in encoded], np.float64)

    pieces = [text.ids[text.first :] for text in encoded]
    ids = np.concatenate((encoded[0].ids[:1], *pieces))
    starts = np.cumsum([0, *map(len, pieces[:-1])])
    return np.asarray(-np.add.reduceat(_nats(model, ids, first=1), starts))


def _nats_of_text(model: TextModel, text: EncodedText) -> Float64Array:
    """Compute the loss of each character of a text that can be predicted."""
    first = max(1, text.first)
    if first == len(text.ids):
        check_length(len(text), least=2, what="its probability")
    return _nats(model, text.ids, first=first)


def _nats(model: TextModel, ids: IdArray, first: int) -> Float64Array:
    """Compute the loss in nats of each of ids[first:], with the price of unknown characters."""
    # Imported here: generating a text needs neither.
    from charrnn.evaluation.losses import char_losses
    from charrnn.evaluation.measured import precision_of

    precision = precision_of(model, "auto")
    nats = char_losses(model.network, ids=ids, first=first, precision=precision).nats
    return (nats + model.vocab.escapes(ids[first:])).astype(np.float64)
