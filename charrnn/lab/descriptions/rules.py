"""Search the conjunction of at most three conditions that predicts the value of a cell best.

A rule predicts one mean where all its conditions hold and another where they do not. All scores here are R², the share
of a cell's variance that this explains. A beam search with one round of refinement, for many cells at once: the sums
of all rules that extend a rule by one condition are one product of matrices.

The value of a cell may also rise or fall with a count: isotonic regression, for many cells at once.

Shapes: n characters of a sample, K conditions, c cells, P distinct rules, J pairs of a cell and a rule, G groups of
neighbouring counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Flags = NDArray[np.bool_]
Literal = tuple[int, bool]
"""A condition's index, and whether it holds or fails."""
Rule = tuple[Literal, ...]
"""Conditions that hold or fail together, in order."""
MAX_TERMS = 3
"""Conditions of a rule, at most."""
BEAM = 8
"""Rules of each length that are extended by every condition."""
NUM_KEPT = 3
"""Rules of each length that a search returns, at most."""
ALIKE = 8
"""Rules that are looked at for each rule of the beam, because many are variants of each other."""
Float64Array = NDArray[np.float64]
NUM_GROUPS = 32
"""Groups into which the values of a count are divided, at most."""


def rule_mask(flags: Flags, rule: Rule) -> Flags:
    """Return where (n,) all conditions of a rule hold or fail as it says, from flags (K, n)."""
    mask = np.ones(flags.shape[1], bool)
    for condition, holds in rule:
        mask &= flags[condition] if holds else ~flags[condition]
    return mask


def standardized(values: NDArray[np.floating]) -> Float32Array:
    """Return values (c, n) with mean 0 and sum of squares 1; zeros for a cell that is constant."""
    centred = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    norms = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    scaled = np.divide(centred, norms, out=np.zeros(centred.shape), where=norms > 1e-6 * values.shape[1] ** 0.5)
    return np.asarray(scaled, np.float32)


def explained(sums: Float32Array, sizes: Float32Array, num_chars: int, least: int) -> Float32Array:
    """Compute R² from the sums of standardized values where a rule holds, and how often it holds.

    It is n · sums² / (sizes · (n − sizes)), and 0 where a rule holds or fails at fewer than `least` of n characters.
    """
    others = num_chars - sizes
    is_told = (sizes >= least) & (others >= least)
    scores = np.divide(sums**2 * num_chars, sizes * others, out=np.zeros_like(sums), where=is_told)
    return np.asarray(np.minimum(scores, 1), np.float32)


class RuleSearch:
    """A search among the conjunctions of K conditions, on a sample of n characters."""

    def __init__(self, flags: Flags, families: Sequence[str], least: int, beam: int = BEAM) -> None:
        """Prepare a search with flags (K, n). Conditions with the same family are variants of each other.

        `least` is the number of characters at which a rule must hold, and must fail.
        """
        self.flags, self.least, self.beam = flags, least, beam
        self.families, self.num_chars = families, flags.shape[1]
        self.holds: Float32Array = flags.astype(np.float32)
        self.sizes: Float32Array = self.holds.sum(axis=1)

    def search(self, values: NDArray[np.floating]) -> list[list[Rule]]:
        """Return for each cell of values (c, n) the best rules of every length, best first within a length.

        A constant cell has none.
        """
        scaled = standardized(values)
        single_sums = scaled @ self.holds.T
        scores = explained(single_sums, np.broadcast_to(self.sizes, single_sums.shape), self.num_chars, self.least)
        singles = [self._best_singles(row) for row in scores]
        lengths = [singles]
        parents = [[signed for rule in rules for signed in (rule, negated(rule))] for rules in singles]
        for _ in range(1, MAX_TERMS):
            found = self._extend(scaled, parents)
            # The best rule without each of its conditions in turn.
            parts = [
                [tuple(other for other in rules[0][1] if other != one) for one in rules[0][1]] if rules else []
                for rules in found
            ]
            refined = self._extend(scaled, parts)
            found = [self._merge(old + new) for old, new in zip(found, refined, strict=True)]
            lengths.append([[rule for _, rule in rules] for rules in found])
            parents = lengths[-1]
        return [[rule for rules in lengths for rule in rules[cell][:NUM_KEPT]] for cell in range(len(values))]

    def _best_singles(self, scores: Float32Array) -> list[Rule]:
        """Return the best condition of each of the best families, best first, by their scores (K,)."""
        chosen: dict[str, Rule] = {}
        for condition in np.argsort(-scores, kind="stable").tolist():
            if scores[condition] <= 0 or len(chosen) == self.beam:
                break
            chosen.setdefault(self.families[condition], ((condition, True),))
        return list(chosen.values())

    def _extend(self, scaled: Float32Array, parents: Sequence[Sequence[Rule]]) -> list[list[tuple[float, Rule]]]:
        """Extend the rules of each cell by every condition and its negation; return the best with their scores."""
        pairs = [(cell, rule) for cell, rules in enumerate(parents) for rule in rules]
        if not pairs:
            return [[] for _ in parents]
        rules = {rule: number for number, rule in enumerate(dict.fromkeys(rule for _, rule in pairs))}
        rows = [rules[rule] for _, rule in pairs]
        masks = np.array([rule_mask(self.flags, rule) for rule in rules], np.float32)
        sizes, own_sizes = (masks @ self.holds.T)[rows], masks.sum(axis=1)[rows]
        weighted = masks[rows] * scaled[[cell for cell, _ in pairs]]
        sums, own_sums = weighted @ self.holds.T, weighted.sum(axis=1)
        scores = np.empty((len(pairs), 2, len(self.flags)), np.float32)
        scores[:, 0] = explained(sums, sizes, self.num_chars, self.least)
        scores[:, 1] = explained(own_sums[:, None] - sums, own_sizes[:, None] - sizes, self.num_chars, self.least)
        for number, (_, rule) in enumerate(pairs):
            scores[number, :, [condition for condition, _ in rule]] = 0
        ends = np.cumsum([len(rules) for rules in parents])
        return [
            self._best_children(rules, scores[end - len(rules) : end])
            for rules, end in zip(parents, ends.tolist(), strict=True)
        ]

    def _best_children(self, parents: Sequence[Rule], scores: Float32Array) -> list[tuple[float, Rule]]:
        """Return the best extensions of a cell's rules, by their scores (rules, 2, K) with a condition or without."""
        flat = scores.ravel()
        num_best = min(ALIKE * self.beam, len(flat))
        if num_best == 0:
            return []
        num_conditions = len(self.flags)
        children: list[tuple[float, Rule]] = []
        for place in np.argpartition(-flat, num_best - 1)[:num_best].tolist():
            number, literal = divmod(place, 2 * num_conditions)
            if flat[place] > 0:
                added = (literal % num_conditions, literal < num_conditions)
                children.append((float(flat[place]), tuple(sorted((*parents[number], added)))))
        return self._merge(children)

    def _merge(self, rules: Iterable[tuple[float, Rule]]) -> list[tuple[float, Rule]]:
        """Return the best rules, one of those that are variants of each other, best first."""
        chosen: dict[tuple[tuple[str, bool], ...], tuple[float, Rule]] = {}
        for score, rule in sorted(rules, key=lambda one: (-one[0], one[1])):
            if len(chosen) == self.beam:
                break
            kind = tuple(sorted((self.families[condition], holds) for condition, holds in rule))
            chosen.setdefault(kind, (score, rule))
        return list(chosen.values())


def negated(rule: Rule) -> Rule:
    """Return the opposite of a rule of one condition."""
    ((condition, holds),) = rule
    return ((condition, not holds),)


def group_counts(counts: NDArray[np.int64], half: int) -> NDArray[np.int64]:
    """Return the group (N,) of each of the counts (N,), whose first `half` make groups that occur about equally often.

    A count outside all groups belongs to the first or the last one.
    """
    starts = np.unique(counts[:half])
    if len(starts) > NUM_GROUPS:
        shares = np.linspace(0, 1, NUM_GROUPS + 1)[:-1]
        starts = np.unique(np.quantile(counts[:half], shares, method="nearest")).astype(np.int64)
    return np.maximum(np.searchsorted(starts, counts, side="right") - 1, 0)


def fit_rising(sums: Float64Array, sizes: Float64Array) -> Float64Array:
    """Return the rising sequences (c, G) closest to values with sums (c, G) in groups of sizes (G,), none empty.

    Entry g is the largest over i <= g of the smallest over j >= g of the mean of groups i to j (Robertson, Wright &
    Dykstra 1988, Order restricted statistical inference, section 1.4).
    """
    totals = np.concatenate((np.zeros((len(sums), 1)), np.cumsum(sums, axis=1)), axis=1)
    ends = np.append(0, np.cumsum(sizes))
    widths = ends[None, 1:] - ends[:-1, None]  # of groups i to j (G, G)
    is_range = widths > 0
    means = np.where(is_range, (totals[:, None, 1:] - totals[:, :-1, None]) / np.where(is_range, widths, 1), np.inf)
    smallest = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    largest = np.maximum.accumulate(smallest, axis=1)
    return np.diagonal(largest, axis1=1, axis2=2)


def fit_monotone(sums: Float64Array, sizes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the closest rising or falling sequences (c, G), and the sum of squares (c,) that each of them explains.

    `sums` (c, G) are those of values with mean 0.
    """
    rising, falling = fit_rising(sums, sizes), -fit_rising(-sums, sizes)
    gains = [(fitted**2) @ sizes for fitted in (rising, falling)]
    is_rising = gains[0] >= gains[1]
    return np.where(is_rising[:, None], rising, falling), np.maximum(*gains)
