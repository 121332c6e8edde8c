"""Finds the characters that would repeat an n-gram.

Shapes: W texts, P characters so far, including the prime, V vocabulary.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import Float64Array


class SeenNgrams:
    """Tracks the n-grams of W growing texts, exactly, at a cost per character that does not depend on n.

    For each position of a text, `_agreements` counts how many characters before it equal the last characters of the
    text. Where n - 1 do, the character at that position would complete an n-gram for the second time.
    """

    def __init__(self, n: int, text: NDArray[np.integer[Any]], num_texts: int) -> None:
        """Start with `num_texts` copies of the same text (P,)."""
        self._num_context = n - 1
        agreements = np.zeros(len(text), np.int32)
        agrees = np.ones(len(text), bool)
        for back in range(1, min(n, len(text))):
            agrees[:back] = False
            agrees[back:] &= text[:-back] == text[-back]
            if not agrees.any():
                break
            agreements += agrees
        self._texts = np.tile(np.asarray(text, np.int32), (num_texts, 1))
        self._agreements = np.tile(agreements, (num_texts, 1))

    def forbid(self, logprobs: Float64Array) -> None:
        """Set to -inf, in place, the log-probabilities (W, V) of characters that would repeat an n-gram."""
        rows, places = np.nonzero(self._agreements >= self._num_context)
        logprobs[rows, self._texts[rows, places]] = -np.inf

    def grow(self, parents: NDArray[np.int64], chars: NDArray[np.int64]) -> None:
        """Replace the texts by those of rows `parents` (W',), each followed by one of `chars` (W',)."""
        texts, agreements = self._texts.take(parents, axis=0), self._agreements.take(parents, axis=0)
        column = chars[:, None].astype(np.int32)
        agreements = np.where(texts == column, agreements + 1, 0)
        self._texts = np.concatenate((texts, column), axis=1)
        self._agreements = np.concatenate((np.zeros_like(column), agreements), axis=1, dtype=np.int32)
