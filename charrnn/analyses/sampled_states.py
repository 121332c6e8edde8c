"""The states of a network at positions that are spread over a text, from which the effects of one
step are computed.

Shapes: n positions, N characters, L, S and H as in `model.network`, D dilation.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from charrnn.cells.study import Study
from charrnn.errors import check_length
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.model.recurrent_state import RecurrentState, reset_rows
from charrnn.model.shapes import check_finite
from charrnn.system.arrays import Int64Array
from charrnn.system.lazy import Tensor, no_grad, torch
from charrnn.text.vocab import EncodedText, IdArray

DIGITS = 4
"""Significant digits of an effect that is measured for every cell."""

NUM_POSITIONS = 256
"""Positions of a sample, at most."""


@dataclass(frozen=True, eq=False)
class SampledStates:
    """A network before and after it reads the character at each of n positions of a text."""

    network: CharRNN
    ids: Tensor
    """(1, n): the characters at the positions."""
    before: RecurrentState[Tensor]
    """The state of n rows before the characters."""
    values: Tensor
    """(n, L, H): the cell values after the characters."""
    outputs: Tensor
    """(n, L, H): the outputs h of the layers."""

    def __len__(self) -> int:
        """Return n."""
        return self.ids.shape[1]

    def previous_outputs(self, layer: int) -> Tensor:
        """Return the outputs (n, H) of a layer D characters before, from which it continues."""
        recurrent = self.network.recurrent_layers()[layer]
        used = self.before.vectors[layer, : recurrent.cell.num_states * recurrent.dilation]
        # Output first; the oldest of the D latest states is the next to be continued.
        return used.view(recurrent.cell.num_states, recurrent.dilation, len(self), -1)[0, 0]


@no_grad
def sample_states(
    network: CharRNN, text: EncodedText, num_positions: int = NUM_POSITIONS
) -> SampledStates:
    """Read the character at each of `num_positions` positions, evenly spread over a text, after up
    to WARM_UP characters before it.

    In a short text, half of the characters warm up the state. Raises DataError for a text under 2
    characters, CheckpointError for values or predictions that are not finite.
    """
    check_length(len(text), least=2, what="the effect of a cell")
    # The positions, each with equally many characters before it.
    last = len(text.ids) - 1
    earliest = max(text.first, min(WARM_UP, last // 2))
    positions = np.unique(np.linspace(earliest, last, num_positions).astype(np.int64))
    ids, before = read_before(
        network, ids=text.ids, positions=positions, length=1, warm_up=min(WARM_UP, earliest)
    )
    # END is read from the initial state.
    if network.end_id is not None:
        before = reset_rows(
            before, initial=network.initial_state(len(positions)), is_reset=ids[0] == network.end_id
        )

    # One more step, which the analyses differentiate and change.
    (logits, values, outputs), _ = network.trace(ids, before)
    check_finite(values, "cell values")
    check_finite(logits, "predictions")
    return SampledStates(network, ids=ids, before=before, values=values[0], outputs=outputs[0])


@no_grad
def read_before(
    network: CharRNN, ids: IdArray, positions: Int64Array, *, length: int, warm_up: int
) -> tuple[Tensor, RecurrentState[Tensor]]:
    """Return the `length` ids that end with each position, (length, n), and the state of n rows
    before them.

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
    """Return every id that occurs in a text and how it is written; a byte that is no character by
    itself as \\xNN."""
    ids, indices = np.unique(text.ids[text.first :], return_index=True)
    written: dict[int, str] = {}
    for id, index in zip(ids.tolist(), indices.tolist(), strict=True):
        # A text of bytes has a character for each byte; above 127 it is none of the original text.
        character = text.text[index]
        if text.kind == "byte" and ord(character) > 127:
            character = f"\\x{ord(character):02x}"
        written[id] = character
    return written


# Inputs and outputs of a cell need the states, which are too large for the cache folder.
@lru_cache(maxsize=1)
def states_of(study: Study) -> SampledStates:
    """Return the states of a study; those of the latest study are kept. Raises DataError for a text
    under 2 characters, CheckpointError for values or predictions that are not finite."""
    return sample_states(study.network(), study.text)


def rounded(value: float) -> float:
    """Return a number with DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")
