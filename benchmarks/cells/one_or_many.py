"""Is a property in one cell or in many? The k cells that carry 90 % of its effect on the output, over
sizes, checkpoints, seeds, lstm against gru.

    python benchmarks/cells/one_or_many.py runs many.jsonl --novel war-and-peace.txt
    python benchmarks/cells/one_or_many.py runs many.jsonl --novel war-and-peace.txt --sizes 64 --steps 600 --seeds 0

`quote` and `line-position` are measured on the novel, `indentation` and `bracket-depth` on the
standard library of this Python, each on the first 131,072 characters of the validation part. A run
that is there is continued, and a checkpoint that is in the file is not measured again. All of it
takes about two hours of two cores; the options choose a part.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from charrnn.analyses.evidence.card import Choosing, Scoring
from charrnn.api import Model
from charrnn.cells.findings import CHARS_SCORED
from charrnn.cells.target_labels import choose_targets
from charrnn.detectors.registry import get_detectors
from charrnn.trained_model import load_steps

PROPERTIES = {
    "novel": ("quote", "line-position"),
    "library": ("indentation", "bracket-depth"),
}
"""What is measured on each text."""
NUM_ROWS, LENGTH = 32, 64
"""Batch rows of a step, and their characters."""


@dataclass(frozen=True)
class Case:
    """A training."""

    text: str
    cell: str
    units: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"{self.text}-{self.cell}-{self.units}-seed{self.seed}"

    def train(self, runs: Path, *, novel: str, steps: int, every: int) -> Path:
        """Train it, or continue it until it has ended."""
        folder = runs / self.name
        command = ["charrnn", "train", "--resume", str(folder)]
        if not folder.exists():
            corpus = [novel] if self.text == "novel" else ["--set", "min_count=200"]
            command = ["charrnn", "train", *corpus, "--cell", self.cell, "--layers", "1"]
            command += ["--hidden-size", str(self.units), "--seed", str(self.seed)]
            command += ["--steps", str(steps), "--save-every", str(every), "--keep", "100"]
            command += ["--set", "threads=1", "--out", str(folder), "--quiet"]
            command += ["--set", f"batch_size={NUM_ROWS}", "--set", f"bptt_length={LENGTH}"]
        print(" ".join(command), flush=True)
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        return folder


def measure(model: Model, detectors: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return for each detector the best cell, its score, and the curve of what k cells carry."""
    held_out = model.held_out()
    study = model.study(held_out[:CHARS_SCORED], context=held_out.context)
    found = get_detectors(detectors)
    targets, _ = choose_targets(study.text.text, found)
    rows = {}
    for detector, target, measured in zip(found, targets, study.measure(targets), strict=True):
        score = measured.score
        choosing = Choosing(study, target, measured, (score.layer, score.unit), detector)
        sufficiency = Scoring(choosing).sufficiency()
        rows[target.name] = {
            "layer": score.layer,
            "unit": score.unit,
            "strength": score.strength,
            "is_significant": score.is_significant,
            "num_followers": len(sufficiency.followers),
            "effect": sufficiency.effect,
            "curve": sufficiency.curve,
            "num_carrying": sufficiency.num_carrying,
        }
    return rows


def main() -> None:
    """Train, and measure and print what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("file", type=Path, help="a line for each checkpoint and property")
    parser.add_argument("--novel")
    parser.add_argument("--texts", nargs="+", default=list(PROPERTIES))
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--every", type=int, default=400)
    given = parser.parse_args()

    rows = []
    if given.file.exists():
        rows = [json.loads(line) for line in given.file.read_text(encoding="utf-8").splitlines()]
    done = {(row["name"], row["step"], row["detector"]) for row in rows}

    for choice in product(given.texts, given.cells, given.sizes, given.seeds):
        case = Case(*choice)
        folder = case.train(given.runs, novel=given.novel, steps=given.steps, every=given.every)
        for model in load_steps(folder):
            # The checkpoint of the lowest loss may lie between the others.
            missing = []
            for detector in PROPERTIES[case.text]:
                if (case.name, model.step, detector) not in done:
                    missing.append(detector)
            if model.step == 0 or model.step % given.every or not missing:
                continue
            for detector, found in measure(model, missing).items():
                row = {**asdict(case), "name": case.name, "step": model.step, "detector": detector}
                row |= found
                with given.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(case.name, model.step, detector, row["num_carrying"], flush=True)


if __name__ == "__main__":
    main()
