r"""Texts that match a regular expression as a whole: which characters may follow so that a match is
still possible.

Python's own parser reads the expression, and its matcher says which characters a part of it takes,
so that the texts are those of `re.fullmatch`. A state is the set of places in the expression that a
text may have reached (Thompson 1968). Of each place it is known how many characters are missing to
a match: no text runs into a dead end. States are made as they are reached, because all of a short
expression may be 2^N.

Libraries were tried: of interegular 0.3.3 and greenery 4.2.3 each takes other characters for `\w`
or `.` than Python, and both make all states: `(a|b)*a(a|b){10}` took more than 15 seconds.

Shapes: V vocabulary.
"""

import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, counted, named

# The parser of `re` had another name before Python 3.11.
_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
_compiler: Any = import_module("re._compiler" if sys.version_info >= (3, 11) else "sre_compile")

MAX_STEPS = 50_000
"""Steps between the places of an expression at most; to follow so many takes about half a second.
"""
MAX_WORDS = 6
"""Words that must all occur, at most: their expression has a branch for each order."""
UNSUPPORTED = {
    "AT": r"\b, or a ^ or $ inside, cannot be followed. Leave it out: the text matches as a whole.",
    "ASSERT": (
        "a look-around cannot be followed. Leave it out, or give the words that must occur by"
        f" {named('words')}."
    ),
    "GROUPREF": (
        "a reference to a group cannot be followed. Write out what may repeat, such as (aa|bb) for"
        " (a|b)\\1."
    ),
    "ATOMIC": "an atomic group cannot be followed. Write (?:...).",
    "POSSESSIVE": "a possessive repeat cannot be followed. Leave out its +.",
}
"""What no automaton, or not this one, follows, by the first word of the parser's name, and what to
write instead."""
State = frozenset[int]


class Pattern:
    """An expression over the characters of a model.

    A place is what remains of the expression: the first item, its flags, and the place after that
    item. At place 0 nothing remains; in a model of documents, the END of one remains at the place
    before it.

    Raises `re.error` for an expression that is none or that cannot be followed, OverflowError for
    one that is too large.
    """

    def __init__(self, expression: str, characters: Sequence[str], end_id: int | None) -> None:
        """Take the characters (V,) of all ids, "" for those that are never drawn."""
        self._places: list[Any] = [None]
        self._numbers: dict[Any, int] = {}
        self._characters, self._num_steps = characters, 0
        tree = _parser.parse(expression)
        self._last = 0 if end_id is None else self._place((("END", end_id),), 0, 0)
        self.start = self._reached(
            self._place(_frozen(tree), tree.state.flags, self._last), is_start=True
        )
        """The state of an empty text."""
        self._followers: dict[int, State] = {}
        self._takes: dict[int, NDArray[np.bool_]] = {}
        self.lacking: set[str] = set()
        """Characters of the expression that are not among those of the model."""
        before, masks, waiting = (
            defaultdict[int, list[int]](list),
            dict[Any, NDArray[np.bool_]](),
            [*self.start],
        )
        for place in waiting:
            if place == 0 or place in self._followers:
                continue
            item, flags, after = self._places[place]
            if (item, flags) not in masks:
                masks[item, flags] = self._taken(item, flags)
            self._takes[place] = masks[item, flags]
            self._followers[place] = (
                self._reached(after) if self._takes[place].any() else frozenset()
            )
            waiting += self._followers[place]
            for follower in self._followers[place]:
                before[follower].append(place)
        self._missing, waiting = {0: 0}, [0]
        for place in waiting:
            nearer = [earlier for earlier in before[place] if earlier not in self._missing]
            self._missing |= dict.fromkeys(nearer, self._missing[place] + 1)
            waiting += nearer

    def missing(self, state: State) -> float:
        """Return the least number of characters from a state to a match, inf if there is none."""
        return min(
            (self._missing[place] for place in state if place in self._missing), default=np.inf
        )

    def missing_after(self, state: State) -> NDArray[np.float64]:
        """Return the least number of characters (V,) that are missing to a match after each; inf
        after a dead end."""
        found = np.full(len(self._characters), np.inf)
        for place in state:
            if place and place in self._missing:
                np.minimum(found, self._missing[place] - 1, out=found, where=self._takes[place])
        return found

    def follow(self, state: State, id: int) -> State:
        """Return the state after one more character."""
        return frozenset().union(
            *(self._followers[place] for place in state if place and self._takes[place][id])
        )

    def _place(self, items: tuple[Any, ...], flags: int, after: int) -> int:
        """Return the place where some items come before those that remain `after` them."""
        for item in reversed(items):
            number = self._numbers.setdefault((item, flags, after), len(self._places))
            if number == len(self._places):
                self._places.append((item, flags, after))
            if number > MAX_STEPS:
                raise OverflowError
            after = number
        return after

    def _reached(self, place: int, *, is_start: bool = False) -> State:
        """Return the places, reached from one without a character, whose item takes one, and 0 if
        it is reached."""
        waiting, seen, taking = [place], {place}, set[int]()
        for one in waiting:
            skipped = None if one == 0 else self._skipped(one, is_start=is_start)
            if skipped is None:
                taking.add(one)
            new = {*(skipped or ())} - seen
            seen |= new
            waiting += new
            self._num_steps += 1
            if self._num_steps > MAX_STEPS:
                raise OverflowError
        return frozenset(taking)

    def _skipped(self, place: int, *, is_start: bool) -> list[int] | None:
        """Return the places that are reached from one without a character; None if its item takes
        one."""
        (operator, argument), flags, after = self._places[place]
        match str(operator), argument:
            case (("LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "END"), _):
                return None
            case "BRANCH", (_, branches):
                return [self._place(branch, flags, after) for branch in branches]
            case "SUBPATTERN", (_, added, removed, items):
                # (?a:...) takes the place of Unicode, and the other way round.
                others = flags & ~_parser.TYPE_FLAGS if added & _parser.TYPE_FLAGS else flags
                return [self._place(items, (others | added) & ~removed, after)]
            case (("MAX_REPEAT" | "MIN_REPEAT"), (least, most, items)):
                rest = max(least - 1, 0), most if most == _parser.MAXREPEAT else most - 1, items
                again = [self._place((*items, (operator, rest)), flags, after)] if most else []
                return again if least else [*again, after]
            case "AT", where if str(where).startswith("AT_BEGINNING") and not flags & re.MULTILINE:
                return [after] if is_start else []
            case "AT", where if str(where).startswith("AT_END") and after == self._last:
                return [after]
        name = str(operator)
        raise re.error(
            UNSUPPORTED.get(name.partition("_")[0], f"{name} cannot be followed. Leave it out.")
        )

    def _taken(self, item: Any, flags: int) -> NDArray[np.bool_]:
        """Return which characters (V,) an item takes, asked of Python's matcher."""
        if item[0] == "END":
            return np.asarray(np.arange(len(self._characters)) == item[1])
        matcher = _compiler.compile(_parser.SubPattern(_parser.State(), [item]), flags)
        mask = np.array(
            [matcher.fullmatch(character) is not None for character in self._characters], np.bool_
        )
        if str(item[0]) == "LITERAL" and not mask.any():
            self.lacking.add(chr(item[1]))
        return mask


def _frozen(part: Any) -> Any:
    """Return a part of the parser's tree as tuples, which are equal if they match the same
    texts."""
    return (
        tuple(map(_frozen, part)) if isinstance(part, tuple | list | _parser.SubPattern) else part
    )


def all_words(words: Sequence[str], *, are_whole: bool = False) -> str:
    """Return an expression for the texts in which each word occurs, in any order; they may overlap.

    If they `are_whole`, no letter, digit or underscore stands before or after one that begins or
    ends with such. Raises UsageError for an empty word, and for more than `MAX_WORDS`.
    """
    if "" in words or len(words) > MAX_WORDS:
        typed = repr(",".join(words))
        raise UsageError(
            f"{named('words')} is {typed}; it must be 1 to {MAX_WORDS} words, such as sun,sea."
        )
    # A word within another one occurs with it.
    others = {word: {*words} - {word} for word in words}
    needed = [
        one
        for one in others
        if not any(re.search(_occurrence(one, are_whole), other) for other in others[one])
    ]
    return _in_any_order(needed, "", are_whole)


def _in_any_order(words: Sequence[str], last: str, are_whole: bool) -> str:
    """Return an expression for what follows the word `last` where each of `words` begins and ends
    after it."""
    branches = []
    for word in sorted(words):
        overlaps = []
        for begin in range(max(0, len(last) - len(word) + 1), len(last)):
            both = last[:begin] + word
            is_first = re.compile(_occurrence(last, are_whole)).match(both)
            if is_first and re.compile(_occurrence(word, are_whole)).match(both, begin):
                overlaps.append(re.escape(both[len(last) :]))
        begins = "|".join([_between(last, word, are_whole) + re.escape(word), *overlaps])
        branches.append(
            f"(?:{begins}){_in_any_order([other for other in words if other != word], word, are_whole)}"  # noqa: E501
        )
    return f"(?:{'|'.join(branches)})" if branches else _between(last, "", are_whole)


def _occurrence(word: str, is_whole: bool) -> str:
    """Return an expression of Python for a place where a word occurs: a whole one begins and ends
    there."""
    begin, end = (r"\b" * (is_whole and _is_inner(character)) for character in (word[0], word[-1]))
    return f"{begin}{re.escape(word)}{end}"


def _between(last: str, word: str, are_whole: bool) -> str:
    """Return an expression for what may stand after one word and before another; "" is the begin or
    end of the text."""
    ends, begins = (are_whole and _is_inner(character) for character in (last[-1:], word[:1]))
    if begins:
        return r"\W" * ends + r"(?:(?s:.*)\W)?"
    return r"(?:\W(?s:.*))?" if ends else "(?s:.*)"


def _is_inner(character: str) -> bool:
    return re.fullmatch(r"\w", character) is not None


@lru_cache(maxsize=4)
def match_text(
    expression: str,
    what: str,
    characters: tuple[str, ...],
    *,
    length: int,
    end_id: int | None,
    smaller: str,
) -> Pattern:
    """Return the pattern of an expression over `characters` (V,), "" for an id that is never drawn.

    `what` names it in messages, `smaller` says how to shorten it. Raises UsageError for an
    expression that is none, has a part that cannot be followed or is too large, and for one that no
    text of at most `length` of these characters matches.
    """
    try:
        with warnings.catch_warnings():
            # Python's parser warns of what other languages mean in another way, such as
            # [[:alpha:]].
            warnings.simplefilter("error", FutureWarning)
            pattern = Pattern(expression, characters, end_id)
    except FutureWarning as warning:
        raise UsageError(
            f"{what}: {warning}. Write \\ before a character that stands for itself."
        ) from None
    except re.error as error:
        where = (
            ""
            if error.pos is None
            else f" (character {error.pos + 1}). Give a regular expression of Python."
        )
        raise UsageError(f"{what}: {error.msg}{where}") from None
    except (OverflowError, RecursionError, ValueError) as error:
        if "incompatible" in str(error):  # flags
            raise UsageError(f"{what}: {error}. Leave one of them out.") from None
        # Another ValueError: a count of more digits than `int` reads.
        raise UsageError(f"{what}, which has more than {MAX_STEPS:,} steps. {smaller}") from None
    missing = pattern.missing(pattern.start)
    if missing == np.inf:
        lacking = ", ".join(f"{character!r}" for character in sorted(pattern.lacking)[:8])
        why = (
            f"It has characters that the model does not write: {lacking}."
            if lacking
            else "Write another one."
        )
        raise UsageError(f"{what}, which no text of the model's characters matches. {why}")
    if missing > length:
        least = counted(int(missing), "character")
        raise UsageError(
            f"{what}, which takes at least {least}; {named('length')} is {length:,}. Give a larger"
            " one."
        )
    return pattern
