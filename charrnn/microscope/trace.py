"""Every cell's value at every character of a text.

Shapes: N characters, L layers, H units per layer, T and B as in `model.reading`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.model.network import CharRNN
from charrnn.model.reading import IdArray, read_in_lanes

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a model did while it read a text of N characters."""

    text: str
    """One character per id; what the alphabet cannot spell is U+FFFD."""
    ids: IdArray
    """(N,)"""
    cells: Floats = field(repr=False)
    """(N, L, H): each cell after reading each character, in [-1, 1]; tanh(c) for an LSTM, h for the others."""
    logprobs: Floats = field(repr=False)
    """(N,): log-probability in nats of each character before it was read; nan where nothing came before it."""


def trace_ids(
    network: CharRNN,
    ids: IdArray,
    first: int,
    text: str,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> Trace:
    """Trace ids[first:] in float32, the ids before them being context; `text` spells those N characters.

    `on_progress` is told how many characters were read since it was last called.
    """
    num_chars = len(ids) - first
    layers = network.recurrent_layers()
    cells = np.empty((num_chars, len(layers), network.hidden_size), np.float32)
    logprobs = np.full(num_chars + 1, np.nan, np.float32)

    def step(inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        logits, window_cells, _, state = network.trace(inputs, state)
        return (logits, window_cells), state

    # One character earlier than asked, if there is one: it is what the first character's log-probability comes from.
    begin = max(0, first - 1)
    with torch.inference_mode():
        for positions, (logits, window_cells) in read_in_lanes(step, network.initial_state, ids, begin):
            is_text = (positions >= first) & (positions < len(ids))
            cells[positions[is_text] - first] = window_cells.float().cpu().numpy()[is_text]
            has_next = positions < len(ids) - 1
            following = torch.from_numpy(ids[np.minimum(positions + 1, len(ids) - 1)].astype(np.int64))
            scores = logits.float().log_softmax(-1).cpu().gather(-1, following[..., None])[..., 0].numpy()
            logprobs[positions[has_next] + 1 - first] = scores[has_next]
            on_progress(int(is_text.sum()))
    return Trace(text, ids[first:], cells, logprobs[:num_chars])
