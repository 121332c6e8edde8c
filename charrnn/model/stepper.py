"""The same network, one character at a time, in NumPy: what writing needs, without importing torch.

Shapes: B batch, V vocabulary, H hidden, G gates, L layers, S state vectors per layer; float32 throughout.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CheckpointError

Floats = NDArray[np.float32]


def _sigmoid(x: Floats) -> Floats:
    # Through tanh, which cannot overflow; exp(-x) would warn far from zero.
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def _step_lstm(from_input: Floats, from_hidden: Floats, state: Floats) -> None:
    gates = from_input + from_hidden
    size = state.shape[-1]
    sigmoids = _sigmoid(gates)
    i, f, o = sigmoids[:, :size], sigmoids[:, size : 2 * size], sigmoids[:, 3 * size :]
    c = f * state[1] + i * np.tanh(gates[:, 2 * size : 3 * size])
    state[0] = o * np.tanh(c)
    state[1] = c


def _step_gru(from_input: Floats, from_hidden: Floats, state: Floats) -> None:
    size = state.shape[-1]
    gates = _sigmoid(from_input[:, : 2 * size] + from_hidden[:, : 2 * size])
    r, z = gates[:, :size], gates[:, size:]
    n = np.tanh(from_input[:, 2 * size :] + r * from_hidden[:, 2 * size :])
    state[0] = n + z * (state[0] - n)


def _step_rnn(from_input: Floats, from_hidden: Floats, state: Floats) -> None:
    state[0] = np.tanh(from_input + from_hidden)


CELL_STEPS: dict[str, tuple[int, int, Callable[[Floats, Floats, Floats], None]]] = {
    "lstm": (4, 2, _step_lstm),
    "gru": (3, 1, _step_gru),
    "rnn": (1, 1, _step_rnn),
}
"""Per cell: G, S and the step itself, which maps both products (B, G*H) to the new state (S, B, H), in place."""


class Stepper:
    """Maps one character per row and a state to the next character's logits and the new state.

    The first layer's input product is a table with one row per character. Equal to `CharRNN.forward` in float32 up to
    rounding.
    """

    def __init__(self, cell: str, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take the weights of `model.safetensors`. Raises CheckpointError if one is missing or misshapen."""
        self.num_gates, self.num_states, self._cell_step = CELL_STEPS[cell]
        try:
            weights = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
            self.num_layers = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
            self.vocab_size, self.hidden_size = weights["output.weight"].shape
            self._check_shapes(weights)
            layers = [
                tuple(weights[f"layers.{index}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
                for index in range(self.num_layers)
            ]
            self._table = weights["embedding.weight"] @ layers[0][0].T + layers[0][2]
            self._layers = [(w_ih.T, w_hh.T, b_ih, b_hh) for w_ih, w_hh, b_ih, b_hh in layers]
            self._output, self._output_bias = weights["output.weight"].T, weights["output.bias"]
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointError(f"model.safetensors does not hold a whole {cell} model: {error}") from None

    def _check_shapes(self, weights: Mapping[str, Floats]) -> None:
        rows = self.num_gates * self.hidden_size
        expected = {
            "embedding.weight": (self.vocab_size, weights["embedding.weight"].shape[-1]),
            "output.bias": (self.vocab_size,),
        }
        input_size = weights["embedding.weight"].shape[-1]
        for index in range(self.num_layers):
            expected |= {
                f"layers.{index}.weight_ih_l0": (rows, input_size),
                f"layers.{index}.weight_hh_l0": (rows, self.hidden_size),
                f"layers.{index}.bias_ih_l0": (rows,),
                f"layers.{index}.bias_hh_l0": (rows,),
            }
            input_size = self.hidden_size
        for name, shape in expected.items():
            if weights[name].shape != shape:
                raise ValueError(f"{name} has shape {weights[name].shape}, not {shape}")

    def initial_state(self, batch_size: int) -> Floats:
        """The zero state (L, S, B, H)."""
        return np.zeros((self.num_layers, self.num_states, batch_size, self.hidden_size), np.float32)

    def step(self, ids: NDArray[np.integer[Any]], state: Floats) -> tuple[Floats, Floats]:
        """Map ids (B,) and a state (L, S, B, H) to logits (B, V) and a new state; the old one is left as it was."""
        state = state.copy()
        for index, (w_ih, w_hh, b_ih, b_hh) in enumerate(self._layers):
            from_input = self._table[ids] if index == 0 else state[index - 1, 0] @ w_ih + b_ih
            self._cell_step(from_input, state[index, 0] @ w_hh + b_hh, state[index])
        return state[-1, 0] @ self._output + self._output_bias, state

    def read(self, ids: NDArray[np.integer[Any]], state: Floats | None = None) -> tuple[Floats, Floats]:
        """Read a text ids (N,), N >= 1, in one row: the logits (1, V) after its last character, and the state there.

        Raises ValueError for an empty text.
        """
        if len(ids) == 0:
            raise ValueError("there is nothing to read")
        state = self.initial_state(1) if state is None else state
        logits = np.zeros((1, self.vocab_size), np.float32)
        for char in ids:
            logits, state = self.step(np.array([char]), state)
        return logits, state
