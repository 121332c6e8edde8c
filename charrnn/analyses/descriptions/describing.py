"""The choice of a rule for each cell, on one half of a text, and its scores on the other half.

Shapes: N characters (n of them in a half), C = L * H cells (c of them in a block), G groups of
neighbouring counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

import charrnn.analyses.descriptions.rules as rules
from charrnn.analyses.descriptions.conditions import Conditions
from charrnn.analyses.descriptions.results import Description, DescriptionReport
from charrnn.cells.activations import Activations
from charrnn.detectors.detector import MIN_POSITIVES
from charrnn.statistics.agreement import measure_score
from charrnn.statistics.chance import draw_shifts
from charrnn.statistics.intervals import MIN_VALUES, Interval, interval_of, resample_sums
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.progress import task
from charrnn.text.vocab import EncodedText

CHARS_SEARCHED = 16_384
"""Characters, drawn uniformly from the choosing half, on which rules are searched. The best rules
are then compared on the whole half."""
CELLS_AT_ONCE = 32
"""Cells of a block, whose rules are searched together."""
MIN_GAIN = 0.02
"""R² on the choosing half that each further condition must add: a shorter rule is preferred to a
smaller gain."""
MIN_SCORE = 0.1
"""The least R² of a rule that is said to explain a cell."""
CONTROL_SHARE = 0.95
"""The share of the rules for control values that the score of an explained cell exceeds."""
MIN_CONTROLS = 100
"""Control values, at least: where there are fewer cells, each is shifted several times."""
Key = rules.Rule | int
"""A rule, or the index of a count."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A rule or a count for one cell, and what it predicts."""

    key: Key
    chosen_on: float
    """R² on the choosing half."""
    means: Float64Array
    """Predicted value outside and inside the rule, or in each group of the count."""

    @property
    def num_terms(self) -> int:
        """The number of statements: the conditions of a rule, or one count."""
        return 1 if isinstance(self.key, int) else len(self.key)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFit:
    """The score of a fit on the scoring half."""

    fit: Fit | None
    """None for a cell that is constant in one of the halves."""
    score: float
    interval: Interval | None
    variance: float
    """The variance of the cell's values on the scoring half."""

    def exceeds(self, level: float) -> bool:
        """Return whether the score is above a level, and its interval above 0."""
        return self.interval is not None and self.interval[0] > 0 and self.score > level


class Fitter:
    """Fits rules and counts to cells, from the conditions and counts of one text."""

    def __init__(self, conditions: Conditions) -> None:
        """Draw the characters on which rules are searched, the same ones each time."""
        # A search multiplies all conditions with all cells: the whole half would take minutes.
        self.conditions = conditions
        self.half = conditions.half
        num_searched = min(CHARS_SEARCHED, self.half)
        generator = np.random.default_rng(0)
        self.sample = np.sort(generator.choice(self.half, num_searched, replace=False))

        # On a sample, the search asks for half of the proportionate number of positives: a rule
        # with just enough positives on the whole half may have fewer on the sample by chance.
        least = max(2, MIN_POSITIVES * num_searched // self.half // 2)
        families = [condition.family for condition in conditions.conditions]
        self._search = rules.RuleSearch(conditions.flags[:, self.sample], families, least)
        self._counts = [rules.group_counts(counts, self.half) for counts in conditions.counts]

    def groups(self, key: Key) -> Int64Array:
        """Return the group (N,) of each character: the group of its count, or 1 where a rule holds
        and 0 elsewhere."""
        if isinstance(key, int):
            return self._counts[key]
        return rules.rule_mask(self.conditions.flags, key).astype(np.int64)

    def fit(self, values: Float32Array) -> list[Fit | None]:
        """Choose the rule or the count of each cell by its values (c, N) on the choosing half; None
        if constant."""
        # Candidate rules of every length for each cell, and its fit by each count.
        choosing = values[:, : self.half]
        candidates = self._search.search(choosing[:, self.sample])
        by_count = [self.fit_with(count, choosing) for count in range(len(self._counts))]

        # The candidates, which were chosen on the sample, are compared on the whole half.
        fits: list[Fit | None] = []
        for cell, row in enumerate(choosing):
            if not _is_varied(row):
                fits.append(None)
                continue
            by_rule = [self.fit_with(rule, row[None])[0] for rule in candidates[cell]]
            counts = [fits_of_cells[cell] for fits_of_cells in by_count]
            fits.append(_choose(by_rule, max(counts, key=_chosen_on, default=None)))
        return fits

    def fit_with(self, key: Key, values: Float32Array) -> list[Fit]:
        """Fit the mean values inside and outside a rule, or a monotone function of a count, by
        least squares.

        `values` (c, n) are those of the choosing half. A rule that holds, or fails, too rarely has
        R² 0.
        """
        # A rule that holds, or fails, too rarely predicts the mean everywhere.
        is_rule = not isinstance(key, int)
        groups = self.groups(key)[: self.half]
        sizes = np.bincount(groups, minlength=2 if is_rule else 1).astype(np.float64)
        centres = values.mean(axis=1, dtype=np.float64)
        if is_rule and sizes.min() < MIN_POSITIVES:
            return [Fit(key, chosen_on=0.0, means=np.full(2, centre)) for centre in centres]

        # Two means are a monotone function of a rule: one fit serves both.
        centred = values - centres[:, None].astype(np.float32)
        sums = np.array([np.bincount(groups, row, len(sizes)) for row in centred])
        fitted, gains = rules.fit_monotone(sums, sizes)

        # R²: the share of the sum of squares about the mean that the fit explains.
        totals = np.einsum("cn,cn->c", centred, centred, dtype=np.float64)
        scores = np.divide(gains, totals, out=np.zeros_like(gains), where=totals > 0)
        scored_means = zip(scores.tolist(), fitted + centres[:, None], strict=True)
        return [Fit(key, chosen_on=score, means=means) for score, means in scored_means]

    def score(
        self, fit: Fit | None, values: Float32Array, *, has_interval: bool = False
    ) -> ScoredFit:
        """Compute R² of a fit for values (N,) on the scoring half, with its 95 % interval."""
        # The variance is about the mean of this half: a rule must predict better than that mean.
        scored = values[self.half :].astype(np.float64)
        centred = scored - scored.mean()
        total = float((centred**2).sum())
        variance = total / len(scored)
        if fit is None or not _is_varied(scored):
            return ScoredFit(fit=None, score=0.0, interval=None, variance=variance)

        # The predictions were fitted on the choosing half, so R² may be negative.
        errors = (scored - fit.means[self.groups(fit.key)[self.half :]]) ** 2
        interval = None
        if has_interval:
            interval = _interval(errors, centred)
        score = 1 - float(errors.sum()) / total
        return ScoredFit(fit=fit, score=score, interval=interval, variance=variance)


def _chosen_on(fit: Fit) -> float:
    return fit.chosen_on


def _choose(by_rule: Sequence[Fit], by_count: Fit | None) -> Fit | None:
    """Return the best of some rules, which are sorted by length, and a count; a further condition
    must add MIN_GAIN to R²."""
    best: Fit | None = None
    for num_terms, fits in groupby(by_rule, key=lambda fit: fit.num_terms):
        longer = max(fits, key=_chosen_on)
        if best is None:
            # A count is one statement, but has more freedom than a rule, so it must gain MIN_GAIN.
            best = longer
            if by_count is not None and by_count.chosen_on > best.chosen_on + MIN_GAIN:
                best = by_count
        elif longer.chosen_on >= best.chosen_on + MIN_GAIN * (num_terms - best.num_terms):
            best = longer
    return best or by_count


def _is_varied(values: NDArray[np.floating]) -> bool:
    """Return whether values (n,) vary by more than rounding."""
    return float(values.var(dtype=np.float64)) > 1e-12


def _interval(errors: Float64Array, centred: Float64Array) -> Interval | None:
    """Compute the 95 % interval of R² from squared errors (n,) and values (n,) about their mean;
    None for fewer than MIN_VALUES."""
    if len(errors) < MIN_VALUES:
        return None
    unexplained, squares, sums, counts = resample_sums(
        errors, centred**2, centred, np.ones_like(errors)
    )
    # The mean of a resample is not that of the text: its variance is about its own.
    totals = squares - sums**2 / counts
    explained = np.divide(unexplained, totals, out=np.ones_like(totals), where=totals > 0)
    return interval_of(1 - explained, len(errors))


def describe_cells(
    activations: Activations,
    text: EncodedText,
    conditions: Conditions,
    cells: Sequence[int] | None = None,
) -> DescriptionReport:
    """Describe the cells (columns layer * H + unit; all if None) by rules chosen on the first half
    of a text.

    The same search runs for control values: the values of each cell, shifted along the text.
    """
    # Few cells have few controls, so each of them is shifted several times.
    fitter = Fitter(conditions)
    columns = range(len(activations.values)) if cells is None else cells
    num_shifts = max(1, -(-MIN_CONTROLS // max(1, len(columns))))
    scored: list[ScoredFit] = []
    controls = np.zeros((len(columns), num_shifts))
    with task("searching rules", total=len(columns) * (1 + num_shifts), unit="cells") as advance:
        for begin in range(0, len(columns), CELLS_AT_ONCE):
            # Choose and score the rule of every cell.
            block = list(columns[begin : begin + CELLS_AT_ONCE])
            values = np.asarray(activations.values[block], np.float32)
            for fit, cell_values in zip(fitter.fit(values), values, strict=True):
                scored.append(fitter.score(fit, cell_values, has_interval=True))
            advance(len(block))

            # The scores of rules for values that follow nothing in the text are chance. The seed
            # depends on cell and shift only: a cell has the same shifts alone and among all.
            for number in range(num_shifts):
                shifted = np.empty_like(values)
                for row, column in enumerate(block):
                    shift = draw_shifts(len(text), size=1, seed=(column, number))
                    shifted[row] = np.roll(values[row], shift)
                for row, fit in enumerate(fitter.fit(shifted)):
                    controls[begin + row, number] = fitter.score(fit, shifted[row]).score
                advance(len(block))
    control_level = 0.0
    if len(columns):
        control_level = max(0.0, float(np.quantile(controls, CONTROL_SHARE)))
    level = max(MIN_SCORE, control_level)

    # In words. The rule of an explained cell is better than the rules of its control values.
    descriptions = []
    total = 0.0
    reached = 0.0
    for column, scored_fit, control in zip(columns, scored, controls, strict=True):
        description = _describe(fitter, activations=activations, column=column, scored=scored_fit)
        total += scored_fit.variance
        if scored_fit.fit is not None:
            mean = float(np.mean(control))
            is_explained = scored_fit.exceeds(max(level, mean))
            description = replace(description, control=mean, explained=is_explained)
            if is_explained:
                reached += scored_fit.variance * scored_fit.score
        descriptions.append(description)
    return DescriptionReport(
        descriptions=tuple(descriptions),
        num_chars=len(text),
        num_conditions=len(fitter.conditions.conditions),
        control_level=control_level,
        level=level,
        share_of_variance=reached / total if total > 0 else 0.0,
    )


def _describe(
    fitter: Fitter, activations: Activations, column: int, scored: ScoredFit
) -> Description:
    """Put a scored rule in words, with the AUC or Spearman's ρ that its cell reaches."""
    layer, unit = divmod(column, activations.num_units)
    fit = scored.fit
    if fit is None:
        return Description(layer=layer, unit=unit, kind="none")
    ci_low, ci_high = scored.interval or (None, None)
    described = Description(
        layer=layer,
        unit=unit,
        kind="count",
        polarity=1 if fit.means[-1] >= fit.means[0] else -1,
        score=scored.score,
        ci_low=ci_low,
        ci_high=ci_high,
        chosen_on=fit.chosen_on,
    )

    # A count is named, with the ρ of the cell's values.
    conditions = fitter.conditions
    values = activations.values[column][fitter.half :]
    if isinstance(fit.key, int):
        rho = measure_score(values, labels=conditions.counts[fit.key][fitter.half :], polarity=1)
        return replace(described, conditions=(conditions.count_names[fit.key],), spearman=rho)

    # A single condition and its negation predict the same: the rarer of the two is named.
    rule = fit.key
    mask = rules.rule_mask(conditions.flags, rule)
    outside, inside = fit.means.tolist()
    if len(rule) == 1 and mask.mean() > 0.5:
        rule = rules.negated(rule)
        mask = ~mask
        outside, inside = inside, outside

    # The conditions in words, with the AUC of the characters where all of them hold.
    phrases = []
    for condition, holds in rule:
        statement = conditions.conditions[condition]
        phrases.append(statement.phrase if holds else statement.negation)
    mask = mask[fitter.half :]
    polarity = 1 if inside >= outside else -1
    return replace(
        described,
        kind="rule",
        conditions=tuple(phrases),
        polarity=polarity,
        auc=measure_score(values, labels=mask, polarity=polarity)
        if 0 < mask.sum() < len(mask)
        else None,
    )
