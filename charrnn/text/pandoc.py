"""Read the text of documents by pandoc, which the extra `files` installs: one process of it reads
one document after the other."""

import atexit
import hashlib
import re
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from charrnn.errors import DataError, UsageError, install_command, named
from charrnn.system.process import memory_bytes
from charrnn.text.document_text import text_of_json
from charrnn.text.file_kinds import DAMAGED, Kind, why_protected
from charrnn.text.hidden import without_hidden

MOST_SECONDS, SECONDS_PER_MB = 60, 240
"""Seconds after which pandoc is stopped, and those for each megabyte of the document."""
MAX_TEXT, MAX_GROWTH = 16 * 1024 * 1024, 20
"""A text that is larger than the first and than so many times its document is refused."""
MAX_PANDOC = 2 << 30
"""Bytes of memory that pandoc takes, at most; half of the machine's if that is less."""
_STAND_IN = re.compile(rb"(\\u-?\d+(?!\d) ?)[^\\{}\s]")
"""A character of RTF by its number, and the one that old programs show in its place."""
_PROGRAM = """
while true do
  local head = io.read("l")
  if head == nil then break end
  local format, size = head:match("(%S+) (%d+)")
  local content = io.read(tonumber(size)) or ""
  local warnings, is_read, result = pandoc.log.silence(pcall, function()
    return pandoc.write(pandoc.read(content, format, nil, {}), "json")
  end)
  if is_read and format == "rtf" and #warnings > 0 then
    is_read, result = false, "it has letters of an unknown code page"
  end
  result = tostring(result)
  io.stdout:write(is_read and "read" or "failed", " ", #result, "\\n", result)
  io.stdout:flush()
end
"""
"""What pandoc runs: it reads formats and documents, and writes their JSON. The empty list of files
lets a document read no file of this machine."""
_MOST_SAID = 10_000
"""Bytes of what pandoc says that are read, at most."""
REMEDY = "save it as plain text (UTF-8) in the program that made it"
"""What one can do with a document that is not read."""


class DocumentTexts:
    """The texts of documents, by the digest of each: those that a run has kept, and those that
    pandoc has read."""

    def __init__(self, kept: dict[str, str] | None = None) -> None:
        self.texts: dict[str, str] = dict(kept or {})
        """The text of each document by its digest."""

    def read(self, label: str, data: bytes, kind: Kind) -> str:
        """Return the text of a document (text formats in UTF-8), one line for each paragraph.

        Raises UsageError if pandoc is missing, DataError if it cannot read the document.
        """
        # The same bytes may be read as another format.
        digest = f"{hashlib.sha256(data).hexdigest()}-{kind.format}"
        if digest not in self.texts:
            self.texts[digest] = _read_anew(label, data, kind)
        return self.texts[digest]


def _program(label: str, kind: Kind) -> str:
    try:
        import pypandoc  # type: ignore[import-untyped]

        program: str = pypandoc.get_pandoc_path()
        return program
    except (ImportError, OSError):
        raise UsageError(
            f"{label} is {kind.what}, which charrnn reads by pandoc, and the extra files is"
            f" missing.\nInstall it: {install_command('files')}\n"
            f"Or {REMEDY}; {named('clean', 'false')} takes every file as it stands, without"
            " documents."
        ) from None


def _read_anew(label: str, data: bytes, kind: Kind) -> str:
    # A long book takes minutes.
    seconds = MOST_SECONDS + SECONDS_PER_MB * len(data) / 1e6
    try:
        # pandoc would say of these that it cannot decode a byte.
        if problem := why_protected(data):
            raise DataError(f"{label} is {kind.what} that {problem}")
        program = _program(label, kind)
        shown = without_hidden(data, kind.format)
        # pandoc 3.9 takes the whole word after the number of a character for what stands in for it.
        if kind.format == "rtf" and rb"\uc0" not in data:
            shown = _STAND_IN.sub(rb"\1\\'3f", data)
        content = _process(program).ask(kind.format, shown, seconds=seconds)
        text = text_of_json(content)
    except DAMAGED as error:
        if isinstance(error, OSError):
            _end_process()
        reason = " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__
        raise DataError(
            f"{label} is {kind.what}, but pandoc cannot read it ({reason}): {REMEDY}"
        ) from error
    if len(text) > max(MAX_TEXT, MAX_GROWTH * len(data)):
        raise DataError(
            f"{label} is {kind.what} whose text is {len(text) / len(data):.0f} times as large:"
            f" {REMEDY}"
        )
    return text


class _Pandoc:
    """A process of pandoc, which reads documents until its input ends."""

    def __init__(self, program: str) -> None:
        self.program = program
        # A small document may describe a table of a billion cells.
        memory = memory_bytes()
        most = min(MAX_PANDOC, memory // 2) if memory else MAX_PANDOC
        with tempfile.NamedTemporaryFile("w", suffix=".lua", delete=False) as script:
            script.write(_PROGRAM)
        self._script = Path(script.name)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # `end` closes it.
        # In a session of its own, Ctrl-C does not reach it. It ends with its input, so with us.
        self._process = subprocess.Popen(
            [program, "+RTS", f"-M{most >> 20}M", "-RTS", "lua", script.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )

    def ask(self, format: str, content: bytes, *, seconds: float) -> bytes:
        """Return the JSON of a document. Raises ValueError if pandoc cannot read it, OSError if it
        does not answer in time, or ends."""
        source = self._process.stdin
        answer = self._process.stdout
        assert source is not None and answer is not None
        started = time.monotonic()
        # A document that hangs takes the process with it.
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                source.write(f"{format} {len(content)}\n".encode() + content)
                source.flush()
            # The answer begins with a line: whether the document was read, and how long it is.
            state, _, size = answer.readline().partition(b" ")
            result = answer.read(int(size or 0))
        finally:
            timer.cancel()

        if not size or len(result) < int(size):
            if time.monotonic() - started >= seconds:
                raise OSError(f"it has not been read in {seconds:.3g} seconds")
            self._said.seek(0)
            said = self._said.read(_MOST_SAID).decode("utf-8", "replace")
            raise OSError(said or "it has ended")
        if state != b"read":
            raise ValueError(result.decode("utf-8", "replace"))
        return result

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()
        self._script.unlink(missing_ok=True)


_running: list[_Pandoc] = []


def _process(program: str) -> _Pandoc:
    """Return the process that reads documents, which is started once."""
    if _running and _running[0].program != program:
        _end_process()
    if not _running:
        _running.append(_Pandoc(program))
        atexit.register(_end_process)
    return _running[0]


def _end_process() -> None:
    # A document that hangs takes its process with it; the next one starts another.
    while _running:
        _running.pop().end()
