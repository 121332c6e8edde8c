"""Read and save the file of a text that is being edited; every character stays as it was written.

A save is atomic, and refuses to replace a file that another program has changed.
"""

import contextlib
import itertools
import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from charrnn.errors import CharRNNError, DataError, UsageError, counted, named
from charrnn.generation.continuations import Continuation
from charrnn.runs.targets import check_spared
from charrnn.system.files import (
    behind_links,
    convert_os_errors,
    encode_text,
    replacing,
    write_synced,
)
from charrnn.views.theme import all_visible

MAX_DRAFT_BYTES = 4 * 1024 * 1024
"""The maximum size of a draft: as long as War and Peace, and short enough that a key is handled in
half a second."""
MAX_LINE_CHARS = 50_000
"""The maximum length of a line: the time for a key grows with the length of the lines in view."""
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that a text file must not contain: `read_draft` would refuse the file."""


class ChangedOnDiskError(CharRNNError):
    """Another program has changed or created the file that a save would replace."""


@dataclass
class Draft:
    """The text of a file when it was read or saved last; its lines end with "\\n"."""

    path: Path | None = None
    text: str = field(default="", repr=False)
    newline: str = "\n"
    """The line end of the file if all its line ends are the same, else "\\n"; then a carriage
    return is a character of the text."""
    digest: str | None = None
    """SHA-256 of the file; None if it does not exist yet."""

    def save(self, text: str, path: Path | None = None, *, overwrite: bool = False) -> None:
        """Save a text atomically. If `path` is given, it becomes the file of the draft.

        A link stays a link, and the permissions stay as they were. Raises ChangedOnDiskError if
        another program has changed or created the file and `overwrite` is False, DataError for
        characters that no text file contains, UsageError if `path` is a text of a run or a file
        inside a run, CharRNNError if the file cannot be written.
        """
        target = path or self.path
        assert target is not None, "whoever saves has asked for a name"

        # A file that `read_draft` would refuse is not written.
        content = text.replace("\n", self.newline)
        unreadable = _UNREADABLE.search(content)
        if unreadable:
            line = content.count("\n", 0, unreadable.start()) + 1
            problem = f"line {line:,} has U+{ord(unreadable[0]):04X}, which no text file has"
            raise DataError(f"cannot write {target}: {problem}: delete it")

        data = content.encode("utf-8")
        file = behind_links(target)
        with convert_os_errors("write", path=target, num_bytes=len(data)):
            status = _status_of(target, file)
            if status is not None and target != self.path:
                check_spared(target, remedy="F5 saves under another name")
            if status is not None and not overwrite:
                self._check_unchanged(target, file)

            with replacing(file) as temporary:
                if status is None:
                    write_synced(temporary, data)
                else:
                    # Users who may not read the draft may not read the temporary file either, not
                    # even before it has the permissions of the draft.
                    permissions = status.st_mode & 0o777
                    write_synced(temporary, data=data, mode=permissions | 0o600)
                    temporary.chmod(permissions)

        # The draft is changed only now, so that it counts as unsaved after an error.
        self.digest = sha256(data).hexdigest()
        self.path = target
        self.text = text

    def rescue(self, text: str) -> Path:
        """Write an unsaved text to a new file beside the draft, and return the path of the new
        file.

        Only its owner can read it. Raises CharRNNError if it cannot be written.
        """
        beside = self.path or Path("draft.txt")
        for number in itertools.count(1):
            path = beside.with_name(f"{beside.name}.unsaved-{number}")
            with convert_os_errors("write", path=path), contextlib.suppress(FileExistsError):
                write_synced(path, encode_text(text.replace("\n", self.newline)), mode=0o600)
                break
        return path

    def _check_unchanged(self, target: Path, file: Path) -> None:
        # The name is new, or the file has appeared since the draft was begun.
        if target != self.path or self.digest is None:
            raise ChangedOnDiskError(f"{target} exists already")
        if sha256(file.read_bytes()).hexdigest() != self.digest:
            raise ChangedOnDiskError(f"{target} has changed on disk")


def read_draft(path: Path) -> Draft:
    """Read a draft; if the file does not exist yet, the draft is empty.

    Raises DataError for a folder, a device, a file that cannot be read, is too large or is not
    text, and for a new file in a folder that is missing.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.parent.is_dir():
            return Draft(path)
        raise DataError(
            f"{path}: the folder {path.parent} does not exist: create it, or give another file"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        raise DataError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}. Give a text file."
        ) from None

    # The kind of the file is checked before it is read: reading a device may never end.
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            f"{path} is a folder: give a text file. A model is named by {named('run')}."
        )
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is not a regular file: give a text file")
    if status.st_size > MAX_DRAFT_BYTES:
        raise DataError(
            f"{path} has {counted(status.st_size, 'byte')}; a draft has at most"
            f" {MAX_DRAFT_BYTES:,}: give a part of it, such as a chapter"
        )

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Give a text file.") from None
    return _decode(path, data)


def _decode(path: Path, data: bytes) -> Draft:
    if b"\0" in data:
        raise DataError(
            f"{path} is not text: byte {data.index(0):,} is NUL. Save it as plain text (UTF-8)."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start:,}. "
            "Convert it: iconv -f cp1252 -t utf-8 FILE > NEW.txt"
        ) from None

    # The editor has only one kind of line end; a save restores the line ends of the file.
    newline = _line_end_of(text)
    text = text.replace(newline, "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE_CHARS:
            raise DataError(
                f"{path}: line {number:,} has {len(line):,} characters; a line has at most"
                f" {MAX_LINE_CHARS:,}: break it: fold -s FILE > NEW.txt"
            )
    return Draft(path, text=text, newline=newline, digest=sha256(data).hexdigest())


def _line_end_of(text: str) -> str:
    """Return the line end of a text if all are the same, else a newline."""
    # Old Mac files end lines with CR alone, Windows files with CR and LF.
    num_returns = text.count("\r")
    num_newlines = text.count("\n")
    if num_returns and num_newlines == 0:
        return "\r"
    if num_returns and num_returns == num_newlines == text.count("\r\n"):
        return "\r\n"
    return "\n"


def _status_of(path: Path, target: Path) -> os.stat_result | None:
    """Return the status of the file `target`, None if it does not exist. Raises CharRNNError, which
    names `path`, if the file cannot be replaced."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None

    # The operating system would refuse a special file with a less clear message, and would not
    # refuse to replace a read-only file in a writable folder.
    if not stat.S_ISREG(status.st_mode):
        raise CharRNNError(f"cannot write {path}: it is not a regular file")
    if not os.access(target, os.W_OK):
        raise CharRNNError(f"cannot write {path}: it is read-only")
    return status


_LISTED = 12
"""The maximum number of substitutions that are listed."""


def describe_reading(substitutions: Mapping[str, str], name: str) -> str:
    """Return one line that lists the characters that a model does not know, and the text that it
    reads instead of each; "" if there are none.

    The substitutions explain odd continuations.
    """
    listed = []
    for char, replacement in substitutions.items():
        description = _shown(char)
        if replacement == "":
            description += " (left out)"
        elif replacement != char:
            description += f" (read as {_shown(replacement)})"
        listed.append(description)

    if not listed:
        return ""
    if len(listed) > _LISTED:
        listed = [*listed[:_LISTED], "…"]
    return f"not in the vocabulary of {name}: {', '.join(listed)}"


def _shown(text: str) -> str:
    """Return a visible text as it is, and the Unicode names of white or invisible characters."""
    if any(char.isprintable() and not char.isspace() for char in text):
        return all_visible(text)
    return ", ".join(unicodedata.name(char, repr(char)).lower() for char in text)


def shown_continuation(continuation: Continuation) -> str:
    """Return the text of a continuation in one line: spaces at its ends are shown as ␣, and … marks
    a text that was cut."""
    # A space at the end shows that the next letters begin a new word.
    text = re.sub(r"\A +| +\Z", lambda spaces: "␣" * len(spaces[0]), all_visible(continuation.text))
    if not continuation.is_complete:
        text += "…"
    return text


def parse_path(name: str) -> Path:
    """Return the path of a file whose name was typed; ~ is the home folder. Raises UsageError if it
    cannot be the name of a file."""
    if not name.strip() or "\0" in name:
        raise UsageError("Write the name of a file.")
    try:
        path = Path(name.strip()).expanduser()
        is_folder = path.is_dir()
    # RuntimeError: the user has no home folder.
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"That name cannot be used: {reason}. Write another one.") from None
    if is_folder:
        raise UsageError(f"{path} is a folder: write the name of a file.")
    return path
