"""Draw an automaton: a graph in a picture, a table in a terminal.

A state is drawn in the column of its distance from state 0. Points are complex numbers, in pixels.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style

from charrnn.views.svg import INK, LINE_HEIGHT, PAPER, colour_of, label, path, shape
from charrnn.views.tables import plain_table
from charrnn.views.theme import shown_character

RADIUS = 22.0
"""Radius of a state, at most."""
LEAST_NUMBERED = 14.0
"""Radius of a state beyond which it has its number."""
NUM_LETTERS = 4
"""Characters that are written beside an arrow, at most."""
LETTERS = colour_of(Style.parse("blue"))
"""The colour of the characters."""
Points = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class State:
    """A state of an automaton."""

    reached_by: str
    """The shortest string that leads to the state; for a cluster, the most frequent such
    characters."""
    next: Mapping[str, int | None]
    """The state after each character that may follow, for a cluster after the most frequent of
    them; None if the string is over, or leads out of the automaton."""


@dataclass(frozen=True)
class StateGraph:
    """The states of an automaton."""

    states: Sequence[State]
    end: str | None
    """A state after which a string may end has two circles."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = plain_table("state", "reached by", "then", right=("state",))
        for number, state in enumerate(self.states):
            arrows = []
            for target, letters in arrows_of(state).items():
                arrows.append(f"{letters}→{'…' if target is None else target}")
            table.add_row(str(number), state.reached_by, "  ".join(arrows))
        yield table

    def to_shapes(self, width: float) -> tuple[float, Sequence[str]]:
        """Return the height of the picture and its SVG shapes; see `charrnn.views.svg`."""
        layers = layers_of(self.states)
        pitch = width / len(layers)
        radius = min(RADIUS, pitch / 4)
        row_height = 5 * radius + LINE_HEIGHT
        height = row_height * (1 + max(map(len, layers)))
        centres = {}
        for column, layer in enumerate(layers):
            for row, number in enumerate(layer):
                y = height / 2 + (row - (len(layer) - 1) / 2) * row_height
                centres[number] = complex((column + 0.5) * pitch, y)

        # The states lie above the arrows.
        shapes = []
        for number, state in enumerate(self.states):
            for target, letters in arrows_of(state).items():
                if target is not None:
                    shapes += arrow(
                        centres[number], centres[target], radius=radius, letters=letters
                    )
        for number, centre in centres.items():
            shapes.append(circle(centre, radius=radius, fill=PAPER))
            if self.end in self.states[number].next:
                shapes.append(circle(centre, radius=0.8 * radius, fill=PAPER))
            # Two digits need a circle of some size.
            if radius > LEAST_NUMBERED:
                shapes.append(
                    label(centre.real, centre.imag + 7, text=str(number), anchor="middle")
                )
        return height, shapes


def arrows_of(state: State) -> dict[int | None, str]:
    """Return the characters that lead to each next state, as they are shown."""
    arrows: dict[int | None, str] = defaultdict(str)
    for letter, target in state.next.items():
        arrows[target] += letter
    marks = {}
    for target, letters in arrows.items():
        marks[target] = "".join(map(shown_character, letters[:NUM_LETTERS]))
        if len(letters) > NUM_LETTERS:
            marks[target] += "…"
    return marks


def layers_of(states: Sequence[State]) -> list[list[int]]:
    """Return the states by their distance from state 0; the states that it does not reach are
    last."""
    layers = [[0]]
    remaining = set(range(1, len(states)))
    while remaining:
        reached = {target for number in layers[-1] for target in states[number].next.values()}
        layers.append(sorted(remaining & reached) or sorted(remaining))
        remaining.difference_update(layers[-1])
    return layers


def circle(centre: complex, radius: float, fill: str) -> str:
    """Return a circle."""
    turns = np.exp(2j * np.pi * np.arange(48) / 48)
    return shape(to_pairs(centre + radius * turns), fill, stroke=INK)


def arrow(begin: complex, end: complex, radius: float, letters: str) -> list[str]:
    """Return a curved arrow between the circles of two states, with its letters."""
    # The arrow bends to its left, so that the arrow back does not cover it. A longer arrow bends
    # more, so that it passes beside the states in between. From a state to itself it is a loop.
    way = end - begin
    share = np.linspace(0, 1, 100)
    if way == 0:
        points = begin - 1.4j * radius * (1 - np.exp(2j * np.pi * share))
    else:
        bend = -1j * way / abs(way) * (0.5 * abs(way) + radius)
        points = begin + share * way + share * (1 - share) * bend
    points = points[np.minimum(abs(points - begin), abs(points - end)) > radius]
    tip = points[-1]
    back = (points[-3] - tip) / abs(points[-3] - tip) * radius / 2
    head = np.array([tip, tip + back * np.exp(0.45j), tip + back * np.exp(-0.45j)])
    middle = points[len(points) // 2]
    return [
        path(to_pairs(points), INK, width=1.2),
        shape(to_pairs(head), INK),
        label(middle.real, middle.imag - 5, text=letters, anchor="middle", fill=LETTERS),
    ]


def to_pairs(points: Points) -> list[tuple[float, float]]:
    """Return complex numbers as pairs."""
    return list(zip(points.real.tolist(), points.imag.tolist(), strict=True))
