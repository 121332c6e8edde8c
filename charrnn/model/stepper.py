"""The same network, one character at a time, in NumPy: what writing needs, without importing torch.

Shapes: B batch, V vocabulary, H hidden, G blocks, L layers, S state vectors per layer; float32 throughout.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config, resolved
from charrnn.errors import CheckpointError
from charrnn.model.equations import CELLS, Cell, Lstm

Floats = NDArray[np.float32]


def _sigmoid(x: Floats) -> Floats:
    # Through tanh, which cannot overflow; exp(-x) would warn far from zero.
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def _parts(z: NDArray[np.complex128]) -> tuple[Floats, Floats]:
    return z.real.astype(np.float32), z.imag.astype(np.float32)


NUMPY = SimpleNamespace(
    sigmoid=_sigmoid,
    tanh=np.tanh,
    relu=lambda x: np.maximum(x, 0),
    sqrt=np.sqrt,
    cos=np.cos,
    sin=np.sin,
    split=lambda x, blocks: np.split(x, blocks, axis=-1),
    cat=lambda parts: np.concatenate(parts, axis=-1),
    permute=lambda x, order: x[..., order],
    fft=lambda re, im: _parts(np.fft.fft(re + 1j * im, norm="ortho")),
    ifft=lambda re, im: _parts(np.fft.ifft(re + 1j * im, norm="ortho")),
)
"""What the equations need of NumPy."""


class Stepper:
    """Maps one character per row and a state to the next character's logits and the new state.

    The first layer's input product is a table with one row per character. Equal to `CharRNN.forward` in float32 up to
    rounding.
    """

    def __init__(self, config: Config, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take the weights of `model.safetensors`. Raises CheckpointError if one is missing or misshapen."""
        self.cell = CELLS[config.cell]
        self.depth, self.sum_outputs, self.zoneout = config.depth, config.sum_outputs, np.float32(config.zoneout)
        self.num_layers, self.hidden_size = resolved(config.num_layers), resolved(config.hidden_size)
        self._num_states = self.cell.num_states * self._dilation(self.num_layers - 1)
        self._num_grids = self.num_layers if self.depth == "grid" else 0
        self._learns_start = config.initial_state == "learned"
        try:
            self._weights = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
            self.vocab_size = self._weights["output.weight"].shape[0]
            self._check_shapes()
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointError(f"model.safetensors does not hold a whole {config.cell} model: {error}") from None
        self._layers = [_Layer(self.cell, f"layers.{index}.", self._weights) for index in range(self.num_layers)]
        self._grids = [_Layer(Lstm, f"grids.{index}.", self._weights) for index in range(self._num_grids)]
        vectors = self._weights["embedding.weight"]
        if self._grids:
            self._bottom = vectors @ self._weights["bottom.weight"].T + self._weights["bottom.bias"]
            vectors = self._bottom[:, : self.hidden_size]
        self._table = vectors @ self._layers[0].weight_ih + self._layers[0].bias_ih

    def _check_shapes(self) -> None:
        size, input_size = self.hidden_size, self._weights["embedding.weight"].shape[-1]
        expected: dict[str, tuple[int, ...]] = {
            "embedding.weight": (self.vocab_size, input_size),
            "output.weight": (self.vocab_size, size),
            "output.bias": (self.vocab_size,),
        }
        for index in range(self.num_layers):
            is_first = index == 0 and not self._num_grids
            for name, blocks in {"ih": self.cell.input_blocks, **self.cell.products}.items():
                columns = input_size if name == "ih" and is_first else size
                expected[f"layers.{index}.weight_{name}_l0"] = (blocks * size, columns)
                expected[f"layers.{index}.bias_{name}_l0"] = (blocks * size,)
            for name, (shape, _) in self.cell.extras(size).items():
                expected[f"layers.{index}.{name}"] = shape
            if self.depth == "highway" and index:
                expected[f"highways.{index - 1}.weight"] = (size, size)
                expected[f"highways.{index - 1}.bias"] = (size,)
        for index in range(self._num_grids):
            expected |= {"bottom.weight": (2 * size, input_size), "bottom.bias": (2 * size,)}
            for name in ("ih", "hh"):
                expected[f"grids.{index}.weight_{name}_l0"] = (4 * size, size)
                expected[f"grids.{index}.bias_{name}_l0"] = (4 * size,)
        if self._learns_start:
            expected["learned_state"] = (self.num_layers, self._num_states, size)
        for name, shape in expected.items():
            if self._weights[name].shape != shape:
                raise ValueError(f"{name} has shape {self._weights[name].shape}, not {shape}")
        if surplus := set(self._weights) - set(expected):
            raise ValueError(f"{min(surplus)} has no place in it")

    def initial_state(self, batch_size: int) -> Floats:
        """The state (L, S, B, H) that every text starts from: zero, unless it is learned."""
        shape = (self.num_layers, self._num_states, batch_size, self.hidden_size)
        if self._learns_start:
            return np.array(np.broadcast_to(self._weights["learned_state"][:, :, None], shape))
        return np.zeros(shape, np.float32)

    def step(self, ids: NDArray[np.integer[Any]], state: Floats) -> tuple[Floats, Floats]:
        """Map ids (B,) and a state (L, S, B, H) to logits (B, V) and a new state; the old one is left as it was."""
        state = state.copy()
        below, total = self._table[ids], np.float32(0)
        along_depth = tuple(np.split(self._bottom[ids], 2, axis=-1)) if self._grids else ()
        for index, layer in enumerate(self._layers):
            x = below if index == 0 else below @ layer.weight_ih + layer.bias_ih
            # The D latest states of a dilated layer stand in a queue: the oldest is continued and goes to its end.
            queue = state[index, : self.cell.num_states * self._dilation(index)]
            queue = queue.reshape(self.cell.num_states, -1, *queue.shape[1:])
            oldest = tuple(queue[:, 0])
            latest = self.cell.step(NUMPY, x, layer.product, oldest, layer.extras)
            if self.zoneout:
                latest = tuple(o + (1 - self.zoneout) * (n - o) for o, n in zip(oldest, latest, strict=True))
            queue[:, :-1] = queue[:, 1:]
            for part, value in zip(queue, latest, strict=True):
                part[-1] = value
            if self._grids:
                grid = self._grids[index]
                x = latest[0] @ grid.weight_ih + grid.bias_ih
                along_depth = Lstm.step(NUMPY, x, grid.product, along_depth, {})
                below = along_depth[0]
            else:
                below = latest[0] if index == 0 else self._join(index, below, latest[0])
            total = total + below if self.sum_outputs else below
        return total @ self._weights["output.weight"].T + self._weights["output.bias"], state

    def _dilation(self, index: int) -> int:
        return 2**index if self.depth == "dilated" else 1

    def _join(self, index: int, below: Floats, outputs: Floats) -> Floats:
        if self.depth == "residual":
            return below + outputs
        if self.depth == "highway":
            weight, bias = (self._weights[f"highways.{index - 1}.{part}"] for part in ("weight", "bias"))
            return np.asarray(below + _sigmoid(below @ weight.T + bias) * (outputs - below))
        return outputs

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


class _Layer:
    """One layer's weights, as its equations want them."""

    def __init__(self, cell: type[Cell], prefix: str, weights: Mapping[str, Floats]) -> None:
        self.weight_ih = weights[f"{prefix}weight_ih_l0"].T
        self.bias_ih = weights[f"{prefix}bias_ih_l0"]
        self._products = {
            name: (cell.effective_weight(weights[f"{prefix}weight_{name}_l0"]).T, weights[f"{prefix}bias_{name}_l0"])
            for name in cell.products
        }
        size = self.weight_ih.shape[1] // cell.input_blocks
        self.extras: dict[str, NDArray[Any]] = {
            name: weights[prefix + name].astype(np.int64 if kind == "permutation" else np.float32)
            for name, (_, kind) in cell.extras(size).items()
        }

    def product(self, name: str, h: Floats) -> Floats:
        """h @ weight.T + bias."""
        weight, bias = self._products[name]
        return np.asarray(h @ weight + bias)
