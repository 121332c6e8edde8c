"""The texts that a run generated during training: `samples.txt`, a section with a heading for each step."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from charrnn.files import MAX_TEXT_BYTES, convert_os_errors, encode_text, read_capped, write_atomically

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
        with convert_os_errors("write", self.path, num_bytes=len(section)), self.path.open("ab") as file:
            file.write(section)

    def steps(self) -> list[int]:
        """List the steps of the samples, in order. Raises CheckpointError if the file cannot be read."""
        return [int(match[1]) for match in _HEADING.finditer(self._read())]

    def rewind(self, step: int) -> None:
        """Remove the samples after `step`, so that a resumed run writes each once. Raises as `steps` and `append`."""
        text = self._read()
        later = [match.start() for match in _HEADING.finditer(text) if int(match[1]) > step]
        if later:
            write_atomically(self.path, encode_text(text[: later[0]]))

    def _read(self) -> str:
        if not os.path.lexists(self.path):
            return ""
        return read_capped(self.path, max_bytes=MAX_TEXT_BYTES).decode("utf-8", "replace")
