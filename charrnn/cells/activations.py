"""The values of every cell over a text, kept in a temporary file, so that memory stays bounded.

Shapes: N characters, T time, B lanes, L layers, H units per layer, C = L * H cells.
"""

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.cells.finite import check_finite
from charrnn.cells.gates import GateCounter
from charrnn.cells.records import GateUse
from charrnn.errors import CharRNNError, counted
from charrnn.model.network import CharRNN
from charrnn.model.reading import read_in_lanes
from charrnn.text.encoded import EncodedText

ZEROS = bytes(1 << 20)
"""What the file is filled with where the system cannot reserve space."""


class Activations:
    """The value of each of C cells at each of the N characters of a text, in half precision.

    They are in a temporary file that is mapped into memory. On POSIX systems it has no name, so nothing is left of it
    when the process ends, however it ends; `close` removes it earlier.
    """

    text: EncodedText
    num_layers: int
    num_units: int
    gates: tuple[GateUse, ...]
    """How often the gates of each layer are saturated over the text, layer by layer; () without any."""
    keeping_gate: str | None
    """Letter of the gate that the memory before is multiplied with."""
    kept: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """(C,), (C,): the mean of that gate over the text, and the mean of its logarithm; None without such a gate."""
    dilations: tuple[int, ...]
    """(L,): from how many characters back each layer continues, so that its gate keeps the memory of that one."""

    def __init__(
        self,
        network: CharRNN,
        text: EncodedText,
        on_progress: Callable[[int], object] = lambda num_chars: None,
        *,
        counts_gates: bool = True,
    ) -> None:
        """Read the text once. `on_progress` is called with the number of characters read since its last call.

        Without `counts_gates`, `gates` is () and `kept` is None. Raises CharRNNError if there is no room for 2 * N * C
        bytes, CheckpointError for values that are not finite.
        """
        layers = network.recurrent_layers()
        self.text, self.num_layers, self.num_units = text, len(layers), network.hidden_size
        self.dilations = tuple(layer.dilation for layer in layers)
        self.keeping_gate = layers[0].cell.keeping_gate
        self._map: mmap.mmap | None
        self._file, self._map = _map_temporary(2 * self.num_cells * len(text))
        # For a study that is dropped: a file that only the interpreter closes is reported as a leak.
        weakref.finalize(self, self._file.close)
        try:
            counter = GateCounter(network) if layers[0].cell.gates and counts_gates else None
            self._read(network, counter, on_progress)
            self.gates = counter.uses() if counter is not None else ()
            self.kept = counter.kept() if counter is not None else None
        except BaseException:  # an interrupt, too; raised again
            self.close()
            raise

    @property
    def values(self) -> NDArray[np.float16]:
        """(C, N): the cell values, as in `Trace.cells`; cell column c is (layer, unit) = divmod(c, H)."""
        if self._map is None:
            raise ValueError("these activations are closed")
        return np.frombuffer(self._map, np.float16).reshape(self.num_cells, len(self.text))

    @property
    def num_cells(self) -> int:
        """C."""
        return self.num_layers * self.num_units

    @property
    def half(self) -> int:
        """The index at which the scoring half begins."""
        return len(self.text) // 2

    def of(self, layer: int, unit: int) -> NDArray[np.float32]:
        """Return the values (N,) of a cell."""
        values: NDArray[np.float32] = self.values[layer * self.num_units + unit].astype(np.float32)
        return values

    def blocks(self, size: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield (cells, values (c, N)) for at most `size` cells at a time: every cell once, in order."""
        for begin in range(0, self.num_cells, size):
            cells = slice(begin, min(begin + size, self.num_cells))
            block = self.values[cells].astype(np.float32)
            self._release_pages()
            yield cells, block

    def close(self) -> None:
        """Remove the file; a second call does nothing. An array from `values` keeps it until it is freed itself."""
        self._map = None
        self._file.close()

    def _read(self, network: CharRNN, counter: GateCounter | None, on_progress: Callable[[int], object]) -> None:
        ids, first, values = self.text.ids, self.text.first, self.values

        def step(inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            if counter is not None:
                return counter.read(inputs, state)
            _, cells, _, state = network.trace(inputs, state)
            return cells, state

        with torch.inference_mode():
            for positions, cells in read_in_lanes(step, network.initial_state, ids, first):
                is_text = positions < len(ids)
                if counter is not None:
                    counter.add(torch.from_numpy(is_text))
                check_finite(cells, "cell values")
                # (B, C, T): in the order of the file, in which each lane's characters follow each other.
                columns = cells.half().flatten(2).permute(1, 2, 0).contiguous().cpu().numpy()
                for lane, num_chars in enumerate(is_text.sum(axis=0).tolist()):
                    begin = int(positions[0, lane]) - first
                    if num_chars:
                        values[:, begin : begin + num_chars] = columns[lane, :, :num_chars]
                self._release_pages()
                on_progress(int(is_text.sum()))

    def _release_pages(self) -> None:
        """Take the file out of this process's memory; it stays in the system's file cache as long as there is room."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _map_temporary(num_bytes: int) -> tuple[IO[bytes], mmap.mmap]:
    """Map a new temporary file of zeros. Raises CharRNNError if it cannot be written."""
    try:
        file = tempfile.TemporaryFile(prefix="charrnn-")  # noqa: SIM115  # closed in `Activations.close`
        try:
            # All space is reserved now: writing to a mapped page without space on the disk would end the process.
            _reserve(file, num_bytes)
            return file, mmap.mmap(file.fileno(), num_bytes)
        except BaseException:  # an interrupt, too; raised again
            file.close()
            raise
    except OSError as error:
        raise CharRNNError(
            f"The values of all cells need {counted(num_bytes, 'byte')} in the folder for temporary files: "
            f"{error.strerror or error}.\n"
            "Set the environment variable TMPDIR to a folder with more space, or measure a shorter text."
        ) from error


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Make an empty file `num_bytes` long, with space for all of them on the disk. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            # Some file systems cannot reserve space.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
        else:
            return
    for begin in range(0, num_bytes, len(ZEROS)):
        file.write(ZEROS[: num_bytes - begin])
    file.flush()
