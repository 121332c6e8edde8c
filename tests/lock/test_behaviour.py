"""Command lines print and write what they did when their records were made.

A failure that is meant: `python tests/lock/record.py`. To see both outputs whole: `python tests/lock/compare.py REV`.
"""

from __future__ import annotations

import locked
import pytest
from lock_cases import GROUPS, PORTABLE


# The last group trains; what it prints may differ in every digit.
@pytest.mark.parametrize(
    "group", [pytest.param(name, marks=pytest.mark.trained if name == "train" else ()) for name in PORTABLE]
)
def test_it_does_what_it_did(group: str) -> None:
    record = locked.read_record(group)
    cases = [case for case in GROUPS[group] if "!" not in case.marks]
    assert [case.line for case in cases] == [*record], "run tests/lock/record.py"
    said = []
    with locked.new_laboratory() as folder:
        for case in cases:
            ran = locked.run_case(case, folder)
            if differences := locked.differences(record[case.line], locked.portable(case, ran), ran):
                said += [f"charrnn {case.line}", *differences]
    if said:
        pytest.fail("\n".join(said), pytrace=False)
