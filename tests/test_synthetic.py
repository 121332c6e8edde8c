"""The synthetic corpus: the states it claims are those its text has, by a definition of their own and by the detectors.

N characters.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import SyntheticCorpus, make_corpus

from charrnn.detectors.detector import why_not_scored
from charrnn.detectors.registry import DETECTORS
from charrnn.detectors.source import looks_like_source


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    first, again, other = make_corpus(seed=3), make_corpus(seed=3), make_corpus(seed=4)
    assert first.text == again.text
    assert np.array_equal(first.is_quoted, again.is_quoted)
    assert first.text != other.text
    assert len(make_corpus(num_chars=50_000).text) >= 50_000


def test_every_character_has_every_state(corpus: SyntheticCorpus) -> None:
    assert {len(corpus.text)} == {len(corpus.is_quoted), len(corpus.columns), len(corpus.indentation)}


def quoted_by_counting(text: str) -> NDArray[np.bool_]:
    """Inside after an odd number of marks; every quotation of this corpus is closed."""
    return np.array([text[: index + 1].count('"') % 2 == 1 for index in range(len(text))])


def test_the_states_are_those_of_the_text() -> None:
    corpus = make_corpus(num_chars=4_000, seed=7)
    assert np.array_equal(corpus.is_quoted, quoted_by_counting(corpus.text))
    begin = 0
    for line in corpus.text.splitlines(keepends=True):
        here = slice(begin, begin + len(line))
        width = len(line) - len(line.lstrip(" "))
        assert line.endswith("\n")
        assert corpus.columns[here].tolist() == [*range(1, len(line)), 0]
        assert corpus.indentation[here].tolist() == [*(min(c, width) for c in range(1, len(line))), width]
        begin += len(line)


@pytest.mark.parametrize(
    ("detector", "state"), [("quote", "is_quoted"), ("line-position", "columns"), ("indentation", "indentation")]
)
def test_the_detectors_see_the_same_states(corpus: SyntheticCorpus, detector: str, state: str) -> None:
    assert np.array_equal(DETECTORS[detector].label(corpus.text), getattr(corpus, state))


def test_there_is_something_to_find(corpus: SyntheticCorpus) -> None:
    text = corpus.text
    assert "\n\n" in text
    assert (corpus.is_quoted & (np.array(list(text)) == "\n")).any(), "a quotation goes on over a line end"
    assert {0, 4, 8, 12} <= set(corpus.indentation.tolist())
    assert looks_like_source(text)
    for name in ("quote", "line-position", "indentation", "bracket-depth"):
        assert why_not_scored(DETECTORS[name].label(text)) is None
    assert math.log(len(set(text))) > corpus.unigram_nats() > 2.0


def test_without_quotes_there_are_none_and_the_rest_stays() -> None:
    corpus = make_corpus(with_quotes=False)
    assert '"' not in corpus.text
    assert not corpus.is_quoted.any()
    assert "\n\n" in corpus.text
    assert corpus.indentation.max() >= 8


def test_the_unigram_entropy_is_that_of_the_counts() -> None:
    state = np.zeros(4, np.int64)
    assert SyntheticCorpus("aabb", state == 1, state, state).unigram_nats() == pytest.approx(math.log(2))
    assert SyntheticCorpus("aaab", state == 1, state, state).unigram_nats() == pytest.approx(
        -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    )
