"""charrnn compress and decompress: files of a model's code lengths, which open on every machine."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from charrnn.cli.arguments import load_model
from charrnn.cli.command_options import ReplacingOptions
from charrnn.cli.streams import print_error, print_json, print_path, with_flags, write_aside
from charrnn.config.options import argument, option
from charrnn.errors import CharRNNError, DataError, UsageError, named
from charrnn.runs.targets import Target
from charrnn.system.files import behind_links, convert_os_errors, replacing
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.formats.crnn import container, rows
    from charrnn.text import documents
else:
    container = LazyModule("charrnn.formats.crnn.container")
    rows = LazyModule("charrnn.formats.crnn.rows")
    documents = LazyModule("charrnn.text.documents")

SUFFIX = ".crnn"
"""Suffix of a compressed file."""
STREAM = "-"
"""Name of standard input and output."""


def count_chars(data: bytes) -> int:
    """Count the characters of a part of a text in UTF-8: its bytes that do not continue a
    character."""
    return len(data.translate(None, bytes(range(0x80, 0xC0))))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Convert an OSError, or the ValueError of a name with a null character, into a DataError."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {name}: {reason}.") from error


class _Source:
    """A file that is read, or standard input; it counts its bytes and characters."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file
        self.num_read = 0
        self.num_chars = 0
        self.num_bytes = 0
        """Size of the file; 0 if it is not known."""
        if name != STREAM:
            self.num_bytes = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises DataError."""
        with _reading(self.name):
            data = self._file.read(size)
        # Counted here, because a stream cannot be asked for its size.
        self.num_read += len(data)
        self.num_chars += count_chars(data)
        return data


Converter = Callable[[_Source], Iterator[bytes]]
"""Yields the content of the target of a file, block by block."""


@contextmanager
def _opened(name: str) -> Iterator[_Source]:
    """Open a file, or standard input. Raises DataError."""
    if name == STREAM:
        if sys.stdin is None:
            raise DataError("-: standard input is closed.")
        yield _Source(name, sys.stdin.buffer)
        return
    with ExitStack() as stack:
        with _reading(name):
            file = stack.enter_context(Path(name).open("rb"))
        yield _Source(name, file)


def coder_of(model: Model) -> tuple[rows.RowCoder, bytes]:
    """Return a coder of texts by a model, and the SHA-256 of the model.

    Raises UsageError for a cell type that could compute other numbers on another machine.
    """
    container.check_portable(model.config)

    stepper = model.generator.int8_stepper
    digest = container.digest_of(model.config, vocab=model.vocab, stepper=stepper)
    separator = documents.separator_of(model.config, model.vocab)
    return rows.RowCoder(stepper, vocab=model.vocab, separator=separator), digest


def compressor_of(model: Model, *, with_model: bool) -> Callable[..., Iterator[bytes]]:
    """Return `container.compress` for files of a model; `with_model`, each file includes the model.

    Raises UsageError for a cell type that could compute other numbers on another machine.
    """
    coder, digest = coder_of(model)
    # Without the model, the file is useless to a reader who lacks the run; with the model, small
    # files grow many times.
    packed = b""
    if with_model:
        packed = container.pack_model(model)
    return partial(container.compress, coder, container.Header(digest, model=packed))


def decompress_text(model: Model, data: bytes) -> bytes:
    """Restore the text that `Model.compress` of the same model compressed.

    Raises DataError for damaged data, CheckpointError for data of another model.
    """
    source = io.BytesIO(data)
    name = "the data"
    coder = _coder_for(container.read_header(source, name), model=model, name=name)
    return b"".join(container.decompress(coder, source=source, name=name))


def _coder_for(header: container.Header, model: Model, name: str) -> rows.RowCoder:
    # Checked before anything is decoded, because another model would make another text of the same
    # bytes.
    coder, digest = coder_of(model)
    container.check_model(header, digest=digest, file=name, run=model.name)
    return coder


@dataclass(frozen=True, kw_only=True)
class CompressOptions(ReplacingOptions):
    """The options of `charrnn compress`."""

    words: Sequence[str] = argument("RUN FILE...", "A run, and files; - is a stream.")
    output: str | None = option(
        None,
        flags="--out -o FILE",
        help="Write to FILE; - is standard output.",
        shown_default="the name of each file, and .crnn",
    )
    with_model: bool = option(
        False,
        flags="--with-model",
        help="Include the model, so that nothing else is needed to decompress.",
    )


def compress(options: CompressOptions) -> None:
    """Compress files by a model, so that `charrnn decompress` restores them on every machine, bit
    for bit.

    FILE becomes FILE.crnn. The better the model predicts a text, the smaller the file: it pays for
    many texts of one kind, such as messages, logs or chapters, with a model of that kind. Any file
    can be compressed; what is not in the alphabet of the model takes as much space as before.
    """
    if len(options.words) < 2:
        raise UsageError("compress takes RUN FILE: the run whose model compresses, and a file.")
    run, *names = options.words
    defaults = [STREAM if name == STREAM else f"{name}{SUFFIX}" for name in names]
    files = _files(names, defaults=defaults, options=options, run=run)

    # Always warn if another checkpoint is used in place of a damaged one: only that checkpoint
    # restores the files.
    compressor = compressor_of(load_model(run, quiet=False), with_model=options.with_model)

    def convert(source: _Source) -> Iterator[bytes]:
        return compressor(source, source.num_bytes)

    _convert(files, convert=convert, restores=False, as_json=options.json, quiet=options.quiet)


@dataclass(frozen=True, kw_only=True)
class DecompressOptions(ReplacingOptions):
    """The options of `charrnn decompress`."""

    words: Sequence[str] = argument(
        "[RUN] FILE...", "Files that charrnn compress wrote; before them, their run."
    )
    output: str | None = option(
        None,
        flags="--out -o FILE",
        help="Write to FILE; - is standard output.",
        shown_default="the name of each file without .crnn",
    )


def decompress(options: DecompressOptions) -> None:
    """Restore files that `charrnn compress` wrote with the same model.

    FILE.crnn becomes FILE. Without RUN, the model in the file is used, or else the newest run. A
    file that is damaged, or of another model, is refused, and nothing is written under the name of
    the text.
    """
    # A first word without the suffix of a compressed file is a run.
    run = None
    names = list(options.words)
    if len(names) > 1 and names[0] != STREAM and not names[0].endswith(SUFFIX):
        run = names.pop(0)
    targets = [name.removesuffix(SUFFIX) for name in names]
    files = _files(names, defaults=targets, options=options, run=run or "")

    # Several files of the same model load it once.
    coders: dict[bytes, rows.RowCoder] = {}

    def restore(source: _Source) -> Iterator[bytes]:
        name = source.name
        header = container.read_header(source, name)
        if header.digest not in coders:
            if run is None and header.model:
                model = container.unpack_model(header.model, name)
            else:
                model = load_model(run, quiet=options.quiet)
            coders[header.digest] = _coder_for(header, model=model, name=name)
        return container.decompress(coders[header.digest], source=source, name=name)

    _convert(files, convert=restore, restores=True, as_json=options.json, quiet=options.quiet)


def _convert(
    files: dict[str, str], convert: Converter, *, restores: bool, as_json: bool, quiet: bool
) -> None:
    """Convert each file and write its target. With several files, an error is printed, and another
    is raised in the end.

    Raises CharRNNError.
    """
    failed: list[CharRNNError] = []
    for name, target in files.items():
        try:
            with _opened(name) as source:
                written = _write(convert(source), target=target, source=source)
            if as_json:
                print_json(_sizes(source, target=target, written=written, restores=restores))
            else:
                _print_sizes(source, target=target, written=written, quiet=quiet)
        except CharRNNError as error:
            if len(files) == 1:
                raise
            print_error(with_flags(error.message))
            failed.append(error)

    # The type of the first error gives the exit code.
    if failed:
        raise type(failed[0])(f"{len(failed)} of {len(files)} files failed.")


def _files(
    names: list[str], defaults: list[str], *, options: CompressOptions | DecompressOptions, run: str
) -> dict[str, str]:
    """Return the target of each file. Raises UsageError if a target cannot be written, before
    anything is computed."""
    output = options.output
    if output is not None and len(names) > 1:
        raise UsageError(
            f"{named('output')} names one file, and there are {len(names)}: leave it out."
        )
    # The second time, the target of the first time would be in the way.
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named twice. Name each file once; - is standard input.")

    # All targets are checked before the model is loaded.
    targets = defaults
    if output is not None:
        targets = [output]
    files = dict(zip(names, targets, strict=True))
    for name, target in files.items():
        if target == STREAM:
            _check_stdout(as_json=options.json)
        else:
            _check_name(target, name)
            Target(
                Path(target),
                force=options.force,
                read=(run, *names),
                remedy=f"name another file with {named('output')}",
            ).check()
    return files


def _check_stdout(*, as_json: bool) -> None:
    if as_json:
        raise UsageError(f"With --json standard output is for the sizes: give {named('output')}.")
    if sys.stdout.isatty():
        raise UsageError(
            f"The compressed or restored bytes would fill the terminal: give {named('output')}."
        )


def _check_name(target: str, name: str) -> None:
    """Raise UsageError if `target` is no name of a file, or the name of its source."""
    if target == name:
        raise UsageError(
            f"{name} does not end in {SUFFIX}: name a file that does, or the file to write with"
            f" {named('output')}."
        )
    if os.path.isdir(target) or not os.path.basename(target) or "\0" in target:
        raise UsageError(
            f"{target!r} is a folder or no name of a file. Name a file with {named('output')}."
        )


class _Written(NamedTuple):
    """The sizes of a target that was written."""

    num_bytes: int
    num_chars: int
    """Characters of the target, if it is a text."""
    seconds: float


def _write(blocks: Iterable[bytes], target: str, source: _Source) -> _Written:
    """Write blocks to a file, which replaces an existing file only when it is complete.

    Raises CharRNNError if it cannot be written.
    """
    started = time.perf_counter()
    num_bytes = 0
    num_chars = 0
    with ExitStack() as stack:
        if target != STREAM:
            stack.enter_context(convert_os_errors("write", path=Path(target)))
        file = stack.enter_context(_into(target, source))

        for block in blocks:
            num_bytes += file.write(block)
            num_chars += count_chars(block)
        file.flush()
    return _Written(num_bytes, num_chars=num_chars, seconds=time.perf_counter() - started)


def _sizes(source: _Source, target: str, written: _Written, *, restores: bool) -> dict[str, object]:
    """Return the sizes of both files for --json."""
    if restores:
        num_chars = written.num_chars
        num_coded = source.num_read
    else:
        num_chars = source.num_chars
        num_coded = written.num_bytes

    # Bytes that are no text have no characters.
    bpc = None
    if num_chars:
        bpc = 8 * num_coded / num_chars
    return {
        "file": source.name,
        "output": target,
        "bytes_in": source.num_read,
        "bytes_out": written.num_bytes,
        "bpc": bpc,
        "seconds": round(written.seconds, 3),
        "chars_per_second": num_chars / written.seconds,
    }


def _print_sizes(source: _Source, target: str, written: _Written, *, quiet: bool) -> None:
    if target != STREAM:
        print_path(target)
    num_read = source.num_read
    if quiet or num_read == 0:
        return

    # A share of more than 1,000 %, such as of a few bytes with a model, tells nothing.
    message = f"{num_read:,} bytes to {written.num_bytes:,}"
    if written.num_bytes < 10 * num_read:
        message += f" ({written.num_bytes / num_read:.1%})"
    write_aside(message)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextmanager
def _into(target: str, source: _Source) -> Iterator[BinaryIO]:
    """Open the target. A new file gets the permissions of the source, if the source is a file.
    Raises OSError."""
    if target == STREAM:
        yield sys.stdout.buffer
        return

    # A pipe or a device is written to, not replaced. A link stays a link: the file that it names is
    # replaced.
    path = behind_links(Path(target))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return

    # Private until the file has the permissions of the source.
    has_source = os.path.isfile(source.name)
    mode = 0o666
    if has_source:
        mode = 0o600
    with replacing(path) as temporary, os.fdopen(os.open(temporary, _NEW, mode), "wb") as file:
        if has_source:
            shutil.copymode(source.name, temporary)
        yield file
        os.fsync(file.fileno())
