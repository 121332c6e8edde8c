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
import reprlib
import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, counted, named

# The parser of `re` had another name before Python 3.11.
_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
_compiler: Any = import_module("re._compiler" if sys.version_info >= (3, 11) else "sre_compile")

MAX_STEPS = 50_000
"""Steps between the places of an expression at most; to follow so many takes about half a second.
"""
UNSUPPORTED = {
    "AT": r"\b, or a ^ or $ inside, cannot be followed. Leave it out: the text matches as a whole.",
    "ASSERT": "a look-around cannot be followed. Leave it out.",
    "GROUPREF": (
        "a reference to a group cannot be followed. Write out what may repeat, such as (aa|bb) for"
        " (a|b)\\1."
    ),
    "ATOMIC": "an atomic group cannot be followed. Write (?:...).",
    "POSSESSIVE": "a possessive repeat cannot be followed. Leave out its +.",
}
"""What no automaton, or not this one, follows, by the first word of the parser's name, and what to
write instead."""
END_OF_DOCUMENT = "END"
"""The operator of the item that takes the END of a document; all others are the parser's."""
MATCHED = 0
"""The place where nothing remains of the expression."""
State = frozenset[int]


class _Place(NamedTuple):
    """What remains of an expression."""

    item: Any
    """The operator and the argument of what comes first, as the parser has them."""
    flags: int
    after: int
    """The place after the item."""


class Pattern:
    """An expression over the characters of a model.

    A place is a number: MATCHED, or that of a `_Place`. In a model of documents, the END of one
    remains at the place before MATCHED.

    Raises `re.error` for an expression that is none or that cannot be followed, OverflowError for
    one that is too large.
    """

    def __init__(self, expression: str, characters: Sequence[str], end_id: int | None) -> None:
        """Take the characters (V,) of all ids, "" for those that are never drawn."""
        self._characters = characters
        self._num_steps = 0
        self._places: list[_Place | None] = [None]
        self._numbers: dict[_Place, int] = {}
        self.lacking: set[str] = set()
        """Characters of the expression that are not among those of the model."""

        # Each place knows what remains after it, so the expression is read from its end.
        tree = _parser.parse(expression)
        self._last = MATCHED
        if end_id is not None:
            self._last = self._place([(END_OF_DOCUMENT, end_id)], flags=0, after=MATCHED)
        first = self._place(_frozen(tree), flags=tree.state.flags, after=self._last)
        self.start = self._reached(first, is_start=True)
        """The state of an empty text."""

        self._takes: dict[int, NDArray[np.bool_]] = {}
        """The characters (V,) that the item of each place takes."""
        self._followers: dict[int, State] = {}
        """The places after each of them."""
        self._follow_all()
        self._missing = self._count_missing()

    def missing(self, state: State) -> float:
        """Return the least number of characters from a state to a match, inf if there is none."""
        return min((self._missing[place] for place in self._alive(state)), default=np.inf)

    def missing_after(self, state: State) -> NDArray[np.float64]:
        """Return the least number of characters (V,) that are missing to a match after each; inf
        after a dead end."""
        found = np.full(len(self._characters), np.inf)
        for place in self._alive(state):
            if place != MATCHED:
                np.minimum(found, self._missing[place] - 1, out=found, where=self._takes[place])
        return found

    def _alive(self, state: State) -> list[int]:
        """Return the places of a state from which there is a match."""
        return [place for place in state if place in self._missing]

    def follow(self, state: State, id: int) -> State:
        """Return the state after one more character."""
        followers = set[int]()
        for place in state:
            if place != MATCHED and self._takes[place][id]:
                followers |= self._followers[place]
        return frozenset(followers)

    def _follow_all(self) -> None:
        """Find, from the start on, what each place takes and which places follow it."""
        # Python's matcher is asked once for each item: [a-z]{200} has 200 places of one item.
        masks: dict[Any, NDArray[np.bool_]] = {}
        waiting = deque(self.start)
        while waiting:
            number = waiting.popleft()
            place = self._places[number]
            if place is None or number in self._followers:
                continue

            key = place.item, place.flags
            if key not in masks:
                masks[key] = self._taken(place)

            # What comes after a character that the model does not have is never reached.
            self._takes[number] = masks[key]
            self._followers[number] = frozenset()
            if masks[key].any():
                self._followers[number] = self._reached(place.after)
            waiting.extend(self._followers[number])

    def _count_missing(self) -> dict[int, int]:
        """Count the characters from each place to a match; a place that reaches none is left
        out."""
        before = defaultdict[int, list[int]](list)
        for place, followers in self._followers.items():
            for follower in followers:
                before[follower].append(place)

        # Backwards from the match, the nearest places first, so that the first count is the least.
        missing = {MATCHED: 0}
        waiting = deque([MATCHED])
        while waiting:
            place = waiting.popleft()
            for earlier in before[place]:
                if earlier not in missing:
                    missing[earlier] = missing[place] + 1
                    waiting.append(earlier)
        return missing

    def _place(self, items: Sequence[Any], flags: int, after: int) -> int:
        """Return the place where some items come before those that remain `after` them."""
        # Equal remainders are one place, which keeps (a|b)* finite.
        for item in reversed(items):
            place = _Place(item=item, flags=flags, after=after)
            if place not in self._numbers:
                self._numbers[place] = len(self._places)
                self._places.append(place)
            after = self._numbers[place]
            if after > MAX_STEPS:
                raise OverflowError
        return after

    def _reached(self, place: int, *, is_start: bool = False) -> State:
        """Return the places, reached from one without a character, whose item takes one, and
        MATCHED if it is reached."""
        taking = set[int]()
        seen = {place}
        waiting = [place]
        while waiting:
            # Nested repeats multiply: a few characters of an expression may ask for millions.
            self._num_steps += 1
            if self._num_steps > MAX_STEPS:
                raise OverflowError

            number = waiting.pop()
            one = self._places[number]
            skipped = None
            if one is not None:
                skipped = self._skipped(one, is_start=is_start)
            if skipped is None:
                taking.add(number)
                continue

            # (a*)* leads back to itself without a character.
            for after in skipped:
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
        return frozenset(taking)

    def _skipped(self, place: _Place, *, is_start: bool) -> list[int] | None:
        """Return the places that are reached from one without a character; None if its item takes
        one."""
        operator, argument = place.item
        flags, after = place.flags, place.after
        match str(operator), argument:
            case (("LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "END"), _):
                return None
            case "BRANCH", (_, branches):
                return [self._place(branch, flags=flags, after=after) for branch in branches]
            case "SUBPATTERN", (_, added, removed, items):
                # (?a:...) takes the place of Unicode, and the other way round.
                if added & _parser.TYPE_FLAGS:
                    flags &= ~_parser.TYPE_FLAGS
                flags = (flags | added) & ~removed
                return [self._place(items, flags=flags, after=after)]
            case (("MAX_REPEAT" | "MIN_REPEAT"), (least, most, items)):
                # a{2,5} is a and then a{1,4}; a* is a and then a*, or nothing.
                reached = []
                if least == 0:
                    reached.append(after)
                if most > 0:
                    fewer = most if most == _parser.MAXREPEAT else most - 1
                    rest = operator, (max(least - 1, 0), fewer, items)
                    reached.append(self._place((*items, rest), flags=flags, after=after))
                return reached
            # ^ at the start and $ at the end change nothing, because the text matches as a whole.
            case "AT", where if str(where).startswith("AT_BEGINNING") and not flags & re.MULTILINE:
                return [after] if is_start else []
            case "AT", where if str(where).startswith("AT_END") and after == self._last:
                return [after]
        name = str(operator)
        unsupported = UNSUPPORTED.get(name.partition("_")[0])
        raise re.error(unsupported or f"{name} cannot be followed. Leave it out.")

    def _taken(self, place: _Place) -> NDArray[np.bool_]:
        """Return which characters (V,) an item takes, asked of Python's matcher."""
        operator, argument = place.item
        if operator == END_OF_DOCUMENT:
            return np.asarray(np.arange(len(self._characters)) == argument)

        # The item alone, compiled as an expression.
        item = _parser.SubPattern(_parser.State(), [place.item])
        matcher = _compiler.compile(item, place.flags)
        matches = [matcher.fullmatch(character) is not None for character in self._characters]

        # For the message, if the text cannot match.
        if str(operator) == "LITERAL" and not any(matches):
            self.lacking.add(chr(argument))
        return np.array(matches, np.bool_)


def _frozen(part: Any) -> Any:
    """Return a part of the parser's tree as tuples, which are equal if they match the same
    texts."""
    if isinstance(part, tuple | list | _parser.SubPattern):
        return tuple(map(_frozen, part))
    return part


@lru_cache(maxsize=4)
def match_text(
    expression: str, characters: tuple[str, ...], *, length: int, end_id: int | None
) -> Pattern:
    """Return the pattern of an expression over `characters` (V,), "" for an id that is never drawn.

    Raises UsageError for an expression that is none, has a part that cannot be followed or is too
    large, and for one that no text of at most `length` of these characters matches.
    """
    # Shortened: an expression may have thousands of characters.
    what = f"{named('match')} is {reprlib.repr(expression)}"
    try:
        with warnings.catch_warnings():
            # Python's parser warns of what other languages mean in another way, such as
            # [[:alpha:]].
            warnings.simplefilter("error", FutureWarning)
            pattern = Pattern(expression, characters, end_id=end_id)
    except FutureWarning as warning:
        raise UsageError(
            f"{what}: {warning}. Write \\ before a character that stands for itself."
        ) from None
    except re.error as error:
        where = ""
        if error.pos is not None:
            where = f" (character {error.pos + 1}). Give a regular expression of Python."
        raise UsageError(f"{what}: {error.msg}{where}") from None
    except (OverflowError, RecursionError, ValueError) as error:
        # A ValueError says that flags are incompatible, or that a count has more digits than `int`
        # reads.
        if "incompatible" in str(error):
            raise UsageError(f"{what}: {error}. Leave one of them out.") from None
        raise UsageError(
            f"{what}, which has more than {MAX_STEPS:,} steps. Repeat less of it."
        ) from None

    # Before anything is drawn: a text of `length` characters must be able to match.
    missing = pattern.missing(pattern.start)
    if missing == np.inf:
        why = "Write another one."
        if pattern.lacking:
            lacking = ", ".join(repr(character) for character in sorted(pattern.lacking)[:8])
            why = f"It has characters that the model does not write: {lacking}."
        raise UsageError(f"{what}, which no text of the model's characters matches. {why}")
    if missing > length:
        least = counted(int(missing), "character")
        raise UsageError(
            f"{what}, which takes at least {least}; {named('length')} is {length:,}. Give a larger"
            " one."
        )
    return pattern
