"""The automaton of a network: of networks whose automaton is known, and of a run."""

import json
from itertools import product

import numpy as np
import pytest
from built_runs import build_chain
from conftest import as_json

import charrnn
from charrnn.analyses.automata import learning
from charrnn.analyses.automata.drawing import State, StateGraph, layers_of
from charrnn.errors import DataError, UsageError
from charrnn.model.recurrent_state import RecurrentState

PARITY = {
    0: {"0": 1, "1": 2},
    1: {"0": 1, "1": 2, "=": 3},
    2: {"0": 2, "1": 1, "=": 4},
    3: {"0": 5},
    4: {"1": 5},
    5: {"\n": 0},
}
"""The states of a reader of strings such as 1101=1, numbered as they are reached."""
DYCK = {0: {"(": 1, "\n": 0}, 1: {"(": 2, ")": 0}, 2: {"(": 3, ")": 1}, 3: {")": 2}}
"""Brackets up to depth 3."""


class TableStepper:
    """A network that computes an automaton: its one unit is the number of the state."""

    def __init__(self, states, characters):
        self.table = np.full((len(states), len(characters)), -1)
        for state, following in states.items():
            for character, after in following.items():
                self.table[state, characters.index(character)] = after

    def read(self, ids):
        first = np.full((1, 1, 1, 1), len(self.table) - 1, np.float32)
        return self.step(ids, RecurrentState(first))

    def step(self, ids, state):
        before = state.vectors[0, 0, :, 0].astype(int)
        after = np.maximum(self.table[before, ids], 0)
        # A character that may not follow has a probability of e^-20.
        logits = np.where(self.table[after] >= 0, 0, -20).astype(np.float32)
        return logits, RecurrentState(after[None, None, :, None].astype(np.float32))


def oracle_of(states, **changes):
    characters = "".join(sorted({one for following in states.values() for one in following}))
    # All end with a newline, after which state 0 is the first of a string.
    fields = {
        "stepper": TableStepper(states, characters),
        "prime": np.array([0]),
        "characters": characters,
        "ids": np.arange(len(characters)),
        "end": "\n",
    }
    return learning.Oracle(**{**fields, **changes})


def strings_of(states, length):
    """All strings of up to `length` characters that can be read, without those after a newline."""
    characters = oracle_of(states).characters.replace("\n", "")
    found = []
    for num_chars in range(1, length + 1):
        for string in map("".join, product(characters, repeat=num_chars)):
            state = 0
            for character in string:
                state = states.get(state, {}).get(character)
            if state is not None:
                found.append(string)
    return found


@pytest.mark.parametrize("states", [PARITY, DYCK], ids=["parity", "dyck"])
def test_an_automaton_that_is_known_is_found(states):
    oracle = oracle_of(states)
    machine = learning.learn_machine(oracle, 64)
    found = {}
    for number, state in enumerate(machine.states(oracle)):
        # After its end, a string has no state.
        found[number] = {one: after or 0 for one, after in state.next.items()}
    assert found == states


def test_states_are_reached_by_their_shortest_strings():
    machine = learning.learn_machine(oracle_of(PARITY), 64)
    assert machine.access == ["", "0", "1", "0=", "1=", "0=0"]


def test_what_has_no_room_leads_out_of_the_automaton():
    oracle = oracle_of(DYCK)
    *_, last = learning.learn_machine(oracle, 3).states(oracle)
    assert last == State("((", {"(": None, ")": 1})


@pytest.mark.parametrize("states", [PARITY, DYCK], ids=["parity", "dyck"])
def test_all_short_strings_are_compared(states):
    oracle = oracle_of(states)
    machine = learning.learn_machine(oracle, 64)
    found = learning.compare_all(oracle, machine, 10_000, length=7)
    assert (found.num_strings, found.num_different) == (len(strings_of(states, 7)), 0)


def test_too_many_strings_are_compared_up_to_a_smaller_length():
    oracle = oracle_of(PARITY)
    machine = learning.learn_machine(oracle, 64)
    num_strings = len(strings_of(PARITY, 5))
    found = learning.compare_all(oracle, machine, num_strings + 1)
    assert (found.length, found.num_strings) == (5, num_strings)


def test_the_shortest_string_that_differs_is_found():
    """Without a suffix, states that the same characters may follow are one: depths 1 and 2."""
    oracle = oracle_of(DYCK)
    machine = learning.build_machine(oracle, [], 64)
    found = learning.compare_all(oracle, machine, 10_000)
    assert len(found.shortest) == 3
    assert found.num_different > 0


def test_the_suffix_of_a_string_that_differs_tells_two_states_apart():
    oracle = oracle_of(DYCK)
    machine = learning.build_machine(oracle, [], 64)
    shortest = learning.compare_all(oracle, machine, 10_000).shortest
    suffix = learning.find_suffix(oracle, machine, shortest)
    beginnings = [suffix[:length] for length in range(1, len(suffix) + 1)]
    finer = learning.build_machine(oracle, beginnings, 64)
    assert finer.num_states > machine.num_states


def test_drawn_strings_are_equally_likely():
    """Of the five words of six brackets, the network forgets one: ((()))."""
    forgetful = oracle_of({**DYCK, 3: {")": 4}, 4: {")": 4}})
    machine = learning.learn_machine(oracle_of(DYCK), 64)
    found = learning.compare_drawn(forgetful, machine, length=6, num_strings=10_000)
    assert found.shortest == "((()"
    # 0.2, with a standard deviation of 0.004.
    assert found.num_different / 10_000 == pytest.approx(0.2, abs=0.02)


def test_strings_are_as_long_as_the_longest_of_the_automaton():
    oracle = oracle_of({0: {"a": 1}, 1: {"a": 2, "b": 3}, 2: {"b": 1}, 3: {"\n": 0}})
    machine = learning.learn_machine(oracle, 3)
    found = learning.compare_drawn(oracle, machine, length=9, num_strings=10)
    assert found.num_different == 0


def test_the_share_of_a_text_that_an_automaton_follows():
    oracle = oracle_of(DYCK)
    machine = learning.learn_machine(oracle, 3)
    # Depth 3 has no state, and the rest of its string is lost.
    places = np.array([oracle.characters.index(one) for one in "()\n((()))\n()"])
    assert machine.share_followed(oracle, places) == 8 / 12


@pytest.fixture(scope="module")
def cycle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    corpus = folder / "cycle.txt"
    corpus.write_text("abc\n" * 1000)
    return build_chain(folder / "cycle", "abc\n", corpus=corpus)


def test_the_automaton_of_a_run(cycle):
    """After each character the next two of the cycle may follow, or all: the state is the last
    character."""
    model = charrnn.load(cycle)
    found = model.automaton("abc\n" * 100)
    for state in found.states:
        chances = {
            one.character: one.probability for one in model.predict(f"\n{state.reached_by}", top=5)
        }
        likely = {one for one, chance in chances.items() if chance >= learning.LIKELY}
        assert state.next.keys() == likely & set("abc\n")
    assert (found.share_followed, found.all_strings.num_different) == (1, 0)


def test_the_command_prints_the_automaton(command, cycle):
    found = as_json(command("visualize", cycle, "--automaton", "--json"))
    model = charrnn.load(cycle)
    text, context = model.held_out_text()
    expected = model.automaton(text, context=context)
    assert found == {"run": "cycle", **json.loads(json.dumps(expected.to_json()))}


def test_a_network_that_is_no_small_automaton_is_refused(cycle):
    model = charrnn.load(cycle)
    # Of a text that it does not expect.
    with pytest.raises(DataError, match="cycle is no automaton of"):
        model.automaton("cba\n" * 100)


@pytest.mark.parametrize("num_states", [1, 513])
def test_a_number_of_states_out_of_range_is_refused(cycle, num_states):
    with pytest.raises(UsageError, match="between 2 and 512"):
        charrnn.load(cycle).automaton("abc\n" * 100, num_states)


def test_a_short_text_is_refused(cycle):
    with pytest.raises(DataError, match="at least 16"):
        charrnn.load(cycle).automaton("abc")


def test_a_graph_has_a_second_circle_where_a_string_may_end():
    graph = StateGraph([State("", {"a": 1}), State("a", {"a": 1, "\n": None})], "\n")
    _, shapes = graph.to_shapes(400)
    # Arrows to state 1 and to itself, two states, one of them with two circles.
    assert [sum(part in one for one in shapes) for part in (">a<", 'fill="#')] == [2, 5 + 2]


def test_columns_are_distances_from_the_first_state():
    states = [State("", {"a": 2, "b": 1}), State("b", {}), State("a", {"a": 3}), State("", {})]
    assert layers_of(states) == [[0], [1, 2], [3]]
