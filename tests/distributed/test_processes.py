"""One of several processes: what the variables of torchrun say, how the processes meet, and what is
refused."""

import os
import signal
import threading
from datetime import timedelta

import pytest

from charrnn.distributed import group as processes
from charrnn.distributed.group import SINGLE, ConnectedProcesses, ProcessGroup, launched
from charrnn.errors import CharRNNError, OtherProcessError, UsageError
from charrnn.system.progress import Progress, using
from charrnn.system.signals import Signals

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_the_variables_of_torchrun_say_which_process_this_is():
    assert launched({}) == SINGLE
    assert launched({"RANK": "x"}) == SINGLE, "a process on its own"
    assert launched(TORCHRUN) == ProcessGroup(rank=1, size=2, local_rank=1, local_size=2)


@pytest.mark.parametrize("local_rank, kind", [(0, CharRNNError), (1, OtherProcessError)])
def test_of_the_processes_of_a_host_one_reports_that_another_is_out_of_reach(
    monkeypatch, local_rank, kind
):
    def fail(*_, **options):
        assert options["timeout"] == timedelta(seconds=7)
        raise RuntimeError("Unable to find address for: eth9\nframe #0")

    monkeypatch.setattr("torch.distributed.init_process_group", fail)
    with pytest.raises(CharRNNError) as caught:
        processes._meet(
            ProcessGroup(rank=1, size=2, local_rank=local_rank), {processes.TIMEOUT: "7"}
        )
    assert type(caught.value) is kind
    assert str(caught.value) == (
        "process 1 cannot reach the other 1: Unable to find address for: eth9"
    )


def test_a_long_wait_says_what_for(monkeypatch):
    told = []
    is_over = threading.Event()
    monkeypatch.setattr(processes, "NOTICE_SECONDS", 0)
    monkeypatch.setattr(processes, "tell", lambda message: (told.append(message), is_over.set()))
    monkeypatch.setattr(
        "torch.distributed.init_process_group", lambda *_, **options: is_over.wait(600)
    )
    environment = {"MASTER_ADDR": "host", "MASTER_PORT": "29500"}
    processes._meet(ProcessGroup(rank=0, size=2), environment)
    assert told == [
        "Process 0 waits for the other process of 2 (WORLD_SIZE) at host:29500, for up to 600"
        " seconds ..."
    ]


def test_a_long_exchange_says_what_is_waited_for(monkeypatch):
    is_said = threading.Event()

    class Told(Progress):
        def tell(self, message):
            told.append(message)
            is_said.set()

    told = []
    monkeypatch.setattr(processes, "NOTICE_SECONDS", 0)
    with using(Told()):
        watch = processes.WaitWatch("waits for the other process")
    # Nothing is exchanged, and nothing said, until somebody waits.
    assert not is_said.wait(3 * processes.WATCH_SECONDS)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: is_said.wait(600))
    ConnectedProcesses(0, 2, watch=watch).any(False)
    watch.close()
    assert told[0] == "waits for the other process"


@pytest.mark.parametrize("typed", ["", "soon", "inf", "0", "1e9"])
def test_a_limit_that_is_no_time_is_refused(typed):
    with pytest.raises(UsageError, match=r"^CHARRNN_TIMEOUT_SECONDS is .* between 1 and"):
        processes.timeout_seconds({processes.TIMEOUT: typed})


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_signal_ends_the_wait_for_other_processes(monkeypatch):
    is_over = threading.Event()

    def wait(*_, **options):
        os.kill(os.getpid(), signal.SIGHUP)
        is_over.wait(600)

    monkeypatch.setattr("torch.distributed.init_process_group", wait)
    signals = Signals()
    with pytest.raises(KeyboardInterrupt), signals.handle():
        processes._meet(ProcessGroup(rank=1, size=2), {})
    is_over.set()
    assert signals.number == signal.SIGHUP
