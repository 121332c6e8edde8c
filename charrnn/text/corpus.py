"""Reads the sources of a corpus and joins them into one text."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from charrnn.errors import DataError, NotHereError, TooLargeError, UsageError, counted
from charrnn.text.files import BYTE_ORDER_MARK, MemoryLimit, as_utf8, read_file, read_stream, title
from charrnn.text.order import SHUFFLED, Order
from charrnn.text.sources import Origin, find_origin, standard_library

MIN_LENGTH = 16
"""The fewest characters (bytes) that a model can be trained on."""

_MAX_NAME_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text to train on. `content` is str, or the raw bytes for the byte alphabet."""

    name: str
    """Short name for the run folder: at most 40 of the characters [a-z0-9._-]."""
    content: str | bytes = field(repr=False)
    sources: tuple[str, ...]
    """A display name for each source."""
    locations: tuple[str | None, ...] = ()
    """The location of each source: absolute path of a file or folder, or absolute pattern; None for a stream. Without
    any source, the folder of the standard library."""
    notes: tuple[str, ...] = ()
    """What was left out or changed while reading, one sentence each."""
    digest: str = field(init=False)
    """SHA-256, in hexadecimal, of the content (of its UTF-8 if it is text)."""

    def __post_init__(self) -> None:
        content = self.content
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        object.__setattr__(self, "digest", hashlib.sha256(data).hexdigest())


def read_corpus(
    sources: Sequence[str],
    *,
    alphabet: str = "char",
    encoding: str = "utf-8",
    order: Order = SHUFFLED,
    stdin: BinaryIO | None = None,
    corpora_dir: Path = Path("corpora"),
    on_download: Callable[[int, int], None] | None = None,
    is_for_training: bool = True,
) -> Corpus:
    """Read the sources, in order, into one corpus; without any, the source code of Python's standard library.

    A source is one of:

    - "-": `stdin`, by default standard input;
    - a file, decompressed if it is named .gz;
    - a folder: all files below it, in the given `order`, without hidden files and run folders;
    - a glob pattern: all files that it matches, in the given `order`;
    - a name, which is looked up as a path, in `corpora_dir`, in the folders of $CHARRNN_CORPORA (each also with .txt
      appended) and in the catalogue, whose text is downloaded into `corpora_dir` (`on_download` gets the bytes so far
      and the total).

    The alphabet "char" decodes text in `encoding`, refuses NUL characters, removes byte-order marks, replaces CRLF by
    LF and starts each file on a new line; "byte" keeps the bytes as they are. Unusable files of folders and patterns
    are skipped and counted in `notes`; a file that is a source itself must be usable.

    Raises DataError if a source cannot be found, read or used, if all sources together are too large for this machine's
    memory, or, if `is_for_training`, shorter than `MIN_LENGTH` or one character repeated; UsageError for an unknown
    alphabet or for "-" given twice.
    """
    if alphabet not in ("char", "byte"):
        raise UsageError(f"alphabet must be char or byte, not {alphabet!r}")
    if sources.count("-") > 1:
        raise UsageError("standard input (-) can be read only once: give - once")
    origins = [
        find_origin(
            source,
            stdin=stdin,
            corpora_dir=corpora_dir,
            on_download=on_download,
            is_named_by_run=False,
            order=order,
        )
        for source in sources
    ]
    corpus = read_origins(origins or [standard_library(order)], alphabet=alphabet, encoding=encoding)
    if is_for_training:
        _check_can_be_learned(corpus.content, _all_of(corpus.sources))
    return corpus


def read_origins(origins: Sequence[Origin], *, alphabet: str, encoding: str) -> Corpus:
    """Read sources that were found into one corpus. Raises DataError if one cannot be used or all are too large."""
    labels = tuple(origin.label for origin in origins)
    notes: list[str] = []
    encoding_of_text = None if alphabet == "byte" else encoding
    limit = MemoryLimit(_all_of(labels))
    limit.check_files([(path, origin.skips_unusable) for origin in origins for path in origin.paths], encoding_of_text)
    files = [data for origin in origins for data in _usable_files(origin, encoding_of_text, notes, limit)]
    content: str | bytes = b"".join(files) if alphabet == "byte" else _join_on_new_lines(files).decode("utf-8")
    return Corpus(
        name=_name([name for origin in origins for name in origin.names]),
        content=content,
        sources=labels,
        locations=tuple(origin.location for origin in origins),
        notes=tuple(notes),
    )


def _usable_files(origin: Origin, encoding: str | None, notes: list[str], limit: MemoryLimit) -> list[bytes]:
    """Read the files of a source as UTF-8 with LF (unchanged, if `encoding` is None); add to `notes` and to `limit`.

    Raises DataError if a file that must be usable, or every file, is not; TooLargeError if they exceed the limit;
    NotHereError for a folder without any file.
    """
    usable: list[bytes] = []
    num_skipped = num_marks = num_line_ends = 0
    for label, read in _readers(origin, encoding, limit):
        try:
            data, fault = as_utf8(read(), encoding)
            if fault is not None:
                raise DataError(f"{label} {fault}")
        except TooLargeError:
            raise
        except DataError:
            if not origin.skips_unusable:
                raise
            num_skipped += 1
            continue
        if encoding is not None:
            num_marks += data.startswith(BYTE_ORDER_MARK)
            num_line_ends += data.count(b"\r\n")
            data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
        limit.add(len(data))
        usable.append(data)
    unfit = "empty or unreadable" if encoding is None else f"empty, unreadable or not {title(encoding)} text"
    skipped = [f"{counted(num_skipped, 'file')} that {'is' if num_skipped == 1 else 'are'} {unfit}"] * bool(num_skipped)
    skipped += [counted(origin.num_hidden, "hidden name")] * bool(origin.num_hidden)
    skipped += [counted(origin.num_runs, "run")] * bool(origin.num_runs)
    if not usable:
        if not skipped:
            raise NotHereError(origin.label, f"{origin.label} is an empty folder: give one with text files")
        raise DataError(
            f"{origin.label} has no file to learn from (skipped: {' and '.join(skipped)}): give one with text"
        )
    if skipped:
        notes.append(f"skipped {' and '.join(skipped)} in {origin.label}")
    if origin.is_shuffled and len(usable) > 1:
        notes.append(f"shuffled the {len(usable):,} files of {origin.label}: the validation text comes from all of it")
    if num_marks:
        marks = "a byte-order mark" if num_marks == 1 else f"{num_marks} byte-order marks"
        notes.append(f"removed {marks} from {origin.label}")
    if num_line_ends:
        notes.append(f"turned {counted(num_line_ends, 'CRLF line end')} of {origin.label} into LF")
    return usable


def _readers(origin: Origin, encoding: str | None, limit: MemoryLimit) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield each file's label and a function that reads its bytes, which raises DataError if it cannot."""
    if origin.stream is not None:
        yield origin.label, partial(read_stream, origin.label, origin.stream, limit)
    for path in origin.paths:
        yield str(path), partial(read_file, path, encoding, limit, needs_regular=origin.needs_regular)


def _join_on_new_lines(files: list[bytes]) -> bytes:
    ended = (data if data.endswith(b"\n") else data + b"\n" for data in files[:-1])
    return b"".join((*ended, files[-1]))


def _check_can_be_learned(content: str | bytes, what: str) -> None:
    unit = "character" if isinstance(content, str) else "byte"
    if len(content) < MIN_LENGTH:
        raise DataError(
            f"{what}: {counted(len(content), unit)} cannot be learned from; at least {MIN_LENGTH} are needed"
        )
    if _is_one_repeated(content):
        raise DataError(f"{what}: it has only one {unit}, {content[:1]!r}; at least 2 different ones are needed")


def _all_of(labels: tuple[str, ...]) -> str:
    return labels[0] if len(labels) == 1 else f"the {len(labels)} sources together"


def _is_one_repeated(content: str | bytes) -> bool:
    # Not set(), which creates an object for every character.
    return content.count(content[:1]) == len(content)  # type: ignore[arg-type]


def _name(stems: list[str]) -> str:
    """Return the name of the corpus: that of its first part and the number of further parts."""
    suffix = f"-and-{len(stems) - 1}-more" if len(stems) > 1 else ""
    # Decomposed, so that é becomes e and not a dash.
    plain = unicodedata.normalize("NFKD", stems[0]).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9._-]+", "-", plain).strip(".-")
    return (slug[: _MAX_NAME_LENGTH - len(suffix)].rstrip(".-") or "text") + suffix
