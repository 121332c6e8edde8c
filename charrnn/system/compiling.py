"""Loops compiled by numba, whose machine code numba's own cache keeps on disk.

The cache is beside the source file, or in the user's cache folder where that cannot be written to;
NUMBA_CACHE_DIR chooses another folder. Its keys have the version of numba, the processor and the
types of the arguments. Loading machine code unpickles its file, so numba never chooses the folder:
without a home, numba's own choice is a folder of the current one.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from charrnn.system.cache_folders import cache_folder, private_folder
from charrnn.system.progress import warn

# Numba's type hints do not cover what implements `njit(cache=True)`.
NUMBA: Any = None
"""The package numba, without the type hints that do not cover it; None where it is missing, so that
Python runs the loops."""
with suppress(ImportError):
    NUMBA = import_module("numba")


def for_loops(function: Callable[..., Any]) -> Any:
    """Decorate a function that compiled loops call."""
    if NUMBA is None:
        return function
    # With Python's error model, divisors are checked, and no loop with a division would become
    # vector code.
    return NUMBA.njit(error_model="numpy")(function)


def can_compile() -> bool:
    """Return whether numba is there, and not switched off by NUMBA_DISABLE_JIT."""
    return NUMBA is not None and not NUMBA.config.DISABLE_JIT


class CompiledLoop:
    """A function compiled by numba; Python runs it where numba is missing."""

    def __init__(self, function: Callable[..., Any], sources: Sequence[Path] = ()) -> None:
        """Take a function and the `sources` of what numba compiles into it from other files.

        Numba notices a change of the function's own file. The contents of the others become part
        of the name by which the machine code is kept.
        """
        if sources:
            contents = b"".join(source.read_bytes() for source in sources)
            function.__qualname__ = (
                f"{function.__name__}_{hashlib.sha256(contents).hexdigest()[:16]}"
            )
        # Without the global interpreter lock, and as `for_loops`.
        self._dispatcher: Any = function
        if NUMBA is not None:
            self._dispatcher = NUMBA.njit(error_model="numpy", nogil=True)(function)
        self._problem = "numba cannot write to its folder"

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, which is compiled first if it is not loaded for these types."""
        return self._dispatcher(*arguments)

    def run(self, *arguments: Any) -> Any:
        """Call the function, whose machine code is loaded, or else compiled and kept, before."""
        if not self.load(arguments):
            self.compile(arguments)
        return self(*arguments)

    def load(self, arguments: Sequence[Any]) -> bool:
        """Load the machine code for arguments of these types from disk, unless it is loaded.

        Return whether it was found. What is damaged counts as missing.
        """
        if not can_compile():
            return True
        types = _types(arguments)
        if types in self._dispatcher.overloads:
            return True
        self._enable_caching()
        cache = self._dispatcher._cache
        try:
            is_kept = cache.load_overload(types, self._dispatcher.targetctx) is not None
        except Exception:  # whatever reading a damaged file raises
            is_kept = False
            with suppress(OSError):
                cache.flush()
        if is_kept:
            self._dispatcher.compile(types)  # finds the code that was loaded
        return is_kept

    def compile(self, arguments: Sequence[Any]) -> None:
        """Compile what `load` has not found and keep the code. Warns where it cannot be kept.

        Raises what numba raises for a function that it cannot compile.
        """
        types = _types(arguments)
        try:
            self._dispatcher.compile(types)
            is_kept = self._dispatcher._cache.cache_path is not None
        except Exception as error:
            if types not in self._dispatcher.overloads:
                raise
            is_kept = False
            self._problem = str(error)
        if not is_kept:
            warn(
                f"Compiled code cannot be kept ({self._problem}): it is compiled again next time."
                " Set NUMBA_CACHE_DIR to an absolute folder that only you can write to."
            )

    def _enable_caching(self) -> None:
        """Let numba keep the code in the folder that charrnn chooses, if there is one."""
        config = NUMBA.config
        before = (config.CACHE_DIR, getattr(config, "CACHE_LOCATOR_CLASSES", ""))
        try:
            config.CACHE_DIR = str(_folder_of(self._dispatcher.py_func.__code__.co_filename))
            # The classes, which the environment can name, would choose other folders.
            config.CACHE_LOCATOR_CLASSES = ""
            self._dispatcher.enable_caching()
        except OSError as error:
            self._problem = str(error)
        except RuntimeError:  # numba cannot write to the folder
            pass
        finally:
            config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = before


def _folder_of(source: str) -> Path:
    """Return the folder for the machine code of a source file. Raises OSError if there is none."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return private_folder(Path(chosen))

    # Whoever can write beside the source can also write the code of charrnn itself.
    beside = Path(source).with_name("__pycache__")
    with suppress(OSError):
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    return cache_folder("compiled")


def _types(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(NUMBA.typeof(argument) for argument in arguments)
