"""The synthetic corpus: the states it claims are those its text has, by counting and by the detectors."""

from __future__ import annotations

import numpy as np
from synthetic import SyntheticCorpus, make_corpus

from charrnn.detectors.detector import why_not_scored
from charrnn.detectors.registry import DETECTORS


def test_the_states_are_those_of_the_text_and_those_that_the_detectors_see() -> None:
    corpus = make_corpus(num_chars=4_000, seed=7)
    quoted = [corpus.text[: index + 1].count('"') % 2 == 1 for index in range(len(corpus.text))]
    assert corpus.is_quoted.tolist() == quoted, "every quotation is closed"
    begin = 0
    for line in corpus.text.splitlines(keepends=True):
        here = slice(begin, begin + len(line))
        width = len(line) - len(line.lstrip(" "))
        assert corpus.columns[here].tolist() == [*range(1, len(line)), 0]
        assert corpus.indentation[here].tolist() == [*(min(c, width) for c in range(1, len(line))), width]
        begin += len(line)
    states = {"quote": corpus.is_quoted, "line-position": corpus.columns, "indentation": corpus.indentation}
    for name, state in states.items():
        assert np.array_equal(DETECTORS[name].label(corpus.text), state)


def test_there_is_something_to_find(corpus: SyntheticCorpus) -> None:
    assert "\n\n" in corpus.text and {0, 4, 8, 12} <= set(corpus.indentation.tolist())
    for name in ("quote", "line-position", "indentation", "bracket-depth"):
        assert why_not_scored(DETECTORS[name].label(corpus.text)) is None
    other = make_corpus(with_quotes=False)
    assert '"' not in other.text and not other.is_quoted.any() and other.indentation.max() >= 8
