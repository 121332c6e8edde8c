"""How many threads libraries start, and how long those that wait for each other spin.

All are environment variables (OMP_NUM_THREADS, GOMP_SPINCOUNT of libgomp, and OPENBLAS_NUM_THREADS
of NumPy) that are read once: when NumPy or torch is loaded.
"""

import os
import sys
import time
from functools import cache
from pathlib import Path

from charrnn.system.process import affinity_cores, num_cores

IDLE = 5_000
"""Turns that cost nothing on an idle machine: with fewer, threads sleep at many of the thousands of
barriers a second (benchmarks/speed/busy_neighbour.py)."""
BUSY = 1_000
"""Turns where other processes keep the cores busy: the thread that is waited for may not run before
their time slices end. libgomp has 300,000, and 1,000 if there are more threads than cores."""


@cache
def prepare_threads() -> None:
    """Choose how many threads the libraries start and how long they spin, before they are loaded
    for charrnn: `limit_blas`, `limit_threads` and `choose_spins`.

    It is the first thing that charrnn does: libraries read these settings once, when they are
    loaded.
    """
    limit_blas()
    limit_threads()
    choose_spins()


def limit_threads() -> None:
    """Set OMP_NUM_THREADS, which libraries read once, to the cores of a quota that leaves fewer
    than the affinity: threads would wait for each other while none may run.

    It stays as it is if torch is loaded, or if the user has set it.
    """
    is_chosen = "OMP_NUM_THREADS" in os.environ or "torch" in sys.modules
    if not is_chosen and num_cores() < affinity_cores():
        os.environ["OMP_NUM_THREADS"] = str(num_cores())


def limit_blas() -> None:
    """Set OPENBLAS_NUM_THREADS to 1 where other processes keep the cores busy: the threads of
    OpenBLAS spin while they wait for each other, however long. `predict --why` of 200 characters
    then takes 12 seconds on two cores, and 2 on one thread.

    It stays as it is if NumPy is loaded, or if the user has set a number of threads.
    """
    is_chosen = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "numpy"} & {*os.environ, *sys.modules}
    if not is_chosen and are_cores_busy():
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


def choose_spins() -> None:
    """Set GOMP_SPINCOUNT, which libgomp reads once, when torch is loaded.

    It stays as it is if torch is loaded, or if the user has set it or OMP_WAIT_POLICY.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "torch"} & {*os.environ, *sys.modules}:
        os.environ["GOMP_SPINCOUNT"] = str(BUSY if are_cores_busy() else IDLE)


def limit_loaded_torch() -> None:
    """Let a torch that the program has loaded compute on at most the cores of the quota, unless the
    user has set OMP_NUM_THREADS.

    It is for a program that has imported torch first, where `prepare_threads` came too late.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > num_cores():
        torch.set_num_threads(num_cores())


@cache
def are_cores_busy() -> bool:
    """Return whether other processes run on so many processors that too few are left for a thread
    on each core. False where Linux does not tell."""
    num_processors = os.cpu_count() or 1
    try:
        has_pairs = Path("/sys/devices/system/cpu/smt/active").read_text() == "1\n"
        threads_per_core = 2 if has_pairs else 1
        num_spare = num_processors - num_processors // threads_per_core
        for seconds in (0, 0.001, 0.001):
            time.sleep(seconds)  # the shell that started this process may run for another moment
            load = Path("/proc/loadavg").read_text()
            num_others = int(load.split()[3].partition("/")[0]) - 1
            if num_others <= num_spare:
                return False
    except (OSError, ValueError, IndexError):
        return False
    return True
