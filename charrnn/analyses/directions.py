"""`visualize --ablate`: how much the loss rises while a direction over several cells is clamped.

A direction is a linear probe on a few cells, or on all. It is fitted, scored and ablated beside its
best cell.

Shapes: N characters, C = L * H cells, k cells of the direction, T, B and H as in `model.reading`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.ablation import (
    Ablation,
    ablation_table,
    score_with,
    summarize,
)
from charrnn.cells import findings as records
from charrnn.cells.findings_cache import encode
from charrnn.cells.passages import most_changes
from charrnn.cells.study import Study
from charrnn.cells.target_labels import Target, choose_targets
from charrnn.cells.trace import Read, torch_ops
from charrnn.cli.analyses import DETECTOR_OPTIONS, SINGLE_CELLS, Analysis, Shown, Subject
from charrnn.cli.arguments import is_cell, parse_direction
from charrnn.config.options import option
from charrnn.detectors.detector import Detector, Labelling
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, UsageError, named
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Cell, Ops
from charrnn.model.clamping import ClampedSum, limit_of
from charrnn.model.interventions import hold
from charrnn.statistics.agreement import measure_score, resample_score
from charrnn.statistics.intervals import Interval, interval_of
from charrnn.statistics.probes import ProbeSums, choose_greedily
from charrnn.system.arrays import Float64Array
from charrnn.system.display import Displayable
from charrnn.system.files import JSON
from charrnn.system.lazy import Tensor, torch
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel
from charrnn.views.tables import score_number, skipped_line
from charrnn.views.theme import all_visible

CHARS_OF_DIRECTION = 32_768
"""Most characters of the scoring half on which a direction is ablated."""
PERCENTILES = (2, 98)
"""Percentiles of the output that are its `low` and `high`."""
MOST_CELLS = 8
"""Number of cells of a direction whose weights are shown: the cells with the largest weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction(Displayable):
    """A weighted sum of cell values that predicts a detector's labels: a linear probe on a few
    cells, or on all.

    It is fitted on the choosing half of a text and scored, like the best cell, on the scoring half.
    Its output is the sum of weight times value over the cells, plus `intercept`. The output
    predicts the label: 1 inside and 0 outside, or a count.
    """

    detector: str
    """The name of the detector."""
    cells: tuple[records.CellIndex, ...] = field(repr=False)
    """(layer, unit) of each cell, in the order in which they were selected: the best cell first."""
    weights: tuple[float, ...] = field(repr=False)
    """The weight of each cell."""
    means: tuple[float, ...] = field(repr=False)
    """Mean value of each cell on the choosing half."""
    deviations: tuple[float, ...] = field(repr=False)
    """Standard deviation of each cell on the choosing half."""
    intercept: float
    """What is added to the weighted sum."""
    is_yes_no: bool
    """Whether the label is 1 inside and 0 outside, and not a count."""
    score: float
    """AUC, or Spearman's rho for a count, of the output on the scoring half."""
    ci: Interval
    """The 95 % interval of the score."""
    cell_score: float
    """The score of the best cell, `cells[0]`, with its values times its polarity."""
    gain_ci: Interval
    """The 95 % interval of the difference between the two scores, from the same resamples."""
    low: float
    """The 2nd percentile of the output on the scoring half."""
    high: float
    """The 98th percentile of the output on the scoring half."""
    num_chars: int
    """Characters of the text, both halves together."""
    is_all: bool = False
    """Whether the direction is over all cells of the model."""
    _DERIVED = ("name", "gain", "shares")

    def view(self) -> Sequence[RenderableType]:
        """Return the score and the cells."""
        return direction_pictures(self)

    @property
    def name(self) -> str:
        """The name of the direction in options, such as quote@4."""
        size = "all" if self.is_all else len(self.cells)
        return f"{self.detector}@{size}"

    @property
    def gain(self) -> float:
        """The score of the direction minus the score of the best cell."""
        return self.score - self.cell_score

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each cell per standard deviation, divided by the sum of their absolute
        values."""
        # A weight alone says little: a cell that hardly moves needs a large one.
        sizes = list(map(mul, self.weights, self.deviations))
        total = sum(map(abs, sizes)) or 1.0
        return tuple(size / total for size in sizes)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the cells, in ascending order."""
        return tuple(sorted({layer for layer, _ in self.cells}))

    def part(self, layer: int) -> LayerPart:
        """Return the cells of the direction in one layer.

        Args:
            layer: The layer, from 0.

        Returns:
            A `LayerPart`: the K units, and the weight, the mean and the standard deviation of each,
            as arrays (K,).

        Example:
            >>> part = study.direction("quote", size=3).part(0)
            >>> len(part.units), part.weights.shape
            (3, (3,))
        """
        of_cells = np.array([layer_of_cell == layer for layer_of_cell, _ in self.cells])
        return LayerPart(
            units=np.array(self.cells)[of_cells, 1].tolist(),
            weights=np.array(self.weights)[of_cells],
            means=np.array(self.means)[of_cells],
            deviations=np.array(self.deviations)[of_cells],
        )

    def clamped_sums(self, value: float, cell: type[Cell]) -> dict[int, ClampedSum]:
        """Return, by layer, the sums whose clamping gives the direction the output `value` at every
        character.

        A layer is computed before the layers above it, so the cells of each layer have a sum of
        their own. The sums of the layers add up to `value`: each moves away from its mean by a
        share of the distance, in proportion to the variance that its cells add to the output.
        Raises UsageError if the cells cannot reach `value`.
        """
        # The mean of the output, and the variance that each layer adds to it.
        parts = {layer: self.part(layer) for layer in self.layers}
        total = sum(part.variance for part in parts.values())
        centre = sum(part.mean for part in parts.values()) + self.intercept

        # The lowest and the highest output that every layer can reach with its share.
        lowest = -np.inf
        highest = np.inf
        for part in parts.values():
            share = part.variance / total
            if share > 0:
                reach = limit_of(cell) * sum(abs(weight) for weight in part.weights.tolist())
                lowest = max(lowest, centre + (-reach - part.mean) / share)
                highest = min(highest, centre + (reach - part.mean) / share)
        if not lowest <= value <= highest:
            raise UsageError(
                f"{named('clamps')} {self.name}={value:g}: with its cells between -1 and 1, this"
                f" direction reaches {lowest:.3g} to {highest:.3g}. Give a value between them. Its"
                f" output is mostly between {self.low:.3g} (low) and {self.high:.3g} (high)."
            )

        # Each layer moves by its share from the mean to the value.
        sums = {}
        for layer, part in parts.items():
            sums[layer] = part.clamped(part.mean + (value - centre) * part.variance / total)
        return sums


class LayerPart(NamedTuple):
    """The cells of a direction in one layer."""

    units: list[int]
    weights: Float64Array
    means: Float64Array
    deviations: Float64Array

    @property
    def mean(self) -> float:
        """The mean of the weighted sum of the cells."""
        return float(sum((self.weights * self.means).tolist()))

    @property
    def variance(self) -> float:
        """The sum of the variances that the cells add to the output."""
        return float(sum(((self.weights * self.deviations) ** 2).tolist()))

    def clamped(self, value: float) -> ClampedSum:
        """Return the weighted sum of the cells, clamped at a value."""
        # If each cell moves in proportion to its variance times its weight, the sum of the squared
        # moves, in standard deviations, is the smallest.
        moves = self.weights * self.deviations**2
        return ClampedSum(
            units=tuple(self.units),
            weights=tuple(self.weights.tolist()),
            moves=tuple(moves.tolist()),
            value=value,
        )


def sum_at_means(direction: Direction, layer: int, means: Float64Array) -> ClampedSum:
    """Return the weighted sum of a direction's cells in a layer, clamped at its value for the mean
    values (H,) of the units."""
    # The means of the direction are of the choosing half; a clamp at the mean needs the means of
    # the text that is read.
    part = direction.part(layer)
    part = part._replace(means=means[part.units])
    return part.clamped(part.mean)


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionContribution(Displayable):
    """What a direction contributes to the prediction."""

    direction: Direction
    """The direction that was held at its mean."""
    ablation: Ablation
    """The rise of the loss."""
    skipped: tuple[records.Skipped, ...] = ()
    """The detectors that could not be told apart."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object."""
        return asdict(self) | {"direction": self.direction.to_json()}

    def view(self) -> Sequence[RenderableType]:
        """Return the direction, and the table of its contribution."""
        return contribution_pictures(self)


def find_direction(study: Study, detector: str | Detector, size: int | None) -> Direction:
    """Fit a direction: the `size` cells that predict a detector's labels best together, None for
    all cells.

    The first cell is the best cell of `findings`. The direction is fitted on the choosing half and
    scored on the scoring half. Raises UsageError for an unknown detector or a `size` out of range,
    DataError if the detector cannot be scored.
    """
    num_cells = study.num_cells
    if size is None:
        size = num_cells
    if not 1 <= size <= num_cells:
        raise UsageError(
            f"A direction of {size} cells: the model has {num_cells:,}. Use 1 to {num_cells:,}, or"
            " all."
        )
    target = _target(study, detector)

    def fit() -> Direction:
        # The best cell is the one that `--find` shows, which is looked up if it was measured.
        (measured,) = study.measure([target])
        read = study.reader()
        return fit_direction(
            target, measured.score, size=size, num_units=study.num_units, read=read
        )

    key = study.target_key(target) | {"detector": target.name, "size": size}
    return study.cached("direction", key, result=Direction, compute=fit)


def held_out_direction(
    model: TrainedModel, detector: str | Detector, size: int | None
) -> Direction:
    """Fit a direction on the beginning of the run's validation text: see `Model.direction`."""
    # A text that the model was not trained on, and the one that `--find` reads by default.
    _, held_out, *_ = model.read_parts(instead="clamp a cell, such as 0:17")
    study = model.study(held_out[: records.CHARS_SCORED], context=held_out.context, cached=True)
    try:
        return find_direction(study, detector, size=size)
    except DataError as error:
        # Its last sentence asks for another text, which nobody who clamps can give.
        reason, _, _ = str(error).rpartition(" Give ")
        raise DataError(
            f"{reason} It is the validation text of {model.name}. Clamp a cell, such as 0:17, or"
            " in Python a direction of another text: model.study(text).direction(...)."
        ) from None


def ablate_direction(
    study: Study, direction: Direction, detectors: Sequence[str | Detector] | None
) -> DirectionContribution:
    """Measure the contribution of a direction of this study.

    It is measured on CHARS_OF_DIRECTION characters of the scoring half, the part in which the
    labels of the direction's own detector change most often; inside and outside the spans of each
    of `detectors`, by default only of its own detector. Raises UsageError for an unknown detector,
    DataError if the direction's own detector cannot be scored.
    """
    # The direction knows its detector by name only. The detector of a pattern of the user is among
    # the given ones.
    detector: str | Detector = direction.detector
    others = []
    for given in [] if detectors is None else get_detectors(detectors):
        if given.name == direction.detector:
            detector = given
        else:
            others.append(given)

    # The detector of the direction comes first, and must be scorable: others may be skipped.
    target = _target(study, detector)
    targets, skipped = choose_targets(study.text.text, others)
    targets = [target, *targets]
    num_chars = min(CHARS_OF_DIRECTION, len(study.text) - study.half)

    def ablate() -> DirectionContribution:
        # The effects need characters inside and outside, so the part with the most changes is read.
        begin = most_changes(target.labels, first=study.half, length=num_chars)
        part = slice(begin, begin + num_chars)
        labellings = [target.labelling_of(part) for target in targets]
        text = study.text.part(part.start, part.stop)
        contribution = ablate_sum(
            study.network(), text=text, labellings=labellings, direction=direction
        )
        return replace(contribution, skipped=(*skipped, *contribution.skipped))

    # The key contains the skipped detectors, too, because the stored result names them.
    of_targets: list[JSON] = [[target.name, study.target_key(target)] for target in targets]
    of_targets += [[detector.detector, detector.reason] for detector in skipped]
    key = study.text_key | {"direction": encode(direction), "labels": of_targets}
    return study.cached("direction ablation", key, result=DirectionContribution, compute=ablate)


def _target(study: Study, detector: str | Detector) -> Target:
    """Return a detector's labels. Raises UsageError if it is unknown, DataError if it cannot be
    scored."""
    # The only detector is either the only target or the only skipped detector.
    targets, skipped = choose_targets(study.text.text, get_detectors([detector]))
    if not targets:
        reasons = ", ".join(detector.reason for detector in skipped)
        raise DataError(
            f"No direction for {skipped[0].detector}: {reasons}. Give another {named('text')}."
        )
    return targets[0]


class Probe(NamedTuple):
    """One linear probe: its cells (k,), their weights (k,) and standard deviations (k,)."""

    cells: list[int]
    weights: Float64Array
    deviations: Float64Array
    intercept: float


class DirectionSums(ProbeSums):
    """Sums from which a direction over any number of cells is fitted."""

    def probe(self, size: int, first: int) -> Probe:
        """Return the probe for the first target over `size` cells, of which `first` is the first,
        or over fewer cells if further cells add nothing."""
        correlations, towards, scale = self.standardized()
        # A ridge would shrink the weights of few cells, which do not need it.
        if size < len(scale):
            chosen = choose_greedily(
                correlations, towards=towards[:, 0], num_chosen=size, begin=first
            )
            ridge = np.zeros((len(chosen), len(chosen)))
        else:
            chosen = [first, *(cell for cell in range(len(scale)) if cell != first)]
            ridge = self.ridge()

        among = correlations[np.ix_(chosen, chosen)] + ridge
        weights = np.linalg.solve(among, towards[chosen, 0]) / scale[chosen]
        intercept = self.targets.means[0] - self.means[chosen] @ weights
        return Probe(
            cells=chosen,
            weights=weights,
            deviations=scale[chosen],
            intercept=float(intercept),
        )


def fit_direction(
    target: Target, best: records.CellScore, *, size: int, num_units: int, read: Read
) -> Direction:
    """Fit a direction of `size` cells, first the cell of `best`, on the choosing half, and score it
    on the scoring half.

    `num_units` is H. The text is read once. Raises DataError if no cell's value changes.
    """
    sums = DirectionSums()
    labels = target.labels.astype(np.float64)
    first = best.layer * num_units + best.unit
    with task("fitting the direction", total=len(labels)) as advance:
        # Choose and weigh the cells on the choosing half.
        for indices, cells in read(0, target.half):
            sums.add(cells, labels[indices, None])
            advance(len(indices))
        chosen, weights, deviations, intercept = sums.probe(size, first)
        if not chosen:
            raise DataError(
                "No cell's value changes in this text: there is no direction. Give a longer one."
            )

        # Compute the output, beside the values of the best cell, on the scoring half.
        outputs = np.empty(len(labels) - target.half)
        values = np.empty(len(outputs), np.float32)
        for indices, cells in read(target.half, len(labels)):
            outputs[indices] = cells[:, chosen].astype(np.float64) @ weights + intercept
            values[indices] = cells[:, first]
            advance(len(indices))

    # The direction and the best cell are scored on the same resamples, so that the difference has
    # an interval. Polarity makes an AUC at least 0.5. A rho keeps its sign, so that of a falling
    # cell is negated before the comparison.
    scoring = target.scoring_labels
    estimates = resample_score(outputs, labels=scoring, polarity=1)
    sign = 1 if target.is_yes_no else best.polarity
    of_cell = sign * resample_score(values, labels=scoring, polarity=best.polarity)

    # The limits are percentiles, because one outlier would make the colours of a picture pale.
    low, high = np.percentile(outputs, PERCENTILES)
    return Direction(
        detector=target.name,
        cells=tuple(divmod(cell, num_units) for cell in chosen),
        weights=tuple(weights.tolist()),
        means=tuple(sums.means[chosen].tolist()),
        deviations=tuple(deviations.tolist()),
        intercept=intercept,
        is_yes_no=target.is_yes_no,
        score=measure_score(outputs, labels=scoring, polarity=1),
        ci=interval_of(estimates, len(scoring)),
        cell_score=sign * measure_score(values, labels=scoring, polarity=best.polarity),
        gain_ci=interval_of(estimates - of_cell, len(scoring)),
        low=float(low),
        high=float(high),
        num_chars=len(labels),
        is_all=len(chosen) == len(sums.means),
    )


def ablate_sum(
    network: CharRNN, text: EncodedText, labellings: Sequence[Labelling], direction: Direction
) -> DirectionContribution:
    """Measure how much the loss rises when a direction is clamped at its mean.

    The mean is taken over `text`. If a direction has cells in several layers, the sum of the cells
    of each layer is clamped at its mean. The text must have at least 2 characters.
    """
    # Both readings compute the cells' equations step by step, so that the difference comes from the
    # clamp alone and not from another implementation of the layer.
    step_by_step: dict[int, Ops[Tensor]] = dict.fromkeys(direction.layers, torch_ops())
    with task("ablating", total=2 * len(text)) as advance:
        free, means = score_with(network, text=text, ops=step_by_step, advance=advance)
        clamps = {}
        for layer in direction.layers:
            cell = network.recurrent_layers()[layer].cell
            clamps[layer] = _clamping_sum(
                cell, sum_at_means(direction, layer=layer, means=means[layer])
            )
        clamped, _ = score_with(network, text=text, ops=clamps, advance=advance)

    ablation, skipped = summarize(free - clamped, labellings, cells=direction.cells)
    return DirectionContribution(direction=direction, ablation=ablation, skipped=skipped)


def _clamping_sum(cell: type[Cell], clamped: ClampedSum) -> Ops[Tensor]:
    """Return the functions of torch, with a weighted sum of cell values clamped."""

    def values_of(memories: Tensor) -> Tensor:
        moved = clamped.apply(cell, memories.cpu().numpy())
        return torch.from_numpy(moved).to(memories)

    # All cells of the sum are moved at once, by the smallest change that gives the sum its value.
    return hold(torch_ops(), clamped.units, values=values_of)


def cells_text(direction: Direction) -> str:
    """Return the cells with the largest weights, and the number of other cells: 0:17 +60 %, 1:3 -40
    %."""
    # In a direction over all cells, hundreds of cells have a small share.
    pairs = zip(direction.cells, direction.shares, strict=True)
    largest = sorted(pairs, key=lambda pair: -abs(pair[1]))
    shown = [f"{layer}:{unit} {share:+.0%}" for (layer, unit), share in largest[:MOST_CELLS]]
    num_others = len(largest) - MOST_CELLS
    if num_others > 0:
        shown.append(f"and {num_others:,} others")
    return ", ".join(shown)


def score_line(direction: Direction) -> str:
    """Return the score of a direction beside the score of its best cell, with the interval of the
    difference."""
    # A ρ is printed with its sign; an AUC has none.
    name = "ρ"
    form = "+.3f"
    if direction.is_yes_no:
        name = "AUC"
        form = ".3f"
    scores = (
        f"{name} {score_number(direction.score, form)},"
        f" best cell {score_number(direction.cell_score, form)}"
    )
    low, high = direction.gain_ci
    return f"{scores}: {direction.gain:+.3f} ({low:+.3f}…{high:+.3f})"


def direction_pictures(direction: Direction, title: str = "") -> list[RenderableType]:
    """Draw the score of a direction, and its cells; `title` is its name by default."""
    title = title or f"direction {all_visible(direction.name)}"
    caption = Text.assemble((title, "bold"), f": {score_line(direction)}")
    return [caption, Text(f"cells: {cells_text(direction)}", style="dim")]


def contribution_pictures(
    contribution: DirectionContribution, title: str = ""
) -> list[RenderableType]:
    """Draw a direction, and the table of its contribution."""
    pictures = [
        *direction_pictures(contribution.direction, title),
        Text(),
        Text(f"Rise of the loss over {contribution.ablation.num_chars:,} characters"),
        ablation_table(contribution.ablation, first=contribution.direction.detector),
    ]
    if contribution.skipped:
        pictures.append(skipped_line(contribution.skipped))
    return pictures


@dataclass(frozen=True, kw_only=True)
class AblateOptions:
    """The option of the analysis."""

    ablate: str = option(
        "",
        flags="--ablate DETECTOR",
        help="Show how much the loss rises when the direction of a detector over 4 cells (quote),"
        " of another number (quote@8) or all (quote@all) is ablated.",
        panel=SINGLE_CELLS,
    )


def _measure(subject: Subject[AblateOptions]) -> DirectionContribution:
    """Ablate a direction at its mean."""
    ablated = subject.own.ablate
    if is_cell(ablated):
        raise UsageError(f"--ablate {ablated} is a cell: give --evidence {ablated}.")

    # The effects are measured for the other detectors, too.
    detector, size = parse_direction("--ablate", text=ablated, detectors=subject.detectors)
    fitted = find_direction(subject.study, detector=detector, size=size)
    return ablate_direction(
        subject.study, direction=fitted, detectors=[detector, *subject.detectors]
    )


def _show(subject: Subject[AblateOptions], measured: DirectionContribution) -> Shown:
    name = subject.model.name
    title = f"direction {measured.direction.name} of {name}"
    pictures = contribution_pictures(measured, all_visible(title))
    return Shown(f"Ablation of {title}", pictures=pictures, data={"run": name} | measured.to_json())


ANALYSES = (
    Analysis(
        flag="--ablate",
        options=AblateOptions,
        measure=_measure,
        show=_show,
        takes=DETECTOR_OPTIONS,
        example="--ablate quote",
    ),
)
"""`visualize --ablate`."""
