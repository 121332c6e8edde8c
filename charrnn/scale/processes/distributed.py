"""The processes that train one model together: which of them this is, and what they exchange.

`World()` is one process on its own: its methods do nothing, and torch.distributed is not imported. `joined` connects
several, which torchrun has started. Nothing is pickled: numbers travel as tensors, everything else as bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from charrnn.errors import CharRNNError, OtherProcessError, UsageError, counted, named
from charrnn.files import JSON
from charrnn.scale.processes.rank import Rank, this_rank

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

TIMEOUT_SECONDS = 600
"""Longest wait for another process that is still connected. One that ended is noticed at once: its connection breaks.
While one process validates, the others exchange flags with it, so no validation is too long."""


@dataclass(frozen=True)
class World:
    """The processes that train one model together; this class itself is a world of one process."""

    rank: int = 0
    """Which process this is, from 0. The first one plans, prints, writes and validates."""
    size: int = 1
    """Number of processes on all hosts."""
    local_rank: int = 0
    """Which process of its host this is, from 0."""
    local_size: int = 1
    """Number of processes on this host."""

    @property
    def is_first(self) -> bool:
        """Whether this process plans, prints, writes and validates."""
        return self.rank == 0

    def rows(self, num_lanes: int) -> slice:
        """Return which batch rows this process computes: contiguous, and at most one more than any other process.

        Raises UsageError if there are fewer rows than processes.
        """
        if num_lanes < self.size:
            raise UsageError(
                f"{self.size} processes cannot share {counted(num_lanes, 'batch row')}: each needs at least one\n"
                f"start at most {num_lanes} {'process' if num_lanes == 1 else 'processes'}, "
                f"or train with a larger {named('num_lanes')}"
            )
        return slice(self.rank * num_lanes // self.size, (self.rank + 1) * num_lanes // self.size)

    def device(self, device: torch.device) -> torch.device:
        """Return the device that this process computes on: the GPU of its number if `device` is a GPU.

        Raises UsageError if this host has more processes than GPUs.
        """
        import torch

        if self.size == 1 or device.type != "cuda":
            return device
        if self.local_size > torch.cuda.device_count():
            raise UsageError(
                f"This host has {counted(torch.cuda.device_count(), 'GPU')} for {self.local_size} processes: start one "
                f"process per GPU, or use {named('device', 'cpu')}."
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all of one dtype, by its sum over all processes, in one exchange.

        Every process gets the same sums to the bit.
        """
        import torch

        if self.size == 1:
            return
        # One message: for a small model, the latency of several would take longer than the copies.
        bucket = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._sum(bucket)
        for tensor, part in zip(tensors, torch.split(bucket, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is true in any process."""
        import torch

        if self.size == 1:
            return flags
        sums = torch.tensor([float(flag) for flag in flags])
        self._sum(sums)
        return tuple(total > 0 for total in sums.tolist())

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Return the `data` of the first process; what the others pass is ignored."""
        import torch

        if self.size == 1:
            return data
        length = torch.tensor([len(data)], dtype=torch.int64)
        self._broadcast(length, 0)
        shape = int(length.item())
        sent = torch.frombuffer(bytearray(data), dtype=torch.uint8) if self.is_first and data else None
        message = sent if sent is not None else torch.zeros(shape, dtype=torch.uint8)
        if shape:
            self._broadcast(message, 0)
        return bytes(message.numpy().tobytes())

    def of_first(self, value: JSON) -> JSON:
        """Return the `value` of the first process; what the others pass is ignored."""
        if self.size == 1:
            return value
        parsed: JSON = json.loads(self.broadcast_bytes(json.dumps(value).encode("ascii") if self.is_first else b""))
        return parsed

    def broadcast_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite each tensor by that of the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            self._broadcast(tensor, 0)

    def exchange_parts(self, flat: Tensor, bounds: Sequence[int]) -> None:
        """Copy part r of a flat tensor, from bounds[r] to bounds[r + 1], from process r into all others."""
        for rank in range(self.size):
            part = flat[bounds[rank] : bounds[rank + 1]]
            if len(part):
                self._broadcast(part, rank)

    def gather_rows(self, rows: Tensor, num_lanes: int, dim: int) -> Tensor:
        """Join the batch rows of all processes, which lie along dimension `dim`, in order, in every process."""
        import torch

        if self.size == 1:
            return rows
        parts = []
        for rank in range(self.size):
            span = World(rank, self.size).rows(num_lanes)
            shape = (*rows.shape[:dim], span.stop - span.start, *rows.shape[dim + 1 :])
            part = rows.contiguous() if rank == self.rank else rows.new_empty(shape)
            self._broadcast(part, rank)
            parts.append(part)
        return torch.cat(parts, dim)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a block, in which nothing is exchanged, in every process: if it fails in one, none continues.

        Raises OtherProcessError where the block itself succeeded.
        """
        try:
            yield
        except Exception:  # whatever it is, the others must not wait for this process; raised again
            with contextlib.suppress(OtherProcessError):
                self.any(True)
            raise
        if self.any(False)[0]:
            raise OtherProcessError("another process of this training failed: its message says why")

    def _sum(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over all processes."""

    def _broadcast(self, tensor: Tensor, source: int) -> None:
        """Overwrite a contiguous tensor by that of process `source`."""


ALONE = World()
"""One process on its own."""


class ProcessGroup(World):
    """Processes that torch.distributed connects: gloo for tensors on CPUs, nccl for those on GPUs."""

    def _sum(self, tensor: Tensor) -> None:
        import torch.distributed

        with _lost_processes_reported():
            torch.distributed.all_reduce(tensor)

    def _broadcast(self, tensor: Tensor, source: int) -> None:
        import torch.distributed

        with _lost_processes_reported():
            torch.distributed.broadcast(tensor, source)


@contextlib.contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """Connect with the other processes, as the variables that torchrun sets describe them; disconnect at the end.

    Without WORLD_SIZE, or if it is 1, this process is on its own. Raises UsageError as `this_rank` does, and if
    this torch cannot connect processes, CharRNNError if the others cannot be reached.
    """
    rank = this_rank(environment)
    if rank is None or rank.world_size == 1:
        yield ALONE
        return
    size = rank.world_size
    import torch
    import torch.distributed

    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        raise UsageError(f"This torch has no gloo, which connects processes: train in one process, not in {size}.")
    has_nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    timeout = timedelta(seconds=TIMEOUT_SECONDS)
    try:
        store = _store_of_attempt(environment, rank, timeout)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if has_nccl else "gloo",
            init_method="env://" if store is None else None,
            store=store,
            rank=rank.number,
            world_size=size,
            timeout=timeout,
        )
    except (RuntimeError, ValueError) as error:
        where = f"{environment.get('MASTER_ADDR')}:{environment.get('MASTER_PORT')}"
        reason = str(error).strip().partition("\n")[0][:200]
        raise CharRNNError(f"process {rank.number} cannot reach the other {size - 1} at {where}: {reason}") from error
    try:
        yield ProcessGroup(rank.number, size, rank.local_rank, rank.local_world_size)
    finally:
        torch.distributed.destroy_process_group()


def _store_of_attempt(environment: Mapping[str, str], rank: Rank, timeout: timedelta) -> Store | None:
    """Connect with the key-value store of torchrun, if it has one; return the part that belongs to this attempt.

    torchrun keeps the store when it starts all processes again (`--max-restarts`), and torch.distributed would read the
    addresses that the processes of the last attempt left there.
    """
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore

    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        host, port, world_size=rank.world_size, is_master=False, timeout=timeout
    )
    return PrefixStore(f"charrnn-attempt-{rank.attempt}", store)


@contextlib.contextmanager
def _lost_processes_reported() -> Iterator[None]:
    """Raise OtherProcessError where torch.distributed reports a broken connection or a timeout, as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise OtherProcessError(
            f"the connection to another process of this training is lost ({reason})\n"
            f"what was saved is intact: continue with {named('resume')}"
        ) from error
