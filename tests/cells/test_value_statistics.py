"""The values of cells: statistics against NumPy, timescales of wired cells."""

import math

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from random_networks import H, L, V, random_network

from charrnn.cells.activations import Activations
from charrnn.cells.findings import LAGS, NUM_BINS
from charrnn.cells.value_statistics import NUM_CORRELATED, correlate, measure_values


def make_text(num_chars, seed=0):
    """Letters and spaces, and one of the characters a period that ends a sentence in the decoded
    text."""
    ids = np.random.default_rng(seed).integers(0, V, num_chars).astype(np.uint16)
    return as_text(ids, text="".join("ab. dxy"[char] for char in ids.tolist()))


@pytest.fixture(scope="module")
def measured():
    activations = Activations(random_network("lstm"), make_text(3_000))
    return activations, measure_values(activations)


def test_every_cell_is_measured_in_order(measured):
    _, cells = measured
    expected = [(layer, unit) for layer in range(L) for unit in range(H)]
    assert [(one.layer, one.unit) for one in cells] == expected


def test_the_statistics_are_those_of_numpy(measured):
    activations, cells = measured
    for one in cells:
        values = activations.of(one.layer, one.unit).astype(np.float64)
        assert one.mean == pytest.approx(values.mean())
        assert one.spread == pytest.approx(values.std(), rel=1e-5)
        assert one.histogram == tuple(np.histogram(values, NUM_BINS, (-1, 1))[0].tolist())
        assert sum(one.histogram) == one.num_chars == len(values)
        assert sum(one.density) * 2 / NUM_BINS == pytest.approx(1)


def test_the_autocorrelation_is_that_of_numpy(measured):
    activations, cells = measured
    for one in cells:
        values = activations.of(one.layer, one.unit).astype(np.float64)
        centred = values - values.mean()
        expected = [(centred[:-lag] * centred[lag:]).sum() / (centred**2).sum() for lag in LAGS]
        assert one.lags == LAGS
        # Sums of 3,000 products in float32.
        np.testing.assert_allclose(one.autocorrelation, expected, atol=1e-4)


def test_the_means_after_characters_are_those_of_numpy(measured):
    activations, cells = measured
    characters = np.array([*activations.text.text])
    for one in cells:
        values = activations.of(one.layer, one.unit).astype(np.float64)
        assert {after.character for after in one.after_characters} == {*characters}
        for after in one.after_characters:
            is_here = characters == after.character
            assert after.count == is_here.sum()
            assert after.mean == pytest.approx(values[is_here].mean(), abs=1e-5)


def test_the_gates_of_a_cell_are_those_of_its_layer(measured):
    activations, cells = measured
    for one in cells:
        uses = [use for use in activations.gates if use.layer == one.layer]
        expected = [(use.gate, use.left[one.unit], use.right[one.unit]) for use in uses]
        assert [(gate.gate, gate.closed, gate.open) for gate in one.gates] == expected
        assert [gate.gate for gate in one.gates] == ["f", "i", "o"]


def test_the_correlations_are_those_of_numpy(measured):
    activations, cells = measured
    expected = np.corrcoef(activations.values.astype(np.float64))
    # Sums of 3,000 products in float32.
    np.testing.assert_allclose(correlate(activations), expected, atol=1e-4)
    for column, one in enumerate(cells):
        others = np.argsort(-np.abs(expected[column]))[1 : NUM_CORRELATED + 1]
        assert [other.layer * H + other.unit for other in one.correlated] == others.tolist()


@pytest.mark.parametrize("kept, zoneout", [(0.5, 0.0), (0.96, 0.0), (0.96, 0.5)])
@torch.no_grad()
def test_the_timescale_of_a_leaky_cell_is_the_one_it_was_wired_with(kept, zoneout):
    """Its forget gate is constant, so its memory decays by this factor with each character."""
    network = random_network("lstm", zoneout=zoneout)
    for layer in network.recurrent_layers():
        for name in ("ih", "hh"):
            layer.weight(name)[H : 2 * H] = 0
            layer.bias(name)[H : 2 * H] = 0
        layer.bias("ih")[H : 2 * H] = math.log(kept / (1 - kept))
    share = zoneout + (1 - zoneout) * kept
    for one in measure_values(Activations(network, make_text(500))):
        assert one.timescale == pytest.approx(-1 / math.log(share), rel=1e-4)
        assert one.timescale_from == "f"


@torch.no_grad()
def test_a_gate_that_is_always_open_has_no_finite_timescale():
    network = random_network("gru", "dilated")
    first, second = network.recurrent_layers()
    first.bias("ih")[H : 2 * H] = 1e3
    for name in ("ih", "hh"):
        second.weight(name)[H : 2 * H] = 0
        second.bias(name)[H : 2 * H] = 0
    cells = measure_values(Activations(network, make_text(300)))
    assert [one.timescale for one in cells[:H]] == [None] * H
    # The second layer continues from two characters back, and its update gate is 1/2.
    assert [one.timescale for one in cells[H:]] == pytest.approx([2 / math.log(2)] * H)
    # What always keeps its memory is constant.
    assert cells[0].autocorrelation == ()
    assert cells[0].decay is None
    assert cells[0].correlated[0].correlation == 0
    assert {one.timescale_from for one in cells} == {"z"}


@torch.no_grad()
def test_without_such_a_gate_the_autocorrelation_gives_the_timescale():
    """A linear unit of an RNN that keeps 0.8 of its value and reads noise has the autocorrelation
    0.8^lag."""
    network = random_network("rnn")
    layer = network.recurrent_layers()[0]
    for name in ("ih", "hh"):
        layer.weight(name).zero_()
        layer.bias(name).zero_()
    layer.weight("hh").fill_diagonal_(0.8)
    network.embedding.weight[:, 0] = torch.linspace(-0.01, 0.01, V)
    layer.weight("ih")[0, 0] = 1
    one = measure_values(Activations(network, make_text(20_000)), [(0, 0)])[0]
    assert one.timescale_from == "autocorrelation"
    assert one.timescale == one.decay
    # Between the lags 4 and 5 the curve is replaced by a line; 20,000 characters leave an error of
    # about 4 %.
    assert one.timescale == pytest.approx(-1 / math.log(0.8), rel=0.1)
