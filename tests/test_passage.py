"""The stretch of a text that shows a cell at work."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.cells.records import CellScore
from charrnn.cells.values import (
    MAX_LENGTH,
    NUM_CANDIDATES,
    NUM_LINES,
    choose_passage,
    choose_passages,
    contrasting_passages,
    most_changes,
)

QUIET = "a plain line of words\n"


def alike(part: slice) -> float:
    """The agreement where every passage is as good as another."""
    return 0.5


def test_the_lines_around_the_only_quotation_are_chosen() -> None:
    text = QUIET * 40 + 'she said "come in out of the rain"\n' + QUIET * 40
    labels = np.zeros(len(text), bool)
    begin = text.index('"')
    labels[begin : text.rindex('"')] = True
    passage = choose_passage(text, labels, 0, alike)
    assert passage.start <= begin < text.rindex('"') < passage.stop
    assert text[passage].count("\n") == NUM_LINES
    assert passage.start == 0 or text[passage.start - 1] == "\n"


@pytest.mark.parametrize("text", ["b" * 3000, "one\ntwo\n", "x"])
def test_texts_with_few_lines_give_a_passage_too(text: str) -> None:
    labels = np.arange(len(text)) % 7 == 0
    passage = choose_passage(text, labels, len(text) // 2, alike)
    assert len(text) // 2 <= passage.start < passage.stop <= len(text)
    assert passage.stop - passage.start <= MAX_LENGTH
    assert passage.stop - passage.start >= min(100, len(text) // 2)


def test_a_short_line_at_the_end_beats_no_passage_of_many_lines() -> None:
    text = "Nobody spoke.\n" * 20 + "a\n"
    ends_of_lines = np.array([character == "\n" for character in text])
    assert text[choose_passage(text, ends_of_lines, 0, alike)].count("\n") == NUM_LINES


def test_the_label_changes_in_every_candidate_and_most_in_the_first() -> None:
    # One span of half a passage has the largest variance; three short ones show more.
    text = "0123456789" * 4 + "\n"
    block = (text * NUM_LINES) * 3
    labels = np.zeros(len(block), bool)
    third = len(block) // 3
    labels[: third // 2] = True
    for begin in (0, 60, 120):
        labels[third + begin : third + begin + 30] = True
    candidates = contrasting_passages(block, labels, 0)

    def contrast(start: int) -> float:
        part = labels[start : start + third].astype(int)
        return float(part.var() * min(6, sum(before != after for before, after in itertools.pairwise(part))))

    starts = range(0, len(block) - third + 1, len(text))
    assert contrast(candidates[0].start) == max(map(contrast, starts)) > 1.5 * contrast(0)
    ends = sorted((part.start, part.stop) for part in candidates)
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(ends)), "they do not overlap"
    assert all(labels[part].any() and not labels[part].all() for part in candidates)


def test_of_the_candidates_the_typical_one_is_shown_not_the_best() -> None:
    text = ('she said "come in" and "sit" or "go"\n' + QUIET * (NUM_LINES - 1)) * 30
    labels = np.cumsum([character == '"' for character in text]) % 2 == 1
    candidates = contrasting_passages(text, labels, 0)
    assert len(candidates) == NUM_CANDIDATES
    agreements = dict(zip([part.start for part in candidates], np.linspace(0.1, 0.9, NUM_CANDIDATES), strict=True))
    for sign in (1, -1):
        chosen = choose_passage(text, labels, 0, lambda part, sign=sign: float(sign * agreements[part.start]))  # type: ignore[misc]
        assert agreements[chosen.start] == pytest.approx(0.5)


@pytest.mark.parametrize("is_count", [False, True])
@pytest.mark.parametrize("polarity", [-1, 1])
def test_agreement_is_the_score_of_the_shown_cell_in_the_passage(is_count: bool, polarity: int) -> None:
    text = ('say "it" or "so" or "go"\n' * NUM_LINES) * 6
    inside = np.cumsum([character == '"' for character in text]) % 2 == 1
    labels = np.arange(len(text)) % 25 if is_count else inside
    half, size = len(text) // 2, len(text) // 6
    # Of the three passages of the scoring half the cell follows the last perfectly, the first half, the middle not.
    noise = np.random.default_rng(0).permutation(labels.astype(float))
    values = labels.astype(np.float32) * polarity
    values[half : half + size : 2] = noise[half : half + size : 2]
    values[half + size : half + 2 * size] = noise[half + size : half + 2 * size]
    cells = np.stack([np.zeros_like(values), values], axis=1)

    def read(begin: int, end: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        for index in reversed(range(begin, end)):
            yield np.array([index - begin]), cells[[index]]

    score = CellScore(detector="x", layer=1, unit=0, polarity=polarity, num_positive=1)
    (part,) = choose_passages(text, [(score, labels)], half, read, num_units=1)
    assert part.start < half + size / 2, "the one in between"


@pytest.mark.parametrize("first", [0, 40])
def test_the_ablated_segment_has_the_most_label_changes(first: int) -> None:
    labels = np.random.default_rng(1).random(300) < np.linspace(0, 0.5, 300) ** 2
    labels[5:30:2] = True
    for length in (1, 7, 60, 300 - first):
        begin = most_changes(labels, first, length)
        assert first <= begin <= 300 - length

        def num_changes(start: int, length: int = length) -> int:
            return int((np.diff(labels[start : start + length].astype(int)) != 0).sum())

        assert num_changes(begin) == max(map(num_changes, range(first, 300 - length + 1)))
