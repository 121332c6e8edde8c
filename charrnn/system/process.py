"""This process: its processors, the memory of its machine, and the signals that ask it to end."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from charrnn.errors import CharRNNError, UsageError

CORE_BYTES = 80_000_000
"""Address space that OpenBLAS and the threads of torch take for each core: 76 MB on two cores."""
NUMPY_BYTES = 100_000_000
"""What NumPy and the program itself take besides."""
TORCH_BYTES = 650_000_000
"""What torch 2.13 for the CPU takes besides, loaded (485 MB) and at work."""


PAUSE_SECONDS = 2.0
"""Shorter times without computing are no pause: a process waits for a disk, or for its turn."""
PAUSE_SHARE = 0.05
"""Share of a pause that is computed at most: a step that was begun before it."""


class Pauses:
    """Counts the seconds in which this process did not run, because it or its machine was
    suspended. On a busy machine it runs slowly, which is no pause."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.begin()

    def begin(self) -> None:
        """Start to look at the time from now on."""
        self._wall = time.perf_counter()
        self._computed = time.process_time()

    def look(self) -> None:
        """Count the time since the last look as a pause, if hardly anything was computed in it."""
        seconds = time.perf_counter() - self._wall
        computed = time.process_time() - self._computed
        self.begin()
        if seconds >= PAUSE_SECONDS and computed <= PAUSE_SHARE * seconds:
            self.seconds += seconds


def num_cores(root: Path = Path("/")) -> int:
    """Return the number of processor cores that this process may use: those of its affinity, and
    no more than the whole and begun cores of its quota (files of Linux below `root`)."""
    num = affinity_cores()
    return max(1, min(num, math.ceil(min(_quotas(root), default=num))))


def affinity_cores() -> int:
    """Return the number of cores of this process's affinity, for which libraries start threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the cores that the control groups of this process, and those above them, may use.

    A container without a namespace for them sees its own group at the top, whatever its path is.
    """
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_bytes().splitlines()
    except OSError:  # another system than Linux
        return
    for line in lines:
        # Version 2 has one tree, version 1 one for each controller or for several.
        _, controllers, path = os.fsdecode(line).split(":", 2)
        if "cpu" in controllers.split(","):
            mounts = {top / "cpu", top / controllers}
        elif not controllers:
            mounts = {top, top / "unified"}
        else:
            continue

        parts = [part for part in path.split("/") if part not in ("", "..")]
        for mount in mounts:
            for depth in range(len(parts) + 1):
                yield from _quota_of(mount.joinpath(*parts[:depth]))


def _quota_of(folder: Path) -> Iterator[float]:
    """Yield the cores of a control group: none without a limit."""
    # Microseconds of computing in each period; "max" or -1 is no limit.
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            texts = [(folder / name).read_text(encoding="ascii") for name in names]
            quota, period = map(int, " ".join(texts).split())
            if quota > 0 and period > 0:
                yield quota / period


def memory_bytes() -> int | None:
    """Return the size of this machine's memory in bytes, or what `ulimit -v` leaves of it to this
    process; None if the system does not report it."""
    sizes = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    left = address_space_left()
    if left is not None:
        sizes.append(left)
    return min(sizes, default=None)


def address_space_left() -> int | None:
    """Return how many bytes more this process may have by `ulimit -v`; None without a limit."""
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
    """Raise CharRNNError if `ulimit -v` leaves less than so many bytes, and a buffer for each core.

    Before a library is loaded: where memory ends, OpenBLAS and torch end the process with a line of
    their own, or abort.
    """
    left = address_space_left()
    needed = num_bytes + CORE_BYTES * num_cores()
    if left is not None and needed > left:
        raise CharRNNError(
            f"{what} needs about {needed / 1e6:,.0f} MB of memory, and `ulimit -v` leaves"
            f" {left / 1e6:,.0f} MB. Raise it."
        )


def check_room_for_torch() -> None:
    """Raise CharRNNError if torch is not loaded yet, and `ulimit -v` leaves too little for it."""
    if "torch" not in sys.modules:
        check_room(TORCH_BYTES, "torch")


NUMBA_SETTINGS = ".numba_config.yaml"
"""The file of the current folder from which numba takes settings, such as files to write to."""


def check_settings_of_numba() -> None:
    """Raise UsageError if numba is not loaded yet, and would take settings from a file of the
    current folder."""
    if "numba" not in sys.modules and os.path.exists(NUMBA_SETTINGS):
        raise UsageError(
            f"numba would obey {NUMBA_SETTINGS} of this folder, which may be anybody's. Remove the"
            " file, or use another folder."
        )


def _existing(*names: str) -> tuple[int, ...]:
    """Return the signals of these names that this system has."""
    return tuple(number for number in signal.Signals if number.name in names)


KEYBOARD_SIGNALS = _existing("SIGINT", "SIGQUIT", "SIGBREAK")
r"""Ctrl-C and Ctrl-\; Ctrl-Break on Windows."""
ENDING_SIGNALS = KEYBOARD_SIGNALS + _existing("SIGTERM", "SIGHUP", "SIGUSR2", "SIGXCPU", "SIGPWR")
"""All signals that announce the end of a process; docs/reliability.md says who sends which."""
SAVE_SIGNALS = _existing("SIGUSR1")
"""Signals that ask training to save and continue."""

CPU_GRACE_SECONDS = 10
"""Processor time of each core in which training saves at a limit of processor time."""


def warn_before_kill() -> None:
    """Let SIGXCPU come before the system kills this process at its limit of processor time.

    `ulimit -t` sets the limit at which a process is warned to the one at which it is killed.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit.
        import resource

        warning, killing = resource.getrlimit(resource.RLIMIT_CPU)
        if warning == killing != resource.RLIM_INFINITY:
            earlier = max(killing - CPU_GRACE_SECONDS * num_cores(), killing // 2)
            resource.setrlimit(resource.RLIMIT_CPU, (earlier, killing))


PARENT = "CHARRNN_PARENT"
"""Environment variable with the number of the charrnn process that started this one, and that says
what becomes of it."""


def is_orphan() -> bool:
    """Return whether the charrnn process that started this one has ended."""
    parent = str(os.getppid())
    return os.environ.get(PARENT, parent) != parent


def child_environment() -> dict[str, str]:
    """Return the variables of a charrnn that this process starts."""
    return {PARENT: str(os.getpid())}


def child_arguments() -> list[str]:
    """Return the arguments with which Python starts charrnn as this process was started: whether
    modules are imported from the current folder."""
    if sys.path[:1] in ([""], [os.getcwd()]):
        return ["-m", "charrnn"]
    # `python -m` would import modules from the current folder, which the command `charrnn` does
    # not. Python 3.10 does not know PYTHONSAFEPATH.
    start = "import sys; sys.path[:] = filter(None, sys.path); import charrnn.__main__ as charrnn"
    return ["-c", f"{start}; charrnn.main()"]


def process_identity(number: int) -> str:
    """Return what distinguishes a process from all others of a network: its number, its host and,
    in clock ticks since the host was started, its start.

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
    """Return whether the process with an identity runs; None if this host cannot say."""
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


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


@contextlib.contextmanager
def ending_signals_delayed() -> Iterator[None]:
    """Delay the signals that end a process until the block has ended. No effect outside the main
    thread."""
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
