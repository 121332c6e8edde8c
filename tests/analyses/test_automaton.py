"""The automaton of a network: of networks whose automaton is known, and of a run."""

import numpy as np
import pytest

import charrnn
from charrnn.analyses.automata import Automaton, learning
from charrnn.analyses.automata.drawing import State, StateGraph
from charrnn.errors import CharRNNError
from charrnn.model.recurrent_state import RecurrentState
from charrnn.system.progress import CallbackProgress, using

CHARACTERS = "\n01="
PARITY = [
    [-1, 1, 2, -1],
    [-1, 1, 2, 3],
    [-1, 2, 1, 4],
    [-1, 5, -1, -1],
    [-1, -1, 5, -1],
    [0, -1, -1, -1],
]
"""The state of a reader of 1101=1 after each state and character, -1 where it may not follow."""
FORGETFUL = [*PARITY[:4], [-1, 5, -1, -1], PARITY[5]]
"""It answers 0 whatever it has read."""


class TableStepper:
    """A network whose one unit is the number of a state."""

    def __init__(self, table):
        self.table = np.array(table)

    def read(self, ids):
        return self.step(ids, RecurrentState(np.full((1, 1, 1, 1), 5)))

    def step(self, ids, state):
        after = self.table[state.vectors[0, 0, :, 0], ids]
        logits = np.where(self.table[after] < 0, -20.0, 0.0)
        return logits, RecurrentState(after[None, None, :, None])


def oracle_of(table):
    first = np.array([0])
    return learning.Oracle(TableStepper(table), first, CHARACTERS, np.arange(4), "\n")


def test_the_automaton_of_parity_is_found():
    machine = learning.learn_machine(oracle_of(PARITY), 64)
    # At its end a string has no state.
    assert machine.next.tolist() == [*PARITY[:5], [6, -1, -1, -1], [-1] * 4]
    assert machine.access == ["", "0", "1", "0=", "1=", "0=0"]
    # Of seven bits, and of six and five before = and an answer.
    found = learning.compare_all(oracle_of(PARITY), machine, 1000, length=7)
    assert (found.num_strings, found.num_different) == (254 + 126 + 62, 0)


def test_what_has_no_room_leads_out_of_the_automaton():
    oracle = oracle_of(PARITY)
    *_, last = learning.learn_machine(oracle, 3).states(oracle)
    assert last == State("1", {"0": 2, "1": 1, "=": None})


def test_a_string_that_differs_has_a_suffix_that_tells_states_apart():
    oracle = oracle_of(PARITY)
    # After both any bit may follow, and the =.
    machine = learning.build_machine(oracle, [], 64)
    found = learning.compare_all(oracle, machine, 1000)
    assert (found.shortest, learning.find_suffix(oracle, machine, "1=")) == ("1=", "=")


def test_strings_are_read_in_blocks_and_counted(monkeypatch):
    counts = []
    machine = learning.learn_machine(oracle_of(PARITY), 64)
    monkeypatch.setattr(learning, "BLOCK", 3)
    with using(CallbackProgress(lambda one: counts.append((one.done, one.total)))):
        found = learning.compare_all(oracle_of(PARITY), machine, 1000, length=7)
    assert (found.num_strings, found.num_different) == (442, 0)
    assert counts[-1] == (442, 1000)


def test_drawn_strings_are_equally_likely():
    machine = learning.learn_machine(oracle_of(PARITY), 64)
    found = learning.compare_drawn(oracle_of(FORGETFUL), machine, length=5, num_strings=10_000)
    # Half of the strings have an odd number of ones: 5,000, with a standard deviation of 50.
    assert found.num_different == pytest.approx(5000, abs=250)


def test_the_automaton_of_a_run_is_what_it_predicts(chain_run):
    model = charrnn.load(chain_run)
    found = model.automaton(model.held_out_text()[0])
    assert found.all_strings.num_different == 0
    for state in found.states[:-1]:
        next_ones = model.predict("\n" + state.reached_by, top=9)
        likely = [one.character for one in next_ones if one.probability >= learning.LIKELY]
        assert sorted(state.next) == sorted(likely)


@pytest.mark.parametrize(
    ("text", "states", "message"),
    [
        ("abc", 8, "an automaton needs at least 16"),
        ("gfedcba\n" * 50, 8, r"is no automaton of (1 state|\d+ states):"),
        ("abcdefg\n" * 50, 0, "must be between 1 and 512"),
    ],
)
def test_what_has_no_automaton_is_refused(chain_run, text, states, message):
    with pytest.raises(CharRNNError, match=message):
        charrnn.load(chain_run).automaton(text, states)


@pytest.mark.parametrize(("num_states", "is_warned"), [(1, True), (2, False)])
def test_one_state_is_a_caution(num_states, is_warned):
    compared = learning.Comparison(2, 2, 0, None)
    states = (State("", {"a": 0}),) * num_states
    shown = "".join(
        map(
            str,
            Automaton(
                states=states,
                end=None,
                all_strings=compared,
                drawn_strings=compared,
                share_followed=1.0,
            ).view(),
        )
    )
    assert ("no two strings apart" in shown) is is_warned


def test_a_state_after_which_a_string_may_end_has_two_circles():
    graph = StateGraph([State("", {"a": 1}), State("a", {"a": 1, "\n": None})], "\n")
    _, shapes = graph.to_shapes(400)
    # And two arrows have heads.
    assert sum('z" fill="#' in one for one in shapes) == 2 + 1 + 2
