"""The outer optimizer of `sync_every`: processes train on their own, and from time to time agree on the weights.

DiLoCo (Douillard 2023, arXiv 2311.08105): after K steps of their own, the difference between the weights from which all
started and the mean of those at which they arrived is the gradient of one step of SGD with Nesterov momentum.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from charrnn.scale.processes.distributed import World

OUTER_LEARNING_RATE = 0.7
"""Learning rate of the outer step, as in the paper."""
OUTER_MOMENTUM = 0.5
"""Decay of the outer momentum. The paper's 0.9 multiplies the differences by 7 in the long run: too much in runs of
some hundred steps at the recipe's learning rates (benchmarks/LOG.md)."""


class OuterOptimizer:
    """Replaces the weights of all processes by one outer step from the last weights that they had in common.

    anchor w, mean of the processes' weights v: d = w - v; m <- 0.5 m + d; w <- w - 0.7 (d + 0.5 m).
    """

    moments = ("outer_momentum",)
    """Name of the sum of decayed differences, m."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        """Start at these weights, which all processes have in common, with a momentum of zero."""
        self._anchors = {weight: weight.detach().clone() for weight in weights}
        self.state = {weight: {"outer_momentum": torch.zeros_like(weight.detach())} for weight in weights}

    @torch.no_grad()
    def start_from(self, weights: Iterable[Tensor]) -> None:
        """Take these weights, which all processes have in common, as those from which they start."""
        for weight in weights:
            self._anchors[weight].copy_(weight)

    @torch.no_grad()
    def step(self, world: World, share: float, others: Sequence[Tensor]) -> None:
        """Average the weights and the `others` over all processes in one exchange; take the outer step.

        `share` is this process's share of the batch rows, by which its numbers count.
        """
        weights = list(self._anchors)
        if world.size > 1:
            averaged = [weight.detach() for weight in weights] + list(others)
            for value in averaged:
                value.mul_(share)
            world.sum_in_place(averaged)
        for weight, anchor in self._anchors.items():
            momentum = self.state[weight]["outer_momentum"]
            difference = anchor - weight
            momentum.mul_(OUTER_MOMENTUM).add_(difference)
            anchor.add_(difference.add_(momentum, alpha=OUTER_MOMENTUM), alpha=-OUTER_LEARNING_RATE)
            weight.copy_(anchor)
