"""The optimizers, their learning-rate schedule and the average of the weights."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.swa_utils import get_ema_multi_avg_fn

from charrnn.config.settings import Config
from charrnn.model.device import autocast
from charrnn.model.ensemble import TrainedNetwork
from charrnn.model.layer import RecurrentLayer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x^3 and x^5 in Muon's polynomial, which pushes singular values towards 1
(Jordan 2024)."""
ITERATIONS = 2
"""Iterations of that polynomial. Jordan takes 5, from a looser bound on the singular values
(benchmarks/LOG.md)."""
MOMENTUM = 0.9
"""Decay of Muon's momentum. Jordan takes 0.95, which is worse here (benchmarks/LOG.md)."""
RMS = 0.2
"""Root mean square of a Muon update's entries at a learning rate of 1, about as large as AdamW's
(Liu 2025)."""
EPSILON = 1e-8
"""Added to the root of the squared gradients' mean, by AdamW and RMSProp."""

LARGEST_SCALE = 2.0**14
"""Largest factor of the loss in fp16 (Micikevicius 2018)."""
SCALE_STEPS = (1.0, 2.0**8, 2.0**16)
"""Divisors of that factor, tried in this order while the gradient overflows."""

SGD_RATE = 100.0
"""Learning rate of sgd as a multiple of AdamW's (benchmarks/LOG.md)."""


class Optimizer(Protocol):
    """Updates some of a network's weights along the gradients in their `grad`."""

    state: dict[Tensor, dict[str, Tensor]]
    """The moments of every weight that this optimizer updates: tensors of the weight's shape, by
    name.

    They are saved with a checkpoint and restored by copying into them. At most three per weight fit
    into its limit.
    """

    def step(self, learning_rate: float, number: int) -> None:
        """Take step `number` (from 1). The gradients may be changed."""


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) by torch's fused kernel, or, where torch has none, by its
    function of plain operations.

    `torch.optim.AdamW` computes the same, but its first use imports torch's compiler, which takes a
    second.
    """

    def __init__(
        self, weights: list[Tensor], weight_decay: float, beta1: float, beta2: float
    ) -> None:
        """Start with running means of gradients and of squared gradients of zero."""
        self.state = _zeros(weights, "exp_avg", "exp_avg_sq")
        self._weight_decay = weight_decay
        self._beta1 = beta1
        self._beta2 = beta2

    def step(self, learning_rate: float, number: int) -> None:
        """Take step `number` (from 1) along the gradients."""
        self.update(learning_rate, number, is_fused=_has_fused_adamw(next(iter(self.state)).device))

    @torch.no_grad()
    def update(self, learning_rate: float, number: int, *, is_fused: bool) -> None:
        """Take a step with `torch._fused_adamw_`, which is private and may be missing, or with the
        public function."""
        weights = list(self.state)
        if is_fused:
            # The public function has `fused=True`, too, for the same bits. But it sorts the tensors
            # and counts their steps at every call: 0.24 ms instead of 0.15 for five weights, twice
            # in a step that takes a small model 3 ms.
            kernel: Any = torch._fused_adamw_
            # The same tensor for all weights, filled on the device: a copy from main memory would
            # wait for the kernels before it.
            counts = [torch.full((), float(number), device=weights[0].device)] * len(weights)
        else:
            kernel = adamw
            # It counts this step itself, for each weight.
            counts = [torch.tensor(number - 1.0) for _ in weights]

        kernel(
            weights,
            [_gradient(weight) for weight in weights],
            [self.state[weight]["exp_avg"] for weight in weights],
            [self.state[weight]["exp_avg_sq"] for weight in weights],
            [],
            counts,
            lr=learning_rate,
            beta1=self._beta1,
            beta2=self._beta2,
            weight_decay=self._weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


@cache
def _has_fused_adamw(device: torch.device) -> bool:
    """Whether this torch has the private `_fused_adamw_`, with the arguments used here, on that
    device."""
    weight = torch.zeros(1, device=device)
    weight.grad = torch.zeros_like(weight)
    try:
        AdamW([weight], weight_decay=0.0, beta1=0.9, beta2=0.99).update(
            0.0, number=1, is_fused=True
        )
    except (AttributeError, TypeError, RuntimeError):  # NotImplementedError is a RuntimeError.
        return False
    return True


class RMSProp:
    """RMSProp (Tieleman & Hinton 2012): the gradient, divided by the root of its squares' running
    mean.

    s <- b s + (1 - b) g^2; w <- w - r g / (sqrt(s) + epsilon). Weight decay is decoupled, as in
    AdamW.
    """

    def __init__(self, weights: list[Tensor], weight_decay: float, decay: float) -> None:
        """Start with a running mean of squared gradients s of zero; `decay` is b."""
        self.state = _zeros(weights, "exp_avg_sq")
        self._weight_decay = weight_decay
        self._decay = decay

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients."""
        for weight, moments in self.state.items():
            gradient = _gradient(weight)
            square = moments["exp_avg_sq"]
            weight.mul_(1 - learning_rate * self._weight_decay)
            square.mul_(self._decay).addcmul_(gradient, gradient, value=1 - self._decay)
            weight.addcdiv_(gradient, square.sqrt().add_(EPSILON), value=-learning_rate)


class SGD:
    """Stochastic gradient descent with momentum (Polyak 1964).

    m <- b m + g; w <- w - r m. Weight decay is decoupled, as in AdamW.
    """

    def __init__(self, weights: list[Tensor], weight_decay: float, momentum: float) -> None:
        """Start with a sum of decayed gradients m of zero; `momentum` is b."""
        self.state = _zeros(weights, "momentum")
        self._weight_decay = weight_decay
        self._momentum = momentum

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients."""
        for weight, moments in self.state.items():
            momentum = moments["momentum"]
            weight.mul_(1 - learning_rate * self._weight_decay)
            momentum.mul_(self._momentum).add_(_gradient(weight))
            weight.add_(momentum, alpha=-learning_rate)


class Muon:
    """Muon: momentum, orthogonalised for each gate block separately (Jordan 2024; scaled as by Liu
    2025).

    For weights (G * H, N) that are G blocks (H, N). m <- 0.9 m + 0.1 g; the update of a block is
    about U V' where U S V' = 0.9 m + 0.1 g (Nesterov's), found by Newton-Schulz iterations, times
    0.2 sqrt(max(H, N)). So every singular direction of a gate learns at the same speed, however
    small its gradient.
    """

    def __init__(
        self,
        blocks: dict[Tensor, int],
        weight_decay: float,
        scale: float,
        precision: str,
    ) -> None:
        """Start with a running mean of gradients m of zero.

        `blocks` gives G of each weight; `scale` multiplies the learning rate.
        """
        self.state = _zeros(list(blocks), "momentum")
        self._blocks = blocks
        self._weight_decay = weight_decay
        self._scale = scale
        self._precision = precision

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients."""
        for weight, num_blocks in self._blocks.items():
            # Nesterov's momentum looks one step ahead of the running mean.
            gradient = _gradient(weight)
            momentum = self.state[weight]["momentum"]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            blocks = gradient.lerp(momentum, MOMENTUM).view(num_blocks, -1, weight.shape[1])

            # Each gate on its own: a gate with large gradients would hide the directions of the
            # other gates.
            with autocast(weight.device, self._precision):
                update = orthogonal(blocks)

            # Liu's factor gives the entries the size that AdamW gives them, so that one learning
            # rate fits both.
            rate = learning_rate * self._scale * RMS * math.sqrt(max(update.shape[1:]))
            weight.mul_(1 - learning_rate * self._weight_decay)
            weight.add_(update.flatten(0, 1), alpha=-rate)


def _zeros(weights: Sequence[Tensor], *moments: str) -> dict[Tensor, dict[str, Tensor]]:
    return {
        weight: {moment: torch.zeros_like(weight.detach()) for moment in moments}
        for weight in weights
    }


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None, "every weight is used in every step"
    return weight.grad


def orthogonal(blocks: Tensor) -> Tensor:
    """Approximate U V' for each of blocks (G, M, N) = U S V': singular values become about 1, zeros
    stay zero.

    Values below some hundredths of the block's norm stay smaller than 1, because the iterations are
    few. Under autocast the products are in its precision; the result has the dtype of `blocks`.
    """
    # Lying blocks have the smaller Gram matrix.
    is_tall = blocks.shape[1] > blocks.shape[2]
    x: Tensor = blocks.mT if is_tall else blocks

    # The polynomial converges for singular values up to 1, which the norm makes sure of.
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-30)
    a, b, c = COEFFICIENTS
    for iteration in range(ITERATIONS):
        gram = x @ x.mT
        square = gram @ gram
        if iteration == 0:
            # (sum of S^8)^(1/8): never below the largest value, and for 512 equal values 10 times
            # closer than the norm.
            bound = torch.linalg.matrix_norm(square.float(), keepdim=True).clamp(min=1e-30) ** 0.25
            x = x / bound
            gram = gram / bound**2
            square = square / bound**4
        x = a * x + (b * gram + c * square) @ x
    return (x.mT if is_tall else x).to(blocks.dtype)


def _make_adamw(weights: list[Tensor], weight_decay: float, config: Config) -> Optimizer:
    return AdamW(weights, weight_decay=weight_decay, beta1=config.beta1, beta2=config.beta2)


OPTIMIZERS: dict[str, Callable[[list[Tensor], float, Config], Optimizer]] = {
    "muon": _make_adamw,  # of all weights but the matrices of the layers
    "adamw": _make_adamw,
    "rmsprop": lambda weights, weight_decay, config: RMSProp(
        weights, weight_decay=weight_decay, decay=config.beta2
    ),
    # Divided, so that weights decay as fast as with AdamW; undivided, they would lose a tenth of
    # themselves per step.
    "sgd": lambda weights, weight_decay, config: SGD(
        weights, weight_decay=weight_decay / SGD_RATE, momentum=config.beta1
    ),
}
"""How each value of `Config.optimizer` is built; `charrnn.config.architectures` describes them. How
to add an optimizer: docs/use/extending.md."""
RATE_FACTORS = {"sgd": SGD_RATE}
"""Factors of the recipe's learning rates, which were found with Muon and AdamW."""


def make_optimizers(network: TrainedNetwork, config: Config) -> list[Optimizer]:
    """Build the configured optimizers.

    Each weight belongs to one optimizer. Matrices decay; all other weights do not.
    """
    weight_decay = float(config.weight_decay)
    optimizers: list[Optimizer] = []

    # Muon for the matrices of recurrent layers, a block per gate. Embedding and output are not
    # among them: AdamW trains those better (Jordan 2024).
    blocks: dict[Tensor, int] = {}
    if config.optimizer == "muon":
        for layer in network.modules():
            if isinstance(layer, RecurrentLayer):
                for weight in layer.matrices():
                    blocks[weight] = len(weight) // layer.hidden_size
    if blocks:
        # Squares of a Gram matrix are below the smallest numbers of fp16.
        precision = "fp32" if config.precision == "fp16" else config.precision
        optimizers.append(
            Muon(
                blocks,
                weight_decay=weight_decay,
                scale=config.muon_scale,
                precision=precision,
            )
        )

    # All other weights. Biases and gains do not decay: they are too few to learn a text by heart.
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    for weight in network.parameters():
        if weight in blocks:
            continue
        if weight.ndim == 2:
            matrices.append(weight)
        else:
            vectors.append(weight)
    make = OPTIMIZERS[config.optimizer]
    return [*optimizers, make(matrices, weight_decay, config), make(vectors, 0.0, config)]


def learning_rate_at(step: int, config: Config) -> float:
    """Return the learning rate of step 0..config.steps-1: linear warm-up, then half a cosine to the
    final share."""
    num_steps = config.steps or 1
    peak = float(config.learning_rate)

    # A short warm-up, at most a tenth of the run: the first gradients are large, and the running
    # means are of few of them.
    warmup = min(config.warmup_steps, num_steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup

    # Half a cosine (Loshchilov & Hutter 2017): its slow end lets the weights settle.
    progress = (step - warmup) / max(1, num_steps - 1 - warmup)
    final = config.final_learning_rate
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


def loss_scales(config: Config) -> tuple[float, ...]:
    """Return the factors of the loss to try in a step, in order, until the gradient is finite.

    The factor is 1 except in fp16, where the smallest number is 6e-8. There, the first factor
    scales the mean loss to the sum over characters, up to LARGEST_SCALE; smaller factors follow in
    case the gradient overflows (65,504). The factors are the same at every step, so that a resumed
    run needs to know nothing of earlier steps, and powers of two, which round nothing.
    """
    if config.precision != "fp16":
        return (1.0,)
    largest = min(LARGEST_SCALE, 2.0 ** math.floor(math.log2(config.chars_per_step)))
    return tuple(largest / step for step in SCALE_STEPS)


def update_average(
    averaged: Sequence[Tensor], weights: Sequence[Tensor], decay: float, step: int
) -> None:
    """Average in place: averaged <- d * averaged + (1 - d) * weights.

    d rises to `decay` as (1 + step) / (10 + step), so that the average soon forgets the initial
    weights.
    """
    # torch's function for lists runs one kernel for all weights.
    average: Any = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
    average(averaged, weights, step)
