"""Ablation: how much the loss of a text rises while one cell is clamped.

Shapes: N characters, T, B and H as in `model.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import Ablation, AblationEffect, Skipped
from charrnn.cells.statistics import draw_blocks
from charrnn.cells.trace import score_following, torch_ops
from charrnn.detectors.detector import Detector, why_not_scored
from charrnn.intervals import percentiles
from charrnn.lazy import inference_mode
from charrnn.model.reading import read_in_lanes
from charrnn.progress import task
from charrnn.text.encoded import EncodedText

if TYPE_CHECKING:
    from torch import Tensor

    from charrnn.model.cells import Ops
    from charrnn.model.network import CharRNN

Float64Array = NDArray[np.float64]
WAYS = ("mean", "zero")
"""Values a cell can be clamped at: the mean of its values over the text, or zero."""


def ablate_text(
    network: CharRNN, text: EncodedText, detectors: Sequence[Detector], *, layer: int, unit: int, at: str = "mean"
) -> Ablation:
    """Measure how much the loss rises when one cell is clamped at its mean or at zero.

    The first character is not scored, because the character before it has no label. A detector with too few labels is
    skipped, with the reason. The text must have at least 2 characters and is read twice.
    """
    # Both readings use the cell's equations step by step, so that a cell without influence changes nothing at all.
    with task("ablating", 2 * len(text)) as advance:
        free, moments = score_with(network, text, {layer: torch_ops()}, advance)
        value = float(moments.means[layer, unit]) if at == "mean" else 0.0
        memory = network.recurrent_layers()[layer].cell.memory(value)
        clamped, _ = score_with(network, text, {layer: clamping(unit, memory)}, advance)
    changes = free - clamped
    change, ci = mean_change(changes, np.ones(len(changes), bool))
    effects, skipped = effects_of(changes, text, detectors)
    return Ablation(
        layer=layer,
        unit=unit,
        at=at,
        value=value,
        change=change,
        ci=ci,
        num_chars=len(changes),
        effects=tuple(effects),
        skipped=tuple(skipped),
    )


def effects_of(
    changes: Float64Array, text: EncodedText, detectors: Sequence[Detector]
) -> tuple[list[AblationEffect], list[Skipped]]:
    """Average changes (N - 1,) inside and outside the spans of each detector; the others are skipped, with reasons."""
    effects, skipped = [], []
    for detector in detectors:
        labels = detector.label_documents(text.text)
        inside = None if labels is None else labels[:-1] > 0
        reason = why_not_scored(inside, detector.absence)
        if reason is not None or inside is None:
            skipped.append(Skipped(detector=detector.name, reason=reason or ""))
            continue
        change_inside, ci_inside = mean_change(changes, inside)
        change_outside, ci_outside = mean_change(changes, ~inside)
        effects.append(
            AblationEffect(
                detector=detector.name,
                change_inside=change_inside,
                ci_inside=ci_inside,
                change_outside=change_outside,
                ci_outside=ci_outside,
                num_inside=int(inside.sum()),
                is_count=labels is not None and labels.dtype != bool,
            )
        )
    return effects, skipped


def clamping(unit: int, memory: float) -> Ops[Tensor]:
    """Return the functions of torch, with the memory of one unit clamped at a value."""
    return replacing([unit], lambda memories: memory)


def replacing(units: Sequence[int], values: Callable[[Tensor], Tensor | float]) -> Ops[Tensor]:
    """Return the functions of torch, with the memories (B, H) of some units replaced by `values` of all, (B, k)."""

    def clamp(memories: Tensor) -> Tensor:
        memories, found = memories.clone(), values(memories)
        memories[:, units] = found
        return memories

    return replace(torch_ops(), clamp=clamp)


@dataclass(frozen=True, slots=True)
class CellMoments:
    """Mean and standard deviation (L, H) of each cell over a text."""

    means: Float64Array
    deviations: Float64Array


@inference_mode
def score_with(
    network: CharRNN, text: EncodedText, ops: Mapping[int, Ops[Tensor]], advance: Callable[[int], object]
) -> tuple[Float64Array, CellMoments]:
    """Return the log-probabilities (N - 1,) in nats of all characters but the first, and the moments of all cells.

    The layers of `ops` compute with these. `advance` is called with the number of characters read since its last call.
    """
    ids, first = text.ids, text.first
    logprobs = np.empty(len(text))
    sums = np.zeros((2, len(network.recurrent_layers()), network.hidden_size))

    def step(inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        logits, cells, _, state = network.trace(inputs, state, dict(ops))
        return (logits, cells), state

    for positions, (logits, cells) in read_in_lanes(step, network.initial_state, ids, first):
        is_text = positions < len(ids)
        values = cells.float().cpu().numpy()[is_text].astype(np.float64)
        sums += values.sum(axis=0), (values**2).sum(axis=0)
        following, scores = score_following(logits, ids, positions)
        logprobs[following - first] = scores
        advance(int(is_text.sum()))
    means, squares = sums / len(text)
    return logprobs[1:], CellMoments(means, np.sqrt(np.maximum(squares - means**2, 0)))


def mean_change(changes: Float64Array, where: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 % interval."""
    block, draws = draw_blocks(len(changes))
    totals, counts = (np.bincount(block, weights=parts, minlength=draws.shape[1]) for parts in (changes * where, where))
    num_drawn = draws @ counts
    # A resample may have drawn none of these characters.
    estimates = (draws @ totals)[num_drawn > 0] / num_drawn[num_drawn > 0]
    return float(totals.sum() / counts.sum()), percentiles(estimates)
