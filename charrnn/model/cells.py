"""Recurrent layers: one class per cell, a few lines of equations, its paper.

Shapes: T time, B batch, I input, H hidden, G gates, S state vectors. Parameters carry `torch.nn`'s own names, shapes
and gate order, so a saved layer loads into `nn.LSTM`, `nn.GRU` or `nn.RNN` as it is.
"""

from typing import ClassVar

import torch
from torch import Generator, Tensor, nn


class RecurrentLayer(nn.Module):
    """One layer of one cell: (inputs (T, B, I), state (S, B, H)) -> (outputs (T, B, H), state (S, B, H)).

    The first state vector is always the output h.
    """

    num_gates: ClassVar[int]
    """G: blocks of H rows in each weight."""
    num_states: ClassVar[int] = 1
    """S: vectors (B, H) carried from one character to the next."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(self.num_gates * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(self.num_gates * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(self.num_gates * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(self.num_gates * hidden_size))

    def weights(self) -> list[Tensor]:
        """The parameters in the order that torch's fused recurrences take them."""
        return [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]

    def draw_weights(self, generator: Generator, forget_bias: float) -> None:
        """Draw each gate's input weights uniformly (Glorot & Bengio 2010), its recurrent ones orthogonally (Saxe 2014).

        `forget_bias` concerns cells with a forget gate only; all other biases start at zero.
        """
        for gate in self.weight_ih_l0.chunk(self.num_gates):
            nn.init.xavier_uniform_(gate, generator=generator)
        for gate in self.weight_hh_l0.chunk(self.num_gates):
            nn.init.orthogonal_(gate, generator=generator)
        nn.init.zeros_(self.bias_ih_l0)
        nn.init.zeros_(self.bias_hh_l0)

    def trace(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Like `forward`, with what the microscope looks at in between: (outputs, cells (T, B, H), state).

        Cell values lie within [-1, 1]: tanh(c) for an LSTM, h for the others.
        """
        outputs, last = self(inputs, state)
        return outputs, outputs, last


class TanhRNN(RecurrentLayer):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990)."""

    num_gates = 1

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (T, B, I) and state (1, B, H) to outputs (T, B, H) and the last state."""
        return torch.rnn_tanh(inputs, state, self.weights(), True, 1, 0.0, True, False, False)


class GRU(RecurrentLayer):
    """Gates r, z; n = tanh(W_in x + b_in + r * (W_hn h + b_hn)); h = (1 - z) * n + z * h (Cho 2014, cuDNN's form)."""

    num_gates = 3

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (T, B, I) and state (1, B, H) to outputs (T, B, H) and the last state."""
        return torch.gru(inputs, state, self.weights(), True, 1, 0.0, True, False, False)


class LSTM(RecurrentLayer):
    """Gates i, f, g, o; c = f * c + i * g; h = o * tanh(c) (Hochreiter & Schmidhuber 1997; forget gate: Gers 2000)."""

    num_gates = 4
    num_states = 2

    def draw_weights(self, generator: Generator, forget_bias: float) -> None:
        """As every cell; the forget gate starts open at `forget_bias` (Jozefowicz 2015)."""
        super().draw_weights(generator, forget_bias)
        nn.init.constant_(self.bias_ih_l0.chunk(self.num_gates)[1], forget_bias)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (T, B, I) and state (2, B, H), that is h and c, to outputs (T, B, H) and the last state."""
        h, c = state.chunk(2)
        outputs, h, c = torch.lstm(inputs, (h, c), self.weights(), True, 1, 0.0, True, False, False)
        return outputs, torch.cat((h, c))

    def trace(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, tanh(c) at every step (T, B, H), and the last state.

        torch returns c at the end only. But with every h known, all gates of all steps are one matrix product, and c
        is a cheap scan over them.
        """
        outputs, last = self(inputs, state)
        h_before = torch.cat((state[:1], outputs[:-1].to(state)))
        gates = nn.functional.linear(inputs, self.weight_ih_l0, self.bias_ih_l0)
        gates = gates + nn.functional.linear(h_before, self.weight_hh_l0, self.bias_hh_l0)
        i, f, g, _ = gates.float().chunk(4, dim=-1) if gates.dtype == torch.bfloat16 else gates.chunk(4, dim=-1)
        c, cells = state[1], []
        for kept, added in zip(f.sigmoid(), i.sigmoid() * g.tanh(), strict=True):
            c = torch.addcmul(added, kept, c)
            cells.append(c)
        return outputs, torch.stack(cells).tanh(), last


CELL_TYPES: dict[str, type[RecurrentLayer]] = {"lstm": LSTM, "gru": GRU, "rnn": TanhRNN}
"""The word that `--cell` takes, and its class."""
