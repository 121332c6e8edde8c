"""This process as one of several that were started together: its number, and what all of them know.

The numbers come from the variables that torchrun sets; `charrnn train --processes` sets the same ones. This module does
not import torch.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from charrnn.errors import UsageError, named
from charrnn.lazy import torch
from charrnn.process import num_cores
from charrnn.training.process_group import LaunchedProcess

MAX_PROCESSES = 1024
"""Processes that --processes starts at most."""
MAX_WORLD_SIZE = 1 << 20
"""Largest WORLD_SIZE."""
MAX_THREADS = 1024
"""Largest OMP_NUM_THREADS that counts as a choice."""
SUPERVISED = "CHARRNN_SUPERVISED"
"""Environment variable that `launcher` sets for its processes."""
TIMEOUT = "CHARRNN_TIMEOUT_SECONDS"
"""Environment variable with the longest wait for another process that is still connected, such as one whose host has
vanished. One that ended is noticed at once: its connection breaks. It must exceed a step, a sample and a save."""
REACH_SECONDS = 5.0
"""Longest wait for the key-value store, which runs in the parent of this process or on the first host."""
ERROR_SECONDS = 2.0
"""How long a process that lost another one waits for its error."""
LOOK_SECONDS = 0.2
"""Time between two looks at the store while a process waits for the first one to finish."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One of several processes that train one model, as torchrun numbers them."""

    number: int
    """Its number, from 0; the first process validates, prints and writes."""
    world_size: int
    """Number of processes on all hosts."""
    local_rank: int
    """Its number among the processes of this host, from 0."""
    local_world_size: int
    """Number of processes on this host, which share its cores."""

    def num_threads(self) -> int:
        """Return how many processor threads this process gets: the cores divided by the processes of this host.

        torchrun sets OMP_NUM_THREADS to 1 if it is not set, so a 1 there is not a choice; a larger number is one.
        """
        chosen = os.environ.get("OMP_NUM_THREADS", "")
        if _is_number(chosen, 2, MAX_THREADS):
            return int(chosen)
        return max(1, num_cores() // self.local_world_size)


def this_rank(environment: Mapping[str, str]) -> Rank | None:
    """Return which of several processes this is, from the variables that torchrun sets; None without WORLD_SIZE.

    Raises UsageError if the variables do not let the processes find each other.
    """
    if "WORLD_SIZE" not in environment:
        return None
    world_size = _number(environment, "WORLD_SIZE", 1, MAX_WORLD_SIZE)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if not environment.get(name):
            raise UsageError(
                f"WORLD_SIZE is {world_size}, but {name} is not set: the processes cannot find each other\n"
                f"start them with torchrun or with {named('processes')}, or unset WORLD_SIZE to train in one process"
            )
    _number(environment, "MASTER_PORT", 1, 65535)
    number = _number(environment, "RANK", 0, world_size - 1)
    local_world_size = _number(environment, "LOCAL_WORLD_SIZE", 1, world_size, "1")
    local_rank = _number(environment, "LOCAL_RANK", 0, world_size - 1, "0")
    if environment.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        raise UsageError(
            "torchrun has started the processes again, which would train another run\n"
            f"leave out --max-restarts, and continue the run with {named('resume')}"
        )
    return Rank(number, world_size, local_rank, local_world_size)


USE_TORCHRUN = "torchrun sets it; unset WORLD_SIZE to train in one process"
"""The remedy for one of its variables."""


def _number(
    environment: Mapping[str, str], name: str, lowest: int, highest: int, default: str = "", remedy: str = USE_TORCHRUN
) -> int:
    value = environment.get(name, default)
    if not _is_number(value, lowest, highest):
        raise UsageError(f"{name} is {value[:40]!r}; it must be a whole number from {lowest} to {highest}\n{remedy}")
    return int(value)


def timeout_seconds(environment: Mapping[str, str]) -> int:
    """Return the longest wait for another process. Raises UsageError for a TIMEOUT out of range."""
    return _number(environment, TIMEOUT, 1, 86_400, "60", "unset it to wait for 60 seconds")


def _is_number(text: str, lowest: int, highest: int) -> bool:
    digits = text.strip()
    return digits.isascii() and digits.isdecimal() and len(digits) < 10 and lowest <= int(digits) <= highest


def check_processes(value: str) -> int:
    """Parse --processes. Raises UsageError if it is no number, out of range, or given to one of several processes."""
    if not _is_number(value, 1, MAX_PROCESSES):
        raise UsageError(f"{named('processes')} is {value[:40]}; it must be a whole number from 1 to {MAX_PROCESSES}.")
    if (rank := this_rank(os.environ)) is not None:
        raise UsageError(
            f"{named('processes', value.strip())} starts processes, but WORLD_SIZE is {rank.world_size}: torchrun has "
            f"started them\nleave out {named('processes')}, or unset WORLD_SIZE"
        )
    return int(value)


def check_no_stdin(corpus: Iterable[str], num_processes: int) -> None:
    """Raise UsageError if several processes are to read standard input, which only one of them can."""
    if num_processes > 1 and "-" in corpus:
        raise UsageError(
            f"- is standard input, which {num_processes} processes cannot all read\n"
            "save the text in a file, or train in one process"
        )


def agent_store(environment: Mapping[str, str], timeout: timedelta, prefix: str) -> Any:
    """Connect with the key-value store of the launcher; return the part of it whose keys start with `prefix`.

    None without a launcher. Raises DistError if it has ended.
    """
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    whole = torch.distributed.TCPStore(  # type: ignore[attr-defined]
        host, port, is_master=False, timeout=timeout, wait_for_workers=False
    )
    return torch.distributed.PrefixStore(prefix, whole)  # type: ignore[attr-defined]


class RankedProcess(LaunchedProcess):
    """One of several processes, which share entries in the key-value store of their launch.

    Without a launcher, or once its store is gone, every entry is missing, and a process acts on its own.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank, self.size = rank.number, rank.world_size
        self.is_supervised = SUPERVISED in os.environ
        self._num_threads = rank.num_threads()
        self._parent = os.getppid()

    @cached_property
    def _store(self) -> Any:
        with contextlib.suppress(torch.distributed.DistError):
            return agent_store(os.environ, timedelta(seconds=REACH_SECONDS), "charrnn")
        return None

    def _get(self, key: str) -> str | None:
        try:
            return self._store.get(key).decode() if self._store is not None and self._store.check([key]) else None
        except torch.distributed.DistError:
            return None

    def _set(self, key: str, value: str) -> None:
        if self._store is not None:
            with contextlib.suppress(torch.distributed.DistError):
                self._store.set(key, value)

    def _wait_for(self, key: str, seconds: float = math.inf) -> str | None:
        """Wait for an entry; return None if it does not come, or if the launch or its store has ended."""
        deadline = time.monotonic() + seconds
        while (value := self._get(key)) is None and self._store is not None and not self.is_orphan:
            if time.monotonic() >= deadline:
                break
            time.sleep(LOOK_SECONDS)
        return value

    @property
    def is_orphan(self) -> bool:
        """Whether the process that started this one has ended, so that no process supervises the others."""
        return os.getppid() != self._parent

    @property
    def stop_signal(self) -> int:
        """Number of the signal that asked one of the processes to stop, or 0."""
        return int(self._get("signal") or 0)

    def announce_stop(self, number: int) -> None:
        """Tell the others that this signal asked for a stop."""
        self._set("signal", str(int(number)))

    def claim_error(self, code: int, message: str) -> int | None:
        """Return None if this process is the first to fail and should print `message`, else the first one's code."""
        if self._store is None:
            return None
        mine = f"{self.rank} {code}"
        try:
            first = self._store.compare_set("failed", "", mine).decode()
        except torch.distributed.DistError:
            return None
        return None if first == mine else int(first.split()[1])

    def code_of_other_process(self) -> int | None:
        """Return the exit code for a process that another one's end keeps from training; None: print an error.

        The other one prints its error, and the launcher that a process was killed.
        """
        first = self._wait_for("failed", ERROR_SECONDS)
        if first is not None:
            return int(first.split()[1])
        return 1 if self.is_supervised else None

    def train(self, begin: Callable[[], int]) -> int:
        """Train, and return the exit code once the first process has finished: torchrun ends all that remain."""
        torch.set_num_threads(self._num_threads)
        code = begin()
        if self.rank == 0:
            self._set("finished", "yes")
        else:
            self._wait_for("finished")
        return code


def launched() -> LaunchedProcess:
    """Return this process as one of those that the environment describes. Raises UsageError as `this_rank`."""
    rank = this_rank(os.environ)
    return LaunchedProcess() if rank is None else RankedProcess(rank)
