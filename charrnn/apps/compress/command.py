"""charrnn compress and decompress: files of a model's code lengths, which open on every machine."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from charrnn.cli.arguments import load_model
from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.streams import print_json, print_path, warn
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.extensions import ModelMethod
from charrnn.files import behind_links, convert_os_errors, replacing
from charrnn.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.apps.compress import container, packed_model, rows
else:
    container, packed_model, rows = (
        LazyModule(f"charrnn.apps.compress.{name}") for name in ("container", "packed_model", "rows")
    )

SUFFIX = ".crnn"
"""Suffix of a compressed file."""
STREAM = "-"
"""Name of standard input and output."""

OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output.")
]
"""--output: the file to write."""
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
"""--force: replace existing files."""


def count_chars(data: bytes) -> int:
    """Count the characters of a part of a text in UTF-8: its bytes that continue none."""
    return len(data.translate(None, bytes(range(0x80, 0xC0))))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Convert an OSError into a DataError about the file that is read."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}.") from error


class _Source:
    """A file that is read, or standard input; it counts its bytes and characters."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name, self._file, self.num_read, self.num_chars = name, file, 0, 0
        self.num_bytes = 0 if name == STREAM else os.fstat(file.fileno()).st_size
        """Its size; 0 if it is not known."""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises DataError."""
        with _reading(self.name):
            data = self._file.read(size)
        self.num_read += len(data)
        self.num_chars += count_chars(data)
        return data


@contextmanager
def _opened(name: str) -> Iterator[_Source]:
    """Open a file, or standard input. Raises DataError."""
    if name == STREAM and sys.stdin is None:
        raise DataError("-: standard input is closed.")
    with ExitStack() as stack:
        with _reading(name):
            file = sys.stdin.buffer if name == STREAM else stack.enter_context(Path(name).open("rb"))
        yield _Source(name, file)


def coder_of(model: Model) -> tuple[rows.RowCoder, bytes]:
    """Return what codes texts by a model, and the SHA-256 of the model.

    Raises UsageError for a cell type that could compute other numbers on another machine.
    """
    container.check_portable(model.config)
    stepper = model.generator.int8_stepper
    return rows.RowCoder(stepper, model.vocab), container.digest_of(model.config, model.vocab, stepper)


def header_of(model: Model, digest: bytes, *, with_model: bool) -> container.Header:
    """Return the header of a file, with or without the model."""
    stepper = model.generator.int8_stepper
    return container.Header(
        digest, packed_model.pack_model(model.config, model.vocab, model.tensors, stepper) if with_model else b""
    )


def compress_text(model: Model, data: bytes, *, with_model: bool = False) -> bytes:
    """Compress any bytes to those of a .crnn file: `Model.compress`.

    With the same model, `decompress` restores them on every machine. Raises UsageError for a cell type that could
    compute other numbers on another machine.
    """
    coder, digest = coder_of(model)
    return b"".join(container.compress(coder, header_of(model, digest, with_model=with_model), io.BytesIO(data)))


def decompress_text(model: Model, data: bytes) -> bytes:
    """Restore what `Model.compress` of the same model compressed: `Model.decompress`.

    Raises DataError for damaged data, CheckpointError for those of another model.
    """
    source = io.BytesIO(data)
    header = container.read_header(source, "the data")
    coder, digest = coder_of(model)
    container.check_model(header, digest, "the data", model.name)
    return b"".join(container.decompress(coder, source, "the data"))


def compress(
    arguments: Annotated[list[str], typer.Argument(metavar="RUN FILE...", help="A run, and files; - is a stream.")],
    output: OutputOption = None,
    with_model: Annotated[
        bool, typer.Option("--with-model", help="Include the model, so that nothing else is needed to decompress.")
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Compress files by a model, so that `charrnn decompress` restores them on every machine, bit for bit.

    FILE becomes FILE.crnn. The better the model predicts a text, the smaller the file: it pays for many texts of one
    kind, such as messages, logs or chapters, with a model of that kind. Any file can be compressed; what is not in the
    alphabet of the model takes as much space as before.
    """
    if len(arguments) < 2:
        raise UsageError("compress takes RUN FILE: the run whose model compresses, and a file.")
    run, *names = arguments
    defaults = [STREAM if name == STREAM else f"{name}{SUFFIX}" for name in names]
    targets = _targets(names, output, defaults, force=force, as_json=json)
    model = load_model(run, quiet=quiet)
    coder, digest = coder_of(model)
    header = header_of(model, digest, with_model=with_model)
    for name, target in zip(names, targets, strict=True):
        with _opened(name) as source:
            parts = container.compress(coder, header, source, source.num_bytes)
            _write(parts, target, source, restores=False, as_json=json, quiet=quiet)


def decompress(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[RUN] FILE...", help="Files that charrnn compress wrote; before them, their run."),
    ],
    output: OutputOption = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Of a damaged file, write the blocks that are whole.")
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Restore files that `charrnn compress` wrote with the same model.

    FILE.crnn becomes FILE. Without RUN, the model in the file is used, or else the newest run. A file that is damaged,
    or of another model, is refused, and nothing is written under the name of the text.
    """
    is_first_file = len(arguments) == 1 or arguments[0] == STREAM or arguments[0].endswith(SUFFIX)
    run, names = (None, arguments) if is_first_file else (arguments[0], arguments[1:])
    targets = _targets(names, output, [name.removesuffix(SUFFIX) for name in names], force=force, as_json=json)
    coders: dict[bytes, rows.RowCoder] = {}
    lost: list[DataError] = []
    for name, target in zip(names, targets, strict=True):
        with _opened(name) as source:
            header = container.read_header(source, name)
            if header.digest not in coders:
                coders[header.digest] = _coder_for(header, run, name, quiet=quiet)
            parts = container.decompress(coders[header.digest], source, name, lost if salvage else None)
            _write(parts, target, source, restores=True, as_json=json, quiet=quiet)
    if lost:
        warn(tuple(error.marked for error in lost), quiet=quiet)
        raise DataError(f"{counted(len(lost), 'part')} could not be restored; what could be read besides was written.")


def _coder_for(header: container.Header, run: str | None, name: str, *, quiet: bool) -> rows.RowCoder:
    """Return what decodes a file: by the run, or the included model, or else the newest run."""
    model = (
        packed_model.unpack_model(header.model, name) if run is None and header.model else load_model(run, quiet=quiet)
    )
    coder, digest = coder_of(model)
    container.check_model(header, digest, name, model.name)
    return coder


def _targets(names: list[str], output: str | None, defaults: list[str], *, force: bool, as_json: bool) -> list[str]:
    """Return where each file is written. Raises UsageError if that cannot be, before anything is computed."""
    if output is not None and len(names) > 1:
        raise UsageError(f"{named('output')} names one file, and there are {len(names)}: leave it out.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice. Name each file once; - is standard input.")
    targets = defaults if output is None else [output]
    for name, target in zip(names, targets, strict=True):
        if target == STREAM and as_json:
            raise UsageError(f"With --json standard output is for the sizes: give {named('output')}.")
        if target == STREAM:
            if sys.stdout.isatty():
                raise UsageError(f"The compressed or restored bytes would fill the terminal: give {named('output')}.")
        elif target == name:
            raise UsageError(f"{name} does not end in {SUFFIX}: name the file to write with {named('output')}.")
        elif os.path.isdir(target):
            raise UsageError(f"{target} is a folder. Name a file with {named('output')}.")
        elif os.path.exists(target) and any(os.path.exists(one) and os.path.samefile(one, target) for one in names):
            raise UsageError(f"{target} is the file that is read. Name another one with {named('output')}.")
        elif (os.path.isfile(target) or os.path.islink(target)) and not force:
            raise UsageError(f"{target} exists: name another file with {named('output')}, or give {named('force')}.")
    return targets


def _write(parts: Iterable[bytes], target: str, source: _Source, *, restores: bool, as_json: bool, quiet: bool) -> None:
    """Write parts to a file, which replaces another one only when it is complete; print its path and the sizes.

    Raises CharRNNError if it cannot be written.
    """
    started = time.perf_counter()
    with nullcontext() if target == STREAM else convert_os_errors("write", Path(target)), _replaced(target) as file:
        num_written = restored = 0
        for part in parts:
            num_written += file.write(part)
            restored += count_chars(part)
        file.flush()
    seconds, bytes_in = time.perf_counter() - started, source.num_read
    if as_json:
        num_chars, coded = (restored, bytes_in) if restores else (source.num_chars, num_written)
        sizes = {"bytes_in": bytes_in, "bytes_out": num_written, "bpc": 8 * coded / num_chars if num_chars else None}
        sizes |= {"seconds": round(seconds, 3), "chars_per_second": num_chars / seconds}
        print_json({"file": source.name, "output": target, **sizes})
        return
    if target != STREAM:
        print_path(target)
    if not quiet and bytes_in:
        sys.stderr.write(f"{bytes_in:,} bytes to {num_written:,} ({num_written / bytes_in:.1%})\n")


@contextmanager
def _replaced(target: str) -> Iterator[BinaryIO]:
    """Open what is written. Raises OSError."""
    path = behind_links(Path(target))
    if target == STREAM:
        yield sys.stdout.buffer
    elif path.exists() and not path.is_file():  # a pipe or a device
        with path.open("wb") as file:
            yield file
    else:
        with replacing(path) as temporary, temporary.open("xb") as file:
            yield file
            os.fsync(file.fileno())


EXTENSIONS = (
    ModelMethod(name="compress", function=compress_text),
    ModelMethod(name="decompress", function=decompress_text),
)
"""The methods `Model.compress` and `Model.decompress`."""
