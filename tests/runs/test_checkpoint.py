"""Run folders on a real disk: created once, locked, saved to in commits; damaged checkpoints are
named and skipped.

Tests `runs.writer`, too.
"""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from saved_runs import (
    FILES,
    description_of,
    forge,
    hidden,
    make_run,
    rewrite_manifest,
    save,
    tensors,
)

import charrnn
from charrnn.errors import CharRNNError, CheckpointError, RunInUseError, UsageError
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import parse_config
from charrnn.runs.reader import find_run
from charrnn.runs.writer import RunWriter, clear_unsaved, lock_folder
from charrnn.system.process import process_identity

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux says when a process started"
)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX word")
def test_a_lock_is_refused_while_held_and_free_after_kill_9(run):
    # In a process of its own, since forking this one, with the threads of other tests, is not safe.
    holding = (
        "import sys; from pathlib import Path; from charrnn.runs.writer import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", holding, str(run.path)], **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        before = (run.path / "lock").stat()
        with (
            pytest.raises(RunInUseError, match=f"{run.path} is in use by process {holder.pid}"),
            lock_folder(run.path),
        ):
            pass
        after = (run.path / "lock").stat()
        assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=600)
    with lock_folder(run.path):
        assert (run.path / "lock").read_text() == process_identity(os.getpid())


def test_a_run_is_read_where_python_has_no_locks(run):
    """As in a browser, where Python has neither fcntl nor msvcrt."""
    program = (
        "import sys; sys.modules |= {'fcntl': None, 'msvcrt': None}\n"
        "import charrnn; print(charrnn.load('prose').name)\n"
        "from pathlib import Path; from charrnn.runs.writer import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])): print('locked')"
    )
    command = [sys.executable, "-c", program, run.path]
    printed = subprocess.run(command, capture_output=True, check=True, text=True)
    assert printed.stdout.split() == ["prose", "locked"]


FOREIGN = "4711 another-host 123456"
"""The identity of a process of another host."""


@pytest.fixture
def without_locks(monkeypatch):
    """A folder of a network, where no file can be locked."""
    monkeypatch.setattr("charrnn.system.files.try_lock", lambda file: None)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_folder_without_locks_is_locked_by_the_name_of_its_process(run, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")

    def fail(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with lock_folder(run.path):
        assert (run.path / "lock").read_text() == process_identity(os.getpid())
    assert (run.path / "lock").read_text() == ""


@on_linux
def test_a_run_that_another_process_starts_is_in_use_for_every_command(tmp_path):
    """Its folder has a lock, and no configuration yet."""
    folder = tmp_path / "starting"
    folder.mkdir()
    (folder / "lock").write_text(process_identity(os.getppid()))
    for open_folder in (lambda: find_run(str(folder)), lambda: RunWriter.create_at(folder)):
        with pytest.raises(RunInUseError, match=f"in use by process {os.getppid()} on "):
            open_folder()


@on_linux
def test_without_locks_a_running_process_keeps_others_away(run, without_locks):
    with (
        lock_folder(run.path),
        pytest.raises(RunInUseError, match=f"in use by process {os.getpid()} on "),
        lock_folder(run.path),
    ):
        pass
    assert (run.path / "lock").read_text() == "", "the second one has changed nothing"


@on_linux
def test_without_locks_a_process_that_was_killed_keeps_nobody_away(run, without_locks):
    number, host, start = process_identity(os.getpid()).split()
    (run.path / "lock").write_text(f"{number} {host} {int(start) - 1}")  # a number comes again
    with lock_folder(run.path):
        assert (run.path / "lock").read_text() == process_identity(os.getpid())


def test_a_run_that_another_host_has_taken_over_is_not_saved(run):
    with lock_folder(run.path):
        (run.path / "lock").write_text(FOREIGN)
        with pytest.raises(RunInUseError) as caught:
            run.check_still_owned()
    assert "taken over by process 4711 on another-host" in str(caught.value)
    assert (run.path / "lock").read_text() == FOREIGN


@on_linux
@pytest.mark.parametrize("is_training", [True, False])
def test_a_run_whose_folder_was_made_anew_is_not_saved(run, is_training):
    """Beside a process of the same host that trains there, and after it."""
    number = os.getppid()
    with lock_folder(run.path):
        (run.path / "lock").unlink()
        owner = process_identity(number) if is_training else ""
        (run.path / "lock").write_text(owner)
        with pytest.raises(RunInUseError) as caught:
            run.check_still_owned()
    who = f"process {number} on {owner.split()[1]}" if is_training else "another process"
    assert f"{run.path} was taken over by {who}" in str(caught.value)


def test_a_step_comes_back_exactly(run):
    model = tensors(0.1) | {"transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    state = {"cursor": [3, 4], "nested": {"best": 1.5}}
    payloads = checkpoint.checkpoint_to_bytes(
        step=800, model=model, training=tensors(0.2), state=state, description=description_of(run)
    )
    folder = run.save_checkpoint(800, payloads)
    loaded = run.load_checkpoint("latest", with_training=True)
    assert (loaded.name, loaded.step, loaded.warnings, loaded.state) == (
        "step-00000800",
        800,
        (),
        state,
    )
    for saved, read in ((model, loaded.model), (tensors(0.2), loaded.training)):
        assert saved.keys() == read.keys()
        for name, tensor in saved.items():
            assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
            np.testing.assert_array_equal(read[name], tensor)
    assert run.load_checkpoint("step-00000800", with_training=False).training == {}
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name_and_its_name_after(run, monkeypatch):
    seen = []
    rename = os.rename

    def note_rename(old, new):
        seen.append(f"rename to {new.name}")
        rename(old, new)

    monkeypatch.setattr("charrnn.system.files.fsync_folder", lambda path: seen.append(path.name))
    monkeypatch.setattr("os.rename", note_rename)
    save(run, 100)
    temporary = f".step-00000100.tmp-{os.getpid()}"
    assert seen == [temporary, "rename to step-00000100", run.path.name]


def test_saving_a_step_again_replaces_it(run):
    save(run, 100, value=1.0)
    digests = {
        run.load_checkpoint("latest", with_training=is_whole).digest for is_whole in (False, True)
    }
    save(run, 100, value=2.0)
    replaced = run.load_checkpoint("latest", with_training=False)
    assert replaced.model["weight"][0, 0] == 2.0
    assert len(digests | {replaced.digest}) == 2


def test_saving_replaces_a_damaged_step(run):
    save(run, 100, value=2.0)
    (run.path / "step-00000100" / "training.json").unlink()
    save(run, 100, value=3.0)
    loaded = run.load_checkpoint("latest", with_training=False)
    assert (loaded.model["weight"][0, 0], loaded.warnings) == (3.0, ())
    assert hidden(run.path) == []


def test_a_step_of_a_newer_charrnn_is_refused(run):
    save(run, 100)
    name = save(run, 200, value=1.0)
    rewrite_manifest(run, name, format=checkpoint.FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match=r"made by a newer charrnn \(format 3\); upgrade"):
        run.load_checkpoint("latest", with_training=False)
    assert run.load_checkpoint("step-00000100", with_training=False).step == 100
    rewrite_manifest(run, name, format=checkpoint.FORMAT_VERSION)
    assert run.load_checkpoint(name, with_training=False).model["weight"][0, 0] == 1.0


@pytest.mark.parametrize(
    "keep, left", [(0, [100, 500]), (1, [100, 400, 500]), (9, [100, 200, 300, 400, 500])]
)
def test_prune_keeps_some_besides_the_newest_and_those_needed(run, keep, left):
    for step in (100, 200, 300, 400, 500):
        save(run, step)
    run.prune(keep, needed=["step-00000100"])
    assert run.checkpoints() == [f"step-{step:08d}" for step in left]
    assert hidden(run.path) == []


def test_steps_are_in_numeric_order_and_nothing_else_counts(run):
    for name in (
        "step-100000000",
        "step-00000002",
        "step-99999999",
        "step-2",
        "step-0000000002",
        "step-0000000x",
    ):
        (run.path / name).mkdir()
    (run.path / "step-00000003").write_text("a file")
    (run.path / "step-00000004").symlink_to(run.path / "step-00000002")
    assert run.checkpoints() == ["step-00000002", "step-99999999", "step-100000000"]


def test_falling_back_goes_to_earlier_steps_first_and_then_to_later_ones(run):
    for step in (100, 200, 300, 400, 500):
        save(run, step)

    def load_after_damaging(step):
        (run.path / f"step-{step:08d}" / "model.safetensors").unlink()
        loaded = run.load_checkpoint("step-00000300", with_training=True)
        return loaded.step, len(loaded.warnings)

    assert [load_after_damaging(step) for step in (300, 200, 100, 400)] == [
        (200, 1),
        (100, 2),
        (400, 3),
        (500, 4),
    ]
    with pytest.raises(
        CheckpointError, match=r"no checkpoint of .* can be loaded: .*model\.safetensors"
    ):
        load_after_damaging(500)


def expect_fall_back(run, damaged):
    with pytest.raises(CheckpointError, match=damaged):
        checkpoint.read_checkpoint(run.path / "step-00000200", with_training=True)
    loaded = run.load_checkpoint("latest", with_training=True)
    (warning,) = loaded.warnings
    assert (loaded.step, loaded.model["weight"][0, 0]) == (100, 100)
    assert damaged in warning
    assert "using step-00000100" in warning


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", FILES)
def test_a_flip_in_any_byte_is_noticed(run, name, stride):
    save(run, 100)
    path = run.path / save(run, 200) / name
    data = path.read_bytes()
    for position in range(0, len(data), stride):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        # A flip in a hash that the manifest lists shows as damage of the file it belongs to.
        with pytest.raises(
            CheckpointError, match="step-00000200" if name == "manifest.json" else name
        ):
            checkpoint.read_checkpoint(run.path / "step-00000200", with_training=True)


def listed(**extra):
    return {name: {"size": 1, "sha256": ""} for name in FILES[:-1]} | extra


def test_a_manifest_of_another_shape_is_damage(run):
    save(run, 100)
    path = run.path / save(run, 200) / "manifest.json"
    whole = path.read_bytes()
    shapes = (
        {"step": 201},
        {"format": "1"},
        {"files": None},
        {"files": listed(**{"../../config.yaml": {"size": 1, "sha256": ""}})},
        {"files": listed(**{"training.json": None})},
        {"files": listed(**{"training.json": {"size": "1", "sha256": ""}})},
    )
    for changes in shapes:
        path.write_bytes(whole)
        rewrite_manifest(run, "step-00000200", **changes)
        expect_fall_back(run, "manifest.json")
    for text in ("[1]", "[" * 100_000):
        path.write_text(text)
        expect_fall_back(run, "manifest.json")


def header(text, data=b""):
    return len(text).to_bytes(8, "little") + text.encode() + data


NO_TENSORS = (
    b"",
    b"\xff" * 8,
    (1 << 40).to_bytes(8, "little") + b"{}",
    header('{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"1234"),
    header('{"weight":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}', b"1234"),
    header('{"weight":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}'),
    b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "training.json"])
def test_other_content_that_matches_its_hash_is_damage(run, name):
    save(run, 100)
    save(run, 200)
    for data in (b"[]", b"\xff") if name == "training.json" else NO_TENSORS:
        forge(run, "step-00000200", name, data)
        expect_fall_back(run, name)


def test_only_a_run_that_was_killed_before_its_first_save_is_cleared(run):
    for identity in ("123", FOREIGN):
        run.path.mkdir(exist_ok=True)
        (run.path / "lock").write_text(identity)
        clear_unsaved(run.path)
        assert not run.path.exists()
    run.path.mkdir()
    for name, content in (("lock", "mine"), ("notes.txt", "mine")):
        (run.path / name).write_text(content)
        with pytest.raises(UsageError, match="exists already"):
            clear_unsaved(run.path)
        assert (run.path / name).read_text() == content
        (run.path / name).unlink()


@pytest.mark.parametrize(
    "values, scale",
    [
        (np.ones((1, 30_000), np.int8), np.ones(30_000, np.float32)),
        (np.ones((2, 3), np.int8), np.ones((), np.float32)),
        (np.ones((2, 3), np.int8), np.ones((2, 1), np.float32)),
        (np.ones(3, np.int8), np.ones(3, np.float32)),
        (np.ones((2, 3), np.bool_), np.ones(2, np.float32)),
        (np.ones((2, 3), np.int8), np.ones(2, np.float64)),
    ],
)
def test_int8_weights_without_a_scale_for_each_row_are_damage(values, scale):
    data = checkpoint.tensors_to_bytes({"w": values, f"w{checkpoint.SCALE}": scale})
    with pytest.raises(CheckpointError, match="w is no matrix of int8 with a scale in float32"):
        checkpoint.tensors_from_bytes(Path("model.safetensors"), data)


def test_a_run_of_an_older_version_opens(alphabet_run):
    data = (alphabet_run / "config.yaml").read_bytes()
    older = data + b"held_back: 500\ncapture: auto\n"
    assert parse_config(Path("config.yaml"), older) == parse_config(Path("config.yaml"), data)
    (alphabet_run / "counts.safetensors").write_bytes(b"counts of an older version")
    assert charrnn.load(alphabet_run).sample(length=5, seed=1).text


def test_a_run_takes_no_folder_with_files_and_no_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "folder", tmp_path / "file"):
        with pytest.raises(UsageError, match="give `out` another name"):
            RunWriter.create_at(taken)
    with pytest.raises(CharRNNError, match=r"file/below.*Not a directory"):
        RunWriter.create_at(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_missing_longer_or_linked_file_falls_back(run, name):
    save(run, 100)
    path = run.path / save(run, 200) / name
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data + b"x"):
        path.write_bytes(damaged)
        expect_fall_back(run, name)
    path.unlink()
    expect_fall_back(run, name)
    assert (name in str(run.newest_state().damage)) is (name in ("training.json", "manifest.json"))
    (run.path / "elsewhere").write_bytes(data)
    path.symlink_to(run.path / "elsewhere")
    expect_fall_back(run, name)
