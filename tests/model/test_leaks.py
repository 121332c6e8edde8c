"""Nothing reaches a document from those before it. T time, B lanes, L layers, S state vectors, H
hidden."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from effects_networks import tensors_of
from hypothesis import given
from hypothesis import strategies as st
from random_networks import random_state
from torch.nn.functional import cross_entropy

from charrnn.config.architectures import CELL_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.model import reading
from charrnn.model.network import CharRNN
from charrnn.model.noise import Noise
from charrnn.model.reading import MAX_PIECE, Fragments, cut
from charrnn.model.stepper import Stepper

VOCAB, END = 7, 1
MODELS = [
    *({"cell_type": cell, "num_layers": 1} for cell in CELL_DESCRIPTIONS),
    {"cell_type": "unitary", "num_layers": 2, "depth": "residual"},
    {"cell_type": "gru", "num_layers": 3, "depth": "dilated"},
    {"cell_type": "lstm", "num_layers": 2, "depth": "grid"},
    {"cell_type": "gru", "num_layers": 2, "depth": "attention", "initial_state": "learned"},
    {"cell_type": "rnn", "num_layers": 2, "depth": "highway", "sum_outputs": True},
    {"cell_type": "lstm", "num_layers": 2, "initial_state": "learned"},
    {"cell_type": "gru", "num_layers": 2, "zoneout": 0.1},
]


def network_of(model, **changes):
    sizes = {"hidden_size": 6, "embedding_size": 4, "dropout": 0.0, "input_dropout": 0.0}
    config = Config(**{"documents": "lines", **sizes, **model, **changes})
    network = CharRNN(config, VOCAB).double()
    if network.learned_state is not None:
        torch.nn.init.normal_(network.learned_state, generator=torch.Generator().manual_seed(3))
    return network


def window(num_steps, batch_size, *, share=0.2):
    """Ids (T, B) with an END at this share of the places."""
    random = np.random.default_rng(0)
    ids = random.integers(END + 1, VOCAB, (num_steps, batch_size))
    return torch.from_numpy(np.where(random.random(ids.shape) < share, END, ids))


def read_by_hand(network, ids, state):
    """Read one character after the other with a network that knows no END, and reset the state
    where END is read."""
    rows = []
    network.end_id = None
    for now in ids:
        state = torch.where((now == END)[:, None], network.initial_state(len(now)), state)
        logits, state = network(now[None], state)
        rows.append(logits[0])
    network.end_id = END
    return torch.stack(rows), state


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_window_equals_single_steps_with_resets(model, monkeypatch):
    monkeypatch.setattr(reading, "MAX_PIECE", 16)
    network, ids = network_of(model), window(2 * 16 + 9, 3)
    state = random_state(network, 3)
    logits, last = network(ids, state)
    expected, expected_last = read_by_hand(network, ids, state)
    # Float64: the same sums in another order.
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(last, expected_last, rtol=0, atol=1e-9)
    (traced, cells, hidden), traced_last = network.trace(ids, state)
    torch.testing.assert_close(traced, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(traced_last, expected_last, rtol=0, atol=1e-9)
    assert cells.shape == hidden.shape == (*ids.shape, len(network.recurrent_layers()), 6)


@pytest.mark.parametrize("model", MODELS[-6:], ids=str)
def test_a_document_s_loss_has_no_gradient_in_the_documents_before_it(model):
    network, ids = network_of(model), window(40, 2, share=0)
    ids[:23, 0] = ids[:11, 1] = 2  # Only the documents before contain this character.
    ids[23:, 0] = 3 + ids[23:, 0] % 4
    ids[11:, 1] = 4
    ids[23, 0] = ids[11, 1] = END
    state = random_state(network, 2)
    state.requires_grad_()
    logits, _ = network(ids, state)
    loss = cross_entropy(logits[23:, 0], ids[23:, 0]) + cross_entropy(logits[11:, 1], ids[11:, 1])
    loss.backward()
    gradient = network.embedding.weight.grad
    assert gradient is not None and state.grad is not None
    assert (gradient[2] == 0).all() and (state.grad == 0).all()
    assert (gradient[4] != 0).any() and (gradient[END] != 0).any()


def test_all_documents_of_a_lane_have_the_same_dropout():
    shares = {"dropout": 0.4, "input_dropout": 0.3, "weight_drop": 0.3}
    network = network_of({"cell_type": "gru", "num_layers": 2}, **shares)
    document = window(9, 1, share=0)
    document[0] = END
    ids = torch.cat((document, document, document)).repeat(1, 4)
    logits, _ = network(ids, network.initial_state(4), Noise(torch.Generator().manual_seed(1), 4))
    assert torch.equal(logits[:9], logits[9:18]) and torch.equal(logits[:9], logits[18:])
    assert not torch.equal(logits[:, 0], logits[:, 1])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("model", MODELS[::3], ids=str)
def test_the_stepper_resets_its_state_where_it_reads_end(model, precision):
    network = network_of(model).float()
    config = Config(**{"documents": "lines", "hidden_size": 6, "embedding_size": 4, **model})
    stepper = Stepper(config, tensors_of(network), precision)
    rows = [[2, 3, END, 4, 5], [6, 6, 5, 4, 5]]
    state = stepper.initial_state(2)
    for now in np.array(rows).T:
        logits, state = stepper.step(now, state)
    # One that knows no END.
    plain = Stepper(replace(config, documents="none"), tensors_of(network), precision)
    alone, _ = plain.read(np.array([END, 4, 5]))
    # Float32 sums of one row and of two may be in another order; those of int8 are exact.
    exact = 0 if precision == "int8" else 1e-6
    np.testing.assert_allclose(logits[0], alone[0], rtol=0, atol=exact)
    # The other row was not touched.
    np.testing.assert_allclose(logits[1], plain.read(np.array(rows[1]))[0][0], rtol=0, atol=exact)


@given(st.integers(1, 3 * MAX_PIECE), st.integers(1, 5), st.floats(0, 1), st.integers(0, 99))
def test_pieces_read_every_character_once_and_in_order(num_steps, batch_size, share, seed):
    fragments = Fragments.of(np.random.default_rng(seed).random((num_steps, batch_size)) < share)
    seen = np.zeros(num_steps * batch_size, int)
    read = fragments.begins.copy()
    for piece in cut(fragments, batch_size):
        assert 1 <= len(piece.positions) <= MAX_PIECE
        seen[piece.positions.ravel()] += 1
        for number, positions in zip(piece.fragments, piece.positions.T, strict=True):
            times, lanes = np.divmod(positions, batch_size)
            assert set(lanes) == {fragments.lanes[number]}
            assert times.tolist() == list(range(read[number], read[number] + len(times)))
            read[number] += len(times)
    assert (seen == 1).all() and np.array_equal(read, fragments.ends)
    last = fragments.last_of_lanes
    assert fragments.lanes[last].tolist() == list(range(batch_size))
    assert (fragments.ends[last] == num_steps).all()
