"""Files of a compressed text, .crnn: a header, and segments of rows, each of which is verified.

    header    signature, version (2 with an order, or else 1), SHA-256 of the model, k + 32 · order, size of the model
              that is included (0: none), it, CRC-32
    segment   number of rows (1 to 64), the size of each row and of its coded bytes, CRC-32 of these numbers,
              then for each row its coded bytes and the CRC-32 of these, followed by its text
    end       0

An included model is packed by gzip:

    sizes     of config.yaml and of vocab.json, four bytes each, the lowest first; then both files
    tensors   in the order of `model.shapes.weight_shapes`, each after a byte:
              0: its values in float32; 1: the scale (R,) of each row in float32, then the values (R, C) in int8

A product of weights in int8 depends on those and on their scales alone, so that the other digits
are left out: the restored weights are the values times the scale, of which `Matrix` makes the same
values and the same scales again.

Numbers are LEB128: seven bits in a byte, the lowest first; CRC-32 has four bytes, the lowest first.
A row whose coded bytes would be more than its own is stored as it is: both sizes are the same. See
docs/formats.md.
"""  # noqa: E501

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from math import prod
from operator import ne
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, DataError, UsageError
from charrnn.formats.crnn.rows import MAX_ORDER, SYMBOL_BITS, RowCoder
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.portable_math import Matrix
from charrnn.model.shapes import weight_bytes, weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.model.walk import Architecture
from charrnn.runs.checkpoint import Description
from charrnn.system.files import MAX_TEXT_BYTES
from charrnn.system.process import memory_bytes
from charrnn.system.progress import task
from charrnn.text.vocab import Vocab

MAX_UNPACKED, MAX_RATIO = 1 << 26, 32
"""Weights of more bytes may take this many times the packed ones at most, of which eight are usual;
for M networks M times as many, because weights between them are zero."""


def pack_model(
    config: Config, vocab: Vocab, tensors: Mapping[str, NDArray[Any]], stepper: Stepper
) -> bytes:
    """Return a model for `unpack_model`; its stepper is that of precision `int8`. Names of its
    texts are left out."""
    shared = replace(config, corpus=(), init_from=None, extend_alphabet=False)
    files = [*Description.of(Path(), shared, vocab).files().values()]
    parts = [*(len(data).to_bytes(4, "little") for data in files), *files]
    # A cell that computes its weights from others has those in float32: what it would compute from
    # int8 differs.
    linear = Architecture.of(config).linear_weights(tensors)
    matrices = {
        id(linear[name][0]): matrix for name, (matrix, _) in stepper.products.items() if matrix.bits
    }
    if (ngrams := tensors.get("ngrams.weight")) is not None:
        matrices[id(ngrams)] = Matrix(ngrams, is_int8=True)
    for name in weight_shapes(config, len(vocab)):
        if (matrix := matrices.get(id(tensors[name]))) is None:
            parts += [b"\0", tensors[name].astype("<f4").tobytes()]
        else:
            parts += [b"\1", matrix.scale.astype("<f4").tobytes(), matrix.values.tobytes()]
    data = b"".join(parts)
    packed = gzip.compress(data, mtime=0)
    if weight_bytes(config, len(vocab)) > _most_bytes(
        config, packed
    ):  # A table of n-grams may be nearly all zero.
        packed = gzip.compress(data, 0, mtime=0)
    return packed


def _most_bytes(config: Config, packed: bytes) -> int:
    """Return how many bytes weights of so many packed ones take at most."""
    return max(MAX_UNPACKED, MAX_RATIO * config.num_networks * len(packed))


def unpack_model(packed: bytes, name: str) -> Model:
    """Restore the model that the file `name` includes, with weights of the same int8 values and
    scales.

    Raises CheckpointError if it is damaged, UsageError for a cell type with which it cannot
    decompress.
    """
    try:
        with (
            gzip.open(io.BytesIO(packed)) as file,
            np.errstate(all="ignore"),
        ):  # what is not finite is refused
            return _read(cast(BinaryIO, file), name, packed)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CheckpointError(
            f"{name} is damaged: the model that it includes cannot be read ({error})."
        ) from error


def _read(file: BinaryIO, name: str, packed: bytes) -> Model:
    sizes = [int.from_bytes(file.read(4), "little") for _ in range(2)]
    if max(sizes) > MAX_TEXT_BYTES:
        raise ValueError("it is larger than a model can be")
    description = Description(Path(name), *map(file.read, sizes))
    config, vocab = description.config(), description.vocab()
    check_portable(config)
    most = _most_bytes(config, packed)
    if weight_bytes(config, len(vocab)) > min(most, (memory_bytes() or 2 * most) // 2):
        raise ValueError("it unpacks to more than charrnn packs")
    tensors = {}
    for tensor, shape in weight_shapes(config, len(vocab)).items():
        is_int8 = file.read(1) == b"\1" and len(shape) == 2
        scale = np.frombuffer(file.read(4 * shape[0]), "<f4")[:, None] if is_int8 else np.float32(1)
        values = np.frombuffer(
            file.read(prod(shape) * (1 if is_int8 else 4)), np.int8 if is_int8 else "<f4"
        )
        tensors[tensor] = values.reshape(shape).astype(np.float32) * scale
    if file.read(1) or not all(np.isfinite(values).all() for values in tensors.values()):
        raise ValueError("its weights are not those of its configuration")
    return Model(config, vocab, tensors, name=name)


SIGNATURE = b"\x89CRNN\r\n"
"""The first bytes of a file; like those of PNG they show a transfer that changed line ends."""
VERSION = 2
"""Version of the files with an order; those without one are of version 1."""
STARTS = tuple(SIGNATURE + bytes([version]) for version in range(1, VERSION + 1))
"""What every file starts with, without an order and with one."""
MAX_ROWS = 64
"""Rows of a segment."""
ROW_BYTES = 1 << 18
"""Bytes of a row in a text of several segments."""
LEAST_ROW_BYTES = 1 << 14
"""A shorter text has fewer rows, because a row costs about 12 bytes: 3 at its beginning, where
there is no context, and 9 for its sizes and its CRC-32. That is 0.2 % of what a row of this size
takes."""
NOT_PORTABLE = {"unitary": "its rotations are computed from sines and Fourier transforms"}
"""Cells of the package whose equal results on every machine are not proved, and why."""
LARGEST_WEIGHT = 1e15
"""With larger ones a sum could overflow: what then follows is not the same on every machine."""
MAX_MODEL = 1 << 30
"""Bytes of an included model at most."""
PIECE = 1 << 20
"""Bytes that are read at once, so that a size that is wrong takes no memory."""


class Readable(Protocol):
    """A file: only `read` is used."""

    def read(self, size: int, /) -> bytes: ...


class Header(NamedTuple):
    """The beginning of a file."""

    digest: bytes
    """SHA-256 of the model; empty where the header is damaged."""
    model: bytes
    """The included model, as `pack_model` writes it; empty if there is none."""
    order: int = 0
    """Number of characters by which the next one is guessed; 0: without guesses."""


def check_portable(config: Config) -> None:
    """Raise UsageError for a cell type with which another machine could compute other numbers."""
    is_own = cell_type(config.cell).__module__.startswith("charrnn.")
    reason = NOT_PORTABLE.get(config.cell) or (None if is_own else "it comes from another package")
    if reason is not None:
        raise UsageError(
            f"The cell of this model is {config.cell}: {reason}, so the file might not open on"
            " another machine.\nCompress with a model of another cell, such as lstm."
        )


def check_weights(tensors: Mapping[str, NDArray[Any]], name: str) -> None:
    """Raise CheckpointError if a weight of the model `name` is so large that a sum could overflow,
    or is no number."""
    if not all((np.abs(values) <= LARGEST_WEIGHT).all() for values in tensors.values()):
        problem = f"{name} has weights beyond {LARGEST_WEIGHT:.0e}, with which sums overflow"
        raise CheckpointError(
            f"{problem}: the file might not open on another machine. Use another checkpoint."
        )


def digest_of(config: Config, vocab: Vocab, stepper: Stepper) -> bytes:
    """Return the SHA-256 of all that decides the coded bytes: int8 weights, scales, tables,
    architecture, alphabet."""
    settings = {
        name: getattr(config, name) for name in ("cell", "depth", "num_layers", "hidden_size")
    }
    settings |= {
        "zoneout": config.zoneout,
        "sum_outputs": config.sum_outputs,
        "end_id": config.end_id,
    }
    settings |= {"ngram_rows": len(stepper.ngrams)} if stepper.ngrams is not None else {}
    digest = hashlib.sha256(json.dumps([settings, vocab.to_json()], sort_keys=True).encode())
    arrays = {f"table {name}": table for name, table in stepper.tables.items()} | {
        "state": stepper.initial_state(1)
    }
    for name, (matrix, bias) in stepper.products.items():
        arrays |= {
            f"{name} values": matrix.values,
            f"{name} scale": matrix.scale,
            f"{name} bias": bias,
        }
    if stepper.ngrams is not None:
        arrays["ngrams"] = stepper.ngrams
    for layer, extras in enumerate(stepper.extras):
        arrays |= {f"{layer} {name}": values for name, values in extras.items()}
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str.lstrip('<|=')} {array.shape}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def _number(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _number(value >> 7)


def _with_crc(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


def header_to_bytes(header: Header) -> bytes:
    """Return the beginning of a file."""
    start, bits = STARTS[header.order > 0] + header.digest, bytes([SYMBOL_BITS + 32 * header.order])
    return _with_crc(start + bits + _number(len(header.model)) + header.model)


def cut_rows(data: bytes) -> list[bytes]:
    """Cut a segment into rows of nearly the same size, between two characters of UTF-8."""
    num_rows = max(1, min(MAX_ROWS, len(data) // LEAST_ROW_BYTES))
    cuts = [len(data) * row // num_rows for row in range(num_rows + 1)]
    for row in range(1, num_rows):
        for _ in range(3):
            cuts[row] -= data[cuts[row]] & 0xC0 == 0x80
    return [data[begin:end] for begin, end in pairwise(cuts)]


def compress(
    coder: RowCoder, header: Header, source: Readable, num_bytes: int = 0
) -> Iterator[bytes]:
    """Yield the parts of a file, each as soon as a segment of the text was read and coded.

    `num_bytes` is the size of the text for the progress, 0 if it is not known.
    """
    coder.order = header.order
    yield header_to_bytes(header)
    with task("compressing", num_bytes, unit="B") as coder.advance:
        while data := source.read(MAX_ROWS * ROW_BYTES):
            rows = cut_rows(data)
            coded = [
                row if one is None else one
                for row, one in zip(rows, coder.encode(rows), strict=True)
            ]
            sizes = [
                _number(len(part))
                for row, one in zip(rows, coded, strict=True)
                for part in (row, one)
            ]
            yield _with_crc(b"".join([_number(len(rows)), *sizes]))
            for row, one in zip(rows, coded, strict=True):
                yield one + zlib.crc32(one + row).to_bytes(4, "little")
    yield _number(0)


def _report(error: DataError, lost: list[DataError] | None) -> None:
    """Add an error to those of a damaged file; raise it if they are not wanted."""
    if lost is None:
        raise error
    lost.append(error)


class _Row(NamedTuple):
    """A block of a file."""

    coded: bytes
    size: int
    """Bytes of its text."""
    check: bytes
    """The CRC-32 of its coded bytes and its text."""


class _Reader:
    """Reads the parts of a file, and remembers those that a CRC-32 verifies."""

    def __init__(self, source: Readable, name: str) -> None:
        self._source, self._name, self._seen = source, name, b""

    def damaged(self, problem: str) -> DataError:
        return DataError(f"{self._name} is damaged: {problem}.")

    def take(self, size: int, what: str) -> bytes:
        data = b""
        while len(data) < size and (piece := self._source.read(min(PIECE, size - len(data)))):
            data += piece
        if len(data) < size:
            raise self.damaged(f"it ends in {what}")
        self._seen += data
        return data

    def number(self, what: str) -> int:
        value = 0
        for shift in range(0, 42, 7):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise self.damaged(f"a number in {what} is too large")

    def check(self, what: str, so: str = "") -> None:
        seen, self._seen = zlib.crc32(self._seen).to_bytes(4, "little"), b""
        if self.take(4, what) != seen:
            raise self.damaged(f"{what} has changed{so}")

    def header(self, lost: list[DataError] | None) -> Header:
        """Return the header. With `lost` one that is damaged, too, whose errors are added to it."""
        start, problem = self._source.read(len(STARTS[0])), "was not written by charrnn compress"
        if start.startswith(SIGNATURE):
            problem = (
                f"has version {start[-1]} of the format, or is damaged: this charrnn reads 1 to"
                f" {VERSION}"
            )
        if start not in (SIGNATURE, *STARTS):
            is_near = any(sum(map(ne, start.ljust(len(one)), one)) == 1 for one in STARTS)
            _report(DataError(f"{self._name} {problem}."), lost if is_near else None)
        digest, bits, size = (
            self.take(32, "its header"),
            self.take(1, "its header")[0],
            self.number("its header"),
        )
        order = 0 if start == STARTS[0] else bits >> 5
        self._seen = (start if start in STARTS else STARTS[order > 0]) + self._seen
        if size > MAX_MODEL or (
            lost is None and (bits != SYMBOL_BITS + 32 * order or order > MAX_ORDER)
        ):
            raise self.damaged("its header has changed")
        model, seen = self.take(size, "the model that it includes"), self._seen
        try:
            self.check("its header")
        except DataError as changed:
            _report(changed, lost)
            for one in range(
                MAX_ORDER + 1
            ):  # The CRC-32 tells the order, if no other byte is damaged.
                mended = STARTS[one > 0] + seen[8:40] + bytes([SYMBOL_BITS + 32 * one]) + seen[41:]
                if zlib.crc32(mended).to_bytes(4, "little") == self._seen:
                    order = one
        return Header(b"" if lost else digest, model, order)

    def segment(self, num_before: int) -> tuple[list[_Row], DataError | None]:
        """Return the rows of the next segment, none at the end, and what is wrong after them, if
        anything."""
        rows: list[_Row] = []
        try:
            table = f"the table before block {num_before + 1:,}"
            num_rows = self.number(table)
            sizes = [
                (self.number(table), self.number(table)) for _ in range(min(num_rows, MAX_ROWS + 1))
            ]
            if not num_rows:
                return rows, (
                    self.damaged("something follows its end") if self._source.read(1) else None
                )
            self.check(table, ", and nothing after it can be restored")
            if num_rows > MAX_ROWS or any(
                not coded <= size <= ROW_BYTES + 3 for size, coded in sizes
            ):
                raise self.damaged(f"{table} has sizes that charrnn does not write")
            for number, (size, num_coded) in enumerate(sizes, num_before + 1):
                rows.append(
                    _Row(
                        self.take(num_coded, f"block {number:,}"),
                        size,
                        self.take(4, f"block {number:,}"),
                    )
                )
            self._seen = b""
        except DataError as error:
            return rows, error
        return rows, None


def read_header(source: Readable, name: str, lost: list[DataError] | None = None) -> Header:
    """Read the beginning of a file.

    Raises DataError if it is another file or damaged, or of a newer version. With `lost` only
    another file is refused: the error of a header that is damaged is added to it.
    """
    return _Reader(source, name).header(lost)


def decompress(
    coder: RowCoder, source: Readable, name: str, lost: list[DataError] | None = None
) -> Iterator[bytes]:
    """Yield the text of a file after its header, block by block.

    Raises DataError that names the first block that is damaged. With `lost` nothing is raised:
    blocks that cannot be restored are left out, and the error of each is added to it.
    """
    reader, num_blocks, begin = _Reader(source, name), 0, 0
    with task("restoring", unit="B") as coder.advance:
        while True:
            rows, error = reader.segment(num_blocks)
            coder.advance.total += sum(row.size for row in rows)
            coded = [row for row in rows if len(row.coded) < row.size]
            decoded = iter(
                coder.decode([row.coded for row in coded], [row.size for row in coded])
                if coded
                else ()
            )
            for row in rows:
                is_stored = len(row.coded) == row.size
                text = row.coded if is_stored else next(decoded)
                coder.advance(row.size if is_stored else 0)
                num_blocks, begin = num_blocks + 1, begin + row.size
                if (
                    zlib.crc32(row.coded + text).to_bytes(4, "little") == row.check
                    and len(text) == row.size
                ):
                    yield text
                else:
                    place = (
                        f"block {num_blocks:,} ({row.size:,} bytes from byte {begin - row.size:,})"
                    )
                    _report(reader.damaged(f"{place} is not the text that was compressed"), lost)
            if error is not None:
                _report(error, lost)
            if error is not None or not rows:
                return


def check_model(header: Header, digest: bytes, name: str, run: str) -> None:
    """Raise CheckpointError if a file was compressed with another model than that of a digest."""
    if header.digest and header.digest != digest:
        raise CheckpointError(
            f"{name} was compressed with another model than {run}: its digest begins with"
            f" {header.digest.hex()[:12]}, that of {run} with {digest.hex()[:12]}.\nName the run"
            " that compressed it, or RUN@STEP: charrnn decompress RUN FILE"
        )
