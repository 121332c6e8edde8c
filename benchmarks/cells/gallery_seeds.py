"""Train several seeds on War and Peace and on source code, and list how well cells of each follow
each detector.

    python benchmarks/cells/gallery_seeds.py seeds --novel war-and-peace.txt --threads 1
    python benchmarks/cells/gallery_seeds.py seeds --novel war-and-peace.txt --threads 1 --seconds 60   # again and again
    python benchmarks/cells/gallery_seeds.py seeds --table                    # only print what the folder contains

Without --novel, War and Peace is downloaded as `charrnn train war-and-peace` does. The source code
is the default corpus of `charrnn train`: the standard library of this Python. War and Peace is read
as bytes and split 80/10/10. A training has --steps steps of a model with --units units per layer,
and everything else from the recipe, so its result does not depend on how busy the machine is.

Trainings run one after the other, the first seed of both texts before the second. Each is an
ordinary run in the folder `seeds`; whatever ends this process, the next call continues it from its
last checkpoint. A finished run is measured as `charrnn visualize` measures it: on the first 131,072
held-out characters, of which the first half selects the cell and the second half scores it. What
was measured is beside the run, in `NAME.json`.

The first table of a text has the best cell of every seed: its AUC, or |ρ| of a count, with a
question mark if it is not significant. The second has the median (and the range over the seeds) of
the best linear combination of k cells: its AUC, or R² of a count.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import charrnn
from benchmarks.measuring import describe_machine
from charrnn.cells.findings import CellScore
from charrnn.config.settings import Config
from charrnn.runs.reader import RunReader
from charrnn.system.files import json_to_bytes, write_atomically
from charrnn.training import loop
from charrnn.training.events import DoneEvent, EvaluationEvent

TEXTS = ("war-and-peace", "source-code")
"""Texts that are learned."""
DETECTORS = ("quote", "line-position", "indentation", "comment", "string")
"""Rows of the tables, unless others are asked for."""
SEEDS = (0, 1, 2, 3, 4)
STEPS = 3_200
"""Steps of a training: four passes over War and Peace take that many of 32 rows of 128 characters,
about."""
UNITS = 512
CHARS_SCORED = 131_072
"""Held-out characters that are measured."""
SAVE_EVERY = 100
"""Steps between two checkpoints: what a kill costs at most."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One seed on one text."""

    text: str
    seed: int
    units: int
    steps: int

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"{self.text}-{self.units}-units-{self.steps}-steps-seed-{self.seed}"

    def config(self, novel: str, threads: int | str) -> Config:
        """Return the settings; what they do not name is the recipe's."""
        settings: dict[str, Any] = {}
        if self.text == "war-and-peace":
            settings = {"corpus": (novel,), "alphabet": "byte", "split": (0.8, 0.1, 0.1)}
        return Config(
            hidden_size=self.units,
            steps=self.steps,
            seed=self.seed,
            threads=threads,
            # The same on every machine, where `auto` would measure.
            precision="bf16" if self.units >= 256 else "fp32",
            save_every=SAVE_EVERY,
            keep=1,
            **settings,
        )


def train(folder: Path, training: Training, config: Config, deadline: float) -> bool:
    """Start or continue a training and return whether it has finished; at the deadline it is
    saved."""
    path = folder / training.name

    def is_over() -> bool:
        return time.monotonic() > deadline

    if path.is_dir() and RunReader(path).checkpoints():
        events = loop.resume(str(path), {"threads": config.threads}, should_stop=is_over)
    else:
        events = loop.train(config, out=path, should_stop=is_over)
    is_complete = False
    for event in events:
        if isinstance(event, EvaluationEvent):
            print(
                f"{training.name}: step {event.step}, {event.val_nats:.4f} nats",
                file=sys.stderr,
                flush=True,
            )
        if isinstance(event, DoneEvent):
            is_complete = event.is_complete
    return is_complete


def measure(folder: Path, training: Training) -> dict[str, Any]:
    """Measure a finished run and return its record."""
    model = charrnn.load(folder / training.name)
    held_out = model.held_out()
    study = model.study(held_out[:CHARS_SCORED], context=held_out.context, cached=True)
    findings = study.findings()
    return {
        **asdict(training),
        "best_step": model.step,
        "val_nats": model.val_nats,
        "corpus_digest": None if model.recorded_corpus is None else model.recorded_corpus.digest,
        "num_chars": findings.num_chars,
        "machine": describe_machine(),
        "scores": [score.to_json() for score in findings.scores],
        "skipped": {skipped.detector: skipped.reason for skipped in findings.skipped},
    }


def read_records(folder: Path, trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """Return the records of the trainings that were measured, in order."""
    files = [folder / f"{training.name}.json" for training in trainings]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def scores_by_detector(record: dict[str, Any]) -> dict[str, CellScore]:
    """Return the scores of a record by the names of their detectors."""
    found = {}
    for score in record["scores"]:
        score = {**score, "probe": tuple((size, reached) for size, reached in score["probe"])}
        found[score["detector"]] = CellScore(**score)
    return found


def show_score(score: CellScore | None) -> str:
    """Format the score of the best cell of one seed: AUC or |ρ|, a question mark if it is not
    significant."""
    if score is None:
        return "–"
    reached = (
        f"AUC {score.auc:.3f}" if score.auc is not None else f"ρ {abs(score.spearman or 0.0):.3f}"
    )
    return reached + ("" if score.is_significant else " ?")


def write_tables(
    records: Sequence[dict[str, Any]], num_seeds: int, detectors: Sequence[str]
) -> str:
    """Return the two tables of one text in Markdown, with a line that says how many of `num_seeds`
    are finished."""
    if not records:
        return f"So far 0 of {num_seeds} seeds."
    finished = "all" if len(records) == num_seeds else f"so far {len(records)} of"
    losses = sorted({f"{record['val_nats']:.4f}" for record in records})
    lines = [
        (
            f"{finished[0].upper()}{finished[1:]} {num_seeds} seeds, {records[0]['units']} units,"
            f" {records[0]['steps']:,} steps each; validation loss"
            f" {' to '.join(dict.fromkeys([losses[0], losses[-1]]))} nats."
        ),
        "",
        "| detector | "
        + " | ".join(f"seed {record['seed']}" for record in records)
        + " | significant |",
        "| --- |" + " --- |" * (len(records) + 1),
    ]
    by_seed = [scores_by_detector(record) for record in records]
    scored = [name for name in detectors if any(name in scores for scores in by_seed)]
    for name in scored:
        scores = [scores.get(name) for scores in by_seed]
        num_found = sum(score is not None and score.is_significant for score in scores)
        shown = " | ".join(map(show_score, scores))
        lines.append(f"| `{name}` | {shown} | {num_found} of {len(records)} |")
    probes = {
        name: [dict(scores[name].probe) for scores in by_seed if name in scores] for name in scored
    }
    sizes = sorted({size for of_name in probes.values() for probe in of_name for size in probe})
    heads = [*map(str, sizes[:-1]), "all"]
    lines += [
        "",
        "| detector | measure | " + " | ".join(heads) + " |",
        "| --- | --- |" + " --- |" * len(sizes),
    ]
    for name in scored:
        is_auc = next(scores[name] for scores in by_seed if name in scores).auc is not None
        shown = " | ".join(show_spread([probe[size] for probe in probes[name]]) for size in sizes)
        lines.append(f"| `{name}` | {'AUC' if is_auc else 'R²'} | {shown} |")
    return "\n".join(lines)


def show_spread(values: Sequence[float]) -> str:
    """Format the median of values, and their range if there are several."""
    middle = f"{statistics.median(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3f}–{max(values):.3f})"


def read_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the runs and their measurements are")
    parser.add_argument(
        "--novel", default="war-and-peace", help="War and Peace: 3,258,246 bytes (downloaded)"
    )
    parser.add_argument("--texts", nargs="+", choices=TEXTS, default=TEXTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--threads", type=int, help="of training and of measuring (default: what measures fastest)"
    )
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="end after about that long"
    )
    parser.add_argument("--detectors", nargs="+", default=DETECTORS, help="rows of the tables")
    parser.add_argument(
        "--table", action="store_true", help="only print the tables of what is finished"
    )
    return parser.parse_args()


def main() -> int:
    """Train and measure until all is done or the time is over; print the tables; return 1 if
    something is missing."""
    arguments = read_arguments()
    deadline = time.monotonic() + arguments.seconds
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    new = partial(Training, units=arguments.units, steps=arguments.steps)
    trainings = [new(text=text, seed=seed) for seed in arguments.seeds for text in arguments.texts]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    missing = [
        training
        for training in trainings
        if not (arguments.folder / f"{training.name}.json").exists()
    ]
    for training in missing if not arguments.table else ():
        if time.monotonic() > deadline:
            break
        config = training.config(arguments.novel, arguments.threads or "auto")
        if train(arguments.folder, training, config, deadline) and time.monotonic() < deadline:
            record = measure(arguments.folder, training)
            write_atomically(arguments.folder / f"{training.name}.json", json_to_bytes(record))
    for text in arguments.texts:
        of_text = [training for training in trainings if training.text == text]
        print(f"\n{text}\n")
        print(
            write_tables(read_records(arguments.folder, of_text), len(of_text), arguments.detectors)
        )
    return 0 if len(read_records(arguments.folder, trainings)) == len(trainings) else 1


if __name__ == "__main__":
    raise SystemExit(main())
