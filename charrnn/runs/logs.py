"""The logs of a run: `metrics.jsonl`, one JSON object per line and event, and `samples.txt`, a
section per sample."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from charrnn.config.settings import MAX_STEPS
from charrnn.system.files import (
    JSON,
    MAX_TEXT_BYTES,
    convert_os_errors,
    encode_text,
    read_capped,
    write_atomically,
)

MAX_BYTES = 1 << 30
"""A larger log is not read; it would have about six million steps."""
MAX_VALUE = 1e18
"""Numbers of at least this size are no measurements and count as missing."""


class LoggedLoss(NamedTuple):
    """The loss of one record. A value that the record lacks, or that is no number, is None."""

    is_validation: bool
    step: int | None
    seconds: float
    """Seconds that training had taken, in all processes since the run was started."""
    nats: float | None
    with_counts_nats: float | None
    """The validation loss of the network together with counts, in the record of that."""


@dataclass(frozen=True, slots=True)
class MetricsLog:
    """A `metrics.jsonl`; the first `append` creates the file."""

    path: Path

    def append(self, record: Mapping[str, JSON]) -> None:
        """Add one record as one line. Infinite and NaN numbers become null, because JSON cannot
        represent them.

        Raises CharRNNError when the file cannot be written.
        """
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in record.items()
        }

        # In one write and without a sync: what a crash cuts off is a last line, which is skipped.
        line = (json.dumps(finite, allow_nan=False) + "\n").encode("ascii")
        with (
            convert_os_errors("write", path=self.path, num_bytes=len(line)),
            self.path.open("ab") as file,
        ):
            file.write(line)

    def read(self) -> list[dict[str, JSON]]:
        """Read all records in order, without damaged lines or a last line cut off by a crash; none
        if there is no file.

        Raises CheckpointError if the file cannot be read.
        """
        return [record for _, record in self._records([])]

    def losses(self, problems: list[str]) -> Iterator[LoggedLoss]:
        """Yield the loss of every record in order, and add the `problems` of the others to a list.

        Raises CheckpointError if the file cannot be read.
        """
        seconds = 0.0
        for _, record in self._records(problems):
            # Steps and validations are told apart by what they measured.
            is_validation = "val_nats" in record
            nats = _finite(record.get("val_nats" if is_validation else "train_nats"))
            step = _finite(record.get("step"))

            # A record without a time has that of the one before.
            elapsed = _finite(record.get("seconds"))
            if elapsed is not None and elapsed >= 0:
                seconds = elapsed

            yield LoggedLoss(
                is_validation=is_validation,
                step=None if step is None else int(step),
                seconds=seconds,
                nats=nats,
                with_counts_nats=_finite(record.get("with_counts_nats")),
            )

    def seconds_at(self, step: int) -> float:
        """Return the seconds that training had taken when it had done a step, in all processes
        since the run was started; 0 without a record of that.

        Raises CheckpointError if the file cannot be read.
        """
        taken = [loss.seconds for loss in self.losses([]) if (loss.step or 0) <= step]
        return max(taken, default=0.0)

    def steps(self, event: str) -> list[JSON]:
        """List the steps of the records of an event, in order. Raises CheckpointError if the file
        cannot be read."""
        return [record.get("step") for record in self.read() if record.get("event") == event]

    def rewind(self, step: int) -> list[str]:
        """Remove the records after `step`, damaged lines and a cut-off last line; list the damaged
        lines.

        A resumed run then logs each step once. Raises CheckpointError if the file cannot be read,
        CharRNNError if it cannot be written.
        """
        # Read as a whole before the file is replaced, which is done at once or not at all.
        problems: list[str] = []
        records = list(self._records(problems))
        if self.path.exists():
            kept = []
            for line, record in records:
                logged = record.get("step")
                if not isinstance(logged, int) or logged <= step:
                    kept.append(line + b"\n")
            write_atomically(self.path, b"".join(kept))
        return problems

    def _records(self, problems: list[str]) -> Iterator[tuple[bytes, dict[str, JSON]]]:
        """Yield each intact line with its record; name the others, but for a cut-off last line, in
        `problems`."""
        if not os.path.lexists(self.path):
            return
        # The last line has no line end if a crash has cut it off: that is no damage.
        lines = read_capped(self.path, max_bytes=MAX_BYTES).split(b"\n")
        for number, line in enumerate(lines, start=1):
            record = _parse(line)
            if record is not None:
                yield line, record
            elif number < len(lines):
                problems.append(f"{self.path} line {number} is damaged and is skipped")


def _parse(line: bytes) -> dict[str, JSON] | None:
    """Return the record of a line, None if it is not a JSON object or if its step is a number that
    no step has."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    # NaN and Infinity are no JSON, though Python reads them.
    try:
        record = json.loads(line.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return None

    # Such a record would move the end of every learning curve.
    if not isinstance(record, dict):
        return None
    step = record.get("step")
    if isinstance(step, float) or (isinstance(step, int) and not 0 <= step <= MAX_STEPS):
        return None
    return record


def _finite(value: JSON) -> float | None:
    """Return a logged value if it is a number that a table can show."""
    return float(value) if isinstance(value, int | float) and abs(value) < MAX_VALUE else None


_HEADING_LINE = re.compile(r"(?m)^--- step ")
_HEADING = re.compile(r"(?m)^--- step ([0-9]{1,18}) ---\n")


@dataclass(frozen=True, slots=True)
class SampleLog:
    """A `samples.txt`; the first `append` creates the file."""

    path: Path

    def append(self, step: int, text: str) -> None:
        """Add the sample of `step`. Raises CharRNNError when the file cannot be written."""
        # A line of the sample that looks like a heading is indented by one space.
        text = _HEADING_LINE.sub(" --- step ", text)
        section = encode_text(f"--- step {step} ---\n{text}\n\n")
        with (
            convert_os_errors("write", path=self.path, num_bytes=len(section)),
            self.path.open("ab") as file,
        ):
            file.write(section)

    def steps(self) -> list[int]:
        """List the steps of the samples, in order. Raises CheckpointError if the file cannot be
        read."""
        return [int(match[1]) for match in _HEADING.finditer(self._read())]

    def rewind(self, step: int) -> None:
        """Remove the samples after `step`, so that a resumed run writes each once. Raises as
        `steps` and `append`."""
        # From the first later one on: sections are in order.
        text = self._read()
        later = [match.start() for match in _HEADING.finditer(text) if int(match[1]) > step]
        if later:
            write_atomically(self.path, encode_text(text[: later[0]]))

    def _read(self) -> str:
        if not os.path.lexists(self.path):
            return ""
        return read_capped(self.path, max_bytes=MAX_TEXT_BYTES).decode("utf-8", "replace")
