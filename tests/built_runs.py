"""Build runs whose weights come from a formula, so that every machine has the same model and its text is known."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from saved_runs import SMALLEST

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
    column = "poem" if documents == "column" else None
    sizes = {"hidden_size": size, "embedding_size": size}
    config = _small_config(corpus, documents=documents, column=column, cell="rnn", **sizes)
    place = {character: index for index, character in enumerate(cycle)}
    scores = np.zeros((size, size), np.float32)  # (next character, character): nats below the likeliest
    for following, name in enumerate(vocab.characters):
        for current, before in enumerate(vocab.characters):
            index = place.get(before, 0)
            distance = (place[name] - index - 1) % len(cycle) if name else len(cycle)
            # The square root makes the differences unequal, so that few texts are equally likely.
            scores[following, current] = -min(distance, LAST_PLACE) * (2 + index**0.5)
    # tanh(8) is 1 to seven digits: the state is the last character.
    return _save(path, config, vocab, 8 * np.eye(size), np.zeros((size, size)), scores, corpus)


QUOTING_UNIT = 5
"""The unit of `build_quoting` that is high inside quotations."""


def quoting_text(num_chars: int, seed: int = 0) -> str:
    """Draw a text whose words are of a, b and c outside quotations and of x, y and z inside."""
    draw = np.random.default_rng(seed)
    parts: list[str] = []

    def words(letters: str) -> str:
        return " ".join("".join(draw.choice([*letters], draw.integers(2, 7))) for _ in range(draw.integers(2, 6)))

    while sum(map(len, parts)) < num_chars:
        parts += [words("abc"), " “", words("xyz"), "” " if draw.random() < 0.7 else "”\n"]
    return "".join(parts)[:num_chars]


def build_quoting(path: Path, corpus: Path) -> Path:
    """Save a plain RNN whose unit QUOTING_UNIT is high inside quotations, and return its folder.

    “ sets the unit, ” clears it, and it keeps its sign otherwise. It promotes the letters x, y and z and suppresses a,
    b and c. The other units are the last character. `corpus` is a file of `quoting_text`.
    """
    vocab = Vocab("char", ("", *sorted(set("abcxyz “”\n"))))
    num_chars, size = len(vocab), len(vocab) + 1
    config = _small_config(corpus, cell="rnn", hidden_size=size, embedding_size=num_chars)
    place = {character: index for index, character in enumerate(vocab.characters)}
    units = [unit for unit in range(size) if unit != QUOTING_UNIT]
    inputs, recurrent = np.zeros((size, num_chars), np.float32), np.zeros((size, size), np.float32)
    inputs[units, range(num_chars)] = 1
    inputs[QUOTING_UNIT, place["“"]], inputs[QUOTING_UNIT, place["”"]] = 8, -8
    recurrent[QUOTING_UNIT, QUOTING_UNIT] = 2
    scores = np.zeros((num_chars, size), np.float32)  # (next character, unit)
    for characters, score in (("xyz", 3), ("abc", -3)):
        scores[[place[character] for character in characters], QUOTING_UNIT] = score
    return _save(path, config, vocab, inputs, recurrent, scores, corpus)


def _small_config(corpus: Path | None, **settings: Any) -> Config:
    machine = {"device": "cpu", "precision": "fp32", "threads": 1}
    run = {"corpus": (str(corpus),) if corpus else (), "steps": 1, "evaluate_every": 1, "save_every": 1}
    return Config(**SMALLEST, **machine, **run, **settings)


def _save(
    path: Path,
    config: Config,
    vocab: Vocab,
    inputs: NDArray[Any],
    recurrent: NDArray[Any],
    scores: NDArray[Any],
    corpus: Path | None,
) -> Path:
    """Save a run of one step, whose embedding is one-hot and whose biases are 0, and return its folder."""
    num_chars, size = scores.shape
    weights = {
        "embedding.weight": np.eye(num_chars),
        "layers.0.weight_ih_l0": inputs,
        "layers.0.weight_hh_l0": recurrent,
        "layers.0.bias_ih_l0": np.zeros(size),
        "layers.0.bias_hh_l0": np.zeros(size),
        "output.weight": scores,
        "output.bias": np.zeros(num_chars),
    }
    run = RunWriter.create_at(path)
    description = Description.of(path, config, vocab)
    run.write_description(description)
    state: dict[str, Any] = {"step": 1, "best_nats": 1.0, "best_step": 1}
    if corpus is not None:
        state["corpus_digest"] = hashlib.sha256(corpus.read_bytes()).hexdigest()
    tensors = {name: value.astype(np.float32) for name, value in weights.items()}
    run.commit(1, tensors, {"count": np.array(1)}, state, description, keep=1)
    return path
