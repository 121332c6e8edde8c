"""How far the error signal reaches: against finite differences, and against recurrences whose Jacobian is known.

Shapes: K lags, L layers, S state vectors, H units, V characters.
"""

from typing import Any

import numpy as np
import pytest
import torch
from encoded_texts import as_text
from numpy.typing import NDArray
from progress_reports import reports
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.architectures import DEPTHS
from charrnn.config import Config
from charrnn.errors import DataError, UsageError
from charrnn.lab.gradients import NUM_AT_ONCE, NUM_LOSSES, measure_reach
from charrnn.model.cells import CELLS
from charrnn.model.network import CharRNN

V, H, K = 5, 4, 5
ARCHITECTURES = [
    *((cell, "stacked") for cell in CELLS),
    *(("lstm", depth) for depth in list(DEPTHS)[1:]),
    ("gru", "dilated"),
]


def make_network(cell: str, depth: str = "stacked", **changes: Any) -> CharRNN:
    sizes: dict[str, Any] = {"num_layers": 2, "hidden_size": H, "embedding_size": 3, "dropout": 0.0, **changes}
    network = CharRNN(Config(cell=cell, depth=depth, **sizes), V).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def make_ids(num_chars: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, V, num_chars).astype(np.uint16)


@torch.no_grad()
def differences(network: CharRNN, ids: Tensor, lag: int, layer: int, step: float = 1e-5) -> float:
    """The norm of the last character's loss by a layer's state `lag` characters before, by central differences."""
    _, state = network(ids[: len(ids) - 1 - lag], network.initial_state(1))
    slopes = []
    for place in np.ndindex(*state[layer].shape):
        losses = []
        for sign in (1, -1):
            moved = state.clone()
            moved[(layer, *place)] += sign * step
            logits, _ = network(ids[len(ids) - 1 - lag : -1], moved)
            losses.append(cross_entropy(logits[-1], ids[-1]).item())
        slopes.append((losses[0] - losses[1]) / (2 * step))
    return float(np.linalg.norm(slopes))


@pytest.mark.parametrize(("cell", "depth"), ARCHITECTURES)
def test_norms_are_those_of_finite_differences(cell: str, depth: str) -> None:
    network, ids = make_network(cell, depth), make_ids(32)
    assert ids[-1] not in ids[-3:-1]  # another character's loss is another loss
    reach = measure_reach(network, as_text(ids, 30), max_lag=K)  # the loss after the last but one character alone
    assert reach.num_losses == 1 and reach.lags == (1, 2, 3, 4, 5)
    text = torch.from_numpy(ids.astype(np.int64))[:, None]
    expected = [[differences(network, text, lag, layer) for lag in reach.lags] for layer in range(2)]
    # A central difference is off by its step squared, 1e-10, and by rounding over its step, 1e-11.
    np.testing.assert_allclose(reach.norms, expected, rtol=1e-5, atol=1e-8)
    assert np.min(expected) > 1e-6  # far above what the tolerance could hide


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.3])
def test_a_linear_recurrence_fades_or_grows_by_its_eigenvalue(factor: float) -> None:
    """Where no unit is cut off, an irnn is linear: its Jacobian is its weight, a permutation times `factor`."""
    network = make_network("irnn", num_layers=1)
    (layer,) = network.recurrent_layers()
    with torch.no_grad():
        layer.weight("hh").copy_(factor * torch.eye(H, dtype=torch.float64).roll(1, dims=0))
        layer.weight("ih").abs_()
        network.embedding.weight.abs_()
        for name in ("ih", "hh"):
            layer.bias(name).fill_(0.01)
        network.output.weight.mul_(1e-9)  # so that all of what grows stays far from one certain character
    (norms,) = measure_reach(network, as_text(make_ids(200)), max_lag=40).norms
    np.testing.assert_allclose(norms, norms[0] * factor ** np.arange(40.0), rtol=1e-6)
    assert norms[0] > 0


def test_what_a_cell_multiplies_its_memory_by_is_how_it_fades() -> None:
    """An LSTM that neither reads nor writes: only its forget gate stands between the loss and the memory."""
    network = make_network("lstm", num_layers=1)
    (layer,) = network.recurrent_layers()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias("ih")[H : 2 * H] = np.log(0.8 / 0.2)
    (norms,) = measure_reach(network, as_text(make_ids(300)), max_lag=30).norms
    # With c at zero, d loss / d c is that of h, halved by the output gate, times 0.8 for each character.
    np.testing.assert_allclose(norms, norms[0] * 0.8 ** np.arange(30.0), rtol=1e-9)
    assert norms[0] > 0


def test_plain_networks_forget_and_gates_do_not() -> None:
    ids = make_ids(800)
    plain, gated = (
        measure_reach(
            CharRNN(Config(cell=cell, num_layers=1, hidden_size=32, embedding_size=8, forget_bias=5.0), V), as_text(ids)
        )
        for cell in ("rnn", "lstm")
    )
    assert plain.norms[0][-1] < 1e-4 * plain.norms[0][0]
    assert gated.norms[0][-1] > 0.1 * gated.norms[0][0]


def test_losses_are_averaged_over_the_text() -> None:
    network, ids = make_network("lstm", "residual"), make_ids(360)
    with reports() as done:
        together = measure_reach(network, as_text(ids, 320), max_lag=K, name="lamps")
    assert together.num_losses == 39 > 2 * NUM_AT_ONCE and done == {"gradients": 39}
    assert together.name == "lamps"
    apart = [measure_reach(network, as_text(ids[: t + 2], t), max_lag=K).norms for t in range(320, 359)]
    # Alone, a loss is read from up to 38 characters earlier on: this network forgets what is 300 characters away.
    np.testing.assert_allclose(together.norms, np.mean(apart, axis=0), rtol=1e-9)
    assert np.std(apart, axis=0).min() > 1e-6


def test_a_long_text_is_looked_back_from_at_so_many_places() -> None:
    assert measure_reach(make_network("rnn"), as_text(make_ids(2000)), max_lag=2).num_losses == NUM_LOSSES


@pytest.mark.parametrize(("num_chars", "first"), [(K + 2, 0), (K + 2, K), (K + 3, 0), (40, 39 - 1)])
def test_the_shortest_texts(num_chars: int, first: int) -> None:
    reach = measure_reach(make_network("gru"), as_text(make_ids(num_chars), first), max_lag=K)
    assert reach.num_losses >= 1 and np.min(reach.norms) > 0


@pytest.mark.parametrize(
    ("num_chars", "first", "max_lag", "error", "message"),
    [
        (K + 1, 0, K, DataError, r"^A lag of 5 characters needs .* it has 6, and 6 with"),
        (50, 49, K, DataError, r"^A lag of 5 characters needs .* it has 1, and 50 with"),
        (50, 0, 0, UsageError, r"^`max_lag` is 0; it must be at least 1"),
    ],
)
def test_a_text_too_short_is_refused(
    num_chars: int, first: int, max_lag: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure_reach(make_network("rnn"), as_text(make_ids(num_chars), first), max_lag=max_lag)


def test_the_network_is_as_it_was() -> None:
    network = make_network("gru").float()
    measure_reach(network, as_text(make_ids(30)), max_lag=K)
    assert all(value.dtype == torch.float32 and value.requires_grad for value in network.parameters())
    assert all(value.grad is None for value in network.parameters())


def test_a_reach_turns_into_json() -> None:
    found = measure_reach(make_network("rnn"), as_text(make_ids(30)), max_lag=K).to_json()
    assert found["lags"] == (1, 2, 3, 4, 5) and [len(norms) for norms in found["norms"]] == [K, K]
