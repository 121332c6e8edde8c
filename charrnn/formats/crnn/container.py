"""Files of a compressed text, .crnn: a header, and segments of rows, each of which is verified.

    header    signature, version, SHA-256 of the model, k, size of the model that is included
              (0: none), it, CRC-32
    segment   number of rows (1 to 64), the size of each row and of its coded bytes, CRC-32 of these
              numbers, then for each row its coded bytes and the CRC-32 of these, followed by its
              text
    end       0

An included model is packed by gzip:

    sizes     of config.yaml and of vocab.json, four bytes each, the lowest first; then both files
    tensors   in the order of `model.shapes.weight_shapes`, each after a byte:
              0: its values in float32
              1: the scale (R,) of each row in float32, then the values (R, C) in int8

A product of weights in int8 depends only on the int8 values and their scales, so the remaining
digits are left out: the restored weights are the values times the scale, and `Matrix` makes the
same values and the same scales of them again.

Numbers are LEB128: seven bits in a byte, the lowest first; CRC-32 has four bytes, the lowest first.
A row that coding would make longer is stored as it is: both sizes are the same. See
docs/formats.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

import numpy as np

from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, DataError, UsageError
from charrnn.formats.crnn.rows import SYMBOL_BITS, RowCoder
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.shapes import weight_bytes, weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.model.walk import Architecture
from charrnn.runs.config_files import RunDescription
from charrnn.system.files import MAX_TEXT_BYTES, PLACEHOLDER_BYTES, placeholder_in
from charrnn.system.process import memory_bytes
from charrnn.system.progress import task
from charrnn.text.documents import END, separator_of
from charrnn.text.vocab import Vocab

SIGNATURE = b"\x89CRNN\r\n"
"""The first bytes of a file; as in PNG they show a transfer that changed line ends."""
VERSION = 2
"""Version of the format."""
START = SIGNATURE + bytes([VERSION])
"""The bytes that every file starts with."""
MAX_ROWS = 64
"""Rows of a segment."""
ROW_BYTES = 1 << 18
"""Bytes of a row in a text of several segments."""
LEAST_ROW_BYTES = 1 << 14
"""A shorter text has fewer rows, because a row costs about 12 bytes: 3 at its beginning, where
there is no context, and 9 for its sizes and its CRC-32. That is 0.2 % of the coded bytes of a row
of this size."""
NOT_PORTABLE = {"unitary": "its rotations are computed from sines and Fourier transforms"}
"""Cells of the package that may have other results on another machine, and why."""
MAX_MODEL = 1 << 30
"""Bytes of an included model at most."""
MAX_UNPACKED = 1 << 26
"""Bytes of weights that any packed model may take."""
MAX_RATIO = 32
"""Weights of more bytes may take at most this many times the packed bytes; eight times are usual.
For M networks it is M times as many, because weights between them are zero."""
PIECE = 1 << 20
"""Bytes that are read at once, so that a wrong size takes no memory."""


class Readable(Protocol):
    """A file, of which only `read` is used."""

    def read(self, size: int, /) -> bytes: ...


class Header(NamedTuple):
    """The beginning of a file."""

    digest: bytes
    """SHA-256 of the model."""
    model: bytes
    """The included model, as `pack_model` writes it; empty if there is none."""


def pack_model(model: Model) -> bytes:
    """Pack a model for `unpack_model`, without the names of its texts."""
    config = model.config
    vocab = model.vocab
    tensors = model.tensors
    shared = replace(
        config,
        corpus=(),
        init_from=None,
        extend_alphabet=False,
    )
    files = RunDescription.of(Path(), config=shared, vocab=vocab).files().values()
    blocks = [len(data).to_bytes(4, "little") for data in files]
    blocks += files

    # A cell that computes its weights from tensors has these tensors in float32, because weights
    # computed from int8 values would differ. Computed weights are other arrays than the tensors,
    # which `id` tells apart.
    linear = Architecture.of(config).linear_weights(tensors)
    matrices = {}
    for name, (product, _) in model.generator.int8_stepper.products.items():
        if product.bits:
            weight, _ = linear[name]
            matrices[id(weight)] = product

    for name in weight_shapes(config, len(vocab)):
        matrix = matrices.get(id(tensors[name]))
        if matrix is None:
            blocks += [b"\0", tensors[name].astype("<f4").tobytes()]
        else:
            scale = matrix.scale.astype("<f4")
            blocks += [b"\1", scale.tobytes(), matrix.values.tobytes()]

    # Without the time of writing, so that the same model gives the same bytes.
    data = b"".join(blocks)
    packed = gzip.compress(data, mtime=0)
    # Weights may be nearly all zero: compressed, they would look like a decompression bomb.
    if weight_bytes(config, len(vocab)) > _most_bytes(config, packed):
        packed = gzip.compress(data, 0, mtime=0)
    return packed


def _most_bytes(config: Config, packed: bytes) -> int:
    """Return how many bytes weights may take that are unpacked from `packed`."""
    return max(MAX_UNPACKED, MAX_RATIO * config.num_networks * len(packed))


def unpack_model(packed: bytes, name: str) -> Model:
    """Restore the model that the file `name` includes, with weights of the same int8 values and
    scales.

    Raises CheckpointError if the model is damaged, UsageError for a cell type that cannot
    decompress.
    """
    try:
        # Damaged scales may overflow; weights that are not finite are refused.
        with gzip.open(io.BytesIO(packed)) as file, np.errstate(all="ignore"):
            return _read_model(cast(BinaryIO, file), name=name, packed=packed)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CheckpointError(
            f"{name} is damaged: the model that it includes cannot be read ({error})."
        ) from error


def _read_model(file: BinaryIO, name: str, packed: bytes) -> Model:
    """Read an unpacked model. Raises ValueError for bytes that `pack_model` does not write."""
    # The sizes are checked before so many bytes are read: the file may be damaged.
    sizes = [int.from_bytes(file.read(4), "little") for _ in range(2)]
    if max(sizes) > MAX_TEXT_BYTES:
        raise ValueError("it is larger than a model can be")
    description = RunDescription(Path(name), *map(file.read, sizes))
    config = description.config()
    vocab = description.vocab()
    check_portable(config)

    # A small file must not unpack to weights that fill the memory (a decompression bomb).
    most = _most_bytes(config, packed)
    memory = memory_bytes()
    if memory is not None:
        most = min(most, memory // 2)
    if weight_bytes(config, len(vocab)) > most:
        raise ValueError("it unpacks to more than charrnn packs")

    tensors = {}
    for tensor, shape in weight_shapes(config, len(vocab)).items():
        # `frombuffer` and `reshape` raise ValueError where bytes are missing.
        is_int8 = file.read(1) == b"\1" and len(shape) == 2
        if is_int8:
            scale = np.frombuffer(file.read(4 * shape[0]), "<f4")
            values = np.frombuffer(file.read(prod(shape)), np.int8).reshape(shape)
            weights = values.astype(np.float32) * scale[:, None]
        else:
            weights = np.frombuffer(file.read(4 * prod(shape)), "<f4").reshape(shape)
        tensors[tensor] = weights.astype(np.float32)
        if not np.isfinite(weights).all():
            raise ValueError("its weights are not those of its configuration")

    # Nothing may follow; reading on also lets gzip check its CRC-32.
    if file.read(1):
        raise ValueError("its weights are not those of its configuration")
    return Model(config, vocab=vocab, tensors=tensors, name=name)


def check_portable(config: Config) -> None:
    """Raise UsageError for a cell type with which another machine could compute other numbers."""
    # Which functions a cell calls is known only for the cells of charrnn.
    reason = NOT_PORTABLE.get(config.cell)
    if not cell_type(config.cell).__module__.startswith("charrnn."):
        reason = "it comes from another package"

    if reason is not None:
        raise UsageError(
            f"The cell of this model is {config.cell}: {reason}, so the file might not open on"
            " another machine.\nCompress with a model of another cell, such as lstm."
        )


def check_model(header: Header, digest: bytes, *, file: str, run: str) -> None:
    """Raise CheckpointError if a file was compressed with another model than the model of a
    digest."""
    if header.digest != digest:
        raise CheckpointError(
            f"{file} was compressed with another model than {run}: its digest begins with"
            f" {header.digest.hex()[:12]}, that of {run} with {digest.hex()[:12]}.\nName the run"
            " that compressed it, or RUN@STEP: charrnn decompress RUN FILE"
        )


def digest_of(config: Config, vocab: Vocab, stepper: Stepper) -> bytes:
    """Return the SHA-256 of everything that decides the coded bytes: int8 weights, scales, tables,
    architecture, alphabet."""
    # Not the whole configuration: the same network may be trained by other settings.
    settings = {
        "cell": config.cell,
        "depth": config.depth,
        "num_layers": config.num_layers,
        "hidden_size": config.hidden_size,
        "zoneout": config.zoneout,
        "sum_outputs": config.sum_outputs,
        "end_id": config.end_id,
    }
    # The bytes that END stands for. NUL is left out, so that older files of such models stay valid.
    separator = separator_of(config, vocab)
    if separator != END:
        settings["separator"] = separator
    # The arrays that the stepper computes with, not the weights of the checkpoint: an included
    # model has other weights with the same int8 values.
    arrays = {f"table {name}": table for name, table in stepper.tables.items()}
    arrays["state"] = stepper.initial_state(1).vectors
    for name, (matrix, bias) in stepper.products.items():
        arrays[f"{name} values"] = matrix.values
        arrays[f"{name} scale"] = matrix.scale
        arrays[f"{name} bias"] = bias
    for layer, extras in enumerate(stepper.extras):
        arrays |= {f"{layer} {name}": values for name, values in extras.items()}

    # Sorted, and in a fixed byte order, so that the digest is the same on every machine.
    digest = hashlib.sha256(json.dumps([settings, vocab.to_json()], sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        kind = array.dtype.str.lstrip("<>|=")
        digest.update(f"{name} {kind} {array.shape}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


def _number(value: int) -> bytes:
    """Return a number in LEB128."""
    # Seven bits to a byte; the eighth says that another byte follows.
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def header_to_bytes(header: Header) -> bytes:
    """Return the beginning of a file."""
    fields = [
        START,
        header.digest,
        bytes([SYMBOL_BITS]),
        _number(len(header.model)),
        header.model,
    ]
    data = b"".join(fields)
    return data + _crc(data)


def cut_rows(data: bytes) -> list[bytes]:
    """Cut a segment into rows of nearly the same size, between two characters of UTF-8."""
    num_rows = max(1, min(MAX_ROWS, len(data) // LEAST_ROW_BYTES))
    cuts = [len(data) * row // num_rows for row in range(num_rows + 1)]
    for row in range(1, num_rows):
        # A character has at most three bytes after its first byte. A file that is no text may have
        # more such bytes in a row; then the cut may be anywhere.
        for _ in range(3):
            if data[cuts[row]] & 0xC0 == 0x80:
                cuts[row] -= 1

    return [data[begin:end] for begin, end in pairwise(cuts)]


def compress(
    coder: RowCoder, header: Header, source: Readable, num_bytes: int = 0
) -> Iterator[bytes]:
    """Yield a file block by block, each as soon as a segment of the text was read and coded.

    `num_bytes` is the size of the text for the progress, 0 if it is not known.
    """
    yield header_to_bytes(header)
    with task("compressing", total=num_bytes, unit="B") as coder.advance:
        while data := source.read(MAX_ROWS * ROW_BYTES):
            rows = cut_rows(data)
            blocks = list(zip(rows, coder.encode(rows), strict=True))

            # The table has its own CRC-32, because after a wrong size no row would be found.
            table = _number(len(rows))
            for row, coded in blocks:
                table += _number(len(row)) + _number(len(coded))
            yield table + _crc(table)

            # Each CRC-32 covers the text, too: coded bytes alone do not show that another model, or
            # another machine, decodes them to another text.
            for row, coded in blocks:
                yield coded + _crc(coded + row)
    yield _number(0)


class _Block(NamedTuple):
    """A row of a file."""

    size: int
    """Bytes of its text."""
    coded: bytes
    """The coded bytes of its text, or the text itself, if both sizes are the same."""
    crc: bytes
    """The CRC-32 of its coded bytes and its text."""


class _Reader:
    """Reads the fields of a file, and remembers the bytes that a CRC-32 verifies."""

    def __init__(self, source: Readable, name: str) -> None:
        # Only `read` is used, so that standard input needs no temporary file.
        self._source = source
        self._name = name
        self._seen = b""

    def damaged(self, problem: str) -> DataError:
        return DataError(f"{self._name} is damaged: {problem}.")

    def take(self, size: int, section: str) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._source.read(min(PIECE, size - len(data)))
            if not piece:
                raise self.damaged(f"it ends in {section}")
            data += piece
        self._seen += data
        return data

    def number(self, section: str) -> int:
        # Six bytes hold every size that occurs.
        value = 0
        for shift in range(0, 42, 7):
            byte = self.take(1, section)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise self.damaged(f"a number in {section} is too large")

    def check(self, what: str, consequence: str = "") -> None:
        """Verify the bytes that were taken since the last check."""
        crc = _crc(self._seen)
        self._seen = b""
        if self.take(4, what) != crc:
            raise self.damaged(f"{what} has changed{consequence}")

        # The CRC-32 itself, which `take` has added.
        self._seen = b""

    def header(self) -> Header:
        section = "its header"
        start = self._source.read(len(START))
        if not start.startswith(SIGNATURE):
            placeholder = placeholder_in(start + self._source.read(PLACEHOLDER_BYTES))
            raise DataError(f"{self._name} {placeholder or 'was not written by charrnn compress'}.")

        # Checked before the CRC-32, which may stand elsewhere in another version.
        if start not in (SIGNATURE, START):  # a file can end after its signature
            raise DataError(
                f"{self._name} has version {start[-1]} of the format, or is damaged: this charrnn"
                f" reads version {VERSION}."
            )

        # Impossible values are refused before so many bytes are read.
        self._seen = start
        digest = self.take(32, section)
        [num_bits] = self.take(1, section)
        model_size = self.number(section)
        if num_bits != SYMBOL_BITS or model_size > MAX_MODEL:
            raise self.damaged(f"{section} has changed")

        model = self.take(model_size, "the model that it includes")
        self.check(section)
        return Header(digest, model=model)

    def segment(self, num_before: int) -> list[_Block]:
        """Return the next blocks; none at the end. Raises DataError for a damaged table, and if the
        file ends in the table or a block."""
        table = f"the table before block {num_before + 1:,}"
        num_rows = self.number(table)
        if num_rows == 0:
            if self._source.read(1):
                raise self.damaged("something follows its end")
            return []

        # If the number of rows is wrong, no more are read than it takes to notice.
        sizes = []
        for _ in range(min(num_rows, MAX_ROWS + 1)):
            size = self.number(table)
            num_coded = self.number(table)
            sizes.append((size, num_coded))
        self.check(table, ", and nothing after it can be restored")
        is_possible = all(coded <= size <= ROW_BYTES + 3 for size, coded in sizes)
        if num_rows > MAX_ROWS or not is_possible:
            raise self.damaged(f"{table} has sizes that charrnn does not write")

        blocks: list[_Block] = []
        for size, num_coded in sizes:
            name = f"block {num_before + len(blocks) + 1:,}"
            coded = self.take(num_coded, name)
            blocks.append(_Block(size, coded, crc=self.take(4, name)))

        # The CRC-32 of the blocks is checked with their text.
        self._seen = b""
        return blocks


def read_header(source: Readable, name: str) -> Header:
    """Read the beginning of a file. Raises DataError if it is another file or damaged, or of
    another version."""
    return _Reader(source, name).header()


def decompress(coder: RowCoder, source: Readable, name: str) -> Iterator[bytes]:
    """Yield the text of a file after its header, block by block.

    Raises DataError that names the first block that is damaged.
    """
    # Block by block: verified text is written while the rest is decoded.
    reader = _Reader(source, name)
    num_blocks = 0
    begin = 0
    with task("restoring", unit="B") as coder.advance:
        while blocks := reader.segment(num_blocks):
            coder.advance.total += sum(block.size for block in blocks)
            for block, text in zip(blocks, _texts_of(coder, blocks), strict=True):
                num_blocks += 1
                if len(text) != block.size or _crc(block.coded + text) != block.crc:
                    raise reader.damaged(
                        f"block {num_blocks:,} ({block.size:,} bytes from byte {begin:,}) is not"
                        " the text that was compressed"
                    )
                begin += block.size
                yield text


def _texts_of(coder: RowCoder, blocks: Sequence[_Block]) -> Iterator[bytes]:
    """Yield the text of each block. The coded blocks are decoded together, side by side."""
    coded = [block for block in blocks if len(block.coded) < block.size]
    decoded: Iterator[bytes] = iter(())
    if coded:
        sizes = [block.size for block in coded]
        decoded = iter(coder.decode([block.coded for block in coded], sizes))

    # In the order of the file; a stored block is its text.
    for block in blocks:
        if len(block.coded) < block.size:
            yield next(decoded)
        else:
            coder.advance(block.size)
            yield block.coded
