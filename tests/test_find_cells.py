"""Scores: the statistics are the textbook's, the cell is chosen on one half and judged on the other."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.cells.records import CellFindings, CellScore
from charrnn.cells.scores import MIN_TEXT, find_cells
from charrnn.cells.statistics import auc, average_ranks, spearman
from charrnn.cells.trace import Trace
from charrnn.detectors.detector import Labels, why_not_scored
from charrnn.detectors.registry import get_detectors
from charrnn.errors import DataError

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
EXACT = 1e-12
"""Sums of a few dozen small numbers in float64."""
L, H = 2, 4
Columns = NDArray[np.float64]
SENTENCES = (
    "The lamp was lit before supper.\n",
    '"Leave the gate open," said the miller.\n',
    "Rain had filled the lane, and the cart stood in it up to the axle.\n",
    'Nobody answered. "It will be dark by six," she went on.\n',
)
FEW_VALUES = st.lists(st.integers(-2, 2), min_size=1, max_size=12)  # many ties
TWO_COLUMNS = FEW_VALUES.flatmap(
    lambda first: st.tuples(st.just(first), st.lists(st.integers(-2, 2), min_size=len(first), max_size=len(first)))
)


def make_text(num_chars: int) -> str:
    chosen = np.random.default_rng(0).integers(0, len(SENTENCES), num_chars // 30 + 1)
    return "".join(SENTENCES[index] for index in chosen)[:num_chars]


def noise(num_chars: int, seed: int = 0) -> Columns:
    """Cells (N, L, H) that follow nothing."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (num_chars, L, H))


def make_trace(text: str, cells: Columns) -> Trace:
    num_chars = len(text)
    return Trace(text, np.zeros(num_chars, np.uint16), cells.astype(np.float32), np.zeros(num_chars, np.float32))


def labels_of(name: str, text: str) -> Labels:
    labels = get_detectors([name])[0].label(text)
    assert labels is not None
    return labels


def only_score(findings: CellFindings) -> CellScore:
    (score,) = findings.scores
    return score


def naive_ranks(values: list[float]) -> list[float]:
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def naive_auc(values: list[float], is_inside: list[bool]) -> float:
    """The share of pairs (one inside, one outside) of which the one inside is higher; a tie is half."""
    inside = [value for value, inside in zip(values, is_inside, strict=True) if inside]
    outside = [value for value, inside in zip(values, is_inside, strict=True) if not inside]
    pairs = [(a > b) + (a == b) / 2 for a, b in product(inside, outside)]
    return sum(pairs) / len(pairs)


def naive_spearman(x: list[float], y: list[float]) -> float:
    """Pearson's correlation of the ranks; 0 where one of them is constant."""
    x, y = naive_ranks(x), naive_ranks(y)
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    norm = math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))
    return covariance / norm if norm else 0.0


@given(TWO_COLUMNS)
@EXAMPLES
def test_equal_values_share_the_mean_of_their_ranks(columns: tuple[list[float], list[float]]) -> None:
    values = np.array(columns, np.float32).T
    assert average_ranks(values).T.tolist() == [naive_ranks(column) for column in columns]
    assert average_ranks(values[:, 0]).tolist() == naive_ranks(columns[0])


@given(TWO_COLUMNS, st.data())
@EXAMPLES
def test_auc_is_the_share_of_pairs_in_the_right_order(
    columns: tuple[list[float], list[float]], data: st.DataObject
) -> None:
    num_inside = data.draw(st.integers(0, len(columns[0])))
    # One on either side, at the front, so that there is a pair at all.
    columns = ([0.0, 1.0, *columns[0]], [1.0, 1.0, *columns[1]])
    order = data.draw(st.permutations(range(len(columns[0]) - 2)))
    is_inside = [True, False, *(index < num_inside for index in order)]
    found = auc(average_ranks(np.array(columns).T), np.array(is_inside))
    assert found == pytest.approx([naive_auc(column, is_inside) for column in columns], abs=EXACT)


@given(TWO_COLUMNS, st.data())
@EXAMPLES
def test_spearman_is_the_correlation_of_ranks(columns: tuple[list[float], list[float]], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(columns[0]), max_size=len(columns[0])))
    found = spearman(average_ranks(np.array(columns, float).T), np.array(counts))
    expected = [naive_spearman(column, [float(count) for count in counts]) for column in columns]
    assert found == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("polarity", [1, -1])
def test_a_cell_that_copies_a_label_is_found(polarity: int) -> None:
    text = make_text(4000)
    labels, counts, cells = labels_of("quote", text), labels_of("line-position", text), noise(4000)
    cells[:, 1, 2] = polarity * (0.8 * labels + 0.1 * cells[:, 1, 2])
    cells[:, 0, 3] = polarity * np.tanh(counts / 40)
    findings = find_cells(make_trace(text, cells), get_detectors(["quote", "line-position"]))
    score, count = sorted(findings.scores, key=lambda score: score.detector != "quote")
    assert (score.detector, score.layer, score.unit, score.polarity) == ("quote", 1, 2, polarity)
    assert score.auc is not None and score.auc >= 0.999
    assert score.spearman is None and score.untrained is None
    assert score.num_positive == labels[2000:].sum()
    assert (count.layer, count.unit, count.polarity, count.auc) == (0, 3, polarity, None)
    assert count.spearman == pytest.approx(polarity, abs=1e-9) and count.strength == pytest.approx(1, abs=1e-9)
    assert (findings.num_chars, findings.num_cells) == (4000, L * H)


def test_the_cell_is_chosen_on_the_first_half_and_scored_on_the_second() -> None:
    text = make_text(4000)
    labels, cells = labels_of("quote", text), noise(4000)
    cells[:, 0, 1] += 0.5 * labels  # good on both halves, but not perfect ...
    cells[:2000, 1, 0] = labels[:2000]  # ... as this one is on the first ...
    cells[2000:, 1, 0] = 1.1 * cells[2000:, 1, 0] - labels[2000:]  # ... and the contrary on the second
    baseline_cells = noise(4000, seed=1)
    baseline_cells[:, 0, 0] = 0.3 * baseline_cells[:, 0, 0] - 0.2 * labels  # turned around, and weaker
    trace, baseline = make_trace(text, cells), make_trace(text, baseline_cells)
    score = only_score(find_cells(trace, get_detectors(["quote"]), baseline))
    assert (score.layer, score.unit, score.polarity) == (1, 0, 1)
    expected = 1 - naive_auc(baseline.cells[2000:, 0, 0].tolist(), labels[2000:].tolist())
    assert 0.6 < expected < 0.99 and score.untrained == pytest.approx(expected, abs=EXACT), "its own choice"
    on_second = naive_auc(trace.cells[2000:, 1, 0].tolist(), labels[2000:].tolist())
    assert on_second < 0.1
    assert score.auc == pytest.approx(on_second, abs=EXACT)  # what is reported is no better than what was found
    assert score.strength == 0


def flipped_score(is_flipped: NDArray[np.bool_]) -> CellScore:
    """The score of a cell that is on inside quotations, or the other way round where it is flipped: ties all over."""
    text = make_text(len(is_flipped))
    cells = noise(len(text))
    cells[:, 0, 0] = labels_of("quote", text) ^ is_flipped
    return only_score(find_cells(make_trace(text, cells), get_detectors(["quote"])))


def test_the_interval_knows_that_neighbours_are_not_independent() -> None:
    generator = np.random.default_rng(3)
    scattered = flipped_score(generator.random(16_000) < 0.1)
    in_stretches = flipped_score(np.repeat(np.isin(np.arange(32), [3, 9, 20, 27]), 500))
    widths = []
    for score in (scattered, in_stretches):
        assert score.auc is not None and score.ci_low is not None and score.ci_high is not None
        assert 0.75 < score.auc < 0.95
        assert score.ci_low < score.auc < score.ci_high
        widths.append(score.ci_high - score.ci_low)
    # About as many flips, but in two of the second half's sixteen blocks: drawn twice, once or not at all.
    assert widths[1] > 4 * widths[0]


def test_a_text_without_quotations_says_so_instead_of_a_score() -> None:
    text = make_text(2000) + make_text(2000).replace('"', "_")
    names = ["quote", "indentation", "digit", "line-position"]
    findings = find_cells(make_trace(text, noise(4000)), get_detectors(names))
    assert [score.detector for score in findings.scores] == ["line-position"]
    reasons = {skipped.detector: skipped.reason for skipped in findings.skipped}
    assert reasons.pop("quote") == why_not_scored(labels_of("quote", text)[2000:])
    assert reasons == {"indentation": "it never changes in this text", "digit": "there are none in this text"}
    everything = find_cells(make_trace(text, noise(4000)), get_detectors(None))
    assert {one.reason for one in everything.skipped if one.detector == "speaker"} == {"this text is not a play"}


@pytest.mark.parametrize("num_chars", [1, MIN_TEXT - 1])
def test_a_text_too_short_is_refused_with_its_length(num_chars: int) -> None:
    unit = "character" if num_chars == 1 else "characters"
    with pytest.raises(DataError, match=f"has {num_chars} {unit}; .* at least {MIN_TEXT}"):
        find_cells(make_trace(make_text(num_chars), noise(num_chars)), get_detectors(None))


def test_the_strongest_comes_first_whether_yes_or_no_or_a_count() -> None:
    text = make_text(8000)
    cells = noise(8000)
    cells[:, 0, 0] += 0.5 * labels_of("quote", text)  # AUC 0.87: strength 0.75
    cells[:, 0, 1] += labels_of("line-position", text) / 200  # rho 0.3
    cells[:, 1, 0] = -np.tanh(labels_of("line-length", text) / 40)  # rho -1
    names = ["line-position", "quote", "line-length"]
    findings = find_cells(make_trace(text, cells), get_detectors(names))
    assert [score.detector for score in findings.scores] == ["line-length", "quote", "line-position"]
    strengths = [score.strength for score in findings.scores]
    assert strengths == sorted(strengths, reverse=True)
    quote = findings.scores[1]
    assert quote.auc is not None and strengths[1] == 2 * quote.auc - 1
