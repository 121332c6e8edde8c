"""The steps of a `Stepper` by the compiled loop: for models whose predictions are mixed before a character is drawn.

Shapes as in `model.stepper`: B batch, V vocabulary, H hidden, L layers, S state vectors per layer.
"""

from threading import local
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.model.stepper import Stepper

Float32Array = NDArray[np.float32]


class _ScratchOfThread(local):
    """The scratch buffers of the compiled loop: each thread that steps a model has its own."""

    def __init__(self, compiled: ModuleType, weights: Any) -> None:
        self.buffers = compiled.make_scratch(weights, 1)


class CompiledStepper:
    """A `Stepper` of precision int8 whose logits and states are the same, bit for bit, and take less time."""

    def __init__(self, stepper: Stepper, compiled: ModuleType) -> None:
        """Take the module that `sampling.compiled_loop` returned for the loop `read` of this stepper."""
        self._stepper, self._weights, self._loop = stepper, compiled.pack(stepper), compiled.LOOPS["read"]
        self._scratch = _ScratchOfThread(compiled, self._weights)
        self.vocab_size, self.precision, self.changes = stepper.vocab_size, stepper.precision, stepper.changes

    def initial_state(self, batch_size: int) -> Float32Array:
        """Return the state (L, S, B, H) before a text."""
        return self._stepper.initial_state(batch_size)

    def step(self, ids: NDArray[np.integer[Any]], state: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Map ids (B,) and a state (L, S, B, H) to logits (B, V) and a new state, row by row."""
        rows = [self.read(ids[row : row + 1], state[:, :, row : row + 1]) for row in range(len(ids))]
        logits, states = zip(*rows, strict=True)
        return np.concatenate(logits), np.concatenate(states, axis=2)

    def read(
        self, ids: NDArray[np.integer[Any]], state: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Read ids (N,), N >= 1, in one row, as `Stepper.read`. Raises ValueError for an empty text."""
        if len(ids) == 0:
            raise ValueError("the text is empty")
        if self._stepper.end_id is not None and (ends := np.flatnonzero(ids == self._stepper.end_id)).size:
            ids, state = ids[ends[-1] :], None  # what is before an END makes no difference
        state = self.initial_state(1) if state is None else np.array(state, order="C")
        logits = np.zeros((1, self.vocab_size), np.float32)
        self._loop(self._weights, np.asarray(ids, np.int64), state, logits, self._scratch.buffers)
        return logits, state
