"""Bits per byte of general compressors, a familiar reference for the loss of a model.

A text costs what it adds to the training text: 8 · (size of both, compressed together, minus the size of the training
text alone) / bytes of the text. So the compressor, like a model, has read the training text before. Unlike a model it
keeps learning from the text it compresses: compare it with dynamic evaluation, too.
"""

import lzma
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

MOST_TRAINING_BYTES = 1 << 23
"""Bytes of the training text that a compressor reads: the last ones."""
MOST_TEXT_BYTES = 1 << 22
"""Bytes of the text that are compressed: the first ones."""
PPMD_ORDER = 16
"""Bytes of context, at most, that PPMd uses; more do not help (benchmarks/LOG.md)."""
BLOCK_BYTES = 1 << 16
"""Bytes that are compressed between two reports of progress."""

OnProgress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Compressor:
    """A compressor by the name and option of its command line."""

    name: str
    added_bytes: Callable[[bytes, bytes, OnProgress], int]
    """Returns by how much a text enlarges the compressed training text."""
    package: str | None = None
    """The package that contains it; None for the standard library."""
    training_passes: int = 1
    """How often it reads the training text."""

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed."""
        return self.package is None or find_spec(self.package) is not None

    def bits_per_byte(self, training: bytes, text: bytes, on_progress: OnProgress = lambda num_bytes: None) -> float:
        """Compute the bits per byte of `text` after `training`.

        `on_progress` is called with the bytes read since its last call, `num_bytes` in all. Raises ValueError for an
        empty text.
        """
        if not text:
            raise ValueError("nothing to compress")
        return 8 * self.added_bytes(training, text, on_progress) / len(text)

    def num_bytes(self, training: bytes, text: bytes) -> int:
        """Return how many bytes `bits_per_byte` reads."""
        return self.training_passes * len(training) + len(text)


def _xz_size(data: bytes, on_progress: OnProgress) -> int:
    # The dictionary of the preset, 64 MiB, takes 0.7 GB of memory. One as long as the text finds the same matches.
    dictionary = max(1 << 16, 1 << (len(data) - 1).bit_length())
    preset = 9 | lzma.PRESET_EXTREME
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    return _compressed_size(compressor.compress, data, on_progress) + len(compressor.flush())


def _compressed_size(compress: Callable[[bytes], bytes], data: bytes, on_progress: OnProgress) -> int:
    size = 0
    for begin in range(0, len(data), BLOCK_BYTES):
        block = data[begin : begin + BLOCK_BYTES]
        size += len(compress(block))
        on_progress(len(block))
    return size


def _xz_added(training: bytes, text: bytes, on_progress: OnProgress) -> int:
    return _xz_size(training + text, on_progress) - _xz_size(training, on_progress)


def _ppmd_added(training: bytes, text: bytes, on_progress: OnProgress) -> int:
    """Compress both in one pass: apart from a few bytes, the output never lags behind the input."""
    import pyppmd

    # Variant H, with memory in which the statistics of both never have to be dropped.
    encoder: Any = pyppmd.Ppmd7Encoder(PPMD_ORDER, max(1 << 24, 32 * (len(training) + len(text))))
    _compressed_size(encoder.encode, training, on_progress)
    return _compressed_size(encoder.encode, text, on_progress) + len(encoder.flush())


COMPRESSORS = (
    Compressor("xz -9e", _xz_added, training_passes=2),
    Compressor(f"PPMd -o{PPMD_ORDER}", _ppmd_added, package="pyppmd"),
)
"""The compressors of `evaluate --ngrams`."""
