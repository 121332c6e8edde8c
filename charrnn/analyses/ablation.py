"""How much the loss of a text rises while cells are clamped.

Shapes: N characters, B batch rows, L layers, H units per layer, k clamped units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.table import Table

from charrnn.cells.findings import CellIndex, Skipped
from charrnn.cells.trace import score_next
from charrnn.detectors.detector import Labelling, why_not_scored
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.model.reading import read_in_lanes
from charrnn.statistics.intervals import Interval, interval_of, resample_sums
from charrnn.system.arrays import BoolArray, Float64Array
from charrnn.system.lazy import Tensor, inference_mode
from charrnn.text.vocab import EncodedText
from charrnn.views.tables import ends_text, plain_table


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationEffect:
    """A cell's contribution inside and outside a detector's spans, in nats per character, with 95 %
    intervals.

    A character is inside if the detector labels the character before it (above zero for a count
    detector): inside a span, the model predicts these characters, the end of the span among them.
    """

    detector: str
    """The name of the detector."""
    change_inside: float
    """The rise of the loss inside."""
    ci_inside: Interval
    """The 95 % interval of `change_inside`."""
    change_outside: float
    """The rise of the loss outside."""
    ci_outside: Interval
    """The 95 % interval of `change_outside`."""
    num_inside: int
    """Characters inside."""
    is_count: bool = False
    """Whether it is a count detector."""


@inference_mode
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
    logprobs = np.empty(len(text))
    sums = np.zeros((len(network.recurrent_layers()), network.hidden_size))
    step = partial(network.trace, ops=ops)
    read = read_in_lanes(step, network.initial_state, ids=text.ids, first=text.first)
    for positions, (logits, cells, _) in read:
        # The means, without the padding at the end of the last lane.
        is_text = positions < len(text.ids)
        sums += cells.float().cpu().numpy().astype(np.float64)[is_text].sum(axis=0)

        # Each character predicts the next one.
        has_next = positions < len(text.ids) - 1
        scores = score_next(logits, ids=text.ids, positions=positions)
        logprobs[positions[has_next] + 1 - text.first] = scores[has_next]
        advance(int(is_text.sum()))

    return logprobs[1:], sums / len(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """The rise of the loss of a text while cells are clamped."""

    cells: tuple[CellIndex, ...]
    """(layer, unit) of each cell."""
    change: float
    """The rise, in nats per character, to about 1e-6: both losses are read after a warm-up."""
    ci: Interval
    """The 95 % interval of the rise."""
    num_chars: int
    """The characters that were predicted."""
    effects: tuple[AblationEffect, ...] = ()
    """The rise inside and outside the spans of each detector."""


def summarize(
    changes: Float64Array, labellings: Sequence[Labelling], cells: tuple[CellIndex, ...]
) -> tuple[Ablation, tuple[Skipped, ...]]:
    """Average changes (N - 1,) of the loss of a text while `cells` are clamped, and inside and
    outside the spans of each detector.

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
    ablation = Ablation(
        cells=cells, change=change, ci=ci, num_chars=len(changes), effects=tuple(effects)
    )
    return ablation, tuple(skipped)


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
    change_outside, ci_outside = mean_change(changes, where=~inside)
    return AblationEffect(
        detector=labelling.name,
        change_inside=change_inside,
        ci_inside=ci_inside,
        change_outside=change_outside,
        ci_outside=ci_outside,
        num_inside=int(inside.sum()),
        is_count=labelling.labels.dtype != bool,
    )


def mean_change(changes: Float64Array, where: BoolArray) -> tuple[float, Interval]:
    """Compute the mean of changes (N,) over the characters `where` (N,), at least one, and its 95 %
    interval."""
    # A mean is a quotient of two sums, both of which vary with the blocks that are drawn.
    sums, counts = resample_sums(changes * where, where)
    # A resample may have drawn none of these characters.
    has_any = counts > 0
    estimates = sums[has_any] / counts[has_any]
    return float(changes[where].mean()), interval_of(estimates, len(changes))


def ablation_table(ablation: Ablation, first: str) -> Table:
    """Build the table of the rise of the loss over the whole text, then inside and outside each
    detector's spans.

    The detector `first` comes first, then that with the largest contribution inside.
    """
    numbers = ("clamped at its mean", "95 % interval")
    table = plain_table("nats/character", *numbers, right=numbers)

    def add(name: str, change: float, interval: Interval) -> None:
        table.add_row(name, f"{change:+.4f}", ends_text(*interval, "+.4f"))

    def order(effect: AblationEffect) -> tuple[bool, float]:
        # False sorts before True, large changes before small ones.
        return effect.detector != first, -effect.change_inside

    add("whole text", ablation.change, ablation.ci)
    for effect in sorted(ablation.effects, key=order):
        # A count has no spans: it is 0 or more.
        inside = f"inside {effect.detector}"
        outside = "  outside"
        if effect.is_count:
            inside = f"{effect.detector} over 0"
            outside = "  at 0"
        add(inside, effect.change_inside, effect.ci_inside)
        add(outside, effect.change_outside, effect.ci_outside)
    return table
