"""Ablation: how much the loss of a text rises while one cell is clamped.

Shapes: N characters, T, B and H as in `model.reading`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.bootstrap import percentiles
from charrnn.detectors.detector import Detector
from charrnn.detectors.labels import why_not_scored
from charrnn.microscope.statistics import draw_blocks
from charrnn.microscope.trace import score_following
from charrnn.model.layer import TORCH
from charrnn.model.network import CharRNN
from charrnn.model.ops import Ops
from charrnn.model.reading import read_in_lanes
from charrnn.records.microscope import Ablation, AblationEffect, Skipped
from charrnn.text.encoded import EncodedText

Float64Array = NDArray[np.float64]
WAYS = ("mean", "zero")
"""Values a cell can be clamped at: the mean of its values over the text, or zero."""


def ablate_text(
    network: CharRNN,
    text: EncodedText,
    detectors: list[Detector],
    *,
    layer: int,
    unit: int,
    at: str = "mean",
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> Ablation:
    """Measure how much the loss rises when one cell is clamped at its mean or at zero.

    The first character is not scored, because the character before it has no label. A detector with too few labels is
    skipped, with the reason. The text must have at least 2 characters and is read twice; `on_progress` is called with
    the number of characters read since its last call.
    """
    # Both readings use the cell's equations step by step, so that a cell without influence changes nothing at all.
    free, values = _read(network, text, layer, unit, TORCH, on_progress)
    value = float(values.mean()) if at == "mean" else 0.0
    memory = network.recurrent_layers()[layer].cell.memory(value)
    clamped, _ = _read(network, text, layer, unit, clamping(unit, memory), on_progress)
    changes = free - clamped
    change, ci = _mean_change(changes, np.ones(len(changes), bool))
    effects, skipped = [], []
    for detector in detectors:
        labels = detector.label_documents(text.text)
        inside = None if labels is None else labels[:-1] > 0
        reason = why_not_scored(inside, detector.absence)
        if reason is not None or inside is None:
            skipped.append(Skipped(detector=detector.name, reason=reason or ""))
            continue
        change_inside, ci_inside = _mean_change(changes, inside)
        change_outside, ci_outside = _mean_change(changes, ~inside)
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


def clamping(unit: int, memory: float) -> Ops[Tensor]:
    """Return `TORCH`, with the memory of one unit clamped at a value."""

    def clamp(memories: Tensor) -> Tensor:
        memories = memories.clone()
        memories[:, unit] = memory
        return memories

    return replace(TORCH, clamp=clamp)


@torch.inference_mode()
def _read(
    network: CharRNN,
    text: EncodedText,
    layer: int,
    unit: int,
    ops: Ops[Tensor],
    on_progress: Callable[[int], object],
) -> tuple[Float64Array, Float64Array]:
    """Return the log-probabilities (N - 1,) in nats of all characters but the first, and the cell's values (N,).

    The layer computes with `ops`.
    """
    ids, first = text.ids, text.first
    values, logprobs = np.empty(len(text)), np.empty(len(text))

    def step(inputs: Tensor, state: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        logits, cells, _, state = network.trace(inputs, state, {layer: ops})
        return (logits, cells[:, :, layer, unit]), state

    for positions, (logits, cell) in read_in_lanes(step, network.initial_state, ids, first):
        is_text = positions < len(ids)
        values[positions[is_text] - first] = cell.float().cpu().numpy()[is_text]
        following, scores = score_following(logits, ids, positions)
        logprobs[following - first] = scores
        on_progress(int(is_text.sum()))
    return logprobs[1:], values


def _mean_change(changes: Float64Array, where: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 % interval."""
    block, draws = draw_blocks(len(changes))
    totals, counts = (np.bincount(block, weights=parts, minlength=draws.shape[1]) for parts in (changes * where, where))
    num_drawn = draws @ counts
    # A resample may have drawn none of these characters.
    estimates = (draws @ totals)[num_drawn > 0] / num_drawn[num_drawn > 0]
    return float(totals.sum() / counts.sum()), percentiles(estimates)
