"""Characters per second of whole optimizer steps, ours beside a stock torch.nn loop, in one process and in turn.

    python benchmarks/train_speed.py                 # torch-rnn's grid, and 2x512 with every cell
    python benchmarks/train_speed.py --quick         # 2x512 and 2x128 only
    python benchmarks/train_speed.py --precision fp32    # what a processor without bf16 does

Ours is `charrnn.training.trainer.Trainer.take_step`, with `--precision auto` and, as stock has, with AdamW for all
weights; `--muon-scale 2` takes the recipe's Muon instead. Stock is what the peers write: fp32, batch_first, an
`nn.Embedding` of the hidden size, Adam, the state carried over. Figures are medians of the steps in SECONDS (at least
REPEATS), after two to warm up, the two sides in turn; the ratio is ours over stock. The share is the rate at which our
step does the multiplications it needs (forward once, backward twice) over this machine's own matrix-multiply rate in
that precision, measured in the same process.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from charrnn.config import CELLS, PRECISIONS, Config, resolved
from charrnn.model.device import has_fast_bf16
from charrnn.model.equations import CELLS as EQUATIONS
from charrnn.text.lanes import Lanes
from charrnn.training.trainer import Trainer

VOCAB_SIZE = 65
EMBEDDING_SIZE = 64
REPEATS, SECONDS = 5, 1.0
STOCK = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
IDS = np.random.default_rng(0).integers(0, VOCAB_SIZE, 1_000_000).astype(np.uint16)


def seconds(step: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def in_turn(*steps: Callable[[], object]) -> list[float]:
    """Median seconds of each step, the steps taken in turn so that a machine whose speed drifts treats them alike."""
    for step in steps:
        step()
        step()
    times: list[list[float]] = []
    end = time.perf_counter() + SECONDS
    while len(times) < REPEATS or time.perf_counter() < end:
        times.append([seconds(step) for step in steps])
    return [statistics.median(column) for column in zip(*times, strict=True)]


def our_step(
    cell: str, num_layers: int, hidden_size: int, num_lanes: int, length: int, precision: str, muon_scale: float = 0.0
) -> Trainer:
    """A trainer of ours, ready to step."""
    config = Config(
        cell=cell,
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=EMBEDDING_SIZE,
        dropout=0.0,
        num_lanes=num_lanes,
        bptt_length=length,
        learning_rate=1e-3,
        steps=10**6,
        precision=precision,
        muon_scale=muon_scale,
    )
    return Trainer(config, Lanes(IDS, num_lanes), VOCAB_SIZE, torch.device("cpu"))


def stock_step(cell: str, num_layers: int, hidden_size: int, num_lanes: int, length: int) -> Callable[[], object]:
    """One optimizer step as the peers write it."""
    embedding, output = nn.Embedding(VOCAB_SIZE, hidden_size), nn.Linear(hidden_size, VOCAB_SIZE)
    recurrent = STOCK[cell](hidden_size, hidden_size, num_layers, batch_first=True)
    model = nn.ModuleList([embedding, recurrent, output])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    text = torch.randint(0, VOCAB_SIZE, (num_lanes, length + 1))
    state = None

    def step() -> None:
        nonlocal state
        outputs, last = recurrent(embedding(text[:, :-1]), state)
        state = last.detach() if isinstance(last, torch.Tensor) else tuple(part.detach() for part in last)
        loss = cross_entropy(output(outputs).reshape(-1, VOCAB_SIZE), text[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def matmul_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """This machine's matrix-multiply rate in operations per second."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    (median,) = in_turn(lambda: a @ b)
    return 2 * size**3 / median


def operations_per_char(cell: str, num_layers: int, hidden_size: int) -> float:
    """What the matrix products of our step need per character, forward and backward; the table of the input is free."""
    blocks = EQUATIONS[cell].input_blocks, sum(EQUATIONS[cell].products.values())
    recurrent = num_layers * blocks[1] * hidden_size**2
    inputs = (num_layers - 1) * blocks[0] * hidden_size**2
    if cell == "lstm":  # oneDNN's takes vectors, so its first layer multiplies the embedding
        inputs += blocks[0] * hidden_size * EMBEDDING_SIZE
    return 3 * 2.0 * (recurrent + inputs + hidden_size * VOCAB_SIZE)


def compare(ours: Trainer, machine_rate: float) -> None:
    """Print one row: ours, stock, ratio, share."""
    config = ours.config
    cell, num_layers, hidden_size = config.cell, resolved(config.num_layers), resolved(config.hidden_size)
    num_lanes, length = resolved(config.num_lanes), resolved(config.bptt_length)
    steps: list[Callable[[], object]] = [ours.take_step]
    if cell in STOCK:
        steps.append(stock_step(cell, num_layers, hidden_size, num_lanes, length))
    medians = in_turn(*steps)
    chars = num_lanes * length
    rate = chars / medians[0]
    share = rate * operations_per_char(cell, num_layers, hidden_size) / machine_rate
    stock = f"{chars / medians[1]:>10,.0f} {medians[1] / medians[0]:>6.2f}" if len(medians) > 1 else f"{'':>17}"
    shape = f"{num_layers}x{hidden_size}, {num_lanes}x{length}"
    print(f"{cell:<14} {shape:<16} {rate:>10,.0f} {stock} {share:>6.2f}", flush=True)


def main() -> None:
    """Print the machine, its matrix-multiply rates and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2x512 and 2x128 only")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--muon-scale", type=float, default=0.0)
    arguments = parser.parse_args()
    quick, precision, scale = arguments.quick, arguments.precision, arguments.muon_scale
    fp32, bf16 = matmul_rate(torch.float32), matmul_rate(torch.bfloat16)
    is_bf16 = precision == "bf16" or (precision == "auto" and has_fast_bf16(torch.device("cpu")))
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"matrix product: fp32 {fp32 / 1e9:,.0f} GFLOP/s, bf16 {bf16 / 1e9:,.0f} GFLOP/s")
    print(f"ours runs in {'bf16' if is_bf16 else 'fp32'}")
    print(f"{'cell':<14} {'shape':<16} {'chars/s':>10} {'stock':>10} {'ratio':>6} {'share':>6}")
    machine_rate = bf16 if is_bf16 else fp32
    for cell in CELLS:
        compare(our_step(cell, 2, 512, 64, 128, precision, scale), machine_rate)
    for cell in ("lstm", "gru", "rnn"):
        for num_layers in (2,) if quick else (1, 2, 3):
            for hidden_size in (128,) if quick else (64, 128, 256, 512):
                compare(our_step(cell, num_layers, hidden_size, 50, 50, precision, scale), machine_rate)


if __name__ == "__main__":
    main()
