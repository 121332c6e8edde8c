"""Start the command again in several processes of this machine, and watch over them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from charrnn.cli.signals import STOP_NOTICE, Signals
from charrnn.errors import CharRNNError, named
from charrnn.lazy import torch
from charrnn.scale.child_process import ChildProcess, killer
from charrnn.scale.processes.group import SUPERVISED, check_no_stdin, check_processes, connect, launched
from charrnn.training.process_group import ProcessSupport

WATCH_SECONDS = 0.1
"""Time between two looks at the signals and the processes."""
ABORT_SECONDS = 3.0
"""Longest time that the processes get to end after a second Ctrl-C; then they are killed."""
SHUTDOWN_SECONDS = 20.0
"""Longest time that the other processes get to end after one has failed; then they are killed."""


def launch(
    num_processes: int, arguments: Sequence[str], signals: Signals, *, corpus: Sequence[str], is_debugging: bool
) -> int:
    """Run `charrnn ARGUMENTS` in several processes of this machine, as torchrun does; return the exit code.

    The first process prints and writes. Signals are forwarded to all of them. The exit code is that of the process that
    failed, or 128 + the signal that ended training; if a process was killed, one error says so.

    Raises UsageError if `corpus` is standard input, CharRNNError if the processes cannot be started.
    """
    check_no_stdin(corpus, num_processes)
    try:
        store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
            "127.0.0.1", 0, is_master=True, wait_for_workers=False
        )
    except torch.distributed.DistError as error:
        raise CharRNNError(f"the processes could not be started: {error}") from error
    children: list[ChildProcess] = []
    with contextlib.ExitStack() as stack:
        for rank in range(num_processes):
            environment = process_environment(rank, num_processes, store.port, is_debugging=is_debugging)
            children.append(ChildProcess(arguments, environment))
            stack.callback(children[-1].kill)
        try:
            codes = _watch(children, signals)
        except KeyboardInterrupt:
            _abort(children)
            raise
    return exit_code(codes, signals.number)


def process_environment(rank: int, num_processes: int, port: int, *, is_debugging: bool) -> Mapping[str, str]:
    """Return the environment of a process: the variables that torchrun sets, with the port of the key-value store."""
    # One machine: nothing needs its name or its network, which may change or be missing.
    defaults = {"OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"
    if not is_debugging:
        defaults["TORCH_CPP_LOG_LEVEL"] = "FATAL"
    number, size = str(rank), str(num_processes)
    own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, SUPERVISED: "1"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return defaults | os.environ | own | address


def _watch(children: Sequence[ChildProcess], signals: Signals) -> dict[int, int]:
    """Forward signals until all processes have ended; return the exit codes of those that failed, by rank.

    Once one has failed, the others get SIGTERM; those that have to be killed later are left out, because their exit
    codes do not say why training ended. Raises KeyboardInterrupt for a second Ctrl-C.
    """
    is_quiet, signals.is_quiet = signals.is_quiet, True
    signals.defers = True
    is_stopping = False
    deadline: float | None = None
    while any(child.exit_code is None for child in children):
        time.sleep(WATCH_SECONDS)
        if signals.number and not is_stopping:
            is_stopping = True
            _send(signals.number, children)
            if not is_quiet:
                with contextlib.suppress(OSError):
                    os.write(2, STOP_NOTICE)
        elif signals.pop_save_request():
            children[0].send(signal.SIGUSR1)
        if deadline is None and any(child.exit_code for child in children):
            deadline = time.monotonic() + SHUTDOWN_SECONDS
            _send(signal.SIGTERM, children)
        elif deadline is not None and time.monotonic() > deadline:
            break
    return {rank: child.exit_code for rank, child in enumerate(children) if child.exit_code}


def _abort(children: Sequence[ChildProcess]) -> None:
    """End all processes at once: send SIGINT once more, and wait a moment before they are killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)  # `Signals` would raise the interrupt again.
    _send(signal.SIGINT, children)
    deadline = time.monotonic() + ABORT_SECONDS
    while any(child.exit_code is None for child in children) and time.monotonic() < deadline:
        time.sleep(WATCH_SECONDS)


def _send(number: int, children: Sequence[ChildProcess]) -> None:
    for child in children:
        child.send(number)


def exit_code(codes: Mapping[int, int], number: int) -> int:
    """Return the exit code of a launch whose processes failed with `codes`, by rank; below 0: killed by a signal.

    `number` is the signal that the launcher got, or 0. Raises CharRNNError if a process was killed, which nothing else
    reports.
    """
    # The others got SIGTERM once one had failed.
    killed = {rank: code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    if killed and not number:
        rank, code = min(killed.items())
        raise CharRNNError(
            f"process {rank} was killed by {killer(code)}, so training ended: is there enough memory?\n"
            f"what was saved is intact: continue with {named('resume')}"
        )
    own = [code for code in codes.values() if code > 0]
    # An error has a lower code than the signal with which another process ended because of it.
    return min(own) if own else 128 + (number or signal.SIGTERM) if codes else 0


EXTENSIONS = (ProcessSupport(connect=connect, launched=launched, check_number=check_processes, launch=launch),)
"""What training needs of several processes."""
