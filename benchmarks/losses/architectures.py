"""Compare every cell type and depth at equal parameters and equal minutes: loss on a text's last
tenth.

    python benchmarks/losses/architectures.py shakespeare.txt --minutes 1 --parameters 300000 --seeds 3 --jobs 2

Each run is `charrnn train CORPUS --type C --set depth=D --layers L --hidden-size H --minutes M --seed
S` with one thread, --jobs of them at a time, each on its own core. H is the even size whose model
has the number of parameters closest to --parameters; the recipe sets everything else. Losses are
those of the best validated step, by `charrnn evaluate`. The spread is the largest loss of all seeds
minus the smallest. The row of a run that diverges says so.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from charrnn.config.architectures import CELL_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.model.shapes import num_parameters

DIVERGED = 5
VOCAB_SIZE = 66
EMBEDDING_SIZE = 64
ARCHITECTURES = [
    *((cell, "stacked", 1) for cell in CELL_DESCRIPTIONS),
    ("lstm", "attention", 1),
    *(("lstm", "stacked", layers) for layers in (2, 3)),
    *(("lstm", depth, 3) for depth in ("residual", "highway", "dilated", "grid", "attention")),
]


def size_for(parameters: int, cell: str, depth: str, num_layers: int) -> tuple[int, int]:
    """Return the even hidden size whose number of parameters is closest to the given one, and that
    number."""

    def count(hidden_size: int) -> int:
        sizes = {
            "num_layers": num_layers,
            "hidden_size": hidden_size,
            "embedding_size": EMBEDDING_SIZE,
        }
        config = Config(cell_type=cell, depth=depth, dropout=0.0, **sizes)
        return num_parameters(config, VOCAB_SIZE)

    small, large = 2, 4
    while count(large) < parameters:
        small, large = large, 2 * large
    while large - small > 2:
        middle = (small + large) // 4 * 2
        small, large = (middle, large) if count(middle) < parameters else (small, middle)
    return min(
        ((size, count(size)) for size in (small, large)),
        key=lambda found: abs(found[1] - parameters),
    )


def train(
    arguments: argparse.Namespace, folder: Path, task: tuple[str, str, int, int, int]
) -> tuple[float, float, int] | None:
    """Train and evaluate once; return (stateful, windowed-256 nats/char, steps), or None if it
    diverged."""
    cell, depth, num_layers, hidden_size, seed = task
    run = folder / f"{cell}-{depth}-{num_layers}-{seed}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = (
        f"--type {cell} --set depth={depth} --layers {num_layers} --hidden-size {hidden_size} --seed"
        f" {seed}"
    )
    options += (
        f" --set embedding_size={EMBEDDING_SIZE} --minutes {arguments.minutes} --quiet --out {run}"
    )
    charrnn = [sys.executable, "-m", "charrnn"]
    trained = subprocess.run(
        [*charrnn, "train", arguments.corpus, *options.split()],
        env=environment,
        capture_output=True,
        text=True,
    )
    if trained.returncode == DIVERGED:
        return None
    if trained.returncode:
        sys.exit(trained.stderr)
    found = subprocess.run(
        [*charrnn, "evaluate", run, "--windowed", "--json"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    report = json.loads(found.stdout)
    steps = int((run / "latest").read_text().split("-")[1])
    return report["nats_per_char"], report["windowed_256"]["nats_per_char"], steps


def main() -> None:
    """Train all and print a table sorted by loss."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument(
        "--only", nargs="+", metavar="CELL:DEPTH:LAYERS", help="only these, such as lstm:residual:3"
    )
    parser.add_argument("--parameters", type=int, default=300_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    chosen = [
        one
        for one in ARCHITECTURES
        if not arguments.only or ":".join(map(str, one)) in arguments.only
    ]
    sizes = [size_for(arguments.parameters, *architecture) for architecture in chosen]
    tasks = [
        (*architecture, size, seed)
        for architecture, (size, _) in zip(chosen, sizes, strict=True)
        for seed in range(arguments.seeds)
    ]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(partial(train, arguments, Path(folder)), tasks))
    rows = []
    for index, ((cell, depth, num_layers), (size, count)) in enumerate(
        zip(chosen, sizes, strict=True)
    ):
        found = results[index * arguments.seeds : (index + 1) * arguments.seeds]
        good = [result for result in found if result is not None]
        name = f"| `{cell}` | {depth} | {num_layers}×{size} | {count:,} |"
        if len(good) < len(found):
            rows.append(
                (math.inf, f"{name} {len(found) - len(good)} of {len(found)} diverged | | | |")
            )
            continue
        stateful, windowed, steps = zip(*good, strict=True)
        mean, spread = statistics.mean(stateful), max(stateful) - min(stateful)
        losses = f"{mean:.4f} | {spread:.4f} | {statistics.mean(windowed):.4f}"
        rows.append((mean, f"{name} {statistics.median(steps):,.0f} | {losses} |"))
    print(
        f"charrnn train {arguments.corpus}, {arguments.minutes} min, one thread, {arguments.seeds}"
        " seeds\n"
    )
    print("| cell | depth | size | parameters | steps | stateful | spread | windowed-256 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(row for _, row in sorted(rows)))


if __name__ == "__main__":
    main()
