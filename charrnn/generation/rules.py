"""Say which characters may follow a text: those that no rule forbids.

The rules are known words (`known_words`), a pattern that the text matches (`patterns`), passages
that it must not copy (`text.copies.KnownPassages`), and any function of the text. A text has a
state for each of them, which its characters change. `Rows` and a beam search ask them between two
characters; the compiled loop has them as tables.

Shapes: B rows, V vocabulary, S states of words, P states of a pattern, K classes of its characters.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.compiled.rules import FollowedStreams, RuleTables, no_rules
from charrnn.errors import UsageError, named
from charrnn.generation.known_words import BETWEEN, WordTable
from charrnn.generation.patterns import NEVER, Pattern, PatternState, PatternTable
from charrnn.generation.sample_options import Forbid
from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.text.copies import INVERSE, KnownPassages
from charrnn.text.word_list import JOINER, OTHER

MAX_STATES = 5_000
"""The largest number of states of a pattern that becomes a table, which takes up to a second."""
MAX_PAIRS = 20_000_000
"""The largest number of pairs of a state of words and a state of a pattern for which the characters
that are missing to a match are counted, which takes seconds."""


class TextState(NamedTuple):
    """What the rules need to know of a text.

    A search follows thousands of texts, and keeps one for each; texts that are drawn side by side
    have `FollowedTexts`.
    """

    word: int = BETWEEN
    """The state of its words."""
    pattern: PatternState | None = None
    """The state of its pattern."""


@dataclass(frozen=True, eq=False)
class Rules:
    """What may follow a text. A rule that is None forbids nothing.

    Known words and an expression are asked together by it: what one allows may leave the other no
    way on.
    """

    banned: BoolArray
    """(V,): the characters that are never drawn."""
    words: WordTable | None = None
    pattern: Pattern | None = None
    table: PatternTable | None = None
    """The states of the pattern; None if there are too many."""
    missing: NDArray[np.int32] | None = None
    """(P, S): the least number of characters from each pair of states to a match of known words;
    None if it is not known, or if one of the rules is missing."""
    passages: KnownPassages | None = None
    forbid: Forbid | None = None
    has_ban: bool = False
    """Whether `banned` has characters that the model could draw."""

    @classmethod
    def of(
        cls,
        banned: BoolArray,
        *,
        words: WordTable | None = None,
        pattern: Pattern | None = None,
        forbid: Forbid | None = None,
        has_ban: bool = False,
    ) -> "Rules":
        """Make the tables of some rules.

        It computes once what all texts of some options need.
        """
        table = missing = None
        if pattern is not None:
            table = pattern.table(MAX_STATES)
        if pattern is not None and table is not None and words is not None:
            missing = count_missing(words, table, pattern.class_of, banned=banned)
        passages = None
        if isinstance(forbid, KnownPassages):
            passages, forbid = forbid, None
        return cls(
            banned,
            words=words,
            pattern=pattern,
            table=table,
            missing=missing,
            passages=passages,
            forbid=forbid,
            has_ban=has_ban,
        )

    @property
    def are_none(self) -> bool:
        """Whether the same characters may follow every text."""
        rules = (self.words, self.pattern, self.passages, self.forbid)
        return all(rule is None for rule in rules)

    @property
    def can_compile(self) -> bool:
        """Whether the compiled loop can follow the rules.

        Without it a text is drawn character by character in Python, which is slower by far.
        """
        return self.forbid is None and (self.pattern is None) == (self.table is None)

    @property
    def names(self) -> list[str]:
        """The options that are rules."""
        rules = {
            "known_words": self.words,
            "match": self.pattern,
            "no_copy": self.passages,
            "forbid": self.forbid,
        }
        names = [name for name, rule in rules.items() if rule is not None]
        if self.has_ban:
            names.append("ban")
        return names

    def start(self, prime: Sequence[int] = ()) -> TextState:
        """Return the state of an empty text after the ids of a prime, whose last word it
        continues."""
        word = BETWEEN
        if self.words is not None:
            word = self.words.state_after(prime)
        pattern = None
        if self.pattern is not None:
            pattern = self.pattern.start
        return TextState(word, pattern)

    def check_can_match(self, prime: Sequence[int], *, length: int, match: str) -> None:
        """Raise UsageError if no text of known words after the ids of a prime matches the
        expression `match` within a length."""
        state = self.start(prime)
        if self.missing is None or self.table is None or state.pattern is None:
            return
        if self.missing[self.table.numbers[state.pattern], state.word] > length:
            raise UsageError(
                f"{named('match')} is {reprlib.repr(match)}, which no text of at most {length:,}"
                f" characters matches whose words the model has read. Write another one, or leave"
                f" out {named('known_words')}."
            )

    def allowed(self, state: TextState, num_left: int) -> BoolArray:
        """Return which characters (V,) may follow a text in a state, of at most `num_left`: those
        that neither words nor the pattern forbid."""
        allowed: BoolArray = ~self.banned
        if self.words is not None:
            allowed &= self.words.allowed(state.word)
        # A character leads to a match if the characters that are then missing fit into the length.
        if state.pattern is not None:
            allowed &= self._missing_after(state, state.pattern) < num_left
        return allowed

    def _missing_after(self, state: TextState, pattern: PatternState) -> NDArray[np.integer]:
        """Return for each character (V,) the least number of characters that are missing to a match
        after it."""
        assert self.pattern is not None
        if self.missing is None or self.table is None or self.words is None:
            return self.pattern.missing_after(pattern)
        following = self.table.following[self.table.numbers[pattern]]
        missing: NDArray[np.int32] = self.missing[
            following[self.pattern.class_of], self.words.next_states(state.word)
        ]
        return missing

    def follow(self, state: TextState, id: int) -> TextState:
        """Return the state after one more character."""
        word = state.word
        if self.words is not None:
            word = self.words.follow(word, id)
        pattern = state.pattern
        if self.pattern is not None and pattern is not None:
            pattern = self.pattern.follow(pattern, id)
        return TextState(word, pattern)

    def ends_word(self, ids: Sequence[int]) -> bool:
        """Return whether a text of ids may end here: not inside a word.

        A stop string counts only there.
        """
        return self.words is None or bool(self.words.is_whole[self.words.state_after(ids)])

    def is_complete(self, state: TextState) -> bool:
        """Return whether a text matches the pattern, and its last word is whole.

        A text that has reached its length is whole, or cut, by this.
        """
        if state.pattern is None or state.pattern.missing > 0:
            return False
        return self.words is None or bool(self.words.is_whole[state.word])

    def blocked_by(self, state: TextState) -> list[str]:
        """Return the options because of which no character may follow a text; none of them for a
        text that matches as a whole, which is as long as it can be."""
        if self.is_complete(state):
            return []
        return self.names


def rule_tables(rules: Rules) -> RuleTables:
    """Return rules that `can_compile` as tables.

    It is computed once for all texts; `FollowedTexts.streams` has the state of each.
    """
    tables = no_rules()._replace(are_on=not rules.are_none)
    if rules.words is not None:
        tables = tables._replace(
            has_words=True,
            kinds=rules.words.kinds,
            first_child=rules.words.first_child,
            characters=rules.words.characters,
            is_whole=rules.words.is_whole,
            after_joiner=rules.words.after_joiner,
        )
    if rules.pattern is not None and rules.table is not None:
        missing = np.array([[state.missing] for state in rules.table.numbers], np.int32)
        if rules.missing is not None:
            missing = rules.missing
        tables = tables._replace(
            has_pattern=True,
            class_of=rules.pattern.class_of,
            following=rules.table.following,
            missing=missing,
        )
    if rules.passages is not None:
        passages = rules.passages
        tables = tables._replace(
            num_chars=passages.num_chars,
            hashes=passages.hashes,
            last_ids=passages.last_ids,
            codes=passages.codes,
            power=passages.powers[-1],
            inverse=np.uint64(INVERSE),
        )
    return tables


class FollowedTexts:
    """What the rules know of B texts that are drawn side by side, after a prime that they share.

    Rows of texts need it, each of which begins, grows and ends by itself; a search keeps a
    `TextState` for each text, because its texts share beginnings.
    """

    def __init__(self, rules: Rules, prime: Sequence[int], num_rows: int):
        """Begin all texts after the ids of the prime."""
        self._rules = rules
        self._prime = list(prime)
        self._start = rules.start(prime)
        self._states = [self._start] * num_rows
        # The ids of each text, after the prime: functions of the text ask for them.
        self._keeps_texts = rules.passages is not None or rules.forbid is not None
        self._texts: list[list[int]] = [[] for _ in range(num_rows)]
        self._streams: FollowedStreams | None = None
        for row in range(num_rows):
            self.begin(row)

    def begin(self, row: int) -> None:
        """Begin a text in a row."""
        self._states[row] = self._start
        if self._keeps_texts:
            self._texts[row] = list(self._prime)
        if self._streams is not None:
            self._begin_stream(self._streams, row)

    def allowed(self, row: int, num_left: int) -> BoolArray:
        """Return which characters (V,) may follow the text of a row, of at most `num_left`."""
        allowed = self._rules.allowed(self._states[row], num_left)
        for forbid in (self._rules.passages, self._rules.forbid):
            if forbid is not None:
                allowed &= ~forbid(self._texts[row])
        return allowed

    def add(self, row: int, id: int) -> None:
        """Follow the text of a row by a character."""
        self._states[row] = self._rules.follow(self._states[row], id)
        if self._keeps_texts:
            self._texts[row].append(id)

    def blocked_by(self, row: int) -> list[str]:
        """Return the options because of which no character may follow the text of a row, as
        `Rules.blocked_by` does."""
        return self._rules.blocked_by(self._state_of(row))

    def _state_of(self, row: int) -> TextState:
        if self._streams is None:
            return self._states[row]
        # The compiled loop has followed the text, and numbers the states of the pattern.
        pattern = None
        if self._rules.table is not None:
            pattern = list(self._rules.table.numbers)[self._streams.patterns[row]]
        return TextState(int(self._streams.words[row]), pattern)

    def streams(self) -> FollowedStreams:
        """Return arrays of all texts for the compiled loop, which follows them from now on."""
        if self._streams is None:
            num_rows = len(self._states)
            num_chars = 0
            if self._rules.passages is not None:
                num_chars = self._rules.passages.num_chars
            self._streams = FollowedStreams(
                words=np.zeros(num_rows, np.int64),
                patterns=np.zeros(num_rows, np.int64),
                num_left=np.zeros(num_rows, np.int64),
                begun=np.zeros(num_rows, np.uint64),
                num_read=np.zeros(num_rows, np.int64),
                history=np.zeros((num_rows, num_chars), np.uint64),
            )
            for row in range(num_rows):
                self._begin_stream(self._streams, row)
        return self._streams

    def _begin_stream(self, streams: FollowedStreams, row: int) -> None:
        """Set what the compiled loop knows of a text."""
        state = self._states[row]
        streams.words[row] = state.word
        if state.pattern is not None and self._rules.table is not None:
            streams.patterns[row] = self._rules.table.numbers[state.pattern]
        passages = self._rules.passages
        if passages is None:
            return
        # The last character has the place and the power of the last one of N.
        ids = self._texts[row]
        num_chars = passages.num_chars
        codes = passages.codes[ids[-num_chars:]]
        places = np.arange(len(ids) - len(codes), len(ids)) % num_chars
        streams.history[row] = 0
        streams.history[row, places] = codes
        powers = passages.powers[num_chars - len(codes) : num_chars]
        streams.begun[row] = (codes * powers).sum(dtype=np.uint64)
        streams.num_read[row] = len(ids)


class _Level(NamedTuple):
    """The nodes of the words of one length, as they are needed to count what is missing."""

    nodes: slice
    children: slice
    classes: Int64Array
    """The class of the character of each child."""
    parents: Int64Array
    """The nodes that have children."""
    firsts: Int64Array
    """The first child of each parent, counted from the first of all."""


def _levels_of(words: WordTable, class_of: Int64Array) -> list[_Level]:
    """Return the nodes of the words, the shortest first."""
    levels = []
    for nodes in words.levels:
        children = words.children_of(nodes)
        firsts = words.first_child[nodes.start : nodes.stop + 1]
        has_children = firsts[1:] > firsts[:-1]
        level = _Level(
            nodes,
            children=children,
            classes=class_of[words.characters[children]],
            parents=nodes.start + np.flatnonzero(has_children),
            firsts=firsts[:-1][has_children] - children.start,
        )
        levels.append(level)
    return levels


def count_missing(
    words: WordTable, table: PatternTable, class_of: Int64Array, *, banned: BoolArray
) -> NDArray[np.int32] | None:
    """Count the characters (P, S) that are missing from each pair of states to a match of the
    pattern by known words, of which the last one is whole. None for more than `MAX_PAIRS`.

    The counts are those of shortest paths. For a state of the pattern they are computed from those
    of the states after it, from the longest beginnings of words to the shortest, and all states are
    repeated, the last one first, until nothing changes: twice, if no part of the pattern repeats.
    """
    num_states = len(words.is_whole)
    num_patterns = len(table.numbers)
    if num_states * num_patterns > MAX_PAIRS:
        return None

    # The classes of the characters that part words, and of those that may.
    kinds = words.kinds
    others = np.unique(class_of[(kinds == OTHER) & ~banned])
    joiners = np.unique(class_of[(kinds == JOINER) & ~banned])
    levels = _levels_of(words, class_of)
    # A word that may end goes on like the state behind it.
    behind = np.where(words.after_joiner == BETWEEN, words.parted, words.unknown)

    missing = np.full((num_patterns, num_states), NEVER, np.int32)
    ended = [0 if state.missing == 0 else NEVER for state in table.numbers]
    has_changed = True
    while has_changed:
        has_changed = False
        for number in reversed(range(num_patterns)):
            row = missing[number]
            after = table.following[number]
            while True:
                before = row.copy()
                # A character that is no letter.
                other = _least(missing[after[others], BETWEEN])
                outside = _least(missing[after[joiners], BETWEEN])
                parted = _least(missing[after[joiners], words.parted])
                row[words.parted] = min(ended[number], other, outside)
                row[words.unknown] = min(ended[number], other, parted)

                # A letter, or a character that belongs to a word.
                for level in reversed(levels):
                    nodes = np.arange(level.nodes.start, level.nodes.stop)
                    row[nodes] = np.where(words.is_whole[nodes], row[behind[nodes]], NEVER)
                    if not len(level.parents):
                        continue
                    children = np.arange(level.children.start, level.children.stop)
                    lengths = missing[after[level.classes], children]
                    least = np.minimum.reduceat(lengths, level.firsts) + 1
                    row[level.parents] = np.minimum(row[level.parents], least)
                if (row == before).all():
                    break
                has_changed = True
    return missing


def _least(missing: NDArray[np.int32]) -> int:
    """Return what is missing before the character after which the least is."""
    return int(missing.min(initial=NEVER - 1)) + 1
