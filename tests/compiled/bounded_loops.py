"""Run every compiled loop with its bounds checked, on arrays of sizes that training never makes.

`test_bounds.py` starts this file in a process of its own, because numba reads NUMBA_BOUNDSCHECK
when it is imported. An index out of bounds is an IndexError here; without the check it would be
read or written. The last line of the output has the names of the loops that ran.
"""

import json
import sys
from pathlib import Path

import numba
import numpy as np
from hand_built import draw_texts

from charrnn.compiled import sampling as loops
from charrnn.config.settings import Config
from charrnn.generation import sampling
from charrnn.model.shapes import check_shapes, weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.statistics.histograms import _compiled_fill
from charrnn.system.compiling import CompiledLoop

SHAPINGS = [{}, {"temperature": 0.5, "top_k": 1, "top_p": 0.5, "min_p": 0.1}]
HIDDEN_SIZE, VOCAB_SIZE = 21, 17
RAN: set[str] = set()
"""The names of the functions that ran compiled."""


def note_calls() -> None:
    call = CompiledLoop.__call__

    def call_and_note(loop: CompiledLoop, *arguments):
        assert isinstance(loop._dispatcher, numba.core.dispatcher.Dispatcher)
        RAN.add(loop._dispatcher.py_func.__name__)
        return call(loop, *arguments)

    CompiledLoop.__call__ = call_and_note


def stepper_of(rng, scale=1.0, vocab_size=VOCAB_SIZE, **settings):
    """A stepper of random weights that its file may have, however large."""
    sizes = {"hidden_size": HIDDEN_SIZE, "embedding_size": 3, "num_layers": 1}
    sizes |= {"cell_type": "lstm", "depth": "stacked", **settings}
    config = Config(dropout=0.0, **sizes)
    tensors = {
        name: (scale * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in weight_shapes(config, vocab_size).items()
    }
    assert check_shapes(config, tensors) == vocab_size
    return Stepper(config, tensors, "int8")


def draw(stepper) -> None:
    ids = np.arange(9) % stepper.vocab_size
    for shaping in SHAPINGS:
        draw_texts(stepper, ids, [1, 2], length=12, **shaping)


def run_networks(rng) -> None:
    """Each cell type and depth; alphabets of one character; no weight, and the largest ones."""
    for cell in loops.network.KINDS:
        for depth in loops.network.DEPTHS:
            draw(stepper_of(rng, cell_type=cell, depth=depth, num_layers=2))
    for vocab_size in (1, 2, 300):
        draw(stepper_of(rng, vocab_size=vocab_size))
    for hidden_size in (1, 2, 16, 33):
        draw(stepper_of(rng, hidden_size=hidden_size))
    for scale in (0.0, 1e30, 3e37):
        with np.errstate(all="ignore"):
            draw(stepper_of(rng, scale=scale))


def run_histograms(rng) -> None:
    for num_bins, num_labels, num_values in ((1, 1, 0), (2, 0, 5), (512, 3, 40)):
        values = rng.standard_normal((2, num_values)).astype(np.float32)
        values[:, :1] = np.nan
        edges = np.sort(rng.standard_normal((2, num_bins - 1)).astype(np.float32))
        labels = rng.uniform(size=(num_values, num_labels))
        counts = np.zeros((2, num_bins), np.int64)
        _compiled_fill.run(values, edges, labels, counts, np.zeros((2, num_bins, num_labels)))


def main(folder: Path) -> None:
    assert numba.config.BOUNDSCHECK
    sampling.COMPILED_FROM = sampling.UNCACHED_FROM = 0
    note_calls()
    rng = np.random.default_rng(7)
    run_networks(rng)
    run_histograms(rng)
    for loop in loops.LOOPS.values():
        assert loop._dispatcher.py_func.__name__ in RAN
    print(json.dumps(sorted(RAN)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
