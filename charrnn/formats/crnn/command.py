"""charrnn compress and decompress: files of a model's code lengths, which open on every machine."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from charrnn.cli.arguments import load_model
from charrnn.cli.command_options import JsonOption, QuietOption
from charrnn.cli.streams import print_error, print_json, print_path, warn, with_flags, write_aside
from charrnn.errors import CharRNNError, DataError, UsageError, counted, named
from charrnn.hooks.extensions import ModelMethod
from charrnn.system.files import behind_links, convert_os_errors, replacing
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.formats.crnn import container, rows
else:
    container, rows = (LazyModule(f"charrnn.formats.crnn.{name}") for name in ("container", "rows"))

SUFFIX = ".crnn"
"""Suffix of a compressed file."""
STREAM = "-"
"""Name of standard input and output."""

OutputOption = Annotated[
    str | None,
    typer.Option(
        "--out", "--output", "-o", metavar="FILE", help="Where to write; - is standard output."
    ),
]
"""--out: the file to write."""
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
"""--force: replace existing files."""


def count_chars(data: bytes) -> int:
    """Count the characters of a part of a text in UTF-8: its bytes that continue none."""
    return len(data.translate(None, bytes(range(0x80, 0xC0))))


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Convert an OSError, or the ValueError of a name with a null character, into a DataError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {name}: {getattr(error, 'strerror', None) or error}."
        ) from error


class _Source:
    """A file that is read, or standard input; it counts its bytes and characters."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name, self._file, self.num_read, self.num_chars = name, file, 0, 0
        self.order = 0
        self.num_bytes = 0 if name == STREAM else os.fstat(file.fileno()).st_size
        """Its size; 0 if it is not known."""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises DataError."""
        with _reading(self.name):
            data = self._file.read(size)
        self.num_read += len(data)
        self.num_chars += count_chars(data)
        return data


Converter = Callable[[_Source, list[DataError]], Iterator[bytes]]
"""Yields the parts of a file that is written; it adds the errors of what it leaves out to the list.
"""


@contextmanager
def _opened(name: str) -> Iterator[_Source]:
    """Open a file, or standard input. Raises DataError."""
    if name == STREAM and sys.stdin is None:
        raise DataError("-: standard input is closed.")
    with ExitStack() as stack:
        with _reading(name):
            file = (
                sys.stdin.buffer if name == STREAM else stack.enter_context(Path(name).open("rb"))
            )
        yield _Source(name, file)


def coder_of(model: Model) -> tuple[rows.RowCoder, bytes]:
    """Return what codes texts by a model, and the SHA-256 of the model.

    Raises UsageError for a cell type that could compute other numbers on another machine.
    """
    container.check_portable(model.config)
    container.check_weights(model.tensors, model.name)
    stepper = model.generator.int8_stepper
    return rows.RowCoder(stepper, model.vocab), container.digest_of(
        model.config, model.vocab, stepper
    )


def compressor_of(
    model: Model, *, with_model: bool, order: int = 0
) -> Callable[..., Iterator[bytes]]:
    """Return `container.compress` for files of a model, which includes it or not.

    Raises as `coder_of` does, and UsageError for an order out of range.
    """
    if not 0 <= order <= rows.MAX_ORDER:
        raise UsageError(
            f"{named('order', order)} is not 1 to {rows.MAX_ORDER} characters, or 0 for no guesses."
        )
    coder, digest = coder_of(model)
    parts = model.config, model.vocab, model.tensors, coder.stepper
    packed = container.pack_model(*parts) if with_model else b""
    return partial(container.compress, coder, container.Header(digest, packed, order))


def compress_text(model: Model, data: bytes, *, with_model: bool = False, order: int = 0) -> bytes:
    """Compress any bytes to those of a .crnn file: `Model.compress`.

    With the same model, `decompress` restores them on every machine. With an order N up to 6, what
    followed the last N characters before in the text is a guess of the next one. Raises UsageError
    for another order, and for a cell type that could compute other numbers on another machine.
    """
    return b"".join(compressor_of(model, with_model=with_model, order=order)(io.BytesIO(data)))


def decompress_text(model: Model, data: bytes) -> bytes:
    """Restore what `Model.compress` of the same model compressed: `Model.decompress`.

    Raises DataError for damaged data, CheckpointError for those of another model.
    """
    source, name = io.BytesIO(data), "the data"
    coder = _coder_for(container.read_header(source, name), model, name)
    return b"".join(container.decompress(coder, source, name))


def _coder_for(header: container.Header, model: Model, name: str) -> rows.RowCoder:
    coder, digest = coder_of(model)
    container.check_model(header, digest, name, model.name)
    coder.order = header.order
    return coder


def compress(
    arguments: Annotated[
        list[str], typer.Argument(metavar="RUN FILE...", help="A run, and files; - is a stream.")
    ],
    output: OutputOption = None,
    with_model: Annotated[
        bool,
        typer.Option(
            "--with-model", help="Include the model, so that nothing else is needed to decompress."
        ),
    ] = False,
    order: Annotated[
        int,
        typer.Option(
            "--order",
            "--ngrams",
            metavar="N",
            help="Guess by the last 1 to 6 characters, too; try 4.",
        ),
    ] = 0,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compress files by a model, so that `charrnn decompress` restores them on every machine, bit
    for bit.

    FILE becomes FILE.crnn. The better the model predicts a text, the smaller the file: it pays for
    many texts of one kind, such as messages, logs or chapters, with a model of that kind. Any file
    can be compressed; what is not in the alphabet of the model takes as much space as before.
    """
    if len(arguments) < 2:
        raise UsageError("compress takes RUN FILE: the run whose model compresses, and a file.")
    run, *names = arguments
    defaults = [STREAM if name == STREAM else f"{name}{SUFFIX}" for name in names]
    files = _files(names, output, defaults, force=force, as_json=json)
    # Never quiet about a damaged checkpoint in whose place another one is used: only that one
    # restores the files.
    compressor = compressor_of(load_model(run, quiet=False), with_model=with_model, order=order)

    def convert(source: _Source, _: list[DataError]) -> Iterator[bytes]:
        source.order = order
        return compressor(source, source.num_bytes)

    _convert(files, convert, restores=False, as_json=json, quiet=quiet)


def decompress(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] FILE...",
            help="Files that charrnn compress wrote; before them, their run.",
        ),
    ],
    output: OutputOption = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Of a damaged file, write the blocks that are whole.")
    ] = False,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Restore files that `charrnn compress` wrote with the same model.

    FILE.crnn becomes FILE. Without RUN, the model in the file is used, or else the newest run. A
    file that is damaged, or of another model, is refused, and nothing is written under the name of
    the text.
    """
    is_first_file = len(arguments) == 1 or arguments[0] == STREAM or arguments[0].endswith(SUFFIX)
    run, names = (None, arguments) if is_first_file else (arguments[0], arguments[1:])
    files = _files(
        names, output, [name.removesuffix(SUFFIX) for name in names], force=force, as_json=json
    )
    coders: dict[bytes, rows.RowCoder] = {}

    def restore(source: _Source, lost: list[DataError]) -> Iterator[bytes]:
        name, damage = source.name, lost if salvage else None
        header = container.read_header(source, name, damage)
        if (key := header.digest or header.model) not in coders:
            model = (
                container.unpack_model(header.model, name) if run is None and header.model else None
            )
            coders[key] = _coder_for(header, model or load_model(run, quiet=quiet), name)
        coders[key].order = source.order = header.order
        return container.decompress(coders[key], source, name, damage)

    _convert(files, restore, restores=True, as_json=json, quiet=quiet)


def _convert(
    files: dict[str, str], convert: Converter, *, restores: bool, as_json: bool, quiet: bool
) -> None:
    """Write what `convert` makes of each file; an error is printed, and raised in the end, if there
    are several files.

    Raises CharRNNError.
    """
    failed: list[CharRNNError] = []
    for name, target in files.items():
        lost: list[DataError] = []
        try:
            with _opened(name) as source:
                _write(
                    convert(source, lost),
                    target,
                    source,
                    restores=restores,
                    as_json=as_json,
                    quiet=quiet,
                )
            warn(tuple(error.marked for error in lost), quiet=quiet)
            if lost:
                what = f"{counted(len(lost), 'part')} of {name}"
                raise DataError(
                    f"{what} could not be restored; what could be read besides was written."
                )
        except CharRNNError as error:
            if len(files) == 1:
                raise
            print_error(with_flags(error.message))
            failed.append(error)
    if failed:
        raise type(failed[0])(f"{len(failed)} of {len(files)} files failed.")


def _files(
    names: list[str], output: str | None, defaults: list[str], *, force: bool, as_json: bool
) -> dict[str, str]:
    """Return each file with where it is written. Raises UsageError if that cannot be, before
    anything is computed."""
    if output is not None and len(names) > 1:
        raise UsageError(
            f"{named('output')} names one file, and there are {len(names)}: leave it out."
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice. Name each file once; - is standard input.")
    files = dict(zip(names, defaults if output is None else [output], strict=True))
    for name, target in files.items():
        if target == STREAM and as_json:
            raise UsageError(
                f"With --json standard output is for the sizes: give {named('output')}."
            )
        if target == STREAM:
            if sys.stdout.isatty():
                raise UsageError(
                    "The compressed or restored bytes would fill the terminal: give"
                    f" {named('output')}."
                )
        elif target == name:
            remedy = f"name a file that does, or the file to write with {named('output')}"
            raise UsageError(f"{name} does not end in {SUFFIX}: {remedy}.")
        elif os.path.isdir(target) or not os.path.basename(target) or "\0" in target:
            raise UsageError(
                f"{target!r} is a folder or no name of a file. Name a file with {named('output')}."
            )
        elif os.path.exists(target) and any(
            os.path.exists(one) and os.path.samefile(one, target) for one in names
        ):
            raise UsageError(
                f"{target} is the file that is read. Name another one with {named('output')}."
            )
        elif (os.path.isfile(target) or os.path.islink(target)) and not force:
            raise UsageError(
                f"{target} exists: name another file with {named('output')}, or give"
                f" {named('force')}."
            )
    return files


def _write(
    parts: Iterable[bytes],
    target: str,
    source: _Source,
    *,
    restores: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write parts to a file, which replaces another one only when it is complete; print its path
    and the sizes.

    Raises CharRNNError if it cannot be written.
    """
    started = time.perf_counter()
    with (
        nullcontext() if target == STREAM else convert_os_errors("write", Path(target)),
        _into(target, source) as file,
    ):
        num_written = restored = 0
        for part in parts:
            num_written += file.write(part)
            restored += count_chars(part)
        file.flush()
    seconds, bytes_in = time.perf_counter() - started, source.num_read
    if as_json:
        num_chars, coded = (restored, bytes_in) if restores else (source.num_chars, num_written)
        sizes = {
            "bytes_in": bytes_in,
            "bytes_out": num_written,
            "bpc": 8 * coded / num_chars if num_chars else None,
        }
        sizes |= {"seconds": round(seconds, 3), "chars_per_second": num_chars / seconds}
        print_json({"file": source.name, "output": target, "order": source.order, **sizes})
        return
    if target != STREAM:
        print_path(target)
    if not quiet and bytes_in:
        share = f" ({num_written / bytes_in:.1%})" if num_written < 10 * bytes_in else ""
        write_aside(f"{bytes_in:,} bytes to {num_written:,}{share}")


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextmanager
def _into(target: str, source: _Source) -> Iterator[BinaryIO]:
    """Open what is written: a new file has the permissions of the source, if that is a file. Raises
    OSError."""
    path = behind_links(Path(target))
    if target == STREAM or (path.exists() and not path.is_file()):  # a pipe or a device
        with nullcontext(sys.stdout.buffer) if target == STREAM else path.open("wb") as file:
            yield file
    else:
        mode = (
            0o600 if os.path.isfile(source.name) else 0o666
        )  # Private until it has the permissions of the source.
        with replacing(path) as temporary, os.fdopen(os.open(temporary, _NEW, mode), "wb") as file:
            if mode == 0o600:
                shutil.copymode(source.name, temporary)
            yield file
            os.fsync(file.fileno())


EXTENSIONS = (
    ModelMethod(name="compress", function=compress_text),
    ModelMethod(name="decompress", function=decompress_text),
)
"""The methods `Model.compress` and `Model.decompress`."""
