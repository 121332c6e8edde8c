"""Ablation: how much the loss of a text rises while one cell, or a direction over several, is clamped.

Shapes: N characters, T, B and H as in `model.reading`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.cells.directions import DirectionAblation, DirectionContribution
from charrnn.cells.records import Ablation, AblationEffect, Skipped
from charrnn.cells.statistics import LEAST_SPREAD, draw_blocks
from charrnn.cells.trace import score_following
from charrnn.detectors.registry import Detector, why_not_scored
from charrnn.intervals import percentiles
from charrnn.model.cells import Cell, Ops
from charrnn.model.clamping import ClampedSum, Direction, sum_at_means
from charrnn.model.layer import TORCH
from charrnn.model.network import CharRNN
from charrnn.model.reading import read_in_lanes
from charrnn.text.encoded import EncodedText

Float64Array = NDArray[np.float64]
WAYS = ("mean", "zero")
"""Values a cell can be clamped at: the mean of its values over the text, or zero."""
NUM_RANDOM = 3
"""Random directions that are ablated beside a direction."""


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
    free, moments = _read(network, text, {layer: TORCH}, on_progress)
    value = float(moments.means[layer, unit]) if at == "mean" else 0.0
    memory = network.recurrent_layers()[layer].cell.memory(value)
    clamped, _ = _read(network, text, {layer: clamping(unit, memory)}, on_progress)
    changes = free - clamped
    change, ci = _mean_change(changes, np.ones(len(changes), bool))
    effects, skipped = _effects(changes, text, detectors)
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


def ablate_direction(
    network: CharRNN,
    text: EncodedText,
    detectors: list[Detector],
    direction: Direction,
    *,
    num_random: int = NUM_RANDOM,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> DirectionContribution:
    """Measure how much the loss rises when a direction, its best cell, or a random direction is clamped at its mean.

    The mean is that over `text`. Of a direction over cells of several layers, the part in each layer is clamped at its
    mean. The text must have at least 2 characters and is read `num_readings` times; see `ablate_text`.
    """
    layers = direction.layers
    free, moments = _read(network, text, dict.fromkeys(layers, TORCH), on_progress)
    generator = np.random.default_rng(0)
    best = replace(
        direction,
        **{name: getattr(direction, name)[:1] for name in ("cells", "weights", "means", "deviations")},
        is_all=False,
    )
    skipped: list[Skipped] = []

    def ablate(one: Direction) -> DirectionAblation:
        clamps: dict[int, Ops[Tensor]] = dict.fromkeys(layers, TORCH)
        for layer in one.layers:
            cell = network.recurrent_layers()[layer].cell
            clamps[layer] = _clamping_sum(cell, sum_at_means(one, layer, moments.means[layer]))
        changes = free - _read(network, text, clamps, on_progress)[0]
        change, ci = _mean_change(changes, np.ones(len(changes), bool))
        effects, skipped[:] = _effects(changes, text, detectors)
        return DirectionAblation(cells=one.cells, change=change, ci=ci, num_chars=len(changes), effects=tuple(effects))

    return DirectionContribution(
        direction=direction,
        ablation=ablate(direction),
        best_cell=ablate(best),
        random=tuple(ablate(_random_direction(direction, moments, generator)) for _ in range(num_random)),
        skipped=tuple(skipped),
    )


def num_readings(num_random: int = NUM_RANDOM) -> int:
    """Return how often `ablate_direction` reads its text."""
    return 3 + num_random


def _random_direction(direction: Direction, moments: "_Moments", generator: np.random.Generator) -> Direction:
    """Draw as many cells of each layer as a direction has, and their weights per standard deviation.

    Cells that hardly move are not drawn: clamping them would change nothing.
    """
    cells: list[tuple[int, int]] = []
    for layer in direction.layers:
        num_cells = sum(at == layer for at, _ in direction.cells)
        moving = np.flatnonzero(moments.deviations[layer] > LEAST_SPREAD)
        drawn = generator.choice(moving, min(num_cells, len(moving)), replace=False)
        cells += [(layer, int(unit)) for unit in drawn]
    deviations = [float(moments.deviations[cell]) for cell in cells]
    return replace(
        direction,
        cells=tuple(cells),
        weights=tuple(float(generator.normal()) / deviation for deviation in deviations),
        means=tuple(float(moments.means[cell]) for cell in cells),
        deviations=tuple(deviations),
    )


def _effects(
    changes: Float64Array, text: EncodedText, detectors: list[Detector]
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
    return effects, skipped


def clamping(unit: int, memory: float) -> Ops[Tensor]:
    """Return `TORCH`, with the memory of one unit clamped at a value."""

    def clamp(memories: Tensor) -> Tensor:
        memories = memories.clone()
        memories[:, unit] = memory
        return memories

    return replace(TORCH, clamp=clamp)


def _clamping_sum(cell: type[Cell], clamped: ClampedSum) -> Ops[Tensor]:
    """`TORCH`, with a weighted sum of cell values clamped."""
    units = list(clamped.units)

    def clamp(memories: Tensor) -> Tensor:
        memories = memories.clone()
        moved = clamped.apply(cell, memories[:, units].cpu().numpy())
        memories[:, units] = torch.from_numpy(moved).to(memories)
        return memories

    return replace(TORCH, clamp=clamp)


@dataclass(frozen=True, slots=True)
class _Moments:
    """Mean and standard deviation (L, H) of each cell over a text."""

    means: Float64Array
    deviations: Float64Array


@torch.inference_mode()
def _read(
    network: CharRNN, text: EncodedText, ops: Mapping[int, Ops[Tensor]], on_progress: Callable[[int], object]
) -> tuple[Float64Array, _Moments]:
    """Return the log-probabilities (N - 1,) in nats of all characters but the first, and the moments of all cells.

    The layers of `ops` compute with these.
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
        on_progress(int(is_text.sum()))
    means, squares = sums / len(text)
    return logprobs[1:], _Moments(means, np.sqrt(np.maximum(squares - means**2, 0)))


def _mean_change(changes: Float64Array, where: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 % interval."""
    block, draws = draw_blocks(len(changes))
    totals, counts = (np.bincount(block, weights=parts, minlength=draws.shape[1]) for parts in (changes * where, where))
    num_drawn = draws @ counts
    # A resample may have drawn none of these characters.
    estimates = (draws @ totals)[num_drawn > 0] / num_drawn[num_drawn > 0]
    return float(totals.sum() / counts.sum()), percentiles(estimates)
