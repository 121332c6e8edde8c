"""Start the processes that train together on this machine, watch them, and end them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from charrnn.distributed.processes import WATCH_SECONDS, connection_lost, timeout_seconds
from charrnn.errors import LOST_CONNECTION, CharRNNError, named
from charrnn.system.lazy import torch
from charrnn.system.process import (
    ENDING_SIGNALS,
    child_arguments,
    child_environment,
    signal_name,
)
from charrnn.system.signals import Signals

LOOPBACK = "127.0.0.1"
"""Address by which processes of one machine reach each other."""
END_SECONDS = 20
"""All other processes end within this time of a failure; torch kills processes that do not after 30
seconds."""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Windows has no SIGKILL: there, SIGTERM kills."""


def launch(
    num_processes: int, arguments: Sequence[str], signals: Signals, *, is_debugging: bool
) -> int:
    """Run `charrnn ARGUMENTS` in several processes of this machine; return the exit code.

    The first process prints and writes. The exit code is that of the process that failed, or 128 +
    the signal that ended training.

    Raises CharRNNError if a process was killed or did not answer, because no process reports that
    itself.
    """
    timeout = timeout_seconds(os.environ)
    server = _listen(timeout)

    # The same functions that torchrun's agent uses. The agent itself adds a meeting of hosts, which
    # asks the network for the name of this host.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    if not is_debugging:
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)

    # The processes meet in the store of this process. A socket that torch opens itself would listen
    # at every interface.
    store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
        LOOPBACK,
        server.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=timeout),
        master_listen_fd=server.detach(),
    )
    environment = process_environment(num_processes, store.port, is_debugging=is_debugging)
    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    processes = start_processes(
        "train",
        sys.executable,
        args=dict.fromkeys(range(num_processes), (*child_arguments(), *arguments)),
        envs={
            rank: environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            for rank in range(num_processes)
        },
        logs_specs=DefaultLogsSpecs(os.devnull),
    )
    # torch's handlers would also end a command that was started with `nohup`, without a notice.
    for number, handler in handlers.items():
        signal.signal(number, handler)

    # Wait until all have ended, or until a signal asks them to end.
    signals.defers = True
    try:
        while not signals.number:
            result = processes.wait(WATCH_SECONDS, WATCH_SECONDS)
            if result is not None:
                return exit_code(result.failures)
            if signals.pop_save_request():
                os.kill(processes.pids()[0], signal.SIGUSR1)

        # Every process saves and ends; after 30 seconds, torch kills processes that do not.
        processes.close(signal.Signals(signals.number))
        return 128 + signals.number
    finally:  # after a second Ctrl-C
        processes.close(KILL)


def _listen(timeout: int) -> socket.socket:
    """Return a socket that listens to this machine alone, at a port that the system chooses.

    Raises CharRNNError if processes of this machine cannot reach each other.
    """
    # Python's sockets fail at once, where torch tries again until its timeout, and signals
    # interrupt them.
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout).close()
        # Another socket: torch would have to accept the connection of the first one.
        return socket.create_server((LOOPBACK, 0))
    except OSError as error:
        raise CharRNNError(
            f"cannot reach {LOOPBACK}, by which processes of this machine exchange numbers:"
            f" {error.strerror or error}\n"
            "switch the loopback interface on (ip link set lo up), or train in one process"
        ) from error


def process_environment(num_processes: int, port: int, *, is_debugging: bool) -> dict[str, str]:
    """Return the variables that torchrun sets for all processes, with the port of the store that
    the launcher holds."""
    size = str(num_processes)
    environment = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        **child_environment(),
    }
    if sys.platform == "linux":
        # On a single machine, nothing needs its name or its network, which may change or be
        # missing.
        environment["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    if is_debugging:
        environment["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "WARNING")
    return environment


def exit_code(failures: Mapping[int, Any]) -> int:
    """Return the exit code of a launch from torch's ProcessFailure of each process that failed.

    Raises CharRNNError if a process was killed, OtherProcessError if a process did not answer.
    """
    if not failures:
        return 0

    # An error of a text, a setting or a checkpoint is the cause, whatever became of the other
    # processes.
    causes = [failure.exitcode for failure in failures.values() if 1 < failure.exitcode < 10]
    if causes:
        cause: int = min(causes)
        return cause

    # A process that was killed cannot report it itself.
    first = min(failure.timestamp for failure in failures.values())
    for rank, failure in sorted(failures.items()):
        # torch ends the other processes by SIGTERM, and later kills processes that do not end.
        is_killed = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
        if is_killed and failure.timestamp < first + END_SECONDS:
            raise CharRNNError(
                f"process {rank} was killed by {signal_name(-failure.exitcode)}, so training ended:"
                " is there enough memory?\n"
                f"what was saved is intact: continue with {named('resume')}"
            )

    # The code of an error is lower than the code of a process that ends because of that error.
    codes = [failure.exitcode for failure in failures.values() if failure.exitcode > 0]
    code: int = min(codes, default=128 + signal.SIGTERM)
    if code == LOST_CONNECTION:
        raise connection_lost(f"is lost: it did not answer within {timeout_seconds(os.environ)} s")
    return code
