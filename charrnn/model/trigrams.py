"""A table of logits for the last three characters, which is added to what the output layer computes.

p = softmax(W h + b + T[row]), where the row is a hash of the last three characters: the table learns what counts of
trigrams know, and the network what they do not. As the two characters before the one that is read are needed, they are
part of the state: its last vector (of the first layer) begins with their ids plus 1, the older one first; 0 is none.
Rows chosen by a hash: Svenstrup et al. 2017.

Shapes: B batch, H hidden, L layers, S state vectors per layer, V vocabulary, R rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BASE = 1009
"""Factor between the three characters in the hash."""
NUM_BEFORE = 2
"""Characters before the last one that choose a row."""


def row_of(first: Any, second: Any, third: Any, num_rows: int) -> Any:
    """Return the row of three characters, oldest first: their ids plus 1, or 0 for none; integers of any library.

    It does not depend on V, so that an alphabet can be extended.
    """
    return ((first * BASE + second) * BASE + third) % num_rows


def look_up(table: NDArray[np.float32], ids: NDArray[Any], state: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits (B, V) of ids (B,) after the characters in a state (L, S, B, H), which they join in place."""
    before = state[0, -1, :, :NUM_BEFORE]
    latest = np.asarray(ids).astype(np.int64) + 1
    older, newer = before.T.astype(np.int64)
    before[:, 0], before[:, 1] = newer, latest
    found: NDArray[np.float32] = table[row_of(older, newer, latest, len(table))]
    return found
