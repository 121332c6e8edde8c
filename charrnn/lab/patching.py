"""Patching: give cells the values they have after one passage at the end of another one, and see what changes.

An interchange intervention (Geiger et al. 2021), or activation patching (Vig et al. 2020), of single cells.

Shapes: N characters of a passage, V, L, S and H as in `model.network`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.lab.cell_effects_records import Patch, PatchedCell, PatchedCharacter, PatchedLoss, PatchedPassage
from charrnn.model.cells import Ops
from charrnn.model.layer import TORCH
from charrnn.model.network import CharRNN
from charrnn.text.vocab import IdArray

CHARS_READ = 1_024
"""Characters of a passage in a text that are read, at most: twice what warms up a state elsewhere."""
CHARS_SHOWN = 60
"""Characters of a passage that are kept, its last ones."""
NUM_FOLLOWING = 64
"""Characters after the target passage whose losses are measured, and characters of a continuation."""
NUM_CHARACTERS = 8
"""Next characters that are reported."""


@dataclass(frozen=True, kw_only=True)
class PassageIds:
    """A passage as a model reads it, the characters that follow it, and its place in the text, if it is in one."""

    ids: IdArray
    """(N,): at least one; the last one is the position that is patched, or that the values are taken from."""
    following: IdArray
    """(F,): none for a passage that is in no text."""
    shown: PatchedPassage

    @classmethod
    def in_text(cls, ids: IdArray, position: int, index: int, text: str) -> "PassageIds":
        """Cut the passage that ends at `position` of ids, which is character `index` of a text."""
        begin = max(0, position + 1 - CHARS_READ)
        return cls(
            ids=ids[begin : position + 1],
            following=ids[position + 1 : position + 1 + NUM_FOLLOWING],
            shown=PatchedPassage(text=text[max(0, index + 1 - CHARS_SHOWN) : index + 1], position=index),
        )


@torch.inference_mode()
def patch_cells(
    network: CharRNN,
    cells: Sequence[tuple[int, int]],
    source: PassageIds,
    target: PassageIds,
    *,
    character: Callable[[int], str],
    decode: Callable[[Sequence[int]], str],
    excluded: Sequence[int] = (),
) -> Patch:
    """Put the memories that cells (layer, unit) have after the source passage into the end of the target passage.

    What is set is what a clamp sets (`ops.clamp`): c where there is one, else h. An LSTM's h = o * tanh(c) is then
    computed with the target's own output gate. Both passages are read from the initial state, one character after the
    other. Patching a passage with itself changes nothing, exactly. `character` names an id, `decode` those of a text;
    ids in `excluded` are not written in a continuation.
    """
    layers = sorted({layer for layer, _ in cells})
    units = {layer: [unit for at, unit in cells if at == layer] for layer in layers}
    memories: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    taken = _read(network, source.ids, {layer: _recording(memories[layer]) for layer in layers})
    free = _read(network, target.ids, dict.fromkeys(layers, TORCH))
    patched = _read(network, target.ids, {layer: _replacing(units[layer], memories[layer]) for layer in layers})
    before, after = (one.logits.double().log_softmax(-1) for one in (free, patched))
    changes = (after.exp() - before.exp()).abs()
    most = changes.argsort(descending=True, stable=True)[:NUM_CHARACTERS].tolist()
    losses_before, losses_after = (_losses(network, one, target.following) for one in (free, patched))
    return Patch(
        cells=tuple(
            PatchedCell(
                layer=layer,
                unit=unit,
                source=float(taken.values[layer, unit]),
                target=float(free.values[layer, unit]),
            )
            for layer, unit in cells
        ),
        source=source.shown,
        target=target.shown,
        divergence=float((before.exp() * (before - after)).sum()),
        characters=tuple(
            PatchedCharacter(character=character(id), before=float(before[id].exp()), after=float(after[id].exp()))
            for id in most
        ),
        following=tuple(
            PatchedLoss(character=character(int(id)), before=one, after=other)
            for id, one, other in zip(target.following, losses_before, losses_after, strict=True)
        ),
        continuation_before=decode(_continue(network, free, excluded)),
        continuation_after=decode(_continue(network, patched, excluded)),
    )


@dataclass(frozen=True)
class _Reading:
    """What a network has after a passage: logits (V,), cell values (L, H) and state (L, S, 1, H)."""

    logits: Tensor
    values: Tensor
    state: Tensor


def _read(network: CharRNN, ids: IdArray, ops: Mapping[int, Ops[Tensor]]) -> _Reading:
    """Read ids (N,); of the last one, the layers in `ops` compute with these functions."""
    chars, state = torch.from_numpy(ids.astype(np.int64))[:, None], network.initial_state(1)
    if len(chars) > 1:
        _, state = network(chars[:-1], state)
    logits, values, _, state = network.trace(chars[-1:], state, ops)
    return _Reading(logits[0, 0], values[0, 0], state)


def _recording(memories: list[Tensor]) -> Ops[Tensor]:
    """Return `TORCH`, with every memory (1, H) that passes `clamp` kept: with zoneout, two per character."""

    def clamp(memory: Tensor) -> Tensor:
        memories.append(memory)
        return memory

    return replace(TORCH, clamp=clamp)


def _replacing(units: Sequence[int], memories: Sequence[Tensor]) -> Ops[Tensor]:
    """Return `TORCH`, with some units of each memory (1, H) replaced by those of `memories`, in the same order."""
    remaining = iter(memories)

    def clamp(memory: Tensor) -> Tensor:
        memory = memory.clone()
        memory[:, units] = next(remaining)[:, units]
        return memory

    return replace(TORCH, clamp=clamp)


def _losses(network: CharRNN, reading: _Reading, following: IdArray) -> list[float]:
    """Compute the losses (F,) in nats of the characters that follow."""
    if len(following) == 0:
        return []
    chars = torch.from_numpy(following.astype(np.int64))
    logits = reading.logits[None]
    if len(chars) > 1:
        rest, _ = network(chars[:-1, None], reading.state)
        logits = torch.cat((logits, rest[:, 0]))
    losses: list[float] = (-logits.double().log_softmax(-1).gather(1, chars[:, None])[:, 0]).tolist()
    return losses


def _continue(network: CharRNN, reading: _Reading, excluded: Sequence[int]) -> list[int]:
    """Take the most likely character NUM_FOLLOWING times, up to and without an END."""
    written: list[int] = []
    logits, state = reading.logits, reading.state
    while len(written) < NUM_FOLLOWING:
        logits = logits.clone()
        logits[list(excluded)] = -torch.inf
        char = int(logits.argmax())
        if char == network.end_id:
            break
        written.append(char)
        following, state = network(torch.tensor([[char]]), state)
        logits = following[0, 0]
    return written


def extreme_positions(values: NDArray[np.float32]) -> tuple[int, int]:
    """Return where a cell's values (N,) are highest and lowest, the first of equal ones; the last has to be predicted.

    The last character is left out where there are others, because nothing follows it.
    """
    inner = values[: max(1, len(values) - 1)]
    return int(inner.argmax()), int(inner.argmin())
