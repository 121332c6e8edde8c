"""`visualize --automaton`: the finite automaton that a network behaves as, and how faithful it is.

The network is asked which characters may follow a string (`learning`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.automata.drawing import State, StateGraph
from charrnn.analyses.automata.learning import (
    LONG,
    MAX_PRODUCTS,
    MAX_STRINGS,
    NUM_DRAWN,
    Comparison,
    Oracle,
    compare_all,
    compare_drawn,
    learn_machine,
)
from charrnn.api import MAX_STATES, Model
from charrnn.cli.analyses import NETWORK, Analysis, Shown, Subject
from charrnn.config.options import option
from charrnn.errors import DataError, check_length, check_range, counted, named
from charrnn.model.reading import WARM_UP
from charrnn.system.display import Displayable
from charrnn.text.vocab import EncodedText
from charrnn.views.theme import all_visible

LEAST_FOLLOWED = 0.5
"""Share of the characters of a text at which its automaton is in one of its states, at least: a
network of prose is no automaton of so few states."""
MOST_STATES = 512
"""States that can be asked for, at most."""
LEAST_CHARS = 16
"""Characters of a text, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Automaton(Displayable):
    """The finite automaton that a network behaves as, state 0 first."""

    states: tuple[State, ...]
    end: str | None
    """The character after which a string is over; None for strings without an end."""
    all_strings: Comparison
    """Network and automaton on all short strings that stay in the automaton."""
    drawn_strings: Comparison
    """Network and automaton on long strings that are drawn at random."""
    share_followed: float
    """Share of the characters of the text at which the automaton is in one of its states."""

    def view(self) -> Sequence[RenderableType]:
        """Return the graph, which is a table in a terminal, and how faithful it is."""
        lines = [f"It follows the text at {self.share_followed:.1%} of its characters."]
        if len(self.states) == 1:
            lines.append("It tells no two strings apart, like an untrained network.")
        kinds = {"All strings of up to": self.all_strings, "Drawn strings of": self.drawn_strings}
        for kind, comparison in kinds.items():
            line = (
                f"{kind} {comparison.length:,} characters: {comparison.num_different:,} of"
                f" {comparison.num_strings:,} differ from the network."
            )
            if comparison.shortest is not None:
                line += f" The shortest that was found: {all_visible(comparison.shortest)}"
            lines.append(line)
        return [StateGraph(self.states, self.end), *map(Text, lines)]


def automaton(model: Model, text: EncodedText, max_states: int) -> Automaton:
    """Extract the automaton of at most `max_states` states that a network behaves as over the
    characters of a text.

    Raises DataError for a text too short and for a network that is no such automaton, UsageError
    for a number of states out of range.
    """
    check_length(len(text), least=LEAST_CHARS, what="an automaton")
    check_range("states", value=max_states, high=MOST_STATES)
    ids, first_indices = np.unique(text.ids[text.first :], return_index=True)
    characters = "".join(text.text[index] for index in first_indices)

    # A newline or END ends a string. The first string begins after one, when the network is warm.
    end = next((mark for mark in "\n\0" if mark in characters), None)
    begin = min(WARM_UP, len(text) // 2)
    if end is not None:
        begin = max(1, text.text.rfind(end, 0, begin) + 1)
    strings = text.part(begin)
    letters = np.searchsorted(ids, strings.ids[strings.first :])
    prime = strings.ids[: strings.first][-WARM_UP:]
    oracle = Oracle(model.stepper, prime=prime, characters=characters, ids=ids, end=end)

    machine = learn_machine(oracle, max_states)
    share_followed = machine.share_followed(oracle, letters)
    if share_followed < LEAST_FOLLOWED:
        raise DataError(
            f"{model.name} is no automaton of {counted(machine.num_states, 'state')}: that follows"
            f" the text at {share_followed:.0%} of its characters. Give more {named('states')}, or"
            " train on a formal language: charrnn train dyck"
        )

    # Compare network and automaton again, on more and longer strings.
    most = MAX_PRODUCTS // model.description.num_parameters
    num_drawn = min(NUM_DRAWN, 1 + most // LONG)
    return Automaton(
        states=machine.states(oracle),
        end=end,
        all_strings=compare_all(oracle, machine=machine, most=min(MAX_STRINGS, most)),
        drawn_strings=compare_drawn(oracle, machine, length=LONG, num_strings=num_drawn),
        share_followed=share_followed,
    )


@dataclass(frozen=True, kw_only=True)
class AutomatonOptions:
    """The options of the analysis."""

    automaton: bool = option(
        False,
        flags="--automaton",
        help="Extract the finite automaton that the network behaves as.",
        panel=NETWORK,
    )
    states: int = option(
        MAX_STATES, flags="--states N", help="States of --automaton, at most.", panel=NETWORK
    )


def _measure(subject: Subject[AutomatonOptions]) -> Automaton:
    return subject.model.automaton(subject.text, max_states=subject.own.states)


def _show(subject: Subject[AutomatonOptions], result: Automaton) -> Shown:
    title = f"The automaton of {subject.model.name}: {counted(len(result.states), 'state')}"
    pictures = [Text(all_visible(title), style="bold"), *result.view()]
    return Shown(title, pictures=pictures, data={"run": subject.model.name, **result.to_json()})


ANALYSES = (Analysis(flag="--automaton", options=AutomatonOptions, measure=_measure, show=_show),)
"""`visualize --automaton`."""
