"""Loss: both protocols equal a naive recomputation, and each scores what it says it scores.

Shapes: N characters, T time, B batch, V vocabulary.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.evaluation import losses as loss_module
from charrnn.evaluation.losses import WINDOWED_LENGTH, bits, num_scored_chars, stateful_nats, windowed_block_sums
from charrnn.model.device import cpu_computes_bf16
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP, segments_of
from charrnn.progress import CallbackProgress, Task, using
from charrnn.text.vocab import IdArray

CELLS = ("lstm", "gru", "rnn")
V = 6

# The losses are summed from logits rounded to float32: relative errors of some 1e-7 each, of any sign.
NEAR: dict[str, Any] = {"rel": 0.0, "abs": 1e-6}


def make_network(cell: str = "lstm") -> CharRNN:
    sizes: dict[str, Any] = {"num_layers": 1, "hidden_size": 8, "embedding_size": 4}
    network = CharRNN(Config(cell=cell, dropout=0.5, initial_state="learned", **sizes), V).double()
    with torch.no_grad():
        assert network.learned_state is not None
        network.learned_state.fill_(0.7)  # a text starts from here, which zeros would not show
        network.output.weight.mul_(4)  # untrained logits are all alike; these care what they have read
    return network


def make_ids(num_chars: int) -> IdArray:
    return np.random.default_rng(1).integers(0, V, num_chars).astype(np.uint16)


def windowed_nats(network: CharRNN, ids: IdArray, *, precision: str = "auto") -> float:
    return windowed_block_sums(network, ids, precision=precision).mean


@torch.no_grad()
def naive_nats(network: CharRNN, ids: IdArray, first: int) -> NDArray[np.float64]:
    """-ln p(character) of ids[first:], in float64, the characters before each read one by one."""
    state = network.initial_state(1)
    losses = []
    for index in range(1, len(ids)):
        logits, state = network(torch.tensor([[int(ids[index - 1])]]), state)
        scores = logits[0, 0].tolist()
        largest = max(scores)
        log_total = largest + math.log(sum(math.exp(score - largest) for score in scores))
        losses.append(log_total - scores[ids[index]])
    return np.array(losses[first - 1 :])


@pytest.mark.parametrize("first", [1, 2, 30, 99])
@pytest.mark.parametrize("cell", CELLS)
def test_the_stateful_loss_equals_a_loop_over_the_characters(cell: str, first: int) -> None:
    network, ids = make_network(cell), make_ids(100)
    expected = naive_nats(network, ids, first).mean()
    assert stateful_nats(network, ids, first, precision="fp32") == pytest.approx(expected, **NEAR)


@pytest.mark.parametrize("first", [1, 200, WARM_UP + 300])
def test_the_stateful_loss_of_a_long_text_is_that_of_one_pass(first: int) -> None:
    network = make_network()
    # Three lanes of unequal length, so that padding would be scored by a careless mean.
    ids = make_ids(first + 3 * 4 * WARM_UP + 101)
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(ids[:-1].astype(np.int64))[:, None], network.initial_state(1))
    logprobs = logits[:, 0].log_softmax(-1).numpy()
    expected = -logprobs[np.arange(len(ids) - 1), ids[1:]][first - 1 :].mean()
    assert stateful_nats(network, ids, first, precision="fp32") == pytest.approx(expected, **NEAR)


@pytest.mark.parametrize("max_chars", [3 * 4 * WARM_UP - 30, 700])
def test_of_a_longer_text_segments_are_scored(max_chars: int) -> None:
    network, first = make_network(), 40
    ids = make_ids(first + 5 * 4 * WARM_UP)
    losses = []
    naive = naive_nats(network, ids, first)
    num_segments, length = segments_of(max_chars)
    for start in np.arange(num_segments) * len(naive) // num_segments:
        losses += naive[start : start + length].tolist()
    assert num_scored_chars(len(naive), max_chars) == len(losses) <= max_chars
    read: list[Task] = []
    with using(CallbackProgress(read.append)):
        nats = stateful_nats(network, ids, first, precision="fp32", max_chars=max_chars)
    assert nats == pytest.approx(np.mean(losses), **NEAR)
    assert read[-1].done == read[-1].total == len(losses)


def test_a_text_within_the_limit_is_read_as_without_one() -> None:
    network, ids = make_network(), make_ids(3 * 4 * WARM_UP)
    whole = stateful_nats(network, ids, 10, precision="fp32")
    for max_chars in (len(ids) - 10, 10**9):
        assert stateful_nats(network, ids, 10, precision="fp32", max_chars=max_chars) == whole
        assert num_scored_chars(len(ids) - 10, max_chars) == len(ids) - 10


def test_what_was_read_before_counts_and_is_not_scored() -> None:
    network, ids = make_network(), make_ids(60)
    with_context = stateful_nats(network, ids, 50, precision="fp32")
    without_context = stateful_nats(network, ids[49:], 1, precision="fp32")
    # Far above rounding (1e-6): the ten characters are the same, only what came before them differs.
    assert abs(with_context - without_context) > 1e-3
    changed = ids.copy()
    changed[:49] = (changed[:49] + 1) % V
    assert abs(stateful_nats(network, changed, 50, precision="fp32") - with_context) > 1e-4
    assert stateful_nats(network, ids, 1, precision="fp32") != pytest.approx(with_context, abs=1e-3)


@pytest.mark.parametrize(("num_chars", "first"), [(0, 1), (1, 1), (10, 0), (10, -1), (10, 10), (10, 11)])
def test_a_text_with_nothing_to_score_is_refused(num_chars: int, first: int) -> None:
    with pytest.raises(ValueError, match=rf"first is {first}, the text has {num_chars} characters"):
        stateful_nats(make_network(), make_ids(num_chars), first)


def test_a_model_that_knows_nothing_loses_the_logarithm_of_its_alphabet() -> None:
    network, ids = make_network(), make_ids(400)
    torch.nn.init.zeros_(network.output.weight)
    assert stateful_nats(network, ids, precision="fp32") == pytest.approx(math.log(V), **NEAR)
    assert windowed_nats(network, ids, precision="fp32") == pytest.approx(math.log(V), **NEAR)


def test_the_windowed_loss_equals_windows_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "NUM_WINDOWS", 64)
    network, ids = make_network("gru"), make_ids(700)
    starts = np.random.default_rng(0).integers(0, len(ids) - WINDOWED_LENGTH, size=64)
    assert len(set(starts.tolist())) > 50, "windows that all begin alike would test little"
    losses = []
    for start in starts:
        window = torch.from_numpy(ids[start : start + WINDOWED_LENGTH + 1].astype(np.int64))
        with torch.no_grad():
            logits, _ = network(window[:-1, None], network.initial_state(1))
        logprobs = logits[:, 0].log_softmax(-1)
        losses.append(-logprobs[torch.arange(WINDOWED_LENGTH), window[1:]].mean().item())
    assert windowed_nats(network, ids, precision="fp32") == pytest.approx(np.mean(losses), **NEAR)


def test_the_windows_do_not_depend_on_the_global_generators() -> None:
    network, ids = make_network(), make_ids(1000)
    np.random.seed(1)  # noqa: NPY002  # the global generator is what must not matter
    torch.manual_seed(1)
    first = windowed_nats(network, ids, precision="fp32")
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert windowed_nats(network, ids, precision="fp32") == first


def test_the_only_window_of_the_shortest_text_is_the_text_from_its_start() -> None:
    network, ids = make_network(), make_ids(WINDOWED_LENGTH + 1)
    stateful = stateful_nats(network, ids, precision="fp32")
    assert windowed_nats(network, ids, precision="fp32") == pytest.approx(stateful, **NEAR)
    with pytest.raises(ValueError, match=f"more than {WINDOWED_LENGTH} characters, not {WINDOWED_LENGTH}"):
        windowed_nats(network, ids[:-1])


@pytest.mark.skipif(not cpu_computes_bf16(), reason="oneDNN has no bf16 here")
def test_bf16_is_asked_for_by_name_and_stays_near() -> None:
    network, ids = make_network().float(), make_ids(400)
    exact = stateful_nats(network, ids, precision="fp32")
    rounded = stateful_nats(network, ids, precision="bf16")
    # bf16 keeps 8 bits: a logit of 4 is off by 0.02 at most, and the errors of 400 characters have any sign.
    assert rounded != exact
    assert rounded == pytest.approx(exact, abs=0.02)
    exact, rounded = (windowed_nats(network, ids, precision=precision) for precision in ("fp32", "bf16"))
    assert rounded != exact and rounded == pytest.approx(exact, abs=0.02)


def test_measuring_leaves_the_network_as_it_was() -> None:
    network, ids = make_network(), make_ids(300)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    stateful_nats(network, ids)
    windowed_nats(network, ids)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    assert bits(math.log(2)) == 1.0
    assert bits(3 * math.log(2)) == pytest.approx(3.0, rel=1e-15)
