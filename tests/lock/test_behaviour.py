"""Command lines print and write what they did when their records were made, and keep the rules of
all, which are in `helpers/command_lines.py`.

A failure that is meant: `python tests/lock/record.py`. To see both outputs whole: `python
tests/lock/compare.py REV`.
"""

from __future__ import annotations

import locked
import pytest
from command_lines import PLACES


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
        for case, old in locked.read_record(group).items():
            ran, files, broken = locked.run_case(case, folder)
            broken += locked.differences(old, locked.portable(case, ran, files))
            if broken:
                said += [f"charrnn {case.line}", *broken]
    if said:
        pytest.fail("\n".join(said), pytrace=False)


def test_only_what_a_user_would_notice_is_recorded():
    """The help, a text, a view and the JSON of each command, and some errors: every record has to
    be read again whenever an output changes."""
    assert sum(path.stat().st_size for path in locked.RECORDS.glob("*.txt")) <= 100_000


@pytest.mark.thorough
@pytest.mark.parametrize("place", PLACES)
def test_what_works_at_one_place_works_at_all(place):
    said = []
    with locked.new_laboratory() as folder:
        for group in locked.PORTABLE:
            for case, old in locked.read_record(group).items():
                if case.place == "forced":
                    ran, _, broken = locked.run_case(case, folder, **PLACES[place])
                    # A bar is shown on a terminal that can show it.
                    is_quiet = ran.err == "" or "\r" in ran.err or "stderr:" in old
                    if broken or ran.code or not is_quiet:
                        said += [f"charrnn {case.line}", *broken, ran.err]
    assert said == []
