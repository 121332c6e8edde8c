"""Characters per second of tracing every cell beside reading without a look inside, and of a whole survey.

    python benchmarks/trace_speed.py                        # lstm, gru and rnn of 2x512: rates, and their ratio
    python benchmarks/trace_speed.py --survey 1000000       # and a survey of so many characters with every detector

Both sides read the same ids in the same lanes (`model.reading`), in turn, in one process; medians of REPEATS after one
to warm up. The survey is `charrnn.Model.survey`, untrained twin and all, with what numba compiles and BLAS warms up.
"""

import argparse
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from charrnn.api import Model
from charrnn.config import Config
from charrnn.microscope.trace import stream_cells
from charrnn.model.network import CharRNN
from charrnn.model.reading import MAX_LANES, WINDOW, read_in_lanes
from charrnn.text.vocab import Vocab

REPEATS = 5
EMBEDDING_SIZE = 64
LINES = (
    "def measure(ranks, labels):  # one column for each cell\n",
    '    print("The lamp was lit before supper.", end="")\n',
    "    if labels[0] and (ranks > 3):\n        return {labels: [ranks]}\n\n",
    '"Leave the gate open," said the miller, and nobody answered.\n',
    "class Mill:\n    'A string that stands alone.'\n    wheels = 3\n",
)
"""Something for every detector."""


def make_model(cell: str, num_layers: int, hidden_size: int) -> Model:
    """A model with the weights that training starts from: what they say costs no time."""
    config = Config(cell=cell, num_layers=num_layers, hidden_size=hidden_size, embedding_size=EMBEDDING_SIZE)
    vocab = Vocab.from_text("".join(LINES), min_count=1)
    network = CharRNN(config, len(vocab))
    return Model(config, vocab, {name: value.numpy() for name, value in network.state_dict().items()})


def make_text(num_chars: int) -> str:
    """So many characters of source code and prose."""
    draw = random.Random(0)
    return "".join(draw.choices(LINES, k=num_chars // 40))[:num_chars]


def in_turn(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call."""
    times: list[list[float]] = []
    for _ in range(1 + REPEATS):
        row = []
        for call in calls:
            begin = time.perf_counter()
            call()
            row.append(time.perf_counter() - begin)
        times.append(row)
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def compare(cell: str, num_layers: int, hidden_size: int) -> None:
    """Print one row: characters per second read, traced, and their ratio."""
    network = make_model(cell, num_layers, hidden_size).network
    num_chars = 2 * WINDOW * MAX_LANES
    ids = np.random.default_rng(0).integers(0, network.output.out_features, num_chars).astype(np.uint16)

    def read() -> None:
        def step(inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return network(inputs, state)  # type: ignore[no-any-return]

        with torch.inference_mode():
            for _ in read_in_lanes(step, network.initial_state, ids):
                pass

    def trace() -> None:
        for _ in stream_cells(network, ids, 0):
            pass

    plain, traced = in_turn(read, trace)
    shape = f"{num_layers}x{hidden_size}"
    print(
        f"{cell:<6} {shape:<8} {num_chars / plain:>10,.0f} {num_chars / traced:>10,.0f} {plain / traced:>6.2f}",
        flush=True,
    )


def time_survey(num_chars: int, num_layers: int, hidden_size: int) -> None:
    """Print the seconds that a survey takes and the most memory that this process has held."""
    model, text = make_model("lstm", num_layers, hidden_size), make_text(num_chars)
    begin = time.perf_counter()
    findings = model.survey(text)
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"survey of {num_chars:,} characters, {findings.num_cells:,} cells, {len(findings.scores)} detectors: "
        f"{seconds:.1f} s; {memory:.2f} GiB at the most"
    )


def main() -> None:
    """Print the machine, the table, and the survey if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--survey", type=int, metavar="CHARS")
    parser.add_argument("--num-layers", type=int, default=2)
    parser.add_argument("--hidden-size", type=int, default=512)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'cell':<6} {'shape':<8} {'read':>10} {'traced':>10} {'ratio':>6}")
    for cell in ("lstm", "gru", "rnn"):
        compare(cell, arguments.num_layers, arguments.hidden_size)
    if arguments.survey:
        time_survey(arguments.survey, arguments.num_layers, arguments.hidden_size)


if __name__ == "__main__":
    main()
