"""Characters drawn per second, ours beside stock torch.nn stepped one character at a time, in one process and in turn.

    python benchmarks/sample_speed.py              # random weights
    python benchmarks/sample_speed.py --run RUN    # also: what eight bits cost that run, and when its text begins

Ours is `sample_ids` and `write_chunks`, text included, at temperature 0.8 without limits, on one thread for one text.
Stock is what the peers write: an `nn.LSTM` called with one character, softmax, `torch.multinomial`, `item()`. The
ratio is ours over stock. The share is the rate at which our weights are read over the rate at which one thread of this
machine adds up so many bytes of memory. Figures are medians of REPEATS.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import nn

from charrnn.api import load
from charrnn.config import Config
from charrnn.evaluation.loss import stateful_nats
from charrnn.generation.distribution import Shaping
from charrnn.generation.sampling import read_prime, sample_ids
from charrnn.generation.writing import TextStream, write_chunks
from charrnn.model.network import CharRNN, load_network
from charrnn.model.stepper import Stepper
from charrnn.model.weights import Matrix
from charrnn.text.vocab import Vocab

VOCAB = Vocab.from_text("".join(map(chr, range(32, 97))))
REPEATS = 7
SHAPES = ((2, 128, 30_000, 400), (2, 256, 15_000, 200), (2, 512, 5_000, 60))
"""Layers, units, and characters that ours and stock draw."""
STREAMS = 64


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_turn(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call, taken in turn after one to warm up."""
    for call in calls:
        call()
    times = [[seconds(call) for call in calls] for _ in range(REPEATS)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def ours(stepper: Stepper, num_streams: int, length: int) -> Callable[[], object]:
    """Draw and spell `length` characters in each stream."""
    shapings, seeds = [Shaping(temperature=0.8, banned=(0,))] * num_streams, [(0, i) for i in range(num_streams)]
    reading = read_prime(stepper, np.array([1]))

    def write() -> None:
        blocks = sample_ids(stepper, reading, shapings, seeds, length=length)
        if num_streams == 1:
            assert sum(map(len, write_chunks(blocks, TextStream(VOCAB, (), keeps_stop=False)))) == length
        else:
            assert sum(block.ids.size for block in blocks) == num_streams * length

    return write


def stock(num_layers: int, hidden_size: int, length: int) -> Callable[[], object]:
    """What the peers write."""
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


@njit(error_model="numpy", fastmath=True)
def add_up(numbers: Any, repeats: int) -> Any:
    """Read all numbers (N,) so many times."""
    total = np.float32(0)
    for _ in range(repeats):
        for index in range(len(numbers)):
            total += numbers[index]
    return total


def num_weights(stepper: Stepper) -> int:
    """Weights that are read for every character; of the first layer's input only a row of a table is."""
    matrices: list[Matrix] = [stepper.output[0], *(layer.recurrent["hh"][0] for layer in stepper.layers)]
    matrices += [layer.weight_ih for layer in stepper.layers[1:]]
    return sum(matrix.values.size for matrix in matrices)


def read_rate(num_bytes: int) -> float:
    """Bytes per second at which one thread reads an array of that size over and over."""
    numbers = np.ones(num_bytes // 4, np.float32)
    repeats = max(1, 50_000_000 // num_bytes)
    (median,) = in_turn(lambda: add_up(numbers, repeats))
    return num_bytes * repeats / median


def compare(num_layers: int, hidden_size: int, our_length: int, stock_length: int) -> None:
    """Print a row for each precision and number of texts."""
    config = Config(cell="lstm", num_layers=num_layers, hidden_size=hidden_size, embedding_size=64, dropout=0.0)
    tensors = {name: value.numpy() for name, value in CharRNN(config, len(VOCAB)).state_dict().items()}
    int8, fp32 = (Stepper(config, tensors, precision) for precision in ("int8", "fp32"))
    many = our_length // 10
    calls = [ours(int8, 1, our_length), ours(fp32, 1, our_length), ours(int8, STREAMS, many)]
    medians = in_turn(*calls, stock(num_layers, hidden_size, stock_length))
    rates = [
        n / median for n, median in zip((our_length, our_length, STREAMS * many, stock_length), medians, strict=True)
    ]
    shape = f"{num_layers}x{hidden_size}"
    for name, rate, num_bytes in (("int8", rates[0], 1), ("fp32", rates[1], 4)):
        size = num_weights(int8) * num_bytes
        share = rate * size / read_rate(size)
        print(
            f"{shape:<8} {name:<12} {rate:>12,.0f} {rates[3]:>10,.0f} {rate / rates[3]:>8.1f} {share:>6.2f}", flush=True
        )
    print(
        f"{shape:<8} {f'int8, {STREAMS} texts':<12} {rates[2]:>12,.0f} {'':>10} {rates[2] / rates[0]:>8.1f} x one text"
    )


def cost_of_eight_bits(run: str) -> None:
    """Print the validation loss of a run with its weights as they are, and with what eight bits make of them."""
    model = load(run)
    text, context = model.held_out_text()
    ids, before = model.vocab.encode(text), model.vocab.encode(context)[-512:]
    losses = []
    for is_int8 in (False, True):
        tensors = {
            name: torch.from_numpy(rounded(value) if is_int8 else value) for name, value in model.tensors.items()
        }
        network = load_network(model.config, len(model.vocab), tensors)
        losses.append(stateful_nats(network, np.concatenate((before, ids)), len(before), precision="fp32"))
    print(f"{model.name}: {losses[0]:.5f} nats/char, in eight bits {losses[1]:.5f}: {losses[1] - losses[0]:+.5f}")


def rounded(value: Any) -> Any:
    """A matrix as eight bits spell it; anything else as it is."""
    if value.ndim != 2:
        return value
    matrix = Matrix(value, is_int8=True)
    return np.asarray(matrix.values * matrix.scale[:, None], np.float32)


def first_character(run: str, *options: str) -> float:
    """Median seconds from the start of the process to its first byte."""
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
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a trained run")
    run = parser.parse_args().run
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'shape':<8} {'ours':<12} {'chars/s':>12} {'stock':>10} {'ratio':>8} {'share':>6}")
    for shape in SHAPES:
        compare(*shape)
    if run:
        cost_of_eight_bits(run)
        for options in (("--length", "1"), ("--length", "1000"), ("--length", "1000000")):
            print(f"charrnn sample {' '.join(options)}: first character after {first_character(run, *options):.2f} s")


if __name__ == "__main__":
    main()
