"""`embedding_size: one-hot`: the network with an identity embedding, without the embedding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hand_built import vocab_of
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector

from charrnn.config.architectures import CELL_DESCRIPTIONS, DEPTH_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.generation.generator import start_ids, undrawable_ids
from charrnn.model.ensemble import numpy_tensors
from charrnn.model.network import CharRNN
from charrnn.model.noise import Noise
from charrnn.model.shapes import extend_rows, num_parameters, weight_shapes
from charrnn.model.stepper import Stepper

V, H, T, B = 5, 4, 9, 3
EXACT = {"rtol": 1e-12, "atol": 1e-12}
"""Both networks add the same float64 numbers, in another order at most."""
SHAPES = [
    *((cell, "stacked") for cell in CELL_DESCRIPTIONS),
    *(("gru", depth) for depth in DEPTH_DESCRIPTIONS),
]


def config_of(cell, depth="stacked", **options):
    return Config(
        cell_type=cell,
        depth=depth,
        num_layers=2,
        hidden_size=H,
        embedding_size="one-hot",
        dropout=0.0,
        **options,
    )


def pair_of(config):
    """The network of one-hot vectors, and the one with the same weights that embeds characters as
    an identity."""
    network = CharRNN(config, V).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(1))
    embedding = CharRNN(replace(config, embedding_size=V), V).double()
    embedding.load_state_dict({**network.state_dict(), "embedding.weight": torch.eye(V)})
    return network, embedding


def read(network, config, *, noisy):
    """Return the logits of a text, and the gradients of its loss."""
    ids = torch.randint(V, (T + 1, B), generator=torch.Generator().manual_seed(2))
    noise = Noise(torch.Generator().manual_seed(3), B) if noisy else None
    logits, _ = network(ids[:-1], network.initial_state(B), noise)
    cross_entropy(logits.flatten(0, 1), ids[1:].flatten()).backward()
    gradients = {
        name: value.grad for name, value in network.named_parameters() if value.grad is not None
    }
    return logits.detach(), {
        name: gradient for name, gradient in gradients.items() if name != "embedding.weight"
    }


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("cell, depth", SHAPES)
def test_it_is_the_network_with_an_identity_embedding(cell, depth, noisy):
    config = config_of(cell, depth, input_dropout=0.4 if noisy else 0.0)
    network, embedding = pair_of(config)
    assert {
        name: tuple(value.shape) for name, value in network.state_dict().items()
    } == weight_shapes(config, V)
    counts = [len(parameters_to_vector(each.parameters())) for each in (network, embedding)]
    assert counts[0] == num_parameters(config, V) == counts[1] - V * V
    found, gradients = read(network, config, noisy=noisy)
    expected, others = read(embedding, config, noisy=noisy)
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(gradients, others, **EXACT)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("cell, depth", SHAPES)
def test_the_stepper_reads_the_same_table_bit_for_bit(cell, depth, precision):
    config = config_of(cell, depth)
    tensors = [
        {name: value.float().numpy() for name, value in network.state_dict().items()}
        for network in pair_of(config)
    ]
    one = Stepper(config, tensors[0], precision)
    other = Stepper(replace(config, embedding_size=V), tensors[1], precision)
    assert np.array_equal(one.tables["layers.0.ih"], other.tables["layers.0.ih"])
    ids = np.array([0, 3, 3, 1, 4, 2])
    logits, state = one.read(ids)
    expected, expected_state = other.read(ids)
    assert np.array_equal(logits, expected)
    assert np.array_equal(state, expected_state)


@pytest.mark.parametrize(
    "depth, name", [("stacked", "layers.0.weight_ih_l0"), ("grid", "bottom.weight")]
)
def test_new_characters_get_columns(depth, name):
    config = config_of("lstm", depth)
    old = numpy_tensors(CharRNN(config, V).state_dict())
    drawn = numpy_tensors(CharRNN(replace(config, seed=1), V + 2).state_dict())
    rows = np.array([*range(V), -1, -1])
    extended = extend_rows(old, drawn, rows)
    assert {key: value.shape for key, value in extended.items()} == weight_shapes(config, V + 2)
    for key, values in extended.items():
        if key == name:
            values = values[:, :V]
        elif key.startswith("output."):
            values = values[:V]
        assert np.array_equal(values, old[key])
    assert np.array_equal(extended[name][:, V:], drawn[name][:, V:])


def test_without_a_newline_a_text_starts_with_the_first_character():
    exact, known = vocab_of("hello", is_exact=True), vocab_of("hello")
    assert start_ids(exact).tolist() == [0] and start_ids(known).tolist() == [1]
    assert start_ids(vocab_of("\nab", is_exact=True)).tolist() == [0]
    assert undrawable_ids(exact) == () and undrawable_ids(known) == (0,)
    assert undrawable_ids(vocab_of("\0ab", is_exact=True)) == (0,), "END where nothing ends"
