"""Reads and saves the file of a text that is being edited: every character stays as its author wrote it.

A save is atomic, and refuses to replace a file that something else changed.
"""

import codecs
import contextlib
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from charrnn.errors import CharRNNError, DataError, counted, named
from charrnn.files import convert_os_errors, replacing, write_synced

MAX_DRAFT_BYTES = 4 * 1024 * 1024
"""Size of a draft at most: as long as War and Peace, and short enough that a key is handled in half a second."""
MAX_LINE_CHARS = 50_000
"""Characters of a line at most: the time for a key grows with the length of the lines in view."""
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
"""Characters with which a file would not be read as text again."""
_WIDE_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_ARCHIVE = b"PK\x03\x04"
"""First bytes of a ZIP archive, which the files of word processors are."""
_RECOVERED = ".charrnn-recovered"
"""End of the name of a file with text that was not saved."""
_ELSEWHERE = "charrnn-recovered-"
"""Start of its name in a folder that is not the draft's; a digest of the draft's path follows."""
_DIGITS = 16
"""Hexadecimal digits of that digest."""


class ChangedOnDiskError(CharRNNError):
    """The file that a draft would replace is not the one that was read or saved last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFormat:
    """What belongs to a file and not to its text."""

    newline: str = "\n"
    """The line end, if all are the same; else "\\n", and each carriage return is a character of the text."""
    has_mark: bool = False
    """Whether the file begins with a byte-order mark."""

    def encode(self, text: str) -> bytes:
        """Return the content of the file for a text whose lines end with "\\n"."""
        mark = codecs.BOM_UTF8 if self.has_mark else b""
        return mark + text.replace("\n", self.newline).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """The text of a file, whose lines end with "\\n", and how it is written."""

    text: str = field(default="", repr=False)
    format: FileFormat = FileFormat()
    digest: str | None = None
    """SHA-256 of the file; None if there is none yet."""


def read_draft(path: Path) -> Draft:
    """Read a draft; an empty one if there is no such file yet.

    Raises DataError for a folder, a device, a file that cannot be read, is too large or is not text, and for a new file
    in a folder that is missing.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        if os.path.lexists(path):
            raise DataError(f"{path} is a link to a file that does not exist: give another file") from None
        if not path.parent.is_dir():
            raise DataError(
                f"{path}: the folder {path.parent} does not exist: create it, or give another file"
            ) from None
        return Draft()
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}. Give a text file.") from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path} is a folder: give a text file. A model is named by {named('run')}.")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is not a regular file: give a text file")
    _check_size(path, status.st_size)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Give a text file.") from None
    return _decode(path, data)


def _decode(path: Path, data: bytes) -> Draft:
    wide = next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), None)
    if wide:
        raise DataError(f"{path} is not UTF-8 but {wide.upper()}: convert it: iconv -f {wide} -t utf-8 FILE > NEW.txt")
    if data.startswith(_ARCHIVE):
        raise DataError(f"{path} is an archive, as word processors save: save it there as plain text (UTF-8)")
    if b"\0" in data:
        raise DataError(f"{path} is not text: byte {data.index(0):,} is NUL. Give a text file.")
    has_mark = data.startswith(codecs.BOM_UTF8)
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start:,}. "
            "Convert it: iconv -f cp1252 -t utf-8 FILE > NEW.txt"
        ) from None
    newline = _newline_of(text)
    text = text.replace(newline, "\n")
    check_lines(path, text)
    return Draft(
        text=text,
        format=FileFormat(newline=newline, has_mark=has_mark),
        digest=sha256(data).hexdigest(),
    )


def check_saved(path: Path, text: str) -> None:
    """Raise DataError, naming the file without its folder, if a text that was saved is too long to be opened again."""
    _check_size(Path(path.name), path.stat().st_size)
    check_lines(Path(path.name), text)


def _check_size(path: Path, num_bytes: int) -> None:
    if num_bytes > MAX_DRAFT_BYTES:
        raise DataError(
            f"{path} has {counted(num_bytes, 'byte')}; a draft has at most {MAX_DRAFT_BYTES:,}: "
            "give a part of it, such as a chapter"
        )


def check_lines(path: Path, text: str) -> None:
    """Raise DataError if a line of the text of a file is too long to be edited."""
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE_CHARS:
            raise DataError(
                f"{path}: line {number:,} has {len(line):,} characters; a line has at most {MAX_LINE_CHARS:,}: "
                "break it: fold -s FILE > NEW.txt"
            )


def _newline_of(text: str) -> str:
    """Return the line end, if all are the same; else "\\n"."""
    num_returns, num_both, num_feeds = text.count("\r"), text.count("\r\n"), text.count("\n")
    if num_both and num_returns == num_both == num_feeds:
        return "\r\n"
    return "\r" if num_returns and not num_feeds else "\n"


def save_draft(path: Path, text: str, format: FileFormat, *, known: str | None, overwrite: bool = False) -> str:
    """Write a draft and return the digest of the file; the file is the old one or the new one, never a part.

    A link stays a link, and owner, group, permissions and extended attributes stay as they were, as far as the system
    allows. Raises ChangedOnDiskError if the file's digest is not `known`, which is None where there should be no file,
    unless `overwrite`; DataError for characters that no text file contains; CharRNNError if it cannot be written.
    """
    if found := _UNREADABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        what = "NUL" if found[0] == "\0" else f"the lone surrogate U+{ord(found[0]):X}"
        raise DataError(
            f"cannot write {path}: character {found.start() + 1:,}, in line {line:,}, is {what}, "
            "which a text file cannot contain: delete it"
        )
    data = format.encode(text)
    target = Path(os.path.realpath(path))
    with convert_os_errors("write", path, num_bytes=len(data)):
        status = _status_of(path, target)
        if status is not None and not overwrite and sha256(target.read_bytes()).hexdigest() != known:
            raise ChangedOnDiskError(f"{path} {'exists already' if known is None else 'has changed on disk'}")
        with replacing(target) as temporary:
            # Others may not be allowed to read the text, not even until the permissions are those of the draft.
            write_synced(temporary, data, mode=None if status is None else status.st_mode & 0o777 | 0o600)
            if status is not None:
                _keep_attributes(target, status, temporary)
    return sha256(data).hexdigest()


def _keep_attributes(old: Path, status: os.stat_result, new: Path) -> None:
    """Give a new file what belongs to the old one: owner, group, permissions, extended attributes. Raises OSError."""
    written = new.stat()
    is_same_owner = _try_chown(new, status.st_uid, -1) if written.st_uid != status.st_uid else True
    is_same_group = _try_chown(new, -1, status.st_gid) if written.st_gid != status.st_gid else True
    with contextlib.suppress(OSError):  # a text is saved without attributes rather than not at all
        shutil.copystat(old, new)
    os.utime(new, ns=(written.st_atime_ns, written.st_mtime_ns))
    mode = stat.S_IMODE(status.st_mode)
    if not is_same_owner:
        mode &= ~stat.S_ISUID
    if not is_same_group:
        # What the old group may do, another one may do only if everybody may.
        mode &= ~stat.S_ISGID & (~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3)
    new.chmod(mode)


def _try_chown(path: Path, owner: int, group: int) -> bool:
    # Whoever may write to the folder may replace the file of another owner, but only root may give it to them.
    try:
        os.chown(path, owner, group)
    except OSError:
        return False
    return True


def _status_of(path: Path, target: Path) -> os.stat_result | None:
    """Return the status of a file, None if there is none. Raises CharRNNError if it cannot be replaced."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise CharRNNError(f"cannot write {path}: it is {'a folder' if target.is_dir() else 'not a regular file'}")
    if not os.access(target, os.W_OK):
        raise CharRNNError(f"cannot write {path}: it is read-only")
    return status


def recovery_files(path: Path | None) -> list[Path]:
    """Return the files of `write_recovery` for a draft, or for drafts without a name, the newest first.

    In a folder that others may write to, only the user's own files count.
    """
    beside = _beside(path)
    ages: dict[Path, tuple[int, str]] = {}
    for begin in (beside, *_elsewhere(path)):
        with contextlib.suppress(OSError):
            for one in begin.parent.iterdir():
                if one.name.startswith(begin.name) and _is_regular(one.lstat(), only_own=begin != beside):
                    ages[one] = one.lstat().st_mtime_ns, one.name
    return sorted(ages, key=lambda one: ages[one], reverse=True)


def _is_regular(status: os.stat_result, *, only_own: bool) -> bool:
    # Windows has no geteuid, and its folder of temporary files belongs to the user.
    is_own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return stat.S_ISREG(status.st_mode) and (is_own or not only_own)


def read_recovery(path: Path, format: FileFormat) -> str:
    """Read the text of a file of `write_recovery` for a draft of this format, with line ends "\\n".

    It may have any size, and any characters that were in the editor: NUL and lone surrogates, too. Raises DataError if
    it cannot be read.
    """
    try:
        data = path.read_bytes()
        text = data.removeprefix(codecs.BOM_UTF8 if format.has_mark else b"").decode("utf-8", "surrogatepass")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. It stays where it is.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"cannot read {path}: {error.reason} at byte {error.start:,}; the editor did not write it. "
            "It stays where it is."
        ) from None
    return text.replace(format.newline, "\n")


def write_recovery(path: Path | None, text: str, format: FileFormat) -> Path:
    """Write text that was not saved to a new hidden file beside the draft, and return its path.

    A draft without a name has it in the current folder. Where that cannot be written, the text is put in the home
    folder or among the temporary files. Only its owner may read it. Raises CharRNNError if none of them works.
    """
    data = format.encode(text)
    parts: list[Path] = []
    try:
        return _write_numbered(_beside(path), data, parts)
    except CharRNNError:
        for other in _elsewhere(path):
            with contextlib.suppress(CharRNNError):
                target = _write_numbered(other, data, parts)
                for part in parts:
                    with contextlib.suppress(OSError):
                        part.unlink()
                return target
        raise


def _write_numbered(path: Path, data: bytes, parts: list[Path]) -> Path:
    """Write a new file of this name, or with the first number after it that is free.

    Raises CharRNNError; what may be left of the file then is added to `parts`.
    """
    target, number = path, 1
    while True:
        try:
            with convert_os_errors("write", target):
                write_synced(target, data, mode=0o600)
        except CharRNNError as error:
            if not isinstance(error.__cause__, FileExistsError):
                parts.append(target)
                raise
            number += 1
            target = path.with_name(f"{path.name}-{number}")
        else:
            return target


def _beside(path: Path | None) -> Path:
    """Return the first name of a recovery file beside a draft."""
    named = Path("unnamed") if path is None else path
    return named.with_name(f".{named.name}{_RECOVERED}")


def _elsewhere(path: Path | None) -> list[Path]:
    """Return the first name of a draft's recovery file in the home folder and among the temporary files."""
    place = os.path.abspath("unnamed" if path is None else path)
    name = _ELSEWHERE + sha256(os.fsencode(place)).hexdigest()[:_DIGITS]
    folders = []
    for find in (Path.home, tempfile.gettempdir):
        # RuntimeError: there is no home folder
        with contextlib.suppress(OSError, RuntimeError):
            folders.append(Path(find()))
    return [folder / name for folder in folders]
