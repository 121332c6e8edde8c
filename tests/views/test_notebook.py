"""What a notebook shows: HTML of every kind of object, escaped, without scripts, legible on white
and on black."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from elements import Elements
from legibility import contrast
from rich.color_triplet import ColorTriplet
from test_charts import STRAIGHT
from test_overview import HUGE, RUN, WAR
from test_tables import FINDINGS, QUOTE

import charrnn
from charrnn.cells.findings import (
    CellGate,
    CellPage,
    CellPassage,
    CellValues,
    ColouredText,
    GateUse,
    Passage,
)
from charrnn.cells.trace import Trace
from charrnn.evaluation.loss_reports import Evaluation, EvaluationRow, LossReport
from charrnn.evaluation.losses import bits
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.plugins.analyses.descriptions import Description, DescriptionReport
from charrnn.plugins.analyses.directions import Direction, DirectionAblation, DirectionContribution
from charrnn.plugins.analyses.evidence.results import EvidenceCard
from charrnn.plugins.analyses.gates import GateReport
from charrnn.plugins.analyses.gradients import GradientReach
from charrnn.plugins.analyses.inputs import CellInputs, Driver
from charrnn.plugins.analyses.matching import MatchReport
from charrnn.plugins.analyses.numbers import LayerNumbers, NetworkNumbers, NumberRow, StepNumbers
from charrnn.plugins.analyses.outputs import CellOutputs
from charrnn.plugins.reports.error_kinds import KINDS, ErrorKind, ErrorReport, ModelErrors
from charrnn.plugins.reports.novelty import Copy, Novelty
from charrnn.runs.learning_curves import LearningCurves
from charrnn.runs.overview import ModelDescription
from charrnn.system.display import Displayable, RecordList, RecordTuple
from charrnn.views.notebook import MAX_CHARS, MAX_GUESSED, NOTEBOOK, to_html

HOSTILE = "<script>alert('x')</script>&\x1b[2J"
EMPTY = np.empty(0)
WHITE, BLACK = "#ffffff", "#111111"
"""Backgrounds of light and dark notebooks."""


def example(kind, /, **fields):
    """Build a record: fields that are not given are small numbers, hostile texts, and tuples of one
    such value."""
    hints = get_type_hints(kind)
    names = [one.name for one in dataclass_fields(kind) if one.init and one.name not in fields]
    return kind(**{name: value_of(hints[name]) for name in names}, **fields)


def value_of(hint):
    simple = {int: 1, float: 0.5, str: HOSTILE, bool: True}
    if hint in simple:
        return simple[hint]
    if is_dataclass(hint):
        return example(hint)
    inner = get_args(hint)
    if get_origin(hint) is Annotated:
        return value_of(inner[0])
    if get_origin(hint) is tuple:
        return tuple(value_of(one) for one in inner if one is not Ellipsis)
    if get_origin(hint) is dict:
        return {value_of(inner[0]): value_of(inner[1])}
    return inner[0] if get_origin(hint) is Literal else value_of(inner[0])


LOSS = example(LossReport, protocol="stateful", nats_per_char=1.0, bpc=bits(1.0), precision="fp32")
COLOURED = ColouredText(text=HOSTILE, values=(0.5,) * len(HOSTILE))
ERRORS = example(ModelErrors, kinds=tuple(example(ErrorKind, kind=kind) for kind in KINDS))
DESCRIBED = example(Description, kind="rule", conditions=("after a space", HOSTILE), polarity=-1)
NUMBERS = {"weights": (3.0, -4.0), "means": (0.0, 0.0), "deviations": (0.2, 0.1)}
DIRECTION = example(Direction, cells=((0, 1), (1, 2)), ci=(0.8, 1.0), gain_ci=(0.1, 0.3), **NUMBERS)
CONTRIBUTION = example(DirectionAblation, cells=((0, 1),), ci=(0.2, 0.3))
REACHES = RecordTuple(
    [example(GradientReach, name=n, lags=(1, 2), norms=((1.0, 0.5),)) for n in "ab"]
)
VALUES = example(
    CellValues, autocorrelation=(0.5, 0.2), timescale_from="f", gates=(example(CellGate, gate="f"),)
)
PASSAGE = example(
    CellPassage, kind="top", index=1, begin=0, text=HOSTILE, values=(0.5,) * len(HOSTILE)
)
NUMBERS = NumberRow("x", ("<",), (0.5,))
VECTORS = {"input": NUMBERS, "logits": NUMBERS, "probabilities": NUMBERS, "output": (NUMBERS,)}
STEP = example(StepNumbers, layers=(LayerNumbers((NUMBERS,)),), **VECTORS)
OBJECTS = {
    "findings": (FINDINGS, "bracket-depth"),
    "description": (DESCRIBED, "after a space and &lt;script"),
    "descriptions": (
        example(DescriptionReport, descriptions=(DESCRIBED,)),
        "A rule explains 1 of 1 cells (100%)",
    ),
    "direction": (DIRECTION, "0:1 +60%, 1:2 -40%"),
    "direction ablation": (
        DirectionContribution(direction=DIRECTION, ablation=CONTRIBUTION),
        "whole text",
    ),
    "gates": (example(GateReport, cell="gru", gates=(example(GateUse, gate="z"),)), "shut"),
    "evidence": (example(EvidenceCard, tracks=QUOTE, interchange=None, born=None), "necessary"),
    "gradient": (REACHES[0], "<svg"),
    "coloured text": (COLOURED, "background-color"),
    "guesses": (
        ColouredText(text="ab", values=(0.0, 1.0), guesses=((("<", 0.9),), ((HOSTILE, 0.5),))),
        "Below each character",
    ),
    "surprise": (
        Trace(HOSTILE, EMPTY, EMPTY, np.append(np.nan, np.zeros(len(HOSTILE) - 1))),
        "8 bits or more",
    ),
    "passage": (
        Passage(score=QUOTE, begin=0, coloured=COLOURED),
        "cell 1:17 follows quote: low inside",
    ),
    "text": (GeneratedText(text=f"one\n{HOSTILE}", logprobs=()), "one\n&lt;script"),
    "novelty": (
        example(Novelty, min_length=5, copies=(example(Copy, start=0, length=8),)),
        "copies ≥ 5",
    ),
    "prediction": (Prediction(character="e", probability=0.5), "0.5000"),
    "predictions": (RecordList([Prediction(character="<", probability=0.5)] * 2), "&lt;"),
    "run": (RUN, "shakespeare-001"),
    "huge run": (HUGE, "16384"),
    "runs": (RecordList([RUN, WAR]), "war-001"),
    "gradients": (REACHES, ">b</text>"),
    "loss": (LOSS, "stateful"),
    "evaluation": (
        Evaluation(rows=(EvaluationRow(name=HOSTILE, loss=LOSS),), part=None),
        "Stateful loss over this text",
    ),
    "errors": (ErrorReport(num_chars=9, text_length=9, models=(ERRORS,)), "memory-100"),
    "learning curve": (STRAIGHT, "Validation loss"),
    "learning curves": (LearningCurves(curves=(STRAIGHT,), against="seconds"), "seconds"),
    "values": (VALUES, "mean +0.500"),
    "cell passage": (PASSAGE, "+0.50"),
    "cell page": (
        example(CellPage, passages=(PASSAGE,), values=VALUES, sections={}),
        "Mean value after a character",
    ),
    "inputs": (example(CellInputs, drivers=(example(Driver, gate="f"),)), "itself +0.50"),
    "outputs": (example(CellOutputs, quantity="h"), "suppresses"),
    "numbers": (example(NetworkNumbers, steps=(STEP,)), "0.500"),
    "matches": (example(MatchReport, names=("a", HOSTILE)), "matched by correlation"),
    "model": (
        example(ModelDescription, depth="residual", alphabet="byte", num_parameters=1_234_567),
        "1,234,567",
    ),
}


@pytest.mark.parametrize(("value", "part"), OBJECTS.values(), ids=OBJECTS.keys())
def test_every_object_shows_itself_without_a_script(value, part):
    html = value._repr_html_()
    assert part in html
    drawn = {"svg", "title", "rect", "g", "text", "tspan", "path", "circle", "style"}
    assert set(Elements(html).tags) <= {"div", "pre", "span"} | drawn
    assert not re.search(r"(?:href|src)=|url\(|@import|[\x00-\x08\x0b-\x1f\x7f]", html)
    for svg in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL):
        assert 'style="max-width: 100%; height: auto"' in ElementTree.tostring(
            ElementTree.fromstring(svg), "unicode"
        )


def test_every_colour_is_legible_on_white_and_on_black():
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.01), (
        "the contrast of the standard"
    )
    for number in range(16):
        ink = ColorTriplet(*NOTEBOOK.ansi_colors[number]).hex
        assert min(contrast(ink, WHITE), contrast(ink, BLACK)) >= 3, (number, ink)
    styles = set()
    for value, _ in OBJECTS.values():
        html = to_html(value)
        for written in re.findall(
            r'<span style="([^"]*)"', re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
        ):
            rules = dict(rule.split(": ") for rule in written.split("; "))
            styles.add((rules.get("color"), rules.get("background-color")))
    assert len(styles) > 4
    for ink_hex, paper_hex in styles:
        if paper_hex is not None:
            assert ink_hex is not None and contrast(ink_hex, paper_hex) >= 3
        elif ink_hex is not None:
            assert min(contrast(ink_hex, WHITE), contrast(ink_hex, BLACK)) >= 3, ink_hex


def test_long_texts_are_cut():
    text = "x" * (MAX_CHARS + 1)
    for value in (
        ColouredText(text=text, values=(0.5,) * len(text)),
        Trace(text, EMPTY, EMPTY, np.zeros(len(text))),
        GeneratedText(text=text, logprobs=()),
    ):
        html = to_html(value)
        assert f"The first {MAX_CHARS:,} of {len(text):,} characters." in html
        assert sum(map(len, re.findall("x+", re.sub("<[^>]*>", "", html)))) <= MAX_CHARS + 1
    guessed = ColouredText(
        text=text, values=(0.0,) * len(text), guesses=((("a", 0.5),),) * len(text)
    )
    assert f"The first {MAX_GUESSED:,} of" in to_html(guessed)
    assert "The first" not in to_html(COLOURED)


@pytest.mark.parametrize("value", [object(), RecordList(), Displayable()])
def test_what_has_no_picture_is_shown_by_its_repr(value):
    assert to_html(value) is None


def test_lists_of_records_are_equal_to_usual_ones():
    assert RecordList([RUN]) == [RUN]
    assert RecordTuple([RUN]) == (RUN,)


def test_records_of_several_types_are_shown_below_each_other():
    html = RecordList([RUN, LOSS])._repr_html_()
    assert html.index("shakespeare-001") < html.index("stateful")


def test_a_model_describes_itself(alphabet_run):
    model = charrnn.load(alphabet_run)
    weights = sum(array.size for array in model.tensors.values())
    size = f"rnn 1×28, {weights:,} weights, 28 characters"
    assert repr(model) == f"<Model alphabet-001: {size}, step 1, 1.0000 nats per character>"
    html = model._repr_html_()
    for part in ("alphabet-001", "rnn 1×28", f"{weights:,}", "28 characters"):
        assert part in html


def test_a_model_without_a_loss_shows_none(alphabet_run):
    model = charrnn.load(alphabet_run)
    model.val_nats = None
    assert repr(model).endswith("step 1>")
    assert "loss" not in model._repr_html_()


def test_what_a_model_returns_shows_itself(lstm):
    model = charrnn.load(lstm.path)
    trace = model.trace("the lamp is lit. " * 20, num_guesses=2)
    coloured = model.coloured_text(trace, 0, 3, slice(10, 20))
    assert (len(coloured.text), len(coloured.values), len(coloured.guesses)) == (10, 10, 10)
    assert coloured.values == tuple(trace.cells[10:20, 0, 3].tolist())
    with pytest.raises(charrnn.CharRNNError, match="0:32"):
        model.coloured_text(trace, 0, 32)
    for value in (trace, coloured, charrnn.find_cells(trace), model.predict("a")):
        assert value._repr_html_().startswith("<div>"), value


def test_lists_that_a_model_returns_show_themselves(lstm):
    model = charrnn.load(lstm.path)
    assert isinstance(model.predict("a"), RecordList)
    assert isinstance(model.samples(1, length=3), RecordList)


def test_the_numbers_of_a_model_show_themselves(loop_run):
    html = charrnn.load(loop_run).numbers("ab")._repr_html_()
    assert set(Elements(html).tags) <= {"div", "pre", "span"}
    assert "softmax" in html
