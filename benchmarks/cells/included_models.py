"""Make the two models that come with the package, `prose` and `code`: the .zip of each, with its card.

    python benchmarks/cells/included_models.py runs --novel war-and-peace.txt
    python benchmarks/cells/included_models.py runs --novel war-and-peace.txt --only code
    python benchmarks/cells/included_models.py runs --novel war-and-peace.txt --into /tmp/models  # not into the package
    python benchmarks/cells/included_models.py --cards-only  # measures the models that are there again
    python benchmarks/cells/included_models.py --words-only  # lists the words of their texts again

Each is trained by the command that is printed, as an ordinary run in the folder `runs`, with one
thread; a run that is there already is continued, or used if it has ended. `prose` learns War and
Peace (`charrnn corpora fetch war-and-peace`), `code` the standard library of this Python.

Then its weights are rounded as exact sampling rounds them, and stored as integers and scales: that
is the model, and everything on the card is measured of it. The .zip is that of `charrnn export`, without
the page, which has the weights once more. The loss is that of the whole validation
and test tenths, read with the state carried through. Cells are scored on 131,072 characters of the
test tenth by which nothing was chosen, and chosen on the 131,072 before them: for `prose` these are
the end of the validation tenth. For `code` they are the beginning of the test tenth, because its
cells there decided which of two trainings is the model.

The .zip has the words of the training part of its text, too: `charrnn sample prose --known-words`.

`--cards-only` and `--words-only` train nothing and change no model: they measure the models that are
there, or list the words. War and Peace is then `war-and-peace.txt` in this folder or in `corpora/`, and
`code` needs the Python whose standard library it learned.

The digests that are printed are those of the text and of the file. Another processor trains other
digits, and so another file.
"""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import charrnn
from charrnn.api import Model
from charrnn.cells.records import CHARS_SCORED, CellFindings
from charrnn.formats.model_folder import public_config, with_card
from charrnn.model.portable_math import Matrix, from_rows
from charrnn.runs.checkpoint import (
    CONFIG,
    MODEL,
    SCALE,
    VOCAB,
    RunDescription,
    digest_of,
    tensors_to_bytes,
)
from charrnn.runs.included import INCLUDED
from charrnn.runs.model_file import WORDS, ModelFile, pack

UNITS = 384
SETTINGS = (
    *("--type", "lstm", "--layers", "1", "--hidden-size", str(UNITS)),
    *("--split", "80/10/10", "--set", "threads=1", "--set", "save_every=400"),
)
"""What both trainings have in common."""
MAX_BYTES = 800_000
"""Size of a model with its card at most."""
CONTEXT = 65_536
"""Characters that are read before the cells are compared."""


@dataclass(frozen=True)
class Recipe:
    """What one of the models learns."""

    name: str
    text: str
    licence: str
    options: tuple[str, ...]
    catalogue: tuple[str, ...] = ()
    """The name of the text in the catalogue, if it has one."""
    scored_from: int = 0
    """The first character of the test tenth on which cells are scored."""


RECIPES = (
    Recipe(
        "prose",
        "War and Peace",
        "public domain (Leo Tolstoy, translated by Louise and Aylmer Maude; Project Gutenberg)",
        ("--steps", "6000", "--seed", "2"),
        catalogue=("war-and-peace",),
    ),
    Recipe(
        "code",
        "the standard library of Python 3.11",
        "Python Software Foundation License",
        # Accents and the like occur in a few names and tables.
        ("--set", "min_count=200", "--steps", "6000", "--seed", "1"),
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


def store(run: Model, recipe: Recipe, path: Path) -> None:
    """Write the model of a run with rounded weights to a model file, with the card of that model."""
    name = path.stem
    stored = in_rows(run.tensors)
    rounded = dict(run.tensors)
    for tensor in stored:
        if tensor + SCALE in stored:
            rounded[tensor] = from_rows(stored[tensor], stored[tensor + SCALE])
    config = public_config(run)
    description = RunDescription.of(Path(), config=config, vocab=run.vocab)
    files = {**description.files(), MODEL: tensors_to_bytes(stored)}
    digest = digest_of(hashlib.sha256(files[MODEL]).hexdigest(), files)
    model = replace(run, name=name, tensors=rounded, step_digest=digest)
    write_card(model, recipe, files, path)


def write_card(model: Model, recipe: Recipe, files: Mapping[str, bytes], path: Path) -> None:
    """Measure a model, and write it with its files and its card."""
    facts = make_card(model, recipe)
    # The loss is that of the rounded weights.
    shared = replace(model, val_nats=facts["losses"]["validation"], path=None)
    write(shared, files, facts=facts, path=path)


def write(model: Model, files: Mapping[str, bytes], *, facts: dict[str, Any], path: Path) -> None:
    """Write a model with its files, its card and the words of its text."""
    # Those of the text itself, and not of a list that is there.
    words = replace(model, words=None).word_list.to_bytes()
    shared = replace(model, words=words)
    path.write_bytes(pack(with_card({**files, WORDS: words}, shared, facts=facts)))
    print(f"{path.stem}: {len(shared.word_list.words):,} words in {len(words):,} bytes")


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
        (others if (score.layer, score.unit) in seen else cells).append(score.to_json())
        seen.add((score.layer, score.unit))
    reports = {
        part: charrnn.evaluate(model, model.held_out(part)) for part in ("validation", "test")
    }
    assert model.recorded_corpus is not None
    return {
        "text": recipe.text,
        "licence": recipe.licence,
        "catalogue": list(recipe.catalogue),
        "text_digest": model.recorded_corpus.digest,
        "digest": model.step_digest,
        "losses": {part: report.nats_per_char for part, report in reports.items()},
        "intervals": {part: report.nats_ci for part, report in reports.items()},
        "cells": cells + others,
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
    parser.add_argument("--words-only", action="store_true")
    given = parser.parse_args()
    trains = not (given.cards_only or given.words_only)
    if trains and (given.folder is None or given.novel is None):
        parser.error("give the folder of the runs and --novel, or --cards-only or --words-only")

    for recipe in RECIPES:
        if given.only not in (None, recipe.name):
            continue
        path = given.into / f"{recipe.name}.zip"
        if not trains:
            with zipfile.ZipFile(path) as archive:
                files = {name: archive.read(name) for name in (CONFIG, VOCAB, MODEL)}
            model = charrnn.load(path)
            if given.words_only:
                write(model, files, facts=dict(model.card), path=path)
            else:
                write_card(model, recipe, files, path)
        else:
            corpus = [given.novel] if recipe.name == "prose" else []
            folder = given.folder / recipe.name
            options = [*SETTINGS, *recipe.options, "--out", str(folder)]
            train(folder, ["charrnn", "train", *corpus, *options])
            store(charrnn.load(folder), recipe, path)

        size = path.stat().st_size
        assert size <= MAX_BYTES, f"{path} has {size:,} bytes"
        card = ModelFile(path).read_manifest()["card"]
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
