"""Writing run folders on a real disk: created once, saved to in commits, unharmed by failures."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from saved_runs import FILES, description_of, hidden, make_run, rewrite_manifest, save, tensors

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


def test_simultaneous_starts_get_a_folder_each(tmp_path: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path; from charrnn.runs.writer import RunWriter\n"
        "barrier, names = threading.Barrier(10), []\n"
        "def start():\n"
        "    barrier.wait(); names.append(RunWriter.create(Path(sys.argv[1]), 'run').path.name)\n"
        "threads = [threading.Thread(target=start) for _ in range(10)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; print(*names)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    names = [name for process in processes for name in process.communicate(timeout=600)[0].split()]
    assert sorted(names) == [f"run-{number:03d}" for number in range(1, 21)]


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


def test_create_explains_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CharRNNError, match="cannot create a run folder in"):
        RunWriter.create(tmp_path / "file", "run")


# --- saving


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds a descriptor's path in /proc")
def test_commit_order(run: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    real_fsync, real_rename, real_replace = os.fsync, os.rename, os.replace

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        size = path.stat().st_size if path.is_file() else None
        assert size != 0, f"{path} was synced before it was written"
        events.append(f"fsync {path.name}")
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        events.append(f"rename {target.name}")
        real_rename(source, target)

    def replace(source: Path, target: Path) -> None:
        events.append(f"replace {target.name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "replace", replace)
    run.save_checkpoint(800, tensors(1), tensors(2), {}, description_of(run))
    assert run.reader.read_pointer("latest") is None, "saving moves no pointer"
    run.write_pointer("latest", "step-00000800")
    pid = os.getpid()
    assert events == [
        "fsync model.safetensors",
        "fsync training.safetensors",
        "fsync training.json",
        "fsync config.yaml",
        "fsync vocab.json",
        "fsync manifest.json",
        f"fsync .step-00000800.tmp-{pid}",
        "rename step-00000800",
        "fsync shakespeare-001",
        f"fsync .latest.tmp-{pid}",
        "replace latest",
        "fsync shakespeare-001",
    ]


@pytest.mark.parametrize("failing", [*FILES, "mkdir", "rename"])
def test_a_full_disk_leaves_what_was_saved(run: RunWriter, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    save(run, 100)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real_fsync = os.fsync
    synced: list[int] = []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == FILES.index(failing) + 1:
            raise full
        real_fsync(descriptor)

    def fail(*_: object, **__: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        if failing == "mkdir":
            patch.setattr(Path, "mkdir", fail)
        elif failing == "rename":
            patch.setattr(os, "rename", fail)
        else:
            patch.setattr(os, "fsync", fsync)
        with pytest.raises(CharRNNError, match=r"No space left.*\([\d,]{3,} bytes needed\)") as caught:
            save(run, 200)
    assert str(run.path / "step-00000200") in str(caught.value)
    assert hidden(run.path) == []
    loaded = run.reader.load_checkpoint("latest", with_training=True)
    assert (loaded.step, loaded.warnings) == (100, ())
    assert save(run, 200) == "step-00000200"


def test_an_interrupt_while_saving_leaves_no_temporary_folder(run: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.save_checkpoint(1, tensors(1), {}, {}, description_of(run))
    assert hidden(run.path) == []
    assert run.reader.checkpoints() == []


def test_temporary_folders_of_killed_processes_are_removed(run: RunWriter) -> None:
    (run.path / ".step-00000050.tmp-99999").mkdir()
    (run.path / ".step-00000050.tmp-99999" / "model.safetensors").write_bytes(b"half")
    save(run, 100)
    assert hidden(run.path) == []
    assert run.reader.checkpoints() == ["step-00000100"]


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


def test_a_pointer_file_is_a_name_and_a_newline(run: RunWriter) -> None:
    run.write_pointer("best", "step-123456789")
    assert (run.path / "best").read_bytes() == b"step-123456789\n"
    assert run.reader.read_pointer("best") == "step-123456789"
    assert run.reader.read_pointer("latest") is None


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
