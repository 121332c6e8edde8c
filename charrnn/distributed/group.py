"""The processes that train one model together.

A `ProcessGroup` stands for one process among them, by default the only process. torchrun starts
several, and their numbers come from the variables that it sets; torch connects them. Nothing is
pickled: numbers travel as tensors, everything else as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from charrnn.config.settings import whole_number
from charrnn.errors import (
    CharRNNError,
    DataError,
    OtherProcessError,
    UsageError,
    counted,
    named,
    shortened,
)
from charrnn.system.lazy import Tensor, torch
from charrnn.system.process import num_cores
from charrnn.system.progress import current, tell, using

Result = TypeVar("Result")


@dataclass(frozen=True)
class ProcessGroup:
    """A process among those that train one model. This class itself is the only process.

    A single process has one, too, in which its methods do nothing. A subclass exchanges values by
    `sum_in_place`, `of_first` and `together`. These methods, and the methods built on them, must be
    called in all processes.
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
        all other processes are ignored.

        Use it for decisions, such as a number of steps that was measured; `sum_in_place` is for
        what all have computed.
        """
        return value

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Run a block, in which nothing is exchanged, in every process: if it fails in one, none
        continues.

        Without it, processes would wait forever for the one that failed. Raises OtherProcessError
        where another process raises the error.
        """
        return contextlib.nullcontext()

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process.

        A request to stop reaches one process, and all must stop at the same step.
        """
        # A sum, because every backend can compute it.
        total = torch.tensor(float(flag))
        self.sum_in_place([total])
        return bool(total > 0)

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Run a block, in which nothing is exchanged, in the first process of each host and then in
        the rest of them: if it fails in one, none continues.

        A file that the first process downloads or caches is then there for the rest.
        """
        # First in each host, because the processes of a host share a disk and hosts do not.
        is_first_of_host = self.local_rank == 0
        if not is_first_of_host:
            with self.together():
                pass
        with self.together():
            yield
        if is_first_of_host:
            with self.together():
                pass

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
        """Join the batch rows of all processes, which lie along dimension -2; `own` has the `rows`
        of this process.

        A checkpoint has the states of all rows, so that it can be resumed by another number of
        processes.
        """
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
        """Raise DataError if this process read a text with another `digest` than the first process.

        Processes on several hosts may find other files under the same name.
        """
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


TIMEOUT = "CHARRNN_TIMEOUT_SECONDS"
"""Environment variable with the longest wait for another process that is still connected, but may
hang. A process that ended is noticed at once, because its connection breaks. It must exceed a
reading of the text, a step, a validation, a save and a counting of the text."""
DEFAULT_TIMEOUT_SECONDS = 600
"""Value of that variable unless it is set."""
MAX_TIMEOUT_SECONDS = 10**7
"""The largest value of that variable, four months."""
NOTICE_SECONDS = 3.0
"""Seconds after which a process that waits for others says so."""
WATCH_SECONDS = 0.1
"""Time between two looks at signals, while processes connect."""


def launched(environment: Mapping[str, str] = os.environ) -> ProcessGroup:
    """Return this process as a member of those that were started together, before they are
    connected, from the variables that torchrun sets.

    `connected` connects it. Call it before torch is loaded. Raises UsageError for a variable that
    is missing or no number.
    """
    # Only this variable, which torchrun and its imitations set, tells that it started this process.
    if "WORLD_SIZE" not in environment:
        return SINGLE
    # Else torch logs the stack of each attempt to connect.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    try:
        return ProcessGroup(
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", 0)),
            local_size=int(environment.get("LOCAL_WORLD_SIZE", 1)),
        )
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"WORLD_SIZE is set, but not all variables of torchrun are: {error}\nstart the"
            " processes with torchrun; unset WORLD_SIZE to train in one process"
        ) from None


def num_threads(group: ProcessGroup, environment: Mapping[str, str]) -> int:
    """Return how many processor threads a process gets: its share of the cores of its host.

    torchrun sets OMP_NUM_THREADS to 1 if it is not set, and `limit_threads` to all cores of a
    quota, so neither is a choice of the user; any other number is.
    """
    chosen = environment.get("OMP_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen) not in (0, 1, num_cores()):
        return int(chosen)
    return max(1, num_cores() // group.local_size)


class WaitWatch:
    """Says what a process waits for in an exchange, from NOTICE_SECONDS on, and again whenever a
    wait takes twice as long: a user sees that another process reads or saves, or hangs. A thread
    looks, because the waiting one is in torch."""

    def __init__(self, message: str):
        """Watch until `close`; what is said goes where reports go now."""
        self._message = message
        self._since: float | None = None
        self._least_seconds = NOTICE_SECONDS
        self._is_closed = threading.Event()
        self._progress = current()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the exchange in this block."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()
        self._thread.join()

    def _look(self) -> None:
        with using(self._progress):
            while not self._is_closed.wait(WATCH_SECONDS):
                since = self._since
                if since is not None and time.monotonic() - since > self._least_seconds:
                    self._least_seconds *= 2
                    tell(self._message)


@dataclass(frozen=True)
class ConnectedProcesses(ProcessGroup):
    """A process among those that torch.distributed connects, by gloo for tensors on CPUs and by
    nccl for tensors on GPUs.

    `connected` makes it; code that trains only knows a `ProcessGroup`.
    """

    watch: WaitWatch | None = None
    """What says that an exchange takes long."""

    def _sum(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over all processes."""
        watched: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.watch is not None:
            watched = self.watch.watched()
        with watched, _lost_processes_reported():
            torch.distributed.all_reduce(tensor)

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange."""
        # A single message: for a small model, the latency of several would take longer than the
        # copies.
        bucket = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._sum(bucket)
        sums = torch.split(bucket, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view_as(tensor))

    def of_first(self, value: Result) -> Result:
        """Return the `value` of the first process, by a sum to which all other processes add
        zeros."""
        # The length first, because all processes must exchange tensors of the same shape.
        data = json.dumps(value).encode("ascii") if self.is_first else b""
        length = torch.tensor(len(data))
        self._sum(length)

        message = torch.zeros(int(length), dtype=torch.uint8)
        if data:
            message = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self._sum(message)
        received: Result = json.loads(bytes(message.tolist()))
        return received

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in every process; the first process in which it fails raises its error."""
        # An error waits until all processes know of it: a process that left at once would break the
        # connection of the rest, and they would report that instead.
        error: Exception | None = None
        try:
            yield
        except Exception as raised:  # Whatever it is, the other processes wait for this one.
            error = raised

        has_failed = torch.zeros(self.size)
        has_failed[self.rank] = float(error is not None)
        self._sum(has_failed)
        failed = has_failed.nonzero().flatten().tolist()
        if not failed:
            return
        if error is not None and failed[0] == self.rank:
            raise error

        # The process that failed exchanges nothing more: this wait ends with it, after it has
        # printed its error. torch would end all at once if this process ended before.
        with contextlib.suppress(OtherProcessError):
            self._sum(has_failed)
        raise OtherProcessError("another process of this training failed: its message says why")


@contextlib.contextmanager
def connected(group: ProcessGroup | None) -> Iterator[ProcessGroup]:
    """Connect with the processes that torchrun started with this one, unless a group is given;
    disconnect at the end.

    A training runs inside its block. Raises UsageError if the variables of torchrun are wrong,
    CharRNNError if another process cannot be reached.
    """
    launched_process = launched()
    if group is not None or launched_process.size == 1:
        yield group or SINGLE
        return

    torch.set_num_threads(num_threads(launched_process, os.environ))
    _meet(launched_process, os.environ)
    others = _others_of(launched_process)
    watch = WaitWatch(
        f"Process {launched_process.rank} waits for the {others}, which may still read, compute or"
        f" save, for up to {timeout_seconds(os.environ)} seconds ..."
    )
    try:
        yield ConnectedProcesses(**vars(launched_process), watch=watch)
    finally:
        watch.close()
    # Not after an error: then the connection ends with the process, once it has printed the error.
    torch.distributed.destroy_process_group()


def _meet(group: ProcessGroup, environment: Mapping[str, str]) -> None:
    """Wait until all processes are connected. Signals end the wait.

    Raises CharRNNError if another process cannot be reached, OtherProcessError if another process
    of this host reports that.
    """
    failures: list[Exception] = []
    seconds = timeout_seconds(environment)

    def initialize() -> None:
        backend = "gloo"
        if torch.cuda.is_available() and torch.distributed.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
        try:
            torch.distributed.init_process_group(
                backend,
                rank=group.rank,
                world_size=group.size,
                timeout=timedelta(seconds=seconds),
            )
        except Exception as error:  # Whatever it is, it is raised below, in the main thread.
            failures.append(error)

    # In a thread of its own, because no signal handler runs while the main thread is in torch.
    thread = threading.Thread(target=initialize, daemon=True)
    thread.start()
    begin = time.monotonic()
    is_said = False
    while thread.is_alive():
        thread.join(WATCH_SECONDS)
        if not is_said and time.monotonic() - begin > NOTICE_SECONDS:
            is_said = True
            tell(_waited_for(group, environment))
    for error in failures:
        kind = CharRNNError
        if group.local_rank > 0:
            kind = OtherProcessError
        raise kind(
            f"process {group.rank} cannot reach the other {group.size - 1}: {_reason(error)}"
        ) from error


def _waited_for(group: ProcessGroup, environment: Mapping[str, str]) -> str:
    """Say what a process waits for until all are connected."""
    place = f"{environment.get('MASTER_ADDR')}:{environment.get('MASTER_PORT')}"
    return (
        f"Process {group.rank} waits for the {_others_of(group)} of {group.size} (WORLD_SIZE) at"
        f" {place}, for up to {timeout_seconds(environment)} seconds ..."
    )


def _others_of(group: ProcessGroup) -> str:
    """Return how a message calls the other processes of a group."""
    if group.size > 2:
        return f"{group.size - 1} other processes"
    return "other process"


def timeout_seconds(environment: Mapping[str, str]) -> int:
    """Return the longest wait for another process. Raises UsageError for a value of the variable
    that is no number of seconds."""
    typed = environment.get(TIMEOUT, str(DEFAULT_TIMEOUT_SECONDS))
    try:
        seconds = whole_number(typed)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(
            f"{TIMEOUT} is {shortened(typed)!r}; it must be a number of seconds between 1 and"
            f" {MAX_TIMEOUT_SECONDS}."
        )
    return seconds


def _reason(error: Exception) -> str:
    """Return the first line of an error of torch; the others are addresses of code."""
    return str(error).strip().partition("\n")[0][:200]


@contextlib.contextmanager
def _lost_processes_reported() -> Iterator[None]:
    """Raise OtherProcessError where torch.distributed reports a broken connection or a timeout, as
    a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise OtherProcessError(
            f"the connection to another process of this training is lost ({_reason(error)})\n"
            f"what was saved is intact: continue with {named('resume')}\n"
            f"or set {TIMEOUT} higher, if reading, a step, a validation, a save or counting the"
            " text takes longer"
        ) from error
