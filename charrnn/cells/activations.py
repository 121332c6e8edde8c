"""The values of all cells over a long text, in a temporary file that is mapped into memory.

Shapes: N characters, L layers, H units per layer, C = L * H cells, T and B as in `model.reading`.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.gates import GateCounter
from charrnn.cells.trace import states_of_text
from charrnn.errors import CharRNNError, counted
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import KnownStates, read_in_lanes
from charrnn.model.shapes import check_finite
from charrnn.system.arrays import Float32Array
from charrnn.system.lazy import torch
from charrnn.system.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.vocab import EncodedText

ZEROS = bytes(1 << 20)
"""The bytes that fill the file where no space can be reserved."""


class Activations:
    """The value of each of C cells at each of the N characters of a text, in half precision.

    On POSIX systems the temporary file has no name, so nothing is left of it when the arrays are
    freed or the process ends, however it ends.
    """

    def __init__(
        self, network: CharRNN, text: EncodedText, *, known: KnownStates | None = None
    ) -> None:
        """Read the text as a single pass from the beginning of its context. `known` are its
        `states_of_text`, if they were computed before.

        Raises CharRNNError if there is no room for 2 * N * C bytes, CheckpointError for values that
        are not finite.
        """
        layers = network.recurrent_layers()
        self.text = text
        self.num_layers = len(layers)
        self.num_units = network.hidden_size
        self.dilations = tuple(layer.dilation for layer in layers)
        """(L,): each layer continues from so many characters back, so its gate keeps the memory of
        that character."""
        self.keeping_gate = layers[0].cell.keeping_gate
        """Letter of the gate that the memory before is multiplied with."""
        self.values = _map_temporary(self.num_cells, len(text))
        """(C, N): the cell values, as in `Trace.cells`; cell column c is (layer, unit) = divmod(c,
        H)."""

        # The uses of the gates are counted in the same reading: a second one would take as long.
        counter = None
        if layers[0].cell.gates:
            counter = GateCounter(network)
        self._read(network, counter, known or states_of_text(network, text))
        self.gates = () if counter is None else counter.uses()
        """How often the gates of each layer are saturated over the text, layer by layer; () for a
        cell type without gates."""
        self.retention = None if counter is None else counter.retention()
        """(C,): the mean of the keeping gate over the text; None without such a gate."""

    @property
    def num_cells(self) -> int:
        """C."""
        return self.num_layers * self.num_units

    def of(self, layer: int, unit: int) -> Float32Array:
        """Return the values (N,) of a cell."""
        return np.asarray(self.values[layer * self.num_units + unit], np.float32)

    def _read(self, network: CharRNN, counter: GateCounter | None, known: KnownStates) -> None:
        ids = self.text.ids
        first = self.text.first
        values = self.values
        # Gates can only be counted in a reading that computes step by step, which is slower.
        read = network.trace if counter is None else counter.read
        with torch.inference_mode(), task("reading", total=len(self.text)) as advance:
            for positions, (_, cells, _) in read_in_lanes(
                read, network.initial_state, ids=ids, first=first, known=known
            ):
                is_text = positions < len(ids)
                if counter is not None:
                    counter.add(torch.from_numpy(is_text))
                check_finite(cells, "cell values")

                # (B, C, T): in the order of the file, in which each lane's characters follow each
                # other.
                columns = cells.half().flatten(2).permute(1, 2, 0).contiguous().cpu().numpy()
                for lane, num_chars in enumerate(is_text.sum(axis=0).tolist()):
                    begin = int(positions[0, lane]) - first
                    if num_chars:
                        values[:, begin : begin + num_chars] = columns[lane, :, :num_chars]

                # Written pages would otherwise count as memory of the process until it ends.
                release_pages(values)
                advance(int(is_text.sum()))


def _map_temporary(num_cells: int, num_chars: int) -> NDArray[np.float16]:
    """Map a new temporary file of zeros (C, N). Raises CharRNNError if it cannot be written."""
    num_bytes = 2 * num_cells * num_chars
    try:
        # The file exists as long as it is mapped.
        with tempfile.TemporaryFile(prefix="charrnn-") as file:
            # All space is taken now: writing to a mapped page without space on the disk would end
            # the process.
            _reserve(file, num_bytes)
            return np.asarray(np.memmap(file, np.float16, "r+", shape=(num_cells, num_chars)))
    except OSError as error:
        raise CharRNNError(
            f"The values of all cells need {counted(num_bytes, 'byte')} in the folder for temporary"
            f" files: {error.strerror or error}.\nSet the environment variable TMPDIR to a folder"
            " with more space, or measure a shorter text."
        ) from error


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Make an empty file `num_bytes` long, with space for all bytes on the disk. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        try:
            # Not by zeros: where a file system copies on write or compresses, the values need new
            # space.
            os.posix_fallocate(file.fileno(), 0, num_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise

    # Elsewhere, and on file systems that cannot reserve: written bytes have their space.
    for begin in range(0, num_bytes, len(ZEROS)):
        file.write(ZEROS[: num_bytes - begin])
    file.flush()
