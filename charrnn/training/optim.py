"""The optimizers, their learning-rate schedule and the average of the weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from charrnn.config import Config
from charrnn.model.cells import RecurrentLayer
from charrnn.model.device import autocast
from charrnn.model.network import CharRNN

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that pushes singular values towards 1 (Jordan 2024)."""
ITERATIONS = 2
"""Jordan takes 5, from a looser bound on the largest singular value. See docs/LOG.md, 2026-11-20."""
MOMENTUM = 0.95
RMS = 0.2
"""Root mean square of an update's entries at a learning rate of 1, about that of AdamW (Liu 2025)."""


class Muon(Optimizer):
    """Momentum whose direction is made orthogonal, each gate's block by itself (Jordan 2024; scaled as by Liu 2025).

    For weights (G * H, N) that are G blocks (H, N). m <- 0.95 m + 0.05 g; the update of a block is about U V' where
    U S V' = 0.95 m + 0.05 g (Nesterov's), found by Newton-Schulz iterations, times 0.2 sqrt(max(H, N)). Every singular
    direction of a gate so learns at the same speed, however faint its gradient.
    """

    def __init__(self, groups: list[dict[str, Any]], precision: str) -> None:
        """Groups as torch's, with `num_blocks` (G), `weight_decay` and `scale`, which multiplies the learning rate."""
        super().__init__(groups, {"lr": 0.0, "scale": 1.0, "weight_decay": 0.0, "num_blocks": 1})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; parameters without a gradient stay as they are."""
        assert closure is None, "the loss is computed once per step"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                blocks = weight.grad.lerp(momentum, MOMENTUM).unflatten(0, (group["num_blocks"], -1))
                with autocast(weight.device, self._precision):
                    update = orthogonal(blocks).flatten(0, 1)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * group["scale"] * RMS * math.sqrt(max(blocks.shape[1:])))


MOMENTS = {Muon: ("momentum",), AdamW: ("exp_avg", "exp_avg_sq")}
"""What each optimizer remembers of every parameter, in its shape."""


def orthogonal(blocks: Tensor) -> Tensor:
    """Nearly U V' of each of blocks (G, M, N) = U S V': singular values become about 1, those of 0 stay 0.

    Values under some hundredths of the block's norm stay below that: the iterations are few. Under autocast the
    products are in its precision; the result is in that of `blocks`.
    """
    is_tall = blocks.shape[1] > blocks.shape[2]
    x: Tensor = blocks.mT if is_tall else blocks
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-30)
    a, b, c = COEFFICIENTS
    for iteration in range(ITERATIONS):
        gram = x @ x.mT
        square = gram @ gram
        if iteration == 0:
            # (sum of S^8)^(1/8): never below the largest value, and for H equal ones 5 times closer than the norm is.
            bound = torch.linalg.matrix_norm(square.float(), keepdim=True).clamp(min=1e-30) ** 0.25
            x, gram, square = x / bound, gram / bound**2, square / bound**4
        x = a * x + (b * gram + c * square) @ x
    return (x.mT if is_tall else x).to(blocks.dtype)


def make_optimizers(network: CharRNN, config: Config) -> list[Optimizer]:
    """AdamW (Loshchilov & Hutter 2019), and before it Muon for the weights of the recurrent layers, if configured.

    Weight decay acts on matrices, not on biases.
    """
    optimizers: list[Optimizer] = []
    blocks: dict[nn.Parameter, int] = {}
    if config.muon_scale > 0:
        for layer in network.modules():
            if isinstance(layer, RecurrentLayer):
                blocks |= {weight: len(weight) // layer.hidden_size for weight in layer.matrices()}
        shared = {"weight_decay": config.weight_decay, "scale": config.muon_scale}
        groups = [
            {**shared, "num_blocks": count, "params": [weight for weight in blocks if blocks[weight] == count]}
            for count in sorted(set(blocks.values()))
        ]
        optimizers.append(Muon(groups, config.precision))
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 2 and parameter not in blocks]
    others = [parameter for parameter in network.parameters() if parameter.ndim != 2]
    adamw_groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [*optimizers, AdamW(adamw_groups, lr=0.0, betas=(config.beta1, config.beta2), fused=True)]


def learning_rate_at(step: int, config: Config) -> float:
    """Learning rate of step 0..config.steps-1: linear warm-up, then half a cosine down to the final share."""
    num_steps = config.steps or 1
    peak = float(config.learning_rate)
    warmup = min(config.warmup_steps, num_steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - 1 - warmup)
    share = config.final_learning_rate + (1 - config.final_learning_rate) * (1 + math.cos(math.pi * progress)) / 2
    return peak * share


@torch.no_grad()
def update_average(averaged: list[Tensor], weights: list[Tensor], decay: float, step: int) -> None:
    """averaged <- d * averaged + (1 - d) * weights, in place.

    d rises to `decay` as (1 + step) / (10 + step): the average must not remember the initial weights.
    """
    torch._foreach_lerp_(averaged, weights, 1 - min(decay, (1 + step) / (10 + step)))
