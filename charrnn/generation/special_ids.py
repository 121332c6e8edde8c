"""Ids that are read before a text without a prime, and ids that are never drawn.

Shapes: N ids, V vocabulary.
"""

import math

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import log_softmax
from charrnn.model.stepper import Stepper
from charrnn.text.documents import END
from charrnn.text.vocab import Vocab

NEWLINE_SHARE = 0.02
"""Probability from which a model expects a newline. In War and Peace, the probability of a newline
is 0.86 after the newline that ends a sentence, and 0.01 after the blank line."""
MAX_NEWLINES = 3
"""The largest number of newlines that are read before a text without a prime: Python has two blank
lines before a class."""


def start_ids(vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the ids that replace an empty prime: a newline, or the first character of an alphabet
    without a newline.

    In a model of documents they are END, `end_id`, after which a document begins.
    """
    if end_id is not None:
        return np.array([end_id], np.uint16)
    if vocab.kind == "byte" or not vocab.unknown_characters("\n"):
        return vocab.encode("\n")
    # Id 0 is no character if it is the unknown symbol.
    first = 1 if vocab.has_unknown_symbol else 0
    return np.array([first], np.uint16)


def opening_ids(stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the ids (N,) that are read before a text without a prime, so that it begins like the
    training text.

    These are the `start_ids`. If the model expects a newline after a full stop, a full stop comes
    before them; if it expects more newlines after a newline, as many follow. The training text is
    not needed, because the model's predictions show how its texts begin; `stepper` has no clamps.
    """
    start = start_ids(vocab, end_id)
    if end_id is not None or vocab.decode(start) != "\n":
        return start

    # Blank lines alone are not enough if the lines of the training text are wrapped: a model of War
    # and Peace goes on in mid-sentence after two newlines (74 %), but not after two newlines that
    # follow a full stop (1 %).
    ids = start
    state = None
    if not vocab.unknown_characters("."):
        sentence_end = vocab.encode(".")
        logits, after_sentence = stepper.read(sentence_end)
        if _expects_newline(logits, start[0]):
            ids = np.concatenate((sentence_end, start))
            state = after_sentence

    # More newlines as long as the model expects them. The number is limited, because an untrained
    # model with a small alphabet always expects them.
    for _ in range(MAX_NEWLINES - 1):
        logits, state = stepper.read(start, state)
        if not _expects_newline(logits, start[0]):
            break
        ids = np.concatenate((ids, start))
    return ids


def _expects_newline(logits: NDArray[np.floating], newline: int) -> bool:
    """Return whether a model with logits (1, V) expects a newline."""
    return bool(log_softmax(logits)[0, newline] >= math.log(NEWLINE_SHARE))


def undrawable_ids(vocab: Vocab, end_id: int | None = None) -> tuple[int, ...]:
    """Return the ids that stand for no character and are never drawn: the unknown symbol, and END
    in a model without documents.

    A model without documents (`end_id` None) has END in its alphabet if it started from a model
    with documents.
    """
    # Every byte can be drawn.
    if vocab.kind == "byte":
        return ()
    ids = []
    if vocab.has_unknown_symbol:
        ids.append(0)
    if end_id is None and END in vocab.characters:
        ids.append(vocab.characters.index(END))
    return tuple(ids)
