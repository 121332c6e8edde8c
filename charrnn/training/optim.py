"""The optimizers, their learning-rate schedule and the average of the weights."""

import math

import torch
from torch import Tensor

from charrnn.config import Config
from charrnn.model.device import autocast
from charrnn.model.layer import RecurrentLayer
from charrnn.model.network import CharRNN

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that pushes singular values towards 1 (Jordan 2024)."""
ITERATIONS = 2
"""Jordan takes 5, from a looser bound on the largest singular value. See docs/LOG.md, 2026-11-20."""
MOMENTUM = 0.95
RMS = 0.2
"""Root mean square of an update's entries at a learning rate of 1, about that of AdamW (Liu 2025)."""


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) by torch's fused kernel.

    `torch.optim.AdamW` computes the same, but its first use imports torch's compiler, which takes a second.
    """

    moments = ("exp_avg", "exp_avg_sq")
    """What is remembered of every weight, in its shape."""
    EPSILON = 1e-8

    def __init__(self, weights: list[Tensor], weight_decay: float, beta1: float, beta2: float) -> None:
        """Begin with moments of zero."""
        self.state = _zeros(weights, self.moments)
        self._weight_decay, self._beta1, self._beta2 = weight_decay, beta1, beta2

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take step `number` (from 1) along the gradients that the weights hold."""
        weights = list(self.state)
        torch._fused_adamw_(
            weights,
            [_gradient(weight) for weight in weights],
            [self.state[weight]["exp_avg"] for weight in weights],
            [self.state[weight]["exp_avg_sq"] for weight in weights],
            [],
            [torch.tensor(float(number), device=weight.device) for weight in weights],
            lr=learning_rate,
            beta1=self._beta1,
            beta2=self._beta2,
            weight_decay=self._weight_decay,
            eps=self.EPSILON,
            amsgrad=False,
            maximize=False,
        )


class Muon:
    """Momentum whose direction is made orthogonal, each gate's block by itself (Jordan 2024; scaled as by Liu 2025).

    For weights (G * H, N) that are G blocks (H, N). m <- 0.95 m + 0.05 g; the update of a block is about U V' where
    U S V' = 0.95 m + 0.05 g (Nesterov's), found by Newton-Schulz iterations, times 0.2 sqrt(max(H, N)). Every singular
    direction of a gate so learns at the same speed, however faint its gradient.
    """

    moments = ("momentum",)

    def __init__(self, blocks: dict[Tensor, int], weight_decay: float, scale: float, precision: str) -> None:
        """`blocks` says how many blocks G each weight is made of; `scale` multiplies the learning rate."""
        self.state = _zeros(list(blocks), self.moments)
        self._blocks, self._weight_decay, self._scale, self._precision = blocks, weight_decay, scale, precision

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients that the weights hold."""
        for weight, count in self._blocks.items():
            gradient, momentum = _gradient(weight), self.state[weight]["momentum"]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            blocks = gradient.lerp(momentum, MOMENTUM).view(count, -1, weight.shape[1])
            with autocast(weight.device, self._precision):
                update = orthogonal(blocks).flatten(0, 1)
            weight.mul_(1 - learning_rate * self._weight_decay)
            weight.add_(update, alpha=-learning_rate * self._scale * RMS * math.sqrt(max(blocks.shape[1:])))


def _zeros(weights: list[Tensor], moments: tuple[str, ...]) -> dict[Tensor, dict[str, Tensor]]:
    return {weight: {moment: torch.zeros_like(weight.detach()) for moment in moments} for weight in weights}


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None, "every weight is used in every step"
    return weight.grad


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
            # (sum of S^8)^(1/8): never below the largest value, and for 512 equal ones 10 times closer than the norm.
            bound = torch.linalg.matrix_norm(square.float(), keepdim=True).clamp(min=1e-30) ** 0.25
            x, gram, square = x / bound, gram / bound**2, square / bound**4
        x = a * x + (b * gram + c * square) @ x
    return (x.mT if is_tall else x).to(blocks.dtype)


def make_optimizers(network: CharRNN, config: Config) -> list[AdamW | Muon]:
    """Muon for the weights of the recurrent layers, if configured, and AdamW for all else.

    Weight decay acts on matrices, not on biases.
    """
    blocks: dict[Tensor, int] = {}
    for layer in network.modules():
        if isinstance(layer, RecurrentLayer) and config.muon_scale > 0:
            blocks |= {weight: len(weight) // layer.hidden_size for weight in layer.matrices()}
    matrices: list[Tensor] = [weight for weight in network.parameters() if weight.ndim == 2 and weight not in blocks]
    others: list[Tensor] = [weight for weight in network.parameters() if weight.ndim != 2]
    adamw = [
        AdamW(matrices, config.weight_decay, config.beta1, config.beta2),
        AdamW(others, 0.0, config.beta1, config.beta2),
    ]
    return [Muon(blocks, config.weight_decay, config.muon_scale, config.precision), *adamw] if blocks else [*adamw]


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
