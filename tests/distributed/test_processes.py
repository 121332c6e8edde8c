"""One of several processes: what the variables of torchrun say, how the processes meet, and what is
refused."""

import os
import signal
import threading
from datetime import timedelta

import pytest

from charrnn.distributed import group as processes
from charrnn.distributed.group import SINGLE, ProcessGroup, launched
from charrnn.errors import CharRNNError, OtherProcessError
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
