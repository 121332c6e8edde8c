"""Everything that changes while training, and the one step that changes it.

Shapes: T window length, B lanes, V vocabulary; state as in `model.network`.
"""

import copy
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from charrnn.config import Config, resolved
from charrnn.errors import CheckpointError, NonFiniteError
from charrnn.model.device import autocast, keep_freed_memory
from charrnn.model.network import CharRNN
from charrnn.text.lanes import Lanes
from charrnn.training.optim import learning_rate_at, make_optimizers, update_average


@dataclass(frozen=True, slots=True)
class StepResult:
    """Mean loss of the step in nats per character, the gradient's norm before clipping, the learning rate."""

    train_nats: float
    grad_norm: float
    learning_rate: float


class Trainer:
    """Network, optimizer, averaged weights, hidden state and place in the text.

    `snapshot` and `restore` carry all of it, so a restored trainer takes bit-identical steps on a CPU. No generator
    needs a place in a snapshot: whatever is random in step n is drawn from (seed, n).
    """

    def __init__(self, config: Config, lanes: Lanes, vocab_size: int, device: torch.device) -> None:
        assert config.steps is not None, "the budget was not turned into steps"
        keep_freed_memory()
        self.config = config
        self.lanes = lanes
        self.device = device
        self.network = CharRNN(config, vocab_size).to(device)
        self.averaged = copy.deepcopy(self.network) if config.weight_average > 0 else self.network
        self.optimizers = make_optimizers(self.network, config)
        self._names: dict[torch.Tensor, str] = {weight: name for name, weight in self.network.named_parameters()}
        # Kept, because walking through the modules at every step takes a small model's step 3 % longer.
        self._weights: list[torch.Tensor] = list(self.network.parameters())
        self._averages: list[torch.Tensor] = list(self.averaged.parameters())
        self.state = self.network.initial_state(lanes.num_lanes).detach()
        self.step = 0
        self.cursor = 0

    def take_step(self) -> StepResult:
        """Learn from the next window of every lane (truncated BPTT, the state carried over; Williams & Peng 1990).

        Raises NonFiniteError before anything changed if the loss or the gradient is not finite.
        """
        learning_rate = learning_rate_at(self.step, self.config)
        inputs, targets = self.lanes.window(self.cursor, resolved(self.config.bptt_length))
        generator = torch.Generator().manual_seed((self.config.seed * 1_000_003 + self.step) % 2**32)
        is_kept = torch.rand(self.lanes.num_lanes, 1, generator=generator) >= self.config.reset_probability
        state = torch.where(is_kept.to(self.device), self.state, self.network.initial_state(self.lanes.num_lanes))
        with autocast(self.device, self.config.precision):
            logits, state = self.network(torch.from_numpy(inputs).to(self.device), state, generator)
        loss = cross_entropy(logits.float().flatten(0, 1), torch.from_numpy(targets).flatten().to(self.device))
        for weight in self._weights:
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = nn.utils.clip_grad_norm_(self._weights, self.config.clip_norm, foreach=True)
        result = StepResult(loss.item(), grad_norm.item(), learning_rate)
        peak = float(self.config.learning_rate)
        if not (np.isfinite(result.train_nats) and np.isfinite(result.grad_norm)):
            raise NonFiniteError(
                f"Step {self.step + 1}: loss {result.train_nats}, gradient norm {result.grad_norm}. "
                f"The learning rate was {learning_rate:.2g} there; try --set learning_rate={peak / 2:.2g} (its peak)."
            )
        self.step += 1
        for optimizer in self.optimizers:
            optimizer.step(learning_rate, self.step)
        self.state = state.detach()
        self.cursor += len(inputs)
        if self.averaged is not self.network:
            update_average(self._averages, self._weights, self.config.weight_average, self.step)
        return result

    def start_with(self, model: Mapping[str, NDArray[Any]]) -> None:
        """Take over another run's `model_tensors` before the first step. Raises CheckpointError if they do not fit."""
        weights = {name: torch.from_numpy(value) for name, value in model.items()}
        try:
            for network in (self.network, self.averaged):
                network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"The weights to start with do not fit: {reason}") from None
        self.state = self.network.initial_state(self.lanes.num_lanes).detach()

    def model_tensors(self) -> dict[str, NDArray[Any]]:
        """The weights to generate with: the averaged ones where averaging is on."""
        return _numpy(self.averaged.state_dict())

    def snapshot(self) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
        """What training needs to go on: (tensors, {"step", "cursor"})."""
        tensors = {f"weights/{name}": value for name, value in self.network.state_dict().items()}
        for optimizer in self.optimizers:
            for parameter, moments in optimizer.state.items():
                tensors |= {f"{moment}/{self._names[parameter]}": value for moment, value in moments.items()}
        tensors["state"] = self.state
        return _numpy(tensors), {"step": self.step, "cursor": self.cursor}

    def restore(
        self, model: Mapping[str, NDArray[Any]], training: Mapping[str, NDArray[Any]], counters: Mapping[str, Any]
    ) -> None:
        """Take over what `model_tensors` and `snapshot` gave. Raises CheckpointError if it does not fit this model."""
        step, cursor = counters.get("step"), counters.get("cursor")
        if not (isinstance(step, int) and isinstance(cursor, int) and 0 <= step < 1 << 62 and 0 <= cursor < 1 << 62):
            shown = reprlib.repr(step), reprlib.repr(cursor)
            raise CheckpointError(f"training.json has no usable step and cursor (step {shown[0]}, cursor {shown[1]}).")
        try:
            self.network.load_state_dict(
                {name: torch.from_numpy(training[f"weights/{name}"]) for name in self.network.state_dict()}
            )
            if self.averaged is not self.network:
                self.averaged.load_state_dict({name: torch.from_numpy(value) for name, value in model.items()})
            state = torch.from_numpy(training["state"]).clone().to(self.device)
            if state.shape != self.state.shape:
                raise KeyError(f"state of shape {tuple(state.shape)}, not {tuple(self.state.shape)}")
            for optimizer in self.optimizers:
                for parameter, moments in optimizer.state.items():
                    for moment, value in moments.items():
                        name = f"{moment}/{self._names[parameter]}"
                        saved = torch.from_numpy(training[name])
                        if saved.shape != value.shape:
                            raise KeyError(f"{name} of shape {tuple(saved.shape)}, not {tuple(value.shape)}")
                        value.copy_(saved)
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"The saved training state does not fit config.yaml: {reason}") from None
        self.state, self.step, self.cursor = state, step, cursor


def _numpy(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    return {name: value.detach().float().cpu().contiguous().numpy().copy() for name, value in tensors.items()}
