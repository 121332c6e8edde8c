"""Compiled functions that are kept on disk, and verified before anything of a file is used.

numba's own cache unpickles whatever stands in its files, so that a truncated one raises any error at all and a changed
one can crash the process. Here every file begins with the SHA-256 of its contents. The name of a file names what the
code depends on: the source files, the versions, the processor and the argument types. So code of another processor or
version is never loaded, and `KeptFunction.find` tells in advance whether a function must be compiled.
"""

import contextlib
import hashlib
import os
import pickle
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

Warn = Callable[[str], object]
# Numba's own types do not cover what stands behind `njit(cache=True)`.
NUMBA: Any = numba
CompileResult: Any = compiler.CompileResult
NullCache: Any = caching.NullCache
dumps: Any = serialize.dumps

TARGET = tuple(str(part) for part in cpu_target.target_context.codegen().magic_tuple())
"""What numba compiles for: triple, processor, features (NUMBA_CPU_NAME and NUMBA_CPU_FEATURES included)."""
HEADER = b"charrnn code 1\n"
NUM_DIGEST_BYTES = 32
MOST_CODE_BYTES = 1 << 20
"""Bytes that must be free before a function is compiled; the code takes about a third of it."""
ADVICE = "Set NUMBA_CACHE_DIR to a folder that you can write to."


def cache_folders(source: Path) -> list[Path]:
    """Folders that may keep the code of a source file, best first: as numba chooses them."""
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
        """Key the code by the contents of `sources`, and of this file, and by `target`, a description of the processor.

        The code is kept beside the first source, or in the user's cache folder.
        """
        self.name = function.__name__
        self._sources, self._target = (*sources, Path(__file__)), tuple(target)
        # Without the global interpreter lock. numba's error model: Python's own would look at every divisor, and no
        # loop with a division in it would become vector code.
        self._dispatcher: Any = njit(error_model="numpy", nogil=True)(function)
        self._loaded: set[Any] = set()

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function. Compiles first, where `prepare` was not called for arguments of these types."""
        return self._dispatcher(*arguments)

    def path(self, arguments: Sequence[Any]) -> Path:
        """The file with the code for arguments of these types, or where it would be kept."""
        paths = [folder / self._file_name(arguments) for folder in cache_folders(self._sources[0])]
        return next((path for path in paths if os.path.isfile(path)), paths[0])

    def is_ready(self, arguments: Sequence[Any]) -> bool:
        """Whether this process has the code for arguments of these types, or NUMBA_DISABLE_JIT is set."""
        return bool(NUMBA.config.DISABLE_JIT) or _types(arguments) in self._loaded

    def find(self, arguments: Sequence[Any], warn: Warn) -> bool:
        """Load the code for arguments of these types from disk, unless it is loaded; whether it is there.

        A file that is damaged or cannot be read is removed, after `warn` was called with a message that names it.
        """
        if self.is_ready(arguments):
            return True
        path = self.path(arguments)
        if not os.path.isfile(path):  # missing, or a pipe, which would never end
            return False
        try:
            payload = _verified(path.read_bytes())
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
        """Why the code could not be kept if it was compiled now, in a sentence; "" if it can be."""
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
        """Compile for arguments of these types and keep the code; `warn` is told if it cannot be kept."""
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
                _replace(path, data)
                self._remove_older(path)
                return
            except OSError as error:
                problem = problem or f"{path} cannot be written ({error.strerror}): it is compiled again next time."
        warn(f"{problem} {ADVICE}")

    def _use(self, arguments: Sequence[Any], cache: "_Found | _Compiled") -> bool:
        """Let numba take the code from `cache`, or compile it for `cache`; False if the code is not usable."""
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
        for source in self._sources:
            digest.update(source.read_bytes())
        return digest.hexdigest()[:12]

    def _file_name(self, arguments: Sequence[Any]) -> str:
        parts = (numba.__version__, llvmlite.__version__, sys.implementation.cache_tag, *self._target)
        key = repr((parts, _types(arguments))).encode()
        return f"{self.name}-{self._source_digest()}-{hashlib.sha256(key).hexdigest()[:12]}.code"

    def _remove_older(self, path: Path) -> None:
        """Remove code of this function that other sources made."""
        for other in path.parent.glob(f"{self.name}-*.code"):
            if not other.name.startswith(f"{self.name}-{self._source_digest()}-"):
                with contextlib.suppress(OSError):
                    other.unlink()


def _types(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(NUMBA.typeof(argument) for argument in arguments)


def _verified(data: bytes) -> bytes | None:
    """The contents of a file without its header; None if they are not those that were written."""
    payload = data[len(HEADER) + NUM_DIGEST_BYTES :]
    return payload if data == HEADER + hashlib.sha256(payload).digest() + payload else None


def _replace(path: Path, data: bytes) -> None:
    """Write a file at once: another process sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


class _Unusable(Exception):
    """Code that was found is not what this version of numba makes."""


class _Found(caching.NullCache):
    """What numba asks for code: hands out verified code."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        target_context.refresh()
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(self._payload))
        except Exception as error:
            raise _Unusable from error


class _Compiled(caching.NullCache):
    """What numba asks for code: has none, and remembers what is compiled."""

    def __init__(self) -> None:
        self.result: Any = None

    def save_overload(self, signature: Any, result: Any) -> None:
        self.result = result
