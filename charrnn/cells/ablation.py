"""How much the loss of a text rises while a cell is clamped.

Shapes: N characters, P parts of a text, B batch rows, L layers, H units per layer, k clamped units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.findings import Ablation, AblationEffect, Skipped
from charrnn.cells.trace import score_next, torch_ops
from charrnn.detectors.detector import Labelling, why_not_scored
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.model.reading import MAX_LANES, lanes_of, read_parts
from charrnn.statistics.intervals import Float64Array, draw_blocks, percentiles
from charrnn.system.lazy import Tensor, inference_mode, torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText, IdArray

WAYS = ("mean", "zero")
"""Values a cell can be clamped at: the mean of its values over the text, or zero."""


def ablate_text(
    network: CharRNN,
    text: EncodedText,
    labellings: Sequence[Labelling],
    *,
    layer: int,
    unit: int,
    at: str = "mean",
) -> Ablation:
    """Measure how much the loss rises when one cell is clamped at its mean or at zero.

    `labellings` are those of the text. The first character is not scored, because the character
    before it has no label. A detector with too few labels is skipped, with the reason. The text
    must have at least 2 characters and is read twice.
    """
    # A text is the one part of itself.
    cells = [(layer, unit)]
    ((value, changes),) = ablate_cells(
        network, ids=text.ids, begins=[text.first], num_chars=len(text), cells=cells, at=at
    )
    effects = summarize(changes, labellings)
    return Ablation(layer=layer, unit=unit, at=at, value=value, **effects._asdict())


def ablate_cells(
    network: CharRNN,
    ids: IdArray,
    *,
    begins: Sequence[int],
    num_chars: int,
    cells: Sequence[tuple[int, int]],
    at: str = "mean",
) -> list[tuple[float, Float64Array]]:
    """Clamp a cell (layer, unit) in each part of ids (N,), of `num_chars` characters from `begins`
    (P,) on.

    Returns for each the value that it is clamped at, and by how many nats its clamping raises the
    loss of each character but the first (num_chars - 1,). Several parts are read at once, each of
    them twice.
    """
    # As many parts as fit into a batch. With documents, the rows of the batch are pieces of them,
    # not lanes, so that a part has no rows of its own.
    num_together = 1
    if network.end_id is None:
        num_together = max(1, MAX_LANES // lanes_of(num_chars))

    found: list[tuple[float, Float64Array]] = []
    with task("ablating", 2 * len(begins) * num_chars) as advance:
        for first in range(0, len(begins), num_together):
            here = cells[first : first + num_together]
            score = partial(
                score_parts,
                network,
                ids,
                begins=np.array(begins[first : first + num_together]),
                num_chars=num_chars,
                advance=advance,
            )

            # First reading: the loss and the mean of each cell. Like the second it uses the cell's
            # equations step by step, so that a cell without influence changes nothing.
            free, means = score(dict.fromkeys([layer for layer, _ in here], torch_ops()))

            # Second reading: the loss with the cells clamped.
            values = [0.0] * len(here)
            if at == "mean":
                for part, (layer, unit) in enumerate(here):
                    values[part] = float(means[part, layer, unit])
            clamping = _clamping(network, cells=here, values=values, num_lanes=lanes_of(num_chars))
            clamped, _ = score(clamping)
            found += zip(values, free - clamped, strict=True)
    return found


def _clamping(
    network: CharRNN, cells: Sequence[tuple[int, int]], *, values: Sequence[float], num_lanes: int
) -> dict[int, Ops[Tensor]]:
    """Return by layer the functions of torch with the cell of each part (P,) clamped at its value,
    in the rows of the batch that read the part."""
    ops = {}
    for layer in {layer for layer, _ in cells}:
        # A value is shown as tanh of a memory, for instance; what is clamped is the memory.
        memory = network.recurrent_layers()[layer].cell.memory
        rows: list[int] = []
        units: list[int] = []
        memories: list[float] = []
        for part, (of_part, unit) in enumerate(cells):
            if of_part == layer:
                for lane in range(num_lanes):
                    rows.append(part * num_lanes + lane)
                    units.append(unit)
                    memories.append(memory(values[part]))

        # A single cell is clamped in all rows: they may be pieces of documents.
        new = torch.tensor(memories)
        if len(cells) == 1:
            ops[layer] = replacing(units[:1], new[:1].to)
        else:
            ops[layer] = replacing_in_rows(
                rows, units=units, values=new, batch_size=len(cells) * num_lanes
            )
    return ops


def replacing(units: Sequence[int], values: Callable[[Tensor], Tensor | float]) -> Ops[Tensor]:
    """Return the functions of torch, with the memories (B, H) of some units replaced by `values` of
    all, (B, k) or (k,)."""

    def clamp(memories: Tensor) -> Tensor:
        # Not in place: the memories may be a view of what the cell still needs.
        new = memories.clone(memory_format=torch.contiguous_format)
        new[:, units] = values(memories)
        return new

    return replace(torch_ops(), clamp=clamp)


def replacing_in_rows(
    rows: Sequence[int], units: Sequence[int], *, values: Tensor, batch_size: int
) -> Ops[Tensor]:
    """Return the functions of torch, with the memory of one unit replaced in each of some rows of
    the batch: by `values` (k,)."""

    def clamp(memories: Tensor) -> Tensor:
        new = memories.clone(memory_format=torch.contiguous_format)
        # A dilated layer folds several steps into the batch: the row of the batch varies fastest.
        folded = new.view(-1, batch_size, new.shape[-1])
        folded[:, rows, units] = values.to(new)
        return new

    return replace(torch_ops(), clamp=clamp)


def score_with(
    network: CharRNN,
    text: EncodedText,
    ops: Mapping[int, Ops[Tensor]],
    advance: Callable[[int], object],
) -> tuple[Float64Array, Float64Array]:
    """Return the log-probabilities (N - 1,) in nats of all characters but the first, and the mean
    (L, H) of each cell over the text.

    The layers of `ops` compute with these. `advance` is called with the number of characters read
    since its last call.
    """
    scores, means = score_parts(
        network,
        ids=text.ids,
        ops=ops,
        begins=np.array([text.first]),
        num_chars=len(text),
        advance=advance,
    )
    return scores[0], means[0]


@inference_mode
def score_parts(
    network: CharRNN,
    ids: IdArray,
    ops: Mapping[int, Ops[Tensor]],
    *,
    begins: NDArray[np.int64],
    num_chars: int,
    advance: Callable[[int], object],
) -> tuple[Float64Array, Float64Array]:
    """Return the log-probabilities (P, num_chars - 1) in nats of all characters but the first of
    parts of ids (N,), from `begins` (P,) on, and the mean (P, L, H) of each cell over them.

    The layers of `ops` compute with these.
    """
    # A part is read in several lanes, each of which is a row of the batch.
    num_parts = len(begins)
    num_lanes = lanes_of(num_chars)
    first_of_row = np.repeat(begins, num_lanes)
    part_of_row = np.repeat(np.arange(num_parts), num_lanes)
    logprobs = np.empty((num_parts, num_chars))
    sums = np.zeros((num_parts, len(network.recurrent_layers()), network.hidden_size))

    step = partial(network.trace, ops=ops)
    read = read_parts(step, network.initial_state, ids=ids, begins=begins, num_chars=num_chars)
    for positions, (logits, cells, _) in read:
        indices = positions - first_of_row
        is_part = indices < num_chars

        # The means, without the padding at the end of the last lane.
        values = cells.float().cpu().numpy().astype(np.float64)
        values[~is_part] = 0
        values = values.reshape(len(values), num_parts, -1, *values.shape[2:])
        sums += values.sum(axis=(0, 2))

        # Each character predicts the next one of its part.
        has_next = indices < num_chars - 1
        parts = np.broadcast_to(part_of_row, indices.shape)[has_next]
        logprobs[parts, indices[has_next] + 1] = score_next(logits, ids=ids, positions=positions)[
            has_next
        ]
        advance(int(is_part.sum()))

    return logprobs[:, 1:], sums / num_chars


class LossRise(NamedTuple):
    """The rise of the loss of a text: fields of `Ablation`."""

    change: float
    ci: tuple[float, float]
    num_chars: int
    effects: tuple[AblationEffect, ...]
    skipped: tuple[Skipped, ...]


def summarize(changes: Float64Array, labellings: Sequence[Labelling]) -> LossRise:
    """Average changes (N - 1,) of the loss of a text, and inside and outside the spans of each
    detector.

    A detector with too few labels is skipped, with the reason.
    """
    # In all: every character but the first, which nothing before it predicts.
    change, ci = mean_change(changes, np.ones(len(changes), bool))

    effects = []
    skipped = []
    for labelling in labellings:
        effect = effect_of(changes, labelling)
        if isinstance(effect, Skipped):
            skipped.append(effect)
        else:
            effects.append(effect)
    return LossRise(
        change=change,
        ci=ci,
        num_chars=len(changes),
        effects=tuple(effects),
        skipped=tuple(skipped),
    )


def effect_of(changes: Float64Array, labelling: Labelling) -> AblationEffect | Skipped:
    """Average changes (N - 1,) inside and outside the spans of a detector, if it has enough
    labels."""
    if labelling.labels is None:
        return Skipped(detector=labelling.name, reason=labelling.absence)

    # A character is inside if the one before it is labelled: see `AblationEffect`.
    inside = labelling.labels[:-1] > 0
    reason = why_not_scored(inside)
    if reason is not None:
        return Skipped(detector=labelling.name, reason=reason)

    change_inside, ci_inside = mean_change(changes, inside)
    change_outside, ci_outside = mean_change(changes, ~inside)
    return AblationEffect(
        detector=labelling.name,
        change_inside=change_inside,
        ci_inside=ci_inside,
        change_outside=change_outside,
        ci_outside=ci_outside,
        num_inside=int(inside.sum()),
        is_count=labelling.labels.dtype != bool,
    )


def mean_change(
    changes: Float64Array, where: NDArray[np.bool_]
) -> tuple[float, tuple[float, float]]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 %
    interval."""
    # A mean is a quotient of two sums, both of which vary with the blocks that are drawn.
    block, draws = draw_blocks(len(changes))
    num_blocks = draws.shape[1]
    totals = np.bincount(block, weights=changes * where, minlength=num_blocks)
    counts = np.bincount(block, weights=where, minlength=num_blocks)
    num_drawn = draws @ counts

    # A resample may have drawn none of these characters.
    has_any = num_drawn > 0
    estimates = (draws @ totals)[has_any] / num_drawn[has_any]
    return float(totals.sum() / counts.sum()), percentiles(estimates)
