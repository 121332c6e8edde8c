"""The file of the counts of a run, beside its checkpoints.

A safetensors file (docs/look-up/formats.md): the arrays of `NgramPredictor` and the powers of
`MixingPowers`. Its metadata have the digest of the model and the SHA-256 of all arrays. It is read,
then checked, then used: compiled loops use its numbers as indices without a check, and another
program may change a file at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import os
from collections.abc import Mapping
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.counts import contexts
from charrnn.counts.counted_model import Counts
from charrnn.counts.kneser_ney import end_or_none
from charrnn.counts.mixing_powers import MOST_POWER, NUM_PAIRS, MixingPowers
from charrnn.errors import CheckpointError, counted
from charrnn.runs.checkpoint import COUNTS_FILE
from charrnn.runs.model_file import ModelFile
from charrnn.system.files import (
    check_no_placeholder,
    check_regular,
    convert_os_errors,
    parse_json,
    write_atomically,
)
from charrnn.system.process import check_room, check_settings_of_numba

FORMAT = "1"
"""The version of the format."""
ORDER = 16
"""Characters of the n-grams that are counted, at most: a context of 15 characters and its follower
(benchmarks/LOG.md)."""
MOST_CHARS = 1 << 22
"""Characters that are counted, at most: `recipe.COUNTED_CHARS`, whose module imports torch."""
MOST_HEADER_BYTES = 100_000
"""Bytes of the header of a file, at most."""
MOST_BYTES = 1 << 29
"""Bytes of a file of an exported model, at most: more than MOST_CHARS characters give."""
BLOCK_BYTES = 1 << 22
"""Bytes that are read at once: signals are handled between two blocks."""
TYPES = {
    "ids": "U16",
    "places": "I32",
    "followers": "U16",
    "depths": "U8",
    "children": "I32",
    "intervals": "I64",
    "probabilities": "F64",
    "discounts": "F64",
    "powers": "F64",
    "is_used": "U8",
}
"""The arrays of a file, and their types in the names of safetensors."""
LEAST_DISCOUNTS = np.array((0, 1e-9, 1e-9, 1e-9))
"""Smallest discounts of counts of 0, 1, 2, and 3 or more: without a discount, an unseen character
would be impossible."""
LEAST_PROBABILITY = 1e-300
"""Smallest probability in a file: its logarithm is finite."""
DTYPES = {"U8": np.uint8, "U16": np.uint16, "I32": np.int32, "I64": np.int64, "F64": np.float64}
"""The types of NumPy by the names of safetensors."""

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by their names in the file."""


def write_counts(run: Path, counts: Counts, *, digest: str) -> None:
    """Write the counts into the folder of a run, for the model with this digest. Raises
    CharRNNError if they cannot be written."""
    predictor = counts.predictor
    arrays = {
        "ids": predictor.contexts.ids,
        "places": predictor.contexts.places,
        "followers": predictor.contexts.followers,
        "depths": predictor.contexts.depths,
        "children": predictor.frequent.children,
        "intervals": predictor.frequent.intervals,
        "probabilities": predictor.frequent.probabilities,
        "discounts": predictor.discounts,
        "powers": counts.powers.values,
        "is_used": np.array([counts.is_used], np.uint8),
    }
    metadata = {
        "format": FORMAT,
        "model_digest": digest,
        "sha256": _sha256(arrays),
    }
    write_atomically(run / COUNTS_FILE, _to_bytes(arrays, metadata))


def _to_bytes(arrays: Arrays, metadata: Mapping[str, str]) -> bytes:
    """Encode arrays in the format of safetensors, whose own writer stores the metadata in another
    order each time: the same training would write other bytes."""
    # Long numbers first, so that each array is aligned.
    names = sorted(TYPES, key=lambda name: -arrays[name].itemsize)
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in names:
        begin = end
        end += arrays[name].nbytes
        shape = arrays[name].shape
        header[name] = {"dtype": TYPES[name], "shape": shape, "data_offsets": (begin, end)}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    data = [np.ascontiguousarray(arrays[name]).data for name in names]
    return b"".join((len(encoded).to_bytes(8, "little"), encoded, *data))


class OtherModelError(CheckpointError):
    """The counts belong to another model."""


class Need(NamedTuple):
    """What compiled loops need of an array."""

    shape: tuple[int, ...]
    least: Any
    """The least number that it may have; of each column, if there are several."""
    most: Any


def needs_of_loops(shapes: Mapping[str, tuple[int, ...]], vocab_size: int) -> Mapping[str, Need]:
    """Return what the loops of `contexts`, `compiled_mixing` and `writing` need of each array that
    they use, by the shapes of all.

    Raises ValueError if the arrays are smaller or larger than those of a text that was counted.
    """
    num_chars = shapes["ids"][0]
    num_places = num_chars + 1
    num_frequent = shapes["children"][0]
    num_lengths = shapes["discounts"][0]

    # A context has at least one character. The frequent contexts of a length have no place in
    # common.
    most_frequent = num_places // (contexts.FREQUENT * vocab_size)
    num_contexts = sum(min(vocab_size**length, most_frequent) for length in range(1, num_lengths))
    if not (2 <= num_lengths <= min(ORDER, num_chars) and num_chars <= MOST_CHARS):
        raise ValueError
    if not 1 <= num_frequent <= 1 + num_contexts:
        raise ValueError

    # A discount is at most its count.
    return {
        "ids": Need((num_chars,), least=0, most=vocab_size - 1),
        "places": Need((num_places,), least=0, most=num_chars),
        "followers": Need((num_places,), least=0, most=vocab_size - 1),
        "depths": Need((num_places,), least=0, most=255),
        "children": Need((num_frequent, vocab_size), least=-1, most=num_frequent - 1),
        "intervals": Need((num_frequent, 2), least=0, most=num_places),
        "probabilities": Need((num_frequent, vocab_size), least=LEAST_PROBABILITY, most=1 + 1e-9),
        "discounts": Need((num_lengths, 4), least=LEAST_DISCOUNTS, most=np.arange(4)),
        "powers": Need((NUM_PAIRS, 2), least=0, most=MOST_POWER),
        "is_used": Need((1,), least=0, most=1),
    }


def read_counts(
    run: Path | ModelFile, digest: str | None, vocab_size: int, end_id: int | None = None
) -> Counts:
    """Read the counts from the folder of a run or from an exported model, for the model with this
    digest and an alphabet of `vocab_size` entries, of which `end_id` ends a document.

    Raises CheckpointError if they are missing or damaged, OtherModelError if they are for another
    model, UsageError if numba would obey a file of the current folder, CharRNNError if there is too
    little memory.
    """
    check_settings_of_numba()
    if isinstance(run, ModelFile):
        path = run.path / COUNTS_FILE
        with run.opened() as read_file:
            file = BytesIO(read_file(COUNTS_FILE, MOST_BYTES))
        arrays = _read(path, file, digest=digest, vocab_size=vocab_size)
    else:
        path = run / COUNTS_FILE
        with convert_os_errors("read", path=path, kind=CheckpointError):
            check_regular(path)
            check_no_placeholder(path)
            with path.open("rb") as opened:
                arrays = _read(path, opened, digest=digest, vocab_size=vocab_size)

    places = contexts.SortedContexts(
        ids=arrays["ids"],
        places=arrays["places"],
        followers=arrays["followers"],
        depths=arrays["depths"],
        # Only `counts_of_counts` reads it.
        shared=np.zeros(0, np.uint8),
    )
    frequent = contexts.FrequentContexts(
        children=arrays["children"],
        intervals=arrays["intervals"],
        probabilities=arrays["probabilities"],
    )
    longest = len(arrays["discounts"]) - 1
    predictor = contexts.NgramPredictor(
        places,
        frequent=frequent,
        longest=longest,
        discounts=arrays["discounts"],
        end_id=end_or_none(end_id),
    )
    powers = MixingPowers(arrays["powers"])
    return Counts(predictor, powers, is_used=bool(arrays["is_used"][0]))


class _Header(NamedTuple):
    """What the first bytes of a file say. Its arrays are in the order of TYPES."""

    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    begins: Mapping[str, int]
    """The first byte of each array in the file."""
    num_bytes: int
    """Bytes of the whole file."""


def _read(path: Path, file: BufferedIOBase, *, digest: str | None, vocab_size: int) -> Arrays:
    """Read and check the arrays of an open file. Raises the errors of `read_counts`, and
    OSError."""
    header = _read_header(path, file)
    if header.metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} was made by another version of charrnn.")
    if header.metadata.get("model_digest") != digest:
        raise OtherModelError(f"{path} was made for another model or another step.")

    # The sizes are checked before anything of that size is read.
    misfit = CheckpointError(f"{path} is damaged: its numbers do not fit together.")
    try:
        needs = needs_of_loops(header.shapes, vocab_size)
    except (IndexError, ValueError):
        raise misfit from None
    if any(header.shapes[name] != need.shape for name, need in needs.items()):
        raise misfit
    num_bytes = file.seek(0, os.SEEK_END)
    if num_bytes != header.num_bytes:
        raise CheckpointError(
            f"{path} is damaged: {counted(num_bytes, 'byte')}, expected {header.num_bytes:,}."
        )
    check_room(num_bytes, str(path))

    # The arrays are hashed while they are read: a second pass would read the file again.
    arrays = {}
    sha256 = hashlib.sha256()
    for name, shape in header.shapes.items():
        arrays[name] = np.empty(shape, DTYPES[TYPES[name]])
        file.seek(header.begins[name])
        left = arrays[name].data.cast("B")
        while left:
            block = left[:BLOCK_BYTES]
            if file.readinto(block) != len(block):
                raise CheckpointError(f"{path} is damaged: it changed while it was read.")
            sha256.update(block)
            left = left[len(block) :]
    if header.metadata.get("sha256") != sha256.hexdigest():
        raise CheckpointError(f"{path} is damaged: its SHA-256 is another one.")

    # The smallest number of an array with a nan is nan, which is not at least anything.
    for name, (_, least, most) in needs.items():
        array = arrays[name]
        is_good = (array.min(axis=0) >= least) & (array.max(axis=0) <= most)
        if not is_good.all():
            raise misfit
    return arrays


def _read_header(path: Path, file: BufferedIOBase) -> _Header:
    """Read the header of an open file. Raises CheckpointError unless it lists exactly the arrays of
    TYPES, and OSError."""
    # Its length in 8 bytes, then JSON and blanks.
    num_header_bytes = int.from_bytes(file.read(8).ljust(8, b"\xff"), "little")
    header_bytes = file.read(min(num_header_bytes, MOST_HEADER_BYTES))
    if num_header_bytes != len(header_bytes) or not header_bytes.rstrip(b" ").endswith(b"}"):
        raise CheckpointError(f"{path} is damaged: it has no header.")
    header: Any = parse_json(path, header_bytes)

    # The offsets of the header count from its end.
    end = 8 + num_header_bytes
    shapes = {}
    begins = {}
    try:
        metadata = {str(name): str(value) for name, value in header.pop("__metadata__").items()}
        if {name: entry["dtype"] for name, entry in header.items()} != TYPES:
            raise ValueError("its arrays are others")
        num_bytes = end
        for name in TYPES:
            shape = tuple(int(length) for length in header[name]["shape"])
            first, last = map(operator.index, header[name]["data_offsets"])
            size = np.dtype(DTYPES[TYPES[name]]).itemsize * math.prod(shape)
            # A wrong offset would read the numbers of another array.
            if last - first != size or first < 0:
                raise ValueError(f"{name} has another size than its shape")
            shapes[name] = shape
            begins[name] = end + first
            num_bytes += size
        if max(begins.values()) > num_bytes:
            raise ValueError("an array begins behind its end")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    return _Header(metadata, shapes=shapes, begins=begins, num_bytes=num_bytes)


def _sha256(arrays: Arrays) -> str:
    """Return the SHA-256 of all arrays, in the order of TYPES."""
    digest = hashlib.sha256()
    for name in TYPES:
        digest.update(np.ascontiguousarray(arrays[name]).view(np.uint8).data)
    return digest.hexdigest()
