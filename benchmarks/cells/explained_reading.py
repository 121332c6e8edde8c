"""Read a text while memories of units are changed after every character, for
a_network_explained.py.

Shapes: N characters, H units, C conditions, S segments.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.cells.trace import torch_ops
from charrnn.model.cell_types import Ops
from charrnn.model.interventions import record
from charrnn.model.reading import read_in_lanes

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Change = Callable[[Ints, torch.Tensor], torch.Tensor]
"""Maps the positions (S,) and the memories (C, S, H) after a character to changed memories."""
WINDOW = 32
"""Characters of each segment that are read at once."""


class Reader:
    """Reads segments of a text while memories are changed after every character."""

    def __init__(self, model: Model, ids: Ints, first: int) -> None:
        self.network = model.network
        self.ids = ids
        self.first = first

    def memories(self) -> Floats:
        """Return the memory of every unit after every character of the text, (N, H)."""
        kept: list[torch.Tensor] = []
        ops = {0: record(torch_ops(), "clamp", keep=lambda _, memory: kept.append(memory.clone()))}
        memories = np.zeros((len(self.ids) - self.first, self.network.hidden_size), np.float32)
        with torch.inference_mode():

            def step(window: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
                kept.clear()
                _, state = self.network(window, state, ops=ops)
                return torch.stack(kept), state

            for positions, window in read_in_lanes(
                step, self.network.initial_state, ids=self.ids, first=self.first
            ):
                is_text = positions < len(self.ids)
                memories[positions[is_text] - self.first] = window.numpy()[is_text]
        return memories

    def traced(self) -> tuple[Floats, Floats]:
        """Return what each unit holds after every character (N, H), tanh(c) of an lstm and h of
        other cells, and its output h (N, H)."""
        held = np.zeros((len(self.ids) - self.first, self.network.hidden_size), np.float32)
        outputs = np.zeros_like(held)
        with torch.inference_mode():
            for positions, (_, cells, hidden) in read_in_lanes(
                self.network.trace, self.network.initial_state, ids=self.ids, first=self.first
            ):
                is_text = positions < len(self.ids)
                held[positions[is_text] - self.first] = cells[:, :, 0].numpy()[is_text]
                outputs[positions[is_text] - self.first] = hidden[:, :, 0].numpy()[is_text]
        return held, outputs

    def losses(
        self,
        begins: Ints,
        change: Change | None = None,
        *,
        num_conditions: int = 1,
        length: int,
        warm_up: int,
    ) -> Floats:
        """Return the loss in nats of each next character of segments, (C, S, length), after
        `warm_up` characters that are read with the same change."""
        positions = begins[None] + np.arange(-warm_up, length)[:, None]
        ids = torch.from_numpy(self.ids[self.first + np.append(positions, positions[-1:] + 1, 0)])
        num_rows = num_conditions * len(begins)
        state = self.network.initial_state(num_rows)
        losses = np.zeros((length, num_conditions, len(begins)))
        with torch.inference_mode():
            for first in range(0, len(positions), WINDOW):
                window = positions[first : first + WINDOW]
                ops = None
                if change is not None:
                    ops = {0: _changed(change, iter(window), num_conditions)}
                chars = ids[first : first + len(window)].repeat(1, num_conditions)
                logits, state = self.network(chars, state, ops=ops)
                if first < warm_up:
                    continue
                following = ids[first + 1 : first + len(window) + 1].repeat(1, num_conditions)
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), following.flatten(), reduction="none"
                )
                shape = (len(window), num_conditions, len(begins))
                losses[first - warm_up :][: len(window)] = loss.view(shape).numpy()
        return losses.transpose(1, 2, 0)


def _changed(change: Change, positions: Iterator[Ints], num_conditions: int) -> Ops[torch.Tensor]:
    """Return the functions of a layer that change the memories at the next positions."""

    def clamp(memory: torch.Tensor) -> torch.Tensor:
        here = next(positions)
        shaped = memory.view(num_conditions, len(here), -1)
        return change(here, shaped).reshape(memory.shape)

    return replace(torch_ops(), clamp=clamp)


def replace_all(first: Floats, second: Floats, takes_second: Floats) -> Change:
    """Set every memory to `first` (N, H) or, where `takes_second` (C, H), to `second` (N, H)."""
    tables = torch.from_numpy(np.stack((first, second)).astype(np.float32))
    taken = torch.from_numpy(takes_second)[:, None]

    def change(here: Ints, memory: torch.Tensor) -> torch.Tensor:
        return torch.where(taken, tables[1, here], tables[0, here])

    return change


def replace_some(table: Floats, is_replaced: Floats, where: Floats | None = None) -> Change:
    """Set the memories that `is_replaced` (C, H) marks to those of a table (N, H); in condition c
    only at the characters where `where` (C, N) is true."""
    source = torch.from_numpy(table.astype(np.float32))
    marked = torch.from_numpy(is_replaced)[:, None]

    def change(here: Ints, memory: torch.Tensor) -> torch.Tensor:
        chosen = marked
        if where is not None:
            chosen = marked & torch.from_numpy(where[:, here])[..., None]
        return torch.where(chosen, source[here], memory)

    return change
