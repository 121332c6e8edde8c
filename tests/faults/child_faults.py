"""Faults that a child process injects into itself: it dies, or receives a signal, at an exactly
chosen moment."""

import atexit
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charrnn.runs import writer
from charrnn.runs.writer import RunWriter
from charrnn.system import files

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")
"""Audit events of file operations. fsync has none, so it is patched."""


def send(signals: list[int]) -> None:
    for number in signals:
        os.kill(os.getpid(), number)


def receive_in(place: str, call: int, signals: list[int], ignored: int | None = None) -> None:
    """Send signals to this process when it calls the function `module:name` for the `call`-th time,
    counted from 1.

    One signal may be ignored from the start, as under `nohup`.
    """
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    *names, last = name.split(".")
    for part in names:
        owner = getattr(owner, part)
    function = getattr(owner, last)
    num_calls = 0

    def enter(*arguments: Any, **named: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == call:
            send(signals)
        return function(*arguments, **named)

    setattr(owner, last, enter)
    if ignored is not None:
        signal.signal(ignored, signal.SIG_IGN)


def take_terminal(path: str, pager: str = "") -> None:
    """Make the terminal at `path` the controlling terminal and the standard streams of this
    process, and `pager` the program that pages."""
    terminal = os.open(path, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(terminal, stream)
    os.environ["TERM"] = "xterm-256color"
    if pager:
        os.environ["PAGER"] = pager
    del os.environ["COLUMNS"]


def get_stuck_in_explorer(path: str, pager: str = "") -> None:
    """Let the explorer wait for ever on the terminal at `path`, which it is not told the end of."""
    from charrnn.explore import app

    take_terminal(path, pager)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def wait(explorer: app.Explorer) -> None:
        print("is stuck", flush=True)
        threading.Event().wait()

    app.GRACE_SECONDS = 0
    app.Explorer.run = wait


def die_in_saves(
    number: int | None,
    count_path: str,
    signals: list[int] = [signal.SIGKILL],  # noqa: B006
) -> None:
    """Send signals to this process just before the `number`-th file operation of its saves, counted
    over the whole run.

    Before operation k + 1 means after operation k, so every state between two operations can be
    produced. A file is written in two halves, with an operation between them. With None, no signal
    is sent and the number of operations is written to a file.
    """
    num_operations = depth = 0

    def operate() -> None:
        nonlocal num_operations
        if depth:
            num_operations += 1
            if num_operations == number:
                send(signals)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES:
            operate()

    def as_a_save(method: Callable[..., Any]) -> Callable[..., Any]:
        def save(*arguments: Any, **options: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                return method(*arguments, **options)
            finally:
                depth -= 1
                if number is None and not depth:
                    with os.fdopen(
                        os.open(count_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w"
                    ) as file:
                        file.write(str(num_operations))

        return save

    sync = os.fsync

    def sync_counted(descriptor: int) -> None:
        operate()
        sync(descriptor)
        operate()

    def write_in_halves(path: Path, data: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            operate()
            file.write(data[len(data) // 2 :])
            os.fsync(file.fileno())

    for name in ("save_checkpoint", "write_pointers", "prune"):
        setattr(RunWriter, name, as_a_save(getattr(RunWriter, name)))
    os.fsync = sync_counted
    files.write_synced = writer.write_synced = write_in_halves
    sys.addaudithook(hook)


def die_at_call(number: int | None, count_path: str, signals: list[int] = [signal.SIGKILL]) -> None:  # noqa: B006
    """Send signals to this process at its `number`-th function call; with None, write the number of
    calls to a file."""
    num_calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal num_calls
        if event in ("call", "c_call"):
            num_calls += 1
            if num_calls == number:
                send(signals)

    def tell() -> None:
        sys.setprofile(None)
        if number is None:
            Path(count_path).write_text(str(num_calls))

    atexit.register(tell)
    sys.setprofile(count)


def use_pipe(path: str, stream: int) -> None:
    """Use the pipe at `path` as standard input (0) or output (1)."""
    os.dup2(os.open(path, os.O_WRONLY if stream else os.O_RDONLY), stream)
