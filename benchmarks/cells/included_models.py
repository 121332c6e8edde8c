"""Make the two models that come with the package, `prose` and `code`, and the card of each.

    python benchmarks/cells/included_models.py runs --novel war-and-peace.txt
    python benchmarks/cells/included_models.py runs --novel war-and-peace.txt --only code
    python benchmarks/cells/included_models.py runs --novel war-and-peace.txt --into /tmp/models  # not into the package
    python benchmarks/cells/included_models.py --cards-only  # measures the models that are there again

Each is trained by the command that is printed, as an ordinary run in the folder `runs`, with one
thread; a run that is there already is continued, or used if it has ended. `prose` learns War and
Peace (`charrnn corpora fetch war-and-peace`), `code` the standard library of this Python.

Then its weights are rounded as exact sampling rounds them, and stored as integers and scales: that
is the model, and everything on the card is measured of it. The loss is that of the whole validation
and test tenths, read with the state carried through. Cells are scored on 131,072 characters of the
test tenth by which nothing was chosen, and chosen on the 131,072 before them: for `prose` these are
the end of the validation tenth. For `code` they are the beginning of the test tenth, because its
cells there decided which of two trainings is the model.

`--cards-only` trains nothing and changes no model: it measures the models that are there. War and
Peace is then `war-and-peace.txt` in this folder or in `corpora/`.

The digests that are printed are those of the text and of the file. Another processor trains other
digits, and so another file.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import charrnn
from charrnn.api import Model
from charrnn.cells.findings import CHARS_SCORED, CellFindings
from charrnn.model.portable_math import Matrix, from_rows
from charrnn.plugins.formats.export import FORMATS
from charrnn.runs.checkpoint import SCALE
from charrnn.runs.included import INCLUDED

UNITS = 288
SETTINGS = (
    *("--cell", "lstm", "--layers", "1", "--hidden-size", str(UNITS)),
    *("--split", "80/10/10", "--set", "threads=1", "--save-every", "400"),
)
"""What both trainings have in common."""
MAX_BYTES = 500_000
"""Size of a model and its card together at most."""
CONTEXT = 65_536
"""Characters that are read before the cells are compared."""
HIDDEN_FIELDS = ("probe",)
"""Fields of a score that a card leaves out."""


@dataclass(frozen=True)
class Recipe:
    """What one of the models learns."""

    name: str
    text: str
    licence: str
    options: tuple[str, ...]
    scored_from: int = 0
    """The first character of the test tenth on which cells are scored."""


RECIPES = (
    Recipe(
        "prose",
        "War and Peace",
        "public domain (Leo Tolstoy, translated by Louise and Aylmer Maude; Project Gutenberg)",
        ("--steps", "6000", "--seed", "2"),
    ),
    Recipe(
        "code",
        "the standard library of Python 3.11",
        "Python Software Foundation License",
        # Accents and the like occur in a few names and tables. Of two trainings this one has the
        # better cells, and a loss higher by 0.02 than seed 0 after 6,000 steps.
        ("--set", "min_count=200", "--steps", "4000", "--seed", "1"),
        scored_from=CHARS_SCORED,
    ),
)


def train(folder: Path, command: list[str]) -> None:
    """Train the run in `folder`, or continue it until it has ended."""
    if folder.exists():
        command = ["charrnn", "train", "--resume", str(folder)]
    print(" ".join(command), flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


def rows_of(weight: NDArray[np.float32]) -> Matrix:
    """Return the integers and scales of a weight, such that rounding what they stand for gives them again."""
    matrix = Matrix(weight, is_int8=True)
    while True:
        again = Matrix(from_rows(matrix.values, matrix.scale), is_int8=True)
        # The product of 127 and a scale, divided by 127, may be the next number.
        if (again.values == matrix.values).all() and (again.scale == matrix.scale).all():
            return matrix
        matrix = again


def in_rows(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a model with each matrix as integers and scales; biases stay as they are."""
    stored = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            stored[name] = tensor
        else:
            matrix = rows_of(tensor)
            stored[name] = matrix.values
            stored[name + SCALE] = matrix.scale
    return stored


def write(run: Model, path: Path, val_nats: float | None) -> Model:
    """Write the model of a run to a model file with rounded weights, and load it."""
    tensors = run.tensors
    run.val_nats = val_nats
    run.tensors = in_rows(tensors)
    data, _ = FORMATS[".zip"].write(run, path)
    run.tensors = tensors
    path.write_bytes(data)
    return charrnn.load(path)


def store(run: Model, path: Path) -> None:
    """Write the model of a run to a model file, with its own validation loss: not that of the
    weights before rounding."""
    model = write(run, path, None)
    write(run, path, charrnn.evaluate(model, run.held_out()).nats_per_char)


def survey(model: Model, recipe: Recipe) -> CellFindings:
    """Choose the cells on one half of a text, and score them on the other."""
    validation, test = model.held_out(), model.held_out("test")
    # One passage of the text: a seam in the middle of a string would turn its inside out.
    text = validation[:] + test[:]
    begin = len(validation) + recipe.scored_from - CHARS_SCORED
    end = begin + 2 * CHARS_SCORED
    return model.survey(text[begin:end], context=text[max(0, begin - CONTEXT) : begin])


def make_card(model: Model, recipe: Recipe) -> dict[str, Any]:
    """Measure a model, and return what its card says of it."""
    # Those that training made come first, and of several that one cell follows the best.
    scores = sorted(survey(model, recipe).scores, key=lambda score: -score.gain)
    cells, others, seen = [], [], set()
    for score in scores:
        fields = score.to_json()
        kept = {name: value for name, value in fields.items() if name not in HIDDEN_FIELDS}
        (others if (score.layer, score.unit) in seen else cells).append(kept)
        seen.add((score.layer, score.unit))
    losses = {
        part: charrnn.evaluate(model, model.held_out(part)).nats_per_char
        for part in ("validation", "test")
    }
    assert model.recorded_corpus is not None
    return {
        "text": recipe.text,
        "licence": recipe.licence,
        "text_digest": model.recorded_corpus.digest,
        "split": list(model.config.split),
        "command": " ".join(["charrnn", "train", *model.config.corpus, *SETTINGS, *recipe.options]),
        "digest": model.step_digest,
        "losses": losses,
        "cells": cells + others,
        "found": [
            {
                "detector": score.detector,
                "layer": score.layer,
                "unit": score.unit,
                "gain": score.gain,
                "polarity": score.polarity,
            }
            for score in scores
            if score.is_significant and score.gain > 0
        ],
    }


def main() -> None:
    """Train and write the models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of the runs")
    parser.add_argument("--novel", help="the file with War and Peace")
    parser.add_argument("--only", choices=[recipe.name for recipe in RECIPES])
    parser.add_argument("--into", type=Path, default=INCLUDED)
    parser.add_argument("--cards-only", action="store_true")
    given = parser.parse_args()
    if not given.cards_only and (given.folder is None or given.novel is None):
        parser.error("give the folder of the runs and --novel, or --cards-only")

    for recipe in RECIPES:
        if given.only not in (None, recipe.name):
            continue
        path = given.into / f"{recipe.name}.zip"
        if not given.cards_only:
            corpus = [given.novel] if recipe.name == "prose" else []
            folder = given.folder / recipe.name
            options = [*SETTINGS, *recipe.options, "--out", str(folder)]
            train(folder, ["charrnn", "train", *corpus, *options])
            store(charrnn.load(folder), path)

        card = make_card(charrnn.load(path), recipe)
        encoded = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        path.with_suffix(".json").write_text(encoded, encoding="utf-8")

        size = path.stat().st_size + len(encoded.encode())
        assert size <= MAX_BYTES, f"{path} and its card have {size:,} bytes"
        print(f"{recipe.name}: {size:,} bytes, losses {card['losses']}")
        print(f"text {card['text_digest']}, file {hashlib.sha256(path.read_bytes()).hexdigest()}")
        for score in card["cells"]:
            kind = "auc" if "auc" in score else "spearman"
            low, high = score["ci_low"], score["ci_high"]
            print(
                f"  {score['detector']:14} {score['layer']}:{score['unit']:<4} {kind:9} {score[kind]:+.3f} {low:.3f}…{high:.3f}"
            )


if __name__ == "__main__":
    main()
