"""The values of all cells in a temporary file are those of a trace; the gates are counted in the same pass."""

import errno
import gc
import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from numpy.typing import NDArray
from progress_reports import reports

from charrnn.cells.trace import Activations, trace_text
from charrnn.config import Config
from charrnn.errors import CharRNNError
from charrnn.lab.gates import count_gates
from charrnn.model.network import CharRNN
from charrnn.progress import CallbackProgress, using
from charrnn.text.encoded import EncodedText

V, H, L = 7, 6, 2
LONG = 5_000
"""Characters that are read in two lanes, of which the last is padded."""


def make_network(cell: str, depth: str = "stacked", **settings: object) -> CharRNN:
    network = CharRNN(
        Config(cell=cell, depth=depth, num_layers=L, hidden_size=H, embedding_size=4, dropout=0.0, **settings), V
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.6 * torch.randn(parameter.shape, generator=generator))
    return network


def make_text(num_chars: int, first: int = 0) -> EncodedText:
    return as_text(np.random.default_rng(0).integers(0, V, num_chars).astype(np.uint16), first)


@pytest.mark.parametrize(("cell", "depth"), [("lstm", "stacked"), ("gru", "dilated")])
def test_the_values_are_those_of_a_trace(cell: str, depth: str) -> None:
    network, text = make_network(cell, depth), make_text(LONG + 1, first=30)
    with reports() as done:
        activations = Activations(network, text)
    cells = trace_text(network, text).cells.reshape(len(text), L * H)
    # Half precision has 11 significant bits; gates are computed by other functions than those of the trace.
    np.testing.assert_allclose(activations.values, cells.T, atol=1e-3)
    np.testing.assert_array_equal(activations.of(1, 2), activations.values[H + 2].astype(np.float32))
    assert done == {"reading": len(text)} and activations.half == len(text) // 2
    blocks = list(activations.blocks(5))
    assert [(cells.start, cells.stop) for cells, _ in blocks] == [(0, 5), (5, 10), (10, 12)]
    np.testing.assert_array_equal(np.concatenate([values for _, values in blocks]), activations.values)


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize(("cell", "depth"), [("lstm", "stacked"), ("gru", "dilated"), ("rnn", "stacked")])
def test_the_gates_are_counted_in_the_same_pass(cell: str, depth: str, documents: bool) -> None:
    network, text = make_network(cell, depth), make_text(LONG)
    network.end_id = 3 if documents else None
    activations = Activations(network, text)
    if cell == "rnn":
        assert activations.gates == () and activations.kept is None and activations.keeping_gate is None
        return
    assert activations.gates == count_gates(network, text).gates
    assert activations.keeping_gate == {"lstm": "f", "gru": "z"}[cell]
    mean, mean_log = activations.kept or (np.zeros(0), np.zeros(0))
    assert mean.shape == mean_log.shape == (L * H,) and (np.exp(mean_log) < mean).all() and mean.max() < 1
    assert activations.dilations == ((1, 2) if depth == "dilated" else (1, 1))


def gates_one_at_a_time(network: CharRNN, ids: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The forget gate (N, H) of the first layer of an LSTM, character by character."""
    layer = network.recurrent_layers()[0]
    assert network.embedding is not None
    state, gates = network.initial_state(1), []
    for number in ids.tolist():
        if number == network.end_id:
            state = network.initial_state(1)
        x = network.embedding.weight[number] @ layer.weight("ih").T + layer.bias("ih")
        a = x + state[0, 0, 0] @ layer.weight("hh").T + layer.bias("hh")
        gates.append(a[H : 2 * H].sigmoid().numpy())
        _, state = network(torch.tensor([[number]]), state)
    return np.stack(gates).astype(np.float64)


@pytest.mark.parametrize("zoneout", [0.0, 0.25])
@torch.no_grad()
def test_the_mean_of_the_forget_gate_is_that_of_a_loop_over_documents(zoneout: float) -> None:
    """END is id 3; zoneout keeps a quarter of the memory whatever the gate does."""
    network, text = make_network("lstm", zoneout=zoneout), make_text(300)
    network.end_id = 3
    gates = zoneout + (1 - zoneout) * gates_one_at_a_time(network, text.ids)
    kept = Activations(network, text).kept
    assert kept is not None
    np.testing.assert_allclose(kept[0][:H], gates.mean(axis=0), atol=1e-5)  # sums of float32
    np.testing.assert_allclose(kept[1][:H], np.log(gates).mean(axis=0), atol=1e-4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes the file when it is closed")
def test_nothing_is_left_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    activations = Activations(make_network("rnn"), make_text(50))
    kept = activations.values[0].copy()
    assert list(tmp_path.iterdir()) == []
    activations.close()
    activations.close()
    with pytest.raises(ValueError, match="are closed"):
        _ = activations.values
    assert kept.shape == (50,)


def test_an_interrupted_reading_closes_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(Activations, "close", lambda activations: closed.append(activations._file.close()))

    def interrupt(task: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), using(CallbackProgress(interrupt)):
        Activations(make_network("rnn"), make_text(50))
    assert len(closed) == 1
    gc.collect()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP, None])
def test_a_full_disk_is_one_clear_error(number: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where space cannot be reserved, zeros are written."""
    full, network, text = OSError(errno.ENOSPC, "No space left on device"), make_network("rnn"), make_text(50)
    expected = Activations(network, text).values
    if number is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(number, full.strerror)), raising=False)
    monkeypatch.setattr("charrnn.cells.trace.ZEROS", bytes(100))
    if number != errno.ENOSPC:
        np.testing.assert_array_equal(Activations(network, text).values, expected)
        monkeypatch.setattr("charrnn.cells.trace.mmap.mmap", Mock(side_effect=full))
    with pytest.raises(CharRNNError, match="need 1,200 bytes in the folder for temporary files: No space left") as info:
        Activations(network, text)
    assert "TMPDIR" in str(info.value) and str(info.value).count("\n") < 3
