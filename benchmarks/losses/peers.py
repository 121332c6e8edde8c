"""Measure seconds and loss of other programs on tiny Shakespeare, beside charrnn on the same machine.

    python benchmarks/losses/peers.py nanogpt shakespeare.txt peers.csv --clone FOLDER --minutes 15
    python benchmarks/losses/peers.py lstm shakespeare.txt peers.csv --minutes 15 --rate 2e-3
    python benchmarks/losses/peers.py counts shakespeare.txt peers.csv
    python benchmarks/losses/peers.py charrnn shakespeare.txt peers.csv --budgets 0.025 1 3 15
    python benchmarks/losses/peers.py table shakespeare.txt peers.csv

Each adds rows (program, seconds, loss) to a CSV file, of which docs/make/charts.py draws a picture
and `table` prints a table. Run all on one idle machine, within the hour.

- `nanogpt` runs the command for a CPU of nanoGPT's README in FOLDER, a clone of
  https://github.com/karpathy/nanoGPT, whose code it does not change. As many iterations as fit into the
  minutes are found by a first run of PROBE of them; the learning rate decays over all. nanoGPT saves
  a checkpoint from time to time, which is copied with the seconds since its process began.
- `lstm` trains torch.nn.LSTM with AdamW and a rate that decays by a cosine, as a tutorial would.
- `counts` counts the n-grams of the training text, without a network.
- `charrnn` runs `charrnn train` with each budget, and measures the network with its counts.

The loss is that of `windowed-256` of charrnn: windows of 256 characters of the last tenth, each read
without anything before it, in nats per character. nanoGPT's model reads at most 64 characters: each
character is predicted from the last 57 to 64, as far as its window has them. A loss is measured after
the training, or while its clock stands still.
"""

import argparse
import csv
import importlib
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring import print_table
from charrnn.counts.counted_model import CountsNetwork
from charrnn.counts.counting import ORDER
from charrnn.counts.kneser_ney import NgramModel
from charrnn.evaluation.losses import windowed_scores

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
FIELDS = ("program", "seconds", "loss")


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


def measure_nanogpt(given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Run nanoGPT for some minutes; yield a row for each of its checkpoints."""
    ids, alphabet, num_train = read_ids(given.text)
    clone = given.clone.resolve()
    prepare_clone(clone, ids, alphabet, num_train)
    with tempfile.TemporaryDirectory() as folder:
        num_iterations = iterations_in(given.minutes, clone, Path(folder))
        print(f"{num_iterations:,} iterations", file=sys.stderr)
        checkpoints = list(run_nanogpt(clone, num_iterations, Path(folder)))

        # Its code is imported from the clone.
        sys.path.insert(0, str(clone))
        nanogpt = importlib.import_module("model")
        for seconds, path in checkpoints:
            saved = torch.load(path, weights_only=True)
            model = nanogpt.GPT(nanogpt.GPTConfig(**saved["model_args"]))
            model.load_state_dict(saved["model"])
            reader = BlockReader(model.eval(), saved["model_args"]["block_size"])
            yield f"nanoGPT, {given.minutes:g} minutes", seconds, loss_of(reader, ids[num_train:])


def measure_lstm(given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Train torch.nn.LSTM with AdamW for some minutes; yield a row about NUM_CHECKPOINTS times."""
    ids, alphabet, num_train = read_ids(given.text)
    model = StockLSTM(len(alphabet), given.units, given.layers, given.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.rate)
    length = (num_train - 1) // given.batch_rows
    inputs = torch.from_numpy(ids[: given.batch_rows * length].astype(np.int64))
    targets = torch.from_numpy(ids[1 : given.batch_rows * length + 1].astype(np.int64))
    inputs, targets = (part.view(given.batch_rows, length).T for part in (inputs, targets))

    # The clock stands still while a loss is measured.
    budget = 60 * given.minutes
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
                loss = loss_of(model, ids[num_train:])
                yield f"torch.nn.LSTM, {given.minutes:g} minutes", seconds, loss
            model.train()
            next_due = next(due)
            measuring = seconds_since_start() - seconds
        if seconds >= budget:
            return

        # One step of the common loop: the state is carried on, and begins anew with the text.
        begin = step * given.window % (length - given.window)
        if begin < given.window:
            state = None
        window = slice(begin, begin + given.window)
        logits, state = model(inputs[window], state)
        state = tuple(part.detach() for part in state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[window].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = given.rate * (0.05 + 0.475 * (1 + math.cos(math.pi * seconds / budget)))
        optimizer.step()
        step += 1


def measure_counts(given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Count the training text; yield one row."""
    ids, alphabet, num_train = read_ids(given.text)
    predictor = NgramModel.fit(ids[:num_train], len(alphabet), ORDER).predictor()
    seconds = seconds_since_start()
    network = CountsNetwork(predictor, device=torch.device("cpu"), end_id=None)
    yield "counts alone", seconds, loss_of(network, ids[num_train:])


def measure_charrnn(given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Train charrnn with each budget; yield a row for each."""
    charrnn = (sys.executable, "-m", "charrnn")
    for minutes in given.budgets:
        run = given.runs / f"{60 * minutes:g}-seconds-{given.seed}"
        begin = time.monotonic()
        options = ("--minutes", f"{minutes:g}", "--seed", str(given.seed), "--out", str(run))
        train = [*charrnn, "train", str(given.text), *options, "--quiet"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - begin
        evaluate = [*charrnn, "evaluate", str(run), "--by", "windowed-256", "--json", "--quiet"]
        measured = subprocess.run(evaluate, capture_output=True, check=True)
        rows = json.loads(measured.stdout)["rows"]
        windowed = {row["name"]: row for row in rows if row["protocol"] == "windowed-256"}
        together = windowed.get(f"{run.name} with counts", windowed[run.name])
        yield "charrnn", seconds, together["nats_per_char"]


PROGRAMS = {
    "nanogpt": measure_nanogpt,
    "lstm": measure_lstm,
    "counts": measure_counts,
    "charrnn": measure_charrnn,
}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows that were measured."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Measure one program, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", choices=(*PROGRAMS, "table"))
    parser.add_argument("text", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--clone", type=Path, help="the clone of nanoGPT")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument(
        "--runs", type=Path, default=Path("peers"), help="the folder of charrnn's runs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of charrnn")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.025, 0.33, 1, 3, 15])
    for name, default in (("units", 256), ("layers", 2), ("batch-rows", 16), ("window", 64)):
        parser.add_argument(f"--{name}", type=int, default=default, help="of lstm")
    for name, share in (("rate", 5e-3), ("dropout", 0.2)):
        parser.add_argument(f"--{name}", type=float, default=share, help="of lstm")
    given = parser.parse_args()
    if given.program == "table":
        print_table([dict(row) for row in read_rows(given.csv)])
        return
    if given.program == "nanogpt" and given.clone is None:
        parser.error("nanogpt needs --clone FOLDER")

    # A row is written when it is measured.
    for row in PROGRAMS[given.program](given):
        name, seconds, loss = row
        is_new = not given.csv.exists()
        with given.csv.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(FIELDS)
            writer.writerow([name, f"{seconds:.1f}", f"{loss:.4f}"])
        print(f"{name}: {seconds:.1f} s, {loss:.4f} nats per character", flush=True)


if __name__ == "__main__":
    main()
