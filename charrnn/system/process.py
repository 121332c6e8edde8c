"""Query the processors and the memory of this process, and handle the signals that end it."""

import contextlib
import math
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from charrnn.errors import CharRNNError, UsageError

CORE_BYTES = 80_000_000
"""Address space that OpenBLAS and the threads of torch take for each core: 76 MB on two cores."""
NUMPY_BYTES = 100_000_000
"""Address space that NumPy and the program itself take."""
TORCH_BYTES = 650_000_000
"""Address space that torch 2.13 for the CPU takes when it computes; loading it takes 485 MB."""


def num_cores(root: Path = Path("/")) -> int:
    """Return the number of processor cores that this process may use: the cores of its affinity,
    but no more than its quota, rounded up (files of Linux below `root`).

    It is how many threads are useful; `affinity_cores` is how many a library will start by itself.
    """
    num = affinity_cores()
    quotas = [quota for group in _groups("cpu", root) for quota in _quota_of(group)]
    return max(1, min(num, math.ceil(min(quotas, default=num))))


def affinity_cores() -> int:
    """Return the number of cores of this process's affinity, for which libraries start threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders, with the files of a controller, of the control groups of this process and
    of the groups above them.

    A container without its own namespace of groups sees its own group at the top, whatever its
    path.
    """
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_bytes().splitlines()
    except OSError:  # The system is not Linux.
        return
    for line in lines:
        # Version 2 has a single tree; version 1 has a tree for each controller or for several.
        _, controllers, path = os.fsdecode(line).split(":", 2)
        if controller in controllers.split(","):
            mounts = {top / controller, top / controllers}
        elif not controllers:
            mounts = {top, top / "unified"}
        else:
            continue

        names = [part for part in path.split("/") if part not in ("", "..")]
        for mount in mounts:
            for depth in range(len(names) + 1):
                yield mount.joinpath(*names[:depth])


def _quota_of(folder: Path) -> Iterator[float]:
    """Yield the number of cores of a control group; yield nothing if it has no limit."""
    # The files contain the microseconds of computing in each period; "max" or -1 is no limit.
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            texts = [(folder / name).read_text(encoding="ascii") for name in names]
            quota, period = map(int, " ".join(texts).split())
            if quota > 0 and period > 0:
                yield quota / period


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Return the size of this machine's memory in bytes, or the smaller size that a container or
    `ulimit -v` leaves to this process (files of Linux below `root`); None if the system does not
    report it."""
    sizes = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            # "max" is no limit.
            with contextlib.suppress(OSError, ValueError):
                sizes.append(int((group / name).read_text(encoding="ascii")))
    remaining = address_space_left()
    if remaining is not None:
        sizes.append(remaining)
    return min(sizes, default=None)


def address_space_left() -> int | None:
    """Return the number of further bytes that `ulimit -v` allows this process; None without a
    limit."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):  # another system than Linux
        return None
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - pages * resource.getpagesize()


def check_room(num_bytes: int, what: str) -> None:
    """Raise CharRNNError if `ulimit -v` leaves less than that many bytes plus a buffer for each
    core.

    This is called before a library is loaded: without enough memory, OpenBLAS and torch end the
    process with their own message, or abort.
    """
    remaining = address_space_left()
    needed = num_bytes + CORE_BYTES * num_cores()
    if remaining is not None and needed > remaining:
        raise CharRNNError(
            f"{what} needs about {needed / 1e6:,.0f} MB of memory, and `ulimit -v` leaves"
            f" {remaining / 1e6:,.0f} MB. Raise it."
        )


def load_torch() -> None:
    """Import torch, if it is not loaded yet. Raises CharRNNError if `ulimit -v` leaves too little
    for it.

    Call it before the first `import torch` of a command.
    """
    if "torch" in sys.modules:
        return
    check_room(TORCH_BYTES, what="torch")
    # While it is imported, C++ calls Python. A KeyboardInterrupt that a handler raises there ends
    # the process: "terminate called".
    with ending_signals_delayed():
        import_module("torch")


NUMBA_SETTINGS = ".numba_config.yaml"
"""The file in the current folder from which numba reads settings, such as files to write to."""


def check_settings_of_numba() -> None:
    """Raise UsageError if numba is not loaded yet, and would read settings from a file in the
    current folder.

    A folder of somebody else must not change what a command does.
    """
    if "numba" not in sys.modules and os.path.exists(NUMBA_SETTINGS):
        raise UsageError(
            f"numba would obey {NUMBA_SETTINGS} of this folder, which may be anybody's. Remove the"
            " file, or use another folder."
        )


def _existing(*names: str) -> tuple[int, ...]:
    """Return the signals with these names that exist on this system."""
    return tuple(number for number in signal.Signals if number.name in names)


KEYBOARD_SIGNALS = _existing("SIGINT", "SIGQUIT", "SIGBREAK")
r"""Ctrl-C and Ctrl-\; Ctrl-Break on Windows."""
ENDING_SIGNALS = KEYBOARD_SIGNALS + _existing("SIGTERM", "SIGHUP", "SIGUSR2", "SIGXCPU", "SIGPWR")
"""All signals that announce the end of a process; docs/look-up/reliability.md lists who sends
them."""
SAVE_SIGNALS = _existing("SIGUSR1")
"""Signals that ask training to save and continue."""

CPU_GRACE_SECONDS = 10
"""Processor time in seconds, for each core, in which training saves before it is killed at a limit
of processor time."""


def warn_before_kill() -> None:
    """Let SIGXCPU arrive before the system kills this process at its limit of processor time.

    A training on a cluster saves itself in time.

    `ulimit -t` sets the limit for the warning and the limit for the kill to the same time.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit.
        import resource

        warning, killing = resource.getrlimit(resource.RLIMIT_CPU)
        if warning == killing != resource.RLIM_INFINITY:
            earlier = max(killing - CPU_GRACE_SECONDS * num_cores(), killing // 2)
            resource.setrlimit(resource.RLIMIT_CPU, (earlier, killing))


def process_identity(number: int) -> str:
    """Return what distinguishes a process from all others of a network: its number, its host and,
    in clock ticks since the host was started, its start.

    The number of a process alone says nothing after a restart, or on another host.

    The start is "ended" for a process that does not run, and "unknown" where the system does not
    say.
    """
    start = "unknown"
    if Path("/proc/self/stat").exists():
        try:
            # The name of the program, in parentheses, may contain anything.
            facts = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            facts = [b"X"]
        start = "ended"
        if facts[0] not in (b"X", b"Z"):  # a zombie has ended, too
            start = facts[19].decode("ascii")
    host = "-".join(platform.node().split())
    return f"{number} {host} {start}".encode("ascii", "replace").decode("ascii")


def is_running(identity: str) -> bool | None:
    """Return whether the process with an identity runs; None if this host cannot say.

    It tells a lock that somebody holds from one that was left behind.
    """
    number, _, origin = identity.partition(" ")
    if not number.isdigit() or not origin:
        return None
    now = process_identity(int(number))
    is_of_this_host = origin.rpartition(" ")[0] == now.split(" ")[1]
    if not is_of_this_host or now.endswith(" unknown"):
        return None
    return identity == now


def named_process(identity: str) -> str:
    """Return how a message names a process by its identity."""
    number, _, origin = identity.partition(" ")
    if not origin:
        return "another process"
    return f"process {number} on {origin.partition(' ')[0]}"


@contextlib.contextmanager
def ending_signals_delayed() -> Iterator[None]:
    """Delay the signals that end a process until the block has ended. No effect outside the main
    thread.

    Ctrl-C between two renamings would leave half a checkpoint.
    """
    # Handlers rather than a signal mask, which would bind this thread only.
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS if is_main}

    received: list[int] = []
    try:
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):  # None: installed by code other than Python's
                signal.signal(number, lambda number, _: received.append(number))
        yield
    finally:
        # As it was, and then what came meanwhile.
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
