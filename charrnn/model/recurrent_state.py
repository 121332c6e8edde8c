"""What a model carries from one character to the next, and how files store it.

Shapes: B batch, H hidden, L layers, S state vectors per layer, N characters of the history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.model.cell_types import A
from charrnn.system.lazy import Tensor, torch

HISTORY_LENGTH = 4
"""N: one fewer than the characters of the longest n-gram that the table of n-grams knows."""
B = TypeVar("B", bound=Any)
"""Another array type."""


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentState(Generic[A]):
    """The state of B texts, as arrays of torch or NumPy. It is passed in and returned."""

    vectors: A
    """(L, S, B, H): the state vectors of the cells, then the last outputs of `Depth.span`."""
    history: A | None = None
    """(B, N): the last characters as ids plus 1, the oldest first, 0 for none; None where the
    model has no table of n-grams."""

    def map(self, function: Callable[..., B], *others: RecurrentState[Any]) -> RecurrentState[B]:
        """Apply a function to the vectors, and to the history, of this state and of `others`.

        The axis -2 of both is that of the batch rows:

            state.map(partial(np.take, indices=rows, axis=-2))
        """
        # Negative axes serve both: the vectors have four, the history two.
        vectors = function(self.vectors, *(other.vectors for other in others))
        if self.history is None:
            return RecurrentState(vectors)
        return RecurrentState(vectors, function(self.history, *(other.history for other in others)))

    @property
    def device(self) -> Any:
        """Where the arrays of torch are."""
        return self.vectors.device

    @property
    def num_bytes(self) -> int:
        """Bytes of the vectors, beside which the history is small."""
        return int(self.vectors.nbytes)


def reset_rows(
    state: RecurrentState[Tensor], initial: RecurrentState[Tensor], is_reset: Tensor
) -> RecurrentState[Tensor]:
    """Return a state in which the batch rows that is_reset (B,) marks are those of `initial`."""
    # `where` and not a product with the mask: a state that has grown to infinity is forgotten, too.
    return state.map(lambda old, new: torch.where(is_reset[:, None], new, old), initial)


def pack(state: RecurrentState[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return a state as files and compiled code have it: (L, S, B, H), with a history (L, S + 1,
    B, H).

    The history begins the last vector of the first layer; the rest of the last vectors is 0.
    """
    # Numbers up to 2^24 are exact in float32, far more than an alphabet has.
    if state.history is None:
        return np.ascontiguousarray(state.vectors)
    num_layers, _, batch_size, size = state.vectors.shape
    last = np.zeros((num_layers, 1, batch_size, size), np.float32)
    last[0, 0, :, :HISTORY_LENGTH] = state.history
    return np.concatenate((state.vectors, last), axis=1)


def unpack(
    packed: NDArray[np.float32], *, has_history: bool
) -> RecurrentState[NDArray[np.float32]]:
    """Return the state that was packed."""
    if not has_history:
        return RecurrentState(packed)
    return RecurrentState(packed[:, :-1], packed[0, -1, :, :HISTORY_LENGTH].astype(np.int64))
