"""Count while a network reads how often its gates are saturated, and how much of the memory they keep.

Shapes: N characters, T time, B lanes, L layers, H units, C = L * H cells, D dilation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import GateUse
from charrnn.lazy import Tensor, torch
from charrnn.model.annotations import CharRNN
from charrnn.model.cells import Ops
from charrnn.model.reading import Segments, cut

LEFT = 0.1
"""A gate below this is left-saturated: closed."""
RIGHT = 0.9
"""A gate above this is right-saturated: open."""
GATE_NAMES = {"f": "forget", "i": "input", "o": "output", "r": "reset", "z": "update"}
"""The names of the gates by their letters."""
SMALLEST_KEPT = 1e-30
"""Smaller shares of the memory count as this one in the mean of their logarithms: that of 0 is infinite."""
INPUT_BLOCKS = {
    "lstm": "ifgo",
    "peephole": "ifgo",
    "coupled": "fgo",
    "gru": "rzn",
    "mlstm": "ifgom",
    "antisymmetric": "hz",
    "mingru": "zn",
    "minlstm": "fin",
}
"""Letters of the blocks of `W_ih x`, which are those of `W_hh h` too, as far as it has them."""
Float64Array = NDArray[np.float64]


class GateCounter:
    """Counts over windows at how many characters each gate is saturated, and how much of its memory a unit keeps.

    `read` reads a window, `add` counts its gates.
    """

    def __init__(self, network: CharRNN) -> None:
        """Start with no characters."""
        self._network, self._layers = network, network.recurrent_layers()
        self._names = self._layers[0].cell.gates
        shape = (len(self._names), len(self._layers), network.hidden_size)
        self._left, self._right = torch.zeros(2, *shape, dtype=torch.float64)
        self._kept, self._log_kept = torch.zeros(2, *shape[1:], dtype=torch.float64)
        self._num_chars = 0
        self._inputs = torch.empty(0, 0)
        self._calls: list[list[Tensor]] = []

    def read(self, inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Trace a window of ids (T, B), as `CharRNN.trace` does, and keep its gates."""
        self._inputs, self._calls = inputs, [[] for _ in self._layers]
        return self._network.trace(inputs, state, {index: _recording(calls) for index, calls in enumerate(self._calls)})

    def add(self, is_text: Tensor) -> None:
        """Count the gates of the window that was read last, at the characters that `is_text` (T, B) marks."""
        self._num_chars += int(is_text.sum())
        order = self._order(self._inputs).argsort()
        for index, (layer, calls) in enumerate(zip(self._layers, self._calls, strict=True)):
            for gate, name in enumerate(self._names):
                # A step of a dilated layer computes several characters at once, in the order of the text.
                values = torch.cat([h.reshape(-1, h.shape[-1]) for h in calls[gate :: len(self._names)]])[order]
                # Counts up to T * B are exact in float32. Padding counts nothing.
                counted = is_text.flatten().to(values.dtype)
                self._left[gate, index] += counted @ (values < LEFT).to(values.dtype)
                self._right[gate, index] += counted @ (values > RIGHT).to(values.dtype)
                if name == layer.cell.keeping_gate:
                    # Zoneout keeps a share of the state before, whatever the gate does.
                    kept = layer.zoneout + (1 - layer.zoneout) * values
                    self._kept[index] += counted.double() @ kept.double()
                    self._log_kept[index] += counted.double() @ kept.clamp_min_(SMALLEST_KEPT).log_().double()

    def uses(self) -> tuple[GateUse, ...]:
        """Return how often each gate was saturated: layer by layer, the gates in the order of their letters."""
        left, right = ((counts / self._num_chars).tolist() for counts in (self._left, self._right))
        return tuple(
            GateUse(layer=layer, gate=self._names[gate], left=tuple(left[gate][layer]), right=tuple(right[gate][layer]))
            for layer in range(len(self._layers))
            for gate in sorted(range(len(self._names)), key=self._names.__getitem__)
        )

    def kept(self) -> tuple[Float64Array, Float64Array] | None:
        """Return the mean (C,) of the gate that keeps each unit's memory and the mean (C,) of its logarithm.

        None for a cell type without such a gate. A dilated layer keeps this share from D characters before.
        """
        if self._layers[0].cell.keeping_gate is None:
            return None
        mean, mean_log = ((sums / self._num_chars).flatten().numpy() for sums in (self._kept, self._log_kept))
        return mean, mean_log

    def _order(self, inputs: Tensor) -> Tensor:
        """Return where in the flattened window each character is, in the order in which the gates were computed."""
        end_id = self._network.end_id
        is_end = None if end_id is None else (inputs == end_id).cpu().numpy()
        if is_end is None or not is_end.any():
            return torch.arange(inputs.numel())
        # The network reads documents in pieces; these are the same ones.
        pieces = cut(Segments.of(is_end), is_end.shape[1])
        return torch.cat([torch.from_numpy(piece.positions).flatten() for piece in pieces])


def _recording(calls: list[Tensor]) -> Ops[Tensor]:
    """`TORCH`, with every gate kept in `calls`."""
    from charrnn.model.layer import TORCH

    def sigmoid(x: Tensor) -> Tensor:
        calls.append(x.sigmoid())
        return calls[-1]

    return replace(TORCH, sigmoid=sigmoid)
