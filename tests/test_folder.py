"""Run folders on a real disk: what is committed can be loaded, what is damaged is passed over."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from saved_runs import CONFIG, FILES, VOCAB, description_of, hidden, make_run, rewrite_manifest, save, tensors

from charrnn.errors import CharRNNError, CheckpointError, UsageError
from charrnn.runs.description import Description
from charrnn.runs.folder import RunFolder
from charrnn.runs.step import FORMAT_VERSION


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


# --- creating


def test_create_takes_the_number_after_the_highest(tmp_path: Path) -> None:
    parent = tmp_path / "deep" / "checkpoints"
    assert RunFolder.create(parent, "war.peace").path == parent / "war.peace-001"
    (parent / "war.peace-007").mkdir()
    (parent / "warxpeace-050").mkdir()
    assert RunFolder.create(parent, "war.peace").path.name == "war.peace-008"


def test_simultaneous_starts_get_a_folder_each(tmp_path: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path; from charrnn.runs.folder import RunFolder\n"
        "barrier, names = threading.Barrier(10), []\n"
        "def start():\n"
        "    barrier.wait(); names.append(RunFolder.create(Path(sys.argv[1]), 'run').path.name)\n"
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
    assert RunFolder.create_at(tmp_path / "a" / "b").path.is_dir()
    assert RunFolder.create_at(tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    (tmp_path / "a" / "b" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "a" / "b", tmp_path / "file"):
        with pytest.raises(UsageError) as caught:
            RunFolder.create_at(taken)
        assert f"--resume {taken}" in str(caught.value)
    with pytest.raises(CharRNNError, match="Not a directory") as error:
        RunFolder.create_at(tmp_path / "file" / "below")
    assert str(tmp_path / "file" / "below") in str(error.value)


def test_create_explains_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CharRNNError, match="cannot create a run folder in"):
        RunFolder.create(tmp_path / "file", "run")


# --- saving


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds a descriptor's path in /proc")
def test_commit_order(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
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
    run.save_step(800, tensors(1), tensors(2), {}, description_of(run))
    assert run.read_pointer("latest") is None, "saving moves no pointer"
    run.point("latest", "step-00000800")
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
def test_a_full_disk_leaves_what_was_saved(run: RunFolder, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
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
    loaded = run.load_step("latest", with_training=True)
    assert (loaded.step, loaded.warnings) == (100, ())
    assert save(run, 200) == "step-00000200"


def test_an_interrupt_while_saving_leaves_no_temporary_folder(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.save_step(1, tensors(1), {}, {}, description_of(run))
    assert hidden(run.path) == []
    assert run.steps() == []


def test_leftovers_of_dead_saves_are_swept(run: RunFolder) -> None:
    (run.path / ".step-00000050.tmp-99999").mkdir()
    (run.path / ".step-00000050.tmp-99999" / "model.safetensors").write_bytes(b"half")
    save(run, 100)
    assert hidden(run.path) == []
    assert run.steps() == ["step-00000100"]


def test_saving_again_keeps_the_same_step_and_replaces_another_or_a_damaged_one(run: RunFolder) -> None:
    save(run, 100, value=1.0)
    written = (run.path / "step-00000100").stat().st_ino
    save(run, 100, value=1.0)
    assert (run.path / "step-00000100").stat().st_ino == written
    # Another one is of a schedule that was changed since: to keep it would mix two trainings.
    save(run, 100, value=2.0)
    assert run.load_step("latest", with_training=False).model["weight"][0, 0] == 2.0
    (run.path / "step-00000100" / "training.json").unlink()
    save(run, 100, value=3.0)
    loaded = run.load_step("latest", with_training=False)
    assert (loaded.model["weight"][0, 0], loaded.warnings) == (3.0, ())
    assert hidden(run.path) == []


def test_saving_never_replaces_a_step_of_a_newer_charrnn(run: RunFolder) -> None:
    name = save(run, 100, value=1.0)
    rewrite_manifest(run, name, format=FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match="newer charrnn"):
        save(run, 100, value=2.0)
    rewrite_manifest(run, name, format=FORMAT_VERSION)
    assert run.load_step(name, with_training=False).model["weight"][0, 0] == 1.0


# --- pointers and pruning


@pytest.mark.parametrize(
    "garbage",
    [b"", b"step-1", b"../../etc", b"step-00000100/../x", b"\xff\xfe", b"step-00000100\nmore", b"x" * 5000],
)
def test_a_garbled_pointer_reads_as_none_and_the_newest_step_is_loaded(run: RunFolder, garbage: bytes) -> None:
    save(run, 100)
    save(run, 200)
    (run.path / "latest").write_bytes(garbage)
    assert run.read_pointer("latest") is None
    loaded = run.load_step("latest", with_training=False)
    assert loaded.step == 200
    assert len(loaded.warnings) == 1
    assert "latest" in loaded.warnings[0]
    assert "using step-00000200" in loaded.warnings[0]


def test_pointers_hold_a_name_and_a_newline(run: RunFolder) -> None:
    run.point("best", "step-123456789")
    assert (run.path / "best").read_bytes() == b"step-123456789\n"
    assert run.read_pointer("best") == "step-123456789"
    assert run.read_pointer("latest") is None


@pytest.mark.parametrize(
    ("keep", "left"), [(0, [100, 300]), (1, [100, 300, 500]), (2, [100, 300, 400, 500]), (9, [100, 200, 300, 400, 500])]
)
def test_prune_keeps_the_newest_besides_best_and_latest(run: RunFolder, keep: int, left: list[int]) -> None:
    for step in (100, 200, 300, 400, 500):
        save(run, step)
    run.point("best", "step-00000100")
    run.point("latest", "step-00000300")
    run.prune(keep)
    assert run.steps() == [f"step-{step:08d}" for step in left]
    assert hidden(run.path) == []


@pytest.mark.parametrize("pointer", ["garbage", "step-00000900\n"])
def test_prune_never_removes_the_only_way_back(run: RunFolder, pointer: str) -> None:
    save(run, 100)
    save(run, 200)
    (run.path / "latest").write_text(pointer)
    run.prune(0)
    assert run.steps() == ["step-00000200"]


def test_steps_are_in_numeric_order_and_nothing_else_counts(run: RunFolder) -> None:
    for name in ("step-100000000", "step-00000002", "step-99999999", "step-2", "step-0000000002", "step-0000000x"):
        (run.path / name).mkdir()
    (run.path / "step-00000003").write_text("a file")
    (run.path / "step-00000004").symlink_to(run.path / "step-00000002")
    assert run.steps() == ["step-00000002", "step-99999999", "step-100000000"]


# --- falling back


def test_a_newer_format_is_refused_with_the_way_out(run: RunFolder) -> None:
    save(run, 100)
    save(run, 200)
    rewrite_manifest(run, "step-00000200", format=FORMAT_VERSION + 1, files={"weights.bin": {}})
    with pytest.raises(CheckpointError, match=r"made by a newer charrnn \(format 3\); upgrade"):
        run.load_step("latest", with_training=False)
    assert run.load_step("step-00000100", with_training=False).step == 100


def test_falling_back_goes_to_earlier_steps_first_and_then_to_later_ones(run: RunFolder) -> None:
    for step in (100, 200, 300, 400, 500):
        save(run, step)

    def load_after_damaging(step: int) -> tuple[int, int]:
        (run.path / f"step-{step:08d}" / "model.safetensors").unlink()
        loaded = run.load_step("step-00000300", with_training=True)
        return loaded.step, len(loaded.warnings)

    assert [load_after_damaging(step) for step in (300, 200, 100, 400)] == [(200, 1), (100, 2), (400, 3), (500, 4)]
    with pytest.raises(CheckpointError, match=r"no step of .* can be loaded: .*model\.safetensors"):
        load_after_damaging(500)


def test_a_step_that_vanishes_while_it_is_read_is_replaced_by_a_later_one(run: RunFolder) -> None:
    save(run, 100)
    save(run, 200)
    run.point("latest", "step-00000100")
    real = RunFolder.read_pointer

    def read_and_prune(self: RunFolder, name: str) -> str | None:
        pointed = real(self, name)
        run.point("latest", "step-00000200")
        for file in FILES:
            (run.path / "step-00000100" / file).unlink(missing_ok=True)
        return pointed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "read_pointer", read_and_prune)
        assert run.load_step("latest", with_training=True).step == 200


def test_a_step_nobody_saved_is_an_error_that_lists_the_others(run: RunFolder) -> None:
    with pytest.raises(CheckpointError, match="nothing saved yet"):
        run.load_step("latest", with_training=False)
    save(run, 100)
    for name in ("step-00000300", "../shakespeare-001/step-00000100"):
        with pytest.raises(CheckpointError, match="saved there: step-00000100"):
            run.load_step(name, with_training=False)


# --- configuration and alphabet


def test_config_and_vocab_are_read(run: RunFolder) -> None:
    assert run.read_config() == CONFIG
    assert Description.read(run.path).vocab() == VOCAB


def corrupt(kind: str) -> Callable[[Path], object]:
    def huge(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(16 * 1024 * 1024 + 1)

    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to("/etc/hostname")

    ways: dict[str, Callable[[Path], object]] = {
        "missing": Path.unlink,
        "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00"),
        "huge": huge,
        "link": link,
    }
    return ways[kind]


@pytest.mark.parametrize("kind", ["missing", "not UTF-8", "huge", "link"])
def test_an_unreadable_config_or_vocab_is_a_bad_checkpoint(run: RunFolder, kind: str) -> None:
    for name, read in (("vocab.json", lambda: Description.read(run.path).vocab()), ("config.yaml", run.read_config)):
        corrupt(kind)(run.path / name)
        with pytest.raises(CheckpointError, match=name):
            read()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_a_vocab_that_is_not_json_is_a_bad_checkpoint(run: RunFolder, text: str) -> None:
    (run.path / "vocab.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"vocab\.json is damaged"):
        Description.read(run.path).vocab()
