"""What was measured of a saved step, kept in its run so that it is not measured again: `findings/STEP.json`.

A cache: any file of it may be deleted. A file is used only if its SHA-256 is right and it is of these weights and this
program; an entry is found only by what it was measured from. Where there is no file, everything is measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charrnn.errors import CharRNNError, CheckpointError
from charrnn.files import JSON, convert_os_errors, parse_json, read_capped, remove_temporaries, write_atomically

FOLDER = "findings"
FORMAT_VERSION = 1
MAX_BYTES = 8 * 1024 * 1024
"""A file larger than this is not read; one that would be is written without its oldest entries."""
MAX_ENTRY_BYTES = MAX_BYTES // 8
"""A larger entry is not kept."""
_FRAME = re.compile(rb'\{"sha256":"([0-9a-f]{64})","findings":(.*)\}\n', re.DOTALL)


@dataclass
class FindingsCache:
    """Values of JSON by what they were measured from; kept in a file by `save`, if there is a run to keep them in."""

    run: Path | None
    step_name: str = ""
    identity: str = ""
    """A digest of the step's weights, alphabet and configuration, and of the program that measures."""
    _entries: dict[str, JSON] = field(default_factory=dict)
    """By kind and digest, oldest first."""
    _new: dict[str, JSON] = field(default_factory=dict)
    _is_read: bool = False
    _is_ignored: bool = False

    def get(self, kind: str, measured_from: Mapping[str, JSON]) -> JSON:
        """What was measured, None if that is not known. Whoever asks checks it: a run may be a stranger's."""
        name = _name(kind, measured_from)
        if name in self._new:
            return self._new[name]
        if not self._is_read and not self._is_ignored:
            self._entries, self._is_read = self._read(), True
        return self._entries.get(name)

    def put(self, kind: str, measured_from: Mapping[str, JSON], value: JSON) -> None:
        """Know a value from now on, which must be finite; `save` keeps it."""
        self._new[_name(kind, measured_from)] = value

    def ignore_saved(self) -> None:
        """Use nothing that was kept before now; what is measured is kept in its place."""
        self._is_ignored, self._entries = True, {}

    def save(self) -> None:
        """Keep what is new. Does nothing where that is not possible: a read-only run, a full disk, a link."""
        path = self._path
        if path is None or not self._new:
            return
        # Read again: another process may have written meanwhile.
        entries = self._read()
        for name, value in self._new.items():
            entries.pop(name, None)
            entries[name] = value
        # Nothing depends on it: the next call measures again.
        with contextlib.suppress(CharRNNError):
            if path.parent.is_symlink():
                return
            with convert_os_errors("create", path.parent):
                path.parent.mkdir(exist_ok=True)
                remove_temporaries(path.parent)
            write_atomically(path, self._encode(entries))
            self._entries, self._is_read, self._new = entries, True, {}

    @property
    def _path(self) -> Path | None:
        return None if self.run is None else findings_path(self.run, self.step_name)

    def _read(self) -> dict[str, JSON]:
        """The entries of the file if it is whole and of this step and program, else none."""
        path = self._path
        if path is None or path.parent.is_symlink():
            return {}
        try:
            framed = _FRAME.fullmatch(read_capped(path, max_bytes=MAX_BYTES))
            if framed is None or framed[1] != hashlib.sha256(framed[2]).hexdigest().encode("ascii"):
                return {}
            findings = parse_json(path, framed[2])
        except CheckpointError:
            return {}
        if not isinstance(findings, dict) or findings.keys() != {"format", "identity", "entries"}:
            return {}
        if findings["format"] != FORMAT_VERSION or findings["identity"] != self.identity:
            return {}
        entries = findings["entries"]
        return entries if isinstance(entries, dict) else {}

    def _encode(self, entries: Mapping[str, JSON]) -> bytes:
        encoded = {name: _to_json(value) for name, value in entries.items()}
        kept: list[str] = []
        num_left = MAX_BYTES - 1024  # for what stands around the entries
        for name, value in reversed(encoded.items()):
            num_bytes = len(name) + len(value) + 4
            if num_bytes <= MAX_ENTRY_BYTES:
                num_left -= num_bytes
                if num_left < 0:
                    break
                kept.append(f"{_to_json(name)}:{value}")
        body = f'{{"format":{FORMAT_VERSION},"identity":"{self.identity}","entries":{{{",".join(reversed(kept))}}}}}'
        data = body.encode("ascii")
        digest = hashlib.sha256(data).hexdigest().encode("ascii")
        return b'{"sha256":"' + digest + b'","findings":' + data + b"}\n"


def findings_path(run: Path, step_name: str) -> Path:
    """The file that holds what was measured of a step."""
    return run / FOLDER / f"{step_name}.json"


def discard_findings(run: Path, step_name: str) -> None:
    """Remove what was measured of a step, if there is any."""
    path = findings_path(run, step_name)
    if path.parent.is_symlink() or not os.path.lexists(path):
        return
    # It stays where it cannot be removed: it is small, and a step of that name with other weights does not use it.
    with contextlib.suppress(OSError):
        path.unlink()


def _name(kind: str, measured_from: Mapping[str, JSON]) -> str:
    return f"{kind} {hashlib.sha256(_to_json(dict(sorted(measured_from.items()))).encode('ascii')).hexdigest()}"


def _to_json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
