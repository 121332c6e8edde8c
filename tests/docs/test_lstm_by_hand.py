"""The numbers of docs/learn/lstm-by-hand.md follow from the weights that the page shows."""

import re

import numpy as np
import pytest
from environment import REPOSITORY

pytestmark = pytest.mark.docs
PAGE = (REPOSITORY / "docs" / "learn" / "lstm-by-hand.md").read_text(encoding="utf-8")
GATES = ("i", "f", "g", "o")
INPUTS = "hell"


def numbers_of(title):
    """The rows below a title of the screen, up to the next title or the end of the block."""
    [found] = re.findall(rf"(?ms)^{title} .*?\n(.*?)(?=^W_|^```)", PAGE)
    return {line.split()[0]: np.array(line.split()[1:], float) for line in found.splitlines()}


def outputs():
    """The h (4, 3) of the steps."""
    [found] = re.findall(r"(?m)^h +0 +(.*)\n +1 +(.*)\n +2 +(.*)$", PAGE)
    return np.array([row.split() for row in found], float).T


def sums_at(step):
    """The sums of the gates of cell 1 at a step, from 0."""
    inputs, recurrent = numbers_of("W_ih"), numbers_of("W_hh")
    column = "ehlo".index(INPUTS[step])
    before = outputs()[step - 1]
    found = {}
    for gate in GATES:
        own, other = inputs[f"{gate}1"], recurrent[f"{gate}1"]
        found[gate] = own[column] + other[:3] @ before + own[-1] + other[-1]
    return found


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_solution_is_that_of_its_numbers_to_three_digits():
    rows = re.findall(r"(?m)^\| ([ifgo]) \| .* \| ([\d.]+) \| ([\d.]+) \|$", PAGE)
    sums = sums_at(2)
    assert [gate for gate, _, _ in rows] == list(GATES)
    for gate, total, value in rows:
        assert float(total) == pytest.approx(sums[gate], abs=0.0006)
        expected = np.tanh(sums[gate]) if gate == "g" else sigmoid(sums[gate])
        assert float(value) == pytest.approx(expected, abs=0.0006)
    assert "= 1.567 + 0.989 = 2.557" in PAGE
