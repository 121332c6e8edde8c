"""Saturated gates: counted in lanes, they are those that the equations compute one character after
the other.
"""

import re

import numpy as np
import pytest
import torch
from drawn import lines as drawn
from effects_networks import H, make_network, make_text
from progress_reports import reports

from charrnn.analyses.gates import GateReport, GateUse, count_gates
from charrnn.model import reading
from charrnn.model.interventions import record_layers
from charrnn.model.layer import TORCH

L, SCALE = 3, 0.5
"""Weights and biases large enough to saturate some gates."""
GATED = ["lstm", "gru", "peephole", "coupled", "mlstm", "antisymmetric"]


@torch.no_grad()
def gates_in_order(network, ids, at_once=1):
    """Every layer's gates (N, H) at every character of a text that is read from its start,
    `at_once` at a time."""
    calls = [[] for _ in range(L)]
    ops = record_layers(TORCH, "sigmoid", results=calls)
    state = network.initial_state(1)
    for part in torch.from_numpy(ids.astype(np.int64))[:, None].split(at_once):
        _, state = network(part, state, ops=ops)
    names = network.recurrent_layers()[0].cell.gates
    return [
        {
            gate: torch.cat(some[place :: len(names)]).reshape(-1, H).numpy()
            for place, gate in enumerate(names)
        }
        for some in calls
    ]


def check(report, gates, first):
    assert [(use.layer, use.gate) for use in report.gates] == [
        (layer, gate) for layer in range(L) for gate in sorted(gates[0])
    ]
    for use in report.gates:
        values = gates[use.layer][use.gate][first:]
        # Counts of float64 values, of which none is within rounding of a limit: they are equal.
        assert use.left == pytest.approx((values < 0.1).mean(axis=0), abs=1e-12)
        assert use.right == pytest.approx((values > 0.9).mean(axis=0), abs=1e-12)
    assert sum(sum(use.left) + sum(use.right) for use in report.gates) > 1


@pytest.mark.parametrize(
    "cell, depth",
    [*((cell, "dilated") for cell in GATED), ("lstm", "residual"), ("gru", "residual")],
)
def test_shares_are_those_of_gates_one_by_one(cell, depth):
    network, text = (
        make_network(cell, depth, scale=SCALE),
        make_text(150, 3),
    )  # no multiple of 4, the largest dilation
    report = count_gates(network, text, name="lamps")
    assert (report.name, report.cell_type, report.num_chars) == ("lamps", cell, 150)
    check(report, gates_in_order(network, text.ids), 3)


@pytest.mark.parametrize("num_chars", [8 * 128 + 51, 12 * 128 + 1])
def test_lanes_count_every_character_once_and_no_padding(num_chars, monkeypatch):
    monkeypatch.setattr(reading, "WARM_UP", 128)
    network, text = make_network("lstm", scale=SCALE), make_text(num_chars, 30)
    with reports() as done:
        report = count_gates(network, text)
    assert done["reading"] == num_chars
    check(report, gates_in_order(network, text.ids, at_once=len(text.ids)), 30)


@pytest.mark.parametrize("depth", ["stacked", "dilated"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_documents_are_counted_from_a_learned_state(cell, depth):
    """With documents, whose END is id 3, a learned initial state and zoneout, by which h is not
    what a gate let out."""
    network = make_network(cell, depth, scale=SCALE, zoneout=0.2, initial_state="learned")
    network.end_id = 3
    text = make_text(200, 20)
    check(count_gates(network, text), gates_in_order(network, text.ids), text.first)


def test_a_picture_has_a_dot_for_each_unit_inside_its_square():
    ends = (0.0, 1.0, 0.5)
    uses = [
        GateUse(layer=layer, gate=gate, left=ends, right=ends[::-1])
        for layer in (0, 1)
        for gate in "fio"
    ]
    report = GateReport(name="m", cell_type="lstm", num_chars=10, gates=tuple(uses))
    picture = "\n".join(drawn(*report.view(), 120))
    assert picture.count("shut 50% open 50%") == 6
    assert len(re.findall("[⠁-⣿]", picture)) == 6 * 3
    assert "layer 1: forget" in picture
