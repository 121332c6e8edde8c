"""Measure characters per second of whole optimizer steps: charrnn and a stock torch.nn loop,
alternating.

    python benchmarks/speed/train_speed.py                 # 2x512 with every cell type, and torch-rnn's grid
    python benchmarks/speed/train_speed.py --part cells    # 2x512 alone; grid: torch-rnn's grid alone
    python benchmarks/speed/train_speed.py --quick         # lstm, gru and rnn of 2x512 and 2x128 only
    python benchmarks/speed/train_speed.py --precision fp32    # as on a processor without bf16

Ours is `charrnn.training.trainer.Trainer.take_step`, in the precision that `--precision auto`
chooses and, as stock has, with AdamW for all weights; `--optimizer muon` uses the recipe's Muon
instead. Stock is the common loop: fp32, batch_first, an `nn.Embedding` of the hidden size, Adam,
the state carried over. Figures are medians of the steps of one second (at least 5), after two to
warm up; the two loops alternate.

ratio: ours divided by stock. share of products: the time of our step's matrix products alone,
divided by the time of the step. They are `torch.mm`
    into allocated memory, in our precision and at our shapes: each layer's recurrent product (B x H by H x GH) T times,
    forward and backward; the products over all B * T rows, for the inputs of every layer except one that reads a table,
    the output, and all gradients of weights.
share of matrix rate: multiplications per second of our step, divided by those of a large square
product (first lines).
"""

import math
from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.measuring import Report, in_turn, make_parser, matmul_rate
from charrnn.config.architectures import CELL_DESCRIPTIONS, OPTIMIZER_DESCRIPTIONS
from charrnn.config.settings import PRECISIONS, Config, resolved
from charrnn.model.cell_types import CELLS as EQUATIONS
from charrnn.model.device import DTYPES
from charrnn.text.batches import BatchRows
from charrnn.training.plan import with_precision
from charrnn.training.trainer import Trainer

VOCAB_SIZE = 65
EMBEDDING_SIZE = 64
STOCK = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
IDS = np.random.default_rng(0).integers(0, VOCAB_SIZE, 1_000_000).astype(np.uint16)
CPU = torch.device("cpu")


def our_step(
    cell: str,
    num_layers: int,
    hidden_size: int,
    batch_size: int,
    length: int,
    precision: str,
    optimizer: str = "adamw",
    device: torch.device = CPU,
) -> Trainer:
    """Build a trainer of charrnn."""
    config = Config(
        cell_type=cell,
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=EMBEDDING_SIZE,
        dropout=0.0,
        input_dropout=0.0,
        batch_size=batch_size,
        bptt_length=length,
        learning_rate=1e-3,
        weight_decay=0.1,
        decay_shape="cosine",
        decay_share=1.0,
        steps=10**6,
        precision=precision,
        optimizer=optimizer,
    )
    lanes = BatchRows(IDS, batch_size)
    config = with_precision(config, device)
    return Trainer(config, lanes, VOCAB_SIZE, device)


def stock_step(
    cell: str,
    num_layers: int,
    hidden_size: int,
    batch_size: int,
    length: int,
    device: torch.device = CPU,
) -> Callable[[], object]:
    """Return the optimizer step of the common loop."""
    embedding, output = nn.Embedding(VOCAB_SIZE, hidden_size), nn.Linear(hidden_size, VOCAB_SIZE)
    recurrent = STOCK[cell](hidden_size, hidden_size, num_layers, batch_first=True)
    model = nn.ModuleList([embedding, recurrent, output]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    text = torch.randint(0, VOCAB_SIZE, (batch_size, length + 1), device=device)
    state = None

    def step() -> None:
        nonlocal state
        outputs, last = recurrent(embedding(text[:, :-1]), state)
        state = (
            last.detach()
            if isinstance(last, torch.Tensor)
            else tuple(part.detach() for part in last)
        )
        loss = cross_entropy(output(outputs).reshape(-1, VOCAB_SIZE), text[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def product_shapes(config: Config) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Return the step's matrix products as (rows, terms, columns): those per character, and those
    per window."""
    cell, hidden_size = EQUATIONS[config.cell_type], resolved(config.hidden_size)
    batch_size, num_rows = (
        resolved(config.batch_size),
        resolved(config.batch_size) * resolved(config.bptt_length),
    )
    each_step, whole = [], []
    # (inputs, outputs) of a product over all rows.
    wide = [(hidden_size, VOCAB_SIZE)]
    for layer in range(resolved(config.num_layers)):
        for blocks in cell.products.values():
            columns = blocks * hidden_size
            each_step += [(batch_size, hidden_size, columns), (batch_size, columns, hidden_size)]
            whole.append((columns, num_rows, hidden_size))
        # oneDNN's LSTM reads embeddings; the others read rows of a table, so they need no product
        # of this size.
        if layer or config.cell_type == "lstm":
            wide.append((hidden_size if layer else EMBEDDING_SIZE, cell.input_blocks * hidden_size))
    for inputs, outputs in wide:
        whole += [
            (num_rows, inputs, outputs),
            (num_rows, outputs, inputs),
            (outputs, num_rows, inputs),
        ]
    return each_step, whole


def products_alone(config: Config) -> Callable[[], object]:
    """Return a function that runs only the matrix products of one step of that configuration."""
    dtype, length = getattr(torch, DTYPES[config.precision]), resolved(config.bptt_length)
    each_step, whole = product_shapes(config)

    def operands(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
        rows, terms, columns = shape
        return (
            torch.randn(rows, terms).to(dtype),
            torch.randn(columns, terms).to(dtype).t(),
            torch.empty(rows, columns, dtype=dtype),
        )

    def run(shapes: list[tuple[Tensor, Tensor, Tensor]], repeats: int) -> None:
        for a, b, out in shapes:
            for _ in range(repeats):
                torch.mm(a, b, out=out)

    small, large = [operands(shape) for shape in each_step], [operands(shape) for shape in whole]

    def step() -> None:
        run(small, length)
        run(large, 1)

    return step


def num_operations(config: Config) -> float:
    """Return the floating-point operations of all matrix products of a step."""
    each_step, whole = product_shapes(config)
    per_step = sum(2.0 * math.prod(shape) for shape in each_step)
    once = sum(2.0 * math.prod(shape) for shape in whole)
    return resolved(config.bptt_length) * per_step + once


@cache
def machine_rate(precision: str) -> float:
    """Return the rate of large matrix products on this processor: measured once, and only where it
    is used."""
    return matmul_rate(getattr(torch, DTYPES[precision]))


def compare(report: Report, ours: Trainer) -> None:
    """Add one row."""
    config = ours.config
    cell, num_layers, hidden_size = (
        config.cell_type,
        resolved(config.num_layers),
        resolved(config.hidden_size),
    )
    batch_size, length = resolved(config.batch_size), resolved(config.bptt_length)
    calls: list[Callable[[], object]] = [ours.take_step, products_alone(config)]
    if cell in STOCK:
        calls.append(stock_step(cell, num_layers, hidden_size, batch_size, length))
    step, products, *stock = in_turn(*calls)
    chars = batch_size * length
    report.add(
        cell_type=cell,
        shape=f"{num_layers}x{hidden_size}, {batch_size}x{length}",
        precision=config.precision,
        chars_per_second=chars / step,
        stock=chars / stock[0] if stock else None,
        ratio=stock[0] / step if stock else None,
        share_of_products=products / step,
        share_of_matrix_rate=num_operations(config) / step / machine_rate(config.precision),
    )


def main() -> None:
    """Report every shape."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="lstm, gru and rnn of 2x512 and 2x128 only"
    )
    parser.add_argument("--part", default="all", choices=("all", "cells", "grid"))
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--optimizer", default="adamw", choices=OPTIMIZER_DESCRIPTIONS)
    arguments = parser.parse_args()
    report = Report("train_speed", as_json=arguments.json)
    precision, optimizer = arguments.precision, arguments.optimizer
    # What is compared: every cell type at one size, and those of torch at several.
    cells = [*CELL_DESCRIPTIONS]
    shapes = [*product((1, 2, 3), (64, 128, 256, 512))]
    if arguments.quick:
        cells = [*STOCK]
        shapes = [(2, 128)]

    if arguments.part != "grid":
        for cell in cells:
            compare(report, our_step(cell, 2, 512, 64, 128, precision, optimizer))
    if arguments.part != "cells":
        for cell, (num_layers, hidden_size) in product(STOCK, shapes):
            compare(report, our_step(cell, num_layers, hidden_size, 50, 50, precision, optimizer))
    report.close()


if __name__ == "__main__":
    main()
