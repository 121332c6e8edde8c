"""The synthetic corpus: the states it claims are those that the detectors see, and there are
some."""

import numpy as np
from synthetic import make_corpus

from charrnn.detectors.detector import why_not_scored
from charrnn.detectors.registry import DETECTORS


def test_its_states_are_those_that_the_detectors_see():
    corpus = make_corpus(num_chars=4_000, seed=7)
    states = {
        "quote": corpus.is_quoted,
        "line-position": corpus.columns,
        "indentation": corpus.indentation,
    }
    for name, state in states.items():
        assert np.array_equal(DETECTORS[name].label(corpus.text), state)


def test_there_is_something_to_find(corpus):
    assert "\n\n" in corpus.text and {0, 4, 8, 12} <= set(corpus.indentation.tolist())
    for name in ("quote", "line-position", "indentation", "bracket-depth"):
        assert why_not_scored(DETECTORS[name].label(corpus.text)) is None
    other = make_corpus(with_quotes=False)
    assert '"' not in other.text and not other.is_quoted.any() and other.indentation.max() >= 8
