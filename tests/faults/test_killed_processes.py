"""Several processes from the command line: torchrun's variables, --processes, signals, and
processes that die or hang."""

import errno
import json
import os
import re
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from small_runs import until

import charrnn
from charrnn.distributed import launch, processes
from charrnn.distributed.group import SINGLE, ProcessGroup
from charrnn.distributed.launch import exit_code
from charrnn.distributed.processes import check_processes, connect, launched, num_threads
from charrnn.errors import LOST_CONNECTION, CharRNNError, OtherProcessError, UsageError
from charrnn.runs.writer import lock_folder
from charrnn.system.process import PARENT
from charrnn.system.signals import Signals

pytest_plugins = ("shared",)
TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
ADDRESS = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
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


def test_the_variables_of_torchrun_say_which_process_this_is():
    assert launched({}) == SINGLE
    assert launched({"RANK": "x"}) == SINGLE, "a process on its own"
    assert launched(TORCHRUN | ADDRESS) == ProcessGroup(rank=1, size=2, local_rank=1, local_size=2)


def test_the_longest_wait_is_a_variable():
    assert processes.timeout_seconds({}) == 600
    assert processes.timeout_seconds({"CHARRNN_TIMEOUT_SECONDS": "7"}) == 7
    message = r"^CHARRNN_TIMEOUT_SECONDS is '0'; .* 1 to 86400\nunset it"
    with pytest.raises(UsageError, match=message):
        processes.timeout_seconds({"CHARRNN_TIMEOUT_SECONDS": "0"})


MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4711"}


def test_processes_without_a_network_are_refused_at_once(monkeypatch):
    def fail(address, timeout):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(
        CharRNNError, match=r"cannot reach 127\.0\.0\.1.*: Network is unreachable\n"
    ):
        launch._check_loopback(timeout=5)


@pytest.mark.parametrize(
    ("local_rank", "interface", "kind"),
    [(0, "eth9", CharRNNError), (0, None, CharRNNError), (1, "eth9", OtherProcessError)],
)
def test_an_error_of_the_connection_names_the_interface(monkeypatch, local_rank, interface, kind):
    def fail(*_, **options):
        assert options["timeout"] == timedelta(seconds=7)
        raise RuntimeError("[enforce fail at gloo/device.cc:84] Unable to find address\nframe #0")

    monkeypatch.setattr("torch.distributed.init_process_group", fail)
    environment = MEETING | {processes.TIMEOUT: "7"}
    if interface is not None:
        environment["GLOO_SOCKET_IFNAME"] = interface
    with pytest.raises(CharRNNError) as caught:
        processes._meet(ProcessGroup(rank=1, size=2, local_rank=local_rank), environment)
    first = caught.value.message.split("\n")[0]
    assert type(caught.value) is kind
    assert first == "process 1 cannot reach the other 1 at 127.0.0.1:4711: Unable to find address"
    assert ("the network interface eth9" in caught.value.message) == (interface is not None)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_signal_ends_the_wait_for_other_processes(monkeypatch):
    is_over = threading.Event()

    def wait(*_, **options):
        os.kill(os.getpid(), signal.SIGHUP)
        is_over.wait(600)

    monkeypatch.setattr("torch.distributed.init_process_group", wait)
    signals = Signals()
    with pytest.raises(KeyboardInterrupt), signals.handle():
        processes._meet(ProcessGroup(rank=1, size=2), MEETING)
    is_over.set()
    assert signals.number == signal.SIGHUP


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
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
    ],
)
def test_variables_that_cannot_be_are_refused(name, value, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        launched(TORCHRUN | ADDRESS | {name: value})
    assert len(str(caught.value).splitlines()) == 2, "the remedy"


def test_an_exchange_that_takes_too_long_is_an_error(monkeypatch):
    torch = MagicMock()
    torch.distributed.all_reduce.side_effect = RuntimeError("Timed out")
    monkeypatch.setattr("charrnn.distributed.processes.torch", torch)
    with (
        pytest.raises(OtherProcessError, match=f"or set {processes.TIMEOUT} higher"),
        connect(TORCHRUN | ADDRESS) as group,
    ):
        group.of_first(1)
    timeout = torch.distributed.init_process_group.call_args.kwargs["timeout"]
    assert timeout == timedelta(seconds=600)
    torch.distributed.destroy_process_group.assert_not_called()


@pytest.mark.parametrize("value", ["0", "1.5", "", "1025", "9" * 30])
def test_a_number_of_processes_that_cannot_be_is_refused(value):
    with pytest.raises(
        UsageError, match=f"`processes` is {value}; it must be a whole number from 1 to 1024"
    ):
        check_processes(value)


def test_the_command_refuses_processes_inside_torchrun_and_wrong_variables(command, monkeypatch):
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


@pytest.mark.parametrize(
    ("num_cores", "local_size", "chosen", "expected"),
    [
        (8, 2, "1", 4),
        (8, 3, None, 2),
        (2, 4, "1", 1),
        (8, 2, "3", 3),
        (8, 2, "many", 4),
        (8, 2, "8", 4),
    ],
)
def test_the_processes_of_a_host_share_its_cores(
    num_cores, local_size, chosen, expected, monkeypatch
):
    """A 1 in OMP_NUM_THREADS is torchrun's, and all cores are those of a quota."""
    monkeypatch.setattr("charrnn.distributed.processes.num_cores", lambda: num_cores)
    environment = {} if chosen is None else {"OMP_NUM_THREADS": chosen}
    group = ProcessGroup(size=local_size, local_size=local_size)
    assert num_threads(group, environment) == expected


def failures(**seconds_of):
    """The failures of processes, by rank: when each ended, and its exit code."""
    return {
        int(rank[1:]): SimpleNamespace(timestamp=timestamp, exitcode=code)
        for rank, (timestamp, code) in seconds_of.items()
    }


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({}, 0),
        ({"p0": (0, 143), "p1": (0, 3)}, 3),
        ({"p0": (0, LOST_CONNECTION), "p1": (0, 3)}, 3),
        ({"p1": (0, -signal.SIGTERM)}, 143),
        ({"p0": (0, 2), "p1": (30, -9)}, 2),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_failed(ended, code):
    assert exit_code(failures(**ended)) == code


def test_what_no_process_says_itself_is_an_error_of_the_launcher():
    with pytest.raises(CharRNNError, match="process 1 was killed by SIGKILL"):
        exit_code(failures(p0=(1, LOST_CONNECTION), p1=(0, -9)))
    # torch kills the process that hangs 30 seconds after the other one has lost it.
    with pytest.raises(OtherProcessError, match="it did not answer within 600 s"):
        exit_code(failures(p0=(0, LOST_CONNECTION), p1=(30, -9)))


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


def test_a_process_ends_with_its_launcher_although_the_store_of_that_is_gone(process):
    """Nobody listens at the port: torch would try to connect for a minute."""
    code = "from charrnn.distributed.processes import connect\nwith connect(): pass"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), PARENT: "1"}
    wait = {processes.TIMEOUT: "60", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    ran = process("-c", code, **TORCHRUN, **address, **wait)
    assert ran.returncode == LOST_CONNECTION


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
