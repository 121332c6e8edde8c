"""Compute how likely whole texts are: the logarithm of the probability of each.

Shapes: N texts.
"""

from collections.abc import Sequence

import numpy as np

from charrnn.errors import check_length
from charrnn.model.losses import char_losses, precision_of
from charrnn.model_texts import encode
from charrnn.system.arrays import Float64Array
from charrnn.text.given_text import TextPiece, ended, whole_text
from charrnn.text.vocab import EncodedText, IdArray
from charrnn.trained_model import TrainedModel


def log_probabilities(
    model: TrainedModel, texts: Sequence[TextPiece], *, context: str | bytes
) -> Float64Array:
    """Compute the natural logarithm of the probability of each of N texts (N,).

    It compares texts, where `evaluate` measures a long one. `Model.logprob` says what is counted.
    """
    encoded: list[EncodedText] = []
    for text in texts:
        content = whole_text(text, config=model.config, context=context)
        if model.config.end_id is not None:
            content = ended(content)
        encoded.append(encode(model, content, context=context))

    # A network starts anew at each END, so all documents are read together.
    if model.config.end_id is not None and not context and encoded:
        pieces = [whole.ids[whole.first :] for whole in encoded]
        exact_pieces = [whole.exact_ids[whole.first :] for whole in encoded]
        starts = np.cumsum([0, *map(len, pieces[:-1])])
        nats = _nats(
            model,
            np.concatenate((encoded[0].ids[:1], *pieces)),
            first=1,
            exact_ids=np.concatenate((encoded[0].ids[:1], *exact_pieces)),
        )
        return -np.add.reduceat(nats, starts)

    found = np.zeros(len(encoded))
    for index, whole in enumerate(encoded):
        # Nothing predicts the first character of a text without a context.
        first = max(1, whole.first)
        if first == len(whole.ids):
            check_length(len(whole), least=2, what="its probability")
        nats = _nats(model, whole.ids, first=first, exact_ids=whole.exact_ids)
        found[index] = -nats.sum()
    return found


def _nats(model: TrainedModel, ids: IdArray, *, first: int, exact_ids: IdArray) -> Float64Array:
    """Compute the loss in nats of each of ids[first:], with the price of unknown characters, which
    are those of the id 0 in `exact_ids` (`EncodedText.exact_ids`)."""
    precision = precision_of(model.config, device=model.network.device, precision="auto")
    nats = char_losses(model.network, ids=ids, first=first, precision=precision).nats
    return (nats + model.vocab.escapes(exact_ids[first:])).astype(np.float64)
