"""Sentences about units: what they may name, how they are fitted and how they are written, for
a_network_explained.py.

A sentence is a sum of at most three tables. Each table gives a number to each group of a term, such
as the last character. Tables are fitted by least squares to a unit's memory.

Shapes: N characters, n of a part, H units, u of them, G groups of a term, D groups of all terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.descriptions.conditions import build_conditions
from charrnn.analyses.descriptions.describing import Fitter
from charrnn.analyses.descriptions.rules import group_counts
from charrnn.api import Model
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS
from charrnn.model_study import ModelStudy
from charrnn.statistics.intervals import interval_of, resample_sums
from charrnn.views.theme import all_visible

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Interval = tuple[float, float]

NUM_LAGS = 5
"""The last characters that a sentence may name."""
MAX_TERMS = 3
"""Terms of a sentence, at most."""
MIN_GAIN = 0.02
"""R² on the choosing half that a further term must add, as in `visualize --describe`."""
RIDGE = 1.0
"""Added to the counts of the regressions: a group that occurs once predicts little."""


@dataclass(frozen=True, eq=False)
class Term:
    """Something that the text says at each character, as one of G groups."""

    name: str
    kind: str
    """What the picture colours by: character, earlier, word, line, quotation, state or rule."""
    groups: Ints
    """(N,): the group of each character."""
    names: tuple[str, ...]
    """(G,): the names of the groups: characters, numbers, or no and yes."""


KINDS = {
    "quote": "quotation",
    "line-position": "line",
    "word-position": "word",
}
"""The kind of each detector; all others are states."""
CHARACTERS = ("on", "after", "two after", "three after", "four after")
"""How a sentence names the last characters."""


def count_brackets(text: str) -> Ints:
    """Count the round brackets that are open after each character (N,)."""
    written = np.array(list(text))
    changes = (written == "(").astype(np.int64) - (written == ")")
    return np.maximum(np.cumsum(changes), 0)


def are_quoted(text: str) -> Ints:
    """Return whether each character (N,) is after an odd number of straight quotation marks."""
    return np.cumsum(np.array(list(text)) == '"') % 2 == 1


def reads_ahead(detector: Detector, text: str) -> bool:
    """Return whether a label depends on what follows its character: it may then tell the next."""
    part = text[:20_000]
    labels = detector.labelling(part).labels
    if labels is None:
        return False
    for position in range(500, len(part) - 1, 293):
        cut = detector.for_any_text().labelling(part[: position + 1]).labels
        if cut is not None and cut[-1] != labels[position]:
            return True
    return False


def usable_detectors(text: str) -> list[Detector]:
    """Return the detectors of charrnn that do not read ahead, and one for round brackets. In a text
    in which `quote` reads ahead, quotation marks are counted instead."""
    detectors = []
    for detector in DETECTORS.values():
        if detector.name == "bracket-depth":
            detectors.append(replace(detector, label=count_brackets).for_any_text())
        elif not reads_ahead(detector, text):
            detectors.append(detector)
        elif detector.name == "quote":
            detectors.append(replace(detector, label=are_quoted))
    return detectors


def make_terms(model: Model, ids: Ints, first: int, text: str) -> list[Term]:
    """Return a term for each of the last characters, and for each detector that has labels."""
    half = len(text) // 2
    characters = tuple(model.generator.character(id) for id in range(len(model.vocab)))
    terms = []
    for lag in range(NUM_LAGS):
        groups = ids[first - lag : len(ids) - lag]
        kind = "earlier" if lag else "character"
        terms.append(Term(CHARACTERS[lag], kind, groups=groups, names=characters))
    for detector in usable_detectors(text):
        labels = detector.labelling(text).labels
        if labels is None or len(np.unique(labels[:half])) < 2:
            continue
        kind = KINDS.get(detector.name, "state")
        if labels.dtype == bool:
            terms.append(
                Term(detector.looks_for, kind, groups=labels.astype(np.int64), names=("no", "yes"))
            )
            continue
        groups = group_counts(labels, half)
        names = []
        for group in range(groups.max() + 1):
            inside = labels[groups == group]
            names.append(str(inside.min()) if len(inside) else "")
        terms.append(Term(detector.name.replace("-", " "), kind, groups=groups, names=tuple(names)))
    return terms


def rule_terms(study: ModelStudy, detectors: list[Detector]) -> list[Term | None]:
    """Return the rule of `visualize --describe` for each unit as a term; None for a count."""
    descriptions = study.descriptions(detectors).descriptions
    fitter = Fitter(build_conditions(study.text, study.half, detectors))
    fits = fitter.fit(np.asarray(study.activations.values, np.float32))
    terms: list[Term | None] = []
    for description, fit in zip(descriptions, fits, strict=True):
        if fit is None or isinstance(fit.key, int):
            terms.append(None)
            continue
        name = " and ".join(description.conditions)
        groups = fitter.groups(fit.key)
        # A rule of one condition is named by the rarer side, which may be its negation.
        if len(fit.key) == 1 and groups.mean() > 0.5:
            groups = 1 - groups
        terms.append(Term(name, "rule", groups=groups, names=("no", "yes")))
    return terms


class Regression:
    """Least squares of values (N, H) on groups of terms, from counts of pairs of groups."""

    def __init__(self, terms: Sequence[Term], values: Floats, part: slice) -> None:
        """Count the pairs and sum the values over a part of the text."""
        self.terms = terms
        self.values = values[part].astype(np.float64)
        self.means = self.values.mean(axis=0)
        centred = self.values - self.means
        self.variation = (centred**2).sum(axis=0)
        sizes = [len(term.names) for term in terms]
        self.begins = np.append(0, np.cumsum(sizes))
        self.products = np.zeros((self.begins[-1], values.shape[1]))
        self.counts = np.zeros((self.begins[-1], self.begins[-1]))
        for index, term in enumerate(terms):
            groups = term.groups[part]
            for unit, column in enumerate(centred.T):
                summed = np.bincount(groups, weights=column, minlength=sizes[index])
                self.products[self.columns(index), unit] = summed
            for other in range(index + 1):
                pairs = groups * sizes[other] + terms[other].groups[part]
                counts = np.bincount(pairs, minlength=sizes[index] * sizes[other])
                counts = counts.reshape(sizes[index], sizes[other])
                self.counts[self.columns(index), self.columns(other)] = counts
                self.counts[self.columns(other), self.columns(index)] = counts.T

    def columns(self, index: int) -> slice:
        """Return the columns of a term among the D columns."""
        return slice(self.begins[index], self.begins[index + 1])

    def fit(self, chosen: Sequence[int], units: Sequence[int]) -> tuple[Floats, Floats]:
        """Return the tables of the chosen terms below each other, (g, u) for u units, and R²
        (u,)."""
        columns = np.concatenate([np.arange(self.begins[-1])[self.columns(i)] for i in chosen])
        counts = self.counts[np.ix_(columns, columns)]
        products = self.products[np.ix_(columns, units)]
        tables = np.linalg.solve(counts + RIDGE * np.eye(len(columns)), products)
        explained = 2 * (tables * products).sum(axis=0) - (tables * (counts @ tables)).sum(axis=0)
        return tables, explained / np.maximum(self.variation[list(units)], 1e-12)

    def predict(self, chosen: Sequence[int], units: Sequence[int]) -> Floats:
        """Return what the chosen terms predict at every character of the text, (N, u)."""
        tables, _ = self.fit(chosen, units)
        predicted = np.tile(self.means[list(units)], (len(self.terms[0].groups), 1))
        begin = 0
        for index in chosen:
            size = len(self.terms[index].names)
            predicted += tables[begin : begin + size][self.terms[index].groups]
            begin += size
        return predicted

    def predict_each(self, chosen_of_units: Sequence[Sequence[int]]) -> Floats:
        """Return what the chosen terms of each unit predict, (N, H); its mean if none is chosen."""
        predicted = np.tile(self.means, (len(self.terms[0].groups), 1))
        for unit, chosen in enumerate(chosen_of_units):
            if chosen:
                predicted[:, unit] = self.predict(chosen, [unit])[:, 0]
        return predicted

    def choose(self, unit: int, candidates: Sequence[int]) -> list[int]:
        """Add the best of the candidates, one after the other, while each adds MIN_GAIN to R²."""
        chosen: list[int] = []
        reached = 0.0
        while len(chosen) < MAX_TERMS and self.variation[unit] > 1e-9:
            scores = {}
            for index in set(candidates) - set(chosen):
                scores[index] = float(self.fit([*chosen, index], [unit])[1][0])
            best = max(scores, key=scores.__getitem__)
            if scores[best] < reached + MIN_GAIN:
                break
            chosen.append(best)
            reached = scores[best]
        return chosen


def r_squared(values: Floats, predicted: Floats) -> float:
    """Compute the share of the variance of values (n,) that predictions explain."""
    centred = values - values.mean()
    total = float((centred**2).sum())
    return 1 - float(((values - predicted) ** 2).sum()) / total if total > 1e-9 else 0.0


def r_squared_interval(values: Floats, predicted: Floats) -> Interval:
    """Return the 95 % interval of R² by a bootstrap over blocks of the text."""
    centred = values - values.mean()
    errors, squares, sums, counts = resample_sums(
        (values - predicted) ** 2, centred**2, centred, np.ones(len(values))
    )
    totals = np.maximum(squares - sums**2 / counts, 1e-12)
    return interval_of(1 - errors / totals, len(values))


NUM_NAMED = 4
"""Characters that a sentence names on either side, at most."""


def named_groups(table: Floats, counts: Floats) -> tuple[list[int], list[int]]:
    """Return the groups that are named as high and as low: those that move the unit most."""
    weights = table * np.sqrt(counts)
    order = np.argsort(weights, kind="stable").tolist()
    highest = [group for group in order[::-1][:NUM_NAMED] if weights[group] > 0]
    return highest, [group for group in order[:NUM_NAMED] if weights[group] < 0]


def in_words(term: Term, table: Floats, counts: Floats) -> str:
    """Say what a table (G,) does: after which groups the unit is high and low."""
    if term.names == ("no", "yes"):
        where = f"where {term.name}" if term.kind == "rule" else term.name
        return f"{'high' if table[1] > table[0] else 'low'} {where}"
    if term.kind in ("character", "earlier"):
        sides = []
        for groups in named_groups(table, counts):
            sides.append(" ".join(shown(term.names[group]) for group in groups))
        return f"high {term.name} {sides[0]}, low {term.name} {sides[1]}"
    numbers = np.arange(len(table))
    weights = counts / counts.sum()
    slope = (weights * (numbers - weights @ numbers) * (table - weights @ table)).sum()
    return f"{'rises' if slope > 0 else 'falls'} with {term.name}"


def as_written(term: Term, table: Floats, counts: Floats) -> Term:
    """Return a term of characters with three groups only: those named as high, as low, the rest."""
    if term.kind not in ("character", "earlier"):
        return term
    group_of = np.zeros(len(table), np.int64)
    highest, lowest = named_groups(table, counts)
    group_of[highest] = 1
    group_of[lowest] = 2
    return replace(term, groups=group_of[term.groups], names=("the rest", "high", "low"))


def shown(character: str) -> str:
    """Return a character so that it can be seen."""
    return all_visible(character).replace(" ", "␣")
