"""The passages that show a cell: against a loop over all values, and by their labels."""

from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.cells.passages import (
    CHARS_AFTER,
    CHARS_BEFORE,
    NUM_CANDIDATES,
    NUM_DECILES,
    NUM_EXTREMES,
    NUM_LINES,
    choose_passage,
    contrasting_passages,
    extreme_passages,
    measure_values,
    number_sentences,
)
from charrnn.cells.records import NUM_BINS
from charrnn.statistics.agreement import measure_score

WORDS = ("lamp ", "river. ", '"Stone!" ', "tree\n", "house\n\n", "a ")


def choose_by_loop(values, text, drawn):
    """Choose (kind, rank, index) by looking at every value, with Python's own sorting."""
    sentences = number_sentences(text).tolist()
    order = sorted(drawn, key=lambda index: float(values[index]))
    candidates = [("top", rank, order[::-1]) for rank in range(1, NUM_EXTREMES + 1)]
    candidates += [("bottom", rank, order) for rank in range(1, NUM_EXTREMES + 1)]
    for decile in range(NUM_DECILES, 0, -1):
        begin = len(order) * (decile - 1) // NUM_DECILES
        end = len(order) * decile // NUM_DECILES
        middle = (begin + end) // 2
        candidates.append(("decile", decile, order[middle:end] + order[begin:middle][::-1]))

    chosen = []
    for kind, rank, indices in candidates:
        for index in indices:
            near = [abs(index - other) < CHARS_BEFORE + CHARS_AFTER for _, _, other in chosen]
            same = [sentences[index] == sentences[other] for _, _, other in chosen]
            if not any(near + same):
                chosen.append((kind, rank, index))
                break
    return chosen


@given(st.integers(1, 4_000), st.integers(0, 2**31), st.sampled_from([2, 30, 2**11]))
@settings(max_examples=25)
def test_the_passages_are_those_of_a_loop_over_all_values(num_chars, seed, num_levels):
    generator = np.random.default_rng(seed)
    text = "".join(generator.choice(WORDS, num_chars))[:num_chars]
    levels = np.round(np.tanh(generator.normal(size=num_chars)) * num_levels)
    values = (levels / num_levels).astype(np.float16).astype(np.float32)
    drawn = generator.permutation(num_chars)
    found = list(extreme_passages(values, text, number_sentences(text), drawn))
    expected = choose_by_loop(values, text, drawn.tolist())
    assert [(one.kind, one.rank, one.index) for one in found] == expected
    check_places(found, values)


def check_places(found, values):
    """Each contains the character that it was chosen for, and no two overlap."""
    places = sorted((one.begin, one.begin + len(one.text)) for one in found)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(places))
    for one in found:
        assert max(0, one.index - CHARS_BEFORE) <= one.begin <= one.index
        end = one.begin + len(one.text)
        assert one.index < end <= min(len(values), one.index + CHARS_AFTER)
        assert one.value == values[one.index]


def test_the_first_candidate_has_the_largest_contrast():
    # One span of half a passage has the largest variance; three short ones show more.
    line = "0123456789" * 4 + "\n"
    text = line * NUM_LINES * 3
    third = len(text) // 3
    labels = np.zeros(len(text), bool)
    labels[: third // 2] = True
    for begin in (0, 60, 120):
        labels[third + begin : third + begin + 30] = True

    # Its high counts are few.
    counts = labels.astype(int)
    for begin in (0, 60, 120):
        counts[2 * third + begin : 2 * third + begin + 3] = 2

    for shown in (labels, counts):

        def contrast(start, shown=shown):
            part = shown[start : start + third].astype(int)
            return float(part.var() * min(6, (np.diff(part) != 0).sum()))

        candidates = contrasting_passages(text, shown, 0)
        largest = max(map(contrast, range(0, len(text) - third + 1, len(line))))
        assert contrast(candidates[0].start) == largest
        assert largest > 1.5 * contrast(0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_first_candidate_has_the_largest_contrast_of_labels_by_chance(share):
    text = ("0123456789" * 4 + "\n") * NUM_LINES * 9
    labels = np.random.default_rng(7).random(len(text)) < share
    length = NUM_LINES * 41
    contrasts = []
    for start in range(0, len(text) - length + 1, 41):
        part = labels[start : start + length].astype(float)
        contrasts.append(part.var() * min(6, (np.diff(part) != 0).sum()))
    candidates = contrasting_passages(text, labels, 0)
    # Of passages that differ by rounding alone any may be first.
    assert contrasts[candidates[0].start // 41] == pytest.approx(max(contrasts), rel=1e-9)


def quotations():
    """A text with quotations on every eighth line, and its labels."""
    quoting = 'she said "come in" and "sit" or "go"\n'
    text = (quoting + "a plain line of words\n" * (NUM_LINES - 1)) * 30
    return text, np.cumsum([character == '"' for character in text]) % 2 == 1


def test_the_label_changes_in_every_candidate_and_none_overlap():
    text, labels = quotations()
    candidates = contrasting_passages(text, labels, 0)
    assert len(candidates) == NUM_CANDIDATES
    assert all(labels[part].any() for part in candidates)
    assert not any(labels[part].all() for part in candidates)
    ends = sorted((part.start, part.stop) for part in candidates)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(ends))


def test_a_text_of_one_line_has_candidates():
    text, labels = quotations()
    assert any(part.start for part in contrasting_passages(text.replace("\n", " "), labels, 0))


@pytest.mark.parametrize("polarity", [1, -1])
def test_of_the_candidates_the_typical_one_is_shown_not_the_best(polarity):
    text, labels = quotations()
    values = polarity * labels.astype(np.float32)
    candidates = contrasting_passages(text, labels, 0)
    scores = {}
    for rank, part in enumerate(candidates):
        values[part][: 12 + 4 * rank] = 0.5 * polarity  # the more of them, the worse it follows
        scores[part.start] = measure_score(values[part], labels[part], polarity)
    assert len(set(scores.values())) == NUM_CANDIDATES
    chosen = choose_passage(text, labels, values, polarity=polarity, first=0)
    assert scores[chosen.start] == median(scores.values())


CELLS = [(0, unit) for unit in range(4)]


def test_the_statistics_are_those_of_numpy():
    generator = np.random.default_rng(0)
    text = "".join(generator.choice([*"ab. dxy"], 3_000))
    cells = np.tanh(generator.normal(size=(4, 3_000))).astype(np.float32)
    cells[3] = 1
    for values, measured in zip(cells, measure_values(text, CELLS, cells), strict=True):
        halves = values.astype(np.float16).astype(np.float64)
        assert measured.mean == pytest.approx(halves.mean())
        assert measured.spread == pytest.approx(halves.std(), rel=1e-5)
        assert measured.histogram == tuple(np.histogram(halves, NUM_BINS, (-1, 1))[0].tolist())
        assert sum(measured.histogram) == measured.num_chars == 3_000


def test_a_passage_has_the_values_of_its_characters():
    values = np.linspace(-1, 1, 3_000, dtype=np.float32)[None]
    [measured] = measure_values("She said. " * 300, CELLS[:1], values)
    for place in measured.passages:
        expected = values[0, place.begin : place.begin + len(place.text)]
        assert place.values == pytest.approx(expected.tolist(), abs=1e-3)
        assert place.value == pytest.approx(values[0, place.index], abs=1e-3)
