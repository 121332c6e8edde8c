"""Build runs whose weights come from a formula, so that every machine has the same model and its text is known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config import Config
from charrnn.runs.description import Description
from charrnn.runs.writer import RunWriter
from charrnn.text.vocab import Vocab

LAST_PLACE = 4
"""From this distance in the cycle on all characters are equally unlikely."""


CYCLE = "\nabcdefg"
"""The cycle of the chains whose corpus is drawn by `chain_text`."""


def chain_text(num_chars: int, seed: int = 0) -> str:
    """Draw a text from a chain of order 1: the next character of CYCLE, or by chance (0.2) the one after it."""
    steps = np.random.default_rng(seed).choice([1, 2], num_chars, p=[0.8, 0.2])
    return "".join(CYCLE[place] for place in np.cumsum(steps) % len(CYCLE))


def build_chain(path: Path, cycle: str, *, corpus: Path | None = None, documents: str = "none") -> Path:
    """Save a plain RNN that generates the characters of `cycle` as a Markov chain of order 1, and return its folder.

    The most likely character is always the next one of `cycle`, the second most likely the one after it, and so on, at
    least two nats apart, far more than any rounding. Each character occurs once in `cycle`; one of them should be a
    newline, because a text without a prime starts after one, or with `documents` their END, U+0000. `corpus` is
    recorded as the training text.
    """
    assert len(set(cycle)) == len(cycle)
    vocab = Vocab("char", ("", *sorted(cycle)))
    size = len(vocab)
    config = Config(
        corpus=(str(corpus),) if corpus else (),
        documents=documents,
        column="poem" if documents == "column" else None,
        cell="rnn",
        num_layers=1,
        hidden_size=size,
        embedding_size=size,
        dropout=0.0,
        input_dropout=0.0,
        num_lanes=1,
        bptt_length=2,
        steps=1,
        learning_rate=0.1,
        device="cpu",
        precision="fp32",
        threads=1,
        evaluate_every=1,
        validation_chars=None,
        save_every=1,
    )
    one_hot = np.eye(size, dtype=np.float32)
    place = {character: index for index, character in enumerate(cycle)}
    scores = np.zeros((size, size), np.float32)  # (next character, character): nats below the likeliest
    for following, name in enumerate(vocab.characters):
        for current, before in enumerate(vocab.characters):
            index = place.get(before, 0)
            distance = (place[name] - index - 1) % len(cycle) if name else len(cycle)
            # The square root makes the differences unequal, so that few texts are equally likely.
            scores[following, current] = -min(distance, LAST_PLACE) * (2 + index**0.5)
    weights = {
        "embedding.weight": one_hot,
        "layers.0.weight_ih_l0": 8 * one_hot,  # tanh(8) is 1 to seven digits: the state is the last character.
        "layers.0.weight_hh_l0": np.zeros_like(one_hot),
        "layers.0.bias_ih_l0": np.zeros(size, np.float32),
        "layers.0.bias_hh_l0": np.zeros(size, np.float32),
        "output.weight": scores,
        "output.bias": np.zeros(size, np.float32),
    }
    run = RunWriter.create_at(path)
    description = Description.of(path, config, vocab)
    run.write_description(description)
    state: dict[str, Any] = {"step": 1, "best_nats": 1.0, "best_step": 1}
    if corpus is not None:
        state["corpus_digest"] = hashlib.sha256(corpus.read_bytes()).hexdigest()
    run.commit(1, weights, {"count": np.array(1)}, state, description, keep=1)
    return path
