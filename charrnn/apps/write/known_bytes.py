"""Which characters a model has learned: of bytes, which all are in the alphabet, its predictions tell."""

import numpy as np

from charrnn.apps.write.substitution import KnownCharacters
from charrnn.generation.distribution import next_char_probs
from charrnn.generation.options import Shaping
from charrnn.generation.sampling import generator_of, start_ids
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

NUM_CHARS = 400
"""Characters that a byte model writes to show what it has learned."""
RATIO = 4.0
"""How many times as probable as an impossible byte one is that the model has seen.

A model of War and Peace gives 2e-7 to bytes that it never saw and 3e-5 to the first byte of the 14 accented letters
among its 3.2 million characters.
"""
_IMPOSSIBLE = (0xC0, 0xC1, *range(0xF5, 0x100))
"""Bytes that no UTF-8 text has."""


def known_characters(stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> KnownCharacters:
    """Return the characters that a model has learned.

    A byte model writes `NUM_CHARS` characters at temperature 1. A byte whose mean probability meanwhile is below
    `RATIO` times the median of the bytes that no UTF-8 text has is taken for one that it never saw. If most lines end
    with CRLF, so do those of the model's text.
    """
    if vocab.kind == "char":
        return KnownCharacters(vocab)
    generator, shaping = generator_of(0, 0), Shaping()
    logits, state = stepper.read(start_ids(vocab, end_id))
    total, written = np.zeros(len(vocab)), bytearray()
    for _ in range(NUM_CHARS):
        probs = next_char_probs(logits, shaping)[0]
        total += probs
        id = min(int(np.searchsorted(np.cumsum(probs), generator.random())), len(vocab) - 1)
        written.append(id)
        logits, state = stepper.step(np.array([id]), state)
    least = RATIO * float(np.median(total[list(_IMPOSSIBLE)]))
    # Not what every keyboard writes, for which there are no other characters.
    unseen = frozenset(np.flatnonzero(total < least).tolist()) - {*range(0x20, 0x7F), *b"\t\n\r"}
    newline = "\r\n" if 2 * written.count(b"\r\n") > written.count(b"\n") else "\n"
    return KnownCharacters(vocab, newline, unseen)
