"""What sets a cell's value: drivers, characters. n positions, k lags, L layers, H units, E
embedding."""

from functools import partial
from itertools import groupby

import numpy as np
import pytest
import torch
from effects_networks import ARCHITECTURES, CHARACTERS, H, make_network, make_text

from charrnn.analyses import inputs
from charrnn.analyses.inputs import (
    NUM_STRONG,
    erase,
    mean_vector,
    measure_earlier,
    rank_drivers,
    strong_positions,
)
from charrnn.analyses.sampled_states import sample_states
from charrnn.cells.trace import trace_text
from charrnn.model.cell_type_registry import products_of_outputs
from charrnn.model.cell_types import CELLS, Rnn
from charrnn.model.layer import TORCH

K, N = 7, 3


def drivers_of(states, layer, unit, most=1000):
    """The drivers of a cell by gate."""
    (found,) = [one for one in rank_drivers(states, most) if (one.layer, one.unit) == (layer, unit)]
    return {
        gate: list(drivers)
        for gate, drivers in groupby(found.drivers, key=lambda driver: driver.gate)
    }


@pytest.mark.parametrize(
    "cell, gates", [("lstm", "ifgo"), ("gru", "rzn"), ("coupled", "fgo"), ("rnn", " ")]
)
def test_drivers_are_weights_times_standard_deviations(cell, gates):
    network = make_network(cell, num_layers=2)
    network.end_id = CHARACTERS.index("\n")
    states = sample_states(network, make_text(300), 40)
    assert (
        states.before.vectors.any(0).any(0).any(1).tolist()
        == (states.ids[0] != network.end_id).tolist()
    )
    above = states.network.recurrent_layers()[1].requires_grad_(False)
    found = drivers_of(states, 1, 4)
    assert [*found] == list(gates.strip() or [""])
    spreads = [
        states.outputs[:, 0].std(0, correction=0),
        states.before.vectors[1, 0].std(0, correction=0),
    ]
    for block, drivers in enumerate(found.values()):
        weights = [above.weight(name)[block * H + 4] for name in ("ih", "hh")]
        assert {(one.layer, one.unit): (one.weight, one.strength) for one in drivers} == {
            (layer, unit): pytest.approx(
                (float(weight), float(weight * spreads[layer][unit])), rel=1e-3
            )
            for layer in (0, 1)
            for unit, weight in enumerate(weights[layer])
        }
    # Only the strongest are kept, in order.
    for gate, drivers in drivers_of(states, 1, 4, 3).items():
        assert drivers == sorted(found[gate], key=lambda one: -abs(one.strength))[:3]
    assert {one.layer for drivers in drivers_of(states, 0, 4).values() for one in drivers} == {0}


@pytest.mark.parametrize("depth", ["residual", "highway", "dilated", "attention"])
def test_cells_below_drive_through_every_direct_path(depth):
    """Against differences of the top layer's input when the outputs of one layer are moved."""
    states = sample_states(make_network("lstm", depth), make_text(300), 40)
    found = {
        (one.gate, one.layer, one.unit): one.weight
        for some in drivers_of(states, 2, 3).values()
        for one in some
    }
    top = states.network.recurrent_layers()[2]
    for source in range(2):
        slopes = []
        for unit in range(H):
            moved = []
            for step in (1e-6, -1e-6):
                outputs = states.outputs.clone()
                outputs[:, source, unit] += step
                moved.append(
                    states.network.layer_inputs(states.ids, states.before, outputs[None])[2][
                        0
                    ].mean(0)
                )
            slopes.append((moved[0] - moved[1]) / 2e-6)
        path = torch.stack(slopes, dim=1)
        if depth in ("dilated", "attention") and source == 0:
            assert not path.any()
            assert ("f", source, 0) not in found
            continue
        weights = top.weight("ih").detach() @ path.detach()
        expected = weights.view(4, H, H)[:, 3].flatten().tolist()
        got = [found[gate, source, unit] for gate in "ifgo" for unit in range(H)]
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-8)
        assert max(map(abs, expected)) > 0.05


def test_cells_below_drive_gates_without_recurrent_weights():
    states = sample_states(make_network("mlstm"), make_text(300), 40)
    found = drivers_of(states, 1, 3)
    assert "".join(found) == "ifgom"
    for drivers in found.values():
        assert len(drivers) == 2 * H
        assert {one.layer for one in drivers if one.weight} == {0}


class Halved(Rnn):
    """A cell of another package, whose weight multiplies half of the last outputs."""

    @staticmethod
    def step(ops, x, product, state, extras):
        return (ops.clamp(ops.tanh(x + product("hh", 0.5 * state[0]))),)


def test_a_weight_that_multiplies_anything_else_has_no_drivers():
    assert products_of_outputs(Rnn) == ["hh"]
    assert products_of_outputs(Halved) == products_of_outputs(CELLS["mogrifier"]) == []


def read_naively(network, vectors, state, layer, unit):
    """A cell's value after some vectors (k, E) in one lane, all read at once."""
    ops = dict.fromkeys(range(3), TORCH)
    with torch.no_grad():
        (_, values, _), _ = network.trace(vectors[:, None], state, ops)
    return float(values[-1, 0, layer, unit])


@pytest.mark.parametrize(
    "cell, depth, embedding_size",
    [
        *((*one, 4) for one in ARCHITECTURES[::2]),
        ("lstm", "stacked", "one-hot"),
        ("mlstm", "grid", "one-hot"),
    ],
)
def test_effects_of_characters_are_those_of_naive_loops(cell, depth, embedding_size):
    network, text = make_network(cell, depth, embedding_size=embedding_size), make_text(60)
    before, ids = (
        torch.from_numpy(text.ids[: (K + 10) * N].astype(np.int64)).view(-1, N).split((10, K))
    )
    mean = mean_vector(network, text)
    with torch.no_grad():
        _, state = network(before, network.initial_state(N))
        vectors = network.vectors(ids)
        (_, values, _), _ = network.trace(ids, state)
    # A unit that is neither saturated nor, in an irnn, always 0.
    layer, unit = 1, int((values[-1, :, 1].abs().mean(0) - 0.5).abs().argmin())
    measured = erase(network, ids, mean=mean, state=state, cell=(layer, unit))
    assert measured.shape == (K, N)
    for lane in range(N):
        start = state.map(partial(torch.narrow, dim=-2, start=lane, length=1))
        # Characters and their vectors are the same to the network.
        whole = read_naively(network, vectors[:, lane], start, layer, unit)
        assert whole == pytest.approx(float(values[-1, lane, layer, unit]), abs=1e-12)
        for step in range(K):
            erased = vectors[:, lane].clone()
            erased[step] = mean
            value = read_naively(network, erased, start, layer, unit)
            assert float(measured[step, lane]) == pytest.approx(whole - value, abs=1e-12)
    assert measured.abs().max() > 1e-3


def test_nothing_before_an_end_has_an_effect():
    network, text = make_network("lstm"), make_text(60)
    network.end_id = CHARACTERS.index("\n")
    ids = torch.tensor([0, 1, 2, network.end_id, 3, 1])[:, None]
    with torch.no_grad():
        mean = mean_vector(network, text)
        _, state = network(ids[:2], network.initial_state(1))
    effects = erase(network, ids, mean=mean, state=state, cell=(2, 1))[:, 0]
    assert effects[:3].abs().max() == 0
    assert effects[3:].abs().min() > 0


VALUES = np.sin(np.arange(20_000) / 100).astype(np.float32)
IDS = np.random.default_rng(0).integers(0, 50, len(VALUES)).astype(np.uint16)


def test_strong_positions_are_the_highest_and_the_lowest_apart():
    indices, half = strong_positions(VALUES, IDS, 500), NUM_STRONG // 2
    assert len(indices) == NUM_STRONG
    assert indices.min() >= 500
    assert np.diff(np.sort(indices)).min() >= 64
    assert VALUES[indices[:half]].min() > 0.9
    assert VALUES[indices[half:]].max() < -0.9


def test_a_short_text_has_strong_positions_too():
    assert len(strong_positions(VALUES[:40], IDS[:40], 0)) == NUM_STRONG
    assert strong_positions(VALUES[:1], IDS[:1], 0).tolist() == [0]


def test_of_a_text_that_repeats_itself_no_two_strong_positions_are_the_same():
    indices = strong_positions(VALUES, np.tile(IDS[:1000], 20), 500)
    assert len(np.unique(indices % 1000)) == NUM_STRONG


NETWORK = make_network("lstm")
TEXT = make_text(1500, 20)


@pytest.fixture
def earlier():
    values = trace_text(NETWORK, TEXT).cells[:, 1, 4]
    return measure_earlier(NETWORK, TEXT, values, 1, 4)


def test_the_last_characters_matter_most_in_a_network_that_was_not_trained(earlier):
    assert len(earlier.measured_by_lag) == inputs.NUM_LAGS == inputs.LAGS[-1] + 1
    assert earlier.measured_by_lag[0] > 5 * earlier.measured_by_lag[-1]


def test_passages_are_those_before_the_strong_positions(earlier):
    values = trace_text(NETWORK, TEXT).cells[:, 1, 4]
    for passage in earlier.passages:
        assert passage.value == pytest.approx(float(values[passage.position]))
        written = "".join(one.character for one in passage.characters)
        assert written == TEXT.text[passage.position - 23 : passage.position + 1]
    shown = [passage.value for passage in earlier.passages]
    assert min(shown[:3]) > max(shown[3:])


def test_every_erased_character_is_counted(earlier):
    assert sorted(one.character for one in earlier.characters) == sorted(CHARACTERS)
    assert sum(one.count for one in earlier.characters) == 32 * 24


def test_two_characters_are_enough():
    network, values = make_network("rnn", num_layers=1), np.array([0.1, 0.2], np.float32)
    assert measure_earlier(network, make_text(2), values, 0, 0).num_positions >= 1
