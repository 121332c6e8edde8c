"""The states of a network before positions of a text, and how its characters are written.

Shapes: n positions, N characters.
"""

import numpy as np

from charrnn.model.annotations import CharRNN
from charrnn.system.arrays import Int64Array
from charrnn.system.lazy import Tensor, no_grad, torch
from charrnn.text.vocab import REPLACEMENT, EncodedText, IdArray


@no_grad
def read_before(
    network: CharRNN, ids: IdArray, positions: Int64Array, *, length: int, warm_up: int
) -> tuple[Tensor, Tensor]:
    """Return the `length` ids that end with each position, (length, n), and the state of n rows
    before them.

    It is for some places of a text, from which one reads on in a way of one's own;
    `reading.read_segments` is for all places of segments.

    The `warm_up` ids before are read from the initial state.
    """
    # The windows are the rows of a batch.
    offsets = np.arange(1 - warm_up - length, 1)[:, None]
    windows = torch.from_numpy(ids[positions + offsets].astype(np.int64))
    state = network.initial_state(len(positions))
    if warm_up:
        _, state = network(windows[:warm_up], state)
    return windows[warm_up:], state


def characters_of(text: EncodedText) -> dict[int, str]:
    """Return every id that occurs in a text and how it is written."""
    ids = np.unique(text.ids[text.first :]).tolist()
    return {id: text.vocab.character(id) or REPLACEMENT for id in ids}
