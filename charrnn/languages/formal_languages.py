"""Draw strings of formal languages, with the characters that may follow each character.

The functions of `detectors.formal` compute from a text the state that a model must keep to predict
it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from charrnn.errors import UsageError, did_you_mean, named

END = "\0"
"""The END symbol of a document, which follows the last character of a string."""
LETTERS = "abcd"
"""The letters of the words of `copy`, and those that `recall` asks for."""
TRAINING_LENGTHS = {"copy": (1, 20), "recall": (22, 62)}
"""Smallest and largest length of the strings of a training text, where they are not 1 and 50:
longer words of `copy` take minutes to learn; the letters of `recall` stand 20 to 60 characters
before, because from nearer ones every network learns to keep them."""
MAX_LENGTH = 100_000
"""Maximum length of a string."""
MAX_LINES = 100_000_000
"""Maximum number of strings."""

Next = frozenset[str] | None
"""The characters that may follow a prefix; None if they do not depend on a count or a memory."""


@dataclass(frozen=True, slots=True)
class FormalString:
    """A string of N characters, and the characters that may follow each of them."""

    text: str
    nexts: tuple[Next, ...]
    """(N,): the characters that may follow each character; END after the last one."""


@dataclass(frozen=True, slots=True)
class FormalLanguage:
    """A formal language: the possible lengths of its strings, and a function that draws one."""

    name: str
    description: str
    shortest: int
    """Length of the shortest string."""
    step: int
    """Difference between two lengths: shortest, shortest + step, …"""
    detectors: tuple[str, ...]
    """The names of the detectors for the counts or memories that predict the strings."""
    make: Callable[[Random, int], FormalString]
    """Draws a string of a given length."""

    def lengths(self, max_length: int) -> range:
        """Return the lengths of strings up to `max_length`, which is included."""
        return range(self.shortest, max_length + 1, self.step)


def _below(random: Random, limit: int) -> int:
    # Python guarantees the same sequence for a seed in all versions only for random().
    return int(random.random() * limit)


def _make_anbn(random: Random, length: int) -> FormalString:
    n = length // 2
    # After an a, another a or a b may come, whatever the number so far.
    after_a = [None] * n
    after_b = [frozenset("b")] * (n - 1) + [frozenset(END)]
    return FormalString("a" * n + "b" * n, nexts=(*after_a, *after_b))


def _make_anbncn(random: Random, length: int) -> FormalString:
    n = length // 3
    after_a = [None] * n
    after_b = [frozenset("b")] * (n - 1) + [frozenset("c")]
    after_c = [frozenset("c")] * (n - 1) + [frozenset(END)]
    return FormalString("a" * n + "b" * n + "c" * n, nexts=(*after_a, *after_b, *after_c))


def _make_dyck(random: Random, length: int) -> FormalString:
    text = ""
    nexts: list[Next] = []
    depth = 0
    for left in range(length, 0, -1):
        # All Dyck words of a length are equally likely: of those that begin like this one, with
        # `left` characters to come, the share that open a bracket here is
        # (left - depth) (depth + 2) / (2 left (depth + 1)).
        if 2 * left * (depth + 1) * random.random() < (left - depth) * (depth + 2):
            # This random number once chose the kind of bracket, when there were several. It is
            # still drawn, so that a seed gives the same text as in earlier measurements.
            random.random()
            text += "("
            depth += 1
        else:
            text += ")"
            depth -= 1

        # A bracket may always be opened; all must be closed before END.
        nexts.append(frozenset({"(", ")" if depth else END}))
    return FormalString(text, tuple(nexts))


def _make_parity(random: Random, length: int) -> FormalString:
    bits = "".join(str(_below(random, 2)) for _ in range(length - 2))
    answer = str(bits.count("1") % 2)
    # After a bit, any bit or "=" may follow.
    after_bits = [None] * len(bits)
    return FormalString(f"{bits}={answer}", nexts=(*after_bits, frozenset(answer), frozenset(END)))


def _make_copy(random: Random, length: int) -> FormalString:
    word = "".join(LETTERS[_below(random, len(LETTERS))] for _ in range(length // 2))
    # Every character after "=" is certain.
    after_word = [None] * len(word)
    return FormalString(f"{word}={word}", nexts=(*after_word, *map(frozenset, word + END)))


def _make_recall(random: Random, length: int) -> FormalString:
    letter = LETTERS[_below(random, len(LETTERS))]
    # Another dot or "?" may follow, whatever the number of dots so far.
    num_dots = length - 3
    before_mark = [None] * (1 + num_dots)
    nexts = (*before_mark, frozenset(letter), frozenset(END))
    return FormalString(f"{letter}{num_dots * '.'}?{letter}", nexts)


def _make_hello(random: Random, length: int) -> FormalString:
    # The string may end, or go on, where a word ends.
    after_word = [*map(frozenset, "ello"), frozenset({"h", END})]
    num_words = length // len("hello")
    return FormalString("hello" * num_words, tuple(after_word * num_words))


FORMAL_LANGUAGES = {
    language.name: language
    for language in (
        FormalLanguage(
            name="hello",
            description="the word of the lectures, again and again: hellohello",
            shortest=5,
            step=5,
            detectors=(),
            make=_make_hello,
        ),
        FormalLanguage(
            name="anbn",
            description="n times a, then n times b: aaabbb",
            shortest=2,
            step=2,
            detectors=("a-minus-b",),
            make=_make_anbn,
        ),
        FormalLanguage(
            name="anbncn",
            description="n times a, n times b, n times c: aabbcc",
            shortest=3,
            step=3,
            detectors=("a-minus-b", "b-minus-c"),
            make=_make_anbncn,
        ),
        FormalLanguage(
            name="dyck",
            description="brackets that are all closed, in order: (()())",
            shortest=2,
            step=2,
            detectors=("dyck-depth",),
            make=_make_dyck,
        ),
        FormalLanguage(
            name="parity",
            description="bits, and whether the number of ones is odd: 1101=1",
            shortest=3,
            step=1,
            detectors=("parity",),
            make=_make_parity,
        ),
        FormalLanguage(
            name="copy",
            description="a word, and the same word again: abca=abca",
            shortest=3,
            step=2,
            detectors=("copy-position",),
            make=_make_copy,
        ),
        FormalLanguage(
            name="recall",
            description="a letter, dots, and the same letter when it is asked for: b......?b",
            shortest=4,
            step=1,
            detectors=(),
            make=_make_recall,
        ),
    )
}
"""The formal languages by name."""


def find_language(name: str) -> FormalLanguage:
    """Return the language of this name. Raises UsageError for an unknown name."""
    if name not in FORMAL_LANGUAGES:
        names = ", ".join(FORMAL_LANGUAGES)
        raise UsageError(
            f"There is no formal language {name!r}; use"
            f" {names}.{did_you_mean(name, FORMAL_LANGUAGES)}"
        )
    return FORMAL_LANGUAGES[name]


def training_text(name: str) -> str:
    """Return the text on which `charrnn train NAME` trains: 10,000 strings of up to 50 characters,
    or of TRAINING_LENGTHS, one per line. The text of `hello` is a single string of 500
    characters."""
    language = find_language(name)
    if name == "hello":
        return language.make(Random(0), 500).text
    least, most = TRAINING_LENGTHS.get(name, (1, 50))
    strings = make_strings(language, num_lines=10_000, min_length=least, max_length=most)
    return "".join(f"{string.text}\n" for string in strings)


def make_strings(
    language: FormalLanguage,
    num_lines: int,
    *,
    min_length: int = 1,
    max_length: int = 50,
    seed: int = 0,
) -> Iterator[FormalString]:
    """Draw strings whose lengths are uniform over those that the language has from `min_length` to
    `max_length`.

    The same arguments give the same strings on every machine. A larger `num_lines` gives the same
    strings at the beginning. Raises UsageError before the first string is drawn, for a number out
    of range and if no string has such a length.
    """
    for name, value, most in (
        ("lines", num_lines, MAX_LINES),
        ("max_length", max_length, MAX_LENGTH),
    ):
        if not 1 <= value <= most:
            raise UsageError(f"{named(name)} is {value:,}; it must be in 1..{most:,}.")

    lengths = [length for length in language.lengths(max_length) if length >= min_length]
    if not lengths:
        raise UsageError(
            f"No string of {language.name} has a length in 1..{max_length}: "
            f"use {named('max_length', language.shortest)}, or more."
        )

    # This function returns a generator expression, so that errors are raised by the call and not by
    # the first string.
    random = Random(seed)
    return (language.make(random, lengths[_below(random, len(lengths))]) for _ in range(num_lines))
