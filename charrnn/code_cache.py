"""Compiled functions that are kept on disk, and verified before anything in a file is used.

numba's own cache unpickles its files unchecked: a truncated file raises any error at all, and a changed one can crash
the process. Here every file begins with the SHA-256 of its contents. The name of a file is the key of the code: the
source files, the versions, the processor and the argument types. So code of another processor or version is never
loaded, and `KeptFunction.find` tells in advance
whether a function must be compiled.

A digest shows damage, not who wrote a file, and whoever writes machine code into one can do anything. So only files are
loaded that this user or root owns and that not everybody may write.
"""

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
from numba import njit
from numba.core import caching, compiler, serialize
from numba.core.registry import cpu_target

from charrnn.files import replacing, write_synced

Warn = Callable[[str], object]
"""A function that is called with the message of a warning."""
# Numba's type hints do not cover what implements `njit(cache=True)`.
NUMBA: Any = numba
"""The package numba, without the type hints that do not cover it."""
CompileResult: Any = compiler.CompileResult
NullCache: Any = caching.NullCache
dumps: Any = serialize.dumps

TARGET = tuple(str(part) for part in cpu_target.target_context.codegen().magic_tuple())
"""What numba compiles for: triple, processor, features (NUMBA_CPU_NAME and NUMBA_CPU_FEATURES included)."""
HEADER = b"charrnn code 1\n"
"""First bytes of a file; its contents' SHA-256 follows."""
NUM_DIGEST_BYTES = 32
"""Bytes of a SHA-256."""
MOST_CODE_BYTES = 1 << 20
"""Bytes that must be free before a function is compiled; the code takes about a third of it."""
ADVICE = "Set NUMBA_CACHE_DIR to a folder that you can write to."
"""The remedy where compiled code cannot be kept."""


def cache_folders(source: Path) -> list[Path]:
    """List the folders that may keep the code of a source file, best first, as numba chooses them."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen) / "charrnn"]
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return [source.parent / "__pycache__", Path(user).expanduser() / "charrnn"]
    except RuntimeError:  # there is no home folder
        return [source.parent / "__pycache__"]


class KeptFunction:
    """A function compiled by numba whose machine code is kept on disk."""

    def __init__(self, function: Callable[..., Any], sources: Sequence[Path], target: Sequence[str] = TARGET) -> None:
        """Key the code by the contents of `sources`, and by `target`, a description of the processor.

        `sources` are the files of the function and of all that numba compiles into it: the functions that it calls and
        the constants that it reads. The code is kept beside the first one, or in the user's cache folder.
        """
        self.name = function.__name__
        self._sources, self._target = tuple(sources), tuple(target)
        # Without the global interpreter lock. numba's error model: Python's own would look at every divisor, and no
        # loop with a division in it would become vector code.
        self._dispatcher: Any = njit(error_model="numpy", nogil=True)(function)
        self._loaded: set[Any] = set()

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function. Compiles first, where `prepare` was not called for arguments of these types."""
        return self._dispatcher(*arguments)

    def path(self, arguments: Sequence[Any]) -> Path:
        """Return the file with the code for arguments of these types, or where it would be kept."""
        paths = [folder / self._file_name(arguments) for folder in cache_folders(self._sources[0])]
        return next((path for path in paths if os.path.isfile(path) and _is_trusted(path.stat())), paths[0])

    def is_ready(self, arguments: Sequence[Any]) -> bool:
        """Return whether this process has the code for arguments of these types, or NUMBA_DISABLE_JIT is set."""
        return bool(NUMBA.config.DISABLE_JIT) or _types(arguments) in self._loaded

    def find(self, arguments: Sequence[Any], warn: Warn) -> bool:
        """Load the code for arguments of these types from disk, unless it is loaded. Return whether it was found.

        A file that is damaged or cannot be read is removed, after `warn` was called with a message that names it. One
        that somebody else may have written is left alone, with a warning, too.
        """
        if self.is_ready(arguments):
            return True
        path = self.path(arguments)
        if not os.path.isfile(path):  # missing, or a pipe, which would never end
            return False
        try:
            with path.open("rb") as file:
                if not _is_trusted(os.fstat(file.fileno())):
                    warn(f"{path} may have been written by another user and is not used. Delete it. {ADVICE}")
                    return False
                payload = _verified(file.read())
            if payload is not None and self._use(arguments, _Found(payload)):
                return True
            reason = "is damaged"
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return False
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
        warn(f"{path} {reason}; it is removed, and compiled again when it is needed.")
        with contextlib.suppress(OSError):
            path.unlink()
        return False

    def load(self, arguments: Sequence[Any], warn: Warn) -> None:
        """Make the function ready for arguments of these types: from disk, or by compiling it."""
        if not self.find(arguments, warn):
            self.compile(arguments, warn)

    def cannot_keep(self) -> str:
        """Return a sentence that says why code compiled now could not be kept; "" if it can."""
        problem = ""
        for folder in cache_folders(self._sources[0]):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder) as file:
                    file.write(bytes(MOST_CODE_BYTES))
                return ""
            except OSError as error:
                problem = problem or f"Compiled code cannot be kept in {folder} ({error.strerror})."
        return problem

    def compile(self, arguments: Sequence[Any], warn: Warn) -> None:
        """Compile for arguments of these types and keep the code. Calls `warn` if it cannot be kept."""
        compiled = _Compiled()
        self._use(arguments, compiled)
        if compiled.result is None:
            return
        payload = dumps(compiled.result._reduce())
        data = HEADER + hashlib.sha256(payload).digest() + payload
        problem = ""
        for folder in cache_folders(self._sources[0]):
            path = folder / self._file_name(arguments)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    write_synced(temporary, data)
                self._remove_older(path)
                return
            except OSError as error:
                problem = problem or f"{path} cannot be written ({error.strerror}): it is compiled again next time."
        warn(f"{problem} {ADVICE}")

    def _use(self, arguments: Sequence[Any], cache: "_Found | _Compiled") -> bool:
        """Load the code from `cache`, or compile it into `cache`. Return False if the code cannot be used."""
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

    def _source_digest(self) -> str:
        digest = hashlib.sha256()
        for source in (*self._sources, Path(__file__)):
            digest.update(source.read_bytes())
        return digest.hexdigest()[:12]

    def _file_name(self, arguments: Sequence[Any]) -> str:
        parts = (numba.__version__, llvmlite.__version__, sys.implementation.cache_tag, *self._target)
        key = repr((parts, _types(arguments))).encode()
        return f"{self.name}-{self._source_digest()}-{hashlib.sha256(key).hexdigest()[:12]}.code"

    def _remove_older(self, path: Path) -> None:
        """Remove code of this function that was compiled from other sources."""
        for other in path.parent.glob(f"{self.name}-*.code"):
            if not other.name.startswith(f"{self.name}-{self._source_digest()}-"):
                with contextlib.suppress(OSError):
                    other.unlink()


def _types(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(NUMBA.typeof(argument) for argument in arguments)


def _is_trusted(status: os.stat_result) -> bool:
    """Return whether only this user or root can have written a file. Always True on Windows, which shows no owner."""
    return os.name == "nt" or (status.st_uid in (os.geteuid(), 0) and not status.st_mode & stat.S_IWOTH)


def _verified(data: bytes) -> bytes | None:
    """Return the contents of a file without its header, or None if they are not those that were written."""
    payload = data[len(HEADER) + NUM_DIGEST_BYTES :]
    return payload if data == HEADER + hashlib.sha256(payload).digest() + payload else None


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
        except Exception as error:  # whatever another version of numba raises: the code is compiled again
            raise _Unusable from error


class _Compiled(caching.NullCache):
    """A cache for numba that is empty and remembers what is compiled."""

    def __init__(self) -> None:
        self.result: Any = None

    def save_overload(self, signature: Any, result: Any) -> None:
        self.result = result
