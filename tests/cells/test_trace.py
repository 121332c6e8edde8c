"""Traces: what lanes read at once is what one character after the other leaves in every cell, its
gates included.

"""

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from progress_reports import reports
from random_networks import H, L, V, random_network

from charrnn.cells.trace import trace_text
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
        vectors = state
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
