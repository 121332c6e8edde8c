"""Small models that a page or a module can run, and options of texts that they write."""

from dataclasses import replace

import numpy as np
import pytest

from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.model.shapes import weight_shapes
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import WordList, words_in

LENGTH = 60
LETTERS = "\n !abcdefghijklmnop\u00e9\u2026"


def made(vocab=None, *, seed=0, name="made", **settings):
    """A model whose weights come from a formula, large enough that its characters are neither
    certain nor random."""
    vocab = vocab or Vocab("char", ("", *LETTERS))
    sizes = {"num_layers": 1, "hidden_size": 20, "embedding_size": 5, "cell_type": "lstm"}
    config = Config(alphabet=vocab.kind, **(sizes | settings))
    generator = np.random.default_rng(seed)
    tensors = {}
    for tensor, shape in weight_shapes(config, len(vocab)).items():
        tensors[tensor] = (generator.random(shape) * 2 - 1).astype(np.float32)
        if tensor.startswith("output"):
            tensors[tensor] *= 3
    if config.end_id is not None:
        tensors["output.bias"][config.end_id] = -5  # long documents
    return Model(config, vocab, tensors, name=name, step=12, val_nats=1.25)


DOCUMENTS = Vocab("char", ("", "\0", *LETTERS, "\udc80"))
MODELS = {
    "lstm": lambda: made(cell_type="lstm"),
    "gru": lambda: made(cell_type="gru", hidden_size=19),
    "rnn": lambda: made(cell_type="rnn", num_layers=3, depth="residual", sum_outputs=True),
    "large embedding": lambda: made(cell_type="gru", embedding_size=40),
    "one-hot": lambda: made(cell_type="lstm", embedding_size="one-hot"),
    "zoneout": lambda: made(cell_type="lstm", num_layers=2, zoneout=0.15, initial_state="learned"),
    "bytes": lambda: made(Vocab.of_bytes(), cell_type="lstm"),
    "documents": lambda: made(
        DOCUMENTS, cell_type="gru", documents="lines", initial_state="learned"
    ),
    "paragraphs": lambda: made(DOCUMENTS, cell_type="lstm", documents="blank-lines"),
    "without unknown": lambda: made(Vocab("char", tuple(LETTERS)), cell_type="lstm"),
}
USUAL = ("lstm", "gru", "documents")
"""Models of which every run of the tests writes texts in node, and `-m slow` of the others."""
CASES_OF_MODELS = [
    pytest.param(name, marks=[] if name in USUAL else [pytest.mark.slow]) for name in MODELS
]
"""The names of all models, for a test of each."""


def with_words(model, text="Bad cage, a fig fog pod! a-b don c\u00e9; bad'g ELK egg"):
    """The model with the words of a text in its file."""
    return replace(model, words=WordList.of(words_in(text), model.vocab).to_bytes())


WORDED = {
    "letters": lambda: with_words(
        made(Vocab("char", ("", "\n", *" '-!,ABCDEFG", *LETTERS[3:])), cell_type="lstm")
    ),
    "documents": lambda: with_words(MODELS["documents"]()),
    "without unknown": lambda: with_words(MODELS["without unknown"]()),
}
"""Models whose files have words."""


def case(**changes):
    return {
        "prime": None,
        "clamps": [],
        "temperature": 1.0,
        "seed": "1",
        "length": LENGTH,
    } | changes


def module_case(one):
    """The options of a case as a module has them: it clamps no cells."""
    options = {name: one[name] for name in ("prime", "temperature", "seed", "length")}
    if "known_words" in one:
        options["knownWords"] = one["known_words"]
    return options


WRITTEN = {
    "greedy": case(temperature=0.0, seed="0"),
    "cool": case(temperature=0.5),
    "usual": case(seed="2"),
    "hot": case(temperature=1.5, seed="3"),
    "prime": case(prime="bad\n caf\u00e9", seed="12345678901234567890123"),
    "clamps": case(prime="a", clamps=[(0, 3, 20), (0, 4, -7), (0, 0, 0)], temperature=0.8),
    "almost greedy": case(prime="ab", temperature=1e-300, length=20),
    "empty": case(length=0),
    "without a prime": case(seed="4"),
    "accent of its own": case(prime="cafe\u0301"),
}


KNOWN = {
    "greedy": case(temperature=0.0, seed="0", known_words=True),
    "usual": case(seed="2", known_words=True, length=300),
    "amid a word": case(prime="bad\n ca", seed="3", known_words=True),
    "behind an unknown word": case(prime="a ggg", seed="3", known_words=True),
    "any words": case(seed="2"),
}
