"""A cache of what was measured of a checkpoint: the files `findings/step-….json` of a run.

Any of these files may be deleted. A file is used only if its SHA-256 is right and it was measured
with the same weights and the same version of the program. An entry is found by a digest of its
inputs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from charrnn.errors import CharRNNError, CheckpointError, Message, named, warn
from charrnn.system.files import (
    JSON,
    convert_os_errors,
    parse_json,
    read_capped,
    remove_temporaries,
    write_atomically,
)

FOLDER = "findings"
"""Name of the folder in a run."""
FORMAT_VERSION = 1
"""Format of the files; files of another format are ignored."""
MAX_BYTES = 8 * 1024 * 1024
"""A larger file is not read. The oldest entries are dropped so that no larger file is written."""
MAX_ENTRY_BYTES = MAX_BYTES // 8
"""A larger entry is not saved."""
_FRAME = re.compile(rb'\{"sha256":"([0-9a-f]{64})","findings":(.*)\}\n', re.DOTALL)


@dataclass
class FindingsCache:
    """JSON values by what they were measured from. `save` writes them to a file if the model
    belongs to a run."""

    run: Path | None
    step_name: str = ""
    identity: str = ""
    """A digest of the checkpoint's weights, alphabet and configuration, and of the program that
    measures."""
    _entries: dict[str, JSON] | None = None
    """By kind and digest, oldest first; None if the file is not read yet."""
    _new: dict[str, JSON] = field(default_factory=dict)
    on_warning: Callable[[str], object] = warn
    """Called with each value that was saved and cannot be right."""

    def get(self, kind: str, measured_from: Mapping[str, JSON]) -> JSON:
        """Return a cached value, None if there is none. The caller must validate it: a run may come
        from anybody."""
        name = _name(kind, measured_from)
        if name in self._new:
            return self._new[name]
        if self._entries is None:
            self._entries = self._read()
        return self._entries.get(name)

    def put(self, kind: str, measured_from: Mapping[str, JSON], value: JSON) -> None:
        """Add a value, whose numbers must be finite; `save` writes it."""
        self._new[_name(kind, measured_from)] = value

    def report(self, kind: str, saved: JSON, measured: JSON) -> None:
        """Warn that a saved value is impossible, and say what was measured instead."""
        before, now = _number_or_entry(saved), _number_or_entry(measured)
        warning = (
            f"{self._path} cannot be right: {before} in it ({kind}) is {now} when measured again"
        )
        self.on_warning(
            Message(f"{warning}. visualize with {named('recompute')} measures the others again")
        )

    def ignore_saved(self) -> None:
        """Ignore the values saved so far; `save` replaces them by new ones."""
        self._entries = {}

    def save(self) -> None:
        """Write the new values. Does nothing if that is impossible: a read-only run, a full disk, a
        link."""
        path = self._path
        if path is None or path.parent.is_symlink() or not self._new:
            return
        # Read again, because another process may have written in the meantime.
        entries = self._read()
        for name, value in self._new.items():
            entries.pop(name, None)
            entries[name] = value
        # A failure costs only time: the next call measures again.
        with contextlib.suppress(CharRNNError):
            with convert_os_errors("create", path.parent):
                path.parent.mkdir(exist_ok=True)
                remove_temporaries(path.parent)
            write_atomically(path, self._encode(entries))
            self._entries, self._new = (
                (entries if self._entries is None else self._entries | self._new),
                {},
            )

    @property
    def _path(self) -> Path | None:
        return None if self.run is None else findings_path(self.run, self.step_name)

    def _read(self) -> dict[str, JSON]:
        """Return the entries of the file if it is intact and of this checkpoint and program, else
        none."""
        path = self._path
        if path is None or path.parent.is_symlink():
            return {}
        try:
            framed = _FRAME.fullmatch(read_capped(path, max_bytes=MAX_BYTES))
            if framed is None or framed[1] != hashlib.sha256(framed[2]).hexdigest().encode("ascii"):
                return {}
            findings = parse_json(path, framed[2])
            json.dumps(
                findings, allow_nan=False
            )  # raises ValueError for numbers that are not finite
        except (CheckpointError, ValueError):
            return {}
        if not isinstance(findings, dict) or findings.keys() != {"format", "identity", "entries"}:
            return {}
        if findings["format"] != FORMAT_VERSION or findings["identity"] != self.identity:
            return {}
        entries = findings["entries"]
        return entries if isinstance(entries, dict) else {}

    def _encode(self, entries: Mapping[str, JSON]) -> bytes:
        encoded = [f"{_to_json(name)}:{_to_json(value)}" for name, value in entries.items()]
        encoded = [entry for entry in encoded if len(entry) <= MAX_ENTRY_BYTES]
        # As many of the newest as leave 1,024 bytes for the text around them.
        sizes = list(accumulate(len(entry) + 1 for entry in reversed(encoded)))
        kept = encoded[len(encoded) - bisect_right(sizes, MAX_BYTES - 1024) :]
        body = f'{{"format":{FORMAT_VERSION},"identity":"{self.identity}","entries":{{{",".join(kept)}}}}}'  # noqa: E501
        data = body.encode("ascii")
        return (
            b'{"sha256":"'
            + hashlib.sha256(data).hexdigest().encode("ascii")
            + b'","findings":'
            + data
            + b"}\n"
        )


def findings_path(run: Path, step_name: str) -> Path:
    """Return the cache file of a checkpoint."""
    return run / FOLDER / f"{step_name}.json"


def discard_findings(run: Path, step_name: str) -> None:
    """Remove the cache file of a checkpoint, if there is one."""
    path = findings_path(run, step_name)
    # A failure does no harm: the file is small, and a checkpoint of that name with other weights
    # does not use it.
    with contextlib.suppress(OSError):
        if not path.parent.is_symlink() and os.path.lexists(path):
            path.unlink()


def _name(kind: str, measured_from: Mapping[str, JSON]) -> str:
    return (
        f"{kind}"
        f" {hashlib.sha256(_to_json(dict(sorted(measured_from.items()))).encode('ascii')).hexdigest()}"  # noqa: E501
    )


def _to_json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _number_or_entry(value: JSON) -> str:
    """Return a number; "an entry" for anything else: a text of somebody else's file is not
    shown."""
    return f"{value:.6g}" if isinstance(value, int | float) and abs(value) < 1e300 else "an entry"
