"""Several processes that train one model: their number, and what they exchange besides gradients."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.errors import UsageError, named
from charrnn.scale.processes.rank import Rank, this_rank

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

MAX_PROCESSES = 1024
"""Processes that --processes starts at most."""
MEMBERS_FOLDER = "CHARRNN_MEMBERS"
"""Environment variable that `cli.launcher` sets for its processes: the folder where each puts its process id."""
REACH_SECONDS = 5.0
"""Longest wait for torchrun's key-value store, which runs in the parent of this process or on the first host."""
LASTING = (2, 3, 4, 5)
"""Exit codes of errors that the same command raises again: torchrun need not start it again (`--max-restarts`)."""
ERROR_SECONDS = 2.0
"""How long a process that lost another one waits for its error."""
LOOK_SECONDS = 0.2
"""Time between two looks at the store while a process waits for the first one to finish."""


def check_processes(value: str, rank: Rank | None) -> int:
    """Parse --processes. Raises UsageError if it is no number, out of range, or given to one of several processes."""
    digits = value.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10 and 1 <= int(digits) <= MAX_PROCESSES):
        raise UsageError(f"{named('processes')} is {value[:40]}; it must be a whole number from 1 to {MAX_PROCESSES}.")
    if rank is not None:
        raise UsageError(
            f"{named('processes', digits)} starts processes, but WORLD_SIZE is {rank.world_size}: torchrun has "
            f"started them\nleave out {named('processes')}, or unset WORLD_SIZE"
        )
    return int(digits)


def register_member(environment: Mapping[str, str]) -> None:
    """Report to the launcher, if it started this process, that signals can be forwarded to it."""
    if folder := environment.get(MEMBERS_FOLDER):
        with contextlib.suppress(OSError):  # The launcher has ended.
            Path(folder, str(os.getpid())).touch()


class Launch:
    """State that the processes of one launch share, restarts included: entries in torchrun's key-value store.

    Without torchrun, or once its store is gone, every entry is missing, and a process acts on its own.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._parent = os.getppid()

    @cached_property
    def _store(self) -> Store | None:
        from torch import distributed
        from torch.distributed.distributed_c10d import PrefixStore

        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            return None
        try:
            store = distributed.TCPStore(  # type: ignore[attr-defined]
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=False,
                timeout=timedelta(seconds=REACH_SECONDS),
                wait_for_workers=False,
            )
        except distributed.DistError:
            return None
        return PrefixStore("charrnn", store)

    def _get(self, key: str) -> bytes | None:
        from torch import distributed

        try:
            return self._store.get(key) if self._store is not None and self._store.check([key]) else None
        except distributed.DistError:
            return None

    def _set(self, key: str, value: str) -> None:
        from torch import distributed

        if self._store is not None:
            with contextlib.suppress(distributed.DistError):
                self._store.set(key, value)

    @property
    def is_orphan(self) -> bool:
        """Whether the process that started this one has ended, so that no process supervises the others."""
        return os.getppid() != self._parent

    @property
    def is_watched(self) -> bool:
        """Whether `cli.launcher` started this process: it prints what happens to all of them."""
        return MEMBERS_FOLDER in os.environ

    @property
    def run(self) -> Path | None:
        """The folder of the run that an earlier attempt of this launch created or resumed."""
        path = self._get("run")
        return None if path is None else Path(path.decode())

    @run.setter
    def run(self, path: Path) -> None:
        self._set("run", str(path))

    def agree(self, question: str, answer: Callable[[], bool]) -> bool:
        """Return the first process's `answer()`: only its host need have the run's files."""
        key = f"{question}/{self.rank.attempt}"
        if self.rank.number == 0:
            is_so = answer()
            self._set(key, "yes" if is_so else "no")
            return is_so
        while (agreed := self._get(key)) is None and not self.is_orphan:
            time.sleep(LOOK_SECONDS)
        return agreed == b"yes"

    @property
    def signal(self) -> int:
        """The number of the signal that asked one of the processes to stop, or 0."""
        return int(self._get(f"signal/{self.rank.attempt}") or 0)

    @signal.setter
    def signal(self, number: int) -> None:
        self._set(f"signal/{self.rank.attempt}", str(int(number)))

    @property
    def end(self) -> int | None:
        """The exit code with which an earlier attempt ended on purpose: it would end in the same way again."""
        code = self._get("end")
        return None if code is None else int(code)

    @end.setter
    def end(self, code: int) -> None:
        self._set("end", str(code))

    def error_of_another(self, seconds: float) -> int | None:
        """Wait for a process that has claimed an error; return its exit code, None if none has within `seconds`."""
        deadline = time.monotonic() + seconds
        while (first := self._get(f"failed/{self.rank.attempt}")) is None and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        return None if first is None else int(first.split()[1])

    def claim_error(self, code: int, message: str) -> int | None:
        """Return None if this process is the first to fail and should print `message`, else the first one's code."""
        from torch import distributed

        _record_for_torchrun(message)
        if self._store is None:
            return None
        mine = f"{self.rank.number} {code}"
        try:
            first = self._store.compare_set(f"failed/{self.rank.attempt}", "", mine).decode()
        except distributed.DistError:
            return None
        if first != mine:
            return int(first.split()[1])
        if code in LASTING:
            self.end = code
        return None

    def wait_for_first(self) -> None:
        """Wait until the first process has finished, because torchrun ends all processes once one has failed."""
        key = f"finished/{self.rank.attempt}"
        if self.rank.number == 0:
            self._set(key, "yes")
        elif self._store is not None:
            while self._get(key) is None and not self.is_orphan:
                time.sleep(LOOK_SECONDS)


def _record_for_torchrun(message: str) -> None:
    """Write the message where torchrun looks for the reason of a failure, which it shows when it ends."""
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        reason = {"message": message, "extraInfo": {"py_callstack": message, "timestamp": str(int(time.time()))}}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps({"message": reason}), encoding="utf-8")


def claim_error(code: int, message: str) -> int | None:
    """Return None if this process is to print an error, else the exit code of the process that has printed one."""
    launched = _launched()
    return None if launched is None else launched.claim_error(code, message)


def code_of_other_process() -> int | None:
    """Return the exit code for a process that another one's end keeps from training; None if it should say so itself.

    The other one prints its error, and the launcher that a process was killed.
    """
    launched = _launched()
    if launched is None:
        return None
    code = launched.error_of_another(ERROR_SECONDS)
    return 1 if code is None and launched.is_watched else code


def _launched() -> Launch | None:
    """Return the state that several processes share, None for a process on its own."""
    try:
        rank = this_rank(os.environ)
    except UsageError:
        return None
    return None if rank is None or rank.world_size == 1 else Launch(rank)
