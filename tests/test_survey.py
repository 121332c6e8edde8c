"""The survey: what streams by in windows is scored as the whole would be, and chance is called chance."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from progress_reports import reports

from charrnn.cells.records import CellFindings, CellScore
from charrnn.cells.scores import Read, num_read, score_cells
from charrnn.cells.statistics import (
    INTERIOR,
    NUM_CALIBRATING,
    LabelledHistograms,
    Moments,
    auc,
    average_ranks,
    best_by_chance,
    f1,
    interior,
    r_squared,
    spearman,
)
from charrnn.detectors.detector import Detector, Labels

Cells = NDArray[np.float32]
Float64Array = NDArray[np.float64]
EXACT = 1e-9
"""Sums of thousands of numbers near 1 in float64."""
BINNED = 0.002
"""What 512 bins may take from an AUC: half of the pairs within a bin."""


def reader(cells: Cells, *, window: int = 1000, num_lanes: int = 1) -> Read:
    """Reads cells (N, C) in windows, interleaved as lanes interleave them."""

    def read(begin: int, end: int) -> Iterator[tuple[NDArray[np.int64], Cells]]:
        lane_length = -(-(end - begin) // num_lanes)
        for first in range(0, lane_length, window):
            steps = np.arange(first, min(lane_length, first + window))
            indices = (steps[:, None] + lane_length * np.arange(num_lanes)).ravel()
            indices = indices[indices < end - begin]
            yield indices, cells[begin + indices]

    return read


def slow_noise(num_chars: int, num_cells: int, seed: int = 0, memory: float = 0.97) -> Cells:
    """Cells (N, C) that follow nothing but themselves: what they were before, and chance."""
    steps = np.random.default_rng(seed).normal(size=(num_chars, num_cells))
    values = np.zeros_like(steps)
    for index in range(1, num_chars):
        values[index] = memory * values[index - 1] + steps[index]
    return np.tanh(values * (1 - memory)).astype(np.float32)


def spans(num_chars: int, seed: int, mean_length: int = 30) -> NDArray[np.bool_]:
    """Labels (N,) that are on and off for stretches of chance lengths."""
    lengths = np.random.default_rng(seed).geometric(1 / mean_length, num_chars)
    return np.repeat(np.arange(num_chars) % 2 == 1, lengths)[:num_chars]


def fixed(labels: Labels, name: str = "fixed") -> Detector:
    return Detector(name, "something", lambda text: labels)


def only(findings: CellFindings) -> CellScore:
    (score,) = findings.scores
    return score


def survey_cells(cells: Cells, labels: Labels, **lanes: int) -> CellScore:
    return only(score_cells("x" * len(cells), reader(cells, **lanes), cells.shape[1], [fixed(labels)]))


def fill(cells: Cells, labels: Float64Array, window: int = 700) -> LabelledHistograms:
    histograms = LabelledHistograms()
    stride = -(-len(cells) // window)
    for first in range(stride):
        histograms.add(cells[first::stride], labels[first::stride])
    histograms.finish()
    return histograms


def awkward_cells(num_chars: int, labels: Float64Array) -> Cells:
    """Cells that hardly move, that stay near 1 or -1, that take two values, none at all, or that drift."""
    noise = np.random.default_rng(1).normal(size=(num_chars, 7))
    values = np.stack(
        [
            np.tanh(noise[:, 0] + labels),
            1e-4 * (noise[:, 1] + 0.5 * labels),
            np.tanh(6 + noise[:, 2] - labels),
            np.sign(noise[:, 3] + labels),
            np.zeros(num_chars),
            np.tanh(noise[:, 5] / 4 + labels / 2 + np.linspace(-1, 1, num_chars)),
            np.where(noise[:, 6] > 0, 0.9999, -0.9999) * (1 - 1e-4 * np.abs(noise[:, 0] + labels)),
        ],
        axis=1,
    )
    return values.astype(np.float32)


@pytest.mark.parametrize("num_chars", [300, NUM_CALIBRATING, 20_000])
def test_the_auc_of_512_bins_is_that_of_sorting(num_chars: int) -> None:
    is_inside = spans(num_chars, 3)
    labels = is_inside.astype(np.float64)
    cells = awkward_cells(num_chars, labels)
    pairs = labels.sum() * (1 - labels).sum()
    found = fill(cells, labels[:, None]).associations(np.array([True]), np.array([pairs]))[:, 0]
    expected = auc(average_ranks(cells), is_inside)
    assert np.abs((1 + found) / 2 - expected).max() < BINNED
    assert np.abs(expected - 0.5).max() > 0.2 and found[4] == 0
    counts = np.random.default_rng(2).integers(0, 60, num_chars)
    cells = awkward_cells(num_chars, counts / 30)
    target = average_ranks(counts) - (num_chars + 1) / 2
    found = fill(cells, target[:, None]).associations(np.array([False]), np.array([(target**2).sum()]))[:, 0]
    assert np.abs(found - spearman(average_ranks(cells), counts)).max() < 2 * BINNED


@pytest.mark.parametrize("polarity", [1, -1])
def test_the_best_threshold_is_the_one_that_trying_all_finds(polarity: int) -> None:
    is_inside = spans(3000, 4, mean_length=8)
    cell = (polarity * (0.3 * is_inside + 0.3 * np.random.default_rng(5).normal(size=3000))).astype(np.float32)
    histograms = fill(cell[:, None], is_inside.astype(np.float64)[:, None])
    threshold = histograms.best_threshold(0, 0, polarity)
    tried = [f1((cell >= value) == (polarity > 0), is_inside) for value in np.sort(cell)]
    reached = f1((cell >= threshold) == (polarity > 0), is_inside)
    assert max(tried) - BINNED < reached <= max(tried) + EXACT and 0.6 < reached < 0.95


@pytest.mark.parametrize("polarity", [1, -1])
def test_a_planted_cell_is_found_and_nothing_is_left_to_say(polarity: int) -> None:
    is_inside, cells = spans(20_000, 6), slow_noise(20_000, 12)
    cells[:, 5] = polarity * (0.8 * is_inside - 0.4) + 0.01 * cells[:, 5]
    score = survey_cells(cells, is_inside)
    assert (score.layer, score.unit, score.polarity) == (0, 5, polarity)
    assert score.auc is not None and score.auc >= 0.999 and score.f1 is not None and score.f1 >= 0.999
    assert score.interior is not None and score.interior >= 0.999
    assert score.threshold is not None and abs(score.threshold) <= 0.42
    assert score.p_value == 1 / 200 and score.is_significant
    assert score.null_level is not None and 0.5 < score.null_level < 0.7
    sizes, reached = zip(*score.probe, strict=True)
    assert sizes == (1, 2, 4, 8, 12) and min(reached) >= 0.999
    assert score.r2 is None and score.spearman is None


def test_a_cell_that_only_sees_the_delimiter_fails_inside() -> None:
    is_inside, cells = spans(40_000, 7, mean_length=12), slow_noise(40_000, 3, memory=0.5)
    changed = np.append(0, np.diff(is_inside.astype(np.int64)))
    trail = np.convolve(changed, 0.8 ** np.arange(INTERIOR))[: len(changed)]  # up at a beginning, down at an end
    cells[:, 1] = np.tanh(trail + 0.01 * cells[:, 1])
    score = survey_cells(cells, is_inside)
    assert score.unit == 1 and score.auc is not None and score.auc > 0.65
    assert score.interior is not None and abs(score.interior - 0.5) < 0.05


def test_interior_is_what_lies_five_or_more_after_a_change() -> None:
    labels = np.array([*[False] * 3, *[True] * 7, *[False] * 6])
    assert interior(labels).tolist() == [*[True] * 3, *[False] * 5, *[True] * 2, *[False] * 5, True]


@pytest.mark.parametrize("polarity", [1, -1])
def test_a_line_through_a_cell_explains_a_count_as_far_as_it_is_straight(polarity: int) -> None:
    counts = np.arange(30_000) % 47
    cells = slow_noise(30_000, 4)
    cells[:, 2] = polarity * (counts / 60 + np.random.default_rng(8).normal(size=30_000) / 10)
    score = survey_cells(cells, counts)
    assert (score.unit, score.polarity) == (2, polarity)
    slope, intercept = np.polyfit(cells[:15_000, 2].astype(np.float64), counts[:15_000], 1)
    expected = r_squared(slope * cells[15_000:, 2] + intercept, counts[15_000:])
    assert score.r2 == pytest.approx(expected, abs=1e-5) and 0.7 < expected < 0.95
    assert score.spearman == pytest.approx(
        float(spearman(average_ranks(cells[15_000:, 2]), counts[15_000:])), abs=EXACT
    )
    assert score.probe[0] == (1, pytest.approx(expected, abs=1e-5))
    assert score.probe[-1][1] == pytest.approx(expected, abs=0.01)  # the others know nothing of it


def test_greedy_choice_and_weights_are_those_of_fitting_each_set() -> None:
    generator = np.random.default_rng(10)
    cells = (generator.normal(size=(5000, 6)) @ generator.normal(size=(6, 6)) / 3 + 0.5).astype(np.float32)
    target = cells[:, [4]] - 0.8 * cells[:, [1]] + 0.3 * cells[:, [2]] + generator.normal(size=(5000, 1))
    moments = Moments()
    for first in range(0, 5000, 900):
        moments.add(cells[first : first + 900], target[first : first + 900].astype(np.float64))
    sizes, weights, intercepts = moments.fit()
    assert sizes == (1, 2, 4, 6)

    def fit(columns: list[int]) -> tuple[Float64Array, float]:
        design = np.column_stack((cells[:, columns], np.ones(5000)))
        solved, *_ = np.linalg.lstsq(design, target[:, 0], rcond=None)
        return solved, float(((design @ solved - target[:, 0]) ** 2).sum())

    chosen: list[int] = []
    for _ in range(4):
        chosen.append(min(set(range(6)) - set(chosen), key=lambda cell: fit([*chosen, cell])[1]))
    for index, size in enumerate(sizes[:-1]):
        expected, _ = fit(chosen[:size])
        assert set(np.flatnonzero(weights[:, index])) == set(chosen[:size])
        # Products in float32, and for the last probe a ridge of 6 / 5000.
        assert weights[chosen[:size], index] == pytest.approx(expected[:-1], rel=1e-3)
        assert intercepts[index] == pytest.approx(expected[-1], abs=1e-3)
    assert np.abs(weights[:, 3] - fit(list(range(6)))[0][:-1]).max() < 0.05


def test_the_first_of_the_cells_together_is_the_one_that_was_found() -> None:
    """By least squares another cell would come first: the found one follows the label as surely, but not in a line."""
    generator = np.random.default_rng(12)
    label = generator.random(4000) < 0.3
    found = np.where(label, 1.0, 0.0) ** 3 + np.abs(generator.normal(size=4000)) ** 9
    cells = np.stack([label + 0.5 * generator.normal(size=4000), found], axis=1).astype(np.float32)
    moments = Moments()
    moments.add(cells, label[:, None].astype(np.float64))
    for first, expected in (((), [0]), ((1,), [1])):
        _, weights, _ = moments.fit(first)
        assert np.flatnonzero(weights[:, 0]).tolist() == expected


def test_a_cell_that_stands_still_gets_no_weight() -> None:
    """What moves in it is the last digit of float32: scaled up to the others it would outweigh them."""
    generator = np.random.default_rng(11)
    cells = generator.normal(size=(4000, 5)).astype(np.float32)
    cells[:, 3] = np.float32(0.97) + np.float32(6e-8) * generator.integers(0, 3, 4000)
    target = (cells[:, :1] + 0.5 * generator.normal(size=(4000, 1))).astype(np.float64)
    moments = Moments()
    for first in range(0, 4000, 500):
        moments.add(cells[first : first + 500], target[first : first + 500])
    _, weights, intercepts = moments.fit()
    assert not weights[3].any()
    assert weights[0] == pytest.approx(1, abs=0.03) and np.abs(weights[[1, 2, 4]]).max() < 0.03
    assert intercepts == pytest.approx(0, abs=0.03)


def test_chance_is_what_shifting_label_and_counting_gives() -> None:
    num_chars = 2000
    is_inside, cells = spans(num_chars, 11), slow_noise(num_chars, 5)
    ranks = average_ranks(cells) - (num_chars + 1) / 2
    pairs = float(is_inside.sum() * (~is_inside).sum())
    target = (is_inside - is_inside.mean()).astype(np.float32)
    p_value, level = best_by_chance(ranks.astype(np.float32), target, np.full(5, 2 / pairs, np.float32))
    shifts = np.random.default_rng(0).integers(100, 1900, 199)
    best = [np.abs(2 * auc(average_ranks(cells), np.roll(is_inside, shift)) - 1).max() for shift in (0, *shifts)]
    assert level == pytest.approx(np.quantile(best[1:], 0.95), abs=1e-5)
    assert p_value == np.mean(np.array(best) >= best[0])
    assert 0.05 < p_value < 1


def test_shuffled_labels_are_hardly_ever_a_finding() -> None:
    num_chars = 4000
    cells = slow_noise(num_chars, 4)
    generator = np.random.default_rng(12)
    # Half of them keep their spans, so that by chance they go with slow cells; half are shuffled letter by letter.
    labels = [spans(num_chars, 100 + index) for index in range(200)]
    labels = [label if index % 2 else generator.permutation(label) for index, label in enumerate(labels)]
    detectors = [fixed(label, str(index)) for index, label in enumerate(labels)]
    findings = score_cells("x" * num_chars, reader(cells), 4, detectors)
    assert len(findings.scores) == 200
    assert sum(score.is_significant for score in findings.scores) <= 10
    # The p-value alone is level, too: 20 of 200 expected at 0.1, with a standard deviation of 4.
    assert 4 <= sum(score.p_value is not None and score.p_value <= 0.1 for score in findings.scores) <= 36
    # And half of the truth, beside them, is a finding.
    cells[:, 3] += 0.3 * labels[1]
    assert survey_cells(cells, labels[1]).is_significant


def test_lanes_change_nothing() -> None:
    counts, is_inside = np.arange(30_000) % 31, spans(30_000, 13)
    cells = slow_noise(30_000, 5)
    cells[:, 4] += 0.1 * is_inside
    cells[:, 1] += counts / 100
    for labels in (counts, is_inside):
        whole = survey_cells(cells, labels, window=15_000)
        lanes = survey_cells(cells, labels, window=300, num_lanes=7)
        for name in ("unit", "polarity", "auc", "spearman", "ci_low", "ci_high", "interior", "num_positive"):
            assert getattr(lanes, name) == getattr(whole, name)
        # Bins are laid by other samples, sums made in another order.
        assert lanes.f1 == pytest.approx(whole.f1, abs=BINNED) and lanes.r2 == pytest.approx(whole.r2, abs=1e-5)
        assert lanes.null_level == pytest.approx(whole.null_level, abs=BINNED)
        for (size, reached), (other_size, other) in zip(lanes.probe, whole.probe, strict=True):
            assert size == other_size and reached == pytest.approx(other, abs=BINNED)


def test_progress_adds_up_to_what_is_read_twin_included() -> None:
    cells = slow_noise(5001, 3)
    with reports() as done:
        score_cells("x" * 5001, reader(cells), 3, [fixed(spans(5001, 14))], reader(cells))
    assert done == {"reading, to score the cells": num_read(5001, has_baseline=True), "scoring": 1}
    assert num_read(5001, has_baseline=True) == 10_002
    assert num_read(1_000_000, has_baseline=True) == 1_262_144 and num_read(5001, has_baseline=False) == 5001


def test_each_detector_has_a_cell_and_a_level_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    num_chars = 6000
    labels = {"inside": spans(num_chars, 15), "count": np.arange(num_chars) % 37}
    cells = slow_noise(num_chars, 6)
    cells[:, 4] += 0.1 * labels["inside"]
    cells[:, 2] -= labels["count"] / 200
    detectors = [fixed(label, name) for name, label in labels.items()]
    scores = {score.detector: score for score in score_cells("x" * num_chars, reader(cells), 3, detectors).scores}
    assert (scores["inside"].layer, scores["inside"].unit, scores["inside"].polarity) == (1, 1, 1)
    assert (scores["count"].layer, scores["count"].unit, scores["count"].polarity) == (0, 2, -1)
    assert all(score.is_significant for score in scores.values())
    # Every third character: chance reaches a little higher, and nothing else changes.
    monkeypatch.setattr("charrnn.cells.scores.SAMPLE_VALUES", 6 * 1000)
    for score in score_cells("x" * num_chars, reader(cells), 3, detectors).scores:
        whole = scores[score.detector]
        assert score.null_level == pytest.approx(whole.null_level, abs=0.06) and score.null_level != whole.null_level
        assert (score.unit, score.auc, score.spearman) == (whole.unit, whole.auc, whole.spearman)
        assert score.is_significant
