"""Measure seconds and loss of other programs on a text, beside charrnn on the same machine.

    python benchmarks/losses/peers.py transformer shakespeare.txt peers.csv --minutes 3
    python benchmarks/losses/peers.py lstm shakespeare.txt peers.csv --minutes 3
    python benchmarks/losses/peers.py gru shakespeare.txt peers.csv --minutes 3
    python benchmarks/losses/peers.py ngrams shakespeare.txt peers.csv
    python benchmarks/losses/peers.py charrnn shakespeare.txt peers.csv --minutes 3
    python benchmarks/losses/peers.py table shakespeare.txt peers.csv

Each adds rows to a CSV file, of which tools/charts.py draws a picture and `table` prints a table.
A row has the program, the minutes and the seed of its training, the seconds until the measurement,
the loss, and whether it is the `end` of that training or `within` it, where the rate of learning is
still high. Each training has minutes of its own; `--seed` repeats those of the networks, of whose
ends picture and table have the mean and the range. Run all on one idle machine, in one go.

- `transformer` trains a Transformer as nanochat's: rotary positions, RMSNorm also of queries and keys,
  a gated layer (SwiGLU), and Muon for its matrices beside AdamW. It reads windows at random places.
- `lstm` and `gru` train torch.nn.LSTM and torch.nn.GRU with AdamW and carry the state on, as a
  tutorial would.
- `ngrams` counts the n-grams of the training text, without a network.
- `charrnn` runs `charrnn train`.

words.py measures how many words of their texts are invented.

The rates of the first three decay by a cosine. Their settings are those that a search found on tiny
Shakespeare (benchmarks/LOG.md). For such a search `--one-core` counts the processor's time of one core,
so that trainings beside other work are compared.

The loss is that of `windowed-256` of charrnn: windows of 256 characters of the last tenth, each read
without anything before it, in nats per character. A Transformer of a shorter window predicts each
character from at least seven eighths of what it has learned to read. A loss is measured while
the clock stands still.
"""

import argparse
import csv
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import charrnn
from benchmarks.measuring import print_table
from charrnn.model.losses import NUM_WINDOWS, WINDOWED, WINDOWED_LENGTH, windowed_scores
from charrnn.ngrams.kneser_ney import probabilities_by_order
from charrnn.training.optim import Muon

NUM_CHECKPOINTS = 15
READINGS = 8
"""Readings of a block, of which each predicts as many new characters of the text."""
HEAD_SIZE = 32
"""Numbers of a query and a key of an attention head."""
NGRAM_ORDER = 16
"""Characters of an n-gram, at most."""


@dataclass(frozen=True)
class Measurement:
    """A row of the CSV file: the loss of a program after some seconds."""

    program: str
    minutes: float
    seed: int
    seconds: float
    loss: float
    place: str
    """`end` of the training of these minutes, or `within` it."""


@dataclass(frozen=True)
class Settings:
    """Settings of a network of torch and its training."""

    units: int
    layers: int
    batch_rows: int
    window: int
    rate: float
    dropout: float


DEFAULTS = {
    "lstm": Settings(units=256, layers=1, batch_rows=32, window=32, rate=5e-3, dropout=0),
    "gru": Settings(units=192, layers=2, batch_rows=32, window=32, rate=2.5e-3, dropout=0),
    "transformer": Settings(units=96, layers=3, batch_rows=64, window=64, rate=0.01, dropout=0),
}
"""The settings that a search found, by program."""
NAMES = {"lstm": "torch.nn.LSTM", "gru": "torch.nn.GRU", "transformer": "Transformer"}


def seconds_since_start() -> float:
    """Return the seconds since this process began; Linux only."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


def read_ids(path: Path) -> tuple[NDArray[np.uint16], list[str], int]:
    """Return the ids of a text, its alphabet, and the number of characters of its training part."""
    text = path.read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    ids = {character: index for index, character in enumerate(alphabet)}
    encoded = np.array([ids[character] for character in text], np.uint16)
    return encoded, alphabet, int(0.9 * len(encoded))


class BlockReader:
    """A model that reads blocks of limited length, called like a network of charrnn."""

    device = torch.device("cpu")

    def __init__(self, model: Any, block_size: int) -> None:
        self._model = model
        self._block_size = block_size

    def initial_state(self, batch_size: int) -> None:
        """There is no state: a block is read from its beginning."""

    @torch.inference_mode()
    def __call__(self, ids: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
        """Compute the logits (T, B, V) after each of ids (T, B), from the last characters of ids."""
        size = self._block_size
        logits = [self._model(ids[:size], None)[0]]
        stride = size // READINGS
        for end in range(size + stride, len(ids) + stride, stride):
            end = min(end, len(ids))
            num_read = sum(len(part) for part in logits)
            logits.append(self._model(ids[end - size : end], None)[0][num_read - end :])
        return torch.cat(logits), None


class StockRNN(torch.nn.Module):
    """An embedding, torch.nn.LSTM or torch.nn.GRU and a linear layer, called like a network of
    charrnn."""

    device = torch.device("cpu")

    def __init__(self, program: str, num_chars: int, settings: Settings) -> None:
        super().__init__()
        units = settings.units
        kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[program]
        self.embedding = torch.nn.Embedding(num_chars, units)
        self.layers = kind(units, units, settings.layers, dropout=settings.dropout)
        self.dropout = torch.nn.Dropout(settings.dropout)
        self.output = torch.nn.Linear(units, num_chars)

    def initial_state(self, batch_size: int) -> None:
        """torch's layers begin from zeros."""

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Compute the logits (T, B, V) after each of ids (T, B), and the new state."""
        outputs, state = self.layers(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(outputs)), state


class Block(torch.nn.Module):
    """Attention, then a gated layer (SwiGLU), each of the normalised inputs and added to them."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(dropout)
        self.attention = torch.nn.Linear(width, 3 * width, bias=False)
        self.attended = torch.nn.Linear(width, width, bias=False)
        self.gated = torch.nn.Linear(width, 4 * width, bias=False)
        self.output = torch.nn.Linear(2 * width, width, bias=False)
        # A block begins as if it were not there.
        torch.nn.init.zeros_(self.attended.weight)
        torch.nn.init.zeros_(self.output.weight)

    def forward(self, inputs: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Compute the outputs for inputs (B, T, width); `turns` (T, HEAD_SIZE / 2) are complex numbers
        of length 1 that turn queries and keys by their place (Su 2021)."""
        normalised = functional.rms_norm(inputs, inputs.shape[-1:])
        heads = self.attention(normalised).unflatten(-1, (3, -1, HEAD_SIZE)).transpose(1, 3)
        query, key, value = heads.unbind(2)
        attended = functional.scaled_dot_product_attention(
            turned(query, turns), turned(key, turns), value, is_causal=True
        )
        inputs = inputs + self.dropout(self.attended(attended.transpose(1, 2).flatten(2)))

        normalised = functional.rms_norm(inputs, inputs.shape[-1:])
        gate, hidden = self.gated(normalised).chunk(2, -1)
        return inputs + self.dropout(self.output(functional.silu(gate) * hidden))


def turned(heads: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Normalise queries or keys (B, heads, T, HEAD_SIZE), and turn each pair by its place."""
    heads = functional.rms_norm(heads, (HEAD_SIZE,))
    pairs = torch.view_as_complex(heads.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2)


class Transformer(torch.nn.Module):
    """A Transformer that reads windows, called like a network of charrnn."""

    device = torch.device("cpu")

    def __init__(self, num_chars: int, settings: Settings) -> None:
        super().__init__()
        width = settings.units
        self.embedding = torch.nn.Embedding(num_chars, width)
        self.blocks = torch.nn.ModuleList(
            Block(width, settings.dropout) for _ in range(settings.layers)
        )
        self.output = torch.nn.Linear(width, num_chars)
        frequencies = 1e4 ** -torch.arange(0, 1, 2 / HEAD_SIZE)
        angles = torch.outer(torch.arange(settings.window), frequencies)
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))

    def initial_state(self, batch_size: int) -> None:
        """There is no state: a window is read from its beginning."""

    def forward(self, ids: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
        """Compute the logits (T, B, V) after each of ids (T, B), at most a window."""
        outputs = self.embedding(ids.T)
        for block in self.blocks:
            outputs = block(outputs, self.turns[: len(ids)])
        return self.output(functional.rms_norm(outputs, outputs.shape[-1:])).transpose(0, 1), None


def loss_of(network: Any, ids: NDArray[np.uint16]) -> float:
    """Measure the loss by windowed-256 in nats per character."""
    return windowed_scores(network, ids, precision="fp32").losses.mean


class Learner:
    """A network of torch, its optimizers and the place in the text where it reads."""

    def __init__(
        self, program: str, ids: NDArray[np.uint16], num_chars: int, seed: int, settings: Settings
    ) -> None:
        torch.manual_seed(seed)
        self.settings = settings
        self.step = 0
        self._random = np.random.default_rng(seed)
        self._text = torch.from_numpy(ids.astype(np.int64))
        self._state: Any = None
        self._muon: Muon | None = None
        if program == "transformer":
            self.network: Any = Transformer(num_chars, settings)
            matrices = list(self.network.blocks.parameters())
            config = charrnn.Config(hidden_size=settings.units, precision="fp32")
            self._muon = Muon(matrices, weight_decay=0.1, config=config)
            others = [*self.network.embedding.parameters(), *self.network.output.parameters()]
        else:
            self.network = StockRNN(program, num_chars, settings)
            others = list(self.network.parameters())
        self._adamw = torch.optim.AdamW(others, lr=settings.rate)

    def learn(self, share: float) -> None:
        """Take one step at a share of the rate."""
        inputs, targets = self._window()
        logits, self._state = self.network(inputs, self._state)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.step += 1
        rate = self.settings.rate * share
        self._adamw.param_groups[0]["lr"] = rate
        self._adamw.step()
        if self._muon is None:
            self._state = torch.utils._pytree.tree_map(torch.Tensor.detach, self._state)
        else:
            self._muon.step(rate, self.step)

    def _window(self) -> tuple[torch.Tensor, torch.Tensor]:
        # Characters (T, B) and those after them.
        rows, window = self.settings.batch_rows, self.settings.window
        length = (len(self._text) - 1) // rows
        begin = self.step * window % (length - window)
        if self._muon is not None:
            starts = self._random.integers(0, len(self._text) - window, rows)
        else:
            # The state is carried on, and begins anew with the text.
            starts = begin + length * np.arange(rows)
            if begin < window:
                self._state = None
        places = torch.from_numpy(starts + np.arange(window)[:, None])
        return self._text[places], self._text[places + 1]


def share_of_rate(done: float) -> float:
    """Return the share of the rate after a share of the training: a cosine, down to a twentieth."""
    return 0.05 + 0.475 * (1 + math.cos(math.pi * done))


def train_network(given: argparse.Namespace, settings: Settings) -> Iterator[tuple[float, float]]:
    """Train a network of torch for the minutes of this process; yield the seconds and the loss
    about NUM_CHECKPOINTS times."""
    ids, alphabet, num_train = read_ids(given.text)
    learner = Learner(given.program, ids[:num_train], len(alphabet), given.seed, settings)
    network = learner.network
    reader = network
    if given.program == "transformer":
        reader = BlockReader(network, settings.window)

    # The clock stands still while a loss is measured.
    clock = time.process_time if given.one_core else seconds_since_start
    budget = 60 * given.minutes
    measuring = 0.0
    due = iter([*np.geomspace(min(10, budget / 2), budget, NUM_CHECKPOINTS), math.inf])
    if given.one_core:
        torch.set_num_threads(1)
        due = iter([budget, math.inf])
    next_due = next(due)
    while True:
        seconds = clock() - measuring
        if seconds >= next_due:
            network.eval()
            with torch.inference_mode():
                yield seconds, loss_of(reader, ids[num_train:])
            network.train()
            next_due = next(due)
            measuring = clock() - seconds
        if seconds >= budget:
            print(f"{learner.step:,} steps", file=sys.stderr)
            return
        learner.learn(share=share_of_rate(seconds / budget))


def measure_network(given: argparse.Namespace) -> Iterator[Measurement]:
    """Train a network of torch; yield a row for each loss."""
    chosen = {
        field.name: getattr(given, field.name)
        for field in fields(Settings)
        if getattr(given, field.name) is not None
    }
    settings = replace(DEFAULTS[given.program], **chosen)
    losses = list(train_network(given, settings))
    for seconds, loss in losses:
        place = "end" if seconds == losses[-1][0] else "within"
        yield Measurement(NAMES[given.program], given.minutes, given.seed, seconds, loss, place)


def measure_ngrams(given: argparse.Namespace) -> Iterator[Measurement]:
    """Count the training text and score the windows of windowed-256; yield one row."""
    ids, alphabet, num_train = read_ids(given.text)
    validation = ids[num_train:]
    starts = np.random.default_rng(0).integers(
        0, len(validation) - WINDOWED_LENGTH, size=NUM_WINDOWS
    )
    windows = validation[starts[:, None] + np.arange(WINDOWED_LENGTH + 1)]

    # Before each window stands a character that no text has, so that no context goes beyond it.
    separated = np.insert(windows, 0, len(alphabet), axis=1)
    positions = np.arange(separated.size).reshape(separated.shape)[:, 2:]
    [(_, probabilities)] = probabilities_by_order(
        ids[:num_train],
        separated.ravel(),
        positions.ravel(),
        vocab_size=len(alphabet) + 1,
        orders=[NGRAM_ORDER],
    )
    seconds = seconds_since_start()
    loss = -np.log(probabilities).mean()
    yield Measurement("n-grams", seconds / 60, 0, seconds, loss, "end")


def measure_charrnn(given: argparse.Namespace) -> Iterator[Measurement]:
    """Train charrnn; yield its row."""
    run = given.runs / f"{60 * given.minutes:g}-seconds-{given.seed}"
    begin = time.monotonic()
    options = ("--minutes", str(given.minutes), "--seed", str(given.seed), "--out", str(run))
    train = [sys.executable, "-m", "charrnn", "train", str(given.text), *options, "--quiet"]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begin

    # The last step, as of the other programs, and not the best one.
    last = (run / "latest").read_text(encoding="utf-8")
    model = charrnn.load(run, step=int(last.rpartition("-")[2]))
    report = charrnn.evaluate(model, model.held_out(), protocol=WINDOWED)
    loss = report.nats_per_char
    yield Measurement("charrnn", given.minutes, given.seed, seconds, loss, "end")


PROGRAMS = {
    **dict.fromkeys(NAMES, measure_network),
    "ngrams": measure_ngrams,
    "charrnn": measure_charrnn,
}


def written(row: Measurement) -> dict[str, str]:
    """Return a row as it stands in the file."""
    return {
        "program": row.program,
        "minutes": f"{row.minutes:.3g}",
        "seed": str(row.seed),
        "seconds": f"{row.seconds:.1f}",
        "loss": f"{row.loss:.4f}",
        "place": row.place,
    }


def read_rows(path: Path) -> list[Measurement]:
    """Read the rows that were measured."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Measurement(
                row["program"],
                float(row["minutes"]),
                int(row["seed"]),
                float(row["seconds"]),
                float(row["loss"]),
                row["place"],
            )
            for row in csv.DictReader(file)
        ]


def table_of(rows: list[Measurement]) -> list[dict[str, str]]:
    """Return a row for each program and budget, the fastest first: the means of its trainings, and
    the range of their losses if there are several."""
    trainings: dict[tuple[str, float], list[Measurement]] = {}
    for row in rows:
        if row.place == "end":
            trainings.setdefault((row.program, row.minutes), []).append(row)
    table = []
    for (program, minutes), ends in trainings.items():
        seconds = statistics.mean(end.seconds for end in ends)
        losses = [end.loss for end in ends]
        loss = f"{statistics.mean(losses):.4f}"
        if len(losses) > 1:
            loss = f"{loss} ({min(losses):.4f}…{max(losses):.4f})"
        name = program if program == "n-grams" else f"{program}, {minutes:g} minutes"
        table.append({"program": name, "seconds": f"{seconds:.1f}", "loss": loss})
    return sorted(table, key=lambda row: float(row["seconds"]))


def make_parser(description: str | None, programs: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser of a benchmark that measures one of several programs on a text and adds
    rows to a CSV file, of which `table` prints a table."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", choices=(*programs, "table"))
    parser.add_argument("text", type=Path)
    parser.add_argument("csv", type=Path)
    return parser


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a row to a CSV file, which gets a heading if it is new."""
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    """Measure one program, or print the table."""
    parser = make_parser(__doc__, programs=PROGRAMS)
    parser.add_argument(
        "--runs", type=Path, default=Path("peers"), help="the folder of charrnn's runs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the networks")
    parser.add_argument("--minutes", type=float, default=3, help="of a training")
    parser.add_argument("--one-core", action="store_true", help="count the time of one core")
    for field in fields(Settings):
        kind = float if field.name in ("rate", "dropout") else int
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, help="of a network of torch"
        )
    given = parser.parse_args()
    if given.program == "table":
        print_table(table_of(read_rows(given.csv)))
        return

    # A row is written when it is measured.
    for row in PROGRAMS[given.program](given):
        append_row(given.csv, written(row))
        print(f"{row.program}: {row.seconds:.1f} s, {row.loss:.4f} nats per character", flush=True)


if __name__ == "__main__":
    main()
