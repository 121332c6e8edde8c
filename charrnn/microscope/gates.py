"""How often gates are saturated (Karpathy, Johnson & Li 2015, Figure 3).

Shapes: N characters, T time, B lanes, H units.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from charrnn.architectures import CELL_GROUP
from charrnn.errors import UsageError
from charrnn.model.cells import CELLS
from charrnn.model.layer import TORCH
from charrnn.model.network import CharRNN
from charrnn.model.ops import Ops
from charrnn.model.reading import read_in_lanes
from charrnn.plugins import plugin_names
from charrnn.records.microscope import GateReport, GateUse
from charrnn.text.encoded import EncodedText

LEFT = 0.1
"""A gate below this is left-saturated: closed."""
RIGHT = 0.9
"""A gate above this is right-saturated: open."""


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
    left, right = torch.zeros(2, len(layers), len(names), network.hidden_size, dtype=torch.int64)

    def step(inputs: Tensor, state: Tensor) -> tuple[list[list[Tensor]], Tensor]:
        calls: list[list[Tensor]] = [[] for _ in layers]
        _, state = network(inputs, state, ops={index: _recording(of_layer) for index, of_layer in enumerate(calls)})
        return calls, state

    for positions, calls in read_in_lanes(step, network.initial_state, ids, text.first):
        is_text = torch.from_numpy(positions < len(ids))[..., None]
        for layer, of_layer in enumerate(calls):
            for gate in range(len(names)):
                # A step of a dilated layer computes several characters at once, in the order of the text.
                values = torch.cat(
                    [h.reshape(-1, positions.shape[1], h.shape[-1]) for h in of_layer[gate :: len(names)]]
                )
                left[layer, gate] += ((values < LEFT) & is_text).sum(dim=(0, 1))
                right[layer, gate] += ((values > RIGHT) & is_text).sum(dim=(0, 1))
        on_progress(int(is_text.sum()))
    num_chars = len(text)
    return GateReport(
        name=name,
        cell=cell_name,
        num_chars=num_chars,
        gates=tuple(
            GateUse(
                layer=layer,
                gate=names[gate],
                left=tuple((left[layer, gate].double() / num_chars).tolist()),
                right=tuple((right[layer, gate].double() / num_chars).tolist()),
            )
            for layer in range(len(layers))
            for gate in sorted(range(len(names)), key=names.__getitem__)
        ),
    )


def _recording(calls: list[Tensor]) -> Ops[Tensor]:
    """`TORCH`, with every gate kept in `calls`."""

    def sigmoid(x: Tensor) -> Tensor:
        calls.append(x.sigmoid())
        return calls[-1]

    return replace(TORCH, sigmoid=sigmoid)
