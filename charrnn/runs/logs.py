"""The logs of a run: `metrics.jsonl` with one JSON object per event, each on its own line, and
`samples.txt` with one section per sample."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.settings import MAX_STEPS
from charrnn.system.files import (
    JSON,
    capped_lines,
    convert_os_errors,
    encode_text,
    read_capped,
    write_atomically,
)

MAX_BYTES = 1 << 30
"""The largest log that is read, in bytes: about six million steps."""
MOST_PROBLEMS = 20
"""Damaged lines that are named, at most."""
MAX_VALUE = 1e18
"""Numbers of at least this absolute value are no measurements and count as missing."""


@dataclass(frozen=True)
class MetricsLog:
    """A `metrics.jsonl`; the first `append` creates the file.

    Whoever asks how a training went reads it; what a model is good for is measured anew, by
    `evaluate`.
    """

    path: Path

    def append(self, record: Mapping[str, JSON]) -> None:
        """Add one record as one line. Infinite and NaN numbers become null, because JSON cannot
        represent them.

        Raises CharRNNError when the file cannot be written.
        """
        # One write and no sync: a crash can truncate only the last line, which readers skip.
        _append(self.path, _to_line(record))

    def records(self, problems: list[str] | None = None) -> Iterator[dict[str, JSON]]:
        """Yield all records in order, of which one is in memory, without damaged lines. A message
        in `problems` names each of these, up to MOST_PROBLEMS. There are none without a file.

        Raises CheckpointError if the file cannot be read.
        """
        if not os.path.lexists(self.path):
            return
        for number, line in enumerate(capped_lines(self.path, max_bytes=MAX_BYTES), start=1):
            record = _parse(line)
            if record is not None:
                yield record
            # A last line without a line end was truncated by a crash, which is no damage.
            elif problems is not None and line.endswith(b"\n") and len(problems) < MOST_PROBLEMS:
                problems.append(f"{self.path} line {number} is damaged and is skipped")

    def read(self, problems: list[str] | None = None) -> list[dict[str, JSON]]:
        """Read all records in order; see `records`."""
        return list(self.records(problems))

    def seconds_at(self, step: int) -> float:
        """Return the seconds of training until the end of a step, in all processes since the run
        was started; 0 if no step before it has a record.

        A resumed run counts its budget in minutes from there.

        Raises CheckpointError if the file cannot be read.
        """
        taken = [0.0]
        for record in self.records():
            if (finite(record.get("step")) or 0) <= step:
                taken.append(finite(record.get("seconds")) or 0.0)
        return max(taken)

    def steps(self, event: str) -> list[JSON]:
        """List the steps at which an event was recorded, in order. Raises CheckpointError if the
        file cannot be read.

        It is enough to know how often something happened; `read` returns what was measured.
        """
        return [record.get("step") for record in self.records() if record.get("event") == event]

    def rewind(self, step: int) -> list[str]:
        """Remove the records after `step`, damaged lines and a truncated last line; return messages
        that name the damaged lines.

        A run that was killed may have logged steps after its last checkpoint, which it takes again.
        A resumed run then logs each step once. Raises CheckpointError if the file cannot be read,
        CharRNNError if it cannot be written.
        """
        # The file is read completely before it is replaced atomically.
        problems: list[str] = []
        lines = []
        for record in self.records(problems):
            logged = record.get("step")
            if not isinstance(logged, int) or logged <= step:
                lines.append(_to_line(record))
        if self.path.exists():
            write_atomically(self.path, b"".join(lines))
        return problems


def _append(path: Path, data: bytes) -> None:
    """Add bytes to a file. Raises CharRNNError when it cannot be written."""
    with convert_os_errors("write", path=path, num_bytes=len(data)), path.open("ab") as file:
        file.write(data)


def _to_line(record: Mapping[str, JSON]) -> bytes:
    """Return the line of a record. Infinite and NaN numbers become null, because JSON cannot
    represent them."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
    return (json.dumps(finite) + "\n").encode("ascii")


def _parse(line: bytes) -> dict[str, JSON] | None:
    """Parse the record of a line. Returns None if the line is not a JSON object, or if its step is
    not an integer from 0 to MAX_STEPS."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None

    # A record with an impossible step would stretch the axis of every learning curve.
    if not isinstance(record, dict):
        return None
    step = record.get("step")
    if isinstance(step, float) or (isinstance(step, int) and not 0 <= step <= MAX_STEPS):
        return None
    return record


def finite(value: JSON) -> float | None:
    """Return a logged value as a float; None if it is no number below MAX_VALUE.

    A log may have been edited or damaged: a curve is drawn of what it returns.
    """
    return float(value) if isinstance(value, int | float) and abs(value) < MAX_VALUE else None


def last_step(records: Iterable[Mapping[str, JSON]]) -> int:
    """Return the last step of some records; 0 if none has a step."""
    return max((int(finite(record.get("step")) or 0) for record in records), default=0)


_HEADING_LINE = re.compile(r"(?m)^--- step ")
_HEADING = re.compile(r"(?m)^--- step ([0-9]{1,18}) ---\n")


@dataclass(frozen=True)
class SampleLog:
    """A `samples.txt`; the first `append` creates the file.

    It is for people who look at how a run learned to write.
    """

    path: Path

    def append(self, step: int, text: str) -> None:
        """Add the sample of `step`. Raises CharRNNError when the file cannot be written."""
        # A line of the sample that looks like a heading is indented by one space.
        text = _HEADING_LINE.sub(" --- step ", text)
        _append(self.path, encode_text(f"--- step {step} ---\n{text}\n\n"))

    def steps(self) -> list[int]:
        """List the steps of the samples, in order. Raises CheckpointError if the file cannot be
        read."""
        return [int(match[1]) for match in _HEADING.finditer(self._read())]

    def rewind(self, step: int) -> None:
        """Remove the samples after `step`, so that a resumed run writes each once. Raises the
        errors of `steps` and `append`."""
        # The sections are ordered by step, so everything from the first later sample on goes.
        text = self._read()
        later = [match.start() for match in _HEADING.finditer(text) if int(match[1]) > step]
        if later:
            write_atomically(self.path, encode_text(text[: later[0]]))

    def _read(self) -> str:
        if not os.path.lexists(self.path):
            return ""
        return read_capped(self.path).decode("utf-8", "replace")
