"""Several processes that train one model: how they are numbered and connected.

torch connects them. torchrun starts them, and their numbers come from the
variables that it sets. Nothing is pickled: numbers travel as tensors, everything else as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from charrnn.distributed.group import SINGLE, ProcessGroup, Result
from charrnn.errors import CharRNNError, OtherProcessError, UsageError, named
from charrnn.system.lazy import Tensor, torch
from charrnn.system.process import num_cores

TIMEOUT = "CHARRNN_TIMEOUT_SECONDS"
"""Environment variable with the longest wait for another process that is still connected, but may
hang. A process that ended is noticed at once, because its connection breaks. It must exceed a
reading of the text, a step, a validation, a save and a counting of the text."""
DEFAULT_TIMEOUT_SECONDS = 600
"""Value of that variable unless it is set."""
WATCH_SECONDS = 0.1
"""Time between two looks at signals, while processes connect."""


def launched(environment: Mapping[str, str] = os.environ) -> ProcessGroup:
    """Return the group of this process, with its number, from the variables that torchrun sets.

    Raises UsageError if they do not let the processes find each other.
    """
    if "WORLD_SIZE" not in environment:
        return SINGLE

    # The address of the other processes.
    size = _number(environment, "WORLD_SIZE", least=1, most=1 << 20)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if not environment.get(name):
            raise UsageError(
                f"WORLD_SIZE is {size}, but {name} is not set: the processes cannot find each"
                " other\nstart them with torchrun, or unset WORLD_SIZE to train in one process"
            )
    _number(environment, "MASTER_PORT", least=1, most=65535)

    if environment.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        raise UsageError(
            "torchrun has started the processes again, which would train another run\n"
            f"leave out --max-restarts, and continue the run with {named('resume')}"
        )

    return ProcessGroup(
        rank=_number(environment, "RANK", least=0, most=size - 1),
        size=size,
        local_rank=_number(environment, "LOCAL_RANK", least=0, most=size - 1, default="0"),
        local_size=_number(environment, "LOCAL_WORLD_SIZE", least=1, most=size, default="1"),
    )


def _number(
    environment: Mapping[str, str],
    name: str,
    *,
    least: int,
    most: int,
    default: str = "",
    remedy: str = "torchrun sets it; unset WORLD_SIZE to train in one process",
) -> int:
    value = environment.get(name, default)
    if not _is_number(value, least=least, most=most):
        raise UsageError(
            f"{name} is {value[:40]!r}; it must be a whole number from {least} to {most}\n{remedy}"
        )
    return int(value)


def _is_number(text: str, least: int, most: int) -> bool:
    digits = text.strip()
    is_short = digits.isascii() and digits.isdecimal() and len(digits) < 10
    return is_short and least <= int(digits) <= most


def timeout_seconds(environment: Mapping[str, str]) -> int:
    """Return the longest wait for another process. Raises UsageError for a TIMEOUT out of range."""
    default = str(DEFAULT_TIMEOUT_SECONDS)
    remedy = f"unset it to wait for {default} seconds"
    return _number(environment, TIMEOUT, least=1, most=86_400, default=default, remedy=remedy)


def num_threads(group: ProcessGroup, environment: Mapping[str, str]) -> int:
    """Return how many processor threads a process gets: its share of the cores of its host.

    torchrun sets OMP_NUM_THREADS to 1 if it is not set, and `limit_threads` to all cores of a
    quota, so neither is a choice of the user; any other number is.
    """
    text = environment.get("OMP_NUM_THREADS", "")
    if _is_number(text, least=2, most=1024) and int(text) != num_cores():
        return int(text)
    return max(1, num_cores() // group.local_size)


class ConnectedProcesses(ProcessGroup):
    """A process among those that torch.distributed connects, by gloo for tensors on CPUs and by
    nccl for tensors on GPUs."""

    def _sum(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over all processes."""
        with _lost_processes_reported():
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
        result: Result = json.loads(bytes(message.tolist()))
        return result

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in every process; the first process in which it fails raises its error."""
        # An error waits until all processes know of it: a process that left at once would break the
        # connection of the rest, and they would report that instead.
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
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
def connect(environment: Mapping[str, str] = os.environ) -> Iterator[ProcessGroup]:
    """Connect with the other processes, as the variables that torchrun sets describe them;
    disconnect at the end.

    Raises UsageError if the variables do not let the processes find each other, CharRNNError if
    another process cannot be reached.
    """
    group = launched(environment)
    if group.size == 1:
        yield SINGLE
        return

    torch.set_num_threads(num_threads(group, environment))
    _meet(group, environment)

    yield ConnectedProcesses(
        group.rank, size=group.size, local_rank=group.local_rank, local_size=group.local_size
    )
    # Not after an error: then the connection ends with the process, once it has printed the error.
    torch.distributed.destroy_process_group()


def _meet(group: ProcessGroup, environment: Mapping[str, str]) -> None:
    """Wait until all processes are connected. Signals end the wait.

    Raises CharRNNError if another process cannot be reached, OtherProcessError if another process
    of this host reports that.
    """
    failures: list[Exception] = []
    timeout = timedelta(seconds=timeout_seconds(environment))

    def initialize() -> None:
        has_nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()
        try:
            torch.distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if has_nccl else "gloo",
                rank=group.rank,
                world_size=group.size,
                timeout=timeout,
            )
        except Exception as error:
            failures.append(error)

    # In a thread of its own, because no signal handler runs while the main thread is in torch.
    thread = threading.Thread(target=initialize, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(WATCH_SECONDS)
    if not failures:
        return

    error = failures[0]
    if not isinstance(error, RuntimeError | ValueError):
        raise error
    others = f"the other {group.size - 1}"
    where = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    # Without the line of gloo's source.
    reason = re.sub(r"^\[enforce fail [^]]*\] ", "", str(error).strip().partition("\n")[0])[:200]
    problem = f"process {group.rank} cannot reach {others} at {where}: {reason}"
    interface = environment.get("GLOO_SOCKET_IFNAME")
    if interface is not None:
        problem += (
            f"\nGLOO_SOCKET_IFNAME names the network interface {interface}: is it there, and up?"
        )
    kind = CharRNNError
    if group.local_rank > 0:
        kind = OtherProcessError
    raise kind(problem) from error


@contextlib.contextmanager
def _lost_processes_reported() -> Iterator[None]:
    """Raise OtherProcessError where torch.distributed reports a broken connection or a timeout, as
    a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise connection_lost(f"is lost ({reason})") from error


def connection_lost(what: str) -> OtherProcessError:
    """Return the error for a connection that is lost; `what` says how, after "the connection"."""
    return OtherProcessError(
        f"the connection to another process of this training {what}\n"
        f"what was saved is intact: continue with {named('resume')}\n"
        f"or set {TIMEOUT} higher, if reading, a step, a validation, a save or"
        " counting the text takes longer"
    )
