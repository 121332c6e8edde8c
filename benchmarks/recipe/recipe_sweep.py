"""Train the points of the recipe's sweep, one after the other, on one thread; those that the log
contains are skipped.

    python benchmarks/recipe/recipe_sweep.py texts sweep.jsonl
    python benchmarks/recipe/recipe_sweep.py texts sweep.jsonl --seconds 50     # again and again: it continues where it ended

`texts` is what `benchmarks/recipe/recipe_texts.py` made. A point trains on the first `chars` characters of
a text, for a number of characters rather than minutes, and validates on the 60,000 characters that
follow (stateful). So its loss does not depend on how busy the machine is; `cpu_seconds` is the time
of its thread. The points are in the order of how much they decide. `--summary FILE.csv` writes the
compact table.
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

from charrnn.config.settings import Config, resolved
from charrnn.evaluation.losses import stateful_scores
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import UNKNOWN, Vocab
from charrnn.training.recipe import choose_sizes, choose_steps
from charrnn.training.trainer import Trainer

VALIDATION_CHARS = 60_000
"""Characters of every validation text."""
NUM_VALIDATIONS = 8
"""Validations of a point, at equal distances."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training run of the sweep."""

    kind: str
    """Name of the text."""
    chars: int
    """Characters of the training text."""
    units: int
    read: int
    """Characters that are read in all."""
    layers: int = 1
    dropout: float = 0.0
    lanes: int = 32
    window: int = 128
    weight_decay: float = 0.1
    rate: float = 1.0
    """Factor of the recipe's peak learning rate."""
    seed: int = 0

    def config(self) -> Config:
        """Return the settings of this point; what it does not name is the recipe's."""
        sized = choose_sizes(
            Config(
                num_layers=self.layers,
                hidden_size=self.units,
                embedding_size=64,
                batch_size=self.lanes,
                bptt_length=self.window,
                dropout=self.dropout,
                weight_decay=self.weight_decay,
                precision="bf16" if self.units >= 256 else "fp32",
                threads=1,
                steps=max(1, round(self.read / (self.lanes * self.window))),
                seed=self.seed,
            ),
            self.chars,
        )
        sized = dataclasses.replace(
            sized, learning_rate=min(3e-2, self.rate * float(sized.learning_rate))
        )
        return choose_steps(sized, self.chars, VALIDATION_CHARS)


def read_often(kind: str, chars: int, *runs: tuple[int, int], dropout: float = 0.4) -> list[Point]:
    """Return points of (units, epochs) that read a text so often that models overfit."""
    return [
        Point(kind=kind, chars=chars, units=units, read=epochs * chars, dropout=dropout)
        for units, epochs in runs
    ]


def read_once(kind: str, chars: int, *runs: tuple[int, float], **settings: Any) -> list[Point]:
    """Return points of (units, millions of characters) that read a text about once, or a part of
    it."""
    return [
        Point(kind=kind, chars=chars, units=units, read=round(1e6 * millions), **settings)
        for units, millions in runs
    ]


def all_points() -> list[Point]:
    """Return every point."""
    play, novel, code, markup = (
        ("play", 10**6),
        ("novel", 3 * 10**6),
        ("code", 10**7),
        ("markup", 10**7),
    )
    russian = ("russian", 2_400_000)
    return [
        *read_often(
            "play", 100_000, (128, 10), (256, 10), (512, 10), (128, 30), (256, 30), (512, 30)
        ),
        *read_often("play", 20_000, (64, 30), (128, 30), (256, 30)),
        *read_once(*novel, (128, 1), (256, 1), (512, 1), (128, 4), (256, 4), (512, 4)),
        *read_once(*code, (128, 1), (256, 1), (512, 1)),
        *read_once(
            *novel, (64, 0.3), (128, 0.3), (256, 0.3), (128, 1), (256, 1), window=48, rate=1.5
        ),
        *read_often("play", 100_000, (256, 18), (256, 24), (128, 60), (256, 60)),
        *read_often("play", 100_000, (256, 6), dropout=0.33),
        *read_once(*novel, (256, 4), window=48, rate=1.5),
        *read_often("play", 100_000, (256, 18), (256, 30), dropout=0.6),
        *read_once(*novel, (256, 13)),
        *read_often("code", 100_000, (128, 10), (256, 10), (128, 30), (256, 30), (512, 10)),
        *read_often("play", 300_000, (256, 10), (512, 10)),
        *read_once(*play, (512, 2.9)),
        *read_once(*play, (256, 9), dropout=0.15),
        *read_once(*code, (256, 4), (512, 4)),
        *read_once(*code, (256, 13), (256, 29), (512, 8)),
        *read_once(*novel, (512, 8)),
        *read_once(*play, (512, 8.7), dropout=0.28),
        *read_once(*play, (256, 29), (512, 29), dropout=0.4),
        *read_often("play", 20_000, (64, 100), (128, 50), (128, 100)),
        *read_often("russian", 100_000, (128, 30), (256, 30)),
        *read_once(*play, (128, 1), (256, 1), (512, 1)),
        *read_often("play", 300_000, (256, 20), (512, 20)),
        *read_once(*novel, (256, 4), lanes=16),
        *read_once(*markup, (128, 1), (256, 1), (512, 1)),
        *read_once(*russian, (128, 1), (256, 1), (512, 1)),
        *read_often("play", 100_000, (128, 100)),
        *read_once(*novel, (256, 4), lanes=64),
        *read_once(*novel, (256, 4), layers=2),
        *read_often("markup", 100_000, (128, 30), (256, 30)),
        *read_once(*code, (64, 0.3), (128, 0.3), (256, 0.3), window=48, rate=1.5),
        *read_often("code", 20_000, (64, 30), (128, 30), (256, 30)),
        *read_once(*markup, (256, 4), (512, 4)),
        *read_once(*novel, (1024, 1)),
        *read_often("play", 300_000, (512, 20), dropout=0.6),
        *read_once(*code, (1024, 4)),
    ]


def read_parts(folder: Path, point: Point) -> tuple[Vocab, Any, str]:
    """Return the alphabet, the ids of training and validation text together, and the text's
    digest."""
    text = (folder / f"{point.kind}.txt").read_text(encoding="utf-8")[
        : point.chars + VALIDATION_CHARS
    ]
    if len(text) < point.chars + VALIDATION_CHARS // 2:
        raise SystemExit(f"{point.kind}.txt has {len(text):,} characters; {point} needs more")
    vocab = Vocab("char", (UNKNOWN, *sorted(set(text))))
    return vocab, vocab.encode(text), hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of(point: Point) -> str:
    """Return a name for the file of a point that is not finished."""
    return hashlib.sha256(json.dumps(asdict(point)).encode()).hexdigest()[:16]


def train_point(folder: Path, saved: Path, point: Point, deadline: float) -> dict[str, Any] | None:
    """Train one point to its end and return its record; at the deadline, save it and return
    None."""
    vocab, ids, digest = read_parts(folder, point)
    config = point.config()
    torch.set_num_threads(1)
    batches = BatchRows(ids[: point.chars], resolved(config.batch_size))
    trainer = Trainer(config, batches, len(vocab), torch.device("cpu"))
    curve: list[list[float]] = []
    losses: list[float] = []
    before = 0.0
    if saved.exists():
        with np.load(saved, allow_pickle=False) as arrays:
            progress = json.loads(str(arrays["progress"]))
            training = {name[2:]: arrays[name] for name in arrays.files if name.startswith("t:")}
            model = {name[2:]: arrays[name] for name in arrays.files if name.startswith("m:")}
        trainer.restore(model, training, progress["counters"])
        curve, losses, before = progress["curve"], progress["losses"], progress["cpu_seconds"]
    begin, num_steps = time.thread_time(), config.steps or 0
    due = {round(num_steps * k / NUM_VALIDATIONS) for k in range(1, NUM_VALIDATIONS + 1)}
    chars_per_step = resolved(config.batch_size) * resolved(config.bptt_length)
    while trainer.step < num_steps:
        losses = [*losses[-49:], trainer.take_step().train_nats]
        if trainer.step in due:
            paused = time.thread_time()
            scores = stateful_scores(trainer.averaged, ids, point.chars, precision=config.precision)
            assert scores is not None, "nothing stops it"
            nats = scores.losses.mean
            begin += time.thread_time() - paused
            curve.append([trainer.step * chars_per_step, round(nats, 4)])
        if time.monotonic() > deadline and trainer.step < num_steps:
            tensors, counters = trainer.snapshot()
            cpu_seconds = before + time.thread_time() - begin
            progress = {
                "counters": counters,
                "curve": curve,
                "losses": losses,
                "cpu_seconds": cpu_seconds,
            }
            arrays = {f"t:{name}": value for name, value in tensors.items()}
            arrays |= {f"m:{name}": value for name, value in trainer.model_tensors().items()}
            np.savez(saved, progress=np.array(json.dumps(progress)), **arrays)
            return None
    return {
        **asdict(point),
        "steps": num_steps,
        "learning_rate": config.learning_rate,
        "parameters": trainer.network.num_parameters,
        "alphabet": len(vocab),
        "text": digest,
        "train_nats": round(float(np.mean(losses)), 4),
        "val_nats": curve[-1][1],
        "best_nats": min(nats for _, nats in curve),
        "curve": curve,
        "cpu_seconds": round(before + time.thread_time() - begin, 2),
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; none if there is no log yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def write_summary(log: Path, path: Path) -> None:
    """Write the records of a log as CSV, in the order of their settings; the curve as validation
    losses only."""
    rows = sorted(
        read_log(log), key=lambda row: [(type(v).__name__, v) for v in list(row.values())[:11]]
    )
    names = [name for name in rows[0] if name != "curve"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "curve"])
        for row in rows:
            writer.writerow(
                [row[name] for name in names]
                + [" ".join(f"{nats:.4f}" for _, nats in row["curve"])]
            )


def main() -> None:
    """Train until all points are in the log or the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("log", type=Path, help="JSON Lines; unfinished points are saved beside it")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="end after about that long"
    )
    parser.add_argument("--summary", type=Path, help="only write this CSV from the log")
    arguments = parser.parse_args()
    if arguments.summary is not None:
        write_summary(arguments.log, arguments.summary)
        return
    deadline = time.monotonic() + arguments.seconds
    names = [field.name for field in dataclasses.fields(Point)]
    done = {Point(**{name: row[name] for name in names}) for row in read_log(arguments.log)}
    for point in all_points():
        if point in done:
            continue
        saved = arguments.log.with_name(f"{key_of(point)}.npz")
        record = train_point(arguments.texts, saved, point, deadline)
        if record is not None:
            with arguments.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            saved.unlink(missing_ok=True)
            print(json.dumps(record), flush=True)
        if time.monotonic() > deadline:
            return


if __name__ == "__main__":
    main()
