"""How well each cell follows each detector in a trace, measured on text that the cell was not chosen on."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.registry import Detector
from charrnn.microscope.survey import Read, survey
from charrnn.microscope.trace import Trace
from charrnn.records.microscope import CellFindings

WINDOW = 8192
"""Characters that are looked at at once."""


def find_cells(trace: Trace, detectors: list[Detector], untrained: Trace | None = None) -> CellFindings:
    """The best cell for each detector, strongest first, as `survey` finds it in the cells of a trace.

    `untrained` is the trace of an untrained twin over the same text. Raises DataError for a text too short.
    """
    twin = None if untrained is None else _read_from(untrained)
    return survey(trace.text, _read_from(trace), trace.cells.shape[2], detectors, twin)


def _read_from(trace: Trace) -> Read:
    cells = trace.cells.reshape(len(trace.cells), trace.cells.shape[1] * trace.cells.shape[2])

    def read(begin: int, end: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        # Every so manieth character rather than stretches: the first window is to be a fair sample of the text.
        stride = -(-(end - begin) // WINDOW)
        for first in range(stride):
            yield np.arange(first, end - begin, stride), cells[begin + first : end : stride]

    return read
