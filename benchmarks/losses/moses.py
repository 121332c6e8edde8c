"""Train on the molecules of MOSES, sample 30,000, and measure them as MOSES does.

MOSES (Polykovskiy et al. 2020, "Molecular Sets") has 1,584,663 molecules to learn from, and a test
set with the same scaffolds and one with others. The data and the measures are those of its own
package, molsets 0.3.1, which needs older versions of other packages, so that it has an environment
of its own:

    python3 -m venv moses-env
    moses-env/bin/pip install 'numpy<2' 'pandas<2' rdkit==2023.9.6 scipy tqdm matplotlib torch
    moses-env/bin/pip install --no-deps fcd_torch molsets
    python benchmarks/losses/moses.py --python moses-env/bin/python --minutes 30 --seeds 3

For each seed: `charrnn train train.csv.gz --column SMILES --minutes M`, then `charrnn sample
--temp 1 --count 30000`, then `moses.get_all_metrics`. It prints a row for each seed and the means,
beside the published CharRNN (3 x 768 units, 80 epochs). `--run` measures runs that are trained
already. The Fréchet ChemNet distance of few molecules is too high: published ones are of 30,000.
Other arguments go to `charrnn train`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COLUMNS = {
    "valid": "valid",
    "unique@1k": "unique@1000",
    "unique@10k": "unique@10000",
    "novelty": "Novelty",
    "FCD/Test": "FCD/Test",
    "FCD/TestSF": "FCD/TestSF",
    "SNN": "SNN/Test",
    "Frag": "Frag/Test",
    "Scaf": "Scaf/Test",
    "IntDiv": "IntDiv",
    "Filters": "Filters",
}
"""The columns of the table, and what molsets calls them."""
PUBLISHED = (0.9748, 1.0, 0.9994, 0.8419, 0.0732, 0.5204, 0.6015, 0.9998, 0.9242, 0.8562, 0.9943)
"""CharRNN, the means of three seeds: the table in README.md of github.com/molecularsets/moses at
7b8f83b (2020-10-28). Compared with it on 2026-11-26."""
FIND_DATA = "import moses, pathlib; print(pathlib.Path(moses.__file__).parent / 'dataset/data')"
MEASURE = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import moses
texts = open(sys.argv[1]).read().split("\\n")[:-1]
found = moses.get_all_metrics(texts, n_jobs=1)
print(json.dumps({name: float(value) for name, value in found.items()}))
"""


def output_of(*command: str) -> str:
    """Return what a command prints on stdout."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(python: str, run: str, seed: int, num_samples: int) -> dict[str, Any]:
    """Sample from a run, and return the measures and the seconds that sampling took."""
    charrnn = (sys.executable, "-m", "charrnn")
    begin = time.monotonic()
    texts = output_of(
        *charrnn, "sample", run, "--temp", "1", "--count", f"{num_samples}", "--seed", f"{seed}"
    )
    seconds = time.monotonic() - begin
    with tempfile.NamedTemporaryFile("w", suffix=".smi") as file:
        file.write(texts)
        file.flush()
        found: dict[str, Any] = json.loads(output_of(python, "-c", MEASURE, file.name))
    return found | {"seconds": seconds}


def main() -> None:
    """Train and measure; print a row for each seed, the means and the published ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="python of the environment with molsets")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on")
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--run", action="append", default=[], help="a run that is trained already")
    arguments, train_options = parser.parse_known_args()

    print("| | " + " | ".join(COLUMNS) + " |\n|" + " --- |" * (len(COLUMNS) + 1))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        runs = list(arguments.run)
        if not runs:
            corpus = Path(output_of(arguments.python, "-c", FIND_DATA).strip(), "train.csv.gz")
            for seed in range(arguments.seeds):
                runs.append(str(Path(folder, f"moses-{seed}")))
                command = ["train", str(corpus), "--column", "SMILES", "--out", runs[-1], "--quiet"]
                budget = ["--minutes", f"{arguments.minutes:g}", "--seed", f"{seed}"]
                output_of(sys.executable, "-m", "charrnn", *command, *budget, *train_options)
        for seed, run in enumerate(runs):
            found = measure(arguments.python, run, seed, arguments.samples)
            rows.append([found[name] for name in COLUMNS.values()])
            print_row(f"seed {seed}, sampled in {found['seconds']:.0f} s", rows[-1])
            print(json.dumps(found), file=sys.stderr, flush=True)
    print_row("mean", [statistics.mean(column) for column in zip(*rows, strict=True)])
    print_row("CharRNN, published", PUBLISHED)


def print_row(name: str, values: Any) -> None:
    """Print a row of the table."""
    print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |", flush=True)


if __name__ == "__main__":
    main()
