"""How often gates are saturated (Karpathy, Johnson & Li 2015, Figure 3), and how much of the memory they keep.

Shapes: N characters, T time, B lanes, L layers, H units, C = L * H cells, D dilation.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.architectures import CELL_GROUP
from charrnn.errors import UsageError
from charrnn.model.cells import CELLS
from charrnn.model.layer import TORCH
from charrnn.model.network import CharRNN
from charrnn.model.ops import Ops
from charrnn.model.pieces import Segments, cut
from charrnn.model.reading import read_in_lanes
from charrnn.plugins import plugin_names
from charrnn.records.microscope import GateReport, GateUse
from charrnn.text.encoded import EncodedText

LEFT = 0.1
"""A gate below this is left-saturated: closed."""
RIGHT = 0.9
"""A gate above this is right-saturated: open."""
SMALLEST_KEPT = 1e-30
"""Smaller shares of the memory count as this one in the mean of their logarithms: that of 0 is infinite."""
Float64Array = NDArray[np.float64]


@torch.inference_mode()
def watch_gates(
    network: CharRNN,
    text: EncodedText,
    *,
    name: str = "model",
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> GateReport:
    """Count the share of characters at which each gate of each unit is saturated.

    `on_progress` is called with the number of characters read since its last call. Raises UsageError for a cell type
    without gates.
    """
    ids = text.ids
    layers = network.recurrent_layers()
    cell_name, names = layers[0].cell_name, layers[0].cell.gates
    if not names:
        gated = ", ".join(name for name, cell in CELLS.items() if cell.gates)
        others = [name for name in plugin_names(CELL_GROUP) if name != cell_name]
        installed = f" Installed packages provide {', '.join(others)}." if others else ""
        raise UsageError(f"The cell {cell_name} has no gates. Built-in cell types with gates: {gated}.{installed}")
    counter = GateCounter(network)

    def step(inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        _, state = network(inputs, state, ops=counter.record())
        return inputs, state

    for positions, inputs in read_in_lanes(step, network.initial_state, ids, text.first):
        is_text = positions < len(ids)
        counter.add(inputs, torch.from_numpy(is_text))
        on_progress(int(is_text.sum()))
    return GateReport(name=name, cell=cell_name, num_chars=len(text), gates=counter.uses())


class GateCounter:
    """Counts over windows at how many characters each gate is saturated, and how much of its memory a unit keeps.

    `record` returns the functions with which the network reads a window, `add` counts what they recorded.
    """

    def __init__(self, network: CharRNN) -> None:
        """Start with no characters."""
        self._layers = network.recurrent_layers()
        self._end_id = network.end_id
        self._names = self._layers[0].cell.gates
        shape = (len(self._layers), network.hidden_size)
        self._left, self._right = torch.zeros(2, len(self._names), *shape, dtype=torch.int64)
        self._kept, self._log_kept = torch.zeros(2, *shape, dtype=torch.float64)
        self._num_chars = 0
        self._calls: list[list[Tensor]] = []

    def record(self) -> dict[int, Ops[Tensor]]:
        """Forget what was recorded before, and return the functions of each layer that record its gates."""
        self._calls = [[] for _ in self._layers]
        return {index: _recording(of_layer) for index, of_layer in enumerate(self._calls)}

    def add(self, inputs: Tensor, is_text: Tensor) -> None:
        """Count the recorded gates of a window of ids (T, B), at the characters that `is_text` (T, B) marks."""
        is_counted = is_text.flatten()[self._order(inputs)][:, None]
        self._num_chars += int(is_counted.sum())
        for index, (layer, of_layer) in enumerate(zip(self._layers, self._calls, strict=True)):
            for gate, name in enumerate(self._names):
                # A step of a dilated layer computes several characters at once, in the order of the text.
                values = torch.cat([h.reshape(-1, h.shape[-1]) for h in of_layer[gate :: len(self._names)]])
                self._left[gate, index] += ((values < LEFT) & is_counted).sum(dim=0)
                self._right[gate, index] += ((values > RIGHT) & is_counted).sum(dim=0)
                if name == layer.cell.keeping_gate:
                    # Zoneout keeps a share of the state before, whatever the gate does.
                    kept = layer.zoneout + (1 - layer.zoneout) * values[is_counted[:, 0]].double()
                    self._kept[index] += kept.sum(dim=0)
                    self._log_kept[index] += kept.clamp_min(SMALLEST_KEPT).log_().sum(dim=0)

    def uses(self) -> tuple[GateUse, ...]:
        """Return how often each gate was saturated: layer by layer, the gates in the order of their letters."""
        left, right = ((counts.double() / self._num_chars).tolist() for counts in (self._left, self._right))
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
        is_end = None if self._end_id is None else (inputs == self._end_id).cpu().numpy()
        if is_end is None or not is_end.any():
            return torch.arange(inputs.numel())
        # The network reads documents in pieces; these are the same ones.
        pieces = cut(Segments.of(is_end), is_end.shape[1])
        return torch.cat([torch.from_numpy(piece.positions).flatten() for piece in pieces])


def _recording(calls: list[Tensor]) -> Ops[Tensor]:
    """`TORCH`, with every gate kept in `calls`."""

    def sigmoid(x: Tensor) -> Tensor:
        calls.append(x.sigmoid())
        return calls[-1]

    return replace(TORCH, sigmoid=sigmoid)
