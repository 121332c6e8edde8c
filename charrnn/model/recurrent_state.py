"""The recurrent state, which a model passes from one character to the next.

Shapes: B batch, H hidden, L layers, S state vectors per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from charrnn.model.cell_types import Array
from charrnn.system.lazy import Tensor, torch


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentState:
    """The state of B texts, as an array of torch or NumPy. Networks take it and return a new
    one."""

    vectors: Array
    """(L, S, B, H): the state vectors of the cells, then the last outputs of `Depth.span`."""

    def map(self, function: Callable[..., Array], *others: RecurrentState) -> RecurrentState:
        """Apply a function to the vectors of this state and of `others`.

        The axis -2 is that of the batch rows:

            state.map(partial(np.take, indices=rows, axis=-2))
        """
        return RecurrentState(function(self.vectors, *(other.vectors for other in others)))

    @property
    def device(self) -> Any:
        """The device of a tensor of torch."""
        return self.vectors.device


def reset_rows(state: RecurrentState, initial: RecurrentState, is_reset: Tensor) -> RecurrentState:
    """Return a state with the batch rows that is_reset (B,) marks replaced by those of
    `initial`."""
    # `where` is used instead of a product with the mask, which would not reset infinite states.
    return state.map(lambda old, new: torch.where(is_reset[:, None], new, old), initial)
