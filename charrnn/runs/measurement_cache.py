"""Keep the measurements of cells in the user's cache folder.

There is one file for each result. Its name is a digest of all that the result depends on: the
weights, the text, the code that measures, the libraries that compute, and the processor. So a file
is never out of date, and each of them may be deleted.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from charrnn.hooks.manager import other_packages
from charrnn.system.cache_folders import cache_folder
from charrnn.system.files import JSON
from charrnn.system.progress import warn

Result = TypeVar("Result")
"""The type of a result: a dataclass, a tuple, an array of NumPy, a number, text, or one of these or
None."""
MAX_FOLDER_BYTES = 256 * 1024 * 1024
"""Size of all files together above which the oldest are deleted."""


@dataclass
class MeasurementCache:
    """Saved results of a model.

    `Model.cache` is that of a model. Without an identity nothing is saved, and results live as
    long as the object.
    """

    identity: str | None = None
    """The digest of the model's weights, configuration and alphabet. None for a model without a
    checkpoint: its results stay in memory."""
    measures_anew: bool = False
    """Whether only the results of this process are used."""
    _known: dict[str, Any] = field(default_factory=dict)
    """The results that were loaded or saved in this process."""
    _is_trimmed: bool = False

    def load(self, kind: str, key: Mapping[str, JSON], result: type[Result]) -> Result | None:
        """Return a saved result; None if there is none, or if its file is damaged.

        `Study.look_up` calls it for several items and tells which are missing; call it for a
        single result.
        """
        # Results of this process are used in any case.
        name = self._name(kind, key)
        if name in self._known:
            known: Result = self._known[name]
            return known
        if self.identity is None or self.measures_anew:
            return None

        # Never in the run: a run that somebody sends brings no results, which would have to be
        # checked. The first line of a file is the digest of the rest.
        try:
            path = cache_folder("findings") / name
            digest, _, body = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        # Files are not synced to the disk, so they may be incomplete after a power failure.
        if digest != _digest(body):
            warn(f"{path} is damaged: what it contains is measured again")
            return None
        # A whole file may be unreadable all the same: Python and NumPy change how they represent
        # the annotations that `decode` follows. Measuring again without a warning would hide that.
        try:
            loaded: Result = decode(result, json.loads(body))
        except (TypeError, ValueError, LookupError) as error:
            warn(f"{path} cannot be read back ({error!r}): it is measured again")
            return None
        self._known[name] = loaded
        return loaded

    def save(self, kind: str, key: Mapping[str, JSON], value: object) -> None:
        """Keep a result, in a file as well unless none can be written.

        `load` finds it again under the same kind and key, also in another process.
        """
        name = self._name(kind, key)
        self._known[name] = value
        if self.identity is None:
            return

        body = json.dumps(encode(value), separators=(",", ":")).encode("ascii")
        # Without a file the next process measures again, which costs only time.
        with contextlib.suppress(OSError):
            folder = cache_folder("findings")
            # Renamed when it is whole, so that no other process reads a part of it.
            temporary = folder / f"{name}.{os.getpid()}"
            temporary.write_bytes(_digest(body) + b"\n" + body)
            os.replace(temporary, folder / name)
            # Once per process: looking at all files takes longer than writing a file.
            if not self._is_trimmed:
                delete_oldest(folder)
                self._is_trimmed = True

    def _name(self, kind: str, key: Mapping[str, JSON]) -> str:
        # In memory the program is always the same: its sources need not be read.
        program = ""
        if self.identity:
            program = program_digest()
        parts = [kind, dict(key), self.identity, program]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()


def delete_oldest(folder: Path) -> None:
    """Delete the oldest files until all together have at most MAX_FOLDER_BYTES. Raises OSError."""
    # The age counts from the last writing, even for a file that is read often: marking it at each
    # reading would make every reading write.
    by_age = []
    for entry in os.scandir(folder):
        stat = entry.stat()
        by_age.append((stat.st_mtime, stat.st_size, entry.path))
    by_age.sort()

    excess = sum(size for _, size, _ in by_age) - MAX_FOLDER_BYTES
    for _, size, path in by_age:
        if excess <= 0:
            break
        os.unlink(path)
        excess -= size


@cache
def program_digest() -> str:
    """Return a SHA-256 of all but model and text that a measurement depends on: the code, the
    versions of the libraries that compute, the packages that add to it, and the processor."""
    libraries = [np.__version__, metadata.version("torch")]
    parts = [code_digest(Path(__file__).parents[1]), libraries, other_packages(), _processor()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def code_digest(package: Path) -> str:
    """Return a SHA-256 of the code that a measurement may depend on."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """Return what tells apart processors whose libraries round differently: their instructions,
    where the system lists them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return f"{platform.machine()} {platform.processor()}"


def encode(value: object) -> JSON:
    """Return a result as JSON. A dataclass is the list of its fields: a third of the size of an
    object."""
    # The names are left out: the annotations have them, in the same order.
    if is_dataclass(value):
        return [encode(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "values": value.tolist()}
    return cast(JSON, value)


def decode(kind: Any, value: Any) -> Any:
    """Return the result of a type from its JSON."""
    # JSON contains no types: the annotations say which type each value had. Arrays name their
    # dtype, because `Float32Array` is an alias that NumPy 2.5 does not resolve.
    if kind in (int, float, str, bool) or value is None:
        return value
    if isinstance(value, dict):
        return np.array(value["values"], value["dtype"])
    if is_dataclass(kind):
        pairs = zip(_field_types(cast(Any, kind)), value, strict=True)
        return cast(Any, kind)(**{name: decode(hint, item) for (name, hint), item in pairs})

    origin = get_origin(kind)
    arguments = get_args(kind)
    if origin in (Union, UnionType):
        # None was returned above; the other type stands first.
        return decode(arguments[0], value)
    if arguments[-1] is ...:
        return tuple(decode(arguments[0], item) for item in value)
    return tuple(decode(hint, item) for hint, item in zip(arguments, value, strict=True))


@cache
def _field_types(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return name and type of each field; kept, because evaluating the annotations is slow."""
    hints = get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in fields(kind))


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode("ascii")
