"""The network: dropout, resets of the state, seeds. T time, B batch, V vocabulary, E embedding, H
hidden.

Tests `model.noise`, too.
"""

import pytest
import torch

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.model.noise import Noise

T, B, V, E, H = 12, 3, 7, 4, 5


def make_network(**changes):
    return CharRNN(make_config(**changes), V)


def make_config(**changes):
    sizes = {
        "cell_type": "lstm",
        "num_layers": 2,
        "hidden_size": H,
        "embedding_size": E,
        "dropout": 0.0,
    }
    return Config(**{**sizes, **changes})


def read_with_masks(network, ids, seed):
    """Return logits, last state, and per layer what its output (T, B, H) was multiplied by before
    it was passed on."""
    modules = [*network.recurrent_layers(), network.output]
    outputs = []
    passed_on = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, result: outputs.append(result[0]))
        for layer in modules[:-1]
    ]
    hooks += [
        later.register_forward_pre_hook(lambda _m, inputs: passed_on.append(inputs[0]))
        for later in modules[1:]
    ]
    noise = None if seed is None else Noise(torch.Generator().manual_seed(seed), ids.shape[1])
    with torch.no_grad():
        logits, last = network(ids, network.initial_state(ids.shape[1]), noise)
    for hook in hooks:
        hook.remove()
    return (
        logits,
        last,
        [later / earlier for later, earlier in zip(passed_on, outputs, strict=True)],
    )


def test_dropout_drops_the_same_units_at_every_character_and_scales_the_others_up():
    network = make_network(dropout=0.25, hidden_size=64).double()
    ids = torch.randint(V, (T, 64), generator=torch.Generator().manual_seed(2))
    _, _, masks = read_with_masks(network, ids, seed=3)
    assert len(masks) == 2, "every layer's output is masked, the last one's too"
    for mask in masks:
        is_dropped = mask == 0
        torch.testing.assert_close(mask[~is_dropped], torch.full_like(mask[~is_dropped], 1 / 0.75))
        assert torch.equal(is_dropped, is_dropped[:1].expand_as(is_dropped))
        assert not torch.equal(is_dropped[0, 0], is_dropped[0, 1]), "rows have their own masks"
        # 4,096 coins of chance 1/4: a standard deviation is 0.0068, so 0.034 is five of them.
        assert is_dropped[0].double().mean().item() == pytest.approx(0.25, abs=0.034)
    assert not torch.equal(masks[0], masks[1]), "layers have their own masks"


def test_the_generator_of_the_noise_alone_decides_what_is_dropped_and_the_carried_state_is_not():
    plain, dropping = make_network(num_layers=1), make_network(num_layers=1, dropout=0.5)
    ids = torch.randint(V, (T, B), generator=torch.Generator().manual_seed(1))
    whole, whole_last, _ = read_with_masks(plain, ids, seed=None)
    dropped, last, _ = read_with_masks(dropping, ids, seed=3)
    assert torch.equal(last, whole_last)
    assert not torch.equal(dropped, whole)
    torch.manual_seed(2)
    assert torch.equal(read_with_masks(dropping, ids, seed=3)[0], dropped)
    assert not torch.equal(read_with_masks(dropping, ids, seed=4)[0], dropped)
    for network, seed in ((dropping.train(), None), (plain, 3)):
        assert torch.equal(read_with_masks(network, ids, seed=seed)[0], whole)
