"""A table of logits for the last three, four and five characters, added to what the output layer
computes.

p = softmax(W h + b + T[r3] + T[r4] + T[r5]), where rn is a hash of the last n characters: the table
learns what counts of n-grams know, and the network what they do not. A maximum-entropy model
trained together with a network (Mikolov et al. 2011, "Strategies for training large scale neural
network language models"); rows chosen by a hash.

The characters before the one that is read are the history of the state (`RecurrentState`).

Shapes: B batch, V vocabulary, N characters of the history.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.model.portable_math import Matrix

BASE = 1009
"""Factor between the characters in the hash."""
SHORTEST = 3
"""Characters of the shortest n-gram."""
LOGIT_STEP = 1 / 32
"""Logits in int8 are multiples of this at least. Finer ones gain nothing, and most of a table is
smaller: zeros, which compress (benchmarks/LOG.md)."""


def next_row(row: Any, older: Any, num_rows: int) -> Any:
    """Return the row of an n-gram from that of its last n - 1 characters, and the character before
    them.

    Characters are their ids plus 1, or 0 for none; the row of one character is that number.
    Integers of any library. It does not depend on V, so that an alphabet can be extended.
    """
    return (row * BASE + older) % num_rows


def rows_of(read: Sequence[Any], num_rows: int) -> list[Any]:
    """Return the rows of the n-grams that end with the last of HISTORY_LENGTH + 1 characters, the
    shortest first."""
    # From one character on, each row follows from the last by one older character. Below the
    # shortest n-gram the network knows all that counts do.
    row = read[-1]
    rows = []
    for older in read[-2::-1]:
        row = next_row(row, older=older, num_rows=num_rows)
        rows.append(row)
    return rows[SHORTEST - 2 :]


def add_ngrams(
    logits: NDArray[np.float32],
    table: NDArray[np.float32],
    ids: NDArray[Any],
    history: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Add the rows for ids (B,) after a history (B, N) to logits (B, V), the shortest first.

    Returns the history after the ids.
    """
    # In place, and in this order: float32 rounds sums of another order otherwise.
    read = np.column_stack((history, np.asarray(ids, np.int64) + 1))
    for row in rows_of(list(read.T), len(table)):
        logits += table[row]
    return read[:, 1:]


def round_table(table: NDArray[Any]) -> Matrix:
    """Round a table (R, V) to int8, with a scale for each row."""
    return Matrix(table, is_int8=True, least_scale=LOGIT_STEP)
