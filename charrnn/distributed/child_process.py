"""A charrnn command in a child process, which its parent asks to stop by signals, waits for, and
kills at last."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, cast

from charrnn.system.process import ENDING_SIGNALS, ENDS_WITH_INPUT, SAVE_SIGNALS


class ChildProcess:
    """`charrnn ARGUMENTS` in a process of its own session, so that it gets no signal of the
    terminal."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        locked: int | None = None,
        **streams: Any,
    ) -> None:
        """Start the command. `locked` is the descriptor of a file that stays locked until the
        process has ended.

        `streams` are `stdout` and `stderr` of subprocess.Popen, by default those of this process.
        Its standard input is a pipe that ends with this process, however that ends: then the
        command is interrupted.
        """
        environment = {**environment, ENDS_WITH_INPUT: "1"}
        if sys.path and sys.path[0] not in ("", os.getcwd()):
            # `python -m` would import modules from the current folder, which the command `charrnn`
            # does not.
            environment.setdefault("PYTHONSAFEPATH", "1")
        with _signals_blocked():
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "charrnn", *arguments],
                stdin=subprocess.PIPE,
                **streams,
                env=environment,
                start_new_session=True,
                pass_fds=() if locked is None or sys.platform == "win32" else (locked,),
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs; below 0: minus the signal that killed it."""
        return self.popen.poll()

    def send(self, number: int) -> None:
        """Send a signal, unless the process has ended; not Ctrl-C on Windows, which the console
        sends to all."""
        with contextlib.suppress(ProcessLookupError, ValueError):
            self.popen.send_signal(number)

    def kill(self) -> None:
        """Kill the process if it runs, and wait for its end."""
        self.popen.kill()
        self.popen.wait()
        cast("IO[bytes]", self.popen.stdin).close()


def killer(exit_code: int) -> str:
    """Name the signal of an exit code below 0."""
    return (
        signal.Signals(-exit_code).name
        if -exit_code in [*signal.Signals]
        else f"signal {-exit_code}"
    )


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start a process that gets its signals once it has handlers for them (`cli.signals.Signals`
    unblocks them)."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*ENDING_SIGNALS, *SAVE_SIGNALS])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
