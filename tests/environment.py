"""The process environment that every test, and every process that a test starts, inherits: the same on every machine.

Nothing of the caller's environment reaches a test unless its name is in `PASSED` or `MACHINE`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import locale
import os
import signal
import site
import sys
import time
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
IMITATION = Path(__file__).parent / "imitation"
"""The folder whose `sitecustomize` makes subprocesses imitate what this process does."""

PASSED = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES"),
    *("TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT", "FUZZ_SECONDS", "FUZZ_SEED"),
)
"""Where programs, libraries and temporary files are, and the settings of the tests themselves."""
MACHINE = (
    *("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"),
)
"""Which processor the libraries imitate. These pass on purpose: set them to run the tests as on another machine."""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD")

_standard: dict[str, str] = {}


def settle(home: Path, imitated: Mapping[str, str]) -> None:
    """Make the environment of this process the standard one. Call it before NumPy, torch or numba is imported.

    `home` is an empty folder, and `imitated` the variables for `imitation`.
    """
    fixed = {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # On tensors as small as the tests' more threads only wait for each other.
        "OMP_NUM_THREADS": "1",
        # Packages of `pip install --user` are found from the home folder.
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONPATH": python_path(),
    }
    passed = {name: os.environ[name] for name in (*PASSED, *MACHINE) if name in os.environ}
    _standard.clear()
    _standard.update(passed | fixed | imitated)
    restore()
    os.umask(0o022)
    with contextlib.suppress(locale.Error):  # A system without C.UTF-8 keeps its own.
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    if hasattr(time, "tzset"):
        time.tzset()


def restore() -> None:
    """Undo what a test, or the caller of pytest, changed: environment variables and the answers to signals."""
    # pytest and pytest-xdist set and read PYTEST_*.
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    if os.environ != kept | _standard:
        for name in {*os.environ} - {*kept, *_standard}:
            del os.environ[name]
        os.environ.update(_standard)
    numbers = {getattr(signal, name) for name in SIGNALS if hasattr(signal, name)}
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    for number in numbers:
        if signal.getsignal(number) not in (expected := _answer(number),):
            signal.signal(number, expected)


def _answer(number: int) -> object:
    """What this process answers to a signal. A subprocess starts with the default of every signal that has a handler.

    A signal that is ignored, as by `nohup` or in a shell's background job, would stay ignored in subprocesses. The
    tests themselves must still survive the end of a terminal, so they handle SIGHUP rather than default to it.
    """
    if number == signal.SIGINT:
        return signal.default_int_handler
    return _survive if number == getattr(signal, "SIGHUP", None) else signal.SIG_DFL


def _survive(number: int, frame: object) -> None:
    """Do nothing."""


def python_path(*folders: Path) -> str:
    """The PYTHONPATH of a subprocess that imports this checkout and modules in `folders`."""
    return os.pathsep.join(map(str, (IMITATION, REPOSITORY, *folders)))


def clean_environment(**changes: str) -> dict[str, str]:
    """The standard environment with `changes`, for a subprocess."""
    assert _standard, "settle() was not called"
    return _standard | changes


def described() -> list[str]:
    """What differs between machines, as NAME=value: the processor that libraries imitate, the Python, the package."""
    package = importlib.util.find_spec("charrnn")
    where = {"python": sys.executable, "charrnn": package.origin if package else None}
    set_here = {name: os.environ[name] for name in MACHINE if name in os.environ}
    return [f"{name}={value}" for name, value in (set_here | where).items()]
