"""Command lines print and write what they did when their records were made, and keep to the rules of
all: no control sequence off a terminal, no line wider than the terminal, one error at most.

A failure that is meant: `python tests/lock/record.py`. To see both outputs whole: `python
tests/lock/compare.py REV`.
"""

from __future__ import annotations

import locked
import pytest


# The last group trains; what it prints may differ in every digit.
@pytest.mark.parametrize(
    "group",
    [
        pytest.param(name, marks=pytest.mark.trained if name == "train" else ())
        for name in locked.PORTABLE
    ],
)
def test_it_does_what_it_did(group, monkeypatch):
    monkeypatch.setattr("charrnn.training.session.SAMPLE_LENGTH", 240)
    said = []
    with locked.new_laboratory() as folder:
        for line, old in locked.read_record(group).items():
            case = locked.Case(line, is_near=locked.is_near(old))
            ran = locked.run_case(case, folder)
            found = [
                *locked.faults(case, ran),
                *locked.differences(old, locked.portable(case, ran)),
            ]
            if found:
                said += [f"charrnn {line}", *found]
    if said:
        pytest.fail("\n".join(said), pytrace=False)
