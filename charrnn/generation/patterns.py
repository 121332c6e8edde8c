r"""Write texts that match a regular expression as a whole: find the characters that may follow so
that a match is still possible.

Python's own parser reads the expression, and its matcher finds the characters that an item of the
expression takes, so that the texts are those that `re.fullmatch` accepts. A state stands for the
set of places in the expression that a text may have reached (Thompson 1968). For each place the
number of characters that are missing to a match is known, so that no text runs into a dead end.
States are made when they are reached, because even a short expression may have 2^N states.

Two libraries were tried, interegular 0.3.3 and greenery 4.2.3. Each takes other characters for `\w`
or `.` than Python does, and makes all states: `(a|b)*a(a|b){10}` took more than 15 seconds.

Shapes: V vocabulary, K classes of characters, P states.
"""

import re
import reprlib
import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, named
from charrnn.system.arrays import BoolArray, Int64Array

# The parser of `re` had another name before Python 3.11.
_parser: Any = import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
_compiler: Any = import_module("re._compiler" if sys.version_info >= (3, 11) else "sre_compile")

MAX_STEPS = 50_000
"""The largest number of steps between the places of an expression, which take about half a second.
"""
END_OF_DOCUMENT = "END"
"""The operator of the item that takes the END of a document; the parser has the other operators."""
MATCHED = 0
"""The place at the end of the expression."""
NEVER = 1 << 30
"""The number of characters that are missing where no match can be reached."""
PatternPlaces = frozenset[int]
"""The places that a text may have reached."""


class _Place(NamedTuple):
    """A place in an expression: before an item."""

    item: Any
    """The operator and the argument of the item, as the parser has them."""
    flags: int
    after: int
    """The number of the place after the item."""


@dataclass(eq=False)
class PatternState:
    """What a text may have reached in an expression. There is one state of the same places at a
    time.

    It is compared and kept as an object: two texts in the same state go on alike.
    """

    places: PatternPlaces
    missing: int
    """The least number of characters to a match; NEVER if no match can be reached."""
    following: "list[PatternState] | None" = None
    """The states after a character of each class (K,), once they were asked for."""


class PatternTable(NamedTuple):
    """All states of an expression.

    `Pattern.table` makes it for compiled code, which knows numbers and no objects.
    """

    numbers: dict[PatternState, int]
    """The number of each state, in the order of the numbers; that of the start is 0."""
    following: NDArray[np.int32]
    """(P, K): the state after each state and a character of each class."""


class Pattern:
    """An expression over the characters of a model.

    `match_text` makes one, and checks that some text can match; Python's `re` can only judge a text
    that is complete.

    A place is a number: MATCHED, or the index of a `_Place`. For a model of documents, the last
    item before MATCHED takes the END of a document.

    Raises `re.error` for an invalid expression and for an expression that cannot be followed,
    OverflowError for an expression that is too large.
    """

    def __init__(self, expression: str, characters: Sequence[str], end_id: int | None):
        """Take the characters (V,) of all ids, "" for ids that are never drawn."""
        self._characters = characters
        self._num_steps = 0
        self._places: list[_Place | None] = [None]
        self._numbers: dict[_Place, int] = {}

        # A place has the number of the place after it, so the expression is read from its end.
        tree = _parser.parse(expression)
        self._last = MATCHED
        if end_id is not None:
            self._last = self._place([(END_OF_DOCUMENT, end_id)], flags=0, after=MATCHED)
        first = self._place(_frozen(tree), flags=tree.state.flags, after=self._last)
        begin = self._reached(first, is_start=True)

        self._takes: dict[int, BoolArray] = {}
        """The characters (V,) that the item of each place takes."""
        self._followers: dict[int, PatternPlaces] = {}
        """The places that follow each place after a character."""
        self._follow_all(begin)
        self._missing_at = self._count_missing()

        self.class_of, self._first_of_class = self._classes()
        """The class (V,) of each character: all items take the same of them."""
        self._made: WeakValueDictionary[PatternPlaces, PatternState] = WeakValueDictionary()
        self.start = self._state(begin)
        """The state of an empty text."""

    def next_states(self, state: PatternState) -> "list[PatternState]":
        """Return the state after a character of each class (K,)."""
        if state.following is None:
            state.following = [self._state(self._after(state, id)) for id in self._first_of_class]
        return state.following

    def missing_after(self, state: PatternState) -> Int64Array:
        """Return for each next character the least number (V,) of characters that are then missing
        to a match; NEVER for a dead end."""
        missing = [after.missing for after in self.next_states(state)]
        return np.array(missing, np.int64)[self.class_of]

    def follow(self, state: PatternState, id: int) -> PatternState:
        """Return the state after one more character."""
        return self.next_states(state)[int(self.class_of[id])]

    def table(self, most_states: int) -> PatternTable | None:
        """Return all states as a table; None if there are more than `most_states`.

        Compiled code follows a table. An expression with more states is followed by `follow`, one
        character at a time.
        """
        states = [self.start]
        numbers = {self.start: 0}
        following = []
        # The list grows while its states are followed.
        for state in states:
            for after in self.next_states(state):
                if after not in numbers:
                    numbers[after] = len(states)
                    states.append(after)
            if len(states) > most_states:
                return None
            following.append([numbers[after] for after in self.next_states(state)])
        return PatternTable(numbers, np.array(following, np.int32))

    def _state(self, places: PatternPlaces) -> PatternState:
        """Return the state of some places."""
        state = self._made.get(places)
        if state is None:
            missing = (self._missing_at.get(place, NEVER) for place in places)
            state = PatternState(places, min(missing, default=NEVER))
            self._made[places] = state
        return state

    def _after(self, state: PatternState, id: int) -> PatternPlaces:
        """Return the places that a text in a state may reach by one more character."""
        followers = set[int]()
        for place in state.places:
            if place != MATCHED and self._takes[place][id]:
                followers |= self._followers[place]
        return frozenset(followers)

    def _classes(self) -> tuple[Int64Array, list[int]]:
        """Return the class (V,) of each character, and the first character of each class (K,)."""
        masks = {taken.tobytes(): taken for taken in self._takes.values()}
        columns = np.array([*masks.values(), np.zeros(len(self._characters), np.bool_)])
        _, firsts, classes = np.unique(columns, axis=1, return_index=True, return_inverse=True)
        return classes.reshape(-1).astype(np.int64), firsts.tolist()

    def _follow_all(self, begin: PatternPlaces) -> None:
        """Find the characters that each place takes and the places that follow it, from the first
        ones on."""
        # Python's matcher is asked once for each item: [a-z]{200} has 200 places before an item
        # [a-z].
        masks: dict[tuple[object, int], BoolArray] = {}
        waiting = deque(begin)
        while waiting:
            number = waiting.popleft()
            place = self._places[number]
            if place is None or number in self._followers:
                continue

            key = place.item, place.flags
            if key not in masks:
                masks[key] = self._taken(place)

            # Places after a character that the model does not have are never reached.
            self._takes[number] = masks[key]
            self._followers[number] = frozenset()
            if masks[key].any():
                self._followers[number] = self._reached(place.after)
            waiting.extend(self._followers[number])

    def _count_missing(self) -> dict[int, int]:
        """Count the characters from each place to a match; a place without a path to a match is
        left out."""
        predecessors = defaultdict[int, list[int]](list)
        for place, followers in self._followers.items():
            for follower in followers:
                predecessors[follower].append(place)

        # Backwards from the match, the nearest places first, so that the first count is the least.
        missing = {MATCHED: 0}
        waiting = deque([MATCHED])
        while waiting:
            place = waiting.popleft()
            for earlier in predecessors[place]:
                if earlier not in missing:
                    missing[earlier] = missing[place] + 1
                    waiting.append(earlier)
        return missing

    def _place(self, items: Sequence[Any], flags: int, after: int) -> int:
        """Return the place before some items, with the place `after` them."""
        # Places with the same item and the same place after it are the same, which keeps (a|b)*
        # finite.
        for item in reversed(items):
            place = _Place(item=item, flags=flags, after=after)
            if place not in self._numbers:
                self._numbers[place] = len(self._places)
                self._places.append(place)
            after = self._numbers[place]
            if after > MAX_STEPS:
                raise OverflowError
        return after

    def _reached(self, place: int, *, is_start: bool = False) -> PatternPlaces:
        """Return the places that can be reached from a place without a character, of which only
        those whose item takes a character, and MATCHED."""
        reached = set[int]()
        seen = {place}
        waiting = [place]
        while waiting:
            # Nested repeats multiply: an expression of a few characters may have millions of steps.
            self._num_steps += 1
            if self._num_steps > MAX_STEPS:
                raise OverflowError

            number = waiting.pop()
            place_before_item = self._places[number]
            next_places = None
            if place_before_item is not None:
                next_places = self._next_places(place_before_item, is_start=is_start)
            if next_places is None:
                reached.add(number)
                continue

            # (a*)* leads back to itself without a character.
            for after in next_places:
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
        return frozenset(reached)

    def _next_places(self, place: _Place, *, is_start: bool) -> list[int] | None:
        """Return the places that can be reached from a place in a step without a character; None if
        its item takes a character."""
        operator, argument = place.item
        flags, after = place.flags, place.after
        match str(operator), argument:
            case (("LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "END"), _):
                return None
            case "BRANCH", (_, branches):
                return [self._place(branch, flags=flags, after=after) for branch in branches]
            case "SUBPATTERN", (_, added, removed, items):
                # (?a:...) replaces the flag of Unicode, and (?u:...) the flag of ASCII.
                if added & _parser.TYPE_FLAGS:
                    flags &= ~_parser.TYPE_FLAGS
                flags = (flags | added) & ~removed
                return [self._place(items, flags=flags, after=after)]
            case (("MAX_REPEAT" | "MIN_REPEAT"), (least, most, items)):
                # a{2,5} is a and then a{1,4}; a* is a and then a*, or nothing.
                next_places = []
                if least == 0:
                    next_places.append(after)
                if most > 0:
                    fewer = most if most == _parser.MAXREPEAT else most - 1
                    repeat = operator, (max(least - 1, 0), fewer, items)
                    next_places.append(self._place((*items, repeat), flags=flags, after=after))
                return next_places
            # ^ at the start and $ at the end change nothing, because the text matches as a whole.
            case "AT", kind if str(kind).startswith("AT_BEGINNING") and not flags & re.MULTILINE:
                return [after] if is_start else []
            case "AT", kind if str(kind).startswith("AT_END") and after == self._last:
                return [after]
        raise re.error(
            r"\b, an inner ^ or $, a look-around, a reference to a group, an atomic group and a"
            " possessive repeat cannot be followed"
        )

    def _taken(self, place: _Place) -> BoolArray:
        """Return which characters (V,) the item of a place takes, by Python's matcher."""
        operator, argument = place.item
        if operator == END_OF_DOCUMENT:
            return np.asarray(np.arange(len(self._characters)) == argument)

        # The item alone, compiled as an expression.
        item = _parser.SubPattern(_parser.State(), [place.item])
        matcher = _compiler.compile(item, place.flags)
        matches = [matcher.fullmatch(character) is not None for character in self._characters]
        return np.array(matches, np.bool_)


def _frozen(tree: Any) -> Any:
    """Return a tree of the parser as tuples, which are hashable; equal trees are equal tuples."""
    if isinstance(tree, tuple | list | _parser.SubPattern):
        return tuple(map(_frozen, tree))
    return tree


@lru_cache(maxsize=4)
def match_text(
    expression: str, characters: tuple[str, ...], *, length: int, end_id: int | None
) -> Pattern:
    """Return the pattern of an expression over `characters` (V,), "" for an id that is never drawn.

    Raises UsageError for an expression that is invalid, that cannot be followed or that is too
    large, and for an expression that no text of at most `length` of these characters matches.
    """
    # reprlib shortens an expression, which may have thousands of characters.
    subject = f"{named('match')} is {reprlib.repr(expression)}"
    try:
        with warnings.catch_warnings():
            # Python's parser warns of syntax that has another meaning in other languages, such as
            # [[:alpha:]].
            warnings.simplefilter("error", FutureWarning)
            pattern = Pattern(expression, characters, end_id=end_id)
    # The parser raises ValueError for flags that are incompatible, and for a count with more digits
    # than `int` reads.
    except (re.error, FutureWarning, ValueError) as error:
        raise UsageError(f"{subject}: {error}. Give a regular expression of Python.") from None
    except (OverflowError, RecursionError):
        raise UsageError(
            f"{subject}, which has more than {MAX_STEPS:,} steps. Repeat less of it."
        ) from None

    # The error comes before anything is drawn: a text of `length` characters must be able to match.
    if pattern.start.missing > length:
        raise UsageError(
            f"{subject}, which no text of at most {length:,} of the model's characters matches."
            f" Write another one, or give a larger {named('length')}."
        )
    return pattern
