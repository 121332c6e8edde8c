"""Start the command again in several processes of this machine, by torchrun, and watch over them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.signals import STOP_NOTICE, Signals
from charrnn.errors import CharRNNError, named
from charrnn.scale.processes.processes import MEMBERS_FOLDER

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

WATCH_SECONDS = 0.1
"""Time between two looks at the signals and the processes."""
ABORT_SECONDS = 3.0
"""Longest time that the processes get to end after a second Ctrl-C; then they are killed."""
SHUTDOWN_SECONDS = 20
"""Longest time that torchrun gives the other processes to end after one has died; then it kills them."""


def launch(num_processes: int, arguments: Sequence[str], signals: Signals, *, is_debugging: bool) -> int:
    """Run `charrnn ARGUMENTS` in several processes of this machine, as torchrun does; return the exit code.

    The first process prints and writes. Signals are forwarded to all of them. The exit code is that of the process that
    failed, or 128 + the signal that ended training; if a process was killed, one error says so.
    """
    with tempfile.TemporaryDirectory(prefix="charrnn-") as folder, _environment(folder, is_debugging=is_debugging):
        from torch.distributed import run  # noqa: F401  # here, where Ctrl-C can interrupt it

        torchrun = _Torchrun(
            ["--standalone", "--nproc-per-node", str(num_processes), "-m", "charrnn", *without_processes(arguments)]
        )
        torchrun.start()
        try:
            _watch(torchrun, signals, Path(folder))
        except KeyboardInterrupt:
            _abort(torchrun, Path(folder))
            raise
    if torchrun.error is not None:
        raise CharRNNError(f"the processes could not be started: {torchrun.error}") from torchrun.error
    return exit_code(codes_of_causes(torchrun.failures), signals.number)


def without_processes(arguments: Sequence[str]) -> list[str]:
    """Return a command line without --processes and its value."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*kept, argument, *rest]
        if argument == "--processes":
            next(rest, None)
        elif not argument.startswith("--processes="):
            kept.append(argument)
    return kept


class _Torchrun(threading.Thread):
    """torchrun, in a thread: in the main thread it would handle the signals, and give saving 30 seconds."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._arguments = arguments
        self.failures: dict[int, ProcessFailure] = {}
        """Why the processes that failed ended, by their rank."""
        # `join` and `is_alive` take a thread for ended after an interrupt in `join` (Python 3.11).
        self.has_ended = threading.Event()
        """Whether all processes have ended."""
        self.error: Exception | None = None
        """What kept the processes from being started."""

    def run(self) -> None:
        from torch.distributed import run
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        try:
            run.run(run.parse_args(self._arguments))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            self.failures = error.failures
        except Exception as error:  # raised again in the main thread
            self.error = error
        finally:
            self.has_ended.set()


@contextlib.contextmanager
def _environment(folder: str, *, is_debugging: bool) -> Iterator[None]:
    """Set what the processes inherit, and suppress the messages of torchrun about them unless `is_debugging`."""
    changes = {MEMBERS_FOLDER: folder}
    # One machine: nothing needs its name or its network, which may change or be missing.
    defaults = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_SECONDS), "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"
    if not is_debugging:
        defaults["TORCH_CPP_LOG_LEVEL"] = "FATAL"
    if sys.path and sys.path[0] not in ("", os.getcwd()):
        # `python -m` would import modules from the current folder, which the command `charrnn` does not.
        defaults["PYTHONSAFEPATH"] = "1"
    before = dict(os.environ)
    disabled = logging.root.manager.disable
    os.environ.update(defaults | before | changes)
    if not is_debugging:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        for name in changes | defaults:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def _watch(torchrun: _Torchrun, signals: Signals, folder: Path) -> None:
    """Forward signals until all processes have ended. Raises KeyboardInterrupt for a second Ctrl-C."""
    is_quiet, signals.is_quiet = signals.is_quiet, True
    signals.defers = True
    is_announced = False
    asked: set[int] = set()
    while not torchrun.has_ended.wait(WATCH_SECONDS):
        if signals.number:
            # Each one once, also those that have just started. The first that gets it stops all of them.
            members = _members(folder)
            _send(signals.number, members - asked)
            asked |= members
            if members and not is_announced and not is_quiet:
                is_announced = True
                with contextlib.suppress(OSError):
                    os.write(2, STOP_NOTICE)
        elif signals.pop_save_request():
            _send(signal.SIGUSR1, set(sorted(_members(folder))[:1]))


def _abort(torchrun: _Torchrun, folder: Path) -> None:
    """End all processes at once: send SIGINT once more, then kill those that are left."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)  # `Signals` would raise the interrupt again.
    _send(signal.SIGINT, _members(folder))
    torchrun.has_ended.wait(ABORT_SECONDS)
    deadline = time.monotonic() + ABORT_SECONDS
    while not torchrun.has_ended.is_set() and time.monotonic() < deadline:
        _send(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM, _members(folder))
        torchrun.has_ended.wait(WATCH_SECONDS)


def _members(folder: Path) -> set[int]:
    """Return the process ids of the processes that handle signals by now."""
    try:
        return {int(name) for name in os.listdir(folder) if name.isdecimal()}
    except OSError:
        return set()


def _send(number: int, members: set[int]) -> None:
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, number)


def codes_of_causes(failures: Mapping[int, ProcessFailure]) -> dict[int, int]:
    """Return by rank the exit codes of the processes that failed within SHUTDOWN_SECONDS of the first failure.

    After that time torchrun kills the processes that are left, so their exit codes do not say why training ended.
    """
    first = min((failure.timestamp for failure in failures.values()), default=0)
    return {
        rank: failure.exitcode for rank, failure in failures.items() if failure.timestamp - first < SHUTDOWN_SECONDS
    }


def exit_code(codes: Mapping[int, int], number: int) -> int:
    """Return the exit code of a launch whose processes failed with `codes`, by rank; below 0: killed by a signal.

    `number` is the signal that the launcher got, or 0. Raises CharRNNError if a process was killed, which nothing else
    reports.
    """
    # torchrun ends the other processes with SIGTERM once one has failed.
    killed = {rank: -code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    if killed and not number:
        rank, killer = min(killed.items())
        raise CharRNNError(
            f"process {rank} was killed by {signal.Signals(killer).name}, so training ended: is there enough memory?\n"
            f"what was saved is intact: continue with {named('resume')}"
        )
    own = [code for code in codes.values() if code > 0]
    # An error has a lower code than the signal with which torchrun ended another process because of it.
    return min(own) if own else 128 + (number or signal.SIGTERM) if codes else 0
