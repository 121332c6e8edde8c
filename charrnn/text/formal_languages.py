"""Formal languages to train on: seeded strings, the state that a reader must keep, and what may come next.

The state is known from how a string is made; `detectors.formal_languages` computes it from the text alone.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import xor
from pathlib import Path
from random import Random

from charrnn.errors import DataError, UsageError, did_you_mean, named
from charrnn.files import convert_os_errors, replacing

END = "\0"
"""What follows the last character of a string: the END symbol of a document."""
BRACKETS = ("()", "[]", "{}", "<>")
"""Pairs of brackets of `dyck`, in the order in which they are used."""
LETTERS = "abcd"
"""Letters of the words of `copy`."""
MAX_LENGTH = 100_000
"""Longest string."""
MAX_LINES = 100_000_000
"""Most strings."""

Next = frozenset[str] | None
"""The characters that may follow a prefix; None where that does not depend on what was counted."""


@dataclass(frozen=True, slots=True)
class FormalString:
    """A string of N characters and its ground truth."""

    text: str
    states: Mapping[str, tuple[int, ...]]
    """By the name of its detector, the state (N,) after reading each character; 0 and 1 for no and yes."""
    nexts: tuple[Next, ...]
    """(N,): what may follow each character; END after the last one."""

    def to_json(self) -> dict[str, object]:
        """Return the string and its states by name."""
        return {"text": self.text, "states": {name: list(state) for name, state in self.states.items()}}


Make = Callable[[Random, int], FormalString]
"""Draws a string of a given length."""


@dataclass(frozen=True, slots=True)
class FormalLanguage:
    """A formal language: which lengths its strings have, and how one is drawn."""

    name: str
    description: str
    shortest: int
    """Length of the shortest string."""
    step: int
    """Difference between two lengths: shortest, shortest + step, …"""
    make: Make

    def lengths(self, min_length: int, max_length: int) -> range:
        """Return the lengths of strings from `min_length` to `max_length`, both included."""
        skipped = max(0, -(-(min_length - self.shortest) // self.step))
        return range(self.shortest + skipped * self.step, max_length + 1, self.step)


def _below(random: Random, limit: int) -> int:
    # The only method whose sequence Python promises to keep for a seed is random().
    return int(random.random() * limit)


def _make_anbn(random: Random, length: int) -> FormalString:
    n = length // 2
    counts = (*range(1, n + 1), *range(n - 1, -1, -1))
    nexts: list[Next] = [None] * n + [frozenset("b")] * (n - 1) + [frozenset(END)]
    return FormalString("a" * n + "b" * n, {"a-minus-b": counts}, tuple(nexts))


def _make_anbncn(random: Random, length: int) -> FormalString:
    n = length // 3
    up, down = tuple(range(1, n + 1)), tuple(range(n - 1, -1, -1))
    states = {"a-minus-b": up + down + (0,) * n, "b-minus-c": (0,) * n + up + down}
    after_b = [frozenset("b")] * (n - 1) + [frozenset("c")]
    after_c = [frozenset("c")] * (n - 1) + [frozenset(END)]
    return FormalString("a" * n + "b" * n + "c" * n, states, (*[None] * n, *after_b, *after_c))


def _make_dyck(num_kinds: int) -> Make:
    def make(random: Random, length: int) -> FormalString:
        text, open_kinds, depths, nexts = [], list[int](), [], []
        openers = frozenset(pair[0] for pair in BRACKETS[:num_kinds])
        for left in range(length, 0, -1):
            depth = len(open_kinds)
            # All Dyck words of a length are equally likely: this is the share of those that open a bracket here.
            if 2 * left * (depth + 1) * random.random() < (left - depth) * (depth + 2):
                open_kinds.append(_below(random, num_kinds))
                text.append(BRACKETS[open_kinds[-1]][0])
            else:
                text.append(BRACKETS[open_kinds.pop()][1])
            depths.append(len(open_kinds))
            nexts.append(openers | {BRACKETS[open_kinds[-1]][1] if open_kinds else END})
        return FormalString("".join(text), {"dyck-depth": tuple(depths)}, tuple(nexts))

    return make


def _make_parity(random: Random, length: int) -> FormalString:
    bits = [_below(random, 2) for _ in range(length - 2)]
    odd = tuple(accumulate(bits, xor))
    nexts: list[Next] = [None] * len(bits) + [frozenset(str(odd[-1])), frozenset(END)]
    text = "".join(map(str, bits)) + f"={odd[-1]}"
    return FormalString(text, {"parity": (*odd, odd[-1], odd[-1])}, tuple(nexts))


def _make_copy(random: Random, length: int) -> FormalString:
    n = length // 2
    word = "".join(LETTERS[_below(random, len(LETTERS))] for _ in range(n))
    nexts: list[Next] = [None] * n + [frozenset(character) for character in word + END]
    positions = (0,) * (n + 1) + tuple(range(1, n + 1))
    return FormalString(f"{word}={word}", {"copy-position": positions}, tuple(nexts))


FORMAL_LANGUAGES = {
    language.name: language
    for language in (
        FormalLanguage("anbn", "n times a, then n times b: aaabbb", 2, 2, _make_anbn),
        FormalLanguage("anbncn", "n times a, n times b, n times c: aabbcc", 3, 3, _make_anbncn),
        FormalLanguage("dyck", "brackets that are all closed, in order: (()())", 2, 2, _make_dyck(1)),
        FormalLanguage("parity", "bits, and whether the number of ones is odd: 1101=1", 3, 1, _make_parity),
        FormalLanguage("copy", "a word, and the same word again: abca=abca", 3, 2, _make_copy),
    )
}
"""The formal languages by name."""


def find_language(name: str, brackets: int = 1) -> FormalLanguage:
    """Return the language of this name; `brackets` is the number of kinds of brackets of `dyck`.

    Raises UsageError for an unknown name, for a number that is not in 1..4, and for more than one kind in a language
    without brackets.
    """
    if name not in FORMAL_LANGUAGES:
        names = ", ".join(FORMAL_LANGUAGES)
        raise UsageError(f"There is no formal language {name!r}; use {names}.{did_you_mean(name, FORMAL_LANGUAGES)}")
    if not 1 <= brackets <= len(BRACKETS):
        raise UsageError(f"{named('brackets')} is {brackets}; it must be in 1..{len(BRACKETS)}.")
    if brackets == 1:
        return FORMAL_LANGUAGES[name]
    if name != "dyck":
        raise UsageError(f"{named('brackets')} is {brackets}, but {name} has no brackets: only dyck has. Leave it out.")
    return FormalLanguage(name, FORMAL_LANGUAGES[name].description, 2, 2, _make_dyck(brackets))


def make_strings(
    language: FormalLanguage, num_lines: int, *, min_length: int = 1, max_length: int = 50, seed: int = 0
) -> Iterator[FormalString]:
    """Draw strings whose lengths are uniform over those that the language has in `min_length`..`max_length`.

    The same arguments give the same strings on every machine, and more strings begin with those of fewer. Raises
    UsageError, before the first is drawn, for a number out of range and if no string has such a length.
    """
    for name, value, most in (("lines", num_lines, MAX_LINES), ("max_length", max_length, MAX_LENGTH)):
        if not 1 <= value <= most:
            raise UsageError(f"{named(name)} is {value:,}; it must be in 1..{most:,}.")
    if not 1 <= min_length <= max_length:
        raise UsageError(
            f"{named('min_length')} is {min_length:,}; it must be in 1..{max_length:,}, up to {named('max_length')}."
        )
    lengths = language.lengths(min_length, max_length)
    if not lengths:
        near = language.lengths(max_length, max_length + language.step + language.shortest)[0]
        raise UsageError(
            f"No string of {language.name} has a length in {min_length}..{max_length}: "
            f"use {named('max_length', near)}, or more."
        )
    return _draw(language, num_lines, lengths, seed)


def _draw(language: FormalLanguage, num_lines: int, lengths: range, seed: int) -> Iterator[FormalString]:
    random = Random(seed)
    for _ in range(num_lines):
        yield language.make(random, lengths[_below(random, len(lengths))])


def write_lines(lines: Iterable[str], path: Path) -> int:
    """Write lines to a new file, which appears when it is complete; return how many bytes it has.

    A file that exists and has the same content stays. Raises DataError if its content is another one, and CharRNNError
    if it cannot be written.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder: give the name of a file.")
    with convert_os_errors("write", path), replacing(path) as partial:
        with partial.open("x", encoding="ascii", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not _is_same(partial, path):
            raise DataError(
                f"{path} exists and has another content. It was not changed: move it, or give another name."
            )
        return partial.stat().st_size


def _is_same(one: Path, other: Path) -> bool:
    if not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        return all(block == second.read(len(block)) for block in iter(lambda: first.read(1 << 16), b""))
