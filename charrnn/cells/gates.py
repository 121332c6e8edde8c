"""Count while a network reads how often its gates are saturated, and how much of the memory they keep.

Shapes: N characters, T time, B lanes, L layers, H units, C = L * H cells, D dilation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import GateUse
from charrnn.lazy import Tensor, torch
from charrnn.model.annotations import CharRNN, RecurrentLayer
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
PRODUCTS = ("lstm", "gru")
"""Cell types whose gates are sigmoid(W x + U h + b). As every h is known once a window was read, all gates are a few
products; to record them step by step takes longer than reading."""
INPUT_BLOCKS = {
    "lstm": "ifgo",
    "peephole": "ifgo",
    "coupled": "fgo",
    "gru": "rzn",
    "mlstm": "ifgom",
    "antisymmetric": "hz",
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
        self._is_product = self._layers[0].cell_name in PRODUCTS
        shape = (len(self._names), len(self._layers), network.hidden_size)
        self._left, self._right = torch.zeros(2, *shape, dtype=torch.float64)
        self._kept, self._log_kept = torch.zeros(2, *shape[1:], dtype=torch.float64)
        self._num_chars = 0
        self._window: _Window | None = None
        self._calls: list[list[Tensor]] = []

    def read(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the cell values (T, B, L, H) of a window of ids (T, B) and the state after it, and keep its gates."""
        self._calls = [[] for _ in self._layers]
        ops = None if self._is_product else {index: _recording(calls) for index, calls in enumerate(self._calls)}
        _, cells, outputs, last = self._network.trace(inputs, state, ops)
        self._window = _Window(inputs, state, outputs)
        return cells, last

    def add(self, is_text: Tensor) -> None:
        """Count the gates of the window that was read last, at the characters that `is_text` (T, B) marks."""
        assert self._window is not None, "read() comes first"
        self._num_chars += int(is_text.sum())
        for index, gates in enumerate(self._gates(self._window)):
            layer = self._layers[index]
            for gate, (name, values) in enumerate(zip(self._names, gates, strict=True)):
                # Counts up to T * B are exact in float32. Padding counts nothing.
                counted = is_text.flatten().to(values.dtype)
                self._left[gate, index] += counted @ (values < LEFT).to(values.dtype)
                self._right[gate, index] += counted @ (values > RIGHT).to(values.dtype)
                if name == layer.cell.keeping_gate:
                    # Zoneout keeps a share of the state before, whatever the gate does.
                    kept = layer.zoneout + (1 - layer.zoneout) * values
                    self._kept[index] += counted.double() @ kept.double()
                    self._log_kept[index] += counted.double() @ kept.clamp_min_(SMALLEST_KEPT).log_().double()

    def _gates(self, window: _Window) -> Iterator[Iterator[Tensor]]:
        """Yield for each layer its gates, each (T * B, H) in the order of the flattened window, as they are needed."""
        if self._is_product:
            inputs = self._network.layer_inputs(window.inputs, window.outputs)
            for index, layer in enumerate(self._layers):
                yield _products(layer, inputs[index], window.outputs_before(self._network, index))
        else:
            order = self._order(window.inputs).argsort()
            for calls in self._calls:
                # A step of a dilated layer computes several characters at once, in the order of the text.
                yield (
                    torch.cat([h.reshape(-1, h.shape[-1]) for h in calls[gate :: len(self._names)]])[order]
                    for gate in range(len(self._names))
                )

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


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """What was read: ids (T, B), the state (L, S, B, H) before them, and the outputs (T, B, L, H) of all layers."""

    inputs: Tensor
    state: Tensor
    outputs: Tensor

    def outputs_before(self, network: CharRNN, index: int) -> Tensor:
        """Return the output (T, B, H) of layer `index` from which it continued at each character.

        It is that of D characters before, or a row of the initial state where END was read since.
        """
        dilation = network.recurrent_layers()[index].dilation
        before = torch.cat((self.state[index, :dilation], self.outputs[:, :, index]))[: len(self.inputs)]
        if network.end_id is not None:
            is_end, initial = self.inputs == network.end_id, network.initial_state(1)[index, :, 0].to(before.dtype)
            # The latest END counts: the smallest distance comes last.
            for distance in reversed(range(min(dilation, len(before)))):
                before[distance:][is_end[: len(before) - distance]] = initial[distance]
        return before


def _products(layer: RecurrentLayer, inputs: Tensor, before: Tensor) -> Iterator[Tensor]:
    """Yield each gate (T * B, H) of a layer whose cell is one of PRODUCTS, from its inputs and its outputs before."""
    for gate in layer.cell.gates:
        block = INPUT_BLOCKS[layer.cell_name].index(gate)
        rows = slice(block * layer.hidden_size, (block + 1) * layer.hidden_size)
        bias = layer.bias("ih")[rows] + layer.bias("hh")[rows]
        sums = torch.nn.functional.linear(inputs.flatten(0, 1), layer.weight("ih")[rows], bias)
        yield sums.addmm_(before.flatten(0, 1), layer.weight("hh")[rows].t()).sigmoid_()


def _recording(calls: list[Tensor]) -> Ops[Tensor]:
    """`TORCH`, with every gate kept in `calls`."""
    from charrnn.model.layer import TORCH

    def sigmoid(x: Tensor) -> Tensor:
        calls.append(x.sigmoid())
        return calls[-1]

    return replace(TORCH, sigmoid=sigmoid)
