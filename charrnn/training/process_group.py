"""The processes that train one model together, as training and its command see them.

Training needs only the two classes below, which stand for one process on its own.
`charrnn.distributed.processes` connects several processes and offers them as a `ProcessSupport`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from charrnn.errors import UsageError
from charrnn.hooks.manager import offered
from charrnn.hooks.specifications import ProcessSupport, process_supports

if TYPE_CHECKING:
    import torch

    from charrnn.config.settings import Config
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.system.files import JSON

Result = TypeVar("Result")
"""What a function returns that processes call in turn."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train one model together; this class itself is one process, which
    exchanges nothing."""

    rank: int = 0
    """Number of this process, from 0. The first one plans, prints, writes and validates."""
    size: int = 1
    """Number of processes on all hosts."""
    local_rank: int = 0
    """Number of this process among those of its host, from 0."""
    local_size: int = 1
    """Number of processes on this host."""

    @property
    def is_first(self) -> bool:
        """Whether this process plans, prints, writes and validates."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Return the batch rows that this process computes. Raises UsageError for fewer rows than
        processes."""
        return slice(0, batch_size)

    def device(self, device: torch.device) -> torch.device:
        """Return the device that this process computes on: one GPU per process. Raises UsageError
        without enough."""
        return device

    def check_corpus(self, corpus: Sequence[str]) -> None:
        """Raise UsageError if several processes are to read standard input."""

    def check_same_text(self, digest: str) -> None:
        """Raise DataError if this process read a text with another `digest` than the first one."""

    def sum_in_place(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor, all of one dtype, by its sum over all processes, the same to the bit
        in all of them."""

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is true in any process."""
        return flags

    def of_first(self, value: JSON) -> JSON:
        """Return the `value` of the first process; the values of the others are ignored."""
        return value

    def share_config(self, config: Config) -> Config:
        """Return the configuration of the first process."""
        return config

    def share_checkpoint(self, loaded: Checkpoint | None) -> Checkpoint:
        """Return the checkpoint that the first process has `loaded`: the others need no access to
        the run's folder."""
        assert loaded is not None, "the first process has loaded it"
        return loaded

    def share_tensors(self, tensors: Sequence[torch.Tensor]) -> None:
        """Overwrite each tensor by that of the first process."""

    def gather_rows(self, rows: torch.Tensor, batch_size: int, dim: int) -> torch.Tensor:
        """Join the batch rows of all processes, which lie along dimension `dim`, in order, in every
        process."""
        return rows

    def together(self) -> AbstractContextManager[None]:
        """Run a block, in which nothing is exchanged, in every process: if it fails in one, none
        continues.

        Raises OtherProcessError where the block itself succeeded.
        """
        return contextlib.nullcontext()

    def in_turn(self, read: Callable[[], Result]) -> Result:
        """Return the result of `read`, called by the first process of each host and then by the
        others.

        A file that the first one downloads or caches is there for the others. Raises what `read`
        raises.
        """
        return read()


SINGLE = ProcessGroup()
"""One process on its own."""


class Computing(NamedTuple):
    """Where and since when a run is planned and trained."""

    device: torch.device
    group: ProcessGroup = SINGLE
    start: float = 0.0
    """When a budget in minutes began, as `time.perf_counter` counts."""


class LaunchedProcess:
    """A process and what it tells those that were started with it; this class itself was started
    alone."""

    rank: int = 0
    """Number of this process, from 0; only the first one prints."""
    size: int = 1
    """Number of processes that were started together."""
    is_supervised: bool = False
    """Whether `charrnn train --processes` started this process: the starting one prints what
    happens to all."""

    @property
    def is_orphan(self) -> bool:
        """Whether the process that started this one has ended."""
        return False

    @property
    def stop_signal(self) -> int:
        """Number of the signal that asked one of the processes to stop, or 0."""
        return 0

    def announce_stop(self, number: int) -> None:
        """Tell the others that this signal asked for a stop."""

    def claim_error(self, code: int, message: str) -> int | None:
        """Return None if this process is to print an error, else the exit code of the process that
        printed one."""
        return None

    def code_of_other_process(self) -> int | None:
        """Return the exit code for a process that another one's end keeps from training; None:
        print an error."""
        return None

    def train(self, begin: Callable[[], int]) -> int:
        """Train, and return the exit code."""
        return begin()


def process_support() -> ProcessSupport:
    """Return the support for several processes. Raises UsageError if no room offers it."""
    for support in offered(process_supports, ProcessSupport):
        return support
    raise UsageError(
        "Several processes need the package charrnn.distributed, which is not installed."
    )


@contextlib.contextmanager
def connected(group: ProcessGroup | None) -> Iterator[ProcessGroup]:
    """Connect with the processes that torchrun started with this one, unless a group is given;
    disconnect at the end.

    Raises UsageError if its variables are wrong, CharRNNError if the others cannot be reached.
    """
    if group is not None or "WORLD_SIZE" not in os.environ:
        yield group or SINGLE
        return
    with process_support().connect() as connected_group:
        yield connected_group


def launched_process() -> LaunchedProcess:
    """Return this process as one of those that were started together. Raises UsageError as
    `connected`."""
    return process_support().launched() if "WORLD_SIZE" in os.environ else LaunchedProcess()
