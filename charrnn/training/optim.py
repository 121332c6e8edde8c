"""The optimizers, their learning-rate schedule and the average of the weights."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.swa_utils import get_ema_multi_avg_fn

from charrnn.config.settings import Config, resolved
from charrnn.model.device import autocast
from charrnn.model.ensemble import TrainedNetwork, networks_of
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


class Optimizer:
    """Updates some of a network's weights along the gradients in their `grad`.

    Weight decay is decoupled: it does not go through the moments (Loshchilov & Hutter 2019).
    """

    moments: tuple[str, ...]
    """The names of the moments of a weight."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        weight_decay: float,
        config: Config,
        rate_scale: float = 1.0,
    ):
        """Start with moments of zero."""
        self.weight_decay = weight_decay
        self.config = config
        self.rate_scale = rate_scale
        """The learning rate of these weights as a multiple of the schedule's."""
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        """The moments of every weight that this optimizer updates: tensors of the weight's shape,
        by name.

        They are saved with a checkpoint and restored by copying into them. At most three per weight
        fit into its limit.
        """
        for weight in weights:
            zeros = {moment: torch.zeros_like(weight.detach()) for moment in self.moments}
            self.state[weight] = zeros

    def step(self, learning_rate: float, number: int) -> None:
        """Take step `number` (from 1) along the gradients, which may be changed."""
        raise NotImplementedError


class AdamW(Optimizer):
    """AdamW (Loshchilov & Hutter 2019) by torch's fused kernel, or, where torch has none, by its
    function of plain operations.

    `torch.optim.AdamW` computes the same, but its first use imports torch's compiler, which takes a
    second.
    """

    moments = ("exp_avg", "exp_avg_sq")

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take step `number` (from 1) along the gradients."""
        weights = list(self.state)
        # The public function has `fused=True`, too, for the same bits. But it sorts the tensors and
        # counts their steps at every call: 0.24 ms instead of 0.15 for five weights, twice in a
        # step that takes a small model 3 ms. The kernel is private and may be missing.
        kernel: Any = getattr(torch, "_fused_adamw_", None)
        # The same tensor for all weights, filled on the device: a copy from main memory would wait
        # for the kernels before it.
        counts = [torch.full((), float(number), device=weights[0].device)] * len(weights)
        if kernel is None:
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
            beta1=self.config.beta1,
            beta2=self.config.beta2,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012): the gradient, divided by the root of its squares' running
    mean.

    s <- b s + (1 - b) g^2; w <- w - r g / (sqrt(s) + epsilon), where b is `Config.beta2`.
    """

    moments = ("exp_avg_sq",)

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients."""
        decay = self.config.beta2
        for weight, moments in self.state.items():
            gradient = _gradient(weight)
            square = moments["exp_avg_sq"]
            weight.mul_(1 - learning_rate * self.weight_decay)
            square.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
            weight.addcdiv_(gradient, square.sqrt().add_(EPSILON), value=-learning_rate)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Polyak 1964).

    m <- b m + g; w <- w - r m, where b is `Config.beta1`.
    """

    moments = ("momentum",)

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients."""
        # Divided, so that weights decay as fast as with AdamW; undivided, they would lose a tenth
        # of themselves per step.
        decay = self.weight_decay / SGD_RATE
        for weight, moments in self.state.items():
            momentum = moments["momentum"]
            weight.mul_(1 - learning_rate * decay)
            momentum.mul_(self.config.beta1).add_(_gradient(weight))
            weight.add_(momentum, alpha=-learning_rate)


class Muon(Optimizer):
    """Muon: momentum, orthogonalised for each gate block separately (Jordan 2024; scaled as by Liu
    2025).

    Nearly all of a gradient often points in a few directions. Here every singular direction of a
    gate learns at the same speed, however small its gradient. For weights (G * H, N) that are G
    blocks (H, N), and their gradient g, a step is:

    1. Momentum. m <- 0.9 m + 0.1 g is a running mean of the gradients. The update starts from
       0.9 m + 0.1 g, which looks one step ahead (Nesterov's momentum).
    2. Blocks. The matrix is divided into the H rows of each gate, because a gate with large
       gradients would hide the directions of the others.
    3. Orthogonalisation. Let U S V' be the singular value decomposition of a block. S is replaced
       by numbers near 1, so that about U V' remains. No decomposition is computed: the block is
       divided by a bound of its largest singular value, and then X <- 3.4445 X - 4.7750 (X X') X +
       2.0315 (X X')^2 X is computed twice, a Newton-Schulz iteration.
    4. Step. The weights shrink by the weight decay, and move by the learning rate, times
       `Config.muon_scale`, times 0.2 sqrt(max(H, N)). This gives the entries of an update about
       the size that they have in AdamW, so that one learning rate serves both.

    Jordan's Muon has the same polynomial with a momentum of 0.95, five iterations instead of two,
    and whole matrices instead of gates (https://github.com/KellerJordan/Muon).
    """

    moments = ("momentum",)

    @torch.no_grad()
    def step(self, learning_rate: float, number: int) -> None:
        """Take a step along the gradients."""
        # Squares of a Gram matrix are below the smallest numbers of fp16.
        precision = self.config.precision
        if precision == "fp16":
            precision = "fp32"
        units = resolved(self.config.hidden_size) // self.config.num_networks
        for weight, moments in self.state.items():
            # Nesterov's momentum looks one step ahead of the running mean.
            gradient = _gradient(weight)
            momentum = moments["momentum"]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            blocks = gradient.lerp(momentum, MOMENTUM).view(-1, units, weight.shape[1])

            # Each gate on its own: a gate with large gradients would hide the directions of the
            # other gates.
            with autocast(weight.device, precision):
                update = orthogonal(blocks)

            # Liu's factor gives the entries the size that AdamW gives them, so that one learning
            # rate fits both.
            size = math.sqrt(max(update.shape[1:]))
            rate = learning_rate * self.config.muon_scale * RMS * size
            weight.mul_(1 - learning_rate * self.weight_decay)
            weight.add_(update.flatten(0, 1), alpha=-rate)


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


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "muon": AdamW,  # of the weights that are no matrices of layers: those have `Muon`
    "adamw": AdamW,
    "rmsprop": RMSProp,
    "sgd": SGD,
}
"""The class of each value of `Config.optimizer`; `charrnn.config.architectures` describes them. How
to add an optimizer: docs/use/extending.md."""
RATE_FACTORS = {"sgd": SGD_RATE}
"""Factors of the recipe's learning rates, which were found with Muon and AdamW."""


def make_optimizers(network: TrainedNetwork, config: Config) -> list[Optimizer]:
    """Build the configured optimizers.

    `Trainer` takes a step with each of them.

    Each weight belongs to one optimizer. Matrices decay; all other weights do not. Beside Muon, the
    matrix of the output learns `Config.output_scale` times as fast as the schedule says.
    """
    # Muon for the matrices of recurrent layers, a block per gate. Embedding and output are not
    # among them: AdamW trains those better (Jordan 2024).
    of_layers: list[Tensor] = []
    output_scale = 1.0
    if config.optimizer == "muon":
        output_scale = config.output_scale
        for layer in network.modules():
            if isinstance(layer, RecurrentLayer):
                of_layers += layer.matrices()

    # All other weights. Biases and gains do not decay: they are too few to learn a text by heart.
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    of_output = [each.output.weight for each in networks_of(network)]
    known = {*of_layers, *of_output}
    for weight in network.parameters():
        if weight.ndim != 2:
            vectors.append(weight)
        elif weight not in known:
            matrices.append(weight)

    weight_decay = float(config.weight_decay)
    make = OPTIMIZERS[config.optimizer]
    optimizers = [
        make(of_output, weight_decay=weight_decay, config=config, rate_scale=output_scale),
        make(vectors, weight_decay=0.0, config=config),
    ]
    if matrices:
        optimizers.append(make(matrices, weight_decay=weight_decay, config=config))
    if of_layers:
        optimizers.insert(0, Muon(of_layers, weight_decay=weight_decay, config=config))
    return optimizers


def learning_rate_at(step: int, config: Config) -> float:
    """Return the learning rate of step 0..config.steps-1: a linear warm-up, the peak until the fall
    begins, then a fall to the final share of the peak.

    With `Config.decay_share` 1 the fall begins right after the warm-up.
    """
    peak = float(config.learning_rate)

    # A short warm-up, at most a tenth of the run: the first gradients are large, and the running
    # means are of few of them.
    warmup = min(config.warmup_steps, config.plan_entries[0].num_steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup

    # The peak is kept for a share of the steps after the warm-up.
    progress = progress_after(warmup, step=step, config=config)
    share = float(config.decay_share)
    fall = (progress - (1 - share)) / share
    fall = min(1.0, max(0.0, fall))

    # Half a cosine has a slow end, which lets the weights settle.
    height = 1 - fall
    if config.decay_shape == "cosine":
        height = (1 + math.cos(math.pi * fall)) / 2
    final = config.final_learning_rate
    return peak * (final + (1 - final) * height)


def progress_after(warmup: int, step: int, config: Config) -> float:
    """Return how far a training is before step `step`: 0 after the warm-up, 1 before the last step.

    Each later plan divides what was left when it was made among the steps that it has left, so
    there is no jump where it begins.
    """
    first, *later = config.plan_entries
    begin = warmup
    progress = 0.0
    num_steps = first.num_steps
    for entry in later:
        if entry.step > step:
            break
        end = max(begin, entry.step)
        progress += (1 - progress) * (end - begin) / max(1, num_steps - 1 - begin)
        begin = end
        num_steps = entry.num_steps
    return progress + (1 - progress) * (step - begin) / max(1, num_steps - 1 - begin)


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

    The averaged weights are validated, saved and sampled from; the weights themselves only train.

    d rises to `decay` as (1 + step) / (10 + step), so that the average soon forgets the initial
    weights.
    """
    # torch's function for lists runs one kernel for all weights.
    average: Any = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
    average(averaged, weights, step)
