"""Set the environment of every test and of its subprocesses: only names in `PASSED` and `MACHINE`
are inherited."""

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
from types import ModuleType

HELPERS = Path(__file__).parent
TESTS = HELPERS.parent
REPOSITORY = TESTS.parent
IMITATION = TESTS / "imitation"
"""The folder of a `sitecustomize` that makes subprocesses imitate the same machine as this process.
"""

PASSED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SYSTEMROOT",
    "COMSPEC",
    "PATHEXT",
    "FUZZ_SECONDS",
    "FUZZ_SEED",
)
"""Paths of programs, libraries and temporary files, and the settings of the tests themselves."""
MACHINE = (
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
)
"""The processor that the libraries imitate. Set these to run the tests as on another machine."""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD")
SIGNALS += ("SIGQUIT", "SIGXCPU", "SIGPWR")

_standard: dict[str, str] = {}


def settle(home: Path, imitated: Mapping[str, str]) -> None:
    """Set the standard environment for this process. Call it before NumPy, torch or numba is
    imported.

    `home` is an empty folder, `imitated` contains the variables for `imitation`.
    """
    fixed = {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "CHARRNN_CACHE": str(home / "cache"),
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # What a run prints and where it computes must not depend on a GPU of the machine:
        # benchmarks/gpu/gpu_check.py tests those.
        "CUDA_VISIBLE_DEVICES": "",
        # More threads only slow down tensors as small as the tests'.
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
    """Restore the standard environment variables and signal handlers."""
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
        if signal.getsignal(number) not in (expected := _handler(number),):
            signal.signal(number, expected)


def _handler(number: int) -> object:
    """Return the standard handler of a signal. Subprocesses start with the default of every signal
    that has a handler.

    A signal that is ignored, as by `nohup` or in a background job, would stay ignored in
    subprocesses. The tests must survive the end of a terminal, so they handle SIGHUP instead of
    using the default.
    """
    if number == signal.SIGINT:
        return signal.default_int_handler
    return _survive if number == getattr(signal, "SIGHUP", None) else signal.SIG_DFL


def _survive(number: int, frame: object) -> None:
    """Do nothing."""


def python_path(*folders: Path) -> str:
    """Return the PYTHONPATH of a subprocess that imports this checkout and modules in `folders`."""
    return os.pathsep.join(map(str, (IMITATION, REPOSITORY, *folders)))


def clean_environment(**changes: str) -> dict[str, str]:
    """Return the standard environment with `changes`, for a subprocess."""
    assert _standard, "settle() was not called"
    return _standard | changes


def load_script(path: Path) -> ModuleType:
    """Import a script that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described() -> list[str]:
    """Return what differs between machines as NAME=value: the imitated processor, the Python, the
    package."""
    package = importlib.util.find_spec("charrnn")
    where = {"python": sys.executable, "charrnn": package.origin if package else None}
    set_here = {name: os.environ[name] for name in MACHINE if name in os.environ}
    return [f"{name}={value}" for name, value in (set_here | where).items()]
