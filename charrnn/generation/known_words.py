"""Follow the words of a text while it is written, so that each of them is one of a list.

The words are a trie (Fredkin 1960): a node for each beginning of a word. The nodes are numbered by
their length, and those of one length by their characters, so that the children of a node are a run
of numbers, sorted by their character. The state of a text is the node of the word that it is in.

Shapes: S states, N nodes, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charrnn.system.arrays import BoolArray, Int64Array
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import JOINER, LETTER, OTHER, WordList

BETWEEN = 0
"""The state outside of words, which is the root of the trie: any word may begin."""


@dataclass(frozen=True, eq=False)
class WordTable:
    """The words that a model may write, as a table of states and characters.

    Sampling asks it before each character which may follow; a `WordList` is the same as a list, in
    a file.

    The last two states have no children. `unknown` is inside a word that is none of the list, such
    as the last one of a prime: no letter may follow. `parted` is after an apostrophe or a hyphen
    behind a whole word, to which it does not belong: a letter would make it belong.
    """

    kinds: NDArray[np.uint8]
    """(V,): OTHER, LETTER or JOINER."""
    first_child: NDArray[np.int32]
    """(S + 1,): the children of state s are the nodes from first_child[s] to first_child[s + 1].
    """
    characters: NDArray[np.int32]
    """(S,): the id with which each node is reached from its parent; -1 for other states."""
    is_whole: BoolArray
    """(S,): whether a word may end here, so that a character that is no letter may follow."""
    after_joiner: NDArray[np.int32]
    """(S,): the state after an apostrophe or a hyphen that is no child."""

    @classmethod
    def of(cls, word_list: WordList, vocab: Vocab, banned: Sequence[int] = ()) -> "WordTable":
        """Make the table of the words that have no banned characters (ids)."""
        ids = vocab.encode("".join(word_list.forms())).astype(np.int64)
        lengths = np.array([len(form) for form in word_list.forms()], np.int64)
        ends = np.cumsum(lengths)
        can_be_drawn = np.ones(len(vocab), np.bool_)
        can_be_drawn[list(banned)] = False
        num_banned = np.concatenate(([0], np.cumsum(~can_be_drawn[ids])))
        is_kept = num_banned[ends] == num_banned[ends - lengths]
        return cls._of_ids(
            word_list.kinds(vocab), ids=ids, ends=ends[is_kept], lengths=lengths[is_kept]
        )

    @classmethod
    def _of_ids(
        cls, kinds: NDArray[np.uint8], ids: Int64Array, ends: Int64Array, lengths: Int64Array
    ) -> "WordTable":
        """Make the table of words, of which each has some ids before an index in `ends`."""
        # One length after the other: a node is a different pair of a parent and a character.
        vocab_size = len(kinds)
        starts = ends - lengths
        nodes = np.zeros(len(ends), np.int64)
        characters = [np.array([-1])]
        parents = [np.array([-1])]
        whole = [np.array([True])]
        num_nodes = 1
        for depth in range(int(lengths.max(initial=0))):
            is_longer = lengths > depth
            starts, nodes, lengths = starts[is_longer], nodes[is_longer], lengths[is_longer]
            pairs, places = np.unique(nodes * vocab_size + ids[starts + depth], return_inverse=True)
            is_end = np.zeros(len(pairs), np.bool_)
            is_end[places[lengths == depth + 1]] = True
            parents.append(pairs // vocab_size)
            characters.append(pairs % vocab_size)
            whole.append(is_end)
            nodes = num_nodes + places
            num_nodes += len(pairs)
        return cls._of_nodes(
            kinds,
            characters=np.concatenate(characters),
            parents=np.concatenate(parents),
            is_end=np.concatenate(whole),
        )

    @classmethod
    def _of_nodes(
        cls,
        kinds: NDArray[np.uint8],
        characters: Int64Array,
        parents: Int64Array,
        is_end: BoolArray,
    ) -> "WordTable":
        """Make the table of nodes (N,)."""
        num_nodes = len(parents)
        parted = num_nodes + 1
        is_joiner = (characters >= 0) & (kinds[characters] == JOINER)
        # After an apostrophe that may belong to the word, it may also be outside of it.
        is_whole = np.where(is_joiner, is_end[parents], is_end)
        after_joiner = np.where(is_joiner, BETWEEN, parted)
        after_joiner[BETWEEN] = BETWEEN
        num_children = np.bincount(parents[1:], minlength=num_nodes + 2)
        return cls(
            kinds=kinds,
            first_child=np.concatenate(([1], 1 + np.cumsum(num_children))).astype(np.int32),
            characters=np.append(characters, [-1, -1]).astype(np.int32),
            is_whole=np.append(is_whole, [True, True]),
            after_joiner=np.append(after_joiner, [parted, BETWEEN]).astype(np.int32),
        )

    @property
    def unknown(self) -> int:
        """The state inside a word that is none of the list."""
        return len(self.characters) - 2

    @property
    def parted(self) -> int:
        """The state after an apostrophe or a hyphen behind a whole word, to which it does not
        belong."""
        return len(self.characters) - 1

    @cached_property
    def levels(self) -> list[slice]:
        """The nodes of each length: the root alone, then those of one character, and so on."""
        levels = [slice(BETWEEN, BETWEEN + 1)]
        while levels[-1].start < levels[-1].stop:
            levels.append(self.children_of(levels[-1]))
        return levels[:-1]

    def children_of(self, nodes: slice) -> slice:
        """Return the nodes that are children of a run of nodes."""
        return slice(int(self.first_child[nodes.start]), int(self.first_child[nodes.stop]))

    def children(self, state: int) -> range:
        """Return the nodes that are children of a state."""
        return range(int(self.first_child[state]), int(self.first_child[state + 1]))

    def allowed(self, state: int) -> BoolArray:
        """Return which characters (V,) may follow a state."""
        allowed = np.zeros(len(self.kinds), np.bool_)
        if self.is_whole[state]:
            allowed = self.kinds != LETTER
        children = self.children(state)
        allowed[self.characters[children.start : children.stop]] = True
        return allowed

    def next_states(self, state: int) -> NDArray[np.int32]:
        """Return the state (V,) after each character that may follow a state. For a character that
        may not follow it is any state."""
        after = np.full(len(self.kinds), BETWEEN, np.int32)
        after[self.kinds == JOINER] = self.after_joiner[state]
        children = self.children(state)
        after[self.characters[children.start : children.stop]] = children
        return after

    def follow(self, state: int, id: int) -> int:
        """Return the state after a character, which may also be one that is not allowed."""
        children = self.children(state)
        child = children.start + int(
            np.searchsorted(self.characters[children.start : children.stop], id)
        )
        if child in children and self.characters[child] == id:
            return child
        if self.kinds[id] == OTHER:
            return BETWEEN
        if self.kinds[id] == JOINER:
            return int(self.after_joiner[state])
        return self.unknown

    def state_after(self, ids: Sequence[int]) -> int:
        """Return the state after a text of ids.

        It begins a text behind a prime; `follow` goes on by one character.
        """
        state = BETWEEN
        for id in ids:
            state = self.follow(state, id)
        return state
