"""Saturated gates: counted in lanes, they are those that the published equations give by hand, in float64."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from numpy.typing import NDArray
from torch import Tensor

from charrnn.cells.gates import PRODUCTS, GateCounter, _recording
from charrnn.config import Config
from charrnn.errors import UsageError
from charrnn.lab.gates import count_gates
from charrnn.model.cells import CELLS
from charrnn.model.depths import DEPTHS
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.progress import CallbackProgress, Task, using

V, H, L = 7, 6, 3
GATED = [name for name, cell in CELLS.items() if cell.gates]
BY_HAND = ["lstm", "gru", "peephole", "coupled", "mlstm", "antisymmetric"]
"""The cells whose gates `gates_by_hand` computes."""
Float64Array = NDArray[np.float64]


def make_config(cell: str, depth: str = "stacked") -> Config:
    return Config(cell=cell, depth=depth, num_layers=L, hidden_size=H, embedding_size=4, dropout=0.0)


def make_network(cell: str, depth: str = "stacked") -> CharRNN:
    """In float64, with weights and biases large enough to saturate some gates."""
    network = CharRNN(make_config(cell, depth), V).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.6 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def make_ids(num_chars: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, V, num_chars).astype(np.uint16)


def gates_by_hand(
    cell: str, w: dict[str, Float64Array], x: Float64Array, h: Float64Array, c: Float64Array, new_c: Float64Array
) -> dict[str, Float64Array]:
    """All gates (N, H) of one layer: w are its parameters, x (N, I) its inputs, h and c (N, H) the states before."""

    def product(name: str, values: Float64Array) -> Float64Array:
        return values @ w[f"weight_{name}_l0"].T + w[f"bias_{name}_l0"]

    inputs = product("ih", x)
    if cell == "gru":
        both = inputs + product("hh", h)
        sums = {"r": both[:, :H], "z": both[:, H : 2 * H]}
    elif cell == "antisymmetric":
        skew = w["weight_hh_l0"] - w["weight_hh_l0"].T
        sums = {"z": inputs[:, H:] + h @ skew.T + w["bias_hh_l0"] - h}
    elif cell == "coupled":
        both = inputs + product("hh", h)
        sums = {"f": both[:, :H], "o": both[:, 2 * H :]}
    else:
        assert cell in ("lstm", "peephole", "mlstm"), f"no gates of {cell} by hand"
        m = inputs[:, 4 * H :] * product("mh", h) if cell == "mlstm" else h
        both = inputs[:, : 4 * H] + product("hh", m)
        sums = {"i": both[:, :H], "f": both[:, H : 2 * H], "o": both[:, 3 * H :]}
        if cell == "peephole":
            sums["i"] = sums["i"] + w["weight_ci"] * c
            sums["f"] = sums["f"] + w["weight_cf"] * c
            sums["o"] = sums["o"] + w["weight_co"] * new_c
    return {gate: 1 / (1 + np.exp(-values)) for gate, values in sums.items()}


def step_through(network: CharRNN, config: Config, text: Tensor) -> Float64Array:
    """c (N, L, H) after every character of a text (N, 1): the last one in a dilated layer's queue."""
    state, memories = network.initial_state(1), []
    for char in text:
        _, state = network(char[None], state)
        memories.append([state[index, 2 * DEPTHS[config.depth].dilation(index) - 1, 0].numpy() for index in range(L)])
    return np.array(memories)


def all_gates(network: CharRNN, cell: str, depth: str, ids: NDArray[np.uint16]) -> list[dict[str, Float64Array]]:
    """Every layer's gates at every character of a text that is read from its start, in one sequence."""
    config = make_config(cell, depth)
    with torch.no_grad():
        text = torch.from_numpy(ids.astype(np.int64))[:, None]
        _, _, hidden, _ = network.trace(text, network.initial_state(1))
        below = network.embedding(text)[:, 0].numpy()
        memories = step_through(network, config, text) if cell == "peephole" else hidden[:, 0].numpy()
    found = []
    for index, layer in enumerate(network.recurrent_layers()):
        outputs, memory = hidden[:, 0, index].numpy(), memories[:, index]
        delay = np.zeros((DEPTHS[config.depth].dilation(index), H))
        h, c = (np.concatenate((delay, states))[: len(ids)] for states in (outputs, memory))
        weights = {name: value.numpy() for name, value in layer.state_dict().items()}
        found.append(gates_by_hand(cell, weights, below, h, c, memory))
        below = below + outputs if depth == "residual" and index else outputs
    return found


@pytest.mark.parametrize("cell", BY_HAND)
@pytest.mark.parametrize("depth", ["stacked", "dilated", "residual"])
def test_shares_are_those_of_gates_computed_by_hand(cell: str, depth: str) -> None:
    network, ids = make_network(cell, depth), make_ids(403)  # no multiple of 4, the largest dilation
    report = count_gates(network, as_text(ids, 3), name="lamps")
    assert (report.name, report.cell, report.num_chars) == ("lamps", cell, 400)
    by_hand = all_gates(network, cell, depth, ids)
    expected = [(layer, gate) for layer in range(L) for gate in sorted(by_hand[0])]
    assert [(use.layer, use.gate) for use in report.gates] == expected
    saturated = 0.0
    for use in report.gates:
        values = by_hand[use.layer][use.gate][3:]
        # Counts of float64 values, of which none is within rounding of a limit: they are equal.
        assert use.left == pytest.approx((values < 0.1).mean(axis=0), abs=1e-12)
        assert use.right == pytest.approx((values > 0.9).mean(axis=0), abs=1e-12)
        saturated += sum(use.left) + sum(use.right)
    assert saturated > 1


@pytest.mark.parametrize("num_chars", [8 * WARM_UP + 51, 12 * WARM_UP + 1])
def test_lanes_count_every_character_once_and_no_padding(num_chars: int) -> None:
    network, ids = make_network("lstm", "dilated"), make_ids(num_chars + 30)
    told: list[Task] = []
    with using(CallbackProgress(told.append)):
        report = count_gates(network, as_text(ids, 30))
    by_hand = all_gates(network, "lstm", "dilated", ids)
    assert told[-1].done == told[-1].total == num_chars
    for use in report.gates:
        values = by_hand[use.layer][use.gate][30:]
        assert use.left == pytest.approx((values < 0.1).mean(axis=0), abs=1e-12)
        assert use.right == pytest.approx((values > 0.9).mean(axis=0), abs=1e-12)


@pytest.mark.parametrize("num_chars", [3, 400, 8 * WARM_UP + 51])
@pytest.mark.parametrize("depth", ["stacked", "dilated"])
@pytest.mark.parametrize("cell", PRODUCTS)
def test_gates_from_the_outputs_are_those_that_are_recorded(
    cell: str, depth: str, num_chars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With documents, whose END is id 3, a learned initial state and zoneout, by which h is not what a gate let out."""
    config = replace(make_config(cell, depth), zoneout=0.2, initial_state="learned")
    network = CharRNN(config, V).double()
    network.end_id = 3
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.6 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    text = as_text(make_ids(num_chars), num_chars // 10)
    found = count_gates(network, text)
    kept = GateCounter(network)
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


@pytest.mark.parametrize("cell", [name for name in CELLS if name not in GATED])
def test_a_cell_without_gates_says_so(cell: str) -> None:
    with pytest.raises(UsageError, match=f"^The cell {cell} has no gates.* lstm, gru, peephole, coupled, mlstm, anti"):
        count_gates(make_network(cell), as_text(make_ids(10)))


def test_a_report_turns_into_json() -> None:
    found = count_gates(make_network("gru"), as_text(make_ids(10))).to_json()
    assert found["num_chars"] == 10 and found["cell"] == "gru"
    assert [gate["gate"] for gate in found["gates"]] == ["r", "z"] * L
    assert all(len(gate["left"]) == len(gate["right"]) == H for gate in found["gates"])
