"""Measure seconds and loss of other programs on tiny Shakespeare, beside charrnn on the same machine.

    python benchmarks/losses/peers.py nanogpt shakespeare.txt peers.csv --clone FOLDER
    python benchmarks/losses/peers.py lstm shakespeare.txt peers.csv
    python benchmarks/losses/peers.py ngrams shakespeare.txt peers.csv
    python benchmarks/losses/peers.py charrnn shakespeare.txt peers.csv
    python benchmarks/losses/peers.py table shakespeare.txt peers.csv

Each adds rows to a CSV file, of which tools/charts.py draws a picture and `table` prints a table.
A row has the program, the minutes and the seed of its training, the seconds until the measurement,
the loss, and whether it is the `end` of that training or `within` it, where the rate of learning is
still high. Each budget is a training of its own; `--seed` repeats those of charrnn and of lstm, of
whose ends picture and table have the mean and the range. Run all on one idle machine, in one go.

- `nanogpt` runs the command for a CPU of nanoGPT's README in FOLDER, a clone of
  https://github.com/karpathy/nanoGPT, whose code it does not change. As many iterations as fit into the
  minutes are found by a first run of PROBE of them; the learning rate decays over all. nanoGPT saves
  a checkpoint from time to time, which is copied with the seconds since its process began.
- `lstm` trains torch.nn.LSTM with AdamW and a rate that decays by a cosine, as a tutorial would.
- `ngrams` counts the n-grams of the training text, without a network.
- `charrnn` runs `charrnn train` with each budget.

The loss is that of `windowed-256` of charrnn: windows of 256 characters of the last tenth, each read
without anything before it, in nats per character. nanoGPT's model reads at most 64 characters: each
character is predicted from the last 57 to 64, as far as its window has them. A loss is measured after
the training, or while its clock stands still.
"""

import argparse
import csv
import importlib
import math
import os
import pickle
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import charrnn
from benchmarks.measuring import print_table
from charrnn.model.losses import NUM_WINDOWS, WINDOWED, WINDOWED_LENGTH, windowed_scores
from charrnn.ngrams.kneser_ney import probabilities_by_order

README_COMMAND = (
    *("config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20"),
    *("--log_interval=1", "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4"),
    *("--n_embd=128", "--dropout=0.0"),
)
"""The arguments of train.py in nanoGPT's README, without the number of iterations."""
PROBE = 150
"""Iterations of the run that measures how many there are in a minute."""
NUM_CHECKPOINTS = 15
ESTIMATE_COST = 14
"""Iterations that take as long as an estimate of the loss: 40 batches without gradients."""
STRIDE = 8
"""Characters that nanoGPT's model predicts from one reading of a block."""
NGRAM_ORDER = 16
"""Characters of an n-gram, at most."""
NANOGPT_SEED = 1337
"""The seed that stands in nanoGPT's program."""
BUDGETS = [1.0, 3.0, 15.0]
"""Minutes of the trainings of other programs."""
CHARRNN_BUDGETS = [0.025, 0.33, *BUDGETS]
"""Minutes of the trainings of charrnn."""


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
class LSTMSettings:
    """Settings of torch.nn.LSTM and its training."""

    units: int
    layers: int
    batch_rows: int
    window: int
    rate: float
    dropout: float

    def arguments(self) -> list[str]:
        """Return the settings as arguments of this program."""
        return [f"--{name.replace('_', '-')}={value:g}" for name, value in asdict(self).items()]


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
        rows = ids.T
        size = self._block_size
        logits = [self._read(rows[:, :size])]
        for end in range(size + STRIDE, rows.shape[1] + STRIDE, STRIDE):
            end = min(end, rows.shape[1])
            num_read = sum(part.shape[1] for part in logits)
            logits.append(self._read(rows[:, end - size : end])[:, num_read - end :])
        return torch.cat(logits, 1).transpose(0, 1), None

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        # With targets the model returns the logits of all characters, else of the last one.
        logits: torch.Tensor = self._model(rows.contiguous(), rows.contiguous())[0]
        return logits


class StockLSTM(torch.nn.Module):
    """An embedding, torch.nn.LSTM and a linear layer, called like a network of charrnn."""

    device = torch.device("cpu")

    def __init__(self, num_chars: int, num_units: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(num_chars, num_units)
        self.lstm = torch.nn.LSTM(num_units, num_units, num_layers, dropout=dropout)
        self.dropout = torch.nn.Dropout(dropout)
        self.output = torch.nn.Linear(num_units, num_chars)

    def initial_state(self, batch_size: int) -> None:
        """torch.nn.LSTM begins from zeros."""

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Compute the logits (T, B, V) after each of ids (T, B), and the new state."""
        outputs, state = self.lstm(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(outputs)), state


def loss_of(network: Any, ids: NDArray[np.uint16]) -> float:
    """Measure the loss by windowed-256 in nats per character."""
    return windowed_scores(network, ids, precision="fp32").losses.mean


def prepare_clone(
    clone: Path, ids: NDArray[np.uint16], alphabet: list[str], num_train: int
) -> None:
    """Write what nanoGPT's prepare.py writes, which would download the text."""
    folder = clone / "data" / "shakespeare_char"
    ids[:num_train].tofile(folder / "train.bin")
    ids[num_train:].tofile(folder / "val.bin")
    names = {
        "vocab_size": len(alphabet),
        "itos": dict(enumerate(alphabet)),
        "stoi": {character: index for index, character in enumerate(alphabet)},
    }
    (folder / "meta.pkl").write_bytes(pickle.dumps(names))


def command_of(num_iterations: int, eval_interval: int, out: Path) -> list[str]:
    """Return nanoGPT's command for a number of iterations."""
    return [
        *(sys.executable, "-u", "train.py", *README_COMMAND, f"--out_dir={out}"),
        *(f"--max_iters={num_iterations}", f"--lr_decay_iters={num_iterations}"),
        *(f"--eval_interval={eval_interval}", "--always_save_checkpoint=True"),
    ]


def iterations_in(minutes: float, clone: Path, out: Path) -> int:
    """Return how many iterations nanoGPT takes in some minutes, with its start and its own estimates
    of the loss."""
    begin = time.monotonic()
    done = subprocess.run(
        command_of(PROBE, eval_interval=10 * PROBE, out=out),
        cwd=clone,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    whole = time.monotonic() - begin
    times = [float(found) / 1000 for found in re.findall(r", time ([\d.]+)ms", done.stdout)][1:]
    per_iteration = sum(times) / len(times)
    num_iterations = int((60 * minutes - (whole - sum(times))) / per_iteration)
    return max(PROBE, num_iterations - NUM_CHECKPOINTS * ESTIMATE_COST)


def run_nanogpt(clone: Path, num_iterations: int, out: Path) -> Iterator[tuple[float, Path]]:
    """Run nanoGPT's command, and yield the seconds since its start and the path of each checkpoint,
    which is copied to `out`."""
    begin = time.monotonic()
    command = command_of(
        num_iterations, eval_interval=max(1, num_iterations // NUM_CHECKPOINTS), out=out
    )
    process = subprocess.Popen(command, cwd=clone, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    is_saving = False
    for line in process.stdout:
        if line.startswith("saving checkpoint"):
            is_saving = True
        elif is_saving and line.startswith("iter "):  # the file is complete
            is_saving = False
            seconds = time.monotonic() - begin
            copied = out / f"{seconds:.0f}.pt"
            shutil.copy(out / "ckpt.pt", copied)
            yield seconds, copied
    if process.wait() != 0:
        sys.exit(f"nanoGPT ended with exit code {process.returncode}")


def with_places(
    program: str, minutes: float, seed: int, losses: list[tuple[float, float]]
) -> Iterator[Measurement]:
    """Yield the seconds and losses of one training as rows, of which the last is its end."""
    last = len(losses) - 1
    for index, (seconds, loss) in enumerate(losses):
        place = "end" if index == last else "within"
        yield Measurement(program, minutes, seed, seconds, loss, place)


def measure_nanogpt(given: argparse.Namespace) -> Iterator[Measurement]:
    """Run nanoGPT with each budget; yield a row for each checkpoint."""
    ids, alphabet, num_train = read_ids(given.text)
    clone = given.clone.resolve()
    prepare_clone(clone, ids, alphabet, num_train)
    # Its code is imported from the clone.
    sys.path.insert(0, str(clone))
    nanogpt = importlib.import_module("model")
    for minutes in given.budgets:
        with tempfile.TemporaryDirectory() as folder:
            num_iterations = iterations_in(minutes, clone, Path(folder))
            print(f"{num_iterations:,} iterations", file=sys.stderr)
            losses = []
            for seconds, path in list(run_nanogpt(clone, num_iterations, Path(folder))):
                saved = torch.load(path, weights_only=True)
                model = nanogpt.GPT(nanogpt.GPTConfig(**saved["model_args"]))
                model.load_state_dict(saved["model"])
                reader = BlockReader(model.eval(), saved["model_args"]["block_size"])
                losses.append((seconds, loss_of(reader, ids[num_train:])))
        yield from with_places("nanoGPT", minutes, NANOGPT_SEED, losses)


def train_lstm(
    given: argparse.Namespace, settings: LSTMSettings, minutes: float
) -> Iterator[tuple[float, float]]:
    """Train torch.nn.LSTM with AdamW for some minutes of this process; yield the seconds and the loss
    about NUM_CHECKPOINTS times."""
    ids, alphabet, num_train = read_ids(given.text)
    torch.manual_seed(given.seed)
    model = StockLSTM(len(alphabet), settings.units, settings.layers, settings.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate)
    length = (num_train - 1) // settings.batch_rows
    inputs = torch.from_numpy(ids[: settings.batch_rows * length].astype(np.int64))
    targets = torch.from_numpy(ids[1 : settings.batch_rows * length + 1].astype(np.int64))
    inputs, targets = (part.view(settings.batch_rows, length).T for part in (inputs, targets))

    # The clock stands still while a loss is measured.
    budget = 60 * minutes
    measuring = 0.0
    state = None
    step = 0
    due = iter([*np.geomspace(min(10, budget / 2), budget, NUM_CHECKPOINTS), math.inf])
    next_due = next(due)
    while True:
        seconds = seconds_since_start() - measuring
        if seconds >= next_due:
            model.eval()
            with torch.inference_mode():
                yield seconds, loss_of(model, ids[num_train:])
            model.train()
            next_due = next(due)
            measuring = seconds_since_start() - seconds
        if seconds >= budget:
            return

        # One step of the common loop: the state is carried on, and begins anew with the text.
        begin = step * settings.window % (length - settings.window)
        if begin < settings.window:
            state = None
        window = slice(begin, begin + settings.window)
        share = 0.05 + 0.475 * (1 + math.cos(math.pi * seconds / budget))
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * share
        state = take_step(model, optimizer, inputs[window], targets[window], state)
        step += 1


def take_step(
    model: StockLSTM,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    state: Any,
) -> Any:
    """Learn from a window (T, B), and return the state after it."""
    logits, state = model(inputs, state)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return tuple(part.detach() for part in state)


def settings_of(given: argparse.Namespace) -> LSTMSettings:
    """Return the settings that the command names."""
    return LSTMSettings(
        given.units, given.layers, given.batch_rows, given.window, given.rate, given.dropout
    )


def measure_lstm(given: argparse.Namespace) -> Iterator[Measurement]:
    """Train torch.nn.LSTM with each budget, in a process of its own; yield a row for each loss."""
    if len(given.budgets) == 1:
        [minutes] = given.budgets
        losses = list(train_lstm(given, settings_of(given), minutes))
        yield from with_places("torch.nn.LSTM", minutes, given.seed, losses)
        return
    for minutes in given.budgets:
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "rows.csv"
            arguments = settings_of(given).arguments()
            options = [f"--budgets={minutes:g}", f"--seed={given.seed}", *arguments]
            command = [sys.executable, __file__, "lstm", str(given.text), str(table), *options]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            yield from read_rows(table)


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
    yield Measurement("n-grams alone", seconds / 60, 0, seconds, loss, "end")


def measure_charrnn(given: argparse.Namespace) -> Iterator[Measurement]:
    """Train charrnn with each budget; yield a row for each."""
    for minutes in given.budgets:
        run = given.runs / f"{60 * minutes:g}-seconds-{given.seed}"
        begin = time.monotonic()
        options = ("--minutes", f"{minutes:g}", "--seed", str(given.seed), "--out", str(run))
        train = [sys.executable, "-m", "charrnn", "train", str(given.text), *options, "--quiet"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - begin

        model = charrnn.load(run)
        report = charrnn.evaluate(model, model.held_out(), protocol=WINDOWED)
        yield Measurement("charrnn", minutes, given.seed, seconds, report.nats_per_char, "end")


PROGRAMS = {
    "nanogpt": measure_nanogpt,
    "lstm": measure_lstm,
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
    table = {}
    for (program, minutes), ends in trainings.items():
        seconds = statistics.mean(end.seconds for end in ends)
        losses = [end.loss for end in ends]
        loss = f"{statistics.mean(losses):.4f}"
        if len(losses) > 1:
            loss = f"{loss} ({min(losses):.4f}…{max(losses):.4f})"
        name = program if program == "n-grams alone" else f"{program}, {minutes:g} minutes"
        table[seconds] = {"program": name, "seconds": f"{seconds:.1f}", "loss": loss}
    return [table[seconds] for seconds in sorted(table)]


def main() -> None:
    """Measure one program, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", choices=(*PROGRAMS, "table"))
    parser.add_argument("text", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--clone", type=Path, help="the clone of nanoGPT")
    parser.add_argument(
        "--runs", type=Path, default=Path("peers"), help="the folder of charrnn's runs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of charrnn and of lstm")
    parser.add_argument("--budgets", type=float, nargs="+", help="minutes")
    for name, default in (("units", 256), ("layers", 2), ("batch-rows", 16), ("window", 64)):
        parser.add_argument(f"--{name}", type=int, default=default, help="of lstm")
    for name, share in (("rate", 5e-3), ("dropout", 0.2)):
        parser.add_argument(f"--{name}", type=float, default=share, help="of lstm")
    given = parser.parse_args()
    if given.program == "table":
        print_table(table_of(read_rows(given.csv)))
        return
    if given.program == "nanogpt" and given.clone is None:
        parser.error("nanogpt needs --clone FOLDER")

    if given.budgets is None and given.program == "charrnn":
        given.budgets = CHARRNN_BUDGETS
    elif given.budgets is None:
        given.budgets = BUDGETS

    # A row is written when it is measured.
    for row in PROGRAMS[given.program](given):
        is_new = not given.csv.exists()
        with given.csv.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Measurement)])
            if is_new:
                writer.writeheader()
            writer.writerow(written(row))
        print(f"{row.program}: {row.seconds:.1f} s, {row.loss:.4f} nats per character", flush=True)


if __name__ == "__main__":
    main()
