"""Saturated gates: counted in lanes, they are those that the published equations give by hand, in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from effects_networks import H, make_ids, make_network, make_text
from numpy.typing import NDArray
from progress_reports import reports

from charrnn.cells.gates import PRODUCTS, GateCounter, _recording
from charrnn.errors import UsageError
from charrnn.lab.gates import GateReport, count_gates
from charrnn.model.cells import CELLS
from charrnn.model.depths import DEPTHS
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP

L, SCALE = 3, 0.5
"""Weights and biases large enough to saturate some gates."""
Float64Array = NDArray[np.float64]


def gates_by_hand(
    cell: str, w: dict[str, Float64Array], x: Float64Array, h: Float64Array, c: Float64Array, new_c: Float64Array
) -> dict[str, Float64Array]:
    """All gates (N, H) of one layer: w are its parameters, x (N, I) its inputs, h and c (N, H) the states before."""

    def product(name: str, values: Float64Array) -> Float64Array:
        return values @ w[f"weight_{name}_l0"].T + w[f"bias_{name}_l0"]

    inputs = product("ih", x)
    if cell == "antisymmetric":
        skew = w["weight_hh_l0"] - w["weight_hh_l0"].T
        sums = {"z": inputs[:, H:] + h @ skew.T + w["bias_hh_l0"] - h}
    elif cell in ("gru", "coupled"):
        both = inputs + product("hh", h)
        places = {"gru": {"r": 0, "z": 1}, "coupled": {"f": 0, "o": 2}}[cell]
        sums = {gate: both[:, place * H : (place + 1) * H] for gate, place in places.items()}
    else:
        m = inputs[:, 4 * H :] * product("mh", h) if cell == "mlstm" else h
        both = inputs[:, : 4 * H] + product("hh", m)
        sums = {"i": both[:, :H], "f": both[:, H : 2 * H], "o": both[:, 3 * H :]}
        if cell == "peephole":
            for gate, memory in (("i", c), ("f", c), ("o", new_c)):
                sums[gate] = sums[gate] + w[f"weight_c{gate}"] * memory
    return {gate: 1 / (1 + np.exp(-values)) for gate, values in sums.items()}


@torch.no_grad()
def all_gates(network: CharRNN, cell: str, depth: str, ids: NDArray[np.uint16]) -> list[dict[str, Float64Array]]:
    """Every layer's gates at every character of a text that is read from its start, in one sequence."""
    delays = [DEPTHS[depth].dilation(index) for index in range(L)]
    text = torch.from_numpy(ids.astype(np.int64))[:, None]
    _, _, hidden, _ = network.trace(text, network.initial_state(1))
    below = network.embedding(text)[:, 0].numpy()
    memories = hidden[:, 0].numpy()
    if cell == "peephole":  # c after every character: the last one in a dilated layer's queue
        state, steps = network.initial_state(1), []
        for char in text:
            _, state = network(char[None], state)
            steps.append([state[index, 2 * delay - 1, 0].numpy() for index, delay in enumerate(delays)])
        memories = np.array(steps)
    found = []
    for index, layer in enumerate(network.recurrent_layers()):
        outputs, memory = hidden[:, 0, index].numpy(), memories[:, index]
        h, c = (np.concatenate((np.zeros((delays[index], H)), one))[: len(ids)] for one in (outputs, memory))
        weights = {name: value.numpy() for name, value in layer.state_dict().items()}
        found.append(gates_by_hand(cell, weights, below, h, c, memory))
        below = below + outputs if depth == "residual" and index else outputs
    return found


def check(report: GateReport, by_hand: list[dict[str, Float64Array]], first: int) -> None:
    assert [(use.layer, use.gate) for use in report.gates] == [
        (layer, gate) for layer in range(L) for gate in sorted(by_hand[0])
    ]
    for use in report.gates:
        values = by_hand[use.layer][use.gate][first:]
        # Counts of float64 values, of which none is within rounding of a limit: they are equal.
        assert use.left == pytest.approx((values < 0.1).mean(axis=0), abs=1e-12)
        assert use.right == pytest.approx((values > 0.9).mean(axis=0), abs=1e-12)
    assert sum(sum(use.left) + sum(use.right) for use in report.gates) > 1


@pytest.mark.parametrize("cell", ["lstm", "gru", "peephole", "coupled", "mlstm", "antisymmetric"])
@pytest.mark.parametrize("depth", ["stacked", "dilated", "residual"])
def test_shares_are_those_of_gates_computed_by_hand(cell: str, depth: str) -> None:
    network, text = make_network(cell, depth, scale=SCALE), make_text(400, 3)  # no multiple of 4, the largest dilation
    report = count_gates(network, text, name="lamps")
    assert (report.name, report.cell, report.num_chars) == ("lamps", cell, 400)
    check(report, all_gates(network, cell, depth, text.ids), 3)


@pytest.mark.parametrize("num_chars", [8 * WARM_UP + 51, 12 * WARM_UP + 1])
def test_lanes_count_every_character_once_and_no_padding(num_chars: int) -> None:
    network, text = make_network("lstm", "dilated", scale=SCALE), make_text(num_chars, 30)
    with reports() as done:
        report = count_gates(network, text)
    assert done == {"reading": num_chars}
    check(report, all_gates(network, "lstm", "dilated", text.ids), 30)


@pytest.mark.parametrize("num_chars", [3, 400])
@pytest.mark.parametrize("depth", ["stacked", "dilated"])
@pytest.mark.parametrize("cell", PRODUCTS)
def test_gates_from_the_outputs_are_those_that_are_recorded(
    cell: str, depth: str, num_chars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With documents, whose END is id 3, a learned initial state and zoneout, by which h is not what a gate let out."""
    network = make_network(cell, depth, scale=SCALE, zoneout=0.2, initial_state="learned")
    network.end_id = 3
    text = make_text(num_chars, num_chars // 10)
    found, kept = count_gates(network, text), GateCounter(network)
    monkeypatch.setattr("charrnn.cells.gates.PRODUCTS", ())
    recorded = GateCounter(network)
    assert count_gates(network, text).gates == found.gates
    ids = torch.from_numpy(text.ids.astype(np.int64))[:, None]
    for counter in (kept, recorded):
        with torch.no_grad():
            counter.read(ids, network.initial_state(1))
            counter.add(torch.ones_like(ids, dtype=torch.bool))
    # In float64; the order of sums differs.
    np.testing.assert_allclose(np.array(kept.kept()), np.array(recorded.kept()), rtol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_names_as_many_gates_as_its_equations_have(cell: str) -> None:
    calls: list[Any] = []
    network = make_network(cell)
    ids = torch.from_numpy(make_ids(5).astype(np.int64))[:, None]
    network(ids, network.initial_state(1), ops={1: _recording(calls)})
    assert len(calls) == 5 * len(CELLS[cell].gates)
    if not CELLS[cell].gates:
        with pytest.raises(UsageError, match=f"^The cell {cell} has no gates.* lstm, gru, peephole, coupled, mlstm, a"):
            count_gates(network, make_text(10))
