"""Rules that describe the values of cells, and the search for them.

A rule is a conjunction of at most three conditions. It predicts the mean value where all of them
hold, and the mean value where they do not. All scores here are R², the share of a cell's variance
that these means explain. Rules are found by a beam search with one round of refinement, for many
cells at once: a product of matrices gives the sums of all rules that extend a rule by one
condition. The value of a cell may also rise or fall with a count, which isotonic regression fits
for many cells at once.

Shapes: N characters, n characters of a sample, K conditions, c cells, G groups of neighbouring
counts.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.descriptions.conditions import Flags
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array

Rule = tuple[tuple[int, bool], ...]
"""The conditions of a rule in order: the index of each, and whether it holds or fails."""
ScoredRule = tuple[float, Rule]
MAX_TERMS = 3
"""Conditions of a rule, at most."""
BEAM = 8
"""Rules of each length that are extended by every condition."""
NUM_KEPT = 3
"""Rules of each length that a search returns, at most."""
ALIKE = 8
"""Candidates for each rule of the beam: many are variants of each other."""
NUM_GROUPS = 32
"""Groups into which the values of a count are divided, at most."""


def rule_mask(flags: Flags, rule: Rule) -> Flags:
    """Return where (n,) all conditions of a rule hold or fail as it says, from flags (K, n)."""
    # The empty rule holds everywhere.
    mask = np.ones(flags.shape[1], bool)
    for condition, holds in rule:
        mask &= flags[condition] == holds
    return mask


def standardized(values: NDArray[np.floating]) -> Float32Array:
    """Return values (c, n) with mean 0 and sum of squares 1; zeros for a constant cell."""
    # A cell that changes only by rounding would be scaled up to noise.
    centred = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    norms = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    moves = norms > 1e-6 * values.shape[1] ** 0.5
    scaled = np.divide(centred, norms, out=np.zeros(centred.shape), where=moves)
    return np.asarray(scaled, np.float32)


def explained(sums: Float32Array, sizes: Float32Array, num_chars: int, least: int) -> Float32Array:
    """Compute R² from the sums of standardized values where a rule holds, and how often it holds.

    It is n · sums² / (sizes · (n − sizes)), and 0 where a rule holds or fails at fewer than `least`
    of n characters.
    """
    num_failing = num_chars - sizes
    is_testable = (sizes >= least) & (num_failing >= least)
    scores = np.divide(
        sums**2 * num_chars, sizes * num_failing, out=np.zeros_like(sums), where=is_testable
    )
    return np.asarray(np.minimum(scores, 1), np.float32)


class RuleSearch:
    """A search among the conjunctions of K conditions, on a sample of n characters."""

    def __init__(self, flags: Flags, families: Sequence[str], least: int, beam: int = BEAM) -> None:
        """Prepare a search with flags (K, n). Conditions with the same family are variants of each
        other.

        `least` is the number of characters at which a rule must hold, and must fail.
        """
        self.flags = flags
        self.families = families
        self.least = least
        self.beam = beam
        self.num_chars = flags.shape[1]
        self.holds: Float32Array = flags.astype(np.float32)
        self.sizes: Float32Array = self.holds.sum(axis=1)

    def search(self, values: NDArray[np.floating]) -> list[list[Rule]]:
        """Return for each cell of values (c, n) the best rules of every length, best first within a
        length.

        A constant cell has none.
        """
        scaled = standardized(values)
        singles = self._best_singles(scaled)
        best = [rules[:NUM_KEPT] for rules in singles]

        # Rules of two conditions extend the rules of one condition and their opposites.
        parents = [_with_opposites(rules) for rules in singles]
        for _ in range(1, MAX_TERMS):
            extended = self._extend(scaled, parents)

            # Refine: the first condition was chosen alone, and may be a poor partner. So each
            # condition of the best rule is removed in turn, and the rest is extended again.
            shortened = [_without_each(rules[0][1]) if rules else [] for rules in extended]
            for rules, refined in zip(extended, self._extend(scaled, shortened), strict=True):
                rules[:] = self._merge(rules + refined)

            parents = [[rule for _, rule in rules] for rules in extended]
            for cell_rules, longer in zip(best, parents, strict=True):
                cell_rules += longer[:NUM_KEPT]
        return best

    def _best_singles(self, scaled: Float32Array) -> list[list[Rule]]:
        """Return for each cell the best condition of each of the best families, best first."""
        sums = scaled @ self.holds.T
        sizes = np.broadcast_to(self.sizes, sums.shape)
        # One condition of each family: twelve thresholds of one count would fill the beam.
        singles = []
        for scores in explained(sums, sizes=sizes, num_chars=self.num_chars, least=self.least):
            best: dict[str, Rule] = {}
            for condition in np.argsort(-scores, kind="stable").tolist():
                if scores[condition] <= 0 or len(best) == self.beam:
                    break
                best.setdefault(self.families[condition], ((condition, True),))
            singles.append(list(best.values()))
        return singles

    def _extend(
        self, scaled: Float32Array, parents: Sequence[Sequence[Rule]]
    ) -> list[list[ScoredRule]]:
        """Extend the rules of each cell by every condition and its negation; return the best
        extended rules with their scores."""
        cells = [cell for cell, rules in enumerate(parents) for _ in rules]
        extended = [rule for rules in parents for rule in rules]
        if not extended:
            return [[] for _ in parents]

        # Many cells extend the same rules: how often these hold is computed once for each.
        rows = {rule: row for row, rule in enumerate(dict.fromkeys(extended))}
        row_of = [rows[rule] for rule in extended]
        masks = np.array([rule_mask(self.flags, rule) for rule in rows], np.float32)
        sizes = (masks @ self.holds.T)[row_of]
        rule_sizes = masks.sum(axis=1)[row_of]

        # The sum where a rule holds and a condition fails is the sum of the rule less the sum where
        # both hold.
        weighted = masks[row_of] * scaled[cells]
        sums = weighted @ self.holds.T
        rule_sums = weighted.sum(axis=1)
        scores = np.empty((len(extended), 2, len(self.flags)), np.float32)
        scores[:, 0] = explained(sums, sizes=sizes, num_chars=self.num_chars, least=self.least)
        scores[:, 1] = explained(
            rule_sums[:, None] - sums,
            sizes=rule_sizes[:, None] - sizes,
            num_chars=self.num_chars,
            least=self.least,
        )

        # A rule is not extended by its own conditions.
        for number, rule in enumerate(extended):
            scores[number, :, [condition for condition, _ in rule]] = 0

        ends = np.cumsum([len(rules) for rules in parents])
        return list(map(self._best_children, parents, np.split(scores, ends[:-1])))

    def _best_children(self, parents: Sequence[Rule], scores: Float32Array) -> list[ScoredRule]:
        """Return the best extensions of a cell's rules, by their scores (rules, 2, K) with a
        condition or without."""
        flat = scores.ravel()
        num_best = min(ALIKE * self.beam, len(flat))
        if num_best == 0:
            return []
        num_conditions = len(self.flags)

        # A partition, because sorting all scores would take longer than the search.
        children: list[ScoredRule] = []
        for index in np.argpartition(-flat, num_best - 1)[:num_best].tolist():
            score = float(flat[index])
            if score > 0:
                row, condition = divmod(index, num_conditions)
                number, is_negated = divmod(row, 2)
                added = (condition, not is_negated)
                children.append((score, tuple(sorted((*parents[number], added)))))
        return self._merge(children)

    def _merge(self, rules: Iterable[ScoredRule]) -> list[ScoredRule]:
        """Return the best rules, only one of each group of variants, best first."""
        best: dict[tuple[tuple[str, bool], ...], ScoredRule] = {}
        for score, rule in sorted(rules, key=lambda scored: (-scored[0], scored[1])):
            if len(best) == self.beam:
                break
            kind = tuple(sorted((self.families[condition], holds) for condition, holds in rule))
            best.setdefault(kind, (score, rule))
        return list(best.values())


def negated(rule: Rule) -> Rule:
    """Return the opposite of a rule of one condition."""
    ((condition, holds),) = rule
    return ((condition, not holds),)


def _with_opposites(singles: Sequence[Rule]) -> list[Rule]:
    """Return rules of one condition, each followed by its opposite."""
    both = []
    for rule in singles:
        both += [rule, negated(rule)]
    return both


def _without_each(rule: Rule) -> list[Rule]:
    """Return a rule without each of its conditions in turn."""
    return [rule[:index] + rule[index + 1 :] for index in range(len(rule))]


def group_counts(counts: Int64Array, half: int) -> Int64Array:
    """Return the group (N,) of each of the counts (N,), whose first `half` make groups that occur
    about equally often.

    A count outside all groups belongs to the first or the last one.
    """
    # Each value is a group, unless there are too many values to fit a mean to each.
    starts = np.unique(counts[:half])
    if len(starts) > NUM_GROUPS:
        shares = np.linspace(0, 1, NUM_GROUPS + 1)[:-1]
        starts = np.unique(np.quantile(counts[:half], shares, method="nearest")).astype(np.int64)
    return np.maximum(np.searchsorted(starts, counts, side="right") - 1, 0)


def fit_rising(sums: Float64Array, sizes: Float64Array) -> Float64Array:
    """Return the rising sequences (c, G) closest to values with sums (c, G) in groups of sizes
    (G,), none empty.

    Entry g is the largest over i <= g of the smallest over j >= g of the mean of groups i to j
    (Robertson, Wright & Dykstra 1988, Order restricted statistical inference, section 1.4).
    """
    # The means (c, G, G) of groups i to j, infinite where j < i.
    totals = np.concatenate((np.zeros((len(sums), 1)), np.cumsum(sums, axis=1)), axis=1)
    ends = np.append(0, np.cumsum(sizes))
    widths = ends[None, 1:] - ends[:-1, None]
    ranges = totals[:, None, 1:] - totals[:, :-1, None]
    means = np.where(widths > 0, ranges / np.where(widths > 0, widths, 1), np.inf)

    smallest = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    return np.diagonal(np.maximum.accumulate(smallest, axis=1), axis1=1, axis2=2)


def fit_monotone(sums: Float64Array, sizes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the closest rising or falling sequences (c, G), and the sum of squares (c,) that each
    sequence explains.

    `sums` (c, G) are sums of values with mean 0.
    """
    # A falling sequence is the negative of a rising sequence of the negative values.
    rising = fit_rising(sums, sizes)
    falling = -fit_rising(-sums, sizes)
    gain_rising = rising**2 @ sizes
    gain_falling = falling**2 @ sizes
    is_rising = (gain_rising >= gain_falling)[:, None]
    return np.where(is_rising, rising, falling), np.maximum(gain_rising, gain_falling)
