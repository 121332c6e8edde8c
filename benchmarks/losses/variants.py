"""Train equal networks that differ in a few settings, and compare their losses in pairs.

A training is a text, a number of steps, a seed and a variant: settings that differ from the recipe.
Each finished training is a line in trainings.jsonl in the folder RESULTS, so the next call goes on
where the last one was ended. Several calls may work in the same folder at the same time; each
training is taken by one of them.

    python benchmarks/losses/variants.py results --seeds 0 1 2 \\
        --variants "" "decay_shape=linear" "decay_shape=linear decay_share=0.7"
    python benchmarks/losses/variants.py results --table   # trains nothing: prints what is there

`library` is the standard library of this Python; every other text is a file or a name of the
catalogue (folders of texts are named by CHARRNN_CORPORA). The networks are trained by the package's
Trainer, on one thread, for a number of steps, so a result does not depend on how busy the machine
is. The losses are those of the averaged weights after the last step on the validation part, in nats
per character, stateful and windowed-256. In the table, the variant "" is the recipe, and the
differences to it are means over the seeds that both have.
"""

import argparse
import fcntl
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from charrnn.config.settings import Config, resolved
from charrnn.config.settings_file import merge_settings
from charrnn.model.losses import precision_of, stateful_scores, windowed_scores
from charrnn.text.sources import catalogued_settings
from charrnn.training.measuring import Computing
from charrnn.training.plan import choose_model, plan_steps
from charrnn.training.run_text import RunText, read_text
from charrnn.training.trainer import Trainer

LIBRARY = "library"
"""The word for the default corpus."""
TEXTS = ("shakespeare", "swann", LIBRARY, "war-and-peace")
KEYS = ("text", "steps", "seed", "settings")
"""What tells one training from another."""
Training = dict[str, Any]


def config_of(training: Training) -> Config:
    """Return the settings of a training, with those of the catalogue for its text."""
    sources = [] if training["text"] == LIBRARY else [training["text"]]
    settings = dict(pair.split("=", 1) for pair in training["settings"].split())
    flags = {
        "corpus": sources,
        "steps": training["steps"],
        "seed": training["seed"],
        "threads": 1,
        "device": "cpu",
        **settings,
    }
    return merge_settings(flags=flags, catalogue=catalogued_settings(sources)).config


def losses_of(trainer: Trainer, text: RunText) -> dict[str, float]:
    """Measure the averaged weights on the validation part, by both protocols."""
    precision = precision_of(trainer.config, trainer.device, "auto")
    ids = text.ids[: text.num_before_test]
    stateful = stateful_scores(
        trainer.averaged,
        ids,
        first=text.num_train,
        precision=precision,
        escape_nats=text.vocab.escape_nats,
    )
    assert stateful is not None, "nothing stops it"
    windowed = windowed_scores(
        trainer.averaged,
        ids[text.num_train :],
        precision=precision,
        escape_nats=text.vocab.escape_nats,
    )
    return {"stateful": stateful.means[0], "windowed_256": windowed.means[0]}


def train(training: Training) -> dict[str, Any]:
    """Train a network to its last step and return what was measured."""
    begin = time.perf_counter()
    config = config_of(training)
    computing = Computing(torch.device("cpu"))
    text = read_text(config)
    plan = plan_steps(choose_model(config, text, computing), text, computing)
    planned = plan.config
    trainer = Trainer(
        planned,
        batches=text.batch_rows(planned),
        vocab_size=len(text.vocab),
        device=computing.device,
        learned_after=text.learned_after(planned),
    )
    for _ in range(training["steps"]):
        trainer.take_step()
    return {
        **losses_of(trainer, text),
        "epochs": round(training["steps"] * planned.chars_per_step / text.num_train, 2),
        "hidden_size": resolved(planned.hidden_size),
        "learning_rate": planned.learning_rate,
        "dropout": planned.dropout,
        "precision": planned.precision,
        "seconds": round(time.perf_counter() - begin, 1),
    }


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of the trainings that are finished."""
    path = folder / "trainings.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def is_finished(training: Training, folder: Path) -> bool:
    """Return whether the folder has the result of a training."""
    return any(all(row[key] == training[key] for key in KEYS) for row in read_results(folder))


@contextmanager
def claimed(training: Training, folder: Path) -> Iterator[bool]:
    """Take a training for this process until it is finished; False if another process has it.

    The claim is a lock of the operating system, which ends with the process.
    """
    name = "-".join(str(training[key]) for key in KEYS).replace("/", "_").replace(" ", ",")
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def train_all(trainings: list[Training], folder: Path) -> None:
    """Train what is not finished yet and not being trained by another process, in this order."""
    torch.set_num_threads(1)
    for training in trainings:
        with claimed(training, folder) as is_mine:
            if not is_mine or is_finished(training, folder):
                continue
            row = {**training, **train(training)}
            with (folder / "trainings.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), file=sys.stderr, flush=True)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the losses of each text, number of steps and variant, and the differences in pairs."""
    losses = {
        tuple(row[key] for key in KEYS): (row["stateful"], row["windowed_256"]) for row in rows
    }
    print("| text, steps (epochs) | settings | seeds | stateful / windowed-256 | difference |")
    print("| --- | --- | --- | --- | --- |")
    groups = {(row["text"], row["steps"], row["settings"]): row["epochs"] for row in rows}
    for (text, steps, settings), epochs in sorted(groups.items()):
        found = [
            key for key in sorted(losses) if (key[0], key[1], key[3]) == (text, steps, settings)
        ]
        seeds = [seed for _, _, seed, _ in found]
        shown = "; ".join(f"{losses[key][0]:.4f} / {losses[key][1]:.4f}" for key in found)
        pairs = [
            (losses[text, steps, seed, settings], losses[text, steps, seed, ""])
            for seed in seeds
            if (text, steps, seed, "") in losses
        ]
        difference = ""
        if settings and pairs:
            difference = " / ".join(
                f"{statistics.mean(ours[k] - base[k] for ours, base in pairs):+.4f}" for k in (0, 1)
            )
        label = f"{text}, {steps:,} ({epochs:g})"
        numbers = ", ".join(map(str, seeds))
        print(f"| {label} | {settings or 'the recipe'} | {numbers} | {shown} | {difference} |")


def main() -> None:
    """Train what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the folder of the results")
    parser.add_argument("--texts", nargs="+", default=TEXTS)
    parser.add_argument("--steps", type=int, default=1350)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--variants", nargs="+", default=("",), metavar="'FIELD=VALUE …'")
    parser.add_argument("--table", action="store_true", help="train nothing; print the table")
    arguments = parser.parse_args()
    if arguments.table:
        print_table(read_results(arguments.results))
        return
    arguments.results.mkdir(parents=True, exist_ok=True)
    # A seed is finished on all texts before the next one begins.
    trainings = [
        {"text": text, "steps": arguments.steps, "seed": seed, "settings": settings}
        for seed, settings, text in itertools.product(
            arguments.seeds, arguments.variants, arguments.texts
        )
    ]
    train_all(trainings, arguments.results)


if __name__ == "__main__":
    main()
