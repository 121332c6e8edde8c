"""Draw what ten networks wrote, each in the colours of a cell whose label changes there.

    python tools/gallery.py RUNS                 # draws the pictures, and prints the rows of the table
    python tools/gallery.py RUNS --only swann    # one of them

RUNS is a folder with a run for each text of TEXTS, under its name; docs/figures.yaml has the commands
that trained them. A picture is chosen by a rule, and by nobody's taste: of the yes/no detectors that
a cell follows with LEAST_AUC or more, the one with the strongest cell comes first, and of the texts of
the seeds 1 to 20 the first in which its label is on for at least a fifth of the characters and off for
at least a fifth. If no text of any detector is so, there is no picture.
"""

import argparse
from functools import cache
from pathlib import Path

from coloured_texts import LENGTH, PICTURES, labelled_picture, seed_of_change, written

import charrnn
from charrnn.cells.records import CHARS_SCORED
from charrnn.detectors.registry import get_detectors
from charrnn.model.losses import WINDOWED

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
LEAST_AUC = 0.9
"""The least score of a cell that is drawn: the colours of one that follows its label less well do not
show the label."""
OPTIONS = {"length": LENGTH, "temperature": 0.5}
"""How the texts are written."""
PRIMES = {"jigs": "X: 1\nT:A Tune\nM:6/8\nK:G\n"}
"""What is continued, and not shown: of tunes their head, so that no picture has an invented title."""


def draw(name: str, model: charrnn.Model, path: Path) -> str:
    """Draw the picture of a text, if the rule finds one; return the row of the table."""
    loss = charrnn.evaluate(model, model.held_out(), protocol=WINDOWED).nats_per_char
    part = model.held_out_text()
    findings = model.survey(part.text[:CHARS_SCORED], context=part.context)
    options = {**OPTIONS, "prime": PRIMES.get(name, "")}

    @cache
    def text_of(seed: int) -> str:
        return "".join(model.write(seed=seed, **options))

    for score in findings.scores:
        if not score.is_found or score.auc is None or score.auc < LEAST_AUC:
            continue
        [detector] = get_detectors([score.detector])
        seed = seed_of_change(detector, text_of)
        if seed is None:
            continue

        cell = (score.layer, score.unit)
        coloured = written(model, cell, polarity=score.polarity, seed=seed, **options)
        picture = labelled_picture(coloured, detector=detector, title=f"{TEXTS[name]}: a cell")
        path.write_text(picture, encoding="utf-8", newline="\n")
        found = f"{detector.looks_for} | {score.layer}:{score.unit} | {score.auc:.3f} | {seed}"
        return f"| {TEXTS[name]} | {loss:.3f} | {found} |"

    path.unlink(missing_ok=True)
    return f"| {TEXTS[name]} | {loss:.3f} | none | | | |"


def main() -> None:
    """Draw the pictures of the runs in a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="the folder of the runs")
    parser.add_argument("--only", choices=TEXTS, help="the only text that is drawn")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="where the pictures go")
    given = parser.parse_args()
    names = [given.only] if given.only else list(TEXTS)
    for name in names:
        path = given.pictures / f"gallery-{name}.svg"
        print(draw(name, model=charrnn.load(given.runs / name), path=path), flush=True)


if __name__ == "__main__":
    main()
