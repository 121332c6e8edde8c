"""Describe cells by rules in words, chosen on one half of a text and scored on the other.

Shapes: N characters (n of them in a half), C = L * H cells (c of them in a block), K conditions, Q counts.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.statistics import average_ranks, spearman
from charrnn.detectors.registry import MIN_POSITIVES
from charrnn.intervals import MIN_BLOCKS, NUM_RESAMPLES, draw_counts, num_blocks_of, t_quantile
from charrnn.lab.conditions import Conditions, build_conditions
from charrnn.lab.descriptions_records import Description, DescriptionReport
from charrnn.lab.monotone import Groups, fit_monotone
from charrnn.lab.rules import Rule, RuleSearch, explained, rule_mask, standardized
from charrnn.text.encoded import EncodedText

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
CHARS_SEARCHED = 16_384
"""Characters, spread evenly at random over the choosing half, on which rules are searched. The best are then compared
on the whole half."""
CELLS_AT_ONCE = 32
"""Cells of a block, whose rules are searched together."""
MIN_GAIN = 0.02
"""What each further condition must add to R² on the choosing half. A shorter rule is preferred to a smaller gain."""
MIN_SCORE = 0.1
"""The least R² of a rule that is said to explain a cell."""
CONTROL_SHARE = 0.95
"""The share of the rules for control values whose score is below that of any cell said to be explained."""
MIN_CONTROLS = 100
"""Control values, at least: where there are fewer cells, each is shifted several times."""
MIN_SHIFT = 0.05
"""The smallest shift of control values, as a share of the text."""


class CellArray(Protocol):
    """The values of cells over a text, such as `Activations`."""

    @property
    def values(self) -> NDArray[np.float16]:
        """(C, N)"""

    @property
    def num_units(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A rule or a count for one cell, and what it predicts."""

    rule: Rule
    count: int | None
    """Index of the count, None for a rule."""
    chosen_on: float
    means: Float64Array
    """Predicted value outside and inside the rule, or in each group of the count."""

    @property
    def num_terms(self) -> int:
        """How many statements it consists of."""
        return len(self.rule) if self.count is None else 1


class _Halves:
    """The conditions and counts of a text, prepared for the search and for the exact scores."""

    def __init__(self, conditions: Conditions) -> None:
        half = conditions.half
        self.conditions, self.half = conditions, half
        generator = np.random.default_rng(0)
        num_searched = min(CHARS_SEARCHED, half)
        self.sample = np.sort(generator.choice(half, num_searched, replace=False))
        least = max(2, MIN_POSITIVES * num_searched // half // 2)
        families = [condition.family for condition in conditions.conditions]
        self.search = RuleSearch(conditions.flags[:, self.sample], families, least)
        self.groups = [Groups.of(counts[:half]) for counts in conditions.counts]
        self.group_of = [groups.of_each(counts) for groups, counts in zip(self.groups, conditions.counts, strict=True)]
        self.group_sizes = [
            np.bincount(of_each[:half], minlength=len(groups.starts)).astype(np.float64)
            for groups, of_each in zip(self.groups, self.group_of, strict=True)
        ]
        self.one_hot = [
            np.eye(len(groups.starts), dtype=np.float32)[of_each[:half]]
            for groups, of_each in zip(self.groups, self.group_of, strict=True)
        ]

    def fit(self, values: Float32Array) -> list[_Fit | None]:
        """Choose the rule or the count of each cell by its values (c, N) on the choosing half; None if constant."""
        chosen = values[:, : self.half]
        rules = self.search.search(chosen[:, self.sample])
        centres, centred, totals = _centre(chosen)
        by_count = [self._fit_count(count, centred, totals) for count in range(len(self.groups))]
        fits: list[_Fit | None] = []
        for cell, (row, total, candidates, centre) in enumerate(zip(centred, totals, rules, centres, strict=True)):
            followed = max((counted[cell] for counted in by_count), key=lambda fit: fit.chosen_on, default=None)
            chosen_fit = self._choose(row, total, candidates, followed) if _is_varied(total, self.half) else None
            fits.append(chosen_fit and replace(chosen_fit, means=chosen_fit.means + centre))
        return fits

    def fit_with(self, rule: Rule, count: int | None, values: Float32Array) -> _Fit:
        """Fit the means of a rule or a count to values (n,) of the choosing half."""
        (centre,), centred, totals = _centre(values[None])
        total = max(float(totals[0]), np.finfo(np.float64).tiny)
        fit = self._fit_rule(rule, centred[0], total) if count is None else self._fit_count(count, centred, totals)[0]
        return replace(fit, means=fit.means + centre)

    def _fit_count(self, count: int, centred: Float32Array, totals: Float64Array) -> list[_Fit]:
        """Fit a monotone function of a count to values (c, n) with mean 0 and these sums of squares (c,)."""
        fitted, gains = fit_monotone((centred @ self.one_hot[count]).astype(np.float64), self.group_sizes[count])
        scores = np.divide(gains, totals, out=np.zeros_like(gains), where=totals > 0)
        return [_Fit((), count, float(score), means) for score, means in zip(scores, fitted, strict=True)]

    def count_scores(self, values: Float32Array) -> Float64Array:
        """Compute R² (c, Q) of the monotone functions of each count for values (c, n) of the choosing half."""
        _, centred, totals = _centre(values)
        found = [
            [fit.chosen_on for fit in self._fit_count(count, centred, totals)] for count in range(len(self.groups))
        ]
        scores: Float64Array = np.array(found, np.float64).reshape(len(self.groups), len(values)).T
        return scores

    def _choose(
        self, centred: Float32Array, total: float, candidates: Sequence[Rule], by_count: _Fit | None
    ) -> _Fit | None:
        """Return the best of some rules and a count; a further condition must add MIN_GAIN to R² on this half."""
        best: _Fit | None = None
        for num_terms in sorted({len(rule) for rule in candidates}):
            fits = [self._fit_rule(rule, centred, total) for rule in candidates if len(rule) == num_terms]
            longer = max(fits, key=lambda fit: fit.chosen_on)
            if best is None or longer.chosen_on >= best.chosen_on + MIN_GAIN * (num_terms - best.num_terms):
                best = longer
            if num_terms == 1 and by_count is not None and by_count.chosen_on > best.chosen_on + MIN_GAIN:
                best = by_count
        return by_count if best is None else best

    def _fit_rule(self, rule: Rule, centred: Float32Array, total: float) -> _Fit:
        mask = self.mask(rule, slice(0, self.half))
        num_inside = int(mask.sum())
        num_outside = self.half - num_inside
        if min(num_inside, num_outside) < MIN_POSITIVES:
            return _Fit(rule, None, 0.0, np.zeros(2))
        inside = float(centred[mask].sum(dtype=np.float64))
        score = inside**2 * self.half / (num_inside * num_outside) / float(total)
        return _Fit(rule, None, score, np.array([-inside / num_outside, inside / num_inside]))

    def mask(self, rule: Rule, part: slice) -> NDArray[np.bool_]:
        """Return where (n,) a rule holds in a part of the text."""
        return rule_mask(self.conditions.flags[:, part], rule)

    def groups_scored(self, fit: _Fit) -> NDArray[np.int64]:
        """Return for each character of the scoring half which of a fit's means it predicts."""
        if fit.count is not None:
            return self.group_of[fit.count][self.half :]
        return self.mask(fit.rule, slice(self.half, None)).astype(np.int64)


def _is_varied(total: float, num_chars: int) -> bool:
    """Return whether values with this sum of squares about their mean vary by more than rounding."""
    return total > 1e-12 * num_chars


def _centre(values: Float32Array) -> tuple[Float64Array, Float32Array, Float64Array]:
    """Return the means (c,) of values (c, n), the values about them, and their sums of squares (c,)."""
    centres = values.mean(axis=1, dtype=np.float64)
    centred = values - centres[:, None].astype(np.float32)
    totals: Float64Array = np.einsum("cn,cn->c", centred, centred, dtype=np.float64)
    return centres, centred, totals


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What a fit reaches on the scoring half."""

    fit: _Fit | None
    score: float
    interval: tuple[float, float] | None
    variance: float


def _score(halves: _Halves, fit: _Fit | None, values: Float32Array, *, has_interval: bool) -> _Scored:
    """Compute R² of a fit for values (N,) on the scoring half, with its 95 % interval."""
    scored = values[halves.half :].astype(np.float64)
    centred = scored - scored.mean()
    total = float((centred**2).sum())
    if fit is None or not _is_varied(total, len(scored)):
        return _Scored(None, 0.0, None, total / len(scored))
    errors = (scored - fit.means[halves.groups_scored(fit)]) ** 2
    interval = _interval(errors, centred) if has_interval else None
    return _Scored(fit, 1 - float(errors.sum()) / total, interval, total / len(scored))


def _interval(errors: Float64Array, centred: Float64Array) -> tuple[float, float] | None:
    """Compute the 95 % interval of R² from squared errors (n,) and values (n,) about their mean, as `BlockSums` does.

    None for fewer than MIN_BLOCKS blocks.
    """
    num_chars, num_blocks = len(errors), num_blocks_of(len(errors))
    if num_blocks < MIN_BLOCKS:
        return None
    draws = _draws(num_blocks)
    starts = -(-np.arange(num_blocks) * num_chars // num_blocks)
    sizes = np.diff(starts, append=num_chars).astype(np.float64)
    unexplained, squares, sums = (draws @ np.add.reduceat(values, starts) for values in (errors, centred**2, centred))
    variances = squares - sums**2 / (draws @ sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = np.where(variances > 0, 1 - unexplained / variances, 0.0)
    tail = NormalDist().cdf(-math.sqrt(num_blocks / (num_blocks - 1)) * t_quantile(num_blocks - 1))
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return float(low), float(high)


@cache
def _draws(num_blocks: int) -> Float64Array:
    """Return `draw_counts` as numbers that can be multiplied; the same for every cell."""
    return draw_counts(num_blocks, NUM_RESAMPLES).astype(np.float64)


def half_precision_ranks(values: NDArray[np.floating]) -> Float64Array:
    """Rank values (n,), rounded to half precision, from 1 to n; equal values share the mean of their ranks.

    There are only 65,536 numbers in half precision, so counting them replaces sorting.
    """
    bits = (values.astype(np.float16) + np.float16(0)).view(np.uint16).astype(np.int64)  # -0 + 0 is 0
    order = np.where(bits & 0x8000, 0xFFFF - bits, bits + 0x8000)
    sizes = np.bincount(order, minlength=1 << 16)
    return np.asarray((np.cumsum(sizes) - (sizes - 1) / 2)[order])


def describe_cells(
    activations: CellArray,
    text: EncodedText,
    cells: Sequence[int] | None = None,
    baseline: CellArray | None = None,
    *,
    conditions: Conditions | None = None,
    on_progress: Callable[[int], object] = lambda num_cells: None,
) -> DescriptionReport:
    """Describe the cells (columns layer * H + unit; all if None) by rules chosen on the first half of a text.

    The same search runs for the `baseline`, the untrained network over the same text, and for control values: those of
    each cell, shifted along the text. `conditions` are those of `build_conditions` if None. `on_progress` is called
    with the number of cells searched since its last call, `num_searches` of them in all. Raises DataError for a text
    that is too short.
    """
    halves = _Halves(conditions or build_conditions(text, len(text) // 2))
    columns = list(range(len(activations.values))) if cells is None else list(cells)
    scored, controls = _search_all(halves, activations, columns, _num_shifts(len(columns)), on_progress)
    control_level = _control_level(controls)
    level = max(MIN_SCORE, control_level)
    descriptions = [
        _describe(halves, column, activations, one, float(np.mean(control)), level)
        for column, one, control in zip(columns, scored, controls, strict=True)
    ]
    report = DescriptionReport(
        descriptions=tuple(descriptions),
        num_chars=len(text),
        num_conditions=len(halves.conditions.conditions),
        control_level=control_level,
        level=level,
        share_of_variance=_share_of_variance(scored, [one.explained for one in descriptions]),
    )
    if baseline is None:
        return report
    return _beside_baseline(halves, report, scored, baseline, on_progress)


def num_searches(num_cells: int, *, has_baseline: bool) -> int:
    """Return how many cells `describe_cells` searches in all: with their control values, and as many of a baseline."""
    return num_cells * (1 + _num_shifts(num_cells) + has_baseline)


def _num_shifts(num_cells: int) -> int:
    return max(1, -(-MIN_CONTROLS // max(1, num_cells)))


def _search_all(
    halves: _Halves,
    activations: CellArray,
    columns: Sequence[int],
    num_shifts: int,
    on_progress: Callable[[int], object],
) -> tuple[list[_Scored], list[list[float]]]:
    """Return the scored rule of every cell, and the scores of the rules for its values shifted `num_shifts` times."""
    scored: list[_Scored] = []
    controls: list[list[float]] = []
    for block in _blocks(columns):
        values = np.asarray(activations.values[block], np.float32)
        fits = halves.fit(values)
        scored += [_score(halves, fit, row, has_interval=True) for fit, row in zip(fits, values, strict=True)]
        on_progress(len(block))
        of_block: list[list[float]] = [[] for _ in block]
        for number in range(num_shifts):
            shifted = np.array([_shifted(row, (column, number)) for column, row in zip(block, values, strict=True)])
            for found, fit, row in zip(of_block, halves.fit(shifted), shifted, strict=True):
                found.append(_score(halves, fit, row, has_interval=False).score)
            on_progress(len(block))
        controls += of_block
    return scored, controls


def _blocks(columns: Sequence[int]) -> Iterator[list[int]]:
    for begin in range(0, len(columns), CELLS_AT_ONCE):
        yield list(columns[begin : begin + CELLS_AT_ONCE])


def _shifted(values: Float32Array, seed: tuple[int, int]) -> Float32Array:
    """Shift values (N,) along the text by a random distance: they stay what they are, but follow nothing in it."""
    least = max(1, int(len(values) * MIN_SHIFT))
    return np.roll(values, int(np.random.default_rng(seed).integers(least, max(least + 1, len(values) - least))))


def _control_level(controls: Sequence[Sequence[float]]) -> float:
    """Return the score that CONTROL_SHARE of the rules for control values stay below."""
    reached = [score for scores in controls for score in scores]
    return max(0.0, float(np.quantile(reached, CONTROL_SHARE))) if reached else 0.0


def _is_explained(one: _Scored, control: float, level: float) -> bool:
    return one.fit is not None and one.interval is not None and one.interval[0] > 0 and one.score > max(level, control)


def _share_of_variance(scored: Sequence[_Scored], is_explained: Sequence[bool]) -> float:
    total = sum(one.variance for one in scored)
    reached = sum(one.variance * one.score for one, is_it in zip(scored, is_explained, strict=True) if is_it)
    return reached / total if total > 0 else 0.0


def _describe(
    halves: _Halves, column: int, activations: CellArray, one: _Scored, control: float, level: float
) -> Description:
    """Put a scored rule in words, with the AUC or Spearman's ρ that its cell reaches."""
    layer, unit = divmod(column, activations.num_units)
    fit = one.fit
    if fit is None:
        return Description(layer=layer, unit=unit, kind="none")
    fields: dict[str, Any] = {
        "layer": layer,
        "unit": unit,
        "score": one.score,
        "ci_low": one.interval[0] if one.interval else None,
        "ci_high": one.interval[1] if one.interval else None,
        "chosen_on": fit.chosen_on,
        "control": control,
        "explained": _is_explained(one, control, level),
    }
    values = activations.values[column][halves.half :]
    if fit.count is not None:
        counts = halves.conditions.counts[fit.count][halves.half :]
        return Description(
            **fields,
            kind="count",
            conditions=(halves.conditions.count_names[fit.count],),
            polarity=1 if fit.means[-1] >= fit.means[0] else -1,
            spearman=float(spearman(average_ranks(values), counts)),
        )
    mask = halves.mask(fit.rule, slice(halves.half, None))
    outside, inside = fit.means.tolist()
    rule = fit.rule
    # Of a single condition and its negation, which predict the same, the rarer one is named.
    if len(rule) == 1 and halves.mask(rule, slice(None)).mean() > 0.5:
        rule, mask, (inside, outside) = ((rule[0][0], not rule[0][1]),), ~mask, (outside, inside)
    polarity = 1 if inside >= outside else -1
    return Description(
        **fields,
        kind="rule",
        conditions=tuple(_phrase(halves.conditions, condition, holds) for condition, holds in rule),
        polarity=polarity,
        auc=_auc(values, mask, polarity),
        share=float(mask.mean()),
        mean_inside=inside,
        mean_outside=outside,
    )


def _phrase(conditions: Conditions, condition: int, holds: bool) -> str:
    one = conditions.conditions[condition]
    return one.phrase if holds else one.negation


def _auc(values: NDArray[np.float16], mask: NDArray[np.bool_], polarity: int) -> float | None:
    """Compute the AUC of polarity * values (n,) for a rule; None if it holds, or fails, nowhere."""
    num_inside = int(mask.sum())
    num_outside = len(mask) - num_inside
    if num_inside == 0 or num_outside == 0:
        return None
    rank_sum = float(half_precision_ranks(values)[mask].sum())
    area = (rank_sum - num_inside * (num_inside + 1) / 2) / (num_inside * num_outside)
    return area if polarity > 0 else 1 - area


def _beside_baseline(
    halves: _Halves,
    report: DescriptionReport,
    scored: Sequence[_Scored],
    baseline: CellArray,
    on_progress: Callable[[int], object],
) -> DescriptionReport:
    """Add what the same search explains of the baseline, and how well its best cell follows the rule of each cell.

    A cell of the baseline has no control values of its own: it counts as explained if it would be with a control of 0.
    This can only make the baseline appear better.
    """
    of_baseline, _ = _search_all(halves, baseline, list(range(len(baseline.values))), 0, on_progress)
    is_explained = [_is_explained(one, 0.0, report.level) for one in of_baseline]
    untrained = _follow(halves, [one.fit for one in scored], baseline)
    return replace(
        report,
        descriptions=tuple(
            replace(one, untrained=score) for one, score in zip(report.descriptions, untrained, strict=True)
        ),
        untrained_share_explained=sum(is_explained) / max(1, len(is_explained)),
        untrained_share_of_variance=_share_of_variance(of_baseline, is_explained),
    )


def _follow(halves: _Halves, fits: Sequence[_Fit | None], baseline: CellArray) -> list[float | None]:
    """Return for each fit the score that the baseline's cell which follows its rule or count best reaches with it.

    That cell is chosen on the choosing half, for rules on the sample of the search.
    """
    keys = list(dict.fromkeys((fit.rule, fit.count) for fit in fits if fit is not None))
    masks = [rule_mask(halves.search.flags, rule) for rule, count in keys if count is None]
    inside = np.array(masks, np.float32).reshape(len(masks), len(halves.sample))
    best = dict.fromkeys(keys, (0.0, 0))
    for block in _blocks(range(len(baseline.values))):
        values = np.asarray(baseline.values[block], np.float32)[:, : halves.half]
        sums = standardized(values[:, halves.sample]) @ inside.T
        sizes = np.broadcast_to(inside.sum(axis=1), sums.shape)
        by_rule = iter(explained(sums, sizes, len(halves.sample), 1).T)
        by_count = halves.count_scores(values)
        for key in keys:
            reached = next(by_rule) if key[1] is None else by_count[:, key[1]]
            place = int(np.argmax(reached))
            best[key] = max(best[key], (float(reached[place]), block[place]), key=lambda one: one[0])
    scores = {}
    for key, (_, cell) in best.items():
        values = np.asarray(baseline.values[cell], np.float32)
        fit = halves.fit_with(*key, values[: halves.half])
        scores[key] = _score(halves, fit, values, has_interval=False).score
    return [None if fit is None else scores[fit.rule, fit.count] for fit in fits]
