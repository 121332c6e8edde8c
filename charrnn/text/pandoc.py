"""Read .docx, .epub, .html and other files by pandoc, which the extra `files` installs.

`file_kinds` recognises them, `hidden` leaves out what nobody sees in them, and `pandoc_text` writes
the text of the JSON that pandoc makes of them.
"""

import hashlib
import io
import re
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import BinaryIO

from charrnn.errors import DataError, UsageError, install_command, named
from charrnn.system.process import memory_bytes
from charrnn.text.archives import without_media
from charrnn.text.file_kinds import DAMAGED, Kind, why_protected
from charrnn.text.hidden import without_hidden
from charrnn.text.pandoc_text import text_of_json

MOST_SECONDS, SECONDS_PER_MB = 60, 240
"""Seconds after which pandoc is stopped, and those for each megabyte of the document: other
programs may keep the processor busy."""
CPU_SECONDS, CPU_SECONDS_PER_MB = 10, 20
"""Seconds of processor time after which pandoc is stopped, where the system can: novels take up to
6 for each megabyte."""
LEAST_HEAP, HEAP_PER_BYTE = 192 << 20, 240
"""Bytes of pandoc's heap, and those for each byte of the document: novels need up to 180."""
MAX_PANDOC = 2 << 30
"""Bytes of the heap at most; half of the machine's memory if that is less."""
LEAST_JSON, JSON_PER_BYTE = 8 << 20, 20
"""Bytes that pandoc writes at most, and those for each byte of the document: words of one letter
need 17."""
MAX_TEXT, MAX_GROWTH = 1 << 24, 20
"""A text of more characters than the first is refused if it is also this many times as large as its
document: a few bytes may describe a table of a billion cells."""
_FORMATS = {"ipynb": "ipynb+markdown_in_html_blocks+native_divs"}
"""Formats of which pandoc reads more with extensions."""
_UNTITLED = re.compile(r"^Slide \d+\n+", re.MULTILINE)
"""What pandoc writes in the place of the title of a slide that has none."""
_BLOCK = 1 << 20
REMEDY = "save it as plain text (UTF-8) in the program that made it"
"""What one can do with a document that is not read."""


def pandoc_digest(file: BinaryIO, kind: Kind) -> str:
    """Return what tells a file for pandoc apart from others: its SHA-256 and its format.

    The text of the file is kept under it, so that pandoc reads it once.
    """
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK):
        digest.update(block)
    # The same bytes may be read as another format.
    return f"{digest.hexdigest()}-{kind.format}"


def read_by_pandoc(label: str, file: BinaryIO, kind: Kind) -> str:
    """Return the text of a Word document, an e-book, a page or another file of a kind (a kind of
    text in UTF-8), one line for each paragraph.

    It takes seconds for a book: look up `pandoc_digest` among the texts that are known before.
    Raises UsageError if pandoc is missing, DataError if it cannot read the file.
    """
    try:
        file.seek(0)
        if file.read(2) == b"PK":
            data = without_media(label, file)
        else:
            file.seek(0)
            data = file.read()
        # pandoc would say of these that it cannot decode a byte.
        if problem := why_protected(data):
            raise DataError(f"{label} is {kind.what} that {problem}")
        program = _program(label, kind)
        content = _json_of(data, format=kind.format, program=program)
        text = text_of_json(content, format=kind.format)
        if kind.format == "pptx":
            text = _UNTITLED.sub("", text)
        if len(text) > max(MAX_TEXT, MAX_GROWTH * len(data)):
            raise ValueError(f"its text is {len(text) / len(data):.0f} times as large")
    except (*DAMAGED, subprocess.TimeoutExpired) as error:
        reason = " ".join(str(error).split("\n")[0].split())[:200]
        if isinstance(error, subprocess.TimeoutExpired):
            reason = f"not in {error.timeout:.3g} seconds"
        raise DataError(
            f"{label} is {kind.what}, but pandoc cannot read it ({reason or type(error).__name__}):"
            f" {REMEDY}"
        ) from error
    return text


def _program(label: str, kind: Kind) -> str:
    try:
        import pypandoc  # type: ignore[import-untyped]

        return str(pypandoc.get_pandoc_path())
    except (ImportError, OSError):
        raise UsageError(
            f"{label} is {kind.what}, which charrnn reads by pandoc, and the extra files is"
            f" missing.\nInstall it: {install_command()}\n"
            f"Or {REMEDY}; {named('clean', 'false')} takes every file as it stands, without"
            " documents."
        ) from None


def _json_of(data: bytes, format: str, program: str) -> bytes:
    """Return what pandoc reads in a document, as JSON. Raises one of `DAMAGED` if it cannot read
    it, TimeoutExpired if it takes too long."""
    # A small document may describe a table of a billion cells.
    num_bytes = len(data)
    memory = min(MAX_PANDOC, (memory_bytes() or 2 * MAX_PANDOC) // 2)
    memory = min(memory, LEAST_HEAP + HEAP_PER_BYTE * num_bytes)
    # It reads no other file of this machine.
    command = [
        program,
        "+RTS",
        f"-M{memory >> 20}M",
        "-RTS",
        "--sandbox",
        f"--from={_FORMATS.get(format, format)}",
    ]
    # Letters of a code page that it does not know would be left out with a warning.
    if format == "rtf":
        command.append("--fail-if-warnings")
    # A long book takes minutes. In a session of its own, Ctrl-C does not reach it.
    with (
        tempfile.TemporaryFile() as written,
        subprocess.Popen(
            [*command, "--to=json"],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        cpu_seconds = int(CPU_SECONDS + CPU_SECONDS_PER_MB * num_bytes / 1e6)
        most_written = LEAST_JSON + JSON_PER_BYTE * num_bytes
        _limit(process.pid, cpu_seconds=cpu_seconds, num_bytes=most_written)
        try:
            _, problem = process.communicate(
                without_hidden(data, format),
                timeout=MOST_SECONDS + SECONDS_PER_MB * num_bytes / 1e6,
            )
        except BaseException:
            process.kill()
            raise
        if -process.returncode == getattr(signal, "SIGXCPU", None):
            raise subprocess.TimeoutExpired(command, cpu_seconds)
        size = written.seek(0, io.SEEK_END)
        if size >= most_written:
            raise ValueError(f"what it makes of {num_bytes / 1e6:.3g} MB is {size / 1e6:.3g} MB")
        if process.returncode:
            raise ValueError(problem.decode("utf-8", "replace"))
        written.seek(0)
        return written.read()


def _limit(process: int, *, cpu_seconds: int, num_bytes: int) -> None:
    """Limit the processor time of a process, and the size of the files that it writes, where the
    system can."""
    # Other systems than Linux lack the function, and a process may have ended.
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        limits = {resource.RLIMIT_CPU: cpu_seconds, resource.RLIMIT_FSIZE: num_bytes}
        for kind, most in limits.items():
            _, hard = resource.prlimit(process, kind)
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            resource.prlimit(process, kind, (most, hard))
