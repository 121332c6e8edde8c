"""Measure generated characters per second: charrnn and stock torch.nn, alternating in one process.

    python benchmarks/speed/sample_speed.py              # random weights
    python benchmarks/speed/sample_speed.py --run RUN    # also: the loss in int8, and the time to the first character

Ours is `Rows.written_texts`, decoding included, at temperature 0.8, on one thread for one text,
after compilation. Stock is the common loop: an `nn.LSTM` called with one character,
softmax, `torch.multinomial`, `item()`.

ratio: ours divided by stock. share of one text: bytes of weights per second, divided by the rate at
which one thread of this machine sums bytes. share of several texts: multiplications per second,
divided by the rate at which all cores repeat the same dot-product
    instructions on a few kilobytes.
"""

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from operator import truediv
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import nn

from benchmarks.measuring import Report, in_turn, make_parser, read_rate
from charrnn.api import load
from charrnn.compiled.dot_products import CHOSEN, make_dot
from charrnn.compiled.sampling import prepare
from charrnn.config.settings import Config
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.sampling import Rows, prime_model
from charrnn.generation.writing import Ending, WrittenText
from charrnn.model.losses import stateful_scores
from charrnn.model.network import CharRNN, load_network
from charrnn.model.portable_math import Matrix
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import UNKNOWN, Vocab

VOCAB = Vocab("char", (UNKNOWN, *map(chr, range(32, 97))))
REPEATS = 5
SHAPES = ((2, 128, 40_000, 400), (2, 256, 20_000, 200), (2, 512, 8_000, 60))
"""(Layers, units, characters that ours generates, characters that stock generates)."""
STREAMS = 64
DOT_COLUMNS = 256
"""Columns of the rows whose products are repeated: small enough for the level-1 cache."""


def ours(stepper: Stepper, num_streams: int, length: int) -> Callable[[], object]:
    """Generate and decode `length` characters in each stream."""
    options = SampleOptions(temperature=0.8)
    is_banned = np.arange(stepper.vocab_size) == 0
    primed = prime_model(stepper, np.array([1]))
    ending = Ending(length=length, rules=Rules.of(is_banned))

    def write() -> None:
        texts = [WrittenText(VOCAB, ending, seed=seed) for seed in range(num_streams)]
        rows = Rows(
            primed,
            texts=texts,
            ending=ending,
            options=options,
            num_chars=num_streams * length,
            num_rows=num_streams,
        )
        num_chars = sum(len(text.take_text()) for text in rows.written_texts())
        assert num_chars == num_streams * length

    return write


def stock(num_layers: int, hidden_size: int, length: int) -> Callable[[], object]:
    """Generate with the common loop around `nn.LSTM`."""
    embedding, output = nn.Embedding(len(VOCAB), hidden_size), nn.Linear(hidden_size, len(VOCAB))
    recurrent = nn.LSTM(hidden_size, hidden_size, num_layers, batch_first=True)

    def write() -> None:
        char, state = torch.tensor([[1]]), None
        with torch.no_grad():
            for _ in range(length):
                hidden, state = recurrent(embedding(char), state)
                probs = torch.softmax(output(hidden)[0, -1] / 0.8, dim=0)
                char = torch.multinomial(probs, 1)[None]
                char.item()

    return write


def num_weights(stepper: Stepper) -> int:
    """Return the number of weights read per character; the input of the first layer is one row of a
    table."""
    matrices: list[Matrix] = [linear.weight for linear in stepper.products.values()]
    return sum(matrix.values.size for matrix in matrices)


def multiply_rate(num_threads: int) -> float:
    """Return multiplications per second of a group of rows with the inputs of a few streams,
    repeated on threads."""
    dot, num_streams = make_dot(CHOSEN.streams), CHOSEN.streams

    @njit(nogil=True)
    def run(weights: Any, inputs: Any, start: Any, sums: Any, repeats: int) -> None:
        for _ in range(repeats):
            addresses = weights.ctypes.data, inputs.ctypes.data, start.ctypes.data, sums.ctypes.data
            dot(
                addresses[0],
                DOT_COLUMNS,
                addresses[1],
                inputs.strides[0],
                addresses[2],
                addresses[3],
                sums.strides[0],
            )

    def arrays() -> tuple[Any, ...]:
        return (
            np.ones(CHOSEN.rows * DOT_COLUMNS, np.int8),
            np.ones((num_streams, 2 * DOT_COLUMNS), np.uint8),
            np.zeros(CHOSEN.rows, np.int32),
            np.zeros((num_streams, CHOSEN.rows), np.int32),
        )

    repeats = 100_000

    def on_all_threads() -> None:
        threads = [
            threading.Thread(target=run, args=(*arrays(), repeats)) for _ in range(num_threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (median,) = in_turn(on_all_threads, at_least_seconds=0.3)
    return num_threads * repeats * CHOSEN.rows * DOT_COLUMNS * num_streams / median


def compare(report: Report, most_multiplications: float, shape: tuple[int, int, int, int]) -> None:
    """Add a row for each precision and number of texts."""
    num_layers, hidden_size, our_length, stock_length = shape
    config = Config(
        cell_type="lstm",
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=64,
        dropout=0.0,
    )
    tensors = {
        name: value.numpy() for name, value in CharRNN(config, len(VOCAB)).state_dict().items()
    }
    int8 = Stepper(config, tensors, "int8")
    fp32 = Stepper(config, tensors, "fp32")
    many = our_length // 8
    calls = [ours(int8, 1, our_length), ours(fp32, 1, our_length // 2), ours(int8, STREAMS, many)]
    medians = in_turn(
        *calls, stock(num_layers, hidden_size, stock_length), warm_ups=1, repeats=REPEATS
    )
    lengths = (our_length, our_length // 2, STREAMS * many, stock_length)
    one, one_fp32, several, peer = map(truediv, lengths, medians)
    size = num_weights(int8)
    common: dict[str, Any] = {"model": f"lstm {num_layers}x{hidden_size}"}
    rows = (
        ("int8", 1, one, one * size / read_rate(size)),
        ("fp32", 1, one_fp32, 4 * one_fp32 * size / read_rate(4 * size)),
        ("int8", STREAMS, several, several * size / most_multiplications),
    )
    for precision, texts, rate, share in rows:
        over_one = rate / one if texts > 1 else None
        figures = {
            "chars_per_second": rate,
            "stock": peer,
            "ratio": rate / peer,
            "share": share,
            "over_one": over_one,
        }
        report.add(**common, precision=precision, texts=texts, **figures)


def cost_of_eight_bits(report: Report, run: str) -> None:
    """Add the validation loss of a run with its weights in fp32 and in int8."""
    model = load(run)
    text, context = model.held_out_text()
    ids, before = model.vocab.encode(text), model.vocab.encode(context)[-512:]
    losses = []
    for is_int8 in (False, True):
        tensors = {
            name: torch.from_numpy(rounded(value) if is_int8 else value)
            for name, value in model.tensors.items()
        }
        network = load_network(model.config, len(model.vocab), tensors)
        scores = stateful_scores(
            network, np.concatenate((before, ids)), first=len(before), precision="fp32"
        )
        assert scores is not None, "nothing stops it"
        losses.append(scores.losses.mean)
    report.add(
        run=model.name, fp32_nats_per_char=f"{losses[0]:.5f}", int8_nats_per_char=f"{losses[1]:.5f}"
    )


def rounded(value: Any) -> Any:
    """Round a matrix to int8 and back; return any other array unchanged."""
    if value.ndim != 2:
        return value
    matrix = Matrix(value, is_int8=True)
    return np.asarray(matrix.values * matrix.scale[:, None], np.float32)


def first_character(run: str, *options: str) -> float:
    """Return the median seconds from the start of the process to its first byte."""
    command = [sys.executable, "-m", "charrnn", "sample", run, "--quiet", *options]
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            times.append(time.perf_counter() - begin)
            process.kill()
    return statistics.median(times)


def main() -> None:
    """Print the machine and the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--run", help="a trained run")
    arguments = parser.parse_args()
    for loop in ("read", "write"):
        assert prepare(loop, may_compile=True), "what would be measured is NumPy"
    report = Report("sample_speed", as_json=arguments.json)
    most = multiply_rate(report.machine["cores"])
    report.machine |= {"dot_products": CHOSEN.name, "multiplications_per_second": most}
    if not arguments.json:
        print(
            f"dot products: {CHOSEN.name}, at most {most / 1e9:,.0f} billion multiplications a"
            " second on all cores"
        )
    for shape in SHAPES:
        compare(report, most, shape)
    if arguments.run:
        cost_of_eight_bits(report, arguments.run)
        for length in (1, 1_000, 1_000_000):
            report.add(
                length=length,
                seconds_to_first_char=first_character(arguments.run, "--length", str(length)),
            )
    report.close()


if __name__ == "__main__":
    main()
