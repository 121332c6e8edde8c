"""Build runs whose weights come from a formula, so that every machine has the same model and its
text is known."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from known_weights import (
    CYCLE,
    QUOTING_CHARACTERS,
    Weights,
    chain_text,
    chain_weights,
    quoting_text,
    quoting_weights,
)
from saved_runs import SMALLEST

from charrnn.config.settings import Config
from charrnn.runs.checkpoint import RunDescription
from charrnn.runs.writer import RunWriter
from charrnn.text.vocab import Vocab


def build_chain(
    path: Path,
    cycle: str,
    *,
    corpus: Path | None = None,
    documents: str = "none",
    clean: bool = True,
) -> Path:
    """Save the model of `chain_weights`, and return its folder. `corpus` is recorded as the
    training text.

    Each character occurs once in `cycle`; one is a newline, after which a text without a prime
    starts (or after END).
    """
    assert len(set(cycle)) == len(cycle)
    column = "poem" if documents == "column" else None
    settings = {"documents": documents, "column": column, "clean": clean}
    return _save(path, cycle, chain_weights(cycle), corpus, **settings)


def build_quoting(path: Path, corpus: Path) -> Path:
    """Save the model of `quoting_weights`, and return its folder. `corpus` is a file of
    `quoting_text`."""
    return _save(path, QUOTING_CHARACTERS, quoting_weights(), corpus)


def build_chain_and_quoting(folder: Path) -> None:
    """Save the runs `chain` and `quoting` below `checkpoints/` of a folder, with their texts in
    it."""
    (folder / "chain.txt").write_text(chain_text(12_000), encoding="utf-8")
    (folder / "quotes.txt").write_text(quoting_text(21_000), encoding="utf-8")
    build_chain(folder / "checkpoints" / "chain", CYCLE, corpus=folder / "chain.txt")
    build_quoting(folder / "checkpoints" / "quoting", folder / "quotes.txt")


def _save(
    path: Path, characters: str, weights: Weights, corpus: Path | None, **settings: Any
) -> Path:
    """Save a plain RNN as a run of one step, and return its folder."""
    num_chars, size = weights["output.weight"].shape
    settings |= {"cell_type": "rnn", "hidden_size": size, "embedding_size": num_chars}
    machine = {"device": "cpu", "precision": "fp32"}
    steps = {
        "corpus": (str(corpus),) if corpus else (),
        "steps": 1,
        "evaluate_every": 1,
        "save_every": 1,
    }
    run = RunWriter.create_at(path)
    vocab = Vocab("char", ("", *sorted(characters)))
    description = RunDescription.of(path, Config(**SMALLEST, **machine, **steps, **settings), vocab)
    run.write_description(description)
    state: dict[str, Any] = {"step": 1, "best_nats": 1.0, "best_step": 1}
    if corpus is not None:
        state["corpus_digest"] = hashlib.sha256(corpus.read_bytes()).hexdigest()
    run.commit(
        step=1,
        model=weights,
        training={"count": np.array(1)},
        state=state,
        description=description,
        keep=1,
    )
    return path
