"""Characters drawn one after another, without end."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import Floats, Shaping, log_softmax, next_char_probs
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab


def draw(probs: Floats, generator: np.random.Generator) -> int:
    """Draw one id from probabilities (V,) by inverting their running sum at one uniform number."""
    cumulative = np.cumsum(probs)
    drawn = int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))
    # A uniform number next to 1 can round up to the total itself; the last possible character owns that edge.
    return min(drawn, int(np.flatnonzero(probs)[-1]))


def sample_ids(
    stepper: Stepper, prime: NDArray[np.integer[Any]], shaping: Shaping, seed: int
) -> Iterator[tuple[int, float]]:
    """Yield (id, log-probability) for ever, after reading the ids `prime` (N,), N >= 1, from a zero state.

    The log-probability is the model's own, in nats, before any shaping. One uniform number per character comes from
    PCG64 seeded with `seed`, so the same seed draws the same text wherever it goes.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    logits, state = stepper.read(prime)
    while True:
        char = draw(next_char_probs(logits, shaping)[0], generator)
        yield char, float(log_softmax(logits)[0, char])
        logits, state = stepper.step(np.array([char]), state)


def start_ids(vocab: Vocab) -> NDArray[np.uint16]:
    """What a model reads when nothing else comes before its text: a newline, or else its first character."""
    newline = vocab.encode("\n")
    return newline if vocab.kind == "byte" or newline[0] != 0 else np.ones(1, np.uint16)


def unwritable_ids(vocab: Vocab) -> tuple[int, ...]:
    """Ids that spell no character, and so are never drawn: the unknown symbol."""
    return (0,) if vocab.kind == "char" else ()


def sample_text(
    stepper: Stepper,
    vocab: Vocab,
    prime: NDArray[np.integer[Any]],
    *,
    shaping: Shaping,
    seed: int,
    length: int,
) -> Iterator[tuple[str, float]]:
    """Yield `length` pieces of text after the ids `prime`, each with its id's log-probability in nats.

    A piece is a character; with the byte alphabet it is "" until the bytes of a character are complete.
    """
    shaping = replace(shaping, banned=(*shaping.banned, *unwritable_ids(vocab)))
    decoder = vocab.decoder()
    for index, (char, logprob) in enumerate(islice(sample_ids(stepper, prime, shaping, seed), length)):
        piece = decoder.feed(char)
        yield piece + decoder.finish() if index == length - 1 else piece, logprob
