"""Run every compiled loop with its bounds checked, on arrays of sizes that training never makes and
on everything that the readers of files accept.

`test_bounds.py` starts this file in a process of its own, because numba reads NUMBA_BOUNDSCHECK
when it is imported. An index out of bounds is an IndexError here; without the check it would be
read or written. The last line of the output has the names of the loops that ran.
"""

import json
import sys
from pathlib import Path

import numba
import numpy as np
import safetensors.numpy
from hand_built import draw_texts

from charrnn.compiled import sampling as loops
from charrnn.config.settings import Config
from charrnn.counts import contexts, writing
from charrnn.counts.counted_model import CountedStepper, Counts
from charrnn.counts.counts_file import COUNTS_FILE, DTYPES, TYPES, _sha256, read_counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.counts.mixing_powers import NUM_PAIRS
from charrnn.errors import CheckpointError
from charrnn.generation import sampling
from charrnn.model.shapes import check_shapes, weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.statistics.histograms import _compiled_fill
from charrnn.system.compiling import CompiledLoop

SHAPINGS = [{}, {"temperature": 0.5, "top_k": 1, "top_p": 0.5, "min_p": 0.1}]
HIDDEN_SIZE, VOCAB_SIZE = 21, 17
NUM_FILES = 400
"""Files of counts that are made at random."""
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
    sizes |= {"cell": "lstm", "depth": "stacked", **settings}
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
    for cell in loops.KINDS:
        for depth in loops.DEPTHS:
            draw(stepper_of(rng, cell=cell, depth=depth, num_layers=2))
    for vocab_size in (1, 2, 300):
        draw(stepper_of(rng, vocab_size=vocab_size))
    for hidden_size in (1, 2, 16, 33):
        draw(stepper_of(rng, hidden_size=hidden_size))
    for scale in (0.0, 1e30, 3e37):
        with np.errstate(all="ignore"):
            draw(stepper_of(rng, scale=scale))


def random_counts(rng, vocab_size):
    """The arrays of a file: sizes as they come, and numbers that are mostly in their range."""
    num_lengths = int(rng.choice([0, 1, 2, 3, 7, 16, 17]))
    num_chars = int(rng.choice([0, 1, 2, 7, 17, 400]))
    num_frequent = int(rng.choice([0, 1, 1, 2, 3]))
    frequent = (num_frequent, vocab_size)
    discounts = rng.uniform(0.0, 1.0, (num_lengths, 4)) * np.arange(4)
    arrays = {
        "ids": rng.integers(0, vocab_size, num_chars),
        "places": rng.integers(0, num_chars + 1, num_chars + 1),
        "followers": rng.integers(0, vocab_size, num_chars + 1),
        "depths": rng.integers(0, 256, num_chars + 1),
        "children": rng.integers(-1, max(1, num_frequent), frequent),
        "intervals": rng.integers(0, num_chars + 2, (num_frequent, 2)),
        "probabilities": rng.uniform(1e-9, 1, frequent),
        "discounts": discounts,
        "powers": rng.uniform(0, 10, (NUM_PAIRS, 2)),
        "is_used": np.ones(1),
    }
    arrays = {name: arrays[name].astype(DTYPES[kind]) for name, kind in TYPES.items()}

    # Now and then a number at the end of its type, or a row too many or too few.
    name = str(rng.choice(list(TYPES)))
    array = arrays[name]
    kind = rng.integers(0, 6)
    if kind == 0 and array.size:
        limits = np.finfo(array.dtype) if array.dtype.kind == "f" else np.iinfo(array.dtype)
        array.flat[rng.integers(0, array.size)] = rng.choice([limits.min, limits.max])
    elif kind == 1:
        arrays[name] = array[:-1].copy()
    elif kind == 2:
        arrays[name] = np.concatenate((array, array[:1]))
    return arrays


def run_counts(rng, folder: Path, stepper) -> None:
    """Write files with right digests, and use each that the reader accepts."""
    num_read = 0
    for _ in range(NUM_FILES):
        vocab_size = int(rng.choice([1, 2, 3, VOCAB_SIZE]))
        arrays = random_counts(rng, vocab_size)
        metadata = {"format": "1", "model_digest": "d", "sha256": _sha256(arrays)}
        (folder / COUNTS_FILE).write_bytes(safetensors.numpy.save(arrays, metadata))
        try:
            counts = read_counts(folder, "d", vocab_size)
        except CheckpointError:
            continue
        num_read += 1
        use(counts, rng, stepper)
    assert NUM_FILES / 20 < num_read < NUM_FILES / 2, num_read


def use(counts: Counts, rng, stepper) -> None:
    vocab_size = counts.predictor.vocab_size
    histories = rng.integers(-1, vocab_size, (6, counts.predictor.longest))
    counts.predictor.after(histories)
    counts.predictor.longest_contexts(histories)
    logits = rng.standard_normal((6, vocab_size)).astype(np.float32)
    logits[0] = np.nan
    logits[1] = np.inf
    counts.mix_many(logits, histories=histories)
    if vocab_size == VOCAB_SIZE:
        draw(CountedStepper(stepper, counts))


def run_counting(rng) -> None:
    """Texts of one character and more, with contexts as long as the text."""
    for vocab_size in (1, 2, VOCAB_SIZE):
        for num_chars in (1, 2, 5, 300):
            ids = rng.integers(0, vocab_size, num_chars).astype(np.uint16)
            for order in {1, 2, min(num_chars, 16)}:
                if order > num_chars:
                    continue
                predictor = NgramModel.fit(ids, vocab_size, order).predictor()
                histories = rng.integers(-1, vocab_size, (4, order - 1))
                assert np.allclose(predictor.after(histories).sum(axis=1), 1)


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
    contexts.MOST_OF_PYTHON = 0
    note_calls()
    rng = np.random.default_rng(7)
    run_networks(rng)
    run_counts(rng, folder, stepper_of(rng))
    run_counting(rng)
    run_histograms(rng)
    for loop in (*loops.LOOPS.values(), writing.LOOP, contexts._predict):
        assert loop._dispatcher.py_func.__name__ in RAN
    print(json.dumps(sorted(RAN)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
