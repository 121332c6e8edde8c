"""A model in a .crnn file: the int8 weights that it computes with, and the rest in float32, packed by gzip.

    sizes      of config.yaml and of vocab.json, four bytes each, the lowest first; then both files
    tensors    in the order of `model.shapes.weight_shapes`, each after a byte:
               0: its values in float32; 1: the scale (R,) of each row in float32, then the values (R, C) in int8

A product of weights in int8 depends on those and on their scales alone, so that the other digits are left out: the
restored weights are the values times the scale, of which `Matrix` makes the same values and the same scales again.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.apps.compress.container import check_portable
from charrnn.config import Config
from charrnn.errors import CheckpointError
from charrnn.files import MAX_TEXT_BYTES
from charrnn.model.portable_math import Matrix
from charrnn.model.shapes import weight_bytes, weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.model.walk import Architecture
from charrnn.runs.description import Description
from charrnn.text.vocab import Vocab

MAX_UNPACKED, MAX_RATIO = 1 << 26, 32
"""Weights of more bytes may take this many times the packed ones at most, eight of which are usual."""


def pack_model(config: Config, vocab: Vocab, tensors: Mapping[str, NDArray[Any]], stepper: Stepper) -> bytes:
    """Return a model for `unpack_model`; its stepper is that of precision `int8`. Names of its texts are left out."""
    shared = replace(config, corpus=(), init_from=None, extend_alphabet=False)
    files = [*Description.of(Path(), shared, vocab).files().values()]
    parts = [*(len(data).to_bytes(4, "little") for data in files), *files]
    # A cell that computes its weights from others has those in float32: what it would compute from int8 differs.
    linear = Architecture.of(config).linear_weights(tensors)
    matrices = {id(linear[name][0]): matrix for name, (matrix, _) in stepper.products.items() if matrix.bits}
    if (trigrams := tensors.get("trigrams.weight")) is not None:
        matrices[id(trigrams)] = Matrix(trigrams, is_int8=True)
    for name in weight_shapes(config, len(vocab)):
        if (matrix := matrices.get(id(tensors[name]))) is None:
            parts += [b"\0", tensors[name].astype("<f4").tobytes()]
        else:
            parts += [b"\1", matrix.scale.astype("<f4").tobytes(), matrix.values.tobytes()]
    return gzip.compress(b"".join(parts), mtime=0)


def unpack_model(packed: bytes, name: str) -> Model:
    """Restore the model that the file `name` includes, with weights of the same int8 values and scales.

    Raises CheckpointError if it is damaged, UsageError for a cell type with which it cannot decompress.
    """
    try:
        with gzip.open(io.BytesIO(packed)) as file, np.errstate(all="ignore"):  # what is not finite is refused
            return _read(cast(BinaryIO, file), name, len(packed))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CheckpointError(f"{name} is damaged: the model that it includes cannot be read ({error}).") from error


def _read(file: BinaryIO, name: str, num_packed: int) -> Model:
    sizes = [int.from_bytes(file.read(4), "little") for _ in range(2)]
    if max(sizes) > MAX_TEXT_BYTES:
        raise ValueError("it is larger than a model can be")
    description = Description(Path(name), *map(file.read, sizes))
    config, vocab = description.config(), description.vocab()
    check_portable(config)
    if weight_bytes(config, len(vocab)) > max(MAX_UNPACKED, MAX_RATIO * num_packed):
        raise ValueError("it unpacks to more than charrnn packs")
    tensors = {}
    for tensor, shape in weight_shapes(config, len(vocab)).items():
        is_int8 = file.read(1) == b"\1" and len(shape) == 2
        scale = np.frombuffer(file.read(4 * shape[0]), "<f4")[:, None] if is_int8 else np.float32(1)
        values = np.frombuffer(file.read(prod(shape) * (1 if is_int8 else 4)), np.int8 if is_int8 else "<f4")
        tensors[tensor] = values.reshape(shape).astype(np.float32) * scale
    if file.read(1) or not all(np.isfinite(values).all() for values in tensors.values()):
        raise ValueError("its weights are not those of its configuration")
    return Model(config, vocab, tensors, name=name)
