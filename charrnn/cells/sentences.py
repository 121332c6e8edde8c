"""Number the sentences of a text, so that passages can be chosen from different ones."""

import re

import numpy as np
from numpy.typing import NDArray

_SENTENCE_END = re.compile(r"[.!?]+[\"'”’»)\]}]*(?=\s)|\n[ \t]*\n|\0|[;{}][ \t]*(?=\n)")
"""The end of a sentence, with its closing marks; a blank line; the end of a document; the end of a line of code."""
MAX_SENTENCE = 1_000
"""Characters after which a sentence ends in any case, as in a text without punctuation."""


def number_sentences(text: str) -> NDArray[np.int64]:
    """Return for each character of a text (N,) the number of its sentence, ascending from 0.

    White space after a sentence belongs to the next one.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    cuts: list[int] = []
    for begin, end in zip([0, *ends], [*ends, len(text)], strict=True):
        cuts += [*range(begin + MAX_SENTENCE, end, MAX_SENTENCE), end]
    starts = np.zeros(len(text), np.int64)
    starts[[cut for cut in cuts if cut < len(text)]] = 1
    return np.cumsum(starts)
