"""Compile loops by numba, and store their machine code on disk in numba's own cache.

The cache is beside the source file, or in the user's cache folder if that folder cannot be written
to; NUMBA_CACHE_DIR sets another folder. Its keys contain the version of numba, the processor and
the types of the arguments. Loading machine code unpickles its file, so charrnn always chooses the
folder: without a home, numba itself would choose a folder inside the current folder.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from charrnn.system.cache_folders import cache_folder, private_folder
from charrnn.system.process import check_settings_of_numba
from charrnn.system.progress import warn

Function = TypeVar("Function", bound=Callable[..., Any])
"""The type of a function that is compiled."""

FUNCTIONS: list[Callable[..., Any]] = []
"""The functions that compiled loops call, of all modules that are imported. They are collected when
these are imported, and registered when numba is, which takes a second."""


def for_loops(function: Function) -> Function:
    """Decorate a function that compiled loops call. Python calls the function itself, without
    importing numba.

    Use it for a function that is called by a `CompiledLoop`; a loop itself is the class.
    """
    FUNCTIONS.append(function)
    return function


@cache
def load_numba() -> Any:
    """Import numba, without its type hints, which do not cover what implements `njit(cache=True)`.

    Returns None if it is missing, so that Python runs the loops. Raises UsageError if numba would
    obey a file of the current folder.
    """
    check_settings_of_numba()
    with suppress(ImportError):
        return import_module("numba")
    return None


@cache
def _register(function: Callable[..., Any]) -> None:
    """Let numba compile a function into the loops that call it."""
    # With Python's error model, divisors are checked, and no loop with a division would become
    # vector code.
    import_module("numba.extending").register_jitable(error_model="numpy")(function)


def can_compile() -> bool:
    """Whether numba is installed, and not switched off by NUMBA_DISABLE_JIT.

    It is asked before the module with the loops is imported, which takes a quarter of a second.
    """
    numba = load_numba()
    return numba is not None and not numba.config.DISABLE_JIT


class CompiledLoop:
    """A function that numba compiles; Python runs it if numba is missing.

    numba's own decorator would import numba with the module, which takes a quarter of a second.
    """

    def __init__(self, function: Callable[..., Any], sources: Sequence[Path] = ()):
        """Wrap a function. `sources` are the other files whose functions numba compiles into it.

        numba notices only a change of the function's own file. A hash of the contents of the other
        files becomes a part of the name by which the machine code is stored.
        """
        if sources:
            contents = b"".join(source.read_bytes() for source in sources)
            function.__qualname__ = (
                f"{function.__name__}_{hashlib.sha256(contents).hexdigest()[:16]}"
            )
        self._function = function
        self._problem = "numba cannot write to its folder"

    @cached_property
    def _dispatcher(self) -> Any:
        """What numba calls the function that it compiles; the function itself without numba."""
        numba = load_numba()
        if numba is None:
            return self._function
        # All functions that this loop calls are of modules that were imported before it was made.
        for function in FUNCTIONS:
            _register(function)
        # Compiled like these functions, but the code releases the global interpreter lock.
        return numba.njit(error_model="numpy", nogil=True)(self._function)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, which is compiled first if it is not loaded for these types."""
        return self._dispatcher(*arguments)

    def run(self, *arguments: Any) -> Any:
        """Load the machine code of the function, or compile and store it, and call the function."""
        if not self.load(arguments):
            self.compile(arguments)
        return self(*arguments)

    def load(self, arguments: Sequence[Any]) -> bool:
        """Load the machine code for arguments of these types from disk, unless it is loaded.

        It takes up to a second; `compile` takes ten, so that a short text is finished before it.

        Returns whether it was found. A damaged file counts as missing.
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
        except Exception as error:  # Reading a damaged file may raise any error.
            is_kept = False
            warn(f"Compiled code is damaged ({error!r}): it is compiled again.")
            with suppress(OSError):
                cache.flush()
        if is_kept:
            self._dispatcher.compile(types)  # This finds the loaded code.
        return is_kept

    def compile(self, arguments: Sequence[Any]) -> None:
        """Compile the function for types that `load` has not found, and store the code. Warns if it
        cannot be stored.

        Raises the error of numba if it cannot compile the function.
        """
        types = _types(arguments)
        try:
            self._dispatcher.compile(types)
            is_kept = self._dispatcher._cache.cache_path is not None
        # numba may raise any error; one of storing the code leaves the function compiled.
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
        """Let numba store the code in the folder that charrnn chooses, if there is one."""
        config = load_numba().config
        before = (config.CACHE_DIR, getattr(config, "CACHE_LOCATOR_CLASSES", ""))
        try:
            config.CACHE_DIR = str(_folder_of(self._function.__code__.co_filename))
            # Locator classes, which the environment can set, would choose other folders.
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
    chosen_folder = os.environ.get("NUMBA_CACHE_DIR")
    if chosen_folder:
        return private_folder(Path(chosen_folder))

    # A folder beside the source is safe: a user who can write to it can also change the code of
    # charrnn.
    pycache = Path(source).with_name("__pycache__")
    with suppress(OSError):
        pycache.mkdir(exist_ok=True)
        if os.access(pycache, os.W_OK):
            return pycache
    return cache_folder("compiled")


def _types(arguments: Sequence[Any]) -> tuple[Any, ...]:
    numba = load_numba()
    return tuple(numba.typeof(argument) for argument in arguments)
