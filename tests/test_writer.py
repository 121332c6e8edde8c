"""Writing run folders on a real disk: created once, saved to in commits, unharmed by failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from saved_runs import description_of, hidden, make_run, rewrite_manifest, save, tensors

from charrnn.errors import CharRNNError, CheckpointError, UsageError
from charrnn.runs.checkpoint import FORMAT_VERSION
from charrnn.runs.writer import RunWriter


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


# --- creating


def test_create_takes_the_number_after_the_highest(tmp_path: Path) -> None:
    parent = tmp_path / "deep" / "checkpoints"
    assert RunWriter.create(parent, "war.peace").path == parent / "war.peace-001"
    (parent / "war.peace-007").mkdir()
    (parent / "warxpeace-050").mkdir()
    assert RunWriter.create(parent, "war.peace").path.name == "war.peace-008"


def test_create_at_accepts_only_what_is_new_or_empty(tmp_path: Path) -> None:
    assert RunWriter.create_at(tmp_path / "a" / "b").path.is_dir()
    assert RunWriter.create_at(tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    (tmp_path / "a" / "b" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "a" / "b", tmp_path / "file"):
        with pytest.raises(UsageError) as caught:
            RunWriter.create_at(taken)
        assert f"continue it with `resume={taken}`" in str(caught.value)
    with pytest.raises(CharRNNError, match="Not a directory") as error:
        RunWriter.create_at(tmp_path / "file" / "below")
    assert str(tmp_path / "file" / "below") in str(error.value)


# --- saving


def test_an_interrupt_while_saving_leaves_no_temporary_folder(run: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.save_checkpoint(1, tensors(1), {}, {}, description_of(run))
    assert hidden(run.path) == []
    assert run.reader.checkpoints() == []


def test_saving_again_keeps_the_same_step_and_replaces_another_or_a_damaged_one(run: RunWriter) -> None:
    save(run, 100, value=1.0)
    written = (run.path / "step-00000100").stat().st_ino
    save(run, 100, value=1.0)
    assert (run.path / "step-00000100").stat().st_ino == written
    # Another one is of a schedule that was changed since: to keep it would mix two trainings.
    save(run, 100, value=2.0)
    assert run.reader.load_checkpoint("latest", with_training=False).model["weight"][0, 0] == 2.0
    (run.path / "step-00000100" / "training.json").unlink()
    save(run, 100, value=3.0)
    loaded = run.reader.load_checkpoint("latest", with_training=False)
    assert (loaded.model["weight"][0, 0], loaded.warnings) == (3.0, ())
    assert hidden(run.path) == []


def test_saving_never_replaces_a_step_of_a_newer_charrnn(run: RunWriter) -> None:
    name = save(run, 100, value=1.0)
    rewrite_manifest(run, name, format=FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match="newer charrnn"):
        save(run, 100, value=2.0)
    rewrite_manifest(run, name, format=FORMAT_VERSION)
    assert run.reader.load_checkpoint(name, with_training=False).model["weight"][0, 0] == 1.0


# --- pointers and pruning


@pytest.mark.parametrize(
    ("keep", "left"), [(0, [100, 300]), (1, [100, 300, 500]), (2, [100, 300, 400, 500]), (9, [100, 200, 300, 400, 500])]
)
def test_prune_keeps_the_newest_besides_best_and_latest(run: RunWriter, keep: int, left: list[int]) -> None:
    for step in (100, 200, 300, 400, 500):
        save(run, step)
    run.write_pointer("best", "step-00000100")
    run.write_pointer("latest", "step-00000300")
    run.prune(keep)
    assert run.reader.checkpoints() == [f"step-{step:08d}" for step in left]
    assert hidden(run.path) == []


@pytest.mark.parametrize("pointer", ["garbage", "step-00000900\n"])
def test_prune_keeps_the_newest_without_a_valid_pointer(run: RunWriter, pointer: str) -> None:
    save(run, 100)
    save(run, 200)
    (run.path / "latest").write_text(pointer)
    run.prune(0)
    assert run.reader.checkpoints() == ["step-00000200"]
