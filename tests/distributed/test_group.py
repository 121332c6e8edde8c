"""What several processes exchange, and which batch rows each of them computes.

The processes are threads of this one (`process_threads`); `faults/test_torchrun.py` starts real
ones.
"""

import math

import pytest
from process_threads import in_processes

from charrnn.distributed.group import SINGLE, ConnectedProcesses
from charrnn.errors import UsageError


def exchange(group):
    """Exchange something of every kind."""
    group.check_same_text("digest")
    with group.in_turn():
        rank = group.rank
    return [
        group.of_first([] if group.is_first else ["ignored"]),
        group.of_first([group.rank, "ä", None, math.inf]),
        group.any(group.rank == 1),
        rank,
    ]


def test_a_single_process_returns_everything_as_it_is():
    assert exchange(SINGLE) == [[], [0, "ä", None, math.inf], False, 0]


def test_several_processes_get_the_values_of_the_first():
    for rank, exchanged in enumerate(in_processes(3, exchange)):
        assert exchanged == [[], [0, "ä", None, math.inf], True, rank]


def test_the_first_process_of_a_host_goes_first_and_an_error_in_any_ends_all():
    begun = []

    def fail(group):
        with group.in_turn():
            begun.append(group.rank)
            if group.rank == 2:
                raise UsageError("no text")
        begun.append("after")

    with pytest.raises(UsageError, match="no text"):
        in_processes(3, fail)
    assert begun[0] == 0 and sorted(begun) == [0, 1, 2]


def test_rows_are_contiguous_and_as_many_in_each_process_up_to_one():
    spans = [ConnectedProcesses(rank, 4).rows(7) for rank in range(4)]
    assert [row for span in spans for row in range(7)[span]] == list(range(7))
    assert {span.stop - span.start for span in spans} == {1, 2}
    with pytest.raises(
        UsageError,
        match=r"2 processes cannot share 1 batch row: .* one\nstart at most 1 process, or",
    ):
        ConnectedProcesses(0, 2).rows(1)
    with pytest.raises(UsageError, match="5 processes cannot share 4 batch rows"):
        ConnectedProcesses(0, 5).rows(4)
