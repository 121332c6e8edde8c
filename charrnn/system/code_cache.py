"""Compiled functions that are kept on disk, and verified before anything in a file is used.

numba's own cache unpickles its files unchecked: a truncated file raises any error at all, and a
changed one can crash the process. Here every file begins with the SHA-256 of the code's sources and
of its contents. The name of a file is a digest of the versions, the processor and the argument
types. So code of another processor or version is never loaded, and `KeptFunction.find` tells in
advance whether a function must be compiled.

A digest shows damage, not who wrote a file, and whoever writes machine code into one can do
anything. So only files are loaded that this user or root owns and that not everybody may write. Any
other file counts as missing.
"""

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
from numba import njit
from numba.core import caching, compiler, serialize
from numba.core.registry import cpu_target

from charrnn.system.files import replacing, write_synced

Warn = Callable[[str], object]
"""A function that is called with the message of a warning."""
# Numba's type hints do not cover what implements `njit(cache=True)`.
NUMBA: Any = numba
"""The package numba, without the type hints that do not cover it."""
CompileResult: Any = compiler.CompileResult
NullCache: Any = caching.NullCache
dumps: Any = serialize.dumps

TARGET = tuple(str(part) for part in cpu_target.target_context.codegen().magic_tuple())
"""What numba compiles for: triple, processor, features (NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
included)."""
NUM_DIGEST_BYTES = 32
"""Bytes of a SHA-256, which is the first part of a file."""
ADVICE = "Set NUMBA_CACHE_DIR to a folder that you can write to."
"""The remedy where compiled code cannot be kept."""


def cache_folders(source: Path) -> list[Path]:
    """List the folders that may keep the code of a source file, best first, as numba chooses
    them."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen) / "charrnn"]
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return [source.parent / "__pycache__", Path(user).expanduser() / "charrnn"]
    except RuntimeError:  # there is no home folder
        return [source.parent / "__pycache__"]


class KeptFunction:
    """A function compiled by numba whose machine code is kept on disk."""

    def __init__(
        self, function: Callable[..., Any], sources: Sequence[Path], target: Sequence[str] = TARGET
    ) -> None:
        """Key the code by the contents of `sources`, and by `target`, a description of the
        processor.

        `sources` are the files of the function and of all that numba compiles into it: the
        functions that it calls and the constants that it reads. The code is kept beside the first
        one, or in the user's cache folder.
        """
        self.name = function.__name__
        self._sources, self._target = tuple(sources), tuple(target)
        # Without the global interpreter lock. numba's error model: Python's own would look at every
        # divisor, and no loop with a division in it would become vector code.
        self._dispatcher: Any = njit(error_model="numpy", nogil=True)(function)
        self._loaded: set[Any] = set()

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function. Compiles first, where `prepare` was not called for arguments
        of these types."""
        return self._dispatcher(*arguments)

    def paths(self, arguments: Sequence[Any]) -> list[Path]:
        """List the files that may keep the code for arguments of these types, best first."""
        parts = (
            numba.__version__,
            llvmlite.__version__,
            sys.implementation.cache_tag,
            *self._target,
        )
        key = hashlib.sha256(repr((parts, _types(arguments))).encode()).hexdigest()[:24]
        return [folder / f"{self.name}-{key}.code" for folder in cache_folders(self._sources[0])]

    def find(self, arguments: Sequence[Any]) -> bool:
        """Load the code for arguments of these types from disk, unless it is loaded. Return whether
        it was found."""
        if NUMBA.config.DISABLE_JIT or _types(arguments) in self._loaded:
            return True
        payloads = (self._read(path) for path in self.paths(arguments))
        return any(
            payload is not None and self._use(arguments, _Found(payload)) for payload in payloads
        )

    def load(self, arguments: Sequence[Any], warn: Warn) -> None:
        """Make the function ready for arguments of these types: from disk, or by compiling it."""
        if not self.find(arguments):
            self.compile(arguments, warn)

    def compile(self, arguments: Sequence[Any], warn: Warn) -> None:
        """Compile for arguments of these types and keep the code. Calls `warn` with a message if it
        cannot be kept."""
        compiled = _Compiled()
        self._use(arguments, compiled)
        if compiled.result is None:
            return
        payload = dumps(compiled.result._reduce())
        problem = ""
        for path in self.paths(arguments):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    write_synced(temporary, self._digest(payload) + payload)
                return
            except OSError as error:
                problem = (
                    problem
                    or f"{path} cannot be written ({error.strerror}): it is compiled again next time."  # noqa: E501
                )
        warn(f"{problem} {ADVICE}")

    def _read(self, path: Path) -> bytes | None:
        """Return the code in a file; None if it is missing, damaged, of other sources or perhaps of
        somebody else."""
        try:
            if not path.is_file():  # a pipe would never end
                return None
            with path.open("rb") as file:
                data = file.read() if _is_trusted(os.fstat(file.fileno())) else b""
        except OSError:
            return None
        payload = data[NUM_DIGEST_BYTES:]
        return payload if data[:NUM_DIGEST_BYTES] == self._digest(payload) else None

    def _digest(self, payload: bytes) -> bytes:
        sources = [source.read_bytes() for source in (*self._sources, Path(__file__))]
        return hashlib.sha256(
            b"".join(hashlib.sha256(part).digest() for part in (*sources, payload))
        ).digest()

    def _use(self, arguments: Sequence[Any], cache: "_Found | _Compiled") -> bool:
        """Load the code from `cache`, or compile it into `cache`. Return False if the code cannot
        be used."""
        types = _types(arguments)
        self._dispatcher._cache = cache
        try:
            self._dispatcher.compile(types)
        except _Unusable:
            return False
        finally:
            self._dispatcher._cache = NullCache()
        self._loaded.add(types)
        return True


def _types(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(NUMBA.typeof(argument) for argument in arguments)


def _is_trusted(status: os.stat_result) -> bool:
    """Return whether only this user or root can have written a file. Always True on Windows, which
    shows no owner."""
    return os.name == "nt" or (
        status.st_uid in (os.geteuid(), 0) and not status.st_mode & stat.S_IWOTH
    )


class _Unusable(Exception):
    """Raised for code that this version of numba cannot load."""


class _Found(caching.NullCache):
    """A cache for numba that returns verified code."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        target_context.refresh()
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(self._payload))
        except (
            Exception
        ) as error:  # whatever another version of numba raises: the code is compiled again
            raise _Unusable from error


class _Compiled(caching.NullCache):
    """A cache for numba that is empty and remembers what is compiled."""

    def __init__(self) -> None:
        self.result: Any = None

    def save_overload(self, signature: Any, result: Any) -> None:
        self.result = result
