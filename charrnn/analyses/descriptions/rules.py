"""The words in which cells are described: conditions that may hold at a character, and the search
for rules of them.

A condition says what holds *after reading* a character, as a label of a detector does. None needs a
model.

A rule is a conjunction of at most three conditions. It predicts one mean where all of them hold and
another where they do not. All scores here are R², the share of a cell's variance that this
explains. A beam search with one round of refinement, for many cells at once: the sums of all rules
that extend a rule by one condition are one product of matrices. The value of a cell may also rise
or fall with a count: isotonic regression, for many cells at once.

Shapes: N characters, n characters of a sample, K conditions, Q counts, c cells, P distinct rules, J
pairs of a cell and a rule, G groups of neighbouring counts.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.detector import MIN_POSITIVES, Detector, Labels
from charrnn.detectors.registry import get_detectors
from charrnn.errors import check_length
from charrnn.text.corpus import utf8_sizes
from charrnn.text.vocab import EncodedText, code_points, undo_decode_each

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
MIN_TEXT = 2_000
"""Characters that a text needs for its cells to be described: an interval needs 1,000 in the
scoring half."""
MAX_LAG = 3
"""The characters before the current one whose class and identity are conditions."""
DISTANCES = (3, 5, 10, 20)
"""The k of `within the last k characters`."""
NUM_CHARACTERS = (40, 24, 12, 12)
"""How many of the most frequent characters are conditions, of the current character and of those 1
to 3 before it."""
NUM_RECENT = 12
"""How many of the most frequent characters that are no letters are conditions `within the last k
characters`."""
NUM_THRESHOLDS = 12
"""Thresholds of a count, at most."""
_VOWELS = frozenset("aeiouyаеёиоуыэюяαεηιουω")
_PLACES = ("on {}", "after {}", "2 characters after {}", "3 characters after {}")
"""How a condition on a character is phrased, by its lag."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A statement about a place in a text, in words, and its negation."""

    phrase: str
    """Such as `inside double quotation marks` or `line position ≥ 40`."""
    negation: str
    family: str
    """What the statement is about. Of conditions with the same family a search follows only the
    best."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Every condition that can be told from its opposite in both halves of a text, and the counts
    of the text."""

    conditions: tuple[Condition, ...]
    flags: Flags = field(repr=False)
    """(K, N): where each condition holds."""
    count_names: tuple[str, ...]
    counts: Counts = field(repr=False)
    """(Q, N)"""
    half: int
    """The index at which the scoring half begins."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the conditions and the counts: equal for texts and detectors that give the
        same ones."""
        names = repr((self.conditions, self.count_names, self.half))
        digest = hashlib.sha256(names.encode("utf-8", "backslashreplace"))
        digest.update(np.packbits(self.flags).tobytes())
        digest.update(np.ascontiguousarray(self.counts).tobytes())
        return digest.hexdigest()


def build_conditions(
    text: EncodedText, half: int, detectors: Sequence[str | Detector] | None = None
) -> Conditions:
    """Build the conditions of a text of N characters; `detectors` are all built-in ones if None.

    A condition is left out if it holds, or fails, at fewer than MIN_POSITIVES characters of a half,
    or if it holds where an earlier one holds, or everywhere else. Raises DataError for a text under
    MIN_TEXT characters, UsageError for an unknown detector.
    """
    check_length(len(text), MIN_TEXT, "describing cells")
    chosen = get_detectors(detectors)
    labelled = [
        (one, labels) for one in chosen if (labels := one.label_documents(text.text)) is not None
    ]
    kept: list[Condition] = []
    rows: list[Flags] = []
    seen: set[bytes] = set()
    for condition, flags in (
        *_of_detectors(labelled, half),
        *_of_characters(_code_points(text), half),
    ):
        packed = np.packbits(flags).tobytes()
        if not _is_told(flags, half) or packed in seen:
            continue
        seen |= {packed, np.packbits(~flags).tobytes()}
        kept.append(condition)
        rows.append(flags)
    counts = [
        (one.name, labels)
        for one, labels in labelled
        if labels.dtype != bool and _varies(labels, half)
    ]
    return Conditions(
        tuple(kept),
        np.array(rows, bool).reshape(len(rows), len(text)),
        tuple(name.replace("-", " ") for name, _ in counts),
        np.array([labels for _, labels in counts], np.int64).reshape(len(counts), len(text)),
        half,
    )


def _is_told(flags: Flags, half: int) -> bool:
    return all(
        MIN_POSITIVES <= int(part.sum()) <= len(part) - MIN_POSITIVES
        for part in (flags[:half], flags[half:])
    )


def _varies(counts: Labels, half: int) -> bool:
    return all(
        int((part != np.median(part)).sum()) >= MIN_POSITIVES
        for part in (counts[:half], counts[half:])
    )


def _of_detectors(
    labelled: Sequence[tuple[Detector, Labels]], half: int
) -> Iterator[tuple[Condition, Flags]]:
    """Yield the labels of yes/no detectors, and thresholds of counts that divide the choosing half
    evenly."""
    for detector, labels in labelled:
        if labels.dtype == bool:
            yield (
                Condition(detector.looks_for, opposite_of(detector.looks_for), detector.name),
                labels,
            )
            continue
        name = detector.name.replace("-", " ")
        for threshold in thresholds(labels[:half]):
            yield (
                Condition(f"{name} ≥ {threshold}", f"{name} < {threshold}", detector.name),
                labels >= threshold,
            )


def thresholds(counts: Labels) -> list[int]:
    """Return at most NUM_THRESHOLDS values that divide counts (n,) evenly, above their smallest
    value."""
    different = np.unique(counts)[1:]
    if len(different) > NUM_THRESHOLDS:
        above = counts[counts > counts.min()]
        shares = np.linspace(0, 1, NUM_THRESHOLDS + 1)[:-1]
        different = np.unique(np.append(different[0], np.quantile(above, shares, method="nearest")))
    return [int(value) for value in different]


def opposite_of(phrase: str) -> str:
    """Return the opposite of what a detector looks for, in words."""
    for begin, opposite in (("inside ", "outside "), ("in ", "not in "), ("after ", "not after ")):
        if phrase.startswith(begin):
            return opposite + phrase.removeprefix(begin)
    before, verb, rest = phrase.partition(" is ")
    return f"{before} is not {rest}" if verb else f"not: {phrase}"


def _code_points(text: EncodedText) -> NDArray[np.unsignedinteger[Any]]:
    """Return the code point (N,) of each character; of a byte, that of the character to which it
    belongs."""
    whole = undo_decode_each(text.text, text.kind)
    return np.repeat(*decode_bytes(whole)) if isinstance(whole, bytes) else code_points(whole)


def decode_bytes(data: bytes) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
    """Decode bytes (N,) as UTF-8: the code point of each character, and how many bytes it has, N in
    all.

    A byte that belongs to no character is one by itself: a lone surrogate, as by "surrogateescape".
    """
    points = code_points(data.decode("utf-8", "surrogateescape"))
    is_byte = (points >= 0xDC80) & (points <= 0xDCFF)
    return points, np.where(is_byte, 1, utf8_sizes(points))


def _category(*initials: str) -> Callable[[str], bool]:
    return lambda character: unicodedata.category(character).startswith(initials)


CLASSES: dict[str, Callable[[str], bool]] = {
    "a newline": lambda character: character in "\n\0",
    "a space": lambda character: character != "\n" and character.isspace(),
    "a letter": _category("L", "M"),
    "a capital letter": _category("Lu", "Lt"),
    "a vowel": lambda character: unicodedata.normalize("NFD", character)[0].lower() in _VOWELS,
    "a digit": _category("N"),
    "punctuation": _category("P", "S"),
    "a quotation mark": lambda character: character in "\"'“”‘’«»„",
    "a bracket": _category("Ps", "Pe"),
    "'.', '!' or '?'": lambda character: character in ".!?",
    "a non-ASCII character": lambda character: ord(character) > 127,
}
"""Classes of characters, by how they are phrased."""


def _of_characters(
    codes: NDArray[np.unsignedinteger[Any]], half: int
) -> Iterator[tuple[Condition, Flags]]:
    """Yield the conditions on the class and the identity of the current character and of recent
    ones."""
    different, index, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    characters = [chr(code) for code in different]
    by_class = {
        name: np.array(list(map(belongs, characters)), bool)[index]
        for name, belongs in CLASSES.items()
    }
    frequent = np.argsort(-np.bincount(index[:half], minlength=len(sizes)), kind="stable").tolist()
    for lag, num_frequent in enumerate(NUM_CHARACTERS):
        for name, flags in by_class.items():
            yield _at_lag(name, flags, lag)
        for place in frequent[:num_frequent]:
            yield _at_lag(quoted(characters[place]), index == place, lag)
    recent = [place for place in frequent if not CLASSES["a letter"](characters[place])][
        :NUM_RECENT
    ]
    found = by_class | {quoted(characters[place]): index == place for place in recent}
    for name, flags in found.items():
        distance = np.arange(len(flags)) - np.maximum.accumulate(
            np.where(flags, np.arange(len(flags)), -len(flags))
        )
        for most in DISTANCES:
            within = f"within the last {most} characters"
            condition = Condition(
                f"{name} {within}", f"no {name.removeprefix('a ')} {within}", f"recent {name}"
            )
            yield condition, distance < most


def _at_lag(name: str, flags: Flags, lag: int) -> tuple[Condition, Flags]:
    phrase = _PLACES[lag].format(name)
    return Condition(phrase, f"not {phrase}", phrase), np.append(
        np.zeros(lag, bool), flags[: len(flags) - lag]
    )


NAMED = {"\t": "a tab", "\r": "a carriage return", "\u00a0": "a no-break space"}
"""Names of characters that cannot be printed, but are common."""


def quoted(character: str) -> str:
    """Return a character between quotation marks, or its name or code point if it cannot be
    printed."""
    if not character.isprintable():
        return NAMED.get(character, f"U+{ord(character):04X}")
    return f'"{character}"' if character == "'" else f"'{character}'"


Float32Array = NDArray[np.float32]
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
    scaled = np.divide(
        centred, norms, out=np.zeros(centred.shape), where=norms > 1e-6 * values.shape[1] ** 0.5
    )
    return np.asarray(scaled, np.float32)


def explained(sums: Float32Array, sizes: Float32Array, num_chars: int, least: int) -> Float32Array:
    """Compute R² from the sums of standardized values where a rule holds, and how often it holds.

    It is n · sums² / (sizes · (n − sizes)), and 0 where a rule holds or fails at fewer than `least`
    of n characters.
    """
    others = num_chars - sizes
    is_told = (sizes >= least) & (others >= least)
    scores = np.divide(sums**2 * num_chars, sizes * others, out=np.zeros_like(sums), where=is_told)
    return np.asarray(np.minimum(scores, 1), np.float32)


class RuleSearch:
    """A search among the conjunctions of K conditions, on a sample of n characters."""

    def __init__(self, flags: Flags, families: Sequence[str], least: int, beam: int = BEAM) -> None:
        """Prepare a search with flags (K, n). Conditions with the same family are variants of each
        other.

        `least` is the number of characters at which a rule must hold, and must fail.
        """
        self.flags, self.least, self.beam = flags, least, beam
        self.families, self.num_chars = families, flags.shape[1]
        self.holds: Float32Array = flags.astype(np.float32)
        self.sizes: Float32Array = self.holds.sum(axis=1)

    def search(self, values: NDArray[np.floating]) -> list[list[Rule]]:
        """Return for each cell of values (c, n) the best rules of every length, best first within a
        length.

        A constant cell has none.
        """
        scaled = standardized(values)
        single_sums = scaled @ self.holds.T
        scores = explained(
            single_sums, np.broadcast_to(self.sizes, single_sums.shape), self.num_chars, self.least
        )
        singles = [self._best_singles(row) for row in scores]
        lengths = [singles]
        parents = [
            [signed for rule in rules for signed in (rule, negated(rule))] for rules in singles
        ]
        for _ in range(1, MAX_TERMS):
            found = self._extend(scaled, parents)
            # The best rule without each of its conditions in turn.
            parts = [
                (
                    [tuple(other for other in rules[0][1] if other != one) for one in rules[0][1]]
                    if rules
                    else []
                )
                for rules in found
            ]
            found = [
                self._merge(old + new)
                for old, new in zip(found, self._extend(scaled, parts), strict=True)
            ]
            lengths.append([[rule for _, rule in rules] for rules in found])
            parents = lengths[-1]
        return [
            [rule for rules in lengths for rule in rules[cell][:NUM_KEPT]]
            for cell in range(len(values))
        ]

    def _best_singles(self, scores: Float32Array) -> list[Rule]:
        """Return the best condition of each of the best families, best first, by their scores
        (K,)."""
        chosen: dict[str, Rule] = {}
        for condition in np.argsort(-scores, kind="stable").tolist():
            if scores[condition] <= 0 or len(chosen) == self.beam:
                break
            chosen.setdefault(self.families[condition], ((condition, True),))
        return list(chosen.values())

    def _extend(
        self, scaled: Float32Array, parents: Sequence[Sequence[Rule]]
    ) -> list[list[tuple[float, Rule]]]:
        """Extend the rules of each cell by every condition and its negation; return the best with
        their scores."""
        pairs = [(cell, rule) for cell, rules in enumerate(parents) for rule in rules]
        if not pairs:
            return [[] for _ in parents]
        rules = {
            rule: number for number, rule in enumerate(dict.fromkeys(rule for _, rule in pairs))
        }
        rows = [rules[rule] for _, rule in pairs]
        masks = np.array([rule_mask(self.flags, rule) for rule in rules], np.float32)
        sizes, own_sizes = (masks @ self.holds.T)[rows], masks.sum(axis=1)[rows]
        weighted = masks[rows] * scaled[[cell for cell, _ in pairs]]
        sums, own_sums = weighted @ self.holds.T, weighted.sum(axis=1)
        scores = np.empty((len(pairs), 2, len(self.flags)), np.float32)
        scores[:, 0] = explained(sums, sizes, self.num_chars, self.least)
        scores[:, 1] = explained(
            own_sums[:, None] - sums, own_sizes[:, None] - sizes, self.num_chars, self.least
        )
        for number, (_, rule) in enumerate(pairs):
            scores[number, :, [condition for condition, _ in rule]] = 0
        ends = np.cumsum([len(rules) for rules in parents])
        return list(map(self._best_children, parents, np.split(scores, ends[:-1])))

    def _best_children(
        self, parents: Sequence[Rule], scores: Float32Array
    ) -> list[tuple[float, Rule]]:
        """Return the best extensions of a cell's rules, by their scores (rules, 2, K) with a
        condition or without."""
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
    """Return the group (N,) of each of the counts (N,), whose first `half` make groups that occur
    about equally often.

    A count outside all groups belongs to the first or the last one.
    """
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
    totals = np.concatenate((np.zeros((len(sums), 1)), np.cumsum(sums, axis=1)), axis=1)
    ends = np.append(0, np.cumsum(sizes))
    widths = ends[None, 1:] - ends[:-1, None]  # of groups i to j (G, G)
    is_range = widths > 0
    means = np.where(
        is_range,
        (totals[:, None, 1:] - totals[:, :-1, None]) / np.where(is_range, widths, 1),
        np.inf,
    )
    smallest = np.minimum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]
    return np.diagonal(np.maximum.accumulate(smallest, axis=1), axis1=1, axis2=2)


def fit_monotone(sums: Float64Array, sizes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the closest rising or falling sequences (c, G), and the sum of squares (c,) that each
    of them explains.

    `sums` (c, G) are those of values with mean 0.
    """
    rising, falling = fit_rising(sums, sizes), -fit_rising(-sums, sizes)
    gains = [(fitted**2) @ sizes for fitted in (rising, falling)]
    return np.where((gains[0] >= gains[1])[:, None], rising, falling), np.maximum(*gains)
