"""What a run wrote as it learned: `samples.txt`, one headed section per sample, each step once."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from charrnn.files import MAX_TEXT_BYTES, convert_os_errors, encode_text, read_capped, write_atomically

_HEADING_LINE = re.compile(r"(?m)^--- step ")
_HEADING = re.compile(r"(?m)^--- step ([0-9]{1,18}) ---\n")


@dataclass(frozen=True, slots=True)
class SampleLog:
    """A `samples.txt`; the file appears with the first sample."""

    path: Path

    def append(self, step: int, text: str) -> None:
        """Add what was written at `step`. Raises CharRNNError when the file cannot be written."""
        # A line that would read as a heading is moved in by one space.
        text = _HEADING_LINE.sub(" --- step ", text)
        section = encode_text(f"--- step {step} ---\n{text}\n\n")
        with convert_os_errors("write", self.path, num_bytes=len(section)), self.path.open("ab") as file:
            file.write(section)

    def steps(self) -> list[int]:
        """The steps there are samples of, in the order they stand there. Raises CheckpointError if it is no file."""
        return [int(match[1]) for match in _HEADING.finditer(self._read())]

    def rewind(self, step: int) -> None:
        """Drop the samples of steps after `step`, so that a resumed run keeps each step once."""
        text = self._read()
        later = [match.start() for match in _HEADING.finditer(text) if int(match[1]) > step]
        if later:
            write_atomically(self.path, encode_text(text[: later[0]]))

    def _read(self) -> str:
        if not os.path.lexists(self.path):
            return ""
        return read_capped(self.path, max_bytes=MAX_TEXT_BYTES).decode("utf-8", "replace")
