"""Learn the finite automaton that a network over few characters behaves as, by asking the network.

After Angluin (1987), as Weiss, Goldberg & Yahav (2018) did with recurrent networks. A character may
follow a string if the network gives it a probability of at least LIKELY, and a string can be read
if each of its characters may follow those before it. Two strings lead to one state unless a suffix
tells them apart: after it, other characters may follow. Each string on which network and automaton
differ gives a further suffix (after Rivest & Schapire 1993), until they agree.

A characters, B strings that are read side by side, N states.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.automata.drawing import State
from charrnn.model.portable_math import Float32Array
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.stepper import Stepper
from charrnn.system.progress import task

LIKELY = 0.01
"""The least probability of a character that may follow."""
SHORT = 20
"""Characters of the longest of the strings that are all compared."""
MAX_STRINGS = 2**22
"""Strings that are all compared, at most: as many as parity has up to SHORT characters."""
MAX_PRODUCTS = 2**35
"""Weights times characters that are read for a comparison, at most: a larger network reads fewer
strings."""
REFINED = 64
"""Characters of the strings that refine an automaton, at most."""
BLOCK = 2**14
"""Strings that are read at once."""
MAX_REFINING = 2**17
"""Strings that are all compared to refine an automaton, at most."""
NUM_REFINING = 500
"""Strings of REFINED characters that are drawn to refine an automaton."""
LONG = 1000
"""Characters of the strings that are drawn to compare the final automaton."""
NUM_DRAWN = 10_000
"""Strings of LONG characters that are drawn, at most."""
ENOUGH = 0.01
"""The share of drawn strings that may differ: in long strings, numbers drift."""
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Strings(NamedTuple):
    """B strings that a network has read."""

    state: RecurrentState[Float32Array]
    may_follow: Flags
    """(B, A): which characters may follow each string."""


@dataclass(frozen=True, slots=True, eq=False)
class Oracle:
    """A network that answers which characters may follow a string."""

    stepper: Stepper
    prime: NDArray[Any]
    """(n,): the ids that are read before every string, at least one."""
    characters: str
    """The A characters."""
    ids: NDArray[Any]
    """(A,): the ids of the characters."""
    end: str | None
    """The character after which a string is over; None for strings without an end."""

    @property
    def is_end(self) -> Flags:
        """(A,): which character is the end."""
        return np.array([character == self.end for character in self.characters])

    def start(self) -> Strings:
        """Return the empty string."""
        logits, state = self.stepper.read(self.prime)
        return Strings(state, self._may_follow(logits))

    def read(
        self,
        strings: Strings,
        rows: Indices,
        letters: Indices,
        advance: Callable[[int], object] = lambda count: None,
    ) -> Strings:
        """Read n further characters, the `letters` (n,) as indices among the A, after the strings
        of `rows` (n,). `advance` is called with the number of characters of each block."""
        # In blocks: the gates and logits of millions of strings would take gigabytes.
        read = []
        for first in range(0, max(1, len(rows)), BLOCK):
            block = slice(first, first + BLOCK)
            state = strings.state.map(partial(np.take, indices=rows[block], axis=-2))
            logits, state = self.stepper.step(self.ids[letters[block]], state)
            read.append(Strings(state, self._may_follow(logits)))
            advance(len(logits))
        first_state, *states = [longer.state for longer in read]
        state = first_state.map(lambda *vectors: np.concatenate(vectors, axis=-2), *states)
        return Strings(state, np.concatenate([longer.may_follow for longer in read]))

    def extend(self, strings: Strings, character: str) -> Strings:
        """Read one character after all strings. No character may follow a string that it may not
        follow."""
        letter = self.characters.index(character)
        every = np.arange(len(strings.may_follow))
        longer = self.read(strings, every, np.full(len(every), letter))
        longer.may_follow[~strings.may_follow[:, letter]] = False
        return longer

    def answer(self, string: str) -> bytes:
        """Return which characters may follow a string; none if it cannot be read."""
        strings = self.start()
        for character in string:
            strings = self.extend(strings, character)
        return strings.may_follow.tobytes()

    def answers(self, strings: Strings, suffixes: Iterable[str]) -> list[bytes]:
        """Return for each string which characters may follow it, alone and with each suffix. All
        beginnings of a suffix come before it."""
        read = {"": strings}
        for suffix in suffixes:
            read[suffix] = self.extend(read[suffix[:-1]], suffix[-1])
        rows = np.hstack([longer.may_follow for longer in read.values()])
        return [row.tobytes() for row in rows]

    def _may_follow(self, logits: Float32Array) -> Flags:
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return np.asarray(chances[:, self.ids] >= LIKELY)


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """An automaton of N states. State 0 is the state before a string."""

    next: Indices
    """(N + 1, A): the state after each character: -1 where it may not follow, N where the string is
    over or leads out of the N states. No character may follow in state N."""
    access: Sequence[str]
    """(N,): the shortest string that leads to each state."""

    @property
    def num_states(self) -> int:
        """N."""
        return len(self.access)

    @property
    def goes_on(self) -> Flags:
        """(N + 1, A): which characters lead to one of the N states."""
        return (self.next >= 0) & (self.next < self.num_states)

    def share_followed(self, oracle: Oracle, letters: Indices) -> float:
        """Compute the share of the characters of a text at which the automaton is in one of the N
        states. `letters` (n,) are the characters, as indices among the A. A new string begins where
        a string is over."""
        table = np.where(self.next < 0, self.num_states, self.next)
        table[:, oracle.is_end] = 0
        state = 0
        num_followed = 0
        for letter in letters.tolist():
            state = int(table[state, letter])
            num_followed += state < self.num_states
        return num_followed / len(letters)

    def states(self, oracle: Oracle) -> tuple[State, ...]:
        """Return the states one by one."""
        states = []
        for access, row in zip(self.access, self.next.tolist(), strict=False):
            following: dict[str, int | None] = {}
            for character, state in zip(oracle.characters, row, strict=True):
                if state >= 0:
                    following[character] = state if state < self.num_states else None
            states.append(State(access, following))
        return tuple(states)


def build_machine(oracle: Oracle, suffixes: Iterable[str], max_states: int) -> Machine:
    """Build the machine of the states that `suffixes` tell apart: at most `max_states`, which the
    shortest strings lead to."""
    level = oracle.start()
    [answer] = oracle.answers(level, suffixes)
    state_of = {answer: 0}
    access = [""]
    tables = []
    first = 0
    while first < len(access):
        # Read every further character after every string of this level.
        tables.append(np.where(level.may_follow, max_states, -1))
        rows, letters = np.nonzero(level.may_follow & ~oracle.is_end)
        longer = oracle.read(level, rows, letters)

        # The strings that lead to new states are the next level.
        new_rows = []
        answers = oracle.answers(longer, suffixes)
        for index, (row, letter, answer) in enumerate(zip(rows, letters, answers, strict=True)):
            if answer not in state_of and len(state_of) < max_states:
                state_of[answer] = len(state_of)
                access.append(access[first + row] + oracle.characters[letter])
                new_rows.append(index)
            tables[-1][row, letter] = state_of.get(answer, max_states)
        first += len(level.may_follow)
        take_new = partial(np.take, indices=np.array(new_rows, np.int64), axis=-2)
        level = Strings(longer.state.map(take_new), longer.may_follow[new_rows])

    nowhere = np.full((1, len(oracle.characters)), -1)
    table = np.concatenate((*tables, nowhere))
    return Machine(np.minimum(table, len(access)), access)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a network and an automaton: whether the same characters may follow after
    each character of some strings."""

    length: int
    """Characters of a string, or of the longest."""
    num_strings: int
    num_different: int
    shortest: str | None
    """The shortest string after which network and automaton differ; None if they agree."""


def compare(
    oracle: Oracle,
    machine: Machine,
    choose: Callable[[int, Indices], tuple[Indices, Indices]],
    length: int,
    total: int,
) -> Comparison:
    """Compare strings of up to `length` characters, `total` at most, that stay in the machine.

    `choose` takes the number of characters and the states (B,) of the strings, and returns the
    indices (n,) of the strings that are continued, and of the characters (n,) that continue them.
    """
    strings = oracle.start()
    states = np.zeros(1, np.int64)
    steps: list[tuple[Indices, Indices]] = []
    shortest = None
    num_different = 0
    with task("comparing", total=total, unit="strings") as advance:
        while len(steps) < length:
            rows, letters = choose(len(steps), states)
            if len(rows) == 0:
                break
            strings = oracle.read(strings, rows, letters, advance)
            states = machine.next[states[rows], letters]
            steps.append((rows, letters))

            # A string that differs is not read any further.
            is_different = (strings.may_follow != (machine.next[states] >= 0)).any(axis=1)
            num_different += int(is_different.sum())
            states = np.where(is_different, machine.num_states, states)
            if shortest is None and num_different:
                shortest = ""
                row = int(is_different.argmax())
                for rows, letters in reversed(steps):
                    shortest = oracle.characters[letters[row]] + shortest
                    row = rows[row]
    num_strings = sum(len(rows) for rows, _ in steps)
    return Comparison(
        len(steps), num_strings=num_strings, num_different=num_different, shortest=shortest
    )


def compare_all(oracle: Oracle, machine: Machine, most: int, length: int = SHORT) -> Comparison:
    """Compare all strings of up to `length` characters, or of fewer if there are more than `most`
    strings."""
    num_strings = 0

    def choose(num_chars: int, states: Indices) -> tuple[Indices, Indices]:
        nonlocal num_strings
        rows, letters = np.nonzero(machine.goes_on[states])
        num_strings += len(rows)
        if num_strings > most:
            return rows[:0], letters[:0]
        return rows, letters

    return compare(oracle, machine=machine, choose=choose, length=length, total=most)


def compare_drawn(oracle: Oracle, machine: Machine, length: int, num_strings: int) -> Comparison:
    """Compare strings of `length` characters, or of the greatest length that the machine has, which
    are drawn uniformly."""
    # How many strings of 0, 1, 2, … characters begin at each state, relative to the largest of
    # these numbers.
    ways: list[Any] = [np.ones(len(machine.next))]
    if oracle.end is not None:
        ways = [(machine.next[:, oracle.is_end] >= 0).any(axis=1)]
    for _ in range(length):
        longer = (ways[-1][machine.next] * machine.goes_on).sum(axis=1)
        ways.append(longer / max(longer.max(), np.finfo(float).tiny))
    while length and not ways[length][0]:
        length -= 1
    generator = np.random.default_rng(0)

    def choose(num_chars: int, states: Indices) -> tuple[Indices, Indices]:
        rows = np.flatnonzero(states < machine.num_states)
        if num_chars == 0:
            rows = np.zeros(num_strings, np.int64)
        next_states = machine.next[states[rows]]
        chances = ways[length - num_chars - 1][next_states] * machine.goes_on[states[rows]]
        sums = chances.cumsum(axis=1)
        drawn = generator.random(len(rows)) * sums[:, -1]
        return rows, (sums <= drawn[:, None]).sum(axis=1)

    comparison = compare(
        oracle, machine=machine, choose=choose, length=length, total=length * num_strings
    )
    return Comparison(
        length,
        num_strings=num_strings,
        num_different=comparison.num_different,
        shortest=comparison.shortest,
    )


def find_suffix(oracle: Oracle, machine: Machine, string: str) -> str:
    """Find the shortest suffix of a string on which network and machine differ that tells apart two
    strings of one state."""
    states = [0]
    for character in string:
        states.append(int(machine.next[states[-1], oracle.characters.index(character)]))

    # With less and less of the string replaced by the shortest string of the same state, the answer
    # turns from the machine's into the network's. Rivest & Schapire search in halves, which finds
    # longer suffixes.
    begin = len(string)
    by_machine = oracle.answer(machine.access[states[begin]])
    answer = by_machine
    while begin and answer == by_machine:
        begin -= 1
        answer = oracle.answer(machine.access[states[begin]] + string[begin:])
    return string[begin + 1 :]


def learn_machine(oracle: Oracle, max_states: int) -> Machine:
    """Learn the machine of a network, of at most `max_states` states."""
    suffixes: list[str] = []
    machine = build_machine(oracle, suffixes=suffixes, max_states=max_states)
    while True:
        comparison = compare_all(oracle, machine=machine, most=MAX_REFINING, length=REFINED)
        if comparison.shortest is None:
            break
        suffix = find_suffix(oracle, machine=machine, string=comparison.shortest)
        # A probability near LIKELY may be rounded to either side: the suffix tells nothing apart.
        if suffix in suffixes:
            break
        for length in range(1, len(suffix) + 1):
            if suffix[:length] not in suffixes:
                suffixes.append(suffix[:length])
        machine = build_machine(oracle, suffixes=suffixes, max_states=max_states)

    # If a network counts further than these suffixes reach, the last state leads to itself, and
    # longer strings differ. Without that state, they lead out of the machine. So the result is the
    # largest machine that agrees with the network, if it has more than half of the states.
    for num_states in range(machine.num_states, machine.num_states // 2, -1):
        smaller = build_machine(oracle, suffixes=suffixes, max_states=num_states)
        comparison = compare_drawn(
            oracle, machine=smaller, length=REFINED, num_strings=NUM_REFINING
        )
        if comparison.num_different <= ENOUGH * comparison.num_strings:
            return smaller
    return machine
