"""Results as the program makes them: learning curves, runs, findings, the
provenance of a text."""

from dataclasses import replace

from charrnn.cells.records import CellFindings, CellScore, Skipped
from charrnn.reports.provenance import CopiedPassage, Provenance
from charrnn.runs.overview import LossCurve, RunSummary
from charrnn.text.corpus import Place


def losses(*points):
    """Two seconds and 64 characters per step."""
    return LossCurve(
        steps=tuple(step for step, _ in points),
        characters=tuple(64 * step for step, _ in points),
        seconds=tuple(2.0 * step for step, _ in points),
        nats=tuple(nats for _, nats in points),
    )


MODEL = {
    "cell_type": "lstm",
    "depth": "stacked",
    "num_layers": 2,
    "hidden_size": 512,
    "num_parameters": 3_321_921,
    "vocab_size": 96,
    "seed": 0,
}
TEXT = {
    "corpus": "/texts/shakespeare.txt",
    "text": "shakespeare",
    "digest": "a",
    "split": (0.9, 0.1),
}
STEPS = {
    "step": 2472,
    "num_steps": 2472,
    "num_chars": 20_250_624,
    "val_nats": None,
    "best_nats": 1.34561,
    "validation": losses(),
}
RUN = RunSummary(name="shakespeare-001", alphabet="char", minutes=10.04, **MODEL, **TEXT, **STEPS)


def curve(name, *points, digest="a"):
    return replace(RUN, name=name, digest=digest, validation=losses(*points))


STRAIGHT = curve("lamps-001", (10, 3.0), (20, 2.5), (30, 2.0))
WAR = replace(
    RUN,
    name="war-001",
    text="war-and-peace",
    seed=7,
    step=1200,
    best_nats=None,
    num_parameters=812_345,
)
UNLIKE = replace(RUN, name="x", text="a-long-name-of-a-text", seed=4_294_967_295, minutes=99_999.94)
HUGE = replace(
    UNLIKE,
    num_layers=64,
    hidden_size=16384,
    num_parameters=137_438_953_472,
    step=99_999_999,
    num_steps=10**8,
)
AUC = {
    "auc": 0.98765,
    "ci_low": 0.97,
    "ci_high": 0.995,
    "null_level": 0.5432,
    "p_value": 0.005,
}
RHO = {
    "spearman": -0.87654,
    "ci_low": -0.9,
    "ci_high": -0.8444,
    "untrained": -0.1234,
    "r2": 0.7654,
}
SIGN = {"polarity": -1, "num_positive": 900}
QUOTE = CellScore(detector="quote", layer=1, unit=17, interior=0.9123, **SIGN, **AUC)
BRACKETS = CellScore(detector="bracket-depth", layer=63, unit=16383, **SIGN, **RHO)
FINDINGS = CellFindings(
    scores=(QUOTE, BRACKETS),
    skipped=(
        Skipped(detector="string", reason="this text is not source code"),
        Skipped(detector="indentation", reason="it never changes in this text"),
    ),
)


def provenance(text, *spans):
    """The provenance of a text with passages of (start, length), all in line 31,337."""
    place = Place(file="text.txt", line=31_337, column=1)
    passages = tuple(
        CopiedPassage(start=start, length=length, offset=9, place=place, num_more=2)
        for start, length in spans
    )
    return Provenance(
        text=text,
        min_length=30,
        passages=passages,
        held_out_share=0.0,
    )
