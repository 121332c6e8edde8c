"""Which of several processes that train one model this is, from the variables that torchrun sets; without torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from charrnn.errors import UsageError, named

MAX_WORLD_SIZE = 1 << 20
"""Largest WORLD_SIZE."""
MAX_THREADS = 1024
"""Largest OMP_NUM_THREADS that counts as a choice."""


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
    attempt: int
    """How often torchrun has started all processes again (`--max-restarts`)."""

    def use_threads(self) -> None:
        """Make torch compute on `num_threads` threads."""
        import torch

        torch.set_num_threads(self.num_threads())

    def num_threads(self) -> int:
        """Return how many processor threads this process gets: the cores divided by the processes of this host.

        torchrun sets OMP_NUM_THREADS to 1 if it is not set, so a 1 there is not a choice; a larger number is one.
        """
        chosen = os.environ.get("OMP_NUM_THREADS", "")
        if chosen.isascii() and chosen.isdecimal() and 1 < int(chosen) <= MAX_THREADS:
            return int(chosen)
        num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, num_cores // self.local_world_size)


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
    local_rank, local_world_size = 0, 1
    if "LOCAL_WORLD_SIZE" in environment:
        local_world_size = _number(environment, "LOCAL_WORLD_SIZE", 1, world_size)
    if "LOCAL_RANK" in environment:
        local_rank = _number(environment, "LOCAL_RANK", 0, world_size - 1)
    attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "")
    return Rank(number, world_size, local_rank, local_world_size, int(attempt) if attempt.isdecimal() else 0)


def _number(environment: Mapping[str, str], name: str, lowest: int, highest: int) -> int:
    value = environment[name].strip()
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and lowest <= int(value) <= highest):
        raise UsageError(
            f"{name} is {environment[name][:40]!r}; it must be a whole number from {lowest} to {highest}\n"
            "torchrun sets it; unset WORLD_SIZE to train in one process"
        )
    return int(value)
