"""Draw what ten networks wrote, each in the colours of a cell whose label changes there.

    python tools/gallery.py RUNS                 # draws the pictures, and prints the rows of the table
    python tools/gallery.py RUNS --only swann    # one of them

RUNS is a folder with a run for each text of TEXTS, under its name; docs/figures.yaml has the commands
that trained them. A picture is chosen by a rule, and by nobody's taste: of the yes/no detectors that
a cell was found to follow, the one with the strongest cell comes first, and of the texts of the seeds
1 to 20 the first in which its label is on for at least a fifth of the characters and off for at least
a fifth. If no text of any detector is so, there is no picture.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from coloured_texts import PICTURES, WIDTH, lines_of, written
from rich.text import Text

import charrnn
from charrnn.cells.findings import CellScore, ColouredText
from charrnn.detectors.registry import DETECTORS
from charrnn.model.losses import WINDOWED
from charrnn.views.svg import to_svg

TEXTS = {
    "shakespeare": "Tiny Shakespeare",
    "swann": "Swann's Way, in French",
    "commedia": "The Divine Comedy, in Italian",
    "tang": "Poems of the Tang dynasty, in Chinese",
    "stdlib": "Python's standard library",
    "sqlite": "SQLite, in C",
    "latex": "A Course of Pure Mathematics, in LaTeX",
    "cookbook": "A cookbook",
    "jigs": "Jigs from Nottingham, in ABC notation",
    "colours": "Names of colours",
}
"""The texts by the names of their runs and pictures."""
SEEDS = range(1, 21)
"""Seeds of the texts of which a picture shows one."""
LENGTH = 300
"""Characters of a text."""
TEMPERATURE = 0.5
LEAST_SHARE = 0.2
"""Share of the characters at which the label must be on, and at which it must be off."""
COLUMNS = 80
"""Columns of a line of the text."""


def chosen_passage(model: charrnn.Model) -> tuple[CellScore, int, ColouredText] | None:
    """Return the cell that the rule chooses, the seed, and the text with its label; None if there is
    no such text."""
    part = model.held_out_text()
    findings = model.survey(part.text, context=part.context)
    for score in findings.scores:
        if score.auc is None or not score.is_found:
            continue
        for seed, passage in passages(model, score):
            share = np.mean(passage.inside)
            if LEAST_SHARE <= share <= 1 - LEAST_SHARE:
                return score, seed, passage
    return None


def passages(model: charrnn.Model, score: CellScore) -> Iterator[tuple[int, ColouredText]]:
    """Yield the text of each seed, with the values of a cell and the label of its detector."""
    for seed in SEEDS:
        passage = written(
            model,
            (score.layer, score.unit),
            polarity=score.polarity,
            length=LENGTH,
            temperature=TEMPERATURE,
            seed=seed,
        )
        labels = DETECTORS[score.detector].labels_of(passage.text)
        if labels is not None and len(labels) > 0:
            yield seed, replace(passage, inside=tuple(labels.tolist()))


def draw(name: str, model: charrnn.Model) -> str:
    """Draw the picture of a text, if the rule finds one; return the row of the table."""
    loss = charrnn.evaluate(model, model.held_out(), protocol=WINDOWED).nats_per_char
    chosen = chosen_passage(model)
    path = PICTURES / f"gallery-{name}.svg"
    if chosen is None:
        path.unlink(missing_ok=True)
        return f"| {TEXTS[name]} | {loss:.3f} | none | |"

    score, seed, passage = chosen
    label = DETECTORS[score.detector].looks_for
    heading = Text.assemble("Blue: the cell is on. ", ("Underlined", "underline"), f": {label}.")
    lines = [heading, Text(), *lines_of(passage, width=COLUMNS)]
    title = f"{TEXTS[name]}: {label}"
    path.write_text(to_svg(lines, title, columns=WIDTH), encoding="utf-8", newline="\n")
    cell = f"{score.layer}:{score.unit}"
    return f"| {TEXTS[name]} | {loss:.3f} | {label} | {cell} | {score.auc:.3f} | seed {seed} |"


def main() -> None:
    """Draw the pictures of the runs in a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="the folder of the runs")
    parser.add_argument("--only", choices=TEXTS, help="the only text that is drawn")
    given = parser.parse_args()
    names = [given.only] if given.only else list(TEXTS)
    for name in names:
        print(draw(name, charrnn.load(given.runs / name)), flush=True)


if __name__ == "__main__":
    main()
