"""How often gates are saturated while a network reads a text.

Shapes: T time, B batch, L layers, H units per layer, G gates.
"""

from __future__ import annotations

from charrnn.cells.findings import GateUse
from charrnn.cells.trace import torch_ops
from charrnn.model.annotations import CharRNN
from charrnn.model.interventions import record_layers
from charrnn.model.reading import Fragments, cut
from charrnn.system.lazy import Tensor, torch

LEFT = 0.1
"""A gate below this is left-saturated: closed."""
RIGHT = 0.9
"""A gate above this is right-saturated: open."""
GATE_NAMES = {"f": "forget", "i": "input", "o": "output", "r": "reset", "z": "update"}
"""The names of the gates by their letters."""


class GateCounter:
    """Counts over windows at how many characters each gate is saturated.

    `read` reads a window, `add` counts its gates.
    """

    def __init__(self, network: CharRNN) -> None:
        """Start with no characters."""
        self._network = network
        self._layers = network.recurrent_layers()
        self._names = self._layers[0].cell.gates
        shape = (len(self._names), len(self._layers), network.hidden_size)
        self._left = torch.zeros(shape, dtype=torch.float64)
        self._right = torch.zeros(shape, dtype=torch.float64)
        self._num_chars = 0
        self._inputs = torch.empty(0, 0)
        self._calls: list[list[Tensor]] = []

    def read(self, inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Trace a window of ids (T, B) by `CharRNN.trace`, and keep its gates."""
        self._inputs = inputs
        self._calls = [[] for _ in self._layers]
        ops = record_layers(torch_ops(), "sigmoid", results=self._calls)
        return self._network.trace(inputs, state, ops=ops)

    def add(self, is_text: Tensor) -> None:
        """Count the gates of the window that was read last, at the characters that `is_text` (T, B)
        marks."""
        self._num_chars += int(is_text.sum())
        order = self._order(self._inputs).argsort()
        num_gates = len(self._names)
        for index, calls in enumerate(self._calls):
            for gate in range(num_gates):
                # A cell computes its gates in the order of their names, step by step. A step of a
                # dilated layer computes several characters at once, in the order of the text.
                steps = [values.reshape(-1, values.shape[-1]) for values in calls[gate::num_gates]]
                values = torch.cat(steps)[order]

                # Counts up to T * B are exact in float32. Padding counts nothing.
                counted = is_text.flatten().to(values.dtype)
                self._left[gate, index] += counted @ (values < LEFT).to(values.dtype)
                self._right[gate, index] += counted @ (values > RIGHT).to(values.dtype)

    def uses(self) -> tuple[GateUse, ...]:
        """Return how often each gate was saturated: layer by layer, the gates in the order of their
        letters."""
        # Divided once: sums of whole numbers stay exact until then.
        left = (self._left / self._num_chars).tolist()
        right = (self._right / self._num_chars).tolist()
        uses = []
        for layer in range(len(self._layers)):
            for name in sorted(self._names):
                gate = self._names.index(name)
                uses.append(
                    GateUse(
                        layer=layer,
                        gate=name,
                        left=tuple(left[gate][layer]),
                        right=tuple(right[gate][layer]),
                    )
                )
        return tuple(uses)

    def _order(self, inputs: Tensor) -> Tensor:
        """Return the position of each character in the flattened window, in the order in which the
        gates were computed."""
        end_id = self._network.end_id
        if end_id is not None:
            is_end = (inputs == end_id).cpu().numpy()
            if is_end.any():
                # The network reads documents in the same pieces.
                pieces = cut(Fragments.of(is_end), is_end.shape[1])
                return torch.cat([torch.from_numpy(piece.positions).flatten() for piece in pieces])
        return torch.arange(inputs.numel())
