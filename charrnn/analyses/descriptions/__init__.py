"""`visualize --describe`: cells in words, by rules chosen on one half of a text and scored on the
other.

Shapes: N characters (n of them in a half), C = L * H cells (c of them in a block), K conditions, Q
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

import charrnn.analyses.descriptions.rules as rules
from charrnn.cells.analysis import AnalysisMethod, CellAnalysis, CellSection, detectors_key
from charrnn.cells.statistics import measure_score
from charrnn.cells.trace import Activations
from charrnn.cli.analyses import DETECTOR_OPTIONS, Analysis, Option, Shown, Subject
from charrnn.detectors.detector import MIN_POSITIVES, Detector
from charrnn.errors import UsageError, named
from charrnn.hooks.extensions import offers
from charrnn.statistics.intervals import (
    MIN_BLOCKS,
    NUM_RESAMPLES,
    BlockSums,
    draw_counts,
    percentiles,
)
from charrnn.system.display import Displayable
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText
from charrnn.views.html_page import PagePart
from charrnn.views.tables import ends_text, number_text, plain_table
from charrnn.views.theme import all_visible

CHARS_SEARCHED = 16_384
"""Characters, spread evenly at random over the choosing half, on which rules are searched. The best
are then compared on the whole half."""
CELLS_AT_ONCE = 32
"""Cells of a block, whose rules are searched together."""
MIN_GAIN = 0.02
"""What each further condition must add to R² on the choosing half. A shorter rule is preferred to a
smaller gain."""
MIN_SCORE = 0.1
"""The least R² of a rule that is said to explain a cell."""
CONTROL_SHARE = 0.95
"""The share of the rules for control values whose score is below that of any cell said to be
explained."""
MIN_CONTROLS = 100
"""Control values, at least: where there are fewer cells, each is shifted several times."""
MIN_SHIFT = 0.05
"""The smallest shift of control values, as a share of the text."""
NUM_LISTED = 20
"""Cells that the table lists, unless another number is asked for."""
LEGEND = (
    "R²: share of the cell's variance that the rule predicts, chosen on the first half and scored"
    " on the second; untrained: R² of the same rule for the cell of the untrained baseline that"
    " follows it best"
)
"""What the columns of the table mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description(Displayable):
    """The rule that predicts the values of a cell best, and how well it does on text it was not
    chosen on.

    All figures but `chosen_on` and the two means are of the scoring half. The score is R², the
    share of the variance of the cell's values that the rule explains; a rule that is worse than the
    mean has a negative score.
    """

    layer: int
    unit: int
    kind: str
    """`rule` for conditions that all hold, `count` for a count that the value follows, `none` for a
    constant cell."""
    conditions: tuple[str, ...] = ()
    """At most three phrases such as `inside double quotation marks`, or the name of the count."""
    polarity: int = 1
    """+1 if the cell is high where the conditions hold, or rises with the count; else -1."""
    score: float = 0.0
    """R²: of the two means, or of a monotone function of the count, both fitted on the choosing
    half."""
    ci_low: float | None = None
    ci_high: float | None = None
    auc: float | None = None
    """Kind `rule`: the AUC of polarity * values where the conditions hold against where they do
    not."""
    spearman: float | None = None
    """Kind `count`: Spearman's ρ of values and count."""
    chosen_on: float | None = None
    """R² on the choosing half."""
    untrained: float | None = None
    """R² that the same conditions reach for the cell of the untrained baseline that follows them
    best."""
    control: float | None = None
    """R² of the best rule for control values: those of the cell, shifted along the text."""
    share: float | None = None
    """Kind `rule`: the share of the characters at which all conditions hold."""
    mean_inside: float | None = None
    """Kind `rule`: the mean value where all conditions hold, on the choosing half."""
    mean_outside: float | None = None
    explained: bool = False
    """Whether the score has an interval above 0 and exceeds both the level that rules reach by
    chance and `control`."""
    DERIVED = ("selectivity", "text")

    @property
    def selectivity(self) -> float | None:
        """The score minus that of control values (Hewitt & Liang 2019)."""
        return None if self.control is None else self.score - self.control

    @property
    def text(self) -> str:
        """The description in words; it says so if no rule explains the cell."""
        if not self.explained:
            return "constant" if self.kind == "none" else "no rule explains it"
        if self.kind == "count":
            return f"{'rises' if self.polarity > 0 else 'falls'} with {self.conditions[0]}"
        return f"{'high' if self.polarity > 0 else 'low'}: {' and '.join(self.conditions)}"

    def view(self) -> Sequence[RenderableType]:
        """Return the rule in words, and its scores in a line."""
        lines: list[RenderableType] = [
            Text(all_visible(self.text), style="bold" if self.explained else "dim")
        ]
        if self.kind == "none":
            return lines
        if not self.explained:
            lines.append(
                Text(all_visible(f"the best was: {' and '.join(self.conditions)}"), style="dim")
            )
        parts = [f"R² {self.score:.3f}"]
        if self.ci_low is not None and self.ci_high is not None:
            parts[0] += f" ({self.ci_low:.3f}…{self.ci_high:.3f})"
        figures = {
            "AUC {:.3f}": self.auc,
            "ρ {:+.3f}": self.spearman,
            "untrained {:.3f}": self.untrained,
        }
        parts += [form.format(figure) for form, figure in figures.items() if figure is not None]
        if self.control is not None:
            parts.append(f"selectivity {self.score - self.control:.3f}")
            if self.control < 0:  # else a selectivity above R² looks like an error
                parts[-1] += f" (R² of control values {self.control:.3f})"
        return [*lines, Text(", ".join(parts))]


@dataclass(frozen=True, kw_only=True, slots=True)
class DescriptionReport(Displayable):
    """The descriptions of cells, and how much of them their rules explain, beside the untrained
    baseline."""

    descriptions: tuple[Description, ...] = field(repr=False)
    """In the order of the cells."""
    num_chars: int
    num_conditions: int
    """Conditions that rules were made of, each or its negation."""
    control_level: float
    """The score that 95 % of the rules found for control values stay below."""
    level: float
    """The score that an explained cell exceeds: `control_level`, or 0.1 if that is higher."""
    share_of_variance: float
    """The share of the variance of all cells that the rules of the explained cells account for."""
    untrained_share_explained: float | None = None
    """The same share of explained cells in the untrained baseline, None without one."""
    untrained_share_of_variance: float | None = None
    DERIVED = ("num_explained", "share_explained")

    @property
    def num_explained(self) -> int:
        """The number of cells that a rule explains."""
        return sum(one.explained for one in self.descriptions)

    @property
    def share_explained(self) -> float:
        """The share of the cells that a rule explains."""
        return self.num_explained / max(1, len(self.descriptions))

    def of(self, layer: int, unit: int) -> Description | None:
        """Return the description of a cell, None if it was not described."""
        return next(
            (one for one in self.descriptions if (one.layer, one.unit) == (layer, unit)), None
        )

    def by_score(self) -> tuple[Description, ...]:
        """Return the descriptions, explained cells first, the highest score first; of equals the
        first cell."""
        return tuple(
            sorted(self.descriptions, key=lambda one: (not one.explained, -round(one.score, 6)))
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields as one object, with the shares; the descriptions are those of
        `by_score`."""
        # Not super(): with slots, the decorator replaces the class that it would look for.
        found: dict[str, Any] = Displayable.to_json(self)
        return found | {"descriptions": [one.to_json() for one in self.by_score()]}

    def view(self) -> Sequence[RenderableType]:
        """Return the shares that rules explain, and the table of the cells."""
        return description_pictures("Cells described by rules", self)


def descriptions(
    analysis: CellAnalysis, detectors: Sequence[str | Detector] | None = None
) -> DescriptionReport:
    """Describe all cells by rules in words, as `describe_cells` does; `detectors` give conditions
    (all, if None).

    Raises UsageError for an unknown detector, DataError for a text too short.
    """
    conditions = rules.build_conditions(analysis.text, analysis.half, detectors)

    def describe() -> DescriptionReport:
        activations = analysis.activations()
        baseline = Activations(analysis.untrained_baseline(), analysis.text, counts_gates=False)
        try:
            return describe_cells(activations, analysis.text, None, baseline, conditions=conditions)
        finally:
            baseline.close()

    key = analysis.text_key | {"conditions": conditions.digest, "untrained": True}
    return analysis.kept("descriptions", key, DescriptionReport, describe)


def description_of(analysis: CellAnalysis, layer: int, unit: int) -> Description:
    """Describe a cell by a rule in words: as `descriptions` did, if called before, else without a
    baseline.

    Raises DataError for a text too short.
    """

    def describe() -> Description:
        conditions = rules.build_conditions(analysis.text, analysis.half, None)
        column = layer * analysis.num_units + unit
        key = analysis.text_key | {"conditions": conditions.digest, "untrained": True}
        report = analysis.cache.load("descriptions", key, DescriptionReport)
        if report is not None:
            return report.descriptions[column]
        report = describe_cells(
            analysis.activations(), analysis.text, [column], conditions=conditions
        )
        return report.descriptions[0]

    key = analysis.cell_key(layer, unit) | {"detectors": detectors_key()}
    return analysis.kept("description of", key, Description, describe)


Key = rules.Rule | int
"""A rule, or the index of a count."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A rule or a count for one cell, and what it predicts."""

    key: Key
    chosen_on: float
    means: rules.Float64Array
    """Predicted value outside and inside the rule, or in each group of the count."""

    @property
    def num_terms(self) -> int:
        """How many statements it consists of."""
        return 1 if isinstance(self.key, int) else len(self.key)


class _Halves:
    """The conditions and counts of a text, prepared for the search and for the exact scores."""

    def __init__(self, conditions: rules.Conditions) -> None:
        half = conditions.half
        self.conditions, self.half = conditions, half
        num_searched = min(CHARS_SEARCHED, half)
        self.sample = np.sort(np.random.default_rng(0).choice(half, num_searched, replace=False))
        least = max(2, MIN_POSITIVES * num_searched // half // 2)
        families = [condition.family for condition in conditions.conditions]
        self.search = rules.RuleSearch(conditions.flags[:, self.sample], families, least)
        self._counts = [rules.group_counts(counts, half) for counts in conditions.counts]

    def groups(self, key: Key) -> NDArray[np.int64]:
        """Return the group (N,) of each character: that of a count, or 1 where a rule holds and 0
        elsewhere."""
        if isinstance(key, int):
            return self._counts[key]
        return rules.rule_mask(self.conditions.flags, key).astype(np.int64)

    def fit(self, values: rules.Float32Array) -> list[_Fit | None]:
        """Choose the rule or the count of each cell by its values (c, N) on the choosing half; None
        if constant."""
        chosen = values[:, : self.half]
        found = self.search.search(chosen[:, self.sample])
        by_count = [self.fit_with(count, chosen) for count in range(len(self._counts))]
        fits: list[_Fit | None] = []
        for cell, (row, candidates) in enumerate(zip(chosen, found, strict=True)):
            by_rule = (self.fit_with(rule, row[None])[0] for rule in candidates)
            followed = max(
                (counted[cell] for counted in by_count), key=lambda fit: fit.chosen_on, default=None
            )
            fits.append(_choose(by_rule, followed) if _is_varied(row) else None)
        return fits

    def fit_with(self, key: Key, values: rules.Float32Array) -> list[_Fit]:
        """Fit the mean values inside and outside a rule, or a monotone function of a count, by
        least squares.

        `values` (c, n) are those of the choosing half. A rule that holds, or fails, too rarely has
        R² 0.
        """
        groups = self.groups(key)[: self.half]
        sizes = np.bincount(groups, minlength=1 if isinstance(key, int) else 2).astype(np.float64)
        centres = values.mean(axis=1, dtype=np.float64)
        if not isinstance(key, int) and sizes.min() < MIN_POSITIVES:
            return [_Fit(key, 0.0, np.full(2, centre)) for centre in centres]
        centred = values - centres[:, None].astype(np.float32)
        fitted, gains = rules.fit_monotone(
            np.array([np.bincount(groups, row, len(sizes)) for row in centred]), sizes
        )
        totals = np.einsum("cn,cn->c", centred, centred, dtype=np.float64)
        scores = np.divide(gains, totals, out=np.zeros_like(gains), where=totals > 0)
        found = zip(scores.tolist(), fitted + centres[:, None], strict=True)
        return [_Fit(key, score, means) for score, means in found]

    def score(
        self, fit: _Fit | None, values: rules.Float32Array, *, has_interval: bool = False
    ) -> _Scored:
        """Compute R² of a fit for values (N,) on the scoring half, with its 95 % interval."""
        scoring = slice(self.half, None)
        scored = values[scoring].astype(np.float64)
        centred = scored - scored.mean()
        total = float((centred**2).sum())
        if fit is None or not _is_varied(scored):
            return _Scored(None, 0.0, None, total / len(scored))
        errors = (scored - fit.means[self.groups(fit.key)[scoring]]) ** 2
        interval = _interval(errors, centred) if has_interval else None
        return _Scored(fit, 1 - float(errors.sum()) / total, interval, total / len(scored))


def _choose(by_rule: Iterable[_Fit], by_count: _Fit | None) -> _Fit | None:
    """Return the best of some rules, by length, and a count; a further condition must add MIN_GAIN
    to R²."""
    best: _Fit | None = None
    for num_terms, fits in groupby(by_rule, key=lambda fit: fit.num_terms):
        longer = max(fits, key=lambda fit: fit.chosen_on)
        if best is None or longer.chosen_on >= best.chosen_on + MIN_GAIN * (
            num_terms - best.num_terms
        ):
            best = longer
        if (
            num_terms == 1
            and by_count is not None
            and by_count.chosen_on > best.chosen_on + MIN_GAIN
        ):
            best = by_count
    return best or by_count


def _is_varied(values: NDArray[np.floating]) -> bool:
    """Return whether values (n,) vary by more than rounding."""
    return float(values.var(dtype=np.float64)) > 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What a fit reaches on the scoring half."""

    fit: _Fit | None
    score: float
    interval: tuple[float, float] | None
    variance: float

    def exceeds(self, level: float) -> bool:
        """Return whether the score is above a level, and its interval above 0."""
        return self.interval is not None and self.interval[0] > 0 and self.score > level


def _interval(
    errors: rules.Float64Array, centred: rules.Float64Array
) -> tuple[float, float] | None:
    """Compute the 95 % interval of R² from squared errors (n,) and values (n,) about their mean, as
    `BlockSums` does.

    None for fewer than MIN_BLOCKS blocks.
    """
    blocks = [BlockSums.of(values) for values in (errors, centred**2, centred)]
    sizes = blocks[0].counts
    if len(sizes) < MIN_BLOCKS:
        return None
    draws = draw_counts(len(sizes), NUM_RESAMPLES).astype(np.float64)
    unexplained, squares, sums = (draws @ one.sums for one in blocks)
    variances = squares - sums**2 / (draws @ sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = np.where(variances > 0, 1 - unexplained / variances, 0.0)
    return percentiles(estimates, len(sizes))


def describe_cells(
    activations: Activations,
    text: EncodedText,
    cells: Sequence[int] | None = None,
    baseline: Activations | None = None,
    *,
    conditions: rules.Conditions | None = None,
) -> DescriptionReport:
    """Describe the cells (columns layer * H + unit; all if None) by rules chosen on the first half
    of a text.

    The same search runs for the `baseline`, the untrained network over the same text, and for
    control values: those of each cell, shifted along the text. `conditions` are those of
    `build_conditions` if None. Raises DataError for a text that is too short.
    """
    halves = _Halves(conditions or rules.build_conditions(text, len(text) // 2))
    columns = list(range(len(activations.values))) if cells is None else list(cells)
    num_shifts = max(1, -(-MIN_CONTROLS // max(1, len(columns))))
    num_searches = len(columns) * (1 + num_shifts) + (
        0 if baseline is None else len(baseline.values)
    )
    with task("searching rules", num_searches, unit="cells") as advance:
        scored, controls = _search_all(halves, activations, columns, num_shifts, advance)
        control_level = max(0.0, float(np.quantile(controls, CONTROL_SHARE))) if controls else 0.0
        level = max(MIN_SCORE, control_level)
        descriptions = tuple(
            _describe(halves, column, activations, one, float(np.mean(control)), level)
            for column, one, control in zip(columns, scored, controls, strict=True)
        )
        report = DescriptionReport(
            descriptions=descriptions,
            num_chars=len(text),
            num_conditions=len(halves.conditions.conditions),
            control_level=control_level,
            level=level,
            share_of_variance=_share_of_variance(scored, [one.explained for one in descriptions]),
        )
        return (
            report
            if baseline is None
            else _beside_baseline(halves, report, scored, baseline, advance)
        )


def _search_all(
    halves: _Halves,
    activations: Activations,
    columns: Sequence[int],
    num_shifts: int,
    advance: Callable[[int], object],
) -> tuple[list[_Scored], list[list[float]]]:
    """Return the scored rule of every cell, and the scores of the rules for its values shifted
    `num_shifts` times."""
    scored: list[_Scored] = []
    controls: list[list[float]] = []
    for begin in range(0, len(columns), CELLS_AT_ONCE):
        block = list(columns[begin : begin + CELLS_AT_ONCE])
        values = np.asarray(activations.values[block], np.float32)
        fits = halves.fit(values)
        scored += [
            halves.score(fit, row, has_interval=True) for fit, row in zip(fits, values, strict=True)
        ]
        advance(len(block))
        of_block: list[list[float]] = [[] for _ in block]
        for number in range(num_shifts):
            shifted = np.array(
                [_shifted(row, (column, number)) for column, row in zip(block, values, strict=True)]
            )
            for found, fit, row in zip(of_block, halves.fit(shifted), shifted, strict=True):
                found.append(halves.score(fit, row).score)
            advance(len(block))
        controls += of_block
    return scored, controls


def _shifted(values: rules.Float32Array, seed: tuple[int, int]) -> rules.Float32Array:
    """Shift values (N,) along the text by a random distance: they stay what they are, but follow
    nothing in it."""
    least = max(1, int(len(values) * MIN_SHIFT))
    return np.roll(
        values,
        int(np.random.default_rng(seed).integers(least, max(least + 1, len(values) - least))),
    )


def _share_of_variance(scored: Sequence[_Scored], is_explained: Sequence[bool]) -> float:
    total = sum(one.variance for one in scored)
    reached = sum(
        one.variance * one.score for one, is_it in zip(scored, is_explained, strict=True) if is_it
    )
    return reached / total if total > 0 else 0.0


def _describe(
    halves: _Halves,
    column: int,
    activations: Activations,
    one: _Scored,
    control: float,
    level: float,
) -> Description:
    """Put a scored rule in words, with the AUC or Spearman's ρ that its cell reaches."""
    layer, unit = divmod(column, activations.num_units)
    fit, scoring = one.fit, slice(halves.half, None)
    if fit is None:
        return Description(layer=layer, unit=unit, kind="none")
    low, high = one.interval or (None, None)
    described = Description(
        layer=layer,
        unit=unit,
        kind="count",
        polarity=1 if fit.means[-1] >= fit.means[0] else -1,
        score=one.score,
        ci_low=low,
        ci_high=high,
        chosen_on=fit.chosen_on,
        control=control,
        explained=one.exceeds(max(level, control)),
    )
    conditions, values = halves.conditions, activations.values[column][scoring]
    if isinstance(fit.key, int):
        reached = measure_score(values, conditions.counts[fit.key][scoring], 1)
        return replace(described, conditions=(conditions.count_names[fit.key],), spearman=reached)
    mask = rules.rule_mask(conditions.flags, fit.key)
    outside, inside = fit.means.tolist()
    rule = fit.key
    # Of a single condition and its negation, which predict the same, the rarer one is named.
    if len(rule) == 1 and mask.mean() > 0.5:
        rule, mask, (inside, outside) = rules.negated(rule), ~mask, (outside, inside)
    mask = mask[scoring]
    polarity = 1 if inside >= outside else -1
    named = ((conditions.conditions[condition], holds) for condition, holds in rule)
    return replace(
        described,
        kind="rule",
        conditions=tuple(
            condition.phrase if holds else condition.negation for condition, holds in named
        ),
        polarity=polarity,
        auc=measure_score(values, mask, polarity) if 0 < mask.sum() < len(mask) else None,
        share=float(mask.mean()),
        mean_inside=inside,
        mean_outside=outside,
    )


def _beside_baseline(
    halves: _Halves,
    report: DescriptionReport,
    scored: Sequence[_Scored],
    baseline: Activations,
    advance: Callable[[int], object],
) -> DescriptionReport:
    """Add what the same search explains of the baseline, and how well its best cell follows the
    rule of each cell.

    A cell of the baseline has no control values of its own: it counts as explained if it would be
    with a control of 0. This can only make the baseline appear better.
    """
    of_baseline, _ = _search_all(halves, baseline, list(range(len(baseline.values))), 0, advance)
    is_explained = [one.exceeds(report.level) for one in of_baseline]
    followed = _follow(halves, {one.fit.key for one in scored if one.fit is not None}, baseline)
    return replace(
        report,
        descriptions=tuple(
            replace(description, untrained=None if one.fit is None else followed[one.fit.key])
            for description, one in zip(report.descriptions, scored, strict=True)
        ),
        untrained_share_explained=sum(is_explained) / max(1, len(is_explained)),
        untrained_share_of_variance=_share_of_variance(of_baseline, is_explained),
    )


def _follow(halves: _Halves, keys: Collection[Key], baseline: Activations) -> dict[Key, float]:
    """Return the score that the baseline's cell which follows each rule or count best reaches with
    it.

    That cell is chosen on the sample of the search.
    """
    if not keys:
        return {}
    groups = [np.unique(halves.groups(key)[halves.sample], return_inverse=True)[1] for key in keys]
    one_hots = [np.eye(int(of_key.max()) + 1, dtype=np.float32)[of_key] for of_key in groups]
    together = np.concatenate(one_hots, axis=1)
    ends = np.cumsum([one_hot.shape[1] for one_hot in one_hots])
    best = dict.fromkeys(keys, (0.0, 0))
    for begin in range(0, len(baseline.values), CELLS_AT_ONCE):
        values = np.asarray(baseline.values[begin : begin + CELLS_AT_ONCE], np.float32)
        sums = rules.standardized(values[:, halves.sample]) @ together
        for key, of_key, one_hot in zip(
            keys, np.split(sums, ends[:-1], axis=1), one_hots, strict=True
        ):
            _, reached = rules.fit_monotone(
                of_key.astype(np.float64), one_hot.sum(axis=0, dtype=np.float64)
            )
            place = int(np.argmax(reached))
            best[key] = max(
                best[key], (float(reached[place]), begin + place), key=lambda one: one[0]
            )
    scores = {}
    for key, (_, cell) in best.items():
        values = np.asarray(baseline.values[cell], np.float32)
        (fit,) = halves.fit_with(key, values[None, : halves.half])
        scores[key] = halves.score(fit, values).score
    return scores


def description_pictures(
    title: str, report: DescriptionReport, num_listed: int | None = NUM_LISTED
) -> list[RenderableType]:
    """Draw the shares that rules explain, the table of the cells with the highest scores, and what
    its columns mean.

    All cells are listed if `num_listed` is None; those that no rule explains are dim.
    """
    numbers = ("cell", "R²", "interval", "untrained")
    table = plain_table(*numbers, "rule", right=numbers, narrow=True)
    for one in report.by_score()[:num_listed]:
        table.add_row(
            f"{one.layer}:{one.unit}",
            "" if one.kind == "none" else f"{one.score:.3f}",
            ends_text(one.ci_low, one.ci_high, ".2f"),
            number_text(one.untrained),
            one.text,
            style=None if one.explained else "dim",
        )
    pictures: list[RenderableType] = [Text(title, style="bold"), Text(_shares_text(report)), table]
    pictures.append(Text(LEGEND, style="dim"))
    if num_listed is not None and num_listed < len(report.descriptions):
        pictures.append(
            Text(f"{num_listed:,} of {len(report.descriptions):,} cells are listed.", style="dim")
        )
    return pictures


def _shares_text(report: DescriptionReport) -> str:
    """Say how many cells a rule explains, and which share of the variance, beside the untrained
    baseline."""
    said = (
        f"A rule explains {report.num_explained:,} of {len(report.descriptions):,} cells"
        f" ({report.share_explained:.0%}) and {report.share_of_variance:.0%} of the variance of all"
        " cells"
    )
    if (
        report.untrained_share_explained is not None
        and report.untrained_share_of_variance is not None
    ):
        share, of_variance = report.untrained_share_explained, report.untrained_share_of_variance
        said += f"; of the untrained baseline {share:.0%} and {of_variance:.0%}"
    level = report.control_level
    return (
        f"{said}. Of rules for the same values, shifted along the text, 95% have R² below"
        f" {level:.3f}."
    )


def page_parts(one: Description) -> Iterable[PagePart]:
    """Yield what an exported page shows, which is the `view`: the rule, and how well it predicts
    the value."""
    rule, *scores = map(str, one.view())
    yield PagePart(title="Description", draw_as="text", content=rule)
    if scores:
        yield PagePart(
            title="How well it predicts the value", draw_as="text", content="; ".join(scores)
        )


DESCRIBE = Option(
    "--describe", "Describe every cell by a rule in words, with its score.", kind=bool
)
"""Selects the analysis."""


def _measure(subject: Subject) -> DescriptionReport:
    if subject.options.values["--top"] == 0:
        top, describe = named("top"), named("describe")
        raise UsageError(
            f"{top} is 0; {describe} lists at least 1 cell. Leave {top} out for {NUM_LISTED}."
        )
    return descriptions(subject.study, subject.options.detectors)


def _show(subject: Subject, report: DescriptionReport) -> Shown:
    """Draw the table of the cells that rules describe best: NUM_LISTED of them, or another number;
    a file lists all."""
    name, options = subject.model.name, subject.options
    title = (
        f"{all_visible(name)}: {len(report.descriptions):,} cells over {report.num_chars:,}"
        " characters, described by rules"
    )
    num_listed = options.values["--top"]
    most = NUM_LISTED if num_listed is None and not options.suffix else num_listed
    pictures = description_pictures(title, report, most)
    return Shown(
        f"Descriptions of the cells of {name}", pictures, {"run": name, **report.to_json()}
    )


EXTENSIONS = (
    *offers(AnalysisMethod, descriptions, description_of),
    CellSection(
        "description",
        "searching a rule",
        description_of,
        place=60,
        title="Described by a rule",
        parts=page_parts,
    ),
    Analysis(DESCRIBE, _measure, _show, takes=DETECTOR_OPTIONS | {"--top"}),
)
"""Methods of `CellAnalysis`, a section of the page of a cell, and `visualize --describe`."""
