"""Run one row of the table of records from nothing: train a model per seed, measure each, print the
row's line.

    python benchmarks/losses/record.py shakespeare-3 --texts FOLDER --out benchmarks/records/2026-11-23-shakespeare-3
    python benchmarks/losses/record.py --list

FOLDER contains the texts, whose digests are checked. The rules are in benchmarks/records/README.md.
The command of a row is `charrnn train TEXT --minutes M` and what fixes the split, nothing else.
Every seed is a process of its own, whose minutes count from its start. Beside it, the same command
is run with `--split 80/10/10`, so that the step is chosen on one tenth and the loss quoted on
another. `--out` writes `record.json` (machine, commands, figures) and `log.jsonl` (every
validation) after each run; the same command again, at the same commit and on the same kind of
machine, goes on where it was stopped. `--against FOLDER` compares with an earlier record (Welch's t
test, one-sided).
"""

import argparse
import hashlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measuring import describe_machine
from charrnn.system.files import write_atomically

SHAKESPEARE = "shakespeare.txt", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
WAR_AND_PEACE = (
    "war-and-peace.txt",
    "fb66ba999dafe24017cdd59e04c56d385a9c8466993d374fd4c6f08b2142985e",
)
ENWIK8 = "enwik8", "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"
NAMES = "names.txt", "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
NONE = "", ""
TEST_SPLIT = ("--split", "80/10/10")
STATEFUL, WINDOWED = "stateful", "windowed-256"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    text: tuple[str, str]
    """The name of the file and its SHA-256; empty for the default corpus, which differs between
    versions of Python."""
    minutes: float
    protocol: str
    goal: float
    options: tuple[str, ...] = ()
    first_bytes: int | None = None
    """Only so many bytes of the file are used."""
    field: str = "nats_per_char"
    steps: int | None = None
    """Instead of minutes. The seconds are then those of the steps, without those of the start."""
    target: float | None = None
    """Instead of a loss: seconds from process start until the loss is at most this one."""
    splits: tuple[tuple[str, ...], ...] = ((), TEST_SPLIT)
    """The splits that are trained: the customary one (validation on the last tenth), and that with
    a test part."""


AS_BYTES = ("--alphabet", "byte")
OF_NAMES = ("--documents", "lines", "--set", "threads=1")
"""Names are split whole, 80/10/10, in a shuffled order, and END counts as a character. One core."""
ONE_SECOND = (
    *("--cell", "rnn", "--hidden-size", "32", "--embedding-size", "16"),
    *("--set", "batch_size=256", "--set", "bptt_length=16"),
    *("--set", "learning_rate=0.12", "--set", "muon_scale=1", "--set", "final_learning_rate=0.1"),
    *("--set", "warmup_steps=5", "--set", "weight_average=0"),
)
"""What a second is best spent on: few units of the fastest cell, many names at a time, a high rate,
no average."""
ROWS = {
    "shakespeare-3": Row(SHAKESPEARE, 3, WINDOWED, 1.415),
    "shakespeare-15": Row(SHAKESPEARE, 15, WINDOWED, 1.375),
    "shakespeare-60": Row(SHAKESPEARE, 60, WINDOWED, 1.355),
    "war-and-peace-15": Row(WAR_AND_PEACE, 15, STATEFUL, 1.065, AS_BYTES, splits=(TEST_SPLIT,)),
    "war-and-peace-60": Row(WAR_AND_PEACE, 60, STATEFUL, 1.030, AS_BYTES, splits=(TEST_SPLIT,)),
    "enwik8-6": Row(
        ENWIK8, 6, STATEFUL, 1.88, AS_BYTES, 5_000_000, "bits_per_byte", splits=(TEST_SPLIT,)
    ),
    "standard-library-3": Row(NONE, 3, STATEFUL, 1.00),
    "names-1s": Row(
        NAMES, 0, STATEFUL, 2.00, (*OF_NAMES, *ONE_SECOND), steps=100, splits=(TEST_SPLIT,)
    ),
    "names-60s": Row(NAMES, 1, STATEFUL, 1.95, OF_NAMES, splits=(TEST_SPLIT,)),
    "seconds-to-1.874": Row(SHAKESPEARE, 0.025, WINDOWED, 4, target=1.874, splits=((),)),
    "seconds-to-1.4697": Row(SHAKESPEARE, 0.33, WINDOWED, 20, target=1.4697, splits=((),)),
}


COMPARABLE = ("instructions", "python")
"""What of a machine must agree for records to be compared."""
OF_ONE_RECORD = (*COMPARABLE, "minutes", "commit", "torch")
"""What must agree for a record to go on."""


def check_text(row: Row, folder: Path, scratch: Path) -> list[str]:
    """Return the corpus argument of `charrnn train`, after a check of the digest. Exits if the text
    is another one."""
    name, digest = row.text
    if not name:
        return []
    path = folder / name
    if not path.is_file():
        sys.exit(f"{path} is missing: give the folder of {name} with --texts")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        sys.exit(f"{path} has the SHA-256 {found}; the row needs the text with {digest}")
    if row.first_bytes is None:
        return [str(path)]
    part = scratch / f"{name}-{row.first_bytes}"
    part.write_bytes(data[: row.first_bytes])
    return [str(part)]


def run_json(*arguments: str) -> dict[str, Any]:
    """Return the JSON object that a command of charrnn prints."""
    done = subprocess.run(
        [sys.executable, "-m", "charrnn", *arguments], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def train(
    row: Row, corpus: list[str], split: tuple[str, ...], seed: int, run: Path
) -> dict[str, Any]:
    """Train one model and measure its best step; return its figures."""
    budget = ["--minutes", f"{row.minutes:g}"]
    if row.steps is not None:
        budget = ["--steps", f"{row.steps}"]
    options = [*corpus, *row.options, *budget, *split]
    begin = time.monotonic()
    command = [
        "-m",
        "charrnn",
        "train",
        *options,
        "--seed",
        str(seed),
        "--quiet",
        "--out",
        str(run),
    ]
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    part = ("--part", "test") if split else ()
    measured = run_json("evaluate", str(run), *part, "--by", WINDOWED, "--json", "--quiet")
    losses: dict[str, dict[str, float]] = {}
    for entry in measured["rows"]:
        losses.setdefault(entry["name"], {})[entry["protocol"]] = entry[row.field]
    network = losses[measured["run"]]
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    validations = [event for event in events if event.get("val_nats") is not None]
    if row.steps is not None:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        seconds = seconds_of_steps(events, config["batch_size"] * config["bptt_length"])
    words = [row.text[0] if option in corpus else option for option in options]
    return {"command": " ".join(["charrnn", "train", *words, "--seed", str(seed)])} | {
        "seed": seed,
        "split": " ".join(split),
        "seconds": round(seconds, 2),
        "step": measured["step"],
        "stateful": network[STATEFUL],
        "windowed_256": network[WINDOWED],
        "validations": validations,
    }


def seconds_of_steps(events: list[dict[str, Any]], chars_per_step: int) -> float:
    """Return the seconds that the steps of a run took, without its start and its validations."""
    speeds = [event["chars_per_second"] for event in events if event["event"] == "step"]
    return sum(chars_per_step / speed for speed in speeds)


def figure_of(row: Row, run: dict[str, Any]) -> float:
    """Return what a row compares: a loss or, with a target, the seconds, which are infinite if it
    was missed."""
    loss: float = run[row.protocol.replace("-", "_")]
    if row.target is None:
        return loss
    seconds: float = run["seconds"]
    return seconds if loss <= row.target else math.inf


def p_value(new: list[float], old: list[float]) -> float:
    """Return the probability of so low a mean of `new` if it is no lower than that of `old` (Welch
    1947)."""
    variances = [statistics.variance(values) / len(values) for values in (new, old)]
    spread = sum(variances)
    if spread == 0:
        return 0.0 if statistics.mean(new) < statistics.mean(old) else 1.0
    t = (statistics.mean(new) - statistics.mean(old)) / math.sqrt(spread)
    parts = (
        variance**2 / (len(values) - 1)
        for variance, values in zip(variances, (new, old), strict=True)
    )
    freedom = spread**2 / sum(parts)
    # The integral of Student's density, which x = tan(a) makes one of a power of the cosine, from
    # -pi/2.
    end, count = math.atan(t / math.sqrt(freedom)), 20_000
    width = (end + math.pi / 2) / count
    area = width * sum(
        math.cos(-math.pi / 2 + (index + 0.5) * width) ** (freedom - 1) for index in range(count)
    )
    return (
        area
        * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
        / math.sqrt(math.pi)
    )


def describe(name: str, row: Row, runs: list[dict[str, Any]]) -> list[str]:
    """Return a line of the table for each split: the mean over the seeds, its standard error, the
    seconds."""
    lines = []
    for split in dict.fromkeys(run["split"] for run in runs):
        chosen = [run for run in runs if run["split"] == split]
        values = [figure_of(row, run) for run in chosen]
        error = (
            f" ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}"
            if len(values) > 1 and math.isfinite(sum(values))
            else ""
        )
        num_missed = sum(map(math.isinf, values))
        figure = f"missed by {num_missed}" if num_missed else f"{statistics.mean(values):.4f}"
        part = "test part" if split else "last tenth, step chosen there"
        goal = "none" if split and () in row.splits else f"{row.goal:g}"
        unit = "seconds" if row.target else f"{row.protocol}, {row.field.replace('_', ' ')}"
        lines.append(
            f"| {name} | {part} | {unit} | {figure}{error} | {len(values)} | {goal} | "
            f"{max(run['seconds'] for run in chosen):.3g} |"
        )
    return lines


def print_rows() -> None:
    """Print the name, the budget and the goal of each row."""
    for name, row in ROWS.items():
        unit = "seconds" if row.target else row.field.replace("_", " ")
        budget = f"{row.minutes:g} minutes"
        if row.steps is not None:
            budget = f"{row.steps} steps"
        print(f"{name:20} {budget}, goal {row.goal:g} {unit}")


def main() -> None:
    """Train the models of a row, print its lines, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("row", nargs="?", choices=sorted(ROWS), metavar="ROW")
    parser.add_argument("--list", action="store_true", help="print the rows")
    parser.add_argument("--texts", type=Path, default=Path(), help="the folder of the texts")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on")
    parser.add_argument(
        "--minutes", type=float, help="another budget, to try the program: not a record"
    )
    parser.add_argument(
        "--out", type=Path, help="write the record in this folder, or go on with it"
    )
    parser.add_argument("--against", type=Path, help="the folder of an earlier record of this row")
    arguments = parser.parse_args()
    if arguments.list or arguments.row is None:
        print_rows()
        return
    row = ROWS[arguments.row]
    if arguments.minutes is not None:
        row = replace(row, minutes=arguments.minutes)
    machine = describe_machine() | {"commit": _commit(), "minutes": row.minutes}
    runs, before = [], []
    if arguments.out and (arguments.out / "record.json").exists():
        runs = read_runs(arguments.out, arguments.row, machine, OF_ONE_RECORD, "name another --out")
    if arguments.against:
        before = read_runs(
            arguments.against, arguments.row, machine, COMPARABLE, "they do not compare"
        )
    with tempfile.TemporaryDirectory() as folder:
        corpus = check_text(row, arguments.texts, Path(folder))
        for split in row.splits:
            for seed in range(arguments.seeds):
                if any((run["split"], run["seed"]) == (" ".join(split), seed) for run in runs):
                    continue
                runs.append(train(row, corpus, split, seed, Path(folder) / f"{len(split)}-{seed}"))
                print(
                    json.dumps(
                        {key: value for key, value in runs[-1].items() if key != "validations"}
                    ),
                    flush=True,
                )
                if arguments.out:
                    write(
                        arguments.out,
                        arguments.row,
                        describe(arguments.row, row, runs),
                        machine,
                        runs,
                    )
    print("\n".join(describe(arguments.row, row, runs)))
    for split in dict.fromkeys(run["split"] for run in before):
        new, old = (
            [figure_of(row, run) for run in some if run["split"] == split]
            for some in (runs, before)
        )
        if min(len(new), len(old)) > 1 and math.isfinite(sum((*new, *old))):
            print(f"against {arguments.against.name} {split}: p = {p_value(new, old):.2g}")


def read_runs(
    folder: Path, name: str, machine: dict[str, Any], fields: tuple[str, ...], remedy: str
) -> list[dict[str, Any]]:
    """Return the runs of a record, with their validations.

    Exits if a file is missing or damaged, and with the `remedy` if the row is not `name` or a field
    of the machine differs.
    """
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        log = [
            json.loads(line)
            for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
    except (OSError, ValueError) as error:
        sys.exit(f"{folder} has no whole record.json and log.jsonl: {error}")
    runs = [
        run
        | {
            "validations": [
                event
                for event in log
                if (event["split"], event["seed"]) == (run["split"], run["seed"])
            ]
        }
        for run in record["runs"]
    ]
    if not all(run["validations"] for run in runs):
        sys.exit(f"{folder / 'log.jsonl'} lacks the validations of a run")
    there, here = (
        [row, *map(of.get, fields)]
        for row, of in ((record["row"], record["machine"]), (name, machine))
    )
    if there != here:
        sys.exit(f"{folder} has runs of {there}, and this is {here}: {remedy}")
    return runs


def write(
    folder: Path, name: str, lines: list[str], machine: dict[str, Any], runs: list[dict[str, Any]]
) -> None:
    """Write `log.jsonl` and `record.json`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    events = [
        {"split": run["split"], "seed": run["seed"]} | validation
        for run in runs
        for validation in run["validations"]
    ]
    write_atomically(
        folder / "log.jsonl", "".join(f"{json.dumps(event)}\n" for event in events).encode()
    )
    figures = [{key: value for key, value in run.items() if key != "validations"} for run in runs]
    record = {"row": name, "lines": lines, "machine": machine, "runs": figures}
    write_atomically(folder / "record.json", (json.dumps(record, indent=1) + "\n").encode())


def _commit() -> str:
    folder = Path(__file__).parents[2]
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=folder
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
