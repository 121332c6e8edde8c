"""Runs are located by path, by name, or as the newest; errors say what is missing."""

import os
import re
import shutil
from pathlib import Path

import pytest
from saved_runs import commit, make_run, save

from charrnn.errors import CheckpointError
from charrnn.runs import reader
from charrnn.runs.checkpoint import read_checkpoint, read_state
from charrnn.runs.reader import (
    RunReader,
    choose_run,
    list_all_runs,
    open_run_to_read,
)


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    """The folder of runs, in the current one."""
    monkeypatch.chdir(tmp_path)
    return Path("checkpoints")


@pytest.fixture
def run(checkpoints):
    return make_run(checkpoints / "shakespeare-001")


def set_time(path, seconds):
    os.utime(path, (seconds, seconds))


def test_the_newest_run_is_the_one_that_saved_last(checkpoints):
    for name, seconds in zip(
        ["a-001", "b-001", "c-001", "d-001"], (300, 100, 200, 900), strict=True
    ):
        made = make_run(checkpoints / name)
        set_time(made.path / "config.yaml", seconds)
        if name != "d-001":
            save(made, 1)
            set_time(made.path / "latest", seconds)
    (checkpoints / "notes").mkdir()
    (checkpoints / "file.txt").write_text("mine")
    assert [run.path.name for run in list_all_runs()] == ["b-001", "c-001", "a-001", "d-001"]
    assert choose_run(None).path.name == "a-001"


def test_a_reader_gets_the_newest_run_that_was_validated(checkpoints):
    older = make_run(checkpoints / "a-001")
    validated = make_run(checkpoints / "b-001")
    abandoned = make_run(checkpoints / "c-001")
    started = make_run(checkpoints / "d-001")
    commit(older, 9, best_step=9)
    commit(validated, 9, best_step=9)
    save(abandoned, 0)
    for seconds, made in enumerate((older, validated, abandoned)):
        set_time(made.path / "latest", 100 + seconds)
    set_time(started.path / "config.yaml", 900)
    assert open_run_to_read(None) == (RunReader(validated.path), None)
    assert choose_run(None) == RunReader(abandoned.path), "which is what --resume goes on with"
    assert open_run_to_read("c-001") == (RunReader(abandoned.path), None)


def test_a_list_reads_a_checkpoint_that_is_saved_while_the_one_before_it_is_removed(
    run, monkeypatch
):
    save(run, 1)

    def read_while_training(folder):
        if folder.name == "step-00000001":
            save(run, 2)
            shutil.rmtree(folder)
        return read_state(folder)

    monkeypatch.setattr(reader, "read_state", read_while_training)
    newest = RunReader(run.path).newest_state()
    assert (newest.state["step"], newest.damage) == (2, None)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with an older run in `checkpoints/` and a newer one, `wp`, in the folder
    itself."""
    monkeypatch.chdir(tmp_path)
    for seconds, place in enumerate(("checkpoints/old-001", "wp")):
        made = make_run(Path(place))
        commit(made, 1, best_step=1)
        set_time(made.path / "latest", 100 + seconds)
    return tmp_path


def listed():
    return [run.name for run in list_all_runs()]


def test_runs_in_the_current_folder_are_listed_and_may_be_the_newest(here):
    assert listed() == ["old-001", "wp"]
    assert choose_run(None).path == open_run_to_read(None).run.path == Path("wp")
    set_time(Path("checkpoints/old-001/latest"), 900)
    assert choose_run(None).path == Path("checkpoints/old-001")
    with pytest.raises(CheckpointError) as refused:
        choose_run("wpp")
    where, similar = str(refused.value).splitlines()
    assert "'wpp'" in where and str(here) in where, "what was looked for, and in which folder"
    assert re.search(r"\bwp\b", similar)


def test_runs_in_a_folder_here_or_in_checkpoints_are_listed_by_what_finds_them(here):
    for seconds, place in enumerate(("sizes/64", "checkpoints/three/rnn", ".hidden/64", "a/b/c")):
        commit(make_run(Path(place)), 1, best_step=1)
        set_time(Path(place) / "latest", 200 + seconds)
    assert listed() == ["old-001", "wp", "sizes/64", "three/rnn"]
    assert choose_run(None).path == Path("checkpoints/three/rnn")
    assert [choose_run(name).name for name in listed()] == listed()


def test_a_folder_of_runs_that_is_taken_for_one_names_them(here):
    for place in ("sizes/64", "sizes/128"):
        make_run(Path(place))
    with pytest.raises(CheckpointError) as refused:
        choose_run("sizes")
    named = re.findall(r"sizes/\d+", str(refused.value))
    assert sorted(named) == ["sizes/128", "sizes/64"]
    assert {choose_run(name).name for name in named} == {*named}, "what is named can be typed"


def test_a_folder_that_cannot_be_read_has_no_runs(here, monkeypatch):
    """Somebody else's, in a folder that is shared."""
    Path("closed").mkdir()
    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert listed() == ["old-001", "wp"]


def test_a_folder_that_may_be_listed_and_not_entered_is_no_run(here, monkeypatch):
    """Python's `is_symlink` raises for what is in such a folder."""
    Path("closed/step-00000001").mkdir(parents=True)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_symlink", refuse)
    assert "closed" not in listed()
    with pytest.raises(CheckpointError, match="cannot read closed/step-00000001"):
        read_checkpoint(Path("closed/step-00000001"), with_training=True)


def test_parts_of_a_run_are_no_runs(here, monkeypatch):
    """A checkpoint has the files by which a run is recognised."""
    monkeypatch.chdir("wp")
    assert listed() == []


def test_the_current_folder_goes_first_where_a_name_occurs_twice(here):
    made = make_run(Path("checkpoints/wp"))
    commit(made, 1, best_step=1)
    set_time(made.path / "latest", 900)
    assert listed() == ["old-001", "wp", "checkpoints/wp"]
    for name, path in (("wp", "wp"), ("checkpoints/wp", "checkpoints/wp")):
        assert choose_run(name).path == Path(path), "what is listed is what a command takes"
