"""Ablation: how much the loss of a text rises while one cell is clamped.

Shapes: N characters, P parts of a text, T, B and H as in `model.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.records import Ablation, AblationEffect, Skipped
from charrnn.cells.statistics import draw_blocks
from charrnn.cells.trace import score_next, torch_ops
from charrnn.detectors.detector import Detector, why_not_scored
from charrnn.intervals import Float64Array, percentiles
from charrnn.lazy import Tensor, inference_mode, torch
from charrnn.model.annotations import CharRNN
from charrnn.model.cells import Ops
from charrnn.model.reading import MAX_LANES, lanes_of, read_parts
from charrnn.progress import task
from charrnn.text.vocab import EncodedText, IdArray

WAYS = ("mean", "zero")
"""Values a cell can be clamped at: the mean of its values over the text, or zero."""


def ablate_text(
    network: CharRNN, text: EncodedText, detectors: Sequence[Detector], *, layer: int, unit: int, at: str = "mean"
) -> Ablation:
    """Measure how much the loss rises when one cell is clamped at its mean or at zero.

    The first character is not scored, because the character before it has no label. A detector with too few labels is
    skipped, with the reason. The text must have at least 2 characters and is read twice.
    """
    ((value, changes),) = ablate_cells(network, text.ids, [text.first], len(text), [(layer, unit)], at)
    return Ablation(layer=layer, unit=unit, at=at, value=value, **summarize(changes, text, detectors))


def summarize(changes: Float64Array, text: EncodedText, detectors: Sequence[Detector]) -> dict[str, Any]:
    """Return the fields of an `Ablation` that summarize the changes (N - 1,) of the loss of a text."""
    change, ci = mean_change(changes, np.ones(len(changes), bool))
    effects, skipped = effects_of(changes, text, detectors)
    of_detectors = {"effects": tuple(effects), "skipped": tuple(skipped)}
    return {"change": change, "ci": ci, "num_chars": len(changes), **of_detectors}


def ablate_cells(
    network: CharRNN,
    ids: IdArray,
    begins: Sequence[int],
    num_chars: int,
    cells: Sequence[tuple[int, int]],
    at: str = "mean",
) -> list[tuple[float, Float64Array]]:
    """Clamp a cell (layer, unit) in each part of ids (N,), of `num_chars` characters from `begins` (P,) on.

    Returns for each the value that it is clamped at, and by how many nats its clamping raises the loss of each
    character but the first (num_chars - 1,). Several parts are read at once, each of them twice.
    """
    num_lanes = lanes_of(num_chars)
    num_together = max(1, MAX_LANES // num_lanes)
    found: list[tuple[float, Float64Array]] = []
    with task("ablating", 2 * len(begins) * num_chars) as advance:
        for first in range(0, len(begins), num_together):
            here = cells[first : first + num_together]
            starts = np.array(begins[first : first + num_together])
            # Both readings use the cell's equations step by step, so that a cell without influence changes nothing.
            ops = {layer: torch_ops() for layer, _ in here}
            free, moments = score_parts(network, ids, starts, num_chars, ops, advance)
            values = [
                float(means[cell]) if at == "mean" else 0.0 for means, cell in zip(moments.means, here, strict=True)
            ]
            for layer in ops:
                memory = network.recurrent_layers()[layer].cell.memory
                clamped = [(part, unit) for part, (at_layer, unit) in enumerate(here) if at_layer == layer]
                rows = [part * num_lanes + lane for part, _ in clamped for lane in range(num_lanes)]
                units = [unit for _, unit in clamped for _ in range(num_lanes)]
                memories = [memory(values[part]) for part, _ in clamped for _ in range(num_lanes)]
                ops[layer] = clamping_rows(rows, units, memories, len(here) * num_lanes)
            held, _ = score_parts(network, ids, starts, num_chars, ops, advance)
            found += zip(values, free - held, strict=True)
    return found


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


def replacing(units: Sequence[int], values: Callable[[Tensor], Tensor | float]) -> Ops[Tensor]:
    """Return the functions of torch, with the memories (B, H) of some units replaced by `values` of all, (B, k)."""

    def clamp(memories: Tensor) -> Tensor:
        memories, found = memories.clone(), values(memories)
        memories[:, units] = found
        return memories

    return replace(torch_ops(), clamp=clamp)


def clamping_rows(rows: Sequence[int], units: Sequence[int], memories: Sequence[float], batch_size: int) -> Ops[Tensor]:
    """Return the functions of torch, with the memory of one unit clamped at a value in each of some batch rows."""
    values = torch.tensor(memories)

    def clamp(found: Tensor) -> Tensor:
        found = found.clone(memory_format=torch.contiguous_format)
        # A dilated layer folds several steps into the batch: the row of the batch varies fastest.
        found.view(-1, batch_size, found.shape[-1])[:, rows, units] = values.to(found)
        return found

    return replace(torch_ops(), clamp=clamp)


@dataclass(frozen=True, slots=True)
class CellMoments:
    """Mean and standard deviation (L, H) of each cell over a text, or (P, L, H) over each of its parts."""

    means: Float64Array
    deviations: Float64Array


def score_with(
    network: CharRNN, text: EncodedText, ops: Mapping[int, Ops[Tensor]], advance: Callable[[int], object]
) -> tuple[Float64Array, CellMoments]:
    """Return the log-probabilities (N - 1,) in nats of all characters but the first, and the moments of all cells.

    The layers of `ops` compute with these. `advance` is called with the number of characters read since its last call.
    """
    scores, moments = score_parts(network, text.ids, np.array([text.first]), len(text), ops, advance)
    return scores[0], CellMoments(moments.means[0], moments.deviations[0])


@inference_mode
def score_parts(
    network: CharRNN,
    ids: IdArray,
    begins: NDArray[np.int64],
    num_chars: int,
    ops: Mapping[int, Ops[Tensor]],
    advance: Callable[[int], object],
) -> tuple[Float64Array, CellMoments]:
    """Score parts of ids (N,), of `num_chars` characters from `begins` (P,) on, as `score_with`: (P, num_chars - 1)."""
    num_parts = len(begins)
    first_of_row = np.repeat(begins, lanes_of(num_chars))
    part_of_row = np.repeat(np.arange(num_parts), lanes_of(num_chars))
    logprobs = np.empty((num_parts, num_chars))
    sums = np.zeros((2, num_parts, len(network.recurrent_layers()), network.hidden_size))

    step = partial(network.trace, ops=ops)
    for positions, (logits, cells, _) in read_parts(step, network.initial_state, ids, begins, num_chars):
        indices = positions - first_of_row
        is_part, has_next = indices < num_chars, indices < num_chars - 1
        values = cells.float().cpu().numpy().astype(np.float64)
        values[~is_part] = 0
        values = values.reshape(len(values), num_parts, -1, *values.shape[2:])
        sums += values.sum(axis=(0, 2)), (values**2).sum(axis=(0, 2))
        parts = np.broadcast_to(part_of_row, indices.shape)
        logprobs[parts[has_next], indices[has_next] + 1] = score_next(logits, ids, positions)[has_next]
        advance(int(is_part.sum()))
    means, squares = sums / num_chars
    return logprobs[:, 1:], CellMoments(means, np.sqrt(np.maximum(squares - means**2, 0)))


def mean_change(changes: Float64Array, where: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 % interval."""
    block, draws = draw_blocks(len(changes))
    totals, counts = (np.bincount(block, weights=parts, minlength=draws.shape[1]) for parts in (changes * where, where))
    num_drawn = draws @ counts
    # A resample may have drawn none of these characters.
    estimates = (draws @ totals)[num_drawn > 0] / num_drawn[num_drawn > 0]
    return float(totals.sum() / counts.sum()), percentiles(estimates)
