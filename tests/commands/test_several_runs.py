"""Commands that choose among runs: `train --resume` without a name, and `runs delete` of several."""

import shutil
from pathlib import Path

import pytest

from charrnn.runs.reader import newest_unfinished
from charrnn.runs.writer import lock_folder


@pytest.fixture
def runs(command, here):
    """A finished run, and one that began from it."""
    Path("a.txt").write_text("The lamp by the river.\n" * 40)
    line = "train a.txt --hidden-size 4 --quiet --set threads=1"
    assert command(line, "--steps", 2, "--out", "one").code == 0
    more = "train a.txt --init-from one --steps 2 --quiet --out two"
    assert command(more).code == 0
    return command


@pytest.mark.trained
def test_several_runs_are_deleted_all_or_none_and_what_began_from_them_is_named(runs):
    with lock_folder(Path("two")):
        refused = runs("runs", "delete", "one", "two", stdin=b"y\n")
    assert refused.code != 0 and Path("one/config.yaml").exists()
    assert "two began from one" in runs("runs", "delete", "one", stdin=b"n\n").err
    assert runs("runs", "delete", "one", "two", stdin=b"y\n").code == 0
    assert not Path("one").exists() and not Path("two").exists()


@pytest.mark.trained
def test_resume_takes_the_newest_run_that_is_not_finished(runs):
    assert newest_unfinished() is None
    assert runs("train", "one", "--resume", "--steps", 4, "--quiet").code == 0
    assert newest_unfinished() is None
    # As after an interrupt: the last checkpoint has fewer steps than the run.
    shutil.rmtree("one/step-00000004")
    assert Path(newest_unfinished()).name == "one"
    assert runs("train", "--resume", "--quiet").out.strip().endswith("one")
