"""Build untrained models from random integers: the same on every machine."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from known_weights import draw_weight
from numpy.typing import NDArray

from charrnn.config.settings import Config
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.sampling import Rows, prime_model, seed_of_text
from charrnn.generation.writing import Ending
from charrnn.model.shapes import weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab, code_points

V = 30


def small_config(**changes: Any) -> Config:
    """Return the configuration of a small model and of its training, in which everything random is
    on."""
    model = {
        "cell_type": "lstm",
        "num_layers": 2,
        "hidden_size": 12,
        "embedding_size": 5,
        "precision": "fp32",
    }
    noise = {"dropout": 0.3, "input_dropout": 0.1, "reset_probability": 0.3, "weight_decay": 0.1}
    training = {
        "steps": 60,
        "batch_size": 7,
        "bptt_length": 6,
        "learning_rate": 0.01,
        "weight_average": 0.9,
        "decay_shape": "cosine",
        "decay_share": 1.0,
    }
    return Config(**{**model, **noise, **training, **changes})


TEXTS = {"lstm": "2c326b374be54695", "peephole": "c00f99de4cd8871a", "coupled": "32e10f3e35b74b90"}
TEXTS |= {"mlstm": "ee222d30f90955db", "gru": "ad7228527f7e2876", "rnn": "6b67be331591891c"}
TEXTS |= {"antisymmetric": "3e1ee7f331e4f07d", "unitary": "825a644f9491ee93"}
"""For each cell type, the first 16 digits of the SHA-256 of the ids that `text_hash` generates."""


def hand_built_tensors(config: Config, vocab_size: int = V) -> dict[str, NDArray[Any]]:
    """Return weights that are sums of uniform numbers, as large as those of a trained model."""
    generator = np.random.default_rng(11)
    shapes = weight_shapes(config, vocab_size)
    return {name: draw_weight(name, shape, generator) for name, shape in shapes.items()}


def hand_built_stepper(cell: str, depth: str = "stacked", *, vocab_size: int = V) -> Stepper:
    """Build a stepper of two layers of 24 units."""
    config = Config(
        cell_type=cell, depth=depth, num_layers=2, hidden_size=24, embedding_size=13, dropout=0.0
    )
    return Stepper(config, hand_built_tensors(config, vocab_size), "int8")


def text_hash(cell: str) -> str:
    """Hash 300 characters of three streams with seed 5. It never changes: `--seed` guarantees the
    same text."""
    stepper = hand_built_stepper(cell)
    shapings: list[dict[str, Any]] = [
        {"temperature": 0.8},
        {"temperature": 1.0, "top_k": 5},
        {"temperature": 1.0, "top_p": 0.9, "min_p": 0.01},
    ]
    texts = []
    for index, shaping in enumerate(shapings):
        [text] = draw_texts(stepper, [1, 2], [seed_of_text(5, index)], length=300, **shaping)
        texts.append(text.ids)
    return hashlib.sha256(np.array(texts, np.int64).tobytes()).hexdigest()[:16]


class DrawnIds:
    """The ids of a text while it is drawn, with their log-probabilities and the values of the cell.
    Nothing ends the text before its length."""

    def __init__(self, seed: int, length: int) -> None:
        self.seed = seed
        self.num_left = length
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.values: list[float] = []
        self.dead_end: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return self.num_left == 0

    def end(self, blocked_by: Sequence[str] = ()) -> None:
        """Nothing is kept back."""
        self.dead_end = tuple(blocked_by)
        self.num_left = 0

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        self.ids += ids[: self.num_left]
        self.logprobs += logprobs[: self.num_left]
        self.values += values[: self.num_left]
        self.num_left -= min(len(ids), self.num_left)


def mask_of(ids: Sequence[int], vocab_size: int) -> NDArray[np.bool_]:
    """Return which characters (V,) have one of the ids."""
    mask = np.zeros(vocab_size, np.bool_)
    mask[list(ids)] = True
    return mask


def draw_texts(
    stepper: Any,
    prime: Any,
    seeds: Sequence[int],
    *,
    length: int,
    banned: Sequence[int] = (),
    rules: Rules | None = None,
    **options: Any,
) -> list[DrawnIds]:
    """Draw a text for each seed side by side, after the ids of a prime."""
    if rules is None:
        rules = Rules.of(mask_of(banned, stepper.vocab_size))
    texts: list[Any] = [DrawnIds(seed, length) for seed in seeds]
    rows = Rows(
        prime_model(stepper, np.array(prime)),
        texts=texts,
        ending=Ending(length=length, rules=rules),
        options=SampleOptions(length=length, **options),
        num_chars=length * len(seeds),
        num_rows=len(seeds),
    )
    assert list(rows.written_texts()) == texts
    return texts


def vocab_of(text, *, is_exact=False, **options):
    """The alphabet of a text, as `train` makes it."""
    counts = np.bincount(code_points(text))
    alphabet = "exact" if is_exact else "char"
    return Vocab.from_counts(counts, alphabet=alphabet, **options)
