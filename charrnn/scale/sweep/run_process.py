"""One run trained in a process of its own, by the command `charrnn train --json`, whose events are read here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from charrnn.config import FIELD_NAMES, Config
from charrnn.runs.reader import RunReader
from charrnn.scale.sweep.sweep_plan import setting_arguments

MAX_MESSAGE_BYTES = 4096
"""Bytes of the end of a process's messages that are kept."""


class RunProcess:
    """Trains a run in its own process, so that no failure of it, and no signal that kills it, ends the others.

    The process gets no signal of the terminal. If this process dies, it saves and stops at its next event, because
    nobody reads them any more.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        on_event: Callable[[dict[str, Any] | None], object],
        trackers: Sequence[str] = (),
        locked: int | None = None,
    ) -> None:
        """Start the run in `folder`, or resume what is saved there; `trackers` follow it (`training.trackers`).

        `locked` is the descriptor of a file that stays locked until the process has ended, even if this one dies.

        `on_event` is called in another thread with each event as a JSON object, and at the end with None.
        """
        is_saved = folder.is_dir() and bool(RunReader(folder).checkpoints())
        if is_saved:
            arguments = ["--resume", "--", str(folder)]
        else:
            arguments = ["--out", str(folder), *setting_arguments(config), "--", *config.corpus]
        followed = [part for tracker in trackers for part in ("--log", tracker)]
        # A file, not a pipe: what it writes after this process has died must not fail.
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "charrnn", "train", "--json", *followed, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=run_environment(os.environ),
            start_new_session=True,
            pass_fds=() if locked is None or sys.platform == "win32" else (locked,),
        )
        self._on_event = on_event
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed by `close` while this reads
            for line in self._process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:  # The process was killed amid a line.
                    continue
                self._on_event(event)
        self._on_event(None)

    def send(self, number: int) -> None:
        """Send the process a signal: it saves and stops."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Wait for the end of the process; return its exit code (below 0: minus a signal) and its last messages."""
        code = self._process.wait()
        self._reader.join()
        self._messages.seek(max(0, self._messages.seek(0, os.SEEK_END) - MAX_MESSAGE_BYTES))
        return code, self._messages.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Kill the process if it runs, and free what it used. What it saved is intact."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._messages.close()


def run_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a run's process: without settings, which its command line contains."""
    settings = {f"CHARRNN_{name.upper()}" for name in FIELD_NAMES}
    kept = {name: value for name, value in environment.items() if name not in settings}
    if sys.path and sys.path[0] not in ("", os.getcwd()):
        # `python -m` would import modules from the current folder, which the command `charrnn` does not.
        kept.setdefault("PYTHONSAFEPATH", "1")
    return kept


def error_text(code: int, messages: str) -> str:
    """Return why a process failed: its error message, or the signal that killed it."""
    if code < 0:
        killer = signal.Signals(-code).name if -code in [*signal.Signals] else f"signal {-code}"
        memory = " (is there enough memory?)" if killer == "SIGKILL" else ""
        return f"killed by {killer}{memory}"
    _, found, error = messages.rpartition("error: ")
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return " ".join(lines[:3]) if found and lines else f"exit code {code}"
