"""Measure characters per second of tracing every cell, beside reading without a trace, and of a
survey.

    python benchmarks/trace_speed.py                        # lstm, gru and rnn of 2x512: rates, and their ratio
    python benchmarks/trace_speed.py --survey 1000000       # and a survey of 1,000,000 characters with every detector

Both read the same ids in the same lanes (`model.reading`), alternating in one process; medians of
REPEATS after one to warm up. The survey is `charrnn.Model.survey`, with the untrained baseline,
compilation by numba and warm-up of BLAS.
"""

import random
import resource
import time

import numpy as np
import torch
from measuring import Report, in_turn, make_parser
from torch import Tensor

from charrnn.api import Model
from charrnn.cells.trace import stream_cells
from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.model.reading import MAX_LANES, WINDOW, read_in_lanes
from charrnn.text.vocab import UNKNOWN, EncodedText, Vocab

REPEATS = 5
EMBEDDING_SIZE = 64
LINES = (
    "def measure(ranks, labels):  # one column for each cell\n",
    '    print("The lamp was lit before supper.", end="")\n',
    "    if labels[0] and (ranks > 3):\n        return {labels: [ranks]}\n\n",
    '"Leave the gate open," said the miller, and nobody answered.\n',
    "class Mill:\n    'A string that stands alone.'\n    wheels = 3\n",
)
"""A text with labels for every detector."""


def make_model(cell: str, num_layers: int, hidden_size: int) -> Model:
    """Build a model with initial weights: their values do not change the speed."""
    config = Config(
        cell=cell, num_layers=num_layers, hidden_size=hidden_size, embedding_size=EMBEDDING_SIZE
    )
    vocab = Vocab("char", (UNKNOWN, *sorted(set("".join(LINES)))))
    network = CharRNN(config, len(vocab))
    return Model(
        config, vocab, {name: value.numpy() for name, value in network.state_dict().items()}
    )


def make_text(num_chars: int) -> str:
    """Return that many characters of source code and prose."""
    draw = random.Random(0)
    return "".join(draw.choices(LINES, k=num_chars // 40))[:num_chars]


def compare(report: Report, cell: str, num_layers: int, hidden_size: int) -> None:
    """Add one row: characters per second read, traced, and their ratio."""
    network = make_model(cell, num_layers, hidden_size).network
    num_chars = 2 * WINDOW * MAX_LANES
    ids = (
        np.random.default_rng(0)
        .integers(0, network.output.out_features, num_chars)
        .astype(np.uint16)
    )

    text = EncodedText(ids, 0, " " * num_chars, "char")

    def read() -> None:
        def step(inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return network(inputs, state)  # type: ignore[no-any-return]

        with torch.inference_mode():
            for _ in read_in_lanes(step, network.initial_state, ids, first=0):
                pass

    def trace() -> None:
        for _ in stream_cells(network, text):
            pass

    plain, traced = in_turn(read, trace, warm_ups=1, repeats=REPEATS, at_least_seconds=0)
    report.add(
        cell=cell,
        shape=f"{num_layers}x{hidden_size}",
        read_chars_per_second=num_chars / plain,
        traced_chars_per_second=num_chars / traced,
        ratio=plain / traced,
    )


def time_survey(report: Report, num_chars: int, num_layers: int, hidden_size: int) -> None:
    """Add the seconds of a survey and the peak memory of this process."""
    model, text = make_model("lstm", num_layers, hidden_size), make_text(num_chars)
    begin = time.perf_counter()
    findings = model.survey(text)
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report.add(
        survey_chars=num_chars,
        cells=findings.num_cells,
        detectors=len(findings.scores),
        seconds=seconds,
        most_memory_gib=memory,
    )


def main() -> None:
    """Report the rates, and with --survey the survey."""
    parser = make_parser(__doc__)
    parser.add_argument("--survey", type=int, metavar="CHARS")
    parser.add_argument("--num-layers", type=int, default=2)
    parser.add_argument("--hidden-size", type=int, default=512)
    arguments = parser.parse_args()
    report = Report("trace_speed", as_json=arguments.json)
    for cell in ("lstm", "gru", "rnn"):
        compare(report, cell, arguments.num_layers, arguments.hidden_size)
    if arguments.survey:
        time_survey(report, arguments.survey, arguments.num_layers, arguments.hidden_size)
    report.close()


if __name__ == "__main__":
    main()
