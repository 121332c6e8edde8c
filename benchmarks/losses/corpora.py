"""Train one small model on each text of the catalogue, and write corpora.md beside this file.

    python benchmarks/losses/corpora.py runs                  # every text that is not in the folder `runs` yet
    python benchmarks/losses/corpora.py runs --only tang neko
    python benchmarks/losses/corpora.py runs --table          # trains nothing: writes the table of what is there

Each training is `charrnn train NAME --steps 300 --hidden-size 256 --set threads=1 --seed 0`, so its
result does not depend on how busy the machine is. A text that is not here is downloaded; folders of
texts are named by CHARRNN_CORPORA. Whatever ends this process, the next call goes on with the text
it was at. What was measured is beside the run, in `NAME.json`:

- the validation loss of the best step, in nats per character,
- a sample of temperature 0.6 and seed 0: five documents, or one passage,
- the cells of `charrnn visualize --find`, also for the detectors of `charrnn corpora show NAME`:
  chosen on the first half of the validation text and scored on the second. The table has the two
  that leave least of what separates an untrained network from 1, if they gain 0.05 or more and are
  significant.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import charrnn
from charrnn.cells.records import CHARS_SCORED
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS, custom_detector
from charrnn.text.sources import CatalogueEntry, load_catalogue

PAGE = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- table -->\n", "<!-- end of the table -->\n"
STEPS = 300
TRAINING = ("--steps", str(STEPS), "--hidden-size", "256", "--set", "threads=1", "--seed", "0")
SAMPLE_CHARS = 48
"""Length of a sample in the table."""
NUM_CELLS = 2
LEAST_GAIN = 0.05
"""By how much a score must be above that of an untrained network to be in the table."""
LEAST_P = 0.05


def losses_of(run: Path) -> dict[int, float]:
    """Return the validation losses of a run by their steps."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return {row["step"]: row["val_nats"] for row in rows if "val_nats" in row}


def train(entry: CatalogueEntry, run: Path) -> None:
    """Train on a text, or continue where the training was interrupted."""
    command = [sys.executable, "-m", "charrnn", "train"]
    if not (run / "latest").exists():
        subprocess.run([*command, entry.name, *TRAINING, "--out", str(run)], check=True)
    elif STEPS not in losses_of(run):
        subprocess.run([*command, "--resume", str(run)], check=True)


def own_detectors(command: str) -> list[Detector]:
    """Return the detectors of --detect in a command, each as 'NAME: REGEX'."""
    words = shlex.split(command)
    specs = [after for word, after in pairwise(words) if word == "--detect"]
    return [
        custom_detector(regex, name) for name, _, regex in (spec.partition(": ") for spec in specs)
    ]


def measure(entry: CatalogueEntry, run: Path) -> dict[str, Any]:
    """Return the loss, a sample and the scores of the cells of a run."""
    model = charrnn.load(run)
    options: dict[str, Any] = {"temperature": 0.6, "seed": 0}
    if model.config.documents == "none":
        sample = model.sample(length=300, **options).text
    else:
        sample = ", ".join(one.text.strip() for one in model.samples(5, **options))

    # As `charrnn visualize` measures.
    held_out = model.held_out()
    study = model.study(held_out[:CHARS_SCORED], context=held_out.context)
    found = study.findings([*DETECTORS, *own_detectors(entry.command)])
    scores = [score.to_json() for score in found.scores]
    return {"nats": min(losses_of(run).values()), "sample": sample, "scores": scores}


def cells_of(scores: list[dict[str, Any]]) -> str:
    """Return what the best cells follow, in words for the table."""
    shares = []
    for score in scores:
        value = score.get("auc") or abs(score["spearman"])
        untrained = abs(score["untrained"])
        if value - untrained >= LEAST_GAIN and score["p_value"] < LEAST_P:
            # Of what an untrained network leaves, so that AUC and ρ compare.
            share = (value - untrained) / (1 - untrained)
            shares.append((share, f"{score['detector']} {value:.2f}"))
    return ", ".join(words for _, words in sorted(shares, reverse=True)[:NUM_CELLS]) or "–"


def passage_of(sample: str) -> str:
    """Return a passage of a sample as one line of the table, without a part of a word."""
    # From the second line on: the first may continue another one. Rows of stars say nothing.
    _, _, rest = re.sub(r"(?m)^[\W_]+$", "", sample).partition("\n")
    if len(rest) < SAMPLE_CHARS:
        rest = sample
    line = " ".join(re.sub(r"\s*\n\s*", " / ", rest.strip()).split())
    shown = line[:SAMPLE_CHARS]
    if len(line) > SAMPLE_CHARS and " " in shown:
        shown = shown.rpartition(" ")[0]
    shown = shown.rstrip(" /,").replace("|", "\\|").replace("`", "'")
    if not shown:
        return "blanks alone"
    return f"`{shown}`"


def table(folder: Path) -> str:
    """Return the table of all that was measured, in the order of the catalogue."""
    rows = ["|text|nats|sample|cells|", "|---|---|---|---|"]
    for entry in load_catalogue():
        file = folder / f"{entry.name}.json"
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            cells = cells_of(found["scores"])
            passage = passage_of(found["sample"])
            rows.append(f"|{entry.name}|{found['nats']:.2f}|{passage}|{cells}|")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Train and measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()

    for entry in load_catalogue():
        file = options.folder / f"{entry.name}.json"
        is_asked = options.only is None or entry.name in options.only
        if options.table or file.exists() or not is_asked:
            continue
        run = options.folder / entry.name
        train(entry, run)
        file.write_text(json.dumps(measure(entry, run), ensure_ascii=False), encoding="utf-8")

    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(options.folder)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
