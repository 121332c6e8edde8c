"""The processes that train one model together.

A `ProcessGroup` stands for one process among them, by default the only process.
`distributed.processes` connects several processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TypeVar

from charrnn.config.settings import Config
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.system.lazy import Tensor, torch

Result = TypeVar("Result")


@dataclass(frozen=True)
class ProcessGroup:
    """A process among those that train one model. This class itself is the only process.

    A subclass exchanges values by `sum_in_place`, `of_first` and `together`. These methods, and the
    methods built on them, must be called in all processes.
    """

    rank: int = 0
    """Number of this process, from 0. The first process plans, prints, writes and validates."""
    size: int = 1
    """Number of processes on all hosts."""
    local_rank: int = 0
    """Number of this process among the processes of its host, from 0."""
    local_size: int = 1
    """Number of processes on this host, which share its cores."""

    @property
    def is_first(self) -> bool:
        """Whether this process plans, prints, writes and validates."""
        return self.rank == 0

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all of one dtype, by its sum over all processes, the same to the bit
        in all of them."""

    def of_first(self, value: Result) -> Result:
        """Return the `value` of the first process, after a round trip through JSON; the values of
        all other processes are ignored."""
        return value

    def together(self) -> AbstractContextManager[None]:
        """Run a block, in which nothing is exchanged, in every process: if it fails in one, none
        continues.

        Raises OtherProcessError where another process raises the error.
        """
        return contextlib.nullcontext()

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        # A sum, because every backend can compute it.
        total = torch.tensor(float(flag))
        self.sum_in_place([total])
        return bool(total > 0)

    def first(self, work: Callable[[], Result]) -> Result | None:
        """Call `work` in the first process only; return its result, after a round trip through
        JSON, in all processes."""
        # An error of the first process ends all processes: they would wait for its answer.
        result = None
        with self.together():
            if self.is_first:
                result = work()
        return self.of_first(result)

    def in_turn(self, read: Callable[[], Result]) -> Result:
        """Return the result of `read`, called by the first process of each host and then by the
        rest of them.

        A file that the first process downloads or caches is then there for the rest.
        """
        # First in each host, because the processes of a host share a disk and hosts do not.
        result = None
        with self.together():
            if self.local_rank == 0:
                result = read()

        with self.together():
            if result is None:
                result = read()
        return result

    def share_config(self, config: Config) -> Config:
        """Return the configuration of the first process."""
        return Config(**self.of_first(asdict(config)))

    def rows(self, batch_size: int) -> slice:
        """Return the batch rows that this process computes. They are contiguous, and any two
        processes differ by at most one row.

        Raises UsageError for fewer rows than processes.
        """
        if batch_size < self.size:
            most = "1 process" if batch_size == 1 else f"{batch_size} processes"
            raise UsageError(
                f"{self.size} processes cannot share {counted(batch_size, 'batch row')}: each needs"
                f" at least one\nstart at most {most}, or train with a larger"
                f" {named('batch_size')}"
            )
        # Rounded down at both ends, so that the parts of all processes join without a gap.
        return slice(self.rank * batch_size // self.size, (self.rank + 1) * batch_size // self.size)

    def join_rows(self, own: Tensor, batch_size: int) -> Tensor:
        """Join the batch rows of all processes, which lie along dimension -2; `own` has the
        `rows` of this process."""
        if self.size == 1:
            return own
        # Each process has zeros in the rows of all other processes, so that the sum is the whole.
        whole = own.new_zeros(*own.shape[:-2], batch_size, own.shape[-1])
        whole[..., self.rows(batch_size), :] = own
        self.sum_in_place([whole])
        return whole

    def device(self, device: torch.device) -> torch.device:
        """Return the device that this process computes on: one GPU per process. Raises UsageError
        without enough."""
        # On a CPU the processes share its cores (`Config.threads`).
        if self.size == 1 or device.type != "cuda":
            return device
        if self.local_size > torch.cuda.device_count():
            raise UsageError(
                f"This host has {counted(torch.cuda.device_count(), 'GPU')} for {self.local_size}"
                f" processes: start one process per GPU, or use {named('device', 'cpu')}."
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def check_corpus(self, corpus: Sequence[str]) -> None:
        """Raise UsageError if several processes are to read standard input, which only one process
        can read."""
        if self.size > 1 and "-" in corpus:
            raise UsageError(
                f"- is standard input, which {self.size} processes cannot all read\n"
                "save the text in a file, or train in one process"
            )

    def check_same_text(self, digest: str) -> None:
        """Raise DataError if this process read a text with another `digest` than the first
        process."""
        # Another text under the same name: gradients of both would be added without any error.
        first = self.of_first(digest)
        with self.together():
            if digest != first:
                raise DataError(
                    f"process {self.rank} of {self.size} reads another text than the first one"
                    " under the same name\ncopy the same files to every host"
                )


SINGLE = ProcessGroup()
"""One process on its own."""
