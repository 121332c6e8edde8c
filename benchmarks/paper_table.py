"""Train the grid of Karpathy, Johnson & Li (2015), Table 1, on War and Peace: cell types × layers ×
parameter budgets.

    python benchmarks/paper_table.py war-and-peace.txt paper.jsonl                # the 64 and the 128 row
    python benchmarks/paper_table.py war-and-peace.txt paper.jsonl --sizes 512 --cells lstm --layers 1
    python benchmarks/paper_table.py war-and-peace.txt paper.jsonl --seconds 60   # again and again: it continues
    python benchmarks/paper_table.py war-and-peace.txt paper.jsonl --table        # only print what the log contains

A row of the table is a budget: the parameters of an LSTM with one layer of 64, 128, 256 or 512
units. Every other entry of the row has the largest number of units per layer with which it has at
most as many (`train --parameters`). The text is read as bytes and split 80/10/10. An entry trains
on one thread for --epochs passes over the training part rather than for a time, so its loss does
not depend on how busy the machine is. It is validated NUM_VALIDATIONS times; the test part is read
once, by the weights of the best validation, with the state carried through it (stateful).

An entry whose loss or gradient becomes infinite is trained anew with 0.6 times the learning rate,
and so on.

The log (JSON Lines) has one line per finished entry; an entry that is stopped is saved beside it
and continued. --published FILE.csv (columns size, cell, layers, nats) adds figures of the paper,
each after a slash.
"""

import argparse
import csv
import dataclasses
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.config.settings import Config, resolved
from charrnn.errors import NonFiniteError
from charrnn.evaluation.losses import stateful_nats
from charrnn.model.shapes import fit_parameters, num_parameters
from charrnn.text.batches import BatchRows, split_ids
from charrnn.text.vocab import Vocab
from charrnn.training.recipe import choose_embedding_size, choose_sizes, choose_steps
from charrnn.training.trainer import Trainer

CELLS = ("lstm", "rnn", "gru")
"""Columns of the table, in the order of the paper."""
LAYERS = (1, 2, 3)
"""Numbers of layers of every cell type."""
SIZES = (64, 128, 256, 512)
"""Rows of the table: the units of the LSTM with one layer that sets the budget."""
SPLIT = (0.8, 0.1, 0.1)
"""Shares of the training, validation and test parts."""
EPOCHS = 3.0
"""Passes over the training part: all entries of the rows 64 and 128 take about 35 minutes of one
core."""
NUM_VALIDATIONS = 4
"""Validations of an entry, at equal distances."""
RATES = (1.0, 0.6, 0.36)
"""Factors of the recipe's learning rate, one after the other, for an entry that diverges."""
VOCAB_SIZE = len(Vocab.of_bytes())
"""The byte alphabet, whatever bytes the text contains."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the table."""

    size: int
    """The row."""
    cell: str
    layers: int
    epochs: float
    seed: int
    text: str
    """Start of the text's SHA-256."""

    @property
    def name(self) -> str:
        """The name of the file of an entry that is not finished."""
        return f"paper-{hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]}.npz"

    def config(self, num_train_chars: int, num_val_chars: int) -> Config:
        """Return the settings: the size of the budget, all else from the recipe."""
        base = Config(cell="lstm", num_layers=1, hidden_size=self.size, alphabet="byte")
        budget = num_parameters(choose_sizes(base, num_train_chars), VOCAB_SIZE)
        asked = Config(
            cell=self.cell,
            num_layers=self.layers,
            parameters=budget,
            alphabet="byte",
            split=SPLIT,
            epochs=self.epochs,
            # The same on every machine, where `auto` would measure.
            precision="bf16" if self.size >= 256 else "fp32",
            threads=1,
            seed=self.seed,
        )
        units = fit_parameters(asked, VOCAB_SIZE, lambda size: choose_embedding_size(asked, size))
        sized = choose_sizes(
            dataclasses.replace(asked, parameters=None, hidden_size=units), num_train_chars
        )
        return choose_steps(sized, num_train_chars, num_val_chars)


@dataclass
class Progress:
    """What an entry has measured so far."""

    curve: list[list[float]]
    """Pairs of characters read and validation loss in nats."""
    cpu_seconds: float
    """Time of the thread that trains, without validation."""
    best: dict[str, NDArray[Any]]
    """Weights of the best validation."""

    @property
    def best_nats(self) -> float:
        """The lowest validation loss."""
        return min(nats for _, nats in self.curve)


def load_saved(saved: Path, trainer: Trainer) -> Progress:
    """Return what an entry has measured and restore its trainer; nothing measured if it was not
    started."""
    if not saved.exists():
        return Progress([], 0.0, {})
    with np.load(saved, allow_pickle=False) as arrays:
        groups: dict[str, dict[str, NDArray[Any]]] = {"training": {}, "model": {}, "best": {}}
        for name in arrays.files:
            group, _, rest = name.partition(":")
            if rest:
                groups[group][rest] = arrays[name]
        record = json.loads(str(arrays["progress"]))
    trainer.restore(groups["model"], groups["training"], record["counters"])
    return Progress(record["curve"], record["cpu_seconds"], groups["best"])


def save(saved: Path, trainer: Trainer, progress: Progress) -> None:
    """Save an entry that is not finished, so that a kill while it is written leaves the file before
    it."""
    tensors, counters = trainer.snapshot()
    record = {"counters": counters, "curve": progress.curve, "cpu_seconds": progress.cpu_seconds}
    arrays = {f"training:{name}": value for name, value in tensors.items()}
    arrays |= {f"model:{name}": value for name, value in trainer.model_tensors().items()}
    arrays |= {f"best:{name}": value for name, value in progress.best.items()}
    part = saved.with_suffix(".part.npz")
    np.savez(part, progress=np.array(json.dumps(record)), **arrays)
    part.replace(saved)


def train_entry(
    ids: NDArray[np.uint8], entry: Entry, saved: Path, deadline: float
) -> dict[str, Any] | None:
    """Train an entry by the first of RATES at which it does not diverge; return its record, or None
    at the deadline.

    Raises NonFiniteError if it diverges at all of them.
    """
    for number, factor in enumerate(RATES):
        try:
            return train_at_rate(
                ids, entry, factor, saved.with_stem(f"{saved.stem}-{number}"), deadline
            )
        except NonFiniteError:
            if number == len(RATES) - 1:
                raise
    raise AssertionError("every rate has returned or raised")


def train_at_rate(
    ids: NDArray[np.uint8], entry: Entry, factor: float, saved: Path, deadline: float
) -> dict[str, Any] | None:
    """Train an entry at `factor` times the recipe's rate and return its record; at the deadline,
    save it, return None.

    Raises NonFiniteError if it diverges.
    """
    train, val, test = split_ids(len(ids), SPLIT)
    config = entry.config(train.stop, val.stop - val.start)
    config = dataclasses.replace(config, learning_rate=factor * float(config.learning_rate))
    torch.set_num_threads(1)
    lanes = BatchRows(ids[train], resolved(config.batch_size))
    trainer = Trainer(config, lanes, VOCAB_SIZE, torch.device("cpu"))
    progress = load_saved(saved, trainer)
    num_steps, chars_per_step = (
        config.steps or 0,
        resolved(config.batch_size) * resolved(config.bptt_length),
    )
    due = {round(num_steps * k / NUM_VALIDATIONS) for k in range(1, NUM_VALIDATIONS + 1)}
    begin = time.thread_time()
    while trainer.step < num_steps:
        trainer.take_step()
        if trainer.step in due:
            progress.cpu_seconds += time.thread_time() - begin
            nats = stateful_nats(
                trainer.averaged, ids[: val.stop], val.start, precision=config.precision
            )
            progress.curve.append([trainer.step * chars_per_step, round(nats, 4)])
            if nats <= progress.best_nats + 5e-5:
                progress.best = trainer.model_tensors()
            begin = time.thread_time()
        if time.monotonic() > deadline and trainer.step < num_steps:
            progress.cpu_seconds += time.thread_time() - begin
            save(saved, trainer, progress)
            return None
    trainer.start_with(progress.best)
    test_nats = stateful_nats(trainer.averaged, ids, test.start, precision=config.precision)
    return {
        **asdict(entry),
        "units": config.hidden_size,
        "parameters": trainer.network.num_parameters,
        "steps": num_steps,
        "learning_rate": round(float(config.learning_rate), 5),
        "dropout": config.dropout,
        "val_nats": progress.best_nats,
        "test_nats": round(test_nats, 4),
        "curve": progress.curve,
        "cpu_seconds": round(progress.cpu_seconds, 1),
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; none if there is no log yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def read_published(path: Path | None) -> dict[tuple[int, str, int], str]:
    """Return the published figures by (size, cell, layers), as they stand in the file."""
    if path is None:
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (int(row["size"]), row["cell"], int(row["layers"])): row["nats"]
            for row in csv.DictReader(file)
        }


def write_tables(records: list[dict[str, Any]], published: dict[tuple[int, str, int], str]) -> str:
    """Return the table of test losses and the table of what was trained, in Markdown; a dash: not
    run."""
    found = {(record["size"], record["cell"], record["layers"]): record for record in records}
    columns = [(cell, layers) for cell in CELLS for layers in LAYERS]
    lines = ["| budget | " + " | ".join(f"{cell} {layers}" for cell, layers in columns) + " |"]
    lines.append("| --- |" + " --- |" * len(columns))
    for size in SIZES:
        losses = []
        for cell, layers in columns:
            key = (size, cell, layers)
            ours = f"{found[key]['test_nats']:.3f}" if key in found else "–"
            losses.append(ours + (f" / {published[key]}" if key in published else ""))
        lines.append(f"| {size} | " + " | ".join(losses) + " |")
    lines += ["", "| budget | model | parameters | steps | validation | test | CPU seconds |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for size in SIZES:
        for cell, layers in columns:
            if (size, cell, layers) in found:
                record = found[size, cell, layers]
                lines.append(
                    f"| {size} | `{cell}` {layers}×{record['units']} | {record['parameters']:,} |"
                    f" {record['steps']:,} | {record['val_nats']:.4f} | {record['test_nats']:.4f} |"
                    f" {record['cpu_seconds']:.0f} |"
                )
    return "\n".join(lines)


def read_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="War and Peace: 3,258,246 bytes")
    parser.add_argument("log", type=Path, help="JSON Lines; unfinished entries are saved beside it")
    parser.add_argument(
        "--sizes", type=int, nargs="+", choices=SIZES, default=[64, 128], help="rows of the table"
    )
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--layers", type=int, nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument(
        "--epochs", type=float, default=EPOCHS, help=f"passes over the training part ({EPOCHS:g})"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="end after about that long"
    )
    parser.add_argument(
        "--published", type=Path, help="CSV with figures of the paper: size, cell, layers, nats"
    )
    parser.add_argument("--table", action="store_true", help="only print the table of the log")
    return parser.parse_args()


def main() -> int:
    """Train until all entries are in the log or the time is over, and print the table; return 1 if
    some are missing."""
    arguments = read_arguments()
    deadline = time.monotonic() + arguments.seconds
    ids = np.frombuffer(arguments.text.read_bytes(), dtype=np.uint8)
    shared = {
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "text": hashlib.sha256(ids.tobytes()).hexdigest()[:16],
    }
    entries = [
        Entry(size=size, cell=cell, layers=layers, **shared)
        for size in arguments.sizes
        for cell in arguments.cells
        for layers in arguments.layers
    ]
    names = [field.name for field in dataclasses.fields(Entry)]
    done = {Entry(**{name: record[name] for name in names}) for record in read_log(arguments.log)}
    missing = [entry for entry in entries if entry not in done]
    while missing and not arguments.table and time.monotonic() < deadline:
        saved = arguments.log.with_name(missing[0].name)
        record = train_entry(ids, missing[0], saved, deadline)
        if record is not None:
            with arguments.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            for file in saved.parent.glob(f"{saved.stem}-*.npz"):
                file.unlink()
            missing.pop(0)
    matching = [
        record
        for record in read_log(arguments.log)
        if {name: record[name] for name in shared} == shared
    ]
    print(write_tables(matching, read_published(arguments.published)))
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
