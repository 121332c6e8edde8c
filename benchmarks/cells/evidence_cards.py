"""Measure the evidence cards of cells of several models, and print them as a table.

    python benchmarks/cells/evidence_cards.py cards.jsonl --case prose quote line-position
    python benchmarks/cells/evidence_cards.py cards.jsonl --case code string indentation
    python benchmarks/cells/evidence_cards.py cards.jsonl --case runs/shakespeare speaker
    python benchmarks/cells/evidence_cards.py cards.jsonl

Each case is a run or an included model and some detectors. The text is the first 131,072 characters
of its test part, by which nothing was chosen before (`--part validation` for a run without one).
For `prose` the file war-and-peace.txt must be in the current folder; `code` reads the standard
library of this Python.

A card is one line of the file; what is there already is not measured again. `--arrays FOLDER`
writes, for `recompute_card.py`, the weights, the ids and the labels of each card beside its record.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import charrnn
from charrnn.cells.records import CHARS_SCORED
from charrnn.detectors.registry import get_detectors

COLUMNS = (
    "model",
    "detector",
    "cell",
    "score",
    "loss inside / outside",
    "rank",
    "k for 90 %",
    "none kept",
    "interchange",
    "others",
    "equal",
    "fooled",
)
"""The columns of the table."""


def measure(name: str, detector: str, *, part: str, arrays: Path | None) -> dict[str, Any]:
    """Measure one card; returns its record with the name of the model and the seconds."""
    model = charrnn.load(name)
    held_out = model.held_out(part)
    study = model.study(held_out[:CHARS_SCORED], context=held_out.context)
    begin = time.perf_counter()
    card = model.evidence(study, detector=detector).to_json()
    card = {"model": model.name, **card, "seconds": round(time.perf_counter() - begin, 1)}

    if arrays is not None:
        arrays.mkdir(exist_ok=True)
        (found,) = get_detectors([detector])
        labels = found.labels_of(study.text.text)
        assert labels is not None, "a card was measured"
        path = arrays / f"{model.name}-{detector}"
        path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
        np.savez_compressed(
            path.with_suffix(".npz"),
            ids=study.text.ids,
            first=np.array(study.text.first),
            labels=labels,
            characters=np.array([model.vocab.character(id) for id in range(len(model.vocab))]),
            **{f"weights_{key}": value for key, value in model.tensors.items()},
        )
    return card


def row_of(card: dict[str, Any]) -> list[str]:
    """Return the row of a card."""
    tracks = card["tracks"]
    score = f"ρ {tracks.get('spearman') or 0:+.3f}"
    if tracks.get("auc") is not None:
        score = f"AUC {tracks['auc']:.3f}"
    needed = card["necessary"]
    kept = card["sufficient"]
    moved = card["interchange"]
    wrong = card["fooled"]
    carrying = kept["num_carrying"]
    shares = ["–", "–", "–"]
    if moved is not None:
        shares = [f"{moved[key]:.3f}" for key in ("accuracy", "other_cells", "equal_labels")]
    return [
        card["model"],
        f"`{card['detector']}`",
        f"{card['layer']}:{card['unit']}",
        score,
        f"{needed['inside']:+.4f} / {needed['outside']:+.4f}",
        f"{needed['rank']}, {needed['rank_among_directions']}",
        f"{'–' if carrying is None else carrying} of {len(kept['followers'])}",
        f"{kept['curve'][0][1]:.0%}",
        *shares,
        f"{wrong['num_wrong'] / wrong['num_places']:.1%}",
    ]


def main() -> None:
    """Measure what is missing, and print the table of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a line for each card; it is continued")
    parser.add_argument("--case", nargs="+", action="append", default=[])
    parser.add_argument("--part", default="test")
    parser.add_argument("--arrays", type=Path)
    given = parser.parse_args()

    cards = []
    if given.file.exists():
        cards = [json.loads(line) for line in given.file.read_text(encoding="utf-8").splitlines()]
    done = {(card["model"], card["detector"]) for card in cards}
    for name, *detectors in given.case:
        for detector in detectors:
            if (Path(name).name, detector) in done:
                continue
            card = measure(name, detector, part=given.part, arrays=given.arrays)
            cards.append(card)
            with given.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(card) + "\n")

    print(f"| {' | '.join(COLUMNS)} |")
    print("| --- " * len(COLUMNS) + "|")
    for card in cards:
        print(f"| {' | '.join(row_of(card))} |")


if __name__ == "__main__":
    main()
