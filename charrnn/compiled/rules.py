"""Follow the rules of generated texts in compiled code: known words, a pattern, and passages that
must not be copied (`generation.rules`), as tables of numbers.

Shapes: B streams, V vocabulary, S states of words, P states of a pattern, K classes of its
characters, M known passages of N + 1 characters.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.system.compiling import for_loops

LETTER, JOINER = 1, 2
"""Kinds of characters, as in `text.word_list`."""
BETWEEN = 0
"""The state outside of words, as in `generation.known_words`."""

Ints = NDArray[np.int32]
Codes = NDArray[np.uint64]


class RuleTables(NamedTuple):
    """The rules of a model and of the options of a text. The tables of a rule that is off are
    empty.

    Compiled code knows no objects: `generation.rules.rule_tables` makes these arrays of `Rules`.
    """

    are_on: bool
    """Whether there is any rule."""
    has_words: bool
    has_pattern: bool
    num_chars: int
    """N, the length of the longest passage that may be copied; 0 without this rule."""

    kinds: NDArray[np.uint8]
    """(V,): the kind of each character."""
    first_child: Ints
    """(S + 1,): where the children of each state of words begin."""
    characters: Ints
    """(S,): the character of each state."""
    is_whole: BoolArray
    """(S,): whether a word may end in each state."""
    after_joiner: Ints
    """(S,): the state after an apostrophe or a hyphen that is no child."""

    class_of: Int64Array
    """(V,): the class of each character."""
    following: Ints
    """(P, K): the state of the pattern after each state and class."""
    missing: Ints
    """(P, S), or (P, 1) for all states of words: the characters that are missing to a match."""

    hashes: Codes
    """(M,): the hashes of the first N characters of the known passages, sorted."""
    last_ids: Ints
    """(M,): the last character of each passage."""
    codes: Codes
    """(V,): the code of each character."""
    power: np.uint64
    """BASE^N, the factor of a character behind N others."""
    inverse: np.uint64
    """1 / BASE."""


def no_rules() -> RuleTables:
    """Return the tables of no rule.

    The compiled loop has one type of argument, also where nothing is forbidden.
    """
    ints = np.zeros(0, np.int32)
    codes = np.zeros(0, np.uint64)
    return RuleTables(
        are_on=False,
        has_words=False,
        has_pattern=False,
        num_chars=0,
        kinds=np.zeros(0, np.uint8),
        first_child=ints,
        characters=ints,
        is_whole=np.zeros(0, np.bool_),
        after_joiner=ints,
        class_of=np.zeros(0, np.int64),
        following=np.zeros((0, 0), np.int32),
        missing=np.zeros((0, 1), np.int32),
        hashes=codes,
        last_ids=ints,
        codes=codes,
        power=np.uint64(0),
        inverse=np.uint64(0),
    )


class FollowedStreams(NamedTuple):
    """What the rules know of each stream. The arrays change in place."""

    words: Int64Array
    """(B,): the state of its words."""
    patterns: Int64Array
    """(B,): the state of its pattern."""
    num_left: Int64Array
    """(B,): how many characters may follow."""
    begun: Codes
    """(B,): the hash of its last N characters."""
    num_read: Int64Array
    """(B,): how many characters it has."""
    history: Codes
    """(B, N): the codes of its last N characters; that of character i at i mod N."""


@for_loops
def forbid(
    rules: RuleTables,
    streams: FollowedStreams,
    stream: int,
    index: int,
    is_banned: BoolArray,
    is_forbidden: BoolArray,
) -> int:
    """Set which characters (V,) must not follow a stream after `index` characters of this block:
    those that are banned, and those that a rule forbids. Return how many may follow.

    It comes before each draw, and `follow` after it.
    """
    for char in range(len(is_banned)):
        is_forbidden[char] = is_banned[char]
    if rules.has_words:
        _forbid_words(rules, streams.words[stream], is_banned, is_forbidden)
    if rules.has_pattern:
        num_left = streams.num_left[stream] - index
        number = streams.patterns[stream]
        word = streams.words[stream]
        _forbid_mismatches(rules, word, number, num_left, is_banned, is_forbidden)
    if rules.num_chars > 0 and streams.num_read[stream] >= rules.num_chars:
        _forbid_copies(rules, streams.begun[stream], is_forbidden)

    num_allowed = 0
    for char in range(len(is_forbidden)):
        if not is_forbidden[char]:
            num_allowed += 1
    return num_allowed


@for_loops
def _forbid_words(
    rules: RuleTables, state: int, is_banned: BoolArray, is_forbidden: BoolArray
) -> None:
    """Forbid the characters that `WordTable.allowed` does not allow."""
    is_whole = rules.is_whole[state]
    for char in range(len(is_banned)):
        if not is_whole or rules.kinds[char] == LETTER:
            is_forbidden[char] = True
    for child in range(rules.first_child[state], rules.first_child[state + 1]):
        char = rules.characters[child]
        is_forbidden[char] = is_banned[char]


@for_loops
def _forbid_mismatches(
    rules: RuleTables,
    state: int,
    number: int,
    num_left: int,
    is_banned: BoolArray,
    is_forbidden: BoolArray,
) -> None:
    """Forbid the characters after which no text of `num_left` characters matches."""
    # The characters that are no children: all letters are.
    has_words = rules.missing.shape[1] > 1
    for char in range(len(is_forbidden)):
        word = BETWEEN
        if has_words and rules.kinds[char] == LETTER:
            continue
        if has_words and rules.kinds[char] == JOINER:
            word = rules.after_joiner[state]
        after = rules.following[number, rules.class_of[char]]
        if rules.missing[after, word] >= num_left:
            is_forbidden[char] = True
    if not has_words:
        return
    for child in range(rules.first_child[state], rules.first_child[state + 1]):
        char = rules.characters[child]
        after = rules.following[number, rules.class_of[char]]
        is_forbidden[char] = is_banned[char] or rules.missing[after, child] >= num_left


@for_loops
def _forbid_copies(rules: RuleTables, begun: np.uint64, is_forbidden: BoolArray) -> None:
    """Forbid the characters that complete a known passage, whose beginning has the hash `begun`."""
    # A binary search for the first passage with this beginning.
    hashes = rules.hashes
    low = 0
    high = len(hashes)
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < begun:
            low = middle + 1
        else:
            high = middle
    while low < len(hashes) and hashes[low] == begun:
        is_forbidden[rules.last_ids[low]] = True
        low += 1


@for_loops
def follow(rules: RuleTables, streams: FollowedStreams, stream: int, char: int) -> None:
    """Follow a stream by a character that may follow it."""
    if rules.has_words:
        state = streams.words[stream]
        after = BETWEEN
        if rules.kinds[char] == JOINER:
            after = rules.after_joiner[state]
        for child in range(rules.first_child[state], rules.first_child[state + 1]):
            if rules.characters[child] == char:
                after = child
        streams.words[stream] = after
    if rules.has_pattern:
        number = streams.patterns[stream]
        streams.patterns[stream] = rules.following[number, rules.class_of[char]]
    if rules.num_chars > 0:
        _follow_passage(rules, streams, stream, rules.codes[char])


@for_loops
def _follow_passage(
    rules: RuleTables, streams: FollowedStreams, stream: int, code: np.uint64
) -> None:
    """Add the code of a character to the last characters of a stream."""
    # The first one goes, and the others are divided by BASE.
    num_chars = rules.num_chars
    place = streams.num_read[stream] % num_chars
    begun = streams.begun[stream] - streams.history[stream, place]
    streams.begun[stream] = (begun + code * rules.power) * rules.inverse
    streams.history[stream, place] = code
    streams.num_read[stream] += 1
