"""Weights from formulas, without charrnn, and texts that they predict, everywhere the same. H
units, V characters."""

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]
CYCLE = "\nabcdefg"
"""The cycle of the chains whose corpus is drawn by `chain_text`."""
LAST_PLACE = 4
"""From this distance in the cycle on all characters are equally unlikely."""
QUOTING_CHARACTERS = "abcxyz “”\n"
QUOTING_UNIT = 5
"""The unit of `quoting_weights` that is high inside quotations."""


def chain_text(num_chars: int) -> str:
    """Draw a text from a chain of order 1: the next character of CYCLE, or by chance (0.2) the one
    after it."""
    steps = np.random.default_rng(0).choice([1, 2], num_chars, p=[0.8, 0.2])
    return "".join(CYCLE[place] for place in np.cumsum(steps) % len(CYCLE))


def draw_weight(
    name: str, shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Draw a weight as sums of random integers, as large as those of a trained model."""
    if name.endswith("permutation"):
        return generator.permutation(shape[0]).astype(np.float32)

    values = generator.integers(-(2**20), 2**20, (*shape, 4)).sum(axis=-1) / 2**20
    fan_in = 4
    if "embedding" in name:
        fan_in = 1
    elif len(shape) > 1:
        fan_in = shape[-1]
    values = values * 2.0 ** round(1 - np.log2(fan_in) / 2)
    if name.endswith("modrelu_bias"):
        values = -np.abs(values) / 8
    return values.astype(np.float32)


def chain_weights(cycle: str) -> Weights:
    """Return a plain RNN that generates the characters of `cycle` as a Markov chain of order 1.

    The most likely character is always the next one of `cycle`, the second most likely the one
    after it, and so on, at least two nats apart, far more than any rounding.
    """
    characters = ["", *sorted(cycle)]
    size = len(characters)
    scores = np.zeros((size, size))  # (next character, character): nats below the likeliest
    for row, following in enumerate(characters):
        for column, current in enumerate(characters):
            index = cycle.index(current) if current else 0
            distance = (
                (cycle.index(following) - index - 1) % len(cycle) if following else len(cycle)
            )
            # The square root makes the differences unequal, so that few texts are equally likely.
            scores[row, column] = -min(distance, LAST_PLACE) * (2 + index**0.5)
    # tanh(8) is 1 to seven digits: the state is the last character.
    return _plain(8 * np.eye(size), np.zeros((size, size)), scores)


def quoting_text(num_chars: int, seed: int = 0) -> str:
    """Draw a text whose words are of a, b and c outside quotations and of x, y and z inside."""
    draw = random.Random(seed)
    parts: list[str] = []
    while sum(map(len, parts)) < num_chars:
        words = [
            " ".join(
                "".join(draw.choices(letters, k=draw.randint(2, 6)))
                for _ in range(draw.randint(2, 5))
            )
            for letters in ("abc", "xyz")
        ]
        parts += [words[0], " “", words[1], "” " if draw.random() < 0.7 else "”\n"]
    return "".join(parts)[:num_chars]


def quoting_weights() -> Weights:
    """Return a plain RNN whose unit QUOTING_UNIT is high inside quotations.

    “ sets the unit, ” clears it, and it keeps its sign otherwise. It promotes the letters x, y and
    z and suppresses a, b and c. The other units are the last character.
    """
    characters = ["", *sorted(QUOTING_CHARACTERS)]
    size = len(characters) + 1
    units = [unit for unit in range(size) if unit != QUOTING_UNIT]
    inputs, recurrent, scores = (
        np.zeros((size, size - 1)),
        np.zeros((size, size)),
        np.zeros((size - 1, size)),
    )
    inputs[units, range(size - 1)] = 1
    inputs[QUOTING_UNIT, characters.index("“")], inputs[QUOTING_UNIT, characters.index("”")] = 8, -8
    recurrent[QUOTING_UNIT, QUOTING_UNIT] = 2
    for character in "abcxyz":
        scores[characters.index(character), QUOTING_UNIT] = 3 if character in "xyz" else -3
    return _plain(inputs, recurrent, scores)


def _plain(inputs: NDArray[Any], recurrent: NDArray[Any], scores: NDArray[Any]) -> Weights:
    """Name the weights of a plain RNN, whose embedding is one-hot and whose biases are 0."""
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
    return {name: np.ascontiguousarray(values, np.float32) for name, values in weights.items()}
