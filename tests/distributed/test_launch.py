"""The launcher of several processes: whether they could meet, and which of their errors is told."""

import errno
import signal
import socket
from ipaddress import ip_address
from types import SimpleNamespace

import pytest

from charrnn.distributed import launch
from charrnn.distributed.launch import exit_code
from charrnn.errors import LOST_CONNECTION, CharRNNError, OtherProcessError


def test_processes_without_a_network_are_refused_at_once(monkeypatch):
    def fail(address, timeout):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(
        CharRNNError, match=r"cannot reach 127\.0\.0\.1.*: Network is unreachable\n"
    ):
        launch._listen(timeout=5)


def test_other_machines_cannot_reach_the_processes():
    with launch._listen(timeout=5) as server:
        address, port = server.getsockname()
    assert ip_address(address).is_loopback and port > 0


def failures(**seconds_of):
    """The failures of processes, by rank: when each ended, and its exit code."""
    return {
        int(rank[1:]): SimpleNamespace(timestamp=timestamp, exitcode=code)
        for rank, (timestamp, code) in seconds_of.items()
    }


@pytest.mark.parametrize(
    "ended, code",
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
