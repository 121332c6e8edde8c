"""The log of a run, `metrics.jsonl`: one JSON object per line and event."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from charrnn.files import JSON, convert_os_errors, read_capped, write_atomically

MAX_BYTES = 1 << 30
"""A larger log is not read; it would have about six million steps."""


@dataclass(frozen=True, slots=True)
class MetricsLog:
    """A `metrics.jsonl`; the first `append` creates the file."""

    path: Path

    def append(self, record: Mapping[str, JSON]) -> None:
        """Add one record as one line. Infinite and NaN numbers become null, because JSON cannot represent them.

        Raises CharRNNError when the file cannot be written.
        """
        finite = {key: None if _is_not_finite(value) else value for key, value in record.items()}
        line = (json.dumps(finite, allow_nan=False) + "\n").encode("ascii")
        with convert_os_errors("write", self.path, num_bytes=len(line)), self.path.open("ab") as file:
            file.write(line)

    def read(self) -> list[dict[str, JSON]]:
        """Read all records in order, without damaged lines or a last line cut off by a crash; none if there is no file.

        Raises CheckpointError if the file cannot be read.
        """
        return [record for _, record in self._lines()[0]]

    def problems(self) -> list[str]:
        """List the damaged lines that `read` skips. A cut-off last line is not damage. Raises as `read` does."""
        return self._lines()[1]

    def steps(self, event: str) -> list[JSON]:
        """List the steps of the records of an event, in order. Raises as `read` does."""
        return [record.get("step") for record in self.read() if record.get("event") == event]

    def rewind(self, step: int) -> list[str]:
        """Remove the records after `step`, damaged lines and a cut-off last line; return the `problems`.

        A resumed run then logs each step once. Raises as `read` does, CharRNNError if the file cannot be written.
        """
        lines, problems = self._lines()
        if self.path.exists():
            kept = [line + b"\n" for line, record in lines if not _is_after(record, step)]
            write_atomically(self.path, b"".join(kept))
        return problems

    def _lines(self) -> tuple[list[tuple[bytes, dict[str, JSON]]], list[str]]:
        """Return each intact line with its record, and what is wrong with the others."""
        if not os.path.lexists(self.path):
            return [], []
        *lines, rest = read_capped(self.path, max_bytes=MAX_BYTES).split(b"\n")
        parsed, problems = [], []
        for number, line in enumerate((*lines, rest), start=1):
            record = _parse(line)
            if record is not None:
                parsed.append((line, record))
            elif number <= len(lines):
                problems.append(f"{self.path} line {number} is damaged and is skipped")
        return parsed, problems


def _parse(line: bytes) -> dict[str, JSON] | None:
    """Return the record of a line, None if it is not a JSON object."""
    try:
        record = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, JSON]", record) if isinstance(record, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_not_finite(value: JSON) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _is_after(record: Mapping[str, JSON], step: int) -> bool:
    logged = record.get("step")
    return isinstance(logged, int) and logged > step
