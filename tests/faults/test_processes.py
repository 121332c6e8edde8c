"""Several processes from the command line: torchrun's variables, --processes, signals, and
processes that die."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from unittest.mock import MagicMock, Mock, call

import pytest
from fixture_types import Command
from fork_server import Child, ForkServer
from small_runs import until

import charrnn
from charrnn.distributed import processes
from charrnn.distributed.child_process import ChildProcess
from charrnn.distributed.processes import (
    Rank,
    RankedProcess,
    check_processes,
    connect,
    exit_code,
    this_rank,
)
from charrnn.errors import CharRNNError, OtherProcessError, UsageError

pytest_plugins = ("shared",)
TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
ADDRESS = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
SMALL = (
    *("--hidden-size", "12", "--embedding-size", "8", "--device", "cpu", "--precision", "fp32"),
    *(
        "--set",
        "batch_size=4",
        "--set",
        "bptt_length=16",
        "--set",
        "threads=1",
        "--set",
        "warmup_steps=2",
    ),
)
FOREVER = ("--steps", "100000", "--set", "evaluate_every=5", "--save-every", "5")
linux_only = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds processes in /proc"
)


def test_the_variables_of_torchrun_say_which_process_this_is() -> None:
    assert this_rank({}) is None
    assert this_rank({"RANK": "x"}) is None, "a process on its own"
    assert this_rank(TORCHRUN | ADDRESS) == Rank(
        number=1, world_size=2, local_rank=1, local_world_size=2
    )
    assert (
        processes.timeout_seconds({}),
        processes.timeout_seconds({"CHARRNN_TIMEOUT_SECONDS": "7"}),
    ) == (60, 7)
    with pytest.raises(
        UsageError, match=r"^CHARRNN_TIMEOUT_SECONDS is '0'; .* 1 to 86400\nunset it"
    ):
        processes.timeout_seconds({"CHARRNN_TIMEOUT_SECONDS": "0"})


def test_variables_that_cannot_be_are_refused() -> None:
    for name, value, message in (
        ("MASTER_ADDR", "", "WORLD_SIZE is 2, but MASTER_ADDR is not set"),
        (
            "MASTER_PORT",
            "65536",
            "MASTER_PORT is '65536'; it must be a whole number from 1 to 65535",
        ),
        ("RANK", "", "WORLD_SIZE is 2, but RANK is not set"),
        ("RANK", "2", "RANK is '2'; it must be a whole number from 0 to 1"),
        ("LOCAL_WORLD_SIZE", "3", "LOCAL_WORLD_SIZE is '3'; it must be a whole number from 1 to 2"),
        ("TORCHELASTIC_RESTART_COUNT", "1", "torchrun has started the processes again"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)) as caught:
            this_rank(TORCHRUN | ADDRESS | {name: value})
        assert len(str(caught.value).splitlines()) == 2, "the remedy"


def test_the_start_waits_longer_than_an_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = MagicMock()
    torch.distributed.all_reduce.side_effect = RuntimeError("Timed out")
    monkeypatch.setattr("charrnn.distributed.processes.torch", torch)
    with (
        connect(TORCHRUN | ADDRESS) as group,
        pytest.raises(OtherProcessError, match=f"or set {processes.TIMEOUT} higher"),
    ):
        group.any(True)
    assert torch.distributed.init_process_group.call_args.kwargs["timeout"] == timedelta(
        seconds=600
    )
    torch.distributed.distributed_c10d._set_pg_timeout.assert_called_once_with(
        timedelta(seconds=60)
    )


@pytest.mark.parametrize("value", ["0", "1.5", "", "1025", "9" * 30])
def test_a_number_of_processes_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(
        UsageError, match=f"`processes` is {value}; it must be a whole number from 1 to 1024"
    ):
        check_processes(value)


def test_the_command_refuses_processes_inside_torchrun_wrong_variables_and_standard_input(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("train", "-", "--processes", 2, stdin=b"text")
    assert (ran.code, ran.out) == (2, "")
    assert "standard input, which 2 processes cannot all read" in ran.err
    for name, value in (TORCHRUN | ADDRESS).items():
        monkeypatch.setenv(name, value)
    ran = command("train", "text.txt", "--processes", 2)
    assert ran.code == 2
    assert (
        "--processes 2 starts processes, but WORLD_SIZE is 2: torchrun has started them" in ran.err
    )
    monkeypatch.delenv("RANK")
    ran = command("train", "text.txt", "--steps", 2, *SMALL)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: WORLD_SIZE is 2, but RANK is not set")


def test_the_processes_of_a_host_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 1 in OMP_NUM_THREADS is torchrun's."""
    cases = ((8, 2, "1", 4), (8, 3, None, 2), (2, 4, "1", 1), (8, 2, "3", 3), (8, 2, "many", 4))
    for num_cores, local_world_size, chosen, num_threads in cases:
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda process, num=num_cores: {*range(num)}, raising=False
        )
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if chosen is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", chosen)
        assert Rank(0, local_world_size, 0, local_world_size).num_threads() == num_threads


def test_the_exit_code_is_that_of_the_process_that_failed() -> None:
    cases = (
        ({}, 0, 0),
        ({0: 143, 1: 3}, 0, 3),
        ({1: 130}, 2, 130),
        ({0: 143}, 0, 143),
        ({1: -9}, 2, 130),
    )
    for codes, number, code in (*cases, ({1: -15}, 0, 143)):
        assert exit_code(codes, number) == code, codes
    with pytest.raises(CharRNNError, match="process 1 was killed by SIGKILL"):
        exit_code({0: 1, 1: -9}, 0)


def test_the_partners_of_a_killed_process_are_killed_after_twenty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = count(0.0, processes.WATCH_SECONDS / 2)
    monkeypatch.setattr(
        processes, "time", Mock(monotonic=lambda: next(clock), sleep=lambda _: next(clock))
    )
    killed, hung = Mock(exit_code=-signal.SIGKILL), Mock(exit_code=None)
    assert processes._watch([killed, hung], Mock(number=0, pop_save_request=lambda: False)) == {
        0: -signal.SIGKILL
    }
    hung.send.assert_called_once_with(signal.SIGTERM)
    assert 20 < next(clock) < 21, "and then `launch` kills those that are left"


def test_a_second_ctrl_c_is_sent_on_before_what_is_left_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = Mock(exit_code=0)
    monkeypatch.setattr(processes, "ChildProcess", lambda command, environment: child)
    monkeypatch.setattr(processes, "_watch", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        processes.launch(2, ["train"], Mock(), corpus=["a.txt"], is_debugging=False)
    assert child.mock_calls == [
        call.send(signal.SIGINT),
        call.send(signal.SIGINT),
        call.kill(),
        call.kill(),
    ]
    sender = ChildProcess.__new__(ChildProcess)
    sender.popen = Mock(send_signal=Mock(side_effect=ProcessLookupError))
    sender.send(signal.SIGTERM)
    sender.popen.send_signal.assert_called_once_with(signal.SIGTERM)


def test_the_first_to_fail_prints_and_all_end_with_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch import distributed

    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    os.environ.update(
        TORCHELASTIC_USE_AGENT_STORE="True", MASTER_ADDR="localhost", MASTER_PORT=str(store.port)
    )
    monkeypatch.setattr("charrnn.distributed.processes.ERROR_SECONDS", 0)
    first, second = (RankedProcess(Rank(number, 2, number, 2)) for number in range(2))
    assert first.code_of_other_process() is None
    assert second.claim_error(3, "no such text") is None
    assert first.claim_error(1, "the other one is gone") == 3
    assert first.code_of_other_process() == 3
    second.announce_stop(signal.SIGHUP)
    assert (
        second.stop_signal == first.stop_signal == signal.SIGHUP
    )  # the own question is answered after it is set
    assert (first.train(lambda: 2), second.train(lambda: 0)) == (2, 0)


def ranks_of(folder: Path) -> dict[int, int]:
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


def saved_step(run: Path) -> int:
    """Return the step of the latest checkpoint, 0 if there is none."""
    latest = run / "latest"
    return int(latest.read_text().strip().removeprefix("step-")) if latest.exists() else 0


def first_losses(run: Path) -> list[float]:
    """Return the logged training losses of the first five steps."""
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record["train_nats"] for record in records if record["event"] == "step"][:5]


@contextmanager
def spawned(
    fork_server: ForkServer, run: Path, *options: object, prepare: str = "", first: int = 5
) -> Iterator[Child]:
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
def test_processes_train_stop_and_resume_as_one(
    fork_server: ForkServer, command: Command, tmp_path: Path
) -> None:
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
def test_if_a_process_is_killed_the_others_end_with_one_error(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # The processes are forked: there is one thread yet, and a store in another that waits for them.
    with spawned(fork_server, run, "--quiet", prepare="child_faults:fork_processes") as child:
        ranks = list(
            map(int, Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split())
        )
        os.kill(ranks[1], signal.SIGKILL)
        assert (child.wait(), child.out) == (1, "")
        assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    assert child.err.splitlines() == [
        "error: process 1 was killed by SIGKILL, so training ended: is there enough memory?",
        "       what was saved is intact: continue with --resume",
    ]
    assert charrnn.load(run).tensors


@linux_only
@pytest.mark.thorough
def test_a_signal_to_any_process_saves_and_a_second_ctrl_c_ends_all(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    with spawned(fork_server, tmp_path / "orphans") as child:
        ranks = ranks_of(fork_server.folder)
        assert sorted(ranks) == [0, 1]
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        until(lambda: not ranks_of(fork_server.folder))
    assert (
        f"Stopped at step {saved_step(tmp_path / 'orphans'):,}; everything is saved." in child.err
    )
    run = tmp_path / "run"
    with spawned(
        fork_server, run, "--set", "evaluate_every=10" ** 6, "--save-every", 10**6, first=0
    ) as child:
        until(lambda: (run / "metrics.jsonl").exists() and ranks_of(fork_server.folder))
        ranks = ranks_of(fork_server.folder)
        os.kill(ranks[1], signal.SIGUSR1)
        until(lambda: saved_step(run) > 0)
        os.kill(ranks[1], signal.SIGSTOP)  # It cannot stop with the others.
        step = saved_step(run)
        os.kill(child.pid, signal.SIGINT)
        until(lambda: "Stopping" in child.err)
        time.sleep(0.5)
        assert ") Z " not in Path(f"/proc/{child.pid}/stat").read_text(), (
            "it waits for the one that is stopped"
        )
        assert (
            ranks_of(fork_server.folder) == ranks
            and ") T " in Path(f"/proc/{ranks[1]}/stat").read_text()
        )
        os.kill(child.pid, signal.SIGINT)
        assert child.wait() == 130 and not ranks_of(fork_server.folder)
        assert saved_step(run) == step and "everything is saved" not in child.err
