"""Beam search: the likeliest text rather than a random one.

Shapes: W live beams, V vocabulary, N characters. All beams step together; one `take` per step reorders their states.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.generation.distribution import log_softmax
from charrnn.model.stepper import Stepper

MAX_WIDTH = 4096


@dataclass(frozen=True, slots=True)
class Beam:
    """One text found: its ids (N,) and the model's log-probability of each of them, in nats."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def logprob(self) -> float:
        """Log-probability of the whole text, in nats: what the beams are ranked by."""
        return sum(self.logprobs)


def beam_search(
    stepper: Stepper,
    prime: NDArray[np.integer[Any]],
    *,
    width: int,
    length: int,
    banned: tuple[int, ...] = (),
) -> list[Beam]:
    """Return up to `width` texts of `length` characters after `prime`, likeliest first.

    Keeps the `width` likeliest prefixes at every step (Graves 2012, without a length penalty: all texts are equally
    long). With width >= V^length nothing is ever dropped, so the first beam is the global optimum.
    Raises UsageError for a width outside 1..4096 or a length under 1.
    """
    if not 1 <= width <= MAX_WIDTH:
        raise UsageError(f"--beam is {width}; it must be between 1 and {MAX_WIDTH}. Try 8.")
    if length < 1:
        raise UsageError(f"--length is {length}; beam search needs at least 1 character.")
    logits, state = stepper.read(prime)
    totals = np.zeros(1)
    history: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for step in range(length):
        logprobs = log_softmax(logits)
        candidates = totals[:, None] + logprobs
        candidates[:, list(banned)] = -np.inf
        num_kept = min(width, int(np.isfinite(candidates).sum()))
        best = np.argsort(-candidates, axis=None, kind="stable")[:num_kept]
        parents, chars = np.divmod(best, candidates.shape[1])
        totals = candidates[parents, chars]
        history.append((parents, chars, logprobs[parents, chars]))
        if step + 1 < length:
            logits, state = stepper.step(chars, state.take(parents, axis=2))
    return [_walk_back(history, beam) for beam in range(len(totals))]


def _walk_back(history: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]], beam: int) -> Beam:
    ids, logprobs = [], []
    for parents, chars, step_logprobs in reversed(history):
        ids.append(int(chars[beam]))
        logprobs.append(float(step_logprobs[beam]))
        beam = int(parents[beam])
    return Beam(tuple(reversed(ids)), tuple(reversed(logprobs)))
