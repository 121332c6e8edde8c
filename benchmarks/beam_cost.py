"""Measure microseconds per character of beam search: wide beams beside one of width 1, alternating
in one process.

    python benchmarks/beam_cost.py                       # 2x256 LSTM, 65 characters, random weights
    OMP_NUM_THREADS=1 python benchmarks/beam_cost.py     # on one core

A figure is the median time of a search of LENGTH characters, divided by LENGTH. Searches repeat for
SECONDS, at least REPEATS times, after one to warm up. The last column is the ratio to width 1.
`step` is the time of the model alone, without the search. The matrix products of a beam of width N
do N times the work.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import Report, in_turn, make_parser

from charrnn.config.architectures import CELLS
from charrnn.config.settings import Config
from charrnn.generation.beam import BeamSearch
from charrnn.generation.sample_options import SearchOptions
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper

VOCAB_SIZE = 65
LENGTH = 200
REPEATS, SECONDS = 5, 20.0
PRIME = np.arange(20)


def make_stepper(cell: str, num_layers: int, hidden_size: int) -> Stepper:
    """Build a network with random weights."""
    config = Config(
        cell=cell, num_layers=num_layers, hidden_size=hidden_size, embedding_size=64, dropout=0.0
    )
    tensors = CharRNN(config, VOCAB_SIZE).state_dict()
    return Stepper(config, {name: value.numpy() for name, value in tensors.items()})


def search(stepper: Stepper, width: int, **options: Any) -> Callable[[], object]:
    """Run one search."""
    beams = BeamSearch(stepper, PRIME, SearchOptions(width=width, length=LENGTH, **options))
    return lambda: list(beams)


def steps(stepper: Stepper, width: int) -> Callable[[], object]:
    """Run as many steps of the model as a search takes, all on the same characters."""
    ids, state = np.arange(width) % VOCAB_SIZE, stepper.initial_state(width)

    def run() -> None:
        for _ in range(LENGTH):
            stepper.step(ids, state)

    return run


def main() -> None:
    """Report one row per kind of search."""
    parser = make_parser(__doc__)
    parser.add_argument("--cell", default="lstm", choices=CELLS)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to measure")
    arguments = parser.parse_args()
    report = Report("beam_cost", as_json=arguments.json)
    stepper, width = (
        make_stepper(arguments.cell, arguments.layers, arguments.hidden),
        arguments.width,
    )
    runs = {
        "width 1": search(stepper, 1),
        f"width {width}": search(stepper, width),
        f"no_repeat=20, width {width}": search(stepper, width, no_repeat=20),
        "step, width 1": steps(stepper, 1),
        f"step, width {width}": steps(stepper, width),
    }
    medians = in_turn(
        *runs.values(), warm_ups=1, repeats=REPEATS, at_least_seconds=arguments.seconds
    )
    for name, median in zip(runs, medians, strict=True):
        single = (
            medians[list(runs).index("step, width 1")] if name.startswith("step") else medians[0]
        )
        report.add(
            search=name,
            model=f"{arguments.cell} {arguments.layers}x{arguments.hidden}",
            microseconds_per_char=median / LENGTH * 1e6,
            ratio=median / single,
        )
    report.close()


if __name__ == "__main__":
    main()
