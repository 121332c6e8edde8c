"""Train every cell type on formal languages with strings up to 50 characters, and test it on
strings up to 500.

    python benchmarks/losses/counting.py counting.jsonl --jobs 2          # all: about ten minutes on two cores
    python benchmarks/losses/counting.py counting.jsonl --seconds 60      # again and again: it continues where it ended
    python benchmarks/losses/counting.py counting.jsonl --table           # only print what the log contains

A model has one layer of HIDDEN_SIZE units and reads STEPS windows of NUM_LANES x BPTT_LENGTH
characters, as `charrnn train --documents lines` does. Of the training strings, NUM_SHORT have at
most SHORT characters and NUM_LONG at most LONG, because no cell type learns parity from long
strings alone.

A string is right if, at every character whose successor depends on what was counted or kept, each
character that may follow is more likely than each that may not: each b after the first b of anbn
and the end, say; all characters of dyck. The result is the largest multiple of 10 such that at
least 95 % of the test strings are right at every length up to it.

The log (JSON Lines) has one line per model, with the share of right strings at every length. Models
are trained on one thread for a number of steps, so the result does not depend on how busy the
machine is.
"""

import argparse
import json
import multiprocessing
import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.config.architectures import CELL_DESCRIPTIONS, DEPTH_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.languages.formal_languages import (
    END,
    FORMAL_LANGUAGES,
    FormalString,
    find_language,
    make_strings,
)
from charrnn.model.network import CharRNN
from charrnn.text.batches import BatchRows
from charrnn.text.vocab import UNKNOWN, Vocab
from charrnn.training.recipe import choose_sizes, choose_steps
from charrnn.training.trainer import Trainer

NAMES = [*CELL_DESCRIPTIONS]
"""Cell types."""
HIDDEN_SIZE = 32
STEPS = 1000
NUM_LANES = 32
BPTT_LENGTH = 64
LEARNING_RATE = 0.02
"""Peak learning rate; that of an irnn is half of it."""
SHORT, NUM_SHORT = 8, 16_000
"""Longest of the short training strings, and their number."""
LONG, NUM_LONG = 50, 4_000
"""Longest training string, and the number of those that may be so long."""
TEST_LENGTHS = range(10, 501, 10)
NUM_TESTS = 20
"""Test strings of every length; fewer where a language does not have so many."""
TEST_SEED = 1_000_000
ENOUGH = 0.95
"""Share of right strings at a length that counts as learned."""
SLOW = ("unitary",)
"""Cell types of which one seed is trained: their step takes ten times as long."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One model."""

    cell: str
    language: str
    seed: int
    depth: str = "stacked"
    steps: int = STEPS


def training_strings(language: str, seed: int) -> list[FormalString]:
    """Return short and long strings, mixed."""
    find = find_language(language)
    strings = [
        *make_strings(find, NUM_SHORT, max_length=SHORT, seed=2 * seed),
        *make_strings(find, NUM_LONG, max_length=LONG, seed=2 * seed + 1),
    ]
    random.Random(seed).shuffle(strings)
    return strings


def train(task: Task, strings: Sequence[FormalString], vocab: Vocab) -> tuple[CharRNN, float]:
    """Train a model; return it with averaged weights, and the loss of the last step."""
    ids = vocab.encode("".join(string.text + END for string in strings)).astype(np.uint8)
    config = Config(
        cell=task.cell,
        depth=task.depth,
        num_layers=1,
        hidden_size=HIDDEN_SIZE,
        embedding_size=8,
        documents="lines",
        steps=task.steps,
        batch_size=NUM_LANES,
        bptt_length=BPTT_LENGTH,
        learning_rate=LEARNING_RATE / 2 if task.cell == "irnn" else LEARNING_RATE,
        dropout=0.0,
        input_dropout=0.0,
        precision="fp32",
        threads=1,
        seed=task.seed,
    )
    config = choose_steps(choose_sizes(config, len(ids)), len(ids), 0)
    trainer = Trainer(config, BatchRows(ids, NUM_LANES), len(vocab), torch.device("cpu"))
    loss = 0.0
    for _ in range(task.steps):
        loss = trainer.take_step().train_nats
    return trainer.averaged, loss


@torch.inference_mode()
def are_right(network: CharRNN, vocab: Vocab, strings: Sequence[FormalString]) -> NDArray[np.bool_]:
    """Return for each of B strings whether it is right."""
    longest = max(len(string.text) for string in strings)
    ids = np.full(
        (longest + 1, len(strings)), len(vocab) - 1, np.int64
    )  # padded with any character, unread
    may_follow = np.zeros((longest, len(strings), len(vocab)), bool)
    is_tested = np.zeros((longest, len(strings)), bool)
    for column, string in enumerate(strings):
        ids[: len(string.text) + 1, column] = vocab.encode(END + string.text)
        for index, following in enumerate(string.nexts):
            if following is not None:
                is_tested[index, column] = True
                may_follow[index, column, vocab.encode("".join(following))] = True
    logits = network(torch.from_numpy(ids), network.initial_state(len(strings)))[0][1:].numpy()
    logits = logits - logits.max(axis=-1, keepdims=True)
    least = np.where(may_follow, logits, np.inf).min(axis=-1)
    most = np.where(may_follow, -np.inf, logits)[..., 1:].max(axis=-1)  # not the unknown symbol
    return np.asarray(((least > most) | ~is_tested).all(axis=0))


def strings_to_test(language: str, length: int) -> list[FormalString]:
    """Return different strings of one length, the longest of the language up to `length`."""
    whole = find_language(language)
    exact = whole.lengths(length)[-1]
    longest = replace(whole, shortest=exact)
    drawn = make_strings(longest, NUM_TESTS, max_length=exact, seed=TEST_SEED + length)
    return list({string.text: string for string in drawn}.values())


def reach_of(shares: Sequence[float]) -> int:
    """Return the largest test length such that the share of right strings is enough at every length
    up to it, or 0."""
    reach = 0
    for length, share in zip(TEST_LENGTHS, shares, strict=True):
        if share < ENOUGH:
            break
        reach = length
    return reach


def run(task: Task) -> dict[str, Any]:
    """Train and test one model; return its record."""
    torch.set_num_threads(1)
    begin = time.process_time()
    strings = training_strings(task.language, task.seed)
    vocab = Vocab(
        "char", (UNKNOWN, *sorted({*"".join(string.text + END for string in strings[:1000])}))
    )
    network, loss = train(task, strings, vocab)
    shares = [
        float(are_right(network, vocab, strings_to_test(task.language, length)).mean())
        for length in TEST_LENGTHS
    ]
    return {
        **asdict(task),
        "hidden_size": HIDDEN_SIZE,
        "train_nats": round(loss, 4),
        "shares": shares,
        "reach": reach_of(shares),
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; none if there is no log yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def write_table(
    records: Sequence[dict[str, Any]], cells: Sequence[str], languages: Sequence[str]
) -> str:
    """Return the table of the results in Markdown: one per seed, a dash where not even length 10 is
    right."""
    lines = [
        "| cell | " + " | ".join(f"`{name}`" for name in languages) + " |",
        "| --- |" + " --- |" * len(languages),
    ]
    for cell in cells:
        entries = []
        for language in languages:
            found = [
                record
                for record in records
                if (record["cell"], record["language"]) == (cell, language)
            ]
            found.sort(key=lambda record: record["seed"])
            entries.append(" · ".join(str(record["reach"] or "–") for record in found))
        lines.append(f"| `{cell}` | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def run_all(tasks: Sequence[Task], log: Path, jobs: int, deadline: float) -> None:
    """Run tasks in processes of their own and append their records to the log, until the
    deadline."""
    waiting = list(tasks)
    running: set[Future[dict[str, Any]]] = set()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while running or (waiting and time.monotonic() < deadline):
            while waiting and len(running) < jobs and time.monotonic() < deadline:
                running.add(pool.submit(run, waiting.pop(0)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            with log.open("a", encoding="utf-8") as file:
                for future in done:
                    file.write(json.dumps(future.result()) + "\n")


def main() -> int:
    """Train until all models are in the log or the time is over, and print the table; return 1 if
    some are missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path, help="JSON Lines")
    parser.add_argument("--cells", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument(
        "--languages", nargs="+", choices=list(FORMAL_LANGUAGES), default=list(FORMAL_LANGUAGES)
    )
    parser.add_argument("--depth", choices=DEPTH_DESCRIPTIONS, default="stacked")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--jobs", type=int, default=1, help="models that are trained at a time, one thread each"
    )
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="start no model after about that long"
    )
    parser.add_argument("--table", action="store_true", help="only print the table of the log")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds
    tasks = [
        Task(cell=cell, language=language, seed=seed, depth=arguments.depth, steps=arguments.steps)
        for seed in range(arguments.seeds)
        for cell in arguments.cells
        for language in arguments.languages
        if seed == 0 or cell not in SLOW
    ]

    def missing() -> list[Task]:
        done = {
            tuple(record[name] for name in asdict(tasks[0])) for record in read_log(arguments.log)
        }
        return [task for task in tasks if tuple(asdict(task).values()) not in done]

    if not arguments.table:
        run_all(missing(), arguments.log, arguments.jobs, deadline)
    asked = (arguments.depth, arguments.steps)
    records = [
        record for record in read_log(arguments.log) if (record["depth"], record["steps"]) == asked
    ]
    print(write_table(records, arguments.cells, arguments.languages))
    return 1 if missing() else 0


if __name__ == "__main__":
    raise SystemExit(main())
