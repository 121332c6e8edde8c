"""The optimizer, its learning-rate schedule and the average of the weights."""

import math

import torch
from torch import Tensor

from charrnn.config import Config
from charrnn.model.network import CharRNN


def make_optimizer(network: CharRNN, config: Config) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); weight decay acts on matrices, not on biases."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in network.parameters() if parameter.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, config.beta2), fused=True)


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
