"""How many threads libraries start (OMP_NUM_THREADS), and how long those that wait for each other
spin (GOMP_SPINCOUNT of libgomp)."""

import os
import sys
import time
from pathlib import Path

from charrnn.system.process import affinity_cores, num_cores

IDLE = 5_000
"""Turns that cost nothing on an idle machine: with fewer, threads sleep at many of the thousands of
barriers a second (benchmarks/speed/busy_neighbour.py)."""
BUSY = 1_000
"""Turns where other processes keep the cores busy: the thread that is waited for may not run before
their time slices end. libgomp has 300,000."""


def limit_threads() -> None:
    """Set OMP_NUM_THREADS, which libraries read once, to the cores of a quota that leaves fewer
    than the affinity: threads would wait for each other while none may run.

    It stays as it is if torch is loaded, or if the user has set it.
    """
    is_chosen = "OMP_NUM_THREADS" in os.environ or "torch" in sys.modules
    if not is_chosen and num_cores() < affinity_cores():
        os.environ["OMP_NUM_THREADS"] = str(num_cores())


def choose_spins() -> None:
    """Set GOMP_SPINCOUNT, which libgomp reads once, when torch is loaded.

    It stays as it is if torch is loaded, or if the user has set it or OMP_WAIT_POLICY.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "torch"} & {*os.environ, *sys.modules}:
        os.environ["GOMP_SPINCOUNT"] = str(BUSY if are_cores_busy() else IDLE)


def are_cores_busy(root: Path = Path("/")) -> bool:
    """Return whether other processes run on so many processors that too few are left for a thread
    on each core. False where Linux does not tell, in files below `root`."""
    num_processors = os.cpu_count() or 1
    try:
        has_pairs = (root / "sys/devices/system/cpu/smt/active").read_text() == "1\n"
        num_spare = num_processors - num_processors // (1 + has_pairs)
        for seconds in (0, 0.001, 0.001):
            time.sleep(seconds)  # the shell that started this process may run for another moment
            load = (root / "proc/loadavg").read_text()
            num_others = int(load.split()[3].partition("/")[0]) - 1
            if num_others <= num_spare:
                return False
    except (OSError, ValueError, IndexError):
        return False
    return True
