"""Several processes from the command line: they stop and resume as one, and end together if one of
them dies or hangs."""

import json
import os
import re
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from small_runs import until

import charrnn
from charrnn.errors import LOST_CONNECTION
from charrnn.runs.writer import lock_folder

pytest_plugins = ("shared",)
SMALL = (
    "--hidden-size=12",
    "--embedding-size=8",
    "--device=cpu",
    "--precision=fp32",
    "--set=batch_size=4",
    "--set=bptt_length=16",
    "--set=threads=1",
    "--set=warmup_steps=2",
)
FOREVER = ("--steps", "100000", "--set", "evaluate_every=5", "--save-every", "5")
linux_only = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds processes in /proc"
)


def ranks_of(folder):
    """Return the process ids of the processes that train in a working folder, also of orphans, by
    their ranks."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if Path(os.readlink(entry / "cwd")) == folder:
                environment = (entry / "environ").read_bytes().decode("utf-8", "replace")
                if (rank := re.search(r"(?:^|\0)RANK=(\d+)", environment)) is not None:
                    found[int(rank[1])] = int(entry.name)
    return found


def saved_step(run):
    """Return the step of the latest checkpoint, 0 if there is none."""
    latest = run / "latest"
    return int(latest.read_text().strip().removeprefix("step-")) if latest.exists() else 0


def first_losses(run):
    """Return the logged training losses of the first five steps."""
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record["train_nats"] for record in records if record["event"] == "step"][:5]


@contextmanager
def spawned(fork_server, run, *options, prepare="", first=5):
    """Train `run` in two processes, which end with it; returns when step `first` was saved."""
    line = (
        "train",
        fork_server.folder / "text.txt",
        "--processes",
        2,
        "--out",
        run,
        *FOREVER,
        *SMALL,
        *options,
    )
    child = fork_server.spawn(*line, prepare=prepare)
    try:
        until(lambda: saved_step(run) >= first)
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


@linux_only
def test_processes_train_stop_and_resume_as_one(fork_server, command, tmp_path):
    run = tmp_path / "run"
    with spawned(fork_server, run) as child:
        ranks = ranks_of(fork_server.folder)
        os.kill(child.pid, signal.SIGINT)
        assert (child.wait(), child.out) == (130, f"{run}\n")
    assert sorted(ranks) == [0, 1]
    step = saved_step(run)
    assert f"Stopped at step {step:,}; everything is saved." in child.err
    assert child.err.count("Stopping") == child.err.count("Saved in") == 1
    assert ", processes: 2, threads: 1 each, seed: 0\n" in child.err
    assert not re.search("Traceback|torch|Rank|error|warning", child.err)
    alone = charrnn.train(charrnn.load(run).config, out=tmp_path / "alone")
    next(event for event in alone if event.event == "step" and event.step == 5)
    alone.close()
    assert first_losses(run) == pytest.approx(first_losses(tmp_path / "alone"), abs=1e-5)
    ran = command("train", "--resume", run, "--steps", step + 1, "--quiet")
    assert (ran.code, ran.err) == (0, "")


@linux_only
def test_if_a_process_is_killed_the_others_end_with_one_error(fork_server, tmp_path):
    run = tmp_path / "run"
    with spawned(fork_server, run, "--quiet") as child:
        ranks = ranks_of(fork_server.folder)
        os.kill(ranks[1], signal.SIGKILL)
        assert (child.wait(), child.out) == (1, "")
        assert not ranks_of(fork_server.folder)
    assert child.err.splitlines() == [
        "error: process 1 was killed by SIGKILL, so training ended: is there enough memory?",
        "       what was saved is intact: continue with --resume",
    ]
    with lock_folder(run):
        assert charrnn.load(run).tensors


@linux_only
@pytest.mark.thorough
def test_if_a_process_hangs_the_others_end_with_one_error(fork_server, tmp_path, monkeypatch):
    run = tmp_path / "run"
    prepare = "child_faults:wait_five_seconds"
    with spawned(fork_server, run, "--quiet", prepare=prepare) as child:
        os.kill(ranks_of(fork_server.folder)[1], signal.SIGSTOP)
        assert (child.wait(), child.out) == (1, "")
        assert not ranks_of(fork_server.folder)
    assert child.err.splitlines() == [
        "error: the connection to another process of this training is lost: it did not answer"
        " within 5 s",
        "       what was saved is intact: continue with --resume",
        "       or set CHARRNN_TIMEOUT_SECONDS higher, if reading, a step, a validation, a save or"
        " counting the text takes longer",
    ]
    with lock_folder(run):
        pass


@linux_only
@pytest.mark.thorough
def test_an_error_of_all_processes_is_printed_once(fork_server, tmp_path):
    line = ("train", tmp_path / "none.txt", "--processes", 3, "--out", tmp_path / "run", *SMALL)
    child = fork_server.spawn(*line)
    assert (child.wait(), child.out) == (3, "")
    assert child.err.count("error: ") == 1
    assert not (tmp_path / "run").exists()


@linux_only
@pytest.mark.thorough
def test_processes_end_with_a_launcher_that_is_killed(fork_server, tmp_path):
    run = tmp_path / "orphans"
    with spawned(fork_server, run) as child:
        assert sorted(ranks_of(fork_server.folder)) == [0, 1]
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        until(lambda: not ranks_of(fork_server.folder))
    with lock_folder(run):
        assert charrnn.load(run).tensors


def test_a_process_that_lost_another_ends_without_taking_python_down(process):
    """Beside it, threads of gloo still run."""
    code = (
        "import atexit, charrnn.commands.app as app, charrnn.__main__ as main\n"
        "atexit.register(print, 'taken down')\n"
        f"app.run = lambda arguments: print('said') or {LOST_CONNECTION}\n"
        "main.main()"
    )
    ran = process("-c", code)
    assert (ran.returncode, ran.stdout) == (LOST_CONNECTION, b"said\n")


@linux_only
@pytest.mark.thorough
def test_a_signal_to_any_process_saves_and_a_second_ctrl_c_ends_all(fork_server, tmp_path):
    run = tmp_path / "run"
    never = ("--set", "evaluate_every=1000000", "--save-every", 10**6)
    with spawned(fork_server, run, *never, first=0) as child:
        until(lambda: (run / "metrics.jsonl").exists() and ranks_of(fork_server.folder))
        os.kill(child.pid, signal.SIGUSR1)
        until(lambda: saved_step(run) > 0)
        step = saved_step(run)
        # Process 1 cannot stop with the others.
        ranks = ranks_of(fork_server.folder)
        os.kill(ranks[1], signal.SIGSTOP)
        os.kill(child.pid, signal.SIGINT)
        until(lambda: "Stopping" in child.err)
        assert ranks_of(fork_server.folder) == ranks
        os.kill(child.pid, signal.SIGINT)
        assert child.wait() == 130
        assert not ranks_of(fork_server.folder)
        assert saved_step(run) == step
    assert "everything is saved" not in child.err
