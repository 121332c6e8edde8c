"""Several processes that train one model together: how they are started, numbered and connected,
what they exchange.

Their numbers come from the variables that torchrun sets; `charrnn train --processes` sets the same
ones. Nothing is pickled: numbers travel as tensors, everything else as bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.numpy

from charrnn.cli.signals import STOP_NOTICE, Signals
from charrnn.config.settings import Config
from charrnn.config.settings_file import from_yaml, to_yaml
from charrnn.distributed.child_process import ChildProcess, killer
from charrnn.errors import CharRNNError, DataError, OtherProcessError, UsageError, counted, named
from charrnn.hooks.specifications import ProcessSupport
from charrnn.runs.checkpoint import Checkpoint, tensors_to_bytes
from charrnn.runs.description import Description
from charrnn.system.files import JSON
from charrnn.system.lazy import Tensor, torch
from charrnn.system.process import num_cores
from charrnn.training.process_group import (
    SINGLE,
    LaunchedProcess,
    ProcessGroup,
    Result,
)

MAX_PROCESSES = 1024
"""Processes that --processes starts at most."""
MAX_WORLD_SIZE = 1 << 20
"""Largest WORLD_SIZE."""
MAX_THREADS = 1024
"""Largest OMP_NUM_THREADS that counts as a choice."""
SUPERVISED = "CHARRNN_SUPERVISED"
"""Environment variable that `launch` sets for its processes."""
TIMEOUT = "CHARRNN_TIMEOUT_SECONDS"
"""Environment variable with the longest wait for another process that is still connected, such as
one whose host has vanished. One that ended is noticed at once: its connection breaks. It must
exceed a step, a sample and a save."""
REACH_SECONDS = 5.0
"""Longest wait for the key-value store, which runs in the parent of this process or on the first
host."""
ERROR_SECONDS = 2.0
"""How long a process that lost another one waits for its error."""
LOOK_SECONDS = 0.2
"""Time between two looks at the store while a process waits for the first one to finish."""
CONNECT_SECONDS = 600
"""Shortest limit of the wait for processes that start later."""
PULSE_SECONDS = 1.0
"""Time between two exchanges of processes while one of them reads, plans or loads: none of that
takes too long."""
WATCH_SECONDS = 0.1
"""Time between two looks at the signals and the processes."""
ABORT_SECONDS = 3.0
"""Longest time that the processes get to end after a second Ctrl-C; then they are killed."""
SHUTDOWN_SECONDS = 20.0
"""Longest time that the other processes get to end after one has failed; then they are killed."""


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
        """Return how many processor threads this process gets: the cores divided by the processes
        of this host.

        torchrun sets OMP_NUM_THREADS to 1 if it is not set, so a 1 there is not a choice; a larger
        number is one.
        """
        chosen = os.environ.get("OMP_NUM_THREADS", "")
        if _is_number(chosen, 2, MAX_THREADS):
            return int(chosen)
        return max(1, num_cores() // self.local_world_size)


def this_rank(environment: Mapping[str, str]) -> Rank | None:
    """Return which of several processes this is, from the variables that torchrun sets; None
    without WORLD_SIZE.

    Raises UsageError if the variables do not let the processes find each other.
    """
    if "WORLD_SIZE" not in environment:
        return None
    world_size = _number(environment, "WORLD_SIZE", 1, MAX_WORLD_SIZE)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if not environment.get(name):
            raise UsageError(
                f"WORLD_SIZE is {world_size}, but {name} is not set: the processes cannot find each"
                f" other\nstart them with torchrun or with {named('processes')}, or unset"
                " WORLD_SIZE to train in one process"
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
    environment: Mapping[str, str],
    name: str,
    lowest: int,
    highest: int,
    default: str = "",
    remedy: str = USE_TORCHRUN,
) -> int:
    value = environment.get(name, default)
    if not _is_number(value, lowest, highest):
        raise UsageError(
            f"{name} is {value[:40]!r}; it must be a whole number from {lowest} to"
            f" {highest}\n{remedy}"
        )
    return int(value)


def timeout_seconds(environment: Mapping[str, str]) -> int:
    """Return the longest wait for another process. Raises UsageError for a TIMEOUT out of range."""
    return _number(environment, TIMEOUT, 1, 86_400, "60", "unset it to wait for 60 seconds")


def _is_number(text: str, lowest: int, highest: int) -> bool:
    digits = text.strip()
    return (
        digits.isascii()
        and digits.isdecimal()
        and len(digits) < 10
        and lowest <= int(digits) <= highest
    )


def check_processes(value: str) -> int:
    """Parse --processes; 1 for a process that it has started. Raises UsageError if it is no number
    or out of range.

    Also where torchrun has started several processes.
    """
    if SUPERVISED in os.environ:  # its command line is that of the launcher
        return 1
    if not _is_number(value, 1, MAX_PROCESSES):
        raise UsageError(
            f"{named('processes')} is {value[:40]}; it must be a whole number from 1 to"
            f" {MAX_PROCESSES}."
        )
    if (rank := this_rank(os.environ)) is not None:
        raise UsageError(
            f"{named('processes', value.strip())} starts processes, but WORLD_SIZE is"
            f" {rank.world_size}: torchrun has started them\nleave out {named('processes')}, or"
            " unset WORLD_SIZE"
        )
    return int(value)


def check_no_stdin(corpus: Iterable[str], num_processes: int) -> None:
    """Raise UsageError if several processes are to read standard input, which only one of them
    can."""
    if num_processes > 1 and "-" in corpus:
        raise UsageError(
            f"- is standard input, which {num_processes} processes cannot all read\n"
            "save the text in a file, or train in one process"
        )


def agent_store(environment: Mapping[str, str], timeout: timedelta, prefix: str) -> Any:
    """Connect with the key-value store of the launcher; return the part of it whose keys start with
    `prefix`.

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

    Without a launcher, or once its store is gone, every entry is missing, and a process acts on its
    own.
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
            return (
                self._store.get(key).decode()
                if self._store is not None and self._store.check([key])
                else None
            )
        except torch.distributed.DistError:
            return None

    def _set(self, key: str, value: str) -> None:
        if self._store is not None:
            with contextlib.suppress(torch.distributed.DistError):
                self._store.set(key, value)

    def _wait_for(self, key: str, seconds: float = math.inf) -> str | None:
        """Wait for an entry; return None if it does not come, or if the launch or its store has
        ended."""
        deadline = time.monotonic() + seconds
        while (value := self._get(key)) is None and self._store is not None and not self.is_orphan:
            if time.monotonic() >= deadline:
                break
            time.sleep(LOOK_SECONDS)
        return value

    @property
    def is_orphan(self) -> bool:
        """Whether the process that started this one has ended, so that no process supervises the
        others."""
        return os.getppid() != self._parent

    @property
    def stop_signal(self) -> int:
        """Number of the signal that asked one of the processes to stop, or 0."""
        return int(self._get("signal") or 0)

    def announce_stop(self, number: int) -> None:
        """Tell the others that this signal asked for a stop."""
        self._set("signal", str(int(number)))

    def claim_error(self, code: int, message: str) -> int | None:
        """Return None if this process is the first to fail and should print `message`, else the
        first one's code."""
        if self._store is None:
            return None
        mine = f"{self.rank} {code}"
        with contextlib.suppress(torch.distributed.DistError):
            first = self._store.compare_set("failed", "", mine).decode()
            return None if first == mine else int(first.split()[1])
        return None

    def code_of_other_process(self) -> int | None:
        """Return the exit code for a process that another one's end keeps from training; None:
        print an error.

        The other one prints its error, and the launcher that a process was killed.
        """
        if (first := self._wait_for("failed", ERROR_SECONDS)) is not None:
            return int(first.split()[1])
        return 1 if self.is_supervised else None

    def train(self, begin: Callable[[], int]) -> int:
        """Train, and return the exit code once the first process has finished: torchrun ends all
        that remain."""
        torch.set_num_threads(self._num_threads)
        code = begin()
        if self.rank == 0:
            self._set("finished", "yes")
        else:
            self._wait_for("finished")
        return code


def launched() -> LaunchedProcess:
    """Return this process as one of those that the environment describes. Raises UsageError as
    `this_rank`."""
    rank = this_rank(os.environ)
    return LaunchedProcess() if rank is None else RankedProcess(rank)


class ConnectedProcesses(ProcessGroup):
    """Processes that torch.distributed connects: gloo for tensors on CPUs, nccl for those on GPUs.

    They exchange tensors by two operations only, `_sum` and `_broadcast`.
    """

    def _sum(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over all processes."""
        with _lost_processes_reported():
            torch.distributed.all_reduce(tensor)

    def _broadcast(self, tensor: Tensor, source: int) -> None:
        """Overwrite a contiguous tensor by that of process `source`."""
        with _lost_processes_reported():
            torch.distributed.broadcast(tensor, source)

    def rows(self, batch_size: int) -> slice:
        """Return which batch rows this process computes: contiguous, and at most one more than any
        other process."""
        if batch_size < self.size:
            raise UsageError(
                f"{self.size} processes cannot share {counted(batch_size, 'batch row')}: each needs"
                f" at least one\nstart at most {batch_size}"
                f" {'process' if batch_size == 1 else 'processes'}, or train with a larger"
                f" {named('batch_size')}"
            )
        return slice(
            self._first_row(self.rank, batch_size), self._first_row(self.rank + 1, batch_size)
        )

    def _first_row(self, rank: int, batch_size: int) -> int:
        return rank * batch_size // self.size

    def device(self, device: torch.device) -> torch.device:
        """Return the GPU of this process's number, if `device` is a GPU."""
        if device.type != "cuda":
            return device
        if self.local_size > torch.cuda.device_count():
            raise UsageError(
                f"This host has {counted(torch.cuda.device_count(), 'GPU')} for {self.local_size}"
                f" processes: start one process per GPU, or use {named('device', 'cpu')}."
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def check_corpus(self, corpus: Sequence[str]) -> None:
        """Raise UsageError for standard input, which only one process can read."""
        check_no_stdin(corpus, self.size)

    def check_same_text(self, digest: str) -> None:
        """Raise DataError if this process read a text with another `digest` than the first one."""
        first = self.of_first(digest)
        with self.together():
            if digest != first:
                raise DataError(
                    f"process {self.rank} of {self.size} reads another text than the first one"
                    " under the same name\ncopy the same files to every host"
                )

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all of one dtype, by its sum over all processes, in one exchange."""
        # One message: for a small model, the latency of several would take longer than the copies.
        bucket = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._sum(bucket)
        for tensor, part in zip(
            tensors, torch.split(bucket, [tensor.numel() for tensor in tensors]), strict=True
        ):
            tensor.copy_(part.view_as(tensor))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is true in any process."""
        sums = torch.tensor([float(flag) for flag in flags])
        self._sum(sums)
        return tuple(total > 0 for total in sums.tolist())

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Return the `data` of the first process; the data of the others are ignored."""
        length = torch.tensor([len(data)], dtype=torch.int64)
        self._broadcast(length, 0)
        num_bytes = int(length.item())
        message = torch.zeros(num_bytes, dtype=torch.uint8)
        if num_bytes:
            if self.is_first:
                message = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            self._broadcast(message, 0)
        return bytes(message.numpy().tobytes())

    def of_first(self, value: JSON) -> JSON:
        """Return the `value` of the first process; the values of the others are ignored."""
        parsed: JSON = json.loads(
            self.broadcast_bytes(json.dumps(value).encode("ascii") if self.is_first else b"")
        )
        return parsed

    def share_config(self, config: Config) -> Config:
        """Return the configuration of the first process."""
        return from_yaml(
            self.broadcast_bytes(to_yaml(config).encode("utf-8")).decode("utf-8"),
            "the first process",
        )

    def share_checkpoint(self, loaded: Checkpoint | None) -> Checkpoint:
        """Return the checkpoint that the first process has `loaded`."""
        head: dict[str, Any] = {}
        parts: Sequence[bytes] = (b"",) * 4
        if loaded is not None:
            description = loaded.description
            plain = {name: getattr(loaded, name) for name in ("name", "step", "digest")} | {
                "state": dict(loaded.state)
            }
            head = {
                "plain": plain,
                "warnings": list(loaded.warnings),
                "folder": str(description.folder),
            }
            tensors = map(tensors_to_bytes, (loaded.model, loaded.training))
            parts = description.config_yaml, description.vocab_json, *tensors
        sent: Any = self.of_first(head)
        config_yaml, vocab_json, model, training = map(self.broadcast_bytes, parts)
        return loaded or Checkpoint(
            **sent["plain"],
            model=safetensors.numpy.load(model),
            training=safetensors.numpy.load(training),
            description=Description(Path(sent["folder"]), config_yaml, vocab_json),
            warnings=tuple(sent["warnings"]),
        )

    def share_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite each tensor by that of the first process."""
        for tensor in tensors:
            self._broadcast(tensor, 0)

    def gather_rows(self, rows: Tensor, batch_size: int, dim: int) -> Tensor:
        """Join the batch rows of all processes, which lie along dimension `dim`, in order, in every
        process."""
        parts = []
        for rank in range(self.size):
            num_rows = self._first_row(rank + 1, batch_size) - self._first_row(rank, batch_size)
            shape = (*rows.shape[:dim], num_rows, *rows.shape[dim + 1 :])
            part = rows.contiguous() if rank == self.rank else rows.new_empty(shape)
            self._broadcast(part, rank)
            parts.append(part)
        return torch.cat(parts, dim)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in every process; raise OtherProcessError where it succeeded but failed in
        another process."""
        pulse = _Pulse(self)
        try:
            try:
                yield
            except (
                Exception
            ):  # whatever it is, the others must not wait for this process; raised again
                with contextlib.suppress(OtherProcessError):
                    pulse.end(has_failed=True)
                raise
            if pulse.end(has_failed=False):
                raise OtherProcessError(
                    "another process of this training failed: its message says why"
                )
        finally:  # needed after an interrupt of the block or of a wait, which reaches the others, too  # noqa: E501
            pulse.abandon()

    def in_turn(self, read: Callable[[], Result]) -> Result:
        """Return the result of `read`, called by the first process of each host and then by the
        others."""
        with self.together():
            result = read() if self.local_rank == 0 else None
        with self.together():
            return read() if result is None else result


class _Pulse(threading.Thread):
    """Exchanges with the other processes until the blocks of all have ended, or one has failed."""

    def __init__(self, group: ConnectedProcesses) -> None:
        super().__init__(daemon=True)
        self.group = group
        self.ended = threading.Event()
        """Set when the block of this process has ended."""
        self.finished = threading.Event()
        """Set when nothing more is exchanged. Before Python 3.13 an interrupted `join` takes a
        thread for ended."""
        self.has_failed = self.is_abandoned = False
        """Whether the block of this process has failed, or at last that of any; whether it was
        interrupted."""
        self.error: OtherProcessError | None = None
        self.start()

    def end(self, *, has_failed: bool) -> bool:
        """Wait for the other processes; return whether the block failed in any. Raises
        OtherProcessError."""
        self.has_failed |= has_failed
        self.ended.set()
        self.finished.wait()
        if self.error is not None:
            raise self.error
        return self.has_failed

    def abandon(self) -> None:
        """Exchange nothing more; wait until the exchange that goes on has ended."""
        self.is_abandoned = True
        self.ended.set()
        self.finished.wait(2 * PULSE_SECONDS)

    def run(self) -> None:
        """Exchange at once when the block has ended, and at every pulse before."""
        num_ended = num_failed = 0.0
        try:
            while num_ended < self.group.size and not num_failed:
                self.ended.wait(PULSE_SECONDS)
                if self.is_abandoned:
                    return
                flags = torch.tensor([float(self.ended.is_set()), float(self.has_failed)])
                self.group._sum(flags)
                num_ended, num_failed = flags.tolist()
            self.has_failed = num_failed > 0
        except OtherProcessError as error:
            self.error = error
        finally:
            self.finished.set()


@contextlib.contextmanager
def connect(environment: Mapping[str, str] = os.environ) -> Iterator[ProcessGroup]:
    """Connect with the other processes, as the variables that torchrun sets describe them;
    disconnect at the end.

    Without WORLD_SIZE, or if it is 1, this process is on its own. Raises UsageError as `this_rank`
    does, and if this torch cannot connect processes, CharRNNError if the others cannot be reached.
    """
    rank = this_rank(environment)
    if rank is None or rank.world_size == 1:
        yield SINGLE
        return
    size = rank.world_size
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        raise UsageError(
            "This torch has no gloo, which connects processes: train in one process, not in"
            f" {size}."
        )
    has_nccl = torch.cuda.is_available() and torch.distributed.is_nccl_available()
    timeout = timedelta(seconds=max(timeout_seconds(environment), CONNECT_SECONDS))
    try:
        store = agent_store(environment, timeout, "charrnn-group")
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if has_nccl else "gloo",
            init_method="env://" if store is None else None,
            store=store,
            rank=rank.number,
            world_size=size,
            timeout=timeout,
        )
        torch.distributed.distributed_c10d._set_pg_timeout(
            timedelta(seconds=timeout_seconds(environment))
        )
    except (RuntimeError, ValueError) as error:
        where = f"{environment.get('MASTER_ADDR')}:{environment.get('MASTER_PORT')}"
        reason = str(error).strip().partition("\n")[0][:200]
        raise CharRNNError(
            f"process {rank.number} cannot reach the other {size - 1} at {where}: {reason}"
        ) from error
    try:
        yield ConnectedProcesses(rank.number, size, rank.local_rank, rank.local_world_size)
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _lost_processes_reported() -> Iterator[None]:
    """Raise OtherProcessError where torch.distributed reports a broken connection or a timeout, as
    a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise OtherProcessError(
            f"the connection to another process of this training is lost ({reason})\n"
            f"what was saved is intact: continue with {named('resume')}\n"
            f"or set {TIMEOUT} higher, if a step, a sample or a save takes longer"
        ) from error


def launch(
    num_processes: int,
    arguments: Sequence[str],
    signals: Signals,
    *,
    corpus: Sequence[str],
    is_debugging: bool,
) -> int:
    """Run `charrnn ARGUMENTS` in several processes of this machine, as torchrun does; return the
    exit code.

    The first process prints and writes. Signals are forwarded to all of them. The exit code is that
    of the process that failed, or 128 + the signal that ended training; if a process was killed,
    one error says so.

    Raises UsageError if `corpus` is standard input, CharRNNError if the processes cannot be
    started.
    """
    check_no_stdin(corpus, num_processes)
    try:
        store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
            "127.0.0.1", 0, is_master=True, wait_for_workers=False
        )
    except torch.distributed.DistError as error:
        raise CharRNNError(f"the processes could not be started: {error}") from error
    children: list[ChildProcess] = []
    with contextlib.ExitStack() as stack:
        for rank in range(num_processes):
            environment = process_environment(
                rank, num_processes, store.port, is_debugging=is_debugging
            )
            children.append(ChildProcess(arguments, environment))
            stack.callback(children[-1].kill)
        try:
            codes = _watch(children, signals)
        except KeyboardInterrupt:
            _abort(children)
            raise
    return exit_code(codes, signals.number)


def process_environment(
    rank: int, num_processes: int, port: int, *, is_debugging: bool
) -> Mapping[str, str]:
    """Return the environment of a process: the variables that torchrun sets, with the port of the
    key-value store."""
    # One machine: nothing needs its name or its network, which may change or be missing.
    defaults = {"OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"
    if not is_debugging:
        defaults["TORCH_CPP_LOG_LEVEL"] = "FATAL"
    number, size = str(rank), str(num_processes)
    own = {
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        SUPERVISED: "1",
    }
    address = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    return defaults | os.environ | own | address


def _watch(children: Sequence[ChildProcess], signals: Signals) -> dict[int, int]:
    """Forward signals until all processes have ended; return the exit codes of those that failed,
    by rank.

    Once one has failed, the others get SIGTERM; those that have to be killed later are left out,
    because their exit codes do not say why training ended. Raises KeyboardInterrupt for a second
    Ctrl-C.
    """
    is_quiet, signals.is_quiet = signals.is_quiet, True
    signals.defers = True
    is_stopping = False
    deadline: float | None = None
    while any(child.exit_code is None for child in children):
        time.sleep(WATCH_SECONDS)
        if signals.number and not is_stopping:
            is_stopping = True
            _send(signals.number, children)
            if not is_quiet:
                with contextlib.suppress(OSError):
                    os.write(2, STOP_NOTICE)
        elif signals.pop_save_request():
            children[0].send(signal.SIGUSR1)
        if deadline is None and any(child.exit_code for child in children):
            deadline = time.monotonic() + SHUTDOWN_SECONDS
            _send(signal.SIGTERM, children)
        elif deadline is not None and time.monotonic() > deadline:
            break
    return {rank: child.exit_code for rank, child in enumerate(children) if child.exit_code}


def _abort(children: Sequence[ChildProcess]) -> None:
    """End all processes at once: send SIGINT once more, and wait a moment before they are
    killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)  # `Signals` would raise the interrupt again.
    _send(signal.SIGINT, children)
    deadline = time.monotonic() + ABORT_SECONDS
    while any(child.exit_code is None for child in children) and time.monotonic() < deadline:
        time.sleep(WATCH_SECONDS)


def _send(number: int, children: Sequence[ChildProcess]) -> None:
    for child in children:
        child.send(number)


def exit_code(codes: Mapping[int, int], number: int) -> int:
    """Return the exit code of a launch whose processes failed with `codes`, by rank; below 0:
    killed by a signal.

    `number` is the signal that the launcher got, or 0. Raises CharRNNError if a process was killed,
    which nothing else reports.
    """
    # The others got SIGTERM once one had failed.
    killed = {rank: code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    if killed and not number:
        rank, code = min(killed.items())
        raise CharRNNError(
            f"process {rank} was killed by {killer(code)}, so training ended: is there enough"
            f" memory?\nwhat was saved is intact: continue with {named('resume')}"
        )
    own = [code for code in codes.values() if code > 0]
    # An error has a lower code than the signal with which another process ended because of it.
    return min(own) if own else 128 + (number or signal.SIGTERM) if codes else 0


SUPPORT = ProcessSupport(
    connect=connect, launched=launched, check_number=check_processes, launch=launch
)
"""What training needs of several processes."""
