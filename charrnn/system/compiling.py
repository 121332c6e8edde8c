"""Loops compiled by numba, whose machine code numba's own cache keeps on disk.

The cache is beside the source file, or in the user's cache folder where that cannot be written to;
NUMBA_CACHE_DIR chooses another folder. Its keys have the version of numba, the processor and the
types of the arguments.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba import njit

from charrnn.system.progress import warn

# Numba's type hints do not cover what implements `njit(cache=True)`.
NUMBA: Any = numba
"""The package numba, without the type hints that do not cover it."""


class CompiledLoop:
    """A function compiled by numba."""

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
        # Without the global interpreter lock. With Python's error model, every divisor would be
        # checked, and no loop with a division in it would become vector code.
        self._dispatcher: Any = njit(error_model="numpy", nogil=True)(function)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, which is compiled first if it is not loaded for these types."""
        return self._dispatcher(*arguments)

    def load(self, arguments: Sequence[Any]) -> bool:
        """Load the machine code for arguments of these types from disk, unless it is loaded.

        Return whether it was found. What is damaged counts as missing.
        """
        types = _types(arguments)
        if NUMBA.config.DISABLE_JIT or types in self._dispatcher.overloads:
            return True
        with suppress(RuntimeError):  # there is no folder that numba can write to
            self._dispatcher.enable_caching()
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
        problem = "there is no folder for it"
        try:
            self._dispatcher.compile(types)
            is_kept = self._dispatcher._cache.cache_path is not None
        except Exception as error:
            if types not in self._dispatcher.overloads:
                raise
            is_kept, problem = False, str(error)
        if not is_kept:
            warn(
                f"Compiled code cannot be kept ({problem}): it is compiled again next time. Set"
                " NUMBA_CACHE_DIR to a folder that you can write to."
            )


def _types(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(NUMBA.typeof(argument) for argument in arguments)
