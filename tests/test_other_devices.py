"""Tensors of a step all lie on the network's device: tried on torch's meta device, which computes shapes only.

It refuses to mix devices as a GPU does, and every machine has it.
"""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from charrnn.architectures import CELLS, DEPTHS, OPTIMIZERS
from charrnn.config import Config
from charrnn.model.layer import Noise
from charrnn.model.network import CharRNN
from charrnn.model.recurrence import FUNCTIONS
from charrnn.training.optim import make_optimizers, update_average

META = torch.device("meta")
V, B, T = 9, 4, 6
CASES: list[dict[str, Any]] = [
    *({"cell": cell} for cell in CELLS),
    *({"depth": depth, "num_layers": 3} for depth in DEPTHS if depth != "stacked"),
    *({"optimizer": optimizer} for optimizer in OPTIMIZERS),
    *({"weight_drop": 0.3}, {"zoneout": 0.1}, {"cell": "rnn", "omega": 0.5}, {"initial_state": "learned"}),
    {"cell": "gru", "sum_outputs": True},
]


def make_config(**changes: Any) -> Config:
    values: dict[str, Any] = {
        "cell": "lstm",
        "num_layers": 2,
        "hidden_size": 8,
        "embedding_size": 5,
        "dropout": 0.2,
        "input_dropout": 0.1,
        "precision": "fp32",
    }
    return Config(**{**values, **changes})


@pytest.fixture(autouse=True)
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the implementations of CUDA, and leave out autocast, which the meta device has not."""
    monkeypatch.setattr("charrnn.model.layer.runs_whole", lambda name, device: name in FUNCTIONS)
    monkeypatch.setattr("charrnn.model.recurrence.autocast_dtype", lambda device, dtype: dtype)
    monkeypatch.setattr("charrnn.training.optim.autocast", lambda device, precision: nullcontext())


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_a_step_stays_on_its_device(case: dict[str, Any]) -> None:
    config = make_config(**case)
    network = CharRNN(config, V).to(META)
    ids = torch.zeros(T, B, dtype=torch.int64, device=META)
    noise = Noise(torch.Generator().manual_seed(0), B)
    logits, state = network(ids, network.initial_state(B), noise)
    assert (logits.device, state.device) == (META, META)
    cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()  # type: ignore[no-untyped-call]
    weights = list(network.parameters())
    assert {None if weight.grad is None else weight.grad.device for weight in weights} == {META}
    for optimizer in make_optimizers(network, config):
        optimizer.step(0.01, 1)
        assert {value.device for moments in optimizer.state.values() for value in moments.values()} == {META}
    update_average([weight.detach().clone() for weight in weights], weights, 0.9, 1)
