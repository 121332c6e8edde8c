"""Batch rows: every id is read once per epoch, windows are contiguous, and the cursor is the whole
state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import DataError
from charrnn.text.batches import BatchRows
from charrnn.text.splits import split_ids

SIZES = st.integers(2, 60).flatmap(
    lambda num_ids: st.tuples(st.just(num_ids), st.integers(1, num_ids))
)


@given(SIZES, st.integers(0, 200), st.integers(1, 70))
@settings(max_examples=30)
def test_a_window_reads_on_in_each_row_around_the_ring(sizes, cursor, length):
    num_ids, batch_size = sizes
    inputs, targets = BatchRows(np.arange(num_ids, dtype=np.uint16), batch_size).window(
        cursor, length
    )
    for row in range(batch_size):
        start = int(row * num_ids / batch_size)
        assert inputs[:, row].tolist() == [(start + cursor + t) % num_ids for t in range(length)]
        assert targets[:, row].tolist() == [
            (start + cursor + t + 1) % num_ids for t in range(length)
        ]


@pytest.mark.parametrize("num", [2, 3, 9, 10, 19, 1_115_394, 1_999_999])
def test_nine_to_one_is_nanogpt_s_split(num):
    expected = (slice(0, int(0.9 * num)), slice(int(0.9 * num), num))
    assert split_ids(num, (0.9, 0.1)) == split_ids(num, (90, 10)) == expected


@given(st.integers(1, 5000), st.lists(st.floats(0.05, 100), min_size=1, max_size=4))
@settings(max_examples=30)
def test_parts_follow_each_other_without_a_gap(num, fractions):
    try:
        parts = split_ids(num, fractions)
    except DataError:
        assert (
            num * min(fractions) / sum(fractions) < 1 + 1e-9
        )  # no split is refused that has a character for each
        return
    assert [i for part in parts for i in range(num)[part]] == list(range(num))
    for part, fraction in zip(parts, fractions, strict=True):
        assert (
            abs(part.stop - part.start - num * fraction / sum(fractions)) <= 1 + 1e-6
        )  # both ends round down


@given(st.integers(100, 400), st.integers(1, 7))
def test_an_epoch_has_each_id_once(num_ids, batch_size):
    rows = BatchRows(np.arange(num_ids, dtype=np.uint16), batch_size)
    inputs, targets = rows.window(0, num_ids)
    for inputs_of_row, targets_of_row in zip(inputs.T, targets.T, strict=True):
        expected = np.roll(np.arange(num_ids), -int(inputs_of_row[0]))
        assert inputs_of_row.tolist() == expected.tolist()
        assert targets_of_row.tolist() == np.roll(expected, -1).tolist()
