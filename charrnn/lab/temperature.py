"""The temperature at which a model predicts a text best: how well its probabilities are calibrated.

Dividing all logits by a temperature T leaves the order of the characters as it is (Guo, Pleiss, Sun & Weinberger 2017,
"On Calibration of Modern Neural Networks"). T > 1 means that the model is too certain.

Shapes: K characters, V vocabulary, M scored characters.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch

from charrnn.evaluation.char_losses import CharLosses, char_losses, iter_logits
from charrnn.model.network import CharRNN
from charrnn.text.vocab import IdArray

MAX_FITTED = 1 << 17
"""Characters that a temperature is fitted to, at most: its standard error is then some 0.003."""
MAX_STEPS = 20
"""Steps of Newton's method, at most; 3 are usual."""
LARGEST = 32.0
"""Temperatures are searched from 1 / LARGEST to LARGEST: a model that predicts worse than chance has none."""
TOLERANCE = 1e-4
"""Relative change of the temperature at which the search ends."""


def fit_temperature(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> float:
    """Find the temperature with the least mean loss over ids[first:], or over MAX_FITTED characters of them.

    It lies between 1 / LARGEST and LARGEST. The loss is convex in b = 1 / T: with p = softmax(b z), its derivatives
    are E_p[z] - z_target and Var_p[z]. Newton's method changes b by at most a factor of 2 per step. A network without
    preferences, whose loss does not depend on T, has 1. Raises ValueError if there is nothing to score.
    """
    inverse = 1.0
    for _ in range(MAX_STEPS):
        slope = curvature = 0.0
        for positions, logits, targets in iter_logits(network, ids, first, precision=precision, max_chars=MAX_FITTED):
            scores = logits - logits.gather(1, targets[:, None])  # of the target: 0
            probs = (inverse * scores).softmax(-1)
            means = (probs * scores).sum(-1)
            slope += means.sum(dtype=torch.float64).item()
            curvature += ((probs * scores**2).sum(-1) - means**2).sum(dtype=torch.float64).item()
            on_progress(len(positions))
        if curvature <= 0:
            break
        before, inverse = inverse, min(max(inverse - slope / curvature, inverse / 2), inverse * 2)
        inverse = min(max(inverse, 1 / LARGEST), LARGEST)
        if abs(inverse - before) <= TOLERANCE * before:
            break
    return 1 / inverse


def losses_at(
    temperature: float,
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> CharLosses:
    """Compute the losses of `char_losses` with all logits divided by a temperature."""
    scaled = copy.deepcopy(network)
    with torch.no_grad():
        scaled.output.weight.div_(temperature)
        scaled.output.bias.div_(temperature)
    return char_losses(scaled, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress)


def cross_fitted_losses(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> tuple[CharLosses, tuple[float, float]]:
    """Compute the losses of ids[first:] with each half at the temperature that is fitted to the other half.

    No character is thus scored at a temperature that was fitted to it. Returns the losses and the temperatures at which
    the first and the second half are scored. Raises ValueError for a text with less than 2 characters to score.
    """
    middle = first + (len(ids) - first) // 2
    if not 1 <= first < middle:
        raise ValueError(f"halves need at least 2 characters to score: first is {first}, the text has {len(ids)}")
    first_half = fit_temperature(network, ids[:middle], first, precision=precision, on_progress=on_progress)
    second_half = fit_temperature(network, ids, middle, precision=precision, on_progress=on_progress)
    halves = [
        losses_at(temperature, network, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress)
        for temperature in (second_half, first_half)
    ]
    positions = halves[0].positions
    nats = np.where(positions < middle, halves[0].nats, halves[1].nats)
    return CharLosses(positions, nats), (second_half, first_half)
