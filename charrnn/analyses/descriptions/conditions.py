"""The conditions that may hold at a character of a text, in words, and the counts of the text.

A condition holds *after reading* a character, like the label of a detector. Conditions do not need
a model.

Shapes: N characters, n characters of a half, K conditions, Q counts.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.detector import MIN_POSITIVES, Detector, Labels
from charrnn.detectors.registry import get_detectors
from charrnn.errors import check_length
from charrnn.system.arrays import Int64Array
from charrnn.text.corpus import utf8_sizes
from charrnn.text.vocab import EncodedText, code_points, undo_decode_each

Flags = NDArray[np.bool_]
CodePoints = NDArray[np.unsignedinteger[Any]]
MIN_TEXT = 2_000
"""Characters that a text needs for its cells to be described: an interval needs 1,000 in the
scoring half."""
DISTANCES = (3, 5, 10, 20)
"""The k of `within the last k characters`."""
NUM_CHARACTERS = (40, 24, 12, 12)
"""How many of the most frequent characters are conditions, for the current character and for the
characters 1 to 3 before it."""
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
    """The subject of the statement. A search follows only the best condition of a family."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Every condition that both holds and fails often enough in each half of a text, and the counts
    of the text."""

    conditions: tuple[Condition, ...]
    flags: Flags = field(repr=False)
    """(K, N): where each condition holds."""
    count_names: tuple[str, ...]
    counts: Int64Array = field(repr=False)
    """(Q, N)"""
    half: int
    """The index at which the scoring half begins."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the conditions and the counts."""
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
    or if it holds exactly where an earlier condition holds or fails. Raises DataError for a text
    under MIN_TEXT characters, UsageError for an unknown detector.
    """
    check_length(len(text), least=MIN_TEXT, what="describing cells")

    # The labels of the detectors. A detector may not apply to the text.
    labelled = []
    for detector in get_detectors(detectors):
        labels = detector.labelling(text.text).labels
        if labels is not None:
            labelled.append((detector, labels))

    # Every condition once, in a fixed order: detectors first, because they have the better phrases.
    conditions: list[Condition] = []
    rows: list[Flags] = []
    seen: set[bytes] = set()
    of_detectors = _of_detectors(labelled, half)
    of_characters = _of_characters(_code_points(text), half)
    for condition, flags in chain(of_detectors, of_characters):
        packed = np.packbits(flags).tobytes()
        if packed in seen or not _is_testable(flags, half):
            continue
        # The negation of a condition predicts the same, and has the same score.
        seen |= {packed, np.packbits(~flags).tobytes()}
        conditions.append(condition)
        rows.append(flags)

    # The counts themselves, which a value may follow up or down.
    count_names: list[str] = []
    counts: list[Labels] = []
    for detector, labels in labelled:
        if labels.dtype != bool and _varies(labels, half):
            count_names.append(_words_of(detector))
            counts.append(labels)

    return Conditions(
        conditions=tuple(conditions),
        flags=np.array(rows, bool).reshape(len(rows), len(text)),
        count_names=tuple(count_names),
        counts=np.array(counts, np.int64).reshape(len(counts), len(text)),
        half=half,
    )


def _is_testable(flags: Flags, half: int) -> bool:
    """Return whether flags (N,) hold and fail often enough in both halves."""
    for flags_of_half in (flags[:half], flags[half:]):
        if not MIN_POSITIVES <= int(flags_of_half.sum()) <= len(flags_of_half) - MIN_POSITIVES:
            return False
    return True


def _varies(counts: Labels, half: int) -> bool:
    """Return whether counts (N,) leave their median often enough in both halves."""
    for counts_of_half in (counts[:half], counts[half:]):
        if int((counts_of_half != np.median(counts_of_half)).sum()) < MIN_POSITIVES:
            return False
    return True


def _words_of(detector: Detector) -> str:
    return detector.name.replace("-", " ")


def _of_detectors(
    labelled: Sequence[tuple[Detector, Labels]], half: int
) -> Iterator[tuple[Condition, Flags]]:
    """Yield the labels of yes/no detectors, and thresholds of counts that divide the choosing half
    evenly."""
    for detector, labels in labelled:
        # A yes/no detector is a condition by itself.
        if labels.dtype == bool:
            phrase = detector.looks_for
            yield Condition(phrase, negation=opposite_of(phrase), family=detector.name), labels
            continue

        # A count is a condition at each of its thresholds, which are variants for a search.
        count = _words_of(detector)
        for threshold in thresholds(labels[:half]):
            condition = Condition(
                f"{count} ≥ {threshold}", negation=f"{count} < {threshold}", family=detector.name
            )
            yield condition, labels >= threshold


def thresholds(counts: Labels) -> list[int]:
    """Return at most NUM_THRESHOLDS values that divide counts (n,) evenly, above their smallest
    value."""
    # Every count is at least the smallest value.
    different = np.unique(counts)[1:]
    if len(different) > NUM_THRESHOLDS:
        above = counts[counts > counts.min()]
        shares = np.linspace(0, 1, NUM_THRESHOLDS + 1)[:-1]
        different = np.unique(np.append(different[0], np.quantile(above, shares, method="nearest")))
    return [int(value) for value in different]


def opposite_of(phrase: str) -> str:
    """Return the opposite of what a detector looks for, in words.

    >>> opposite_of("inside brackets")
    'outside brackets'
    """
    # The phrases of the built-in detectors; any other phrase is only negated.
    for begin, opposite in (("inside ", "outside "), ("in ", "not in "), ("after ", "not after ")):
        if phrase.startswith(begin):
            return opposite + phrase.removeprefix(begin)
    subject, verb, predicate = phrase.partition(" is ")
    if verb:
        return f"{subject} is not {predicate}"
    return f"not: {phrase}"


def _code_points(text: EncodedText) -> CodePoints:
    """Return the code point (N,) of each character; for a byte, of the character to which it
    belongs.

    A byte that belongs to no character has a lone surrogate, as by "surrogateescape".
    """
    # A text of bytes is decoded, and each byte gets the code point of its character.
    whole = undo_decode_each(text.text, text.kind)
    if isinstance(whole, str):
        return code_points(whole)
    points = code_points(whole.decode("utf-8", "surrogateescape"))
    is_lone_byte = (points >= 0xDC80) & (points <= 0xDCFF)
    return np.repeat(points, np.where(is_lone_byte, 1, utf8_sizes(points)))


def _category(*initials: str) -> Callable[[str], bool]:
    """Return a function that says whether the Unicode category of a character has one of some
    prefixes."""
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


def _of_characters(codes: CodePoints, half: int) -> Iterator[tuple[Condition, Flags]]:
    """Yield the conditions on the class and the identity of the current character and of recent
    characters, from code points (N,)."""
    # Classes are decided once for each different character; the most frequent come first.
    different, index = np.unique(codes, return_inverse=True)
    characters = [chr(code) for code in different]
    sizes = np.bincount(index[:half], minlength=len(characters))
    frequent = np.argsort(-sizes, kind="stable").tolist()
    by_class: dict[str, Flags] = {}
    for name, belongs in CLASSES.items():
        by_class[name] = np.array([belongs(character) for character in characters], bool)[index]

    # The current character, and the characters 1 to 3 before it.
    for lag, num_frequent in enumerate(NUM_CHARACTERS):
        for name, flags in by_class.items():
            yield _at_lag(name, flags=flags, lag=lag)
        for number in frequent[:num_frequent]:
            yield _at_lag(quoted(characters[number]), flags=index == number, lag=lag)

    # The distance to the last character of a kind. Letters are always near.
    is_letter = CLASSES["a letter"]
    no_letters = [number for number in frequent if not is_letter(characters[number])]
    recent = dict(by_class)
    for number in no_letters[:NUM_RECENT]:
        recent[quoted(characters[number])] = index == number

    # Before the first character of a kind, the distance is longer than any.
    positions = np.arange(len(codes))
    for name, flags in recent.items():
        distance = positions - np.maximum.accumulate(np.where(flags, positions, -len(codes)))
        for most in DISTANCES:
            within = f"within the last {most} characters"
            negation = f"no {name.removeprefix('a ')} {within}"
            yield (
                Condition(f"{name} {within}", negation=negation, family=f"recent {name}"),
                distance < most,
            )


def _at_lag(name: str, flags: Flags, lag: int) -> tuple[Condition, Flags]:
    """Return the condition on the character `lag` before, which fails at the first `lag`
    characters."""
    phrase = _PLACES[lag].format(name)
    shifted = np.append(np.zeros(lag, bool), flags[: len(flags) - lag])
    return Condition(phrase, negation=f"not {phrase}", family=phrase), shifted


NAMED = {"\t": "a tab", "\r": "a carriage return", "\u00a0": "a no-break space"}
"""Names of characters that cannot be printed, but are common."""


def quoted(character: str) -> str:
    """Return a character between quotation marks, or its name or code point if it cannot be
    printed."""
    # A control character would be invisible, or move the cursor.
    if not character.isprintable():
        return NAMED.get(character, f"U+{ord(character):04X}")
    if character == "'":
        return f'"{character}"'
    return f"'{character}'"
