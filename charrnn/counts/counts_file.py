"""The file of the counts of a run, beside its checkpoints: written once, read by mapping it into
memory.

A safetensors file (docs/formats.md): the arrays of `NgramPredictor` and the powers of
`MixingPowers`. Its metadata have the digest of the model and the SHA-256 of all arrays. The arrays
are checked when they are read, because compiled loops use them as indices without a check.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from charrnn.counts.counted_model import Counts
from charrnn.counts.kneser_ney import MOST_ORDER, NgramPredictor
from charrnn.counts.mixing_powers import MOST_POWER, NUM_PAIRS, MixingPowers
from charrnn.errors import CheckpointError
from charrnn.system.files import (
    check_no_placeholder,
    check_regular,
    convert_os_errors,
    parse_json,
    write_atomically,
)
from charrnn.system.lazy import LazyModule
from charrnn.system.process import check_settings_of_numba

if TYPE_CHECKING:
    from charrnn.counts import contexts
else:
    # The name of the file is needed without numba.
    contexts = LazyModule("charrnn.counts.contexts")

COUNTS_FILE = "counts.safetensors"
"""The name of the file in the folder of a run."""
FORMAT = "1"
"""The version of the format."""
MOST_HEADER_BYTES = 100_000
"""Bytes of the header of a file, at most."""
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
    }
    metadata = {"format": FORMAT, "model_digest": digest, "sha256": _sha256(arrays)}
    write_atomically(run / COUNTS_FILE, safetensors.numpy.save(arrays, metadata))


def read_counts(run: Path, digest: str | None, vocab_size: int) -> Counts:
    """Read the counts from the folder of a run, for the model with this digest and an alphabet of
    `vocab_size` entries.

    Raises CheckpointError if they are missing, damaged, or for another model, UsageError if numba
    would obey a file of the current folder.
    """
    check_settings_of_numba()
    path = run / COUNTS_FILE
    with convert_os_errors("read", path=path, kind=CheckpointError):
        check_regular(path)
        check_no_placeholder(path)
        # An empty file cannot be mapped.
        mapped = np.zeros(0, np.uint8)
        if path.stat().st_size > 0:
            mapped = np.memmap(path, np.uint8, mode="c")
    arrays, metadata = _arrays_of(path, mapped)

    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} was made by another version of charrnn.")
    if metadata.get("model_digest") != digest:
        raise CheckpointError(f"{path} was made for another model or another step.")
    if metadata.get("sha256") != _sha256(arrays):
        raise CheckpointError(f"{path} is damaged: its SHA-256 is another one.")
    _check(path, arrays, vocab_size)

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
    predictor = NgramPredictor(
        places, frequent=frequent, longest=longest, discounts=arrays["discounts"]
    )
    return Counts(predictor, powers=MixingPowers(arrays["powers"]))


def _arrays_of(path: Path, mapped: NDArray[np.uint8]) -> tuple[Arrays, Mapping[str, str]]:
    """Return views of the arrays in a mapped file, and its metadata. Raises CheckpointError unless
    it has exactly the arrays of TYPES."""
    # The header: its length in 8 bytes, then JSON.
    num_header_bytes = int.from_bytes(mapped[:8].tobytes(), "little")
    if len(mapped) < 8 or num_header_bytes > min(MOST_HEADER_BYTES, len(mapped) - 8):
        raise CheckpointError(f"{path} is damaged: it has no header.")
    begin = 8 + num_header_bytes
    header: Any = parse_json(path, mapped[8:begin].tobytes())

    try:
        metadata = {str(name): str(value) for name, value in header.pop("__metadata__").items()}
        types = {name: entry["dtype"] for name, entry in header.items()}
        if types != TYPES:
            raise ValueError("its arrays are others")
        arrays = {}
        for name, entry in header.items():
            dtype = np.dtype(DTYPES[entry["dtype"]])
            first, last = entry["data_offsets"]
            shape = [int(length) for length in entry["shape"]]
            if last - first != dtype.itemsize * math.prod(shape) or min(shape) < 0:
                raise ValueError(f"{name} has another size than its shape")
            array_bytes = np.asarray(mapped[begin + first : begin + last])
            arrays[name] = array_bytes.view(dtype).reshape(shape)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error
    return arrays, metadata


def _check(path: Path, arrays: Arrays, vocab_size: int) -> None:
    """Raise CheckpointError unless every number that a compiled loop uses as an index is within the
    arrays."""
    num_chars = len(arrays["ids"])
    num_places = num_chars + 1
    num_frequent = len(arrays["children"])
    num_lengths = len(arrays["discounts"])
    shapes = {
        "ids": (num_chars,),
        "places": (num_places,),
        "followers": (num_places,),
        "depths": (num_places,),
        "children": (num_frequent, vocab_size),
        "intervals": (num_frequent, 2),
        "probabilities": (num_frequent, vocab_size),
        "discounts": (num_lengths, 4),
        "powers": (NUM_PAIRS, 2),
    }
    # The least and the largest number of each array. A discount is at most its count.
    limits: dict[str, tuple[Any, Any]] = {
        "ids": (0, vocab_size - 1),
        "places": (0, num_chars),
        "followers": (0, vocab_size - 1),
        "children": (-1, num_frequent - 1),
        "intervals": (0, num_places),
        "probabilities": (LEAST_PROBABILITY, 1 + 1e-9),
        "discounts": (LEAST_DISCOUNTS, np.arange(4)),
        "powers": (-MOST_POWER, MOST_POWER),
    }
    is_good = 1 <= num_lengths <= MOST_ORDER and num_frequent >= 1 and num_chars >= 1
    is_good &= all(arrays[name].shape == shape for name, shape in shapes.items())
    for name, (least, most) in limits.items():
        # A nan is not between them either.
        is_good = is_good and bool(((arrays[name] >= least) & (arrays[name] <= most)).all())
    if not is_good:
        raise CheckpointError(f"{path} is damaged: its numbers do not fit together.")


def _sha256(arrays: Arrays) -> str:
    """Return the SHA-256 of all arrays, in the order of TYPES."""
    digest = hashlib.sha256()
    for name in TYPES:
        digest.update(np.ascontiguousarray(arrays[name]).view(np.uint8).data)
    return digest.hexdigest()
