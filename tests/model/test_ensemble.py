"""An ensemble: what its networks predict together, the one network they are, and how they are
trained side by side."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hand_built import small_config

from charrnn.config.architectures import CELL_DESCRIPTIONS, DEPTH_DESCRIPTIONS
from charrnn.config.settings import config_of_member
from charrnn.model.ensemble import Ensemble, tensors_of
from charrnn.model.network import load_network
from charrnn.model.noise import Noise
from charrnn.model.shapes import num_parameters
from charrnn.text.batches import BatchRows
from charrnn.training.trainer import Trainer

V, T, B = 9, 15, 4
ARCHITECTURES = [
    (cell, depth)
    for cell in CELL_DESCRIPTIONS
    for depth in DEPTH_DESCRIPTIONS
    if cell != "unitary" and depth != "attention" and (cell, depth) != ("irnn", "grid")
]


def make_ensemble(**changes):
    sizes = {
        "cell_type": "lstm",
        "hidden_size": 16,
        "embedding_size": 12,
        "num_members": 2,
    }
    ensemble = Ensemble(small_config(**{**sizes, **changes}), V)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in ensemble.parameters():  # Biases start at zero.
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return ensemble


def read(network):
    ids = torch.randint(V, (T, B), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        first, state = network(ids[:7], network.initial_state(B))
        return torch.cat((first, network(ids[7:], state)[0]))


def read_joined(ensemble):
    tensors = {name: torch.from_numpy(value) for name, value in tensors_of(ensemble).items()}
    return read(load_network(ensemble.config, V, tensors).double())


@pytest.mark.parametrize("embedding_size", [12, pytest.param("one-hot", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cell, depth", ARCHITECTURES)
def test_the_networks_are_one_network_whose_logits_are_their_mean(cell, depth, embedding_size):
    ensemble = make_ensemble(
        cell_type=cell, depth=depth, embedding_size=embedding_size, num_layers=2, zoneout=0.1
    )
    joined = read_joined(ensemble)
    # Halves are exact; the mean of two output biases below 1 is rounded to float32, by 3e-8 at
    # most.
    torch.testing.assert_close(joined, read(ensemble.double()), rtol=0, atol=3e-8)
    torch.testing.assert_close(
        joined, torch.stack([read(one) for one in ensemble.networks]).mean(0), rtol=0, atol=3e-8
    )


def test_a_learned_state_joins_and_three_networks_do():
    ensemble = make_ensemble(hidden_size=24, num_members=3, initial_state="learned")
    # A third is rounded: a relative error of 6e-8 of logits below 10.
    joined = read_joined(ensemble)
    torch.testing.assert_close(joined, read(ensemble.double()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("documents", ["none", "lines"])
def test_each_network_draws_masks_of_its_own(documents):
    ensemble = make_ensemble(dropout=0.5, weight_drop=0.5, documents=documents, alphabet="exact")
    ensemble.networks[1].load_state_dict(ensemble.networks[0].state_dict())
    ids = torch.zeros(T, B, dtype=torch.long)
    logits, _ = ensemble(ids, ensemble.initial_state(B), Noise(torch.Generator().manual_seed(0), B))
    assert logits.shape == (T, 2 * B, V) and not torch.equal(logits[:, :B], logits[:, B:])


def make_trainer(**changes):
    ids = np.random.default_rng(1).integers(0, V, 300).astype(np.uint16)
    return Trainer(small_config(**changes), BatchRows(ids, B), V, torch.device("cpu"))


ENSEMBLE = {"hidden_size": 12, "embedding_size": 6, "num_members": 2, "steps": 20}


def test_the_seeds_of_the_networks_are_those_of_earlier_runs():
    config = small_config(seed=3, num_members=2, hidden_size=8)
    assert [config_of_member(config, index).seed for index in (0, 1)] == [3, 1_000_006]


def test_each_network_learns_as_if_it_were_alone():
    # Without dropout, whose masks are drawn one after the other.
    plain = {
        **ENSEMBLE,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "weight_drop": 0.0,
        "clip_norm": 0.05,
    }
    plain["reset_probability"] = 0.0  # drawn from the seed of a run
    together = make_trainer(**plain)
    assert isinstance(together.averaged, Ensemble)
    for index, network in enumerate(together.averaged.networks):
        alone = make_trainer(**asdict(config_of_member(together.config, index)))
        losses = [alone.take_step().train_nats for _ in range(8)]
        if index == 0:
            reported = [together.take_step().train_nats for _ in range(8)]
            sums = np.array(losses)
        else:
            np.testing.assert_allclose(reported, (sums + losses) / 2, rtol=1e-6)
        for name, value in alone.averaged.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight_average", [0.9, 0.0])
def test_a_restored_ensemble_is_the_same_to_the_bit(weight_average):
    changes = {
        **ENSEMBLE,
        "dropout": 0.3,
        "weight_drop": 0.2,
        "weight_average": weight_average,
    }
    first, second = make_trainer(**changes), make_trainer(**changes)
    for _ in range(3):
        first.take_step()
    second.restore(first.model_tensors(), *first.snapshot())
    for _ in range(3):
        assert first.take_step() == second.take_step()
    for name, value in first.model_tensors().items():
        assert np.array_equal(value, second.model_tensors()[name]), name
    num_weights = sum(weight.numel() for weight in first.network.parameters())
    assert num_weights == num_parameters(first.config, V)
