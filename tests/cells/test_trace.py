"""Traces: what lanes read at once is what one character after the other leaves in every cell, its
gates included.

Tests `cells.activations`, too.
"""

import errno
import sys
import tempfile
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from progress_reports import reports
from random_networks import H, L, V, random_network

from charrnn.analyses.gates import count_gates
from charrnn.cells.activations import Activations
from charrnn.cells.trace import trace_text
from charrnn.errors import CharRNNError
from charrnn.model.reading import INTERVAL, WARM_UP

ROUNDING = 1e-5
"""Both sides are float32; sums of a few products in another order differ by 1e-7, and the cells do
not amplify it."""


def make_ids(num_chars):
    return np.random.default_rng(0).integers(0, V, num_chars).astype(np.uint16)


@torch.inference_mode()
def step_through(network, cell, ids):
    """Cells (N, L, H) and the log-probabilities (N, V) after each character, from one step per
    character."""
    state = network.initial_state(1)
    cells, logprobs = [], []
    for char in ids.tolist():
        logits, state = network(torch.tensor([[char]]), state)
        vectors = state.vectors
        cells.append(vectors[:, 1, 0].tanh() if cell == "lstm" else vectors[:, 0, 0])
        logprobs.append(logits[0, 0].log_softmax(-1))
    return torch.stack(cells), torch.stack(logprobs)


def check_logprobs(found, logprobs, ids, first):
    """Compare with the log-probabilities (N, V) after each character; nothing comes before the
    first of all."""
    expected = np.r_[np.float32(np.nan), logprobs.numpy()[np.arange(len(ids) - 1), ids[1:]]][first:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    "cell, num_chars, first",  # windows hold 256
    [
        ("lstm", 1, 0),
        ("gru", 600, 0),
        ("rnn", 257, 0),
        ("lstm", 61, 1),
        ("gru", WARM_UP + 148, WARM_UP + 88),
        ("rnn", WARM_UP + 60, WARM_UP),
    ],
)
def test_cells_and_logprobs_are_those_of_one_step_after_the_other(cell, num_chars, first):
    network, ids = random_network(cell), make_ids(num_chars)
    trace = trace_text(network, as_text(ids, first))
    cells, logprobs = step_through(network, cell, ids)
    assert trace.cells.shape == (num_chars - first, L, H)
    assert trace.cells.dtype == np.float32
    assert np.abs(trace.cells - cells.numpy()[first:]).max() < ROUNDING
    check_logprobs(trace.logprobs, logprobs, ids, first)
    assert np.array_equal(trace.ids, ids[first:])
    assert trace.text == "x" * (num_chars - first)
    if first:
        without = trace_text(network, as_text(ids[first:]))
        assert np.abs(trace.cells[0] - without.cells[0]).max() > 0.01


@pytest.mark.parametrize(
    "cell, num_chars, first",
    [
        ("rnn", 3 * 4 * WARM_UP + 56, 0),  # three lanes of unequal length: the last one is padded
        (
            "lstm",
            3 * 4 * WARM_UP + 56 + 700,
            700,
        ),  # more context than the other lanes are warmed up with
    ],
)
def test_a_long_text_in_lanes_is_traced_as_in_one_sequence(cell, num_chars, first):
    network, ids = random_network(cell), make_ids(num_chars)
    lanes = set()
    network.output.register_forward_pre_hook(lambda module, inputs: lanes.add(inputs[0].shape[1]))
    with reports() as done:
        trace = trace_text(network, as_text(ids, first))
    assert max(lanes) == 3
    assert done == {
        "reading ahead": (num_chars - 1) // INTERVAL * INTERVAL,
        "reading": num_chars - first,
    }
    with torch.inference_mode():
        window = torch.from_numpy(ids.astype(np.int64))[:, None]
        (logits, cells, _), _ = network.trace(window, network.initial_state(1))
    assert np.abs(trace.cells - cells[first:, 0].numpy()).max() < ROUNDING
    check_logprobs(trace.logprobs, logits[:, 0].log_softmax(-1), ids, first)


LONG = 5_000
"""Characters that are read in two lanes, of which the last is padded."""


def make_text(num_chars, first=0):
    return as_text(make_ids(num_chars), first)


@pytest.mark.parametrize("cell, depth", [("lstm", "stacked"), ("gru", "dilated")])
def test_the_values_are_those_of_a_trace(cell, depth):
    network, text = random_network(cell, depth), make_text(LONG + 1, first=30)
    with reports() as done:
        activations = Activations(network, text)
    cells = trace_text(network, text).cells.reshape(len(text), L * H)
    # Half precision has 11 significant bits; gates are computed by other functions than those of
    # the trace.
    np.testing.assert_allclose(activations.values, cells.T, atol=1e-3)
    np.testing.assert_array_equal(
        activations.of(1, 2), activations.values[H + 2].astype(np.float32)
    )
    assert done["reading"] == len(text)


def test_a_value_does_not_depend_on_what_follows_even_if_the_network_remembers_long():
    network, text = random_network("lstm"), make_text(4 * LONG)
    with torch.no_grad():
        for layer in network.layers:
            layer.bias("ih").chunk(4)[1].fill_(6.0)  # the forget gate: a third is left after 512
    whole = trace_text(network, text)
    for length in (100, LONG, LONG + 1, 2 * LONG):
        part = trace_text(network, text.part(0, length))
        assert np.abs(whole.cells[:length] - part.cells).max() < 1e-4
    later = trace_text(network, text.part(LONG, LONG + 10))
    assert np.abs(whole.cells[LONG : LONG + 10] - later.cells).max() < 1e-4


@pytest.mark.parametrize(
    "cell, depth, documents",
    [("lstm", "stacked", True), ("gru", "dilated", False), ("rnn", "stacked", False)],
)
def test_the_gates_are_counted_in_the_same_pass(cell, depth, documents):
    network, text = random_network(cell, depth), make_text(LONG)
    network.end_id = 3 if documents else None
    activations = Activations(network, text)
    if cell == "rnn":
        assert activations.gates == ()
        assert activations.retention is None
        assert activations.keeping_gate is None
        return
    assert activations.gates == count_gates(network, text).gates
    assert activations.keeping_gate == {"lstm": "f", "gru": "z"}[cell]
    assert activations.retention.shape == (L * H,)
    assert 0 < activations.retention.min() < activations.retention.max() < 1
    assert activations.dilations == ((1, 2) if depth == "dilated" else (1, 1))


def gates_one_at_a_time(network, ids):
    """The forget gate (N, H) of the first layer of an LSTM, character by character."""
    layer = network.recurrent_layers()[0]
    state, gates = network.initial_state(1), []
    for number in ids.tolist():
        if number == network.end_id:
            state = network.initial_state(1)
        x = network.embedding.weight[number] @ layer.weight("ih").T + layer.bias("ih")
        a = x + state.vectors[0, 0, 0] @ layer.weight("hh").T + layer.bias("hh")
        gates.append(a[H : 2 * H].sigmoid().numpy())
        _, state = network(torch.tensor([[number]]), state)
    return np.stack(gates).astype(np.float64)


@pytest.mark.parametrize("zoneout", [0.0, 0.25])
@torch.no_grad()
def test_the_mean_of_the_forget_gate_is_that_of_a_loop_over_documents(zoneout):
    """END is id 3; zoneout keeps a quarter of the memory whatever the gate does."""
    network, text = random_network("lstm", zoneout=zoneout), make_text(300)
    network.end_id = 3
    gates = zoneout + (1 - zoneout) * gates_one_at_a_time(network, text.ids)
    retention = Activations(network, text).retention[:H]
    np.testing.assert_allclose(retention, gates.mean(axis=0), atol=1e-5)  # sums of float32


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes the file when it is closed")
@pytest.mark.parametrize("reserves", [True, False])
def test_nothing_is_left_of_the_file(tmp_path, monkeypatch, reserves):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not reserves:  # as on ZFS
        refuse = Mock(side_effect=OSError(errno.EOPNOTSUPP, "Operation not supported"))
        monkeypatch.setattr("charrnn.cells.activations.os.posix_fallocate", refuse, raising=False)
        monkeypatch.setattr("charrnn.cells.activations.ZEROS", bytes(7))
    activations = Activations(random_network("rnn"), make_text(50))
    kept = activations.values[0].copy()
    assert list(tmp_path.iterdir()) == []
    assert kept.shape == (50,)
    assert kept.any()


@pytest.mark.parametrize("at", ["os.posix_fallocate", "mmap.mmap"])
def test_a_full_disk_is_one_clear_error_before_anything_is_read(monkeypatch, at):
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(at, full, raising=False)
    with pytest.raises(
        CharRNNError, match="need 1,200 bytes in the folder for temporary files: No space left"
    ) as info:
        Activations(random_network("rnn"), make_text(50))
    assert "TMPDIR" in str(info.value)
    assert str(info.value).count("\n") < 3
