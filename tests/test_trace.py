"""Traces: what lanes read at once is what one character after the other would have left in every cell."""

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from numpy.typing import NDArray
from progress_reports import reports
from torch import Tensor

from charrnn.cells.trace import Trace, stream_cells, trace_text
from charrnn.config import Config
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP

CELLS = ["lstm", "gru", "rnn"]
VOCAB_SIZE = 7
ROUNDING = 1e-5
"""Both sides are float32; sums of a few products in another order differ by 1e-7, and the cells do not amplify it."""
Ids = NDArray[np.uint16]


def make_network(cell: str, *, num_layers: int = 2, hidden_size: int = 5) -> CharRNN:
    config = Config(cell=cell, num_layers=num_layers, hidden_size=hidden_size, embedding_size=4, dropout=0.0)
    network = CharRNN(config, VOCAB_SIZE)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():  # biases too: drawn as for training, they are zero
        torch.nn.init.normal_(parameter, std=0.6, generator=generator)
    return network


def make_ids(num_chars: int) -> Ids:
    return np.random.default_rng(0).integers(0, VOCAB_SIZE, num_chars).astype(np.uint16)


def trace_of(network: CharRNN, ids: Ids, first: int = 0) -> Trace:
    return trace_text(network, as_text(ids, first))


def watch_lanes(network: CharRNN) -> set[int]:
    """The numbers of lanes B that the network reads from now on."""
    lanes: set[int] = set()
    network.output.register_forward_pre_hook(lambda module, inputs: lanes.add(inputs[0].shape[1]))
    return lanes


@torch.inference_mode()
def step_through(network: CharRNN, cell: str, ids: Ids) -> tuple[Tensor, Tensor]:
    """Cells (N, L, H) and the log-probabilities (N, V) after each character, from one step per character."""
    state = network.initial_state(1)
    cells, logprobs = [], []
    for char in ids.tolist():
        logits, state = network(torch.tensor([[char]]), state)
        cells.append(state[:, 1, 0].tanh() if cell == "lstm" else state[:, 0, 0])
        logprobs.append(logits[0, 0].log_softmax(-1))
    return torch.stack(cells), torch.stack(logprobs)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_chars", [1, 257, 600])  # windows hold 256
def test_cells_and_logprobs_are_those_of_one_step_after_the_other(cell: str, num_chars: int) -> None:
    network, ids = make_network(cell), make_ids(num_chars)
    trace = trace_of(network, ids)
    cells, logprobs = step_through(network, cell, ids)
    assert trace.cells.shape == (num_chars, 2, 5) and trace.cells.dtype == np.float32
    assert np.abs(trace.cells - cells.numpy()).max() < ROUNDING
    assert trace.logprobs.shape == (num_chars,)
    assert np.isnan(trace.logprobs[0])  # nothing came before it
    expected = logprobs.numpy()[np.arange(num_chars - 1), ids[1:]]
    assert np.abs(trace.logprobs[1:] - expected).max(initial=0) < ROUNDING
    assert np.array_equal(trace.ids, ids) and trace.text == "x" * num_chars


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("first", [1, WARM_UP, WARM_UP + 88])
def test_what_came_before_is_read_first_and_left_out(cell: str, first: int) -> None:
    network, ids = make_network(cell), make_ids(first + 60)
    trace = trace_of(network, ids, first)
    cells, logprobs = step_through(network, cell, ids)
    assert np.array_equal(trace.ids, ids[first:])
    # Context beyond WARM_UP characters is not read; these small networks have forgotten it by then.
    assert np.abs(trace.cells - cells.numpy()[first:]).max() < ROUNDING
    expected = logprobs.numpy()[np.arange(first - 1, first + 59), ids[first:]]
    assert np.abs(trace.logprobs - expected).max() < ROUNDING  # the first one has a value, too
    without = trace_of(network, ids[first:])
    assert np.abs(trace.cells[0] - without.cells[0]).max() > 0.01


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("num_chars", "first"),
    [
        (3 * 4 * WARM_UP + 56, 0),  # three lanes of unequal length: the last one is padded
        (3 * 4 * WARM_UP + 56 + 700, 700),  # more context than the other lanes are warmed up with
    ],
)
def test_a_long_text_in_lanes_is_traced_as_in_one_sequence(cell: str, num_chars: int, first: int) -> None:
    network, ids = make_network(cell), make_ids(num_chars)
    lanes = watch_lanes(network)
    with reports() as done:
        trace = trace_text(network, as_text(ids, first))
    assert lanes == {3}
    assert done == {"reading": num_chars - first}
    with torch.inference_mode():
        sequence = torch.from_numpy(ids.astype(np.int64))[:, None]
        logits, cells, _, _ = network.trace(sequence, network.initial_state(1))
    # A lane starts WARM_UP characters early from a zero state; what it would have remembered from further back has
    # decayed far below rounding in networks of this size.
    assert np.abs(trace.cells - cells[first:, 0].numpy()).max() < ROUNDING
    scores = logits[:-1, 0].log_softmax(-1).numpy()[np.arange(num_chars - 1), ids[1:]]
    expected = np.r_[np.float32(np.nan), scores][first:]
    assert np.array_equal(np.isnan(trace.logprobs), np.isnan(expected))
    assert np.nanmax(np.abs(trace.logprobs - expected)) < ROUNDING


@pytest.mark.parametrize("bias", [0.0, -12.0])  # -12: output gates under 1e-6, whose h / o would be off by 1e-4
def test_cells_of_a_closed_output_gate_are_as_right_as_others(bias: float) -> None:
    network = make_network("lstm")
    with torch.no_grad():
        for layer in network.recurrent_layers():
            layer.bias("ih")[-layer.hidden_size :] += bias
    ids = torch.from_numpy(make_ids(300).astype(np.int64))[:, None]
    with torch.inference_mode():
        _, cells, _, _ = network.trace(ids, network.initial_state(1))
        exact = network.double()
        _, expected, _, _ = exact.trace(ids, exact.initial_state(1))
    assert (cells - expected).abs().max() < ROUNDING


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("num_chars", "first"), [(300, 0), (3 * 4 * WARM_UP + 56, 100)])
def test_streamed_cells_are_those_of_the_trace_each_once(cell: str, num_chars: int, first: int) -> None:
    network, ids = make_network(cell), make_ids(num_chars)
    cells = np.full((num_chars - first, 10), np.nan, np.float32)
    for indices, values in stream_cells(network, as_text(ids, first)):
        assert np.isnan(cells[indices]).all() and len(values) <= 3 * 256
        cells[indices] = values
    expected = trace_of(network, ids, first).cells.reshape(len(cells), 10)
    assert np.abs(cells - expected).max() < ROUNDING  # a nan, which no window filled, is not
