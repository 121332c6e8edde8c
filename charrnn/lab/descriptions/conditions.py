"""Conditions that may hold at a character of a text: the words in which cells are described.

A condition says what holds *after reading* a character, as a label of a detector does. None needs a model.
Shapes: N characters, K conditions, Q counts.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.detector import MIN_POSITIVES, Detector, Labels
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError, counted, named
from charrnn.text.encoded import EncodedText, undo_decode_each

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
MIN_TEXT = 2_000
"""Characters that a text needs for its cells to be described: an interval needs 1,000 in the scoring half."""
MAX_LAG = 3
"""The characters before the current one whose class and identity are conditions."""
DISTANCES = (3, 5, 10, 20)
"""The k of `within the last k characters`."""
NUM_CHARACTERS = (40, 24, 12, 12)
"""How many of the most frequent characters are conditions, of the current character and of those 1 to 3 before it."""
NUM_RECENT = 12
"""How many of the most frequent characters that are no letters are conditions `within the last k characters`."""
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
    """What the statement is about. Of conditions with the same family a search follows only the best."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Every condition that can be told from its opposite in both halves of a text, and the counts of the text."""

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
        """The SHA-256 of the conditions and the counts: equal for texts and detectors that give the same ones."""
        names = repr((self.conditions, self.count_names, self.half))
        digest = hashlib.sha256(names.encode("utf-8", "backslashreplace"))
        digest.update(np.packbits(self.flags).tobytes())
        digest.update(np.ascontiguousarray(self.counts).tobytes())
        return digest.hexdigest()


def build_conditions(text: EncodedText, half: int, detectors: Sequence[str | Detector] | None = None) -> Conditions:
    """Build the conditions of a text of N characters; `detectors` are all built-in ones if None.

    A condition is left out if it holds, or fails, at fewer than MIN_POSITIVES characters of a half, or if it holds
    where an earlier one holds, or everywhere else. Raises DataError for a text under MIN_TEXT characters, UsageError
    for an unknown detector.
    """
    if len(text) < MIN_TEXT:
        raise DataError(
            f"The text has {counted(len(text), 'character')}; describing cells needs at least {MIN_TEXT:,}. "
            f"Give a longer {named('text')}."
        )
    chosen = get_detectors(detectors)
    labelled = [(one, labels) for one in chosen if (labels := one.label_documents(text.text)) is not None]
    kept: list[Condition] = []
    rows: list[Flags] = []
    seen: set[bytes] = set()
    for condition, flags in (*_of_detectors(labelled, half), *_of_characters(_code_points(text), half)):
        packed = np.packbits(flags).tobytes()
        if not _is_told(flags, half) or packed in seen:
            continue
        seen |= {packed, np.packbits(~flags).tobytes()}
        kept.append(condition)
        rows.append(flags)
    counts = [(one.name, labels) for one, labels in labelled if labels.dtype != bool and _varies(labels, half)]
    return Conditions(
        tuple(kept),
        np.array(rows, bool).reshape(len(rows), len(text)),
        tuple(name.replace("-", " ") for name, _ in counts),
        np.array([labels for _, labels in counts], np.int64).reshape(len(counts), len(text)),
        half,
    )


def _is_told(flags: Flags, half: int) -> bool:
    return all(MIN_POSITIVES <= int(part.sum()) <= len(part) - MIN_POSITIVES for part in (flags[:half], flags[half:]))


def _varies(counts: Labels, half: int) -> bool:
    return all(int((part != np.median(part)).sum()) >= MIN_POSITIVES for part in (counts[:half], counts[half:]))


def _of_detectors(labelled: Sequence[tuple[Detector, Labels]], half: int) -> Iterator[tuple[Condition, Flags]]:
    """Yield the labels of yes/no detectors, and thresholds of counts that divide the choosing half evenly."""
    for detector, labels in labelled:
        if labels.dtype == bool:
            yield Condition(detector.looks_for, negated(detector.looks_for), detector.name), labels
            continue
        name = detector.name.replace("-", " ")
        for threshold in thresholds(labels[:half]):
            yield Condition(f"{name} ≥ {threshold}", f"{name} < {threshold}", detector.name), labels >= threshold


def thresholds(counts: Labels) -> list[int]:
    """Return at most NUM_THRESHOLDS values that divide counts (n,) evenly, above their smallest value."""
    different = np.unique(counts)[1:]
    if len(different) > NUM_THRESHOLDS:
        above = counts[counts > counts.min()]
        shares = np.linspace(0, 1, NUM_THRESHOLDS + 1)[:-1]
        different = np.unique(np.append(different[0], np.quantile(above, shares, method="nearest")))
    return [int(value) for value in different]


def negated(phrase: str) -> str:
    """Return the opposite of what a detector looks for, in words."""
    for begin, opposite in (("inside ", "outside "), ("in ", "not in "), ("after ", "not after ")):
        if phrase.startswith(begin):
            return opposite + phrase.removeprefix(begin)
    before, verb, rest = phrase.partition(" is ")
    return f"{before} is not {rest}" if verb else f"not: {phrase}"


def _code_points(text: EncodedText) -> NDArray[np.uint32]:
    """Return the code point (N,) of each character; of a byte, that of the character to which it belongs."""
    whole = undo_decode_each(text.text, text.kind)
    if isinstance(whole, str):
        # "surrogatepass": a text may contain lone surrogates.
        return np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.repeat(*decode_bytes(whole))


def decode_bytes(data: bytes) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Decode bytes (N,) as UTF-8: the code point of each character, and how many bytes it has, N in all.

    A byte that belongs to no character is one by itself: a lone surrogate, as by "surrogateescape".
    """
    text = data.decode("utf-8", "surrogateescape")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    is_byte = (points >= 0xDC80) & (points <= 0xDCFF)
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return points, np.where(is_byte, 1, sizes)


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


def _of_characters(codes: NDArray[np.uint32], half: int) -> Iterator[tuple[Condition, Flags]]:
    """Yield the conditions on the class and the identity of the current character and of recent ones."""
    different, index, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    characters = [chr(code) for code in different]
    by_class = {
        name: np.array([belongs(character) for character in characters], bool)[index]
        for name, belongs in CLASSES.items()
    }
    frequent = np.argsort(-np.bincount(index[:half], minlength=len(sizes)), kind="stable").tolist()
    for lag, num_frequent in enumerate(NUM_CHARACTERS):
        for name, flags in by_class.items():
            yield _at_lag(name, flags, lag)
        for place in frequent[:num_frequent]:
            yield _at_lag(quoted(characters[place]), index == place, lag)
    is_letter = by_class["a letter"][np.unique(index, return_index=True)[1]]
    recent = [place for place in frequent if not is_letter[place]][:NUM_RECENT]
    found = by_class | {quoted(characters[place]): index == place for place in recent}
    for name, flags in found.items():
        distance = np.arange(len(flags)) - np.maximum.accumulate(np.where(flags, np.arange(len(flags)), -len(flags)))
        for most in DISTANCES:
            within = f"within the last {most} characters"
            yield (
                Condition(f"{name} {within}", f"no {name.removeprefix('a ')} {within}", f"recent {name}"),
                distance < most,
            )


def _at_lag(name: str, flags: Flags, lag: int) -> tuple[Condition, Flags]:
    phrase = _PLACES[lag].format(name)
    shifted = np.append(np.zeros(lag, bool), flags[: len(flags) - lag])
    return Condition(phrase, f"not {phrase}", phrase), shifted


NAMED = {"\t": "a tab", "\r": "a carriage return", "\u00a0": "a no-break space"}
"""Names of characters that cannot be printed, but are common."""


def quoted(character: str) -> str:
    """Return a character between quotation marks, or its name or code point if it cannot be printed."""
    if not character.isprintable():
        return NAMED.get(character, f"U+{ord(character):04X}")
    return f'"{character}"' if character == "'" else f"'{character}'"
