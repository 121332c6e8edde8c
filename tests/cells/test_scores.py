"""Scores: the statistics are those of loops, a cell is chosen on one half and scored on the other,
chance is chance.

Tests `cells.choosing_half`, `cells.target_labels`, `statistics.agreement`,
`statistics.chance` and `statistics.histograms`, too.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import label

from charrnn.cells import scores
from charrnn.cells.records import MAX_P_VALUE, CellScore
from charrnn.cells.scores import find_cells, interior, score_targets
from charrnn.cells.target_labels import choose_targets
from charrnn.cells.trace import Trace
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import get_detectors
from charrnn.statistics.agreement import (
    auc,
    auc_from_association,
    average_ranks,
    f1,
    r_squared,
    resample_score,
    spearman,
)
from charrnn.statistics.chance import best_by_chance
from charrnn.statistics.histograms import NUM_CALIBRATING, LabelledHistograms
from charrnn.statistics.intervals import interval_of
from charrnn.system.progress import Progress, using

EXACT = 1e-9
"""Sums of thousands of numbers near 1 in float64."""
BINNED = 0.002
"""What 512 bins may take from an AUC: half of the pairs within a bin."""


def reader(cells):
    """Reads cells (N, C) in windows of 1000."""

    def read(begin, end):
        for first in range(begin, end, 1000):
            last = min(first + 1000, end)
            yield np.arange(first, last) - begin, cells[first:last]

    return read


def slow_noise(num_chars, num_cells):
    """Cells (N, C) that follow nothing but themselves: what they were before, and chance."""
    steps = np.random.default_rng(0).normal(size=(num_chars, num_cells))
    values = np.zeros_like(steps)
    for index in range(1, num_chars):
        values[index] = 0.97 * values[index - 1] + steps[index]
    return np.tanh(values * (1 - 0.97)).astype(np.float32)


def spans(num_chars, seed, mean_length=30):
    """Labels (N,) that are on and off for stretches of chance lengths."""
    lengths = np.random.default_rng(seed).geometric(1 / mean_length, num_chars)
    return np.repeat(np.arange(num_chars) % 2 == 1, lengths)[:num_chars]


def fixed(labels, name="fixed"):
    return Detector(name, "something", lambda text: labels)


def only(findings):
    (score,) = findings.scores
    return score


def scores_of(cells, detectors):
    """The score of the best of cells (N, C) for each detector."""
    targets = choose_targets("x" * len(cells), detectors).targets
    return [one.score for one in score_targets(targets, reader(cells), num_units=cells.shape[1])]


def survey_cells(cells, labels):
    (score,) = scores_of(cells, [fixed(labels)])
    return score


@pytest.mark.parametrize("polarity", [1, -1])
def test_the_interval_of_a_cell_that_is_never_wrong_has_its_score(polarity):
    """The resamples take values of similar rank for equal ones, those at the border, too."""
    values = np.random.default_rng(0).permutation(6_000).astype(np.float32)
    labels = values > 2_501
    score = survey_cells(polarity * values[:, None] / 6_000, labels)
    assert (score.auc, score.ci_high) == (1.0, 1.0)


VISIBLE_LABELS = np.arange(6_000) // 50 % 2 == 1


def saturated_and_visible_cells():
    """Three cells (N, 3): the first is slightly better than the second, but its value is 0.99
    everywhere; the last is visible, and far worse."""
    labels = VISIBLE_LABELS
    noise = np.random.default_rng(0).normal(size=(6_000, 2))
    saturated = 0.99 + 1e-3 * (labels + noise[:, 0])
    seen = 0.3 * (labels + 1.02 * noise[:, 0])
    worse = 0.9 * (labels / 4 + noise[:, 1])
    return np.stack([saturated, seen, worse], axis=1).astype(np.float32)


@pytest.mark.parametrize("labels", [VISIBLE_LABELS, 40 * VISIBLE_LABELS], ids=["yes", "count"])
def test_of_scores_equal_within_their_interval_that_of_a_cell_that_can_be_seen_is_taken(labels):
    assert survey_cells(saturated_and_visible_cells(), labels).unit == 1


def test_a_far_better_cell_is_taken_that_cannot_be_seen():
    score = survey_cells(saturated_and_visible_cells()[:, [0, 2]], VISIBLE_LABELS)
    assert score.unit == 0


def test_the_progress_of_all_tasks_reaches_their_end():
    tasks = []
    with using(Progress(tasks.append)):
        survey_cells(saturated_and_visible_cells(), VISIBLE_LABELS)
    ends = {(task.label, task.total - task.done) for task in tasks}
    assert ends == {("scoring", 0)}


def fill(cells, labels):
    """Histograms of cells (N, C) with one label (N,), in two or more windows."""
    histograms = LabelledHistograms()
    stride = -(-len(cells) // 700)
    for first in range(stride):
        histograms.add(cells[first::stride], np.ascontiguousarray(labels[first::stride, None]))
    histograms.finish()
    return histograms


def awkward_cells(num_chars, labels):
    """Cells that hardly move, that stay near 1 or -1, that take two values, none at all, or that
    drift."""
    noise = np.random.default_rng(1).normal(size=(num_chars, 7))
    side = np.where(noise[:, 6] > 0, 0.9999, -0.9999)
    columns = [
        np.tanh(noise[:, 0] + labels),
        1e-4 * (noise[:, 1] + 0.5 * labels),
        np.tanh(6 + noise[:, 2] - labels),
        np.sign(noise[:, 3] + labels),
        np.zeros(num_chars),
        np.tanh(noise[:, 5] / 4 + labels / 2 + np.linspace(-1, 1, num_chars)),
        side * (1 - 1e-4 * np.abs(noise[:, 0] + labels)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("num_chars", [300, NUM_CALIBRATING, 20_000])
def test_the_auc_of_512_bins_is_that_of_sorting(num_chars):
    is_inside = spans(num_chars, 3)
    cells = awkward_cells(num_chars, is_inside.astype(np.float64))
    pairs = float(is_inside.sum() * (~is_inside).sum())
    histograms = fill(cells, is_inside.astype(np.float64))
    found = auc_from_association(histograms.auc_associations(0, pairs))
    expected = auc(average_ranks(cells), is_inside)
    assert found == pytest.approx(expected, abs=BINNED)
    assert found[4] == 0.5, "the cell that is constant"
    assert np.abs(expected - 0.5).max() > 0.2


@pytest.mark.parametrize("num_chars", [300, NUM_CALIBRATING, 20_000])
def test_the_correlation_of_512_bins_is_that_of_sorting(num_chars):
    counts = np.random.default_rng(2).integers(0, 60, num_chars)
    cells = awkward_cells(num_chars, counts / 30)
    target = average_ranks(counts) - (num_chars + 1) / 2
    found = fill(cells, target).rank_correlations(0, float((target**2).sum()))
    expected = spearman(average_ranks(cells), counts)
    assert found == pytest.approx(expected, abs=2 * BINNED)


@pytest.mark.parametrize("polarity", [1, -1])
def test_the_best_threshold_is_the_one_that_trying_all_finds(polarity):
    is_inside = spans(3000, 4, mean_length=8)
    noisy = 0.3 * is_inside + 0.3 * np.random.default_rng(5).normal(size=3000)
    cell = (polarity * noisy).astype(np.float32)
    histograms = fill(cell[:, None], is_inside.astype(np.float64))
    threshold = histograms.best_threshold(0, 0, polarity)
    tried = [f1((cell >= value) == (polarity > 0), is_inside) for value in np.sort(cell)]
    reached = f1((cell >= threshold) == (polarity > 0), is_inside)
    assert max(tried) - BINNED < reached <= max(tried) + EXACT
    assert 0.6 < reached < 0.95


def test_interior_is_what_lies_five_or_more_after_a_change():
    labels = np.array([*[False] * 3, *[True] * 7, *[False] * 6])
    assert interior(labels).tolist() == [
        *[True] * 3,
        *[False] * 5,
        *[True] * 2,
        *[False] * 5,
        True,
    ]


@pytest.mark.parametrize("polarity", [1, -1])
def test_a_line_through_a_cell_explains_a_count_as_far_as_it_is_straight(polarity):
    counts = np.arange(30_000) % 47
    cells = slow_noise(30_000, 4)
    cells[:, 2] = polarity * (counts / 60 + np.random.default_rng(8).normal(size=30_000) / 10)
    score = survey_cells(cells, counts)
    assert (score.unit, score.polarity) == (2, polarity)
    slope, intercept = np.polyfit(cells[:15_000, 2].astype(np.float64), counts[:15_000], 1)
    expected = r_squared(slope * cells[15_000:, 2] + intercept, counts[15_000:])
    assert score.r2 == pytest.approx(expected, abs=1e-5)
    assert 0.7 < expected < 0.95
    assert score.spearman == pytest.approx(
        float(spearman(average_ranks(cells[15_000:, 2]), counts[15_000:])),
        abs=EXACT,
    )


def test_chance_is_what_shifting_label_and_counting_gives():
    num_chars = 2000
    is_inside, cells = spans(num_chars, 11), slow_noise(num_chars, 5)
    ranks = average_ranks(cells)
    pairs = float(is_inside.sum() * (~is_inside).sum())
    p_value, level = best_by_chance(
        (ranks - (num_chars + 1) / 2).astype(np.float32),
        (is_inside - is_inside.mean()).astype(np.float32),
        np.full(5, 2 / pairs, np.float32),
    )

    best = []
    for shift in (0, *np.random.default_rng(0).integers(100, 1900, 199)):
        areas = auc(ranks, np.roll(is_inside, shift))
        best.append(np.abs(2 * areas - 1).max())
    assert level == pytest.approx(np.quantile(best[1:], 0.95), abs=1e-5)
    assert p_value == np.mean(np.array(best) >= best[0])
    assert 0.05 < p_value < 1


def labels_by_chance(num_chars):
    """200 labels (N,) that have nothing to do with any cell.

    Half of them keep their spans, so that by chance they go with slow cells; half are shuffled
    letter by letter.
    """
    generator = np.random.default_rng(12)
    labels = [spans(num_chars, 100 + index) for index in range(200)]
    labels[::2] = [generator.permutation(label) for label in labels[::2]]
    return labels


def test_labels_by_chance_are_hardly_ever_a_finding():
    labels = labels_by_chance(4000)
    detectors = [fixed(label, str(index)) for index, label in enumerate(labels)]
    scores = scores_of(slow_noise(4000, 4), detectors)
    assert len(scores) == 200
    assert sum(score.is_significant for score in scores) <= 10
    # The p-value alone is level, too: 20 of 200 expected at 0.1, with a standard deviation of 4.
    assert 4 <= sum((score.p_value or 0) <= 0.1 for score in scores) <= 36


def test_half_of_the_truth_is_a_finding():
    labels = spans(4000, 101)
    cells = slow_noise(4000, 4)
    cells[:, 3] += 0.3 * labels
    assert survey_cells(cells, labels).is_significant


L, H = 2, 4
SENTENCES = (
    "The lamp was lit before supper.\n",
    '"Leave the gate open," said the miller.\n',
    "Rain had filled the lane, and the cart stood in it up to the axle.\n",
    'Nobody answered. "It will be dark by six," she went on.\n',
)


def make_text(num_chars):
    chosen = np.random.default_rng(0).integers(0, len(SENTENCES), num_chars // 30 + 1)
    return "".join(SENTENCES[index] for index in chosen)[:num_chars]


def noise(num_chars, seed=0):
    """Cells (N, L, H) that follow nothing."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (num_chars, L, H))


def make_trace(text, cells):
    num_chars = len(text)
    return Trace(
        text,
        np.zeros(num_chars, np.uint16),
        cells.astype(np.float32),
        np.zeros(num_chars, np.float32),
    )


def naive_auc(values, is_inside):
    """The share of pairs (one inside, one outside) of which the one inside is higher; a tie is
    half."""
    inside = [value for value, inside in zip(values, is_inside, strict=True) if inside]
    outside = [value for value, inside in zip(values, is_inside, strict=True) if not inside]
    pairs = [(a > b) + (a == b) / 2 for a, b in product(inside, outside)]
    return sum(pairs) / len(pairs)


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.booleans()), max_size=12))
@settings(max_examples=30)
def test_auc_is_the_share_of_pairs_in_the_right_order(drawn):
    # Many ties, and one on either side, so that there is a pair at all.
    *columns, is_inside = zip((0, 1, True), (1, 1, False), *drawn, strict=True)
    found = auc(average_ranks(np.array(columns, float).T), np.array(is_inside))
    assert found == pytest.approx(
        [naive_auc([*column], [*is_inside]) for column in columns], abs=EXACT
    )


def test_the_cell_is_chosen_on_the_first_half_and_scored_on_the_second():
    text = make_text(4000)
    labels, cells = label("quote", text), noise(4000)
    cells[:, 0, 1] += 0.5 * labels  # good on both halves, but not perfect ...
    cells[:2000, 1, 0] = labels[:2000]  # ... as this one is on the first ...
    cells[2000:, 1, 0] = 1.1 * cells[2000:, 1, 0] - labels[2000:]  # ... and the contrary then
    trace = make_trace(text, cells)
    score = only(find_cells(trace, ["quote"]))
    on_second = naive_auc(trace.cells[2000:, 1, 0].tolist(), labels[2000:].tolist())
    assert (score.layer, score.unit, score.polarity) == (1, 0, 1)
    assert on_second < 0.1
    # What is reported is no better than what was found.
    assert score.auc == pytest.approx(on_second, abs=EXACT)
    assert score.strength == 0


def test_the_windows_in_which_a_long_trace_is_read_do_not_change_a_score(monkeypatch):
    text = make_text(4000)
    labels, cells = label("quote", text), noise(4000)
    cells[:, 0, 1] += 0.5 * labels
    trace = make_trace(text, cells)
    monkeypatch.setattr(scores, "WINDOW", 300)
    score = only(find_cells(trace, ["quote"]))
    on_second = naive_auc(trace.cells[2000:, 0, 1].tolist(), labels[2000:].tolist())
    assert (score.layer, score.unit) == (0, 1)
    assert score.auc == pytest.approx(on_second, abs=BINNED)


def test_the_untrained_baseline_makes_its_own_choice():
    text = make_text(4000)
    labels, cells = label("quote", text), noise(4000, seed=1)
    cells[:, 0, 0] = 0.3 * cells[:, 0, 0] - 0.2 * labels  # turned around
    baseline = make_trace(text, cells)
    score = only(find_cells(make_trace(text, noise(4000)), ["quote"], untrained=baseline))
    expected = 1 - naive_auc(baseline.cells[2000:, 0, 0].tolist(), labels[2000:].tolist())
    assert 0.6 < expected < 0.99
    assert score.untrained == pytest.approx(expected, abs=EXACT)


def flipped_score(is_flipped):
    """The score of a cell that is on inside quotations, or the other way round where it is flipped:
    ties all over."""
    text = make_text(len(is_flipped))
    cells = noise(len(text))
    cells[:, 0, 0] = label("quote", text) ^ is_flipped
    return only(find_cells(make_trace(text, cells), get_detectors(["quote"])))


def test_the_interval_knows_that_neighbours_are_not_independent():
    generator = np.random.default_rng(3)
    scattered = flipped_score(generator.random(16_000) < 0.1)
    in_stretches = flipped_score(np.repeat(np.isin(np.arange(32), [3, 9, 20, 27]), 500))
    widths = []
    for score in (scattered, in_stretches):
        assert 0.75 < score.auc < 0.95
        assert score.ci_low < score.auc < score.ci_high
        widths.append(score.ci_high - score.ci_low)
    # About as many flips, but in two of the second half's sixteen blocks: drawn twice, once or not
    # at all.
    assert widths[1] > 4 * widths[0]


def test_the_interval_of_a_short_text_contains_chance_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(30):
        values, labels = (
            generator.normal(size=1_000).astype(np.float32),
            generator.random(1_000) < 0.5,
        )
        low, high = interval_of(resample_score(values, labels, 1), len(labels))
        if low <= 0.5 <= high:
            hits += 1
    assert hits >= 26  # 15 with blocks of 500 characters


SCORE = CellScore(detector="quote", layer=0, unit=1, polarity=1, num_positive=500, p_value=0.005)
YES_NO = replace(SCORE, auc=0.9, ci_low=0.85, ci_high=0.95, null_level=0.7)
"""A yes/no detector that meets every condition of a finding."""
COUNT = replace(SCORE, spearman=0.6, ci_low=0.5, ci_high=0.7, null_level=0.3)
NEGATIVE = replace(COUNT, polarity=-1, spearman=-0.6, ci_low=-0.7, ci_high=-0.5)
"""A count that a cell follows with the opposite sign."""


FINDINGS = pytest.mark.parametrize("score", [YES_NO, COUNT, NEGATIVE])


def reached(score):
    """The AUC, or the absolute value of rho."""
    return score.auc if score.auc is not None else abs(score.spearman or 0)


def test_the_strength_is_the_same_scale_for_both_kinds():
    assert YES_NO.strength == pytest.approx(0.8)
    assert COUNT.strength == NEGATIVE.strength == pytest.approx(0.6)


@FINDINGS
def test_a_p_value_above_chance_is_no_finding(score):
    assert replace(score, p_value=MAX_P_VALUE).is_significant
    assert not replace(score, p_value=MAX_P_VALUE + 1e-9).is_significant
    assert not replace(score, p_value=None).is_significant


@FINDINGS
def test_a_score_that_chance_reaches_is_no_finding(score):
    assert replace(score, null_level=None).is_significant
    assert replace(score, null_level=reached(score) - 1e-6).is_significant
    assert not replace(score, null_level=reached(score)).is_significant


@FINDINGS
@pytest.mark.parametrize(
    "near, far, is_significant",
    # The last one: the sign that was chosen on the first half must be the one found on the second.
    [(0.01, 0.4, True), (0.0, 0.4, False), (-0.2, -0.1, False)],
)
def test_an_interval_that_chance_reaches_is_no_finding(score, near, far, is_significant):
    chance = 0.5 if score is YES_NO else 0.0
    low, high = sorted(chance + score.polarity * distance for distance in (near, far))
    assert replace(score, ci_low=low, ci_high=high).is_significant == is_significant


@FINDINGS
def test_a_score_without_an_interval_is_no_finding(score):
    assert not replace(score, ci_low=None).is_significant
    assert not replace(score, ci_high=None).is_significant
