"""Drawing with torch: the same texts as with NumPy, by the operations that a GPU captures.

Shapes: B streams, N characters, V vocabulary.
"""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import CheckpointError
from charrnn.generation.distribution import char_weights, next_char_probs
from charrnn.generation.options import Shaping
from charrnn.generation.sampling import draw, prime_model, sample_ids
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper
from charrnn.scale.graphed import GraphSampler, _Limits, draw_ids

CPU = torch.device("cpu")
V, H = 11, 8
SHAPINGS = {
    "plain": Shaping(banned=(0,)),
    "cool": Shaping(temperature=0.5, banned=(0, 3)),
    "greedy": Shaping(temperature=0.0),
    "top_k": Shaping(top_k=3, banned=(0,)),
    "top_p": Shaping(top_p=0.7, temperature=1.5),
    "min_p": Shaping(min_p=0.2, top_k=100),
    "all": Shaping(temperature=0.9, top_k=6, top_p=0.9, min_p=0.02, banned=(5,)),
}


def make_model(**changes: Any) -> tuple[Config, dict[str, torch.Tensor]]:
    """Return a model whose next characters depend on what it has read."""
    values: dict[str, Any] = {"cell": "lstm", "num_layers": 2, "hidden_size": H, "embedding_size": 5, **changes}
    config = Config(**values)
    tensors = CharRNN(config, V).state_dict()
    generator = torch.Generator().manual_seed(3)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensor += 0.4 * torch.randn(tensor.shape, generator=generator)
        if name == "output.weight":
            tensor *= 3
    return config, tensors


def numpy_of(tensors: dict[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in tensors.items()}


@pytest.mark.parametrize("name", SHAPINGS)
def test_probabilities_and_draws_are_those_of_numpy(name: str) -> None:
    shaping, generator = SHAPINGS[name], np.random.default_rng(0)
    # Rounded, so that some logits are equal.
    logits = np.round(2 * generator.standard_normal((40, V)), 1).astype(np.float32)
    expected = next_char_probs(logits, shaping)
    found = _Limits([shaping] * 40, V, CPU).probabilities(torch.from_numpy(logits))
    np.testing.assert_allclose((found / found.sum(-1, keepdim=True)).numpy(), expected, rtol=1e-12, atol=1e-15)
    uniforms = np.append(generator.random(38), [0.0, np.nextafter(1.0, 0.0)])
    ids = draw_ids(found, torch.from_numpy(uniforms)).tolist()
    assert ids == [draw(*char_weights(row, shaping), uniform) for row, uniform in zip(logits, uniforms, strict=True)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "gru", "initial_state": "learned"},
        {"cell": "mlstm", "depth": "highway", "num_layers": 3},
        {"cell": "unitary"},
        {"depth": "grid"},
        {"depth": "dilated", "num_layers": 3, "sum_outputs": True},
        {"zoneout": 0.2},
        {"documents": "lines"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_the_same_seed_gives_the_text_of_numpy(changes: dict[str, Any]) -> None:
    config, tensors = make_model(**changes)
    stepper = Stepper(config, numpy_of(tensors))
    prime = np.array([1, 4, 0, 2, 2, 7])
    shapings = [Shaping(temperature=temperature) for temperature in (0.7, 1.0, 1.3)]
    seeds = [(5, stream) for stream in range(3)]
    expected = list(sample_ids(stepper, prime_model(stepper, prime), shapings, seeds, length=50))
    blocks = list(GraphSampler(config, V, tensors, shapings, CPU, block=16).sample(prime, seeds, 50))
    assert [block.ids.shape for block in blocks] == [(3, 16)] * 3 + [(3, 2)]
    ids, logprobs = (np.concatenate([block[part] for block in blocks], axis=1) for part in (0, 1))
    np.testing.assert_array_equal(ids, np.concatenate([block.ids for block in expected], axis=1))
    # Sums of some dozen products in float32, over 50 steps.
    np.testing.assert_allclose(logprobs, np.concatenate([block.logprobs for block in expected], axis=1), atol=1e-3)


def test_a_sampler_draws_the_same_text_again() -> None:
    config, tensors = make_model()
    sampler = GraphSampler(config, V, tensors, [SHAPINGS["plain"]], CPU, block=8)
    first, second = ([block.ids.tolist() for block in sampler.sample(np.array([1]), [(1, 0)], 20)] for _ in range(2))
    assert first == second


def test_weights_of_another_model_are_refused() -> None:
    config, tensors = make_model()
    with pytest.raises(CheckpointError, match=r"output\.bias"):
        GraphSampler(config, V, {**tensors, "output.bias": torch.zeros(2)}, [Shaping()], CPU)
