"""Twenty histories of commands, the same ones every time: `benchmarks/histories` plays as many as are
wanted, and the full count has fifty."""

import sys

import pytest
from environment import REPOSITORY

sys.path.append(str(REPOSITORY / "benchmarks" / "histories"))
NUM_COMMANDS = 12
"""Commands of a history."""


# Whoever is interrupted in the middle of `open` leaves a file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.trained
@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        *range(0, 20, 5),
        *(pytest.param(first, marks=pytest.mark.thorough) for first in range(20, 50, 5)),
    ],
)
def test_whatever_happens_nothing_is_lost(first):
    pytest.importorskip("textual")
    from playing import play

    found = [play(seed, NUM_COMMANDS) for seed in range(first, first + 5)]
    assert [problem for problem in found if problem is not None] == []
