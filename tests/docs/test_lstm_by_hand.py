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
    [(kept, added, memory)] = re.findall(r"= (1\.\d+) \+ (0\.\d+) = (2\.\d+)", PAGE)
    assert float(memory) == pytest.approx(float(kept) + float(added), abs=1e-9)


def gradients_at(step):
    """The gradients of cell 1 at a step, from 0, and those of the logits."""
    [screen] = re.findall(r"(?ms)^(dlogits .*?)^```", PAGE)
    rows = [line.rsplit(maxsplit=4) for line in screen.splitlines()]
    numbers = {name.removesuffix(" 1").strip(): float(row[step]) for name, *row in rows}
    return {name.removeprefix("dlogits").strip(): value for name, value in numbers.items()}


def test_the_backward_step_of_the_page_is_that_of_its_numbers():
    """The screen has five decimals, and the weights and gates on the page three."""
    column = np.array([float(number) for number in ("3.126", "-3.846", "1.701", "1.758")])
    assert "(3.126, −3.846, 1.701, 1.758)" in PAGE
    found = gradients_at(1)
    above = column @ [found[letter] for letter in "ehlo"]
    assert found["dh above"] == pytest.approx(above, abs=3e-5)
    assert found["dh"] == pytest.approx(found["dh above"] + found["dh right"], abs=2e-5)

    # The gates of the step, from the sums of the page.
    sums = sums_at(1)
    i = sigmoid(sums["i"])
    f = sigmoid(sums["f"])
    g = np.tanh(sums["g"])
    o = sigmoid(sums["o"])
    c_before, c = 0.987, 1.612
    d_c = found["dc right"] + found["dh"] * o * (1 - np.tanh(c) ** 2)
    expected = {"dc": d_c, "di": d_c * g, "df": d_c * c_before, "dg": d_c * i}
    expected["do"] = found["dh"] * np.tanh(c)
    for gate, value in (("i", i), ("f", f), ("o", o)):
        expected[f"da_{gate}"] = expected[f"d{gate}"] * value * (1 - value)
    expected["da_g"] = expected["dg"] * (1 - g**2)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-4), name


def test_the_products_of_the_backward_step_are_right():
    [section] = re.findall(r"(?ms)^dh = .*?^Last", PAGE)
    section = section.replace("−", "-").replace("²", "**2").replace("·", "*")
    computed = re.findall(
        r"= ((?:[-+*() .\d]|\*\*)*[*+](?:[-+*() .\d]|\*\*)*) = (-?[\d.]+)", section
    )
    computed += re.findall(r"\| ([\d.]+ [-*() .\d]+) = ([\d.]+) \|", section)
    assert len(computed) == 10
    for term, value in computed:
        assert eval(term) == pytest.approx(float(value), abs=6e-5), term
