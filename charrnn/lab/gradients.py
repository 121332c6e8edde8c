"""How far gradients reach back in time (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013).

Shapes: N characters, K lags, T time, B windows, L, S and H as in `model.network`.
"""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.cells.records import MAX_LAG, GradientReach
from charrnn.errors import DataError, UsageError, named
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.text.encoded import EncodedText
from charrnn.text.vocab import IdArray

NUM_LOSSES = 128
"""Losses whose gradients are averaged, at most: more take longer and hardly change the mean."""
NUM_AT_ONCE = 16
"""B: windows that are differentiated at once; each keeps the activations of all its K steps."""


def measure_reach(
    network: CharRNN,
    text: EncodedText,
    *,
    max_lag: int = MAX_LAG,
    name: str = "model",
    is_untrained: bool = False,
    on_progress: Callable[[int], object] = lambda _: None,
) -> GradientReach:
    """Compute the mean norm of d loss_t / d state_{t-k} for k from 1 to `max_lag`, per layer.

    loss_t is -ln p(character t + 1) in nats, for up to NUM_LOSSES characters t spread over the text. state_{t-k} is all
    that a layer carries from character t - k to the next one (h and c; in a dilated layer also the queue of its latest
    states), with the states of the other layers fixed. Each window is warmed up on up to 512 characters in float32; the
    rest is computed in float64, because the norms fall far below the resolution of float32.

    `on_progress` is called with the number of losses computed since its last call. Raises UsageError for a `max_lag`
    under 1, DataError for a text too short.
    """
    ids, first = text.ids, text.first
    if max_lag < 1:
        raise UsageError(f"{named('max_lag')} is {max_lag}; it must be at least 1.")
    last = len(ids) - 2
    if last < max(first, max_lag):
        raise DataError(
            f"A lag of {max_lag} characters needs a text of at least 2, and with its context of at least "
            f"{max_lag + 2}; it has {len(ids) - first}, and {len(ids)} with its context. "
            f"Give a longer {named('text')}."
        )
    # In a short text, half of the characters warm up the state.
    earliest = max(first, max_lag + min(WARM_UP, (last - max_lag) // 2))
    warm_up = min(WARM_UP, earliest - max_lag + 1)
    chosen = np.unique(np.linspace(earliest, last, NUM_LOSSES).astype(np.int64))
    exact = deepcopy(network).double().requires_grad_(False)
    total = torch.zeros(max_lag, len(network.layers), dtype=torch.float64)
    for some in np.split(chosen, range(NUM_AT_ONCE, len(chosen), NUM_AT_ONCE)):
        windows = _windows(ids, some, warm_up + max_lag)
        with torch.no_grad():
            _, state = network(windows[:warm_up], network.initial_state(len(some)))
        total += _norms(exact, windows[warm_up:], state.double()).sum(-1)
        on_progress(len(some))
    return GradientReach(
        name=name,
        lags=tuple(range(1, max_lag + 1)),
        norms=tuple(tuple(norms) for norms in (total / len(chosen)).T.tolist()),
        num_losses=len(chosen),
        is_untrained=is_untrained,
    )


def _windows(ids: IdArray, chosen: NDArray[np.int64], length: int) -> Tensor:
    """Return (length + 1, B): the `length` characters that end with each chosen one (B,), and the one after it."""
    return torch.from_numpy(ids[chosen + np.arange(1 - length, 2)[:, None]].astype(np.int64))


def _norms(network: CharRNN, ids: Tensor, state: Tensor) -> Tensor:
    """Compute the norms (K, L, B), lag 1 first, of the gradients of the last character's loss by the states before it.

    ids (K + 1, B) are read from `state` (L, S, B, H), whose last ids are the ones to predict.
    """
    states = []
    state = state.requires_grad_()
    for char in ids[:-1]:
        states.append(state)
        logits, state = network(char[None], state)
    loss = cross_entropy(logits[0], ids[-1], reduction="sum")
    gradients = torch.autograd.grad(loss, states[::-1])
    return torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 3)) for gradient in gradients])
