"""The history of a run: JSON lines, one per logged step, each step once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from charrnn.errors import CharRNNError, CheckpointError
from charrnn.runs.disk import JSON, write_atomically


@dataclass(frozen=True, slots=True)
class MetricsLog:
    """A `metrics.jsonl`; the file appears with the first record."""

    path: Path

    def append(self, record: Mapping[str, JSON]) -> None:
        """Add one record as one line. Numbers that are not finite become null, as JSON has no word for them.

        Raises CharRNNError when the file cannot be written.
        """
        finite = {key: None if _is_not_finite(value) else value for key, value in record.items()}
        line = json.dumps(finite, allow_nan=False) + "\n"
        try:
            with self.path.open("ab") as file:
                file.write(line.encode("ascii"))
        except OSError as error:
            raise CharRNNError(f"cannot write {self.path}: {error.strerror or error}") from error

    def read(self) -> list[dict[str, JSON]]:
        """All records in order, without a last line torn by a crash; empty when there is no file.

        Raises CheckpointError with the line number when a line before the last is damaged.
        """
        return [record for _, record in self._lines()]

    def rewind(self, step: int) -> None:
        """Drop the records of steps after `step` and a torn last line, so that a resumed run logs each step once.

        Raises CheckpointError as `read` does, CharRNNError when the file cannot be written.
        """
        kept = [line for line, record in self._lines() if not _is_after(record, step)]
        if self.path.exists():
            write_atomically(self.path, b"".join(line + b"\n" for line in kept))

    def _lines(self) -> list[tuple[bytes, dict[str, JSON]]]:
        """Each line as it stands in the file, with its record."""
        try:
            lines = self.path.read_bytes().rstrip().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror or error}") from error
        parsed = []
        for number, line in enumerate(lines, start=1):
            record = _parse(line)
            if record is not None:
                parsed.append((line, record))
            elif number < len(lines):
                raise CheckpointError(f"{self.path} line {number} is damaged\ndelete that line to go on")
        return parsed


def _parse(line: bytes) -> dict[str, JSON] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, JSON]", record) if isinstance(record, dict) else None


def _is_not_finite(value: JSON) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _is_after(record: Mapping[str, JSON], step: int) -> bool:
    logged = record.get("step")
    return isinstance(logged, int) and logged > step
