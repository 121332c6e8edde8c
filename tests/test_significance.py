"""What counts as a finding: the truth table of `CellScore.is_significant`, one condition at a time."""

from dataclasses import replace

import pytest

from charrnn.cells.records import CHANCE, CellScore

YES_NO = CellScore(
    detector="quote",
    layer=0,
    unit=1,
    polarity=1,
    num_positive=500,
    auc=0.9,
    ci_low=0.85,
    ci_high=0.95,
    p_value=0.005,
    null_level=0.7,
)
"""A yes/no detector that meets every condition."""
COUNT = replace(YES_NO, detector="indentation", auc=None, spearman=0.6, ci_low=0.5, ci_high=0.7, null_level=0.3)
"""A count that meets every condition."""
NEGATIVE = replace(COUNT, polarity=-1, spearman=-0.6, ci_low=-0.7, ci_high=-0.5)
"""A count that a cell follows with the opposite sign."""


@pytest.mark.parametrize("score", [YES_NO, COUNT, NEGATIVE], ids=["yes-no", "count", "negative"])
def test_a_score_must_meet_every_condition(score: CellScore) -> None:
    assert score.is_significant and replace(score, null_level=None).is_significant
    # A choice that chance makes as well.
    for p_value, is_significant in ((None, False), (CHANCE, True), (CHANCE + 1e-9, False)):
        assert replace(score, p_value=p_value).is_significant == is_significant
    # What the best of all cells reaches by chance.
    reached = score.auc if score.auc is not None else abs(score.spearman or 0)
    for level, is_significant in ((reached - 1e-6, True), (reached, False), (reached + 0.01, False)):
        assert replace(score, null_level=level).is_significant == is_significant


@pytest.mark.parametrize(
    ("score", "low", "high", "is_significant"),
    [
        (YES_NO, 0.51, 0.95, True),
        (YES_NO, 0.5, 0.95, False),
        (YES_NO, None, 0.95, False),
        (YES_NO, 0.85, None, False),
        (COUNT, 0.01, 0.7, True),
        (COUNT, 0.0, 0.7, False),
        (NEGATIVE, -0.7, -0.01, True),
        (NEGATIVE, -0.7, 0.0, False),
        # The sign that was chosen on the first half must be the one found on the second.
        (COUNT, -0.7, -0.5, False),
        (NEGATIVE, 0.5, 0.7, False),
    ],
)
def test_an_interval_that_contains_chance_is_not_significant(
    score: CellScore, low: float | None, high: float | None, is_significant: bool
) -> None:
    assert replace(score, ci_low=low, ci_high=high).is_significant == is_significant


def test_strength_ranks_yes_no_and_count_detectors_on_one_scale() -> None:
    assert YES_NO.strength == pytest.approx(0.8)
    assert replace(YES_NO, auc=0.4).strength == 0
    assert COUNT.strength == NEGATIVE.strength == 0.6
