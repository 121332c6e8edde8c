"""What a notebook shows: HTML of every kind of object, escaped, without scripts, legible on white and on black."""

import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import TrainedRun
from rich.color_triplet import ColorTriplet
from test_learning_charts import STRAIGHT
from test_runs_table import RUN, WAR
from test_tables import FINDINGS, QUOTE

import charrnn
from charrnn import display
from charrnn.apps.notebook import MAX_CHARS, MAX_GUESSED, NOTEBOOK, to_html
from charrnn.cells.records import Ablation, AblationEffect, ColouredText, GateUse, Passage, SurpriseText
from charrnn.display import Displayable, RecordList, RecordTuple
from charrnn.evaluation.losses import bits
from charrnn.evaluation.records import Evaluation, EvaluationRow, LossReport
from charrnn.generation.records import Copy, DocumentNovelty, GeneratedText, Novelty, Prediction
from charrnn.intervals import Estimate
from charrnn.lab.descriptions import Description, DescriptionReport
from charrnn.lab.directions import DirectionAblation, DirectionContribution, DirectionText
from charrnn.lab.error_kinds import KINDS, ErrorKind, ErrorReport, ModelErrors
from charrnn.lab.gates import GateReport
from charrnn.lab.gradients import GradientReach
from charrnn.lab.history import CellHistory
from charrnn.lab.long_range import ClosingBin, ClosingReport, LongRangeReport, ModelResets, ResetLoss
from charrnn.lab.spectrum import MatrixSpectrum, TrainingSpectrum
from charrnn.model.clamping import Direction
from charrnn.runs.overview import LearningCurves, ModelDescription, learning_curves
from charrnn.scale.sweep.table import SweepReport, SweepRow
from charrnn.views.charts import LearningChart
from charrnn.views.svg import DARK, to_svg

HOSTILE = "<script>alert('x')</script>&\x1b[2J"
WHITE, BLACK = (255, 255, 255), (17, 17, 17)
"""Backgrounds of light and dark notebooks."""
LOSS = LossReport(
    protocol="stateful",
    nats_per_char=1.0,
    bpc=bits(1.0),
    bits_per_byte=1.3,
    num_chars=900,
    text_length=1000,
    precision="fp32",
)
HALF = Estimate(mean=0.5, low=0.4, high=0.6)
EFFECT = AblationEffect(
    detector=HOSTILE, change_inside=0.5, ci_inside=(0.4, 0.6), change_outside=0.0, ci_outside=(0.0, 0.1), num_inside=9
)
COLOURED = ColouredText(text=HOSTILE, values=(0.5,) * len(HOSTILE))
DESCRIBED = Description(
    layer=0,
    unit=1,
    kind="rule",
    conditions=("after a space", HOSTILE),
    polarity=-1,
    score=0.5,
    ci_low=0.4,
    ci_high=0.6,
    auc=0.9,
    explained=True,
)
DIRECTION = Direction(
    detector=HOSTILE,
    cells=((0, 1), (1, 2)),
    weights=(3.0, -4.0),
    means=(0.0, 0.0),
    deviations=(0.2, 0.1),
    intercept=0.5,
    is_yes_no=True,
    score=0.9,
    ci=(0.8, 1.0),
    cell_score=0.7,
    gain_ci=(0.1, 0.3),
    low=0.0,
    high=1.0,
    num_chars=9,
)
ABLATED = DirectionAblation(cells=((0, 1),), change=0.25, ci=(0.2, 0.3), num_chars=9, effects=(EFFECT,))
OBJECTS: dict[str, tuple[Displayable, str]] = {
    "findings": (FINDINGS, "bracket-depth"),
    "history": (CellHistory(detector=HOSTILE, layer=0, unit=1, is_auc=True, steps=(1, 2), values=(0.5, 0.9)), "0:1"),
    "description": (DESCRIBED, "after a space and &lt;script"),
    "descriptions": (
        DescriptionReport(
            descriptions=(DESCRIBED,),
            num_chars=9,
            num_conditions=2,
            control_level=0.01,
            level=0.1,
            share_of_variance=0.5,
        ),
        "A rule explains 1 of 1 cells (100%)",
    ),
    "ablation": (
        Ablation(layer=0, unit=1, at="zero", value=0.0, change=0.25, ci=(0.2, 0.3), num_chars=9, effects=(EFFECT,)),
        "clamped at 0",
    ),
    "direction": (DIRECTION, "0:1 +60%, 1:2 -40%"),
    "direction text": (DirectionText(direction=DIRECTION, coloured=COLOURED), "background-color"),
    "direction ablation": (
        DirectionContribution(direction=DIRECTION, ablation=ABLATED, best_cell=ABLATED, random=(ABLATED,)),
        "cell 0:1",
    ),
    "gates": (
        GateReport(
            name=HOSTILE, cell="gru", num_chars=9, gates=(GateUse(layer=0, gate="z", left=(0.1,), right=(0.2,)),)
        ),
        "<svg",
    ),
    "gradient": (GradientReach(name=HOSTILE, lags=(1, 2), norms=((1.0, 0.5),), num_losses=9), "<svg"),
    "coloured text": (COLOURED, "background-color"),
    "guesses": (
        ColouredText(text="ab", values=(0.0, 1.0), guesses=((("<", 0.9),), ((HOSTILE, 0.5),))),
        "Below each character",
    ),
    "surprise": (SurpriseText(text=HOSTILE, bits=(math.nan, *[3.0] * (len(HOSTILE) - 1))), "8 bits or more"),
    "passage": (Passage(score=QUOTE, begin=0, coloured=COLOURED), "cell 1:17 follows quote: low inside"),
    "text": (GeneratedText(text=f"one\n{HOSTILE}", logprobs=()), "one\n&lt;script"),
    "novelty": (
        Novelty(text=HOSTILE, min_length=5, copies=(Copy(start=0, length=8, source=0, source_line=3),)),
        "copies ≥ 5",
    ),
    "documents": (DocumentNovelty(is_new=(True,), num_distinct=1, num_held_out=0, num_held_out_new=0), "distinct"),
    "prediction": (Prediction(character="e", probability=0.5), "0.5000"),
    "predictions": (RecordList([Prediction(character="<", probability=0.5)] * 2), "&lt;"),
    "run": (RUN, "shakespeare-001"),
    "runs": (RecordList([RUN, WAR]), "war-001"),
    "gradients": (
        RecordTuple([GradientReach(name=n, lags=(1, 2), norms=((1.0, 0.5),), num_losses=9) for n in "ab"]),
        ">b</text>",
    ),
    "loss": (LOSS, "stateful"),
    "evaluation": (Evaluation(rows=(EvaluationRow(name=HOSTILE, loss=LOSS),), part=None), "Loss over this text"),
    "errors": (
        ErrorReport(
            num_chars=9,
            text_length=9,
            models=(
                ModelErrors(
                    run=HOSTILE,
                    num_errors=len(KINDS),
                    share=0.5,
                    nats_per_char=1.0,
                    kinds=tuple(ErrorKind(kind=kind, num_errors=1, share=1 / len(KINDS), nats=0.1) for kind in KINDS),
                ),
            ),
        ),
        "word start",
    ),
    "long range": (
        LongRangeReport(
            predictors=(HOSTILE,),
            closings=(
                ClosingReport(
                    closing=")",
                    num_pairs=3,
                    probabilities=(HALF,),
                    bins=(ClosingBin(low=1, high=3, num_pairs=3, probabilities=(HALF,)),),
                ),
            ),
            resets=(
                ModelResets(
                    run=HOSTILE,
                    losses=tuple(
                        ResetLoss(interval=interval, nats_per_char=1.5, rise=HALF, nats_per_reset=1.0)
                        for interval in (2, 4, None)
                    ),
                ),
            ),
            num_chars=9,
            num_reset_chars=9,
            text_length=9,
        ),
        "reset",
    ),
    "sweep": (
        SweepReport(
            folder=HOSTILE,
            fields=("dropout",),
            num_seeds=2,
            rows=(
                SweepRow(
                    values={"dropout": 0.25},
                    num_finished=2,
                    num_failed=0,
                    num_runs=2,
                    num_parameters=9,
                    mean=1.5,
                    spread=0.1,
                    low=1.4,
                    high=1.6,
                    difference=None,
                    difference_low=None,
                    difference_high=None,
                    is_paired=True,
                ),
            ),
            runs=(),
        ),
        "0.25",
    ),
    "spectrum": (
        TrainingSpectrum(
            name=HOSTILE,
            cell="rnn",
            clip_norm=1.0,
            steps=(0, 5),
            matrices=(
                MatrixSpectrum(
                    layer=0, matrix="W_hh", gate="", largest_singular_values=(2.0, 3.0), spectral_radii=(1.0, 1.5)
                ),
            ),
            gradient_steps=(1, 2),
            gradient_norms=(0.5, 3.0),
        ),
        "<svg",
    ),
    "learning curve": (STRAIGHT, "Validation loss"),
    "learning curves": (LearningCurves(curves=(STRAIGHT,), against="seconds"), "seconds"),
    "model": (
        ModelDescription(
            name=HOSTILE,
            cell="gru",
            depth="residual",
            num_layers=2,
            hidden_size=128,
            num_parameters=1_234_567,
            alphabet="byte",
            vocab_size=256,
            text="lamps",
            step=2472,
            val_nats=1.25,
        ),
        "1,234,567",
    ),
}


class Elements(HTMLParser):
    """Collects the names of the elements, and fails where one is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(("value", "part"), OBJECTS.values(), ids=OBJECTS.keys())
def test_every_object_shows_itself_without_a_script(value: Displayable, part: str) -> None:
    html = value._repr_html_()
    assert html is not None and part in html
    allowed = {"div", "pre", "span", "svg", "title", "rect", "g", "text", "tspan", "path", "style"}
    assert Elements(html).names <= allowed
    assert not re.search(r"(?:href|src)=|url\(|@import|[\x00-\x08\x0b-\x1f\x7f]", html)


def contrast(ink: tuple[int, int, int], paper: tuple[int, int, int]) -> float:
    """Return the contrast ratio of WCAG 2.2, from 1 to 21."""

    def luminance(colour: tuple[int, int, int]) -> float:
        shares = [part / 255 for part in colour]
        red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(ink), luminance(paper)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), WHITE) == pytest.approx(21)
    assert contrast((119, 119, 119), WHITE) == pytest.approx(4.48, abs=0.01)


def test_every_colour_is_legible_on_white_and_on_black() -> None:
    for number in range(16):
        ink = NOTEBOOK.ansi_colors[number]
        assert min(contrast(ink, WHITE), contrast(ink, BLACK)) >= 3, (number, ink)
    styles: set[tuple[str | None, str | None]] = set()
    for value, _ in OBJECTS.values():
        html = to_html(value) or ""
        for written in re.findall(r'<span style="([^"]*)"', re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)):
            rules = dict(rule.split(": ") for rule in written.split("; "))
            styles.add((rules.get("color"), rules.get("background-color")))
    assert len(styles) > 4
    for ink_hex, paper_hex in styles:
        ink = ColorTriplet(*bytes.fromhex(ink_hex[1:])) if ink_hex else None
        if paper_hex is not None:
            assert ink is not None and contrast(ink, ColorTriplet(*bytes.fromhex(paper_hex[1:]))) >= 3
        elif ink is not None:
            assert min(contrast(ink, WHITE), contrast(ink, BLACK)) >= 3, ink_hex


def test_exported_pictures_are_legible_on_light_and_on_dark_paper() -> None:
    light, dark = ([ColorTriplet(*bytes.fromhex(colour[1:])) for colour in side] for side in (DARK, DARK.values()))
    for paper, ink, grid, *colours in (light, dark):
        assert min(contrast(colour, paper) for colour in (ink, *colours)) >= 3
        assert 1.2 <= contrast(grid, paper) < 3, "behind the lines"
    svg = to_svg([LearningChart(LearningCurves(curves=(STRAIGHT,)))])
    style = re.search("<style>(.*)</style>", svg)
    assert style is not None and style[1].startswith("@media (prefers-color-scheme: dark){")
    for colour in {*re.findall('(?:fill|stroke)="(#[0-9a-f]{6})"', svg.replace(style[1], ""))}:
        assert f'.charrnn [fill="{colour}"]{{fill:{DARK[colour]}}}' in style[1]


def test_charts_are_whole_svg_pictures_that_fit_the_page() -> None:
    html = OBJECTS["learning curves"][0]._repr_html_() or ""
    (svg,) = re.findall(r"<svg.*</svg>", html, flags=re.DOTALL)
    ElementTree.fromstring(svg)
    assert 'style="max-width: 100%; height: auto"' in svg


def test_the_numbers_of_a_network_show_themselves(loop_run: Path) -> None:
    html = charrnn.load(loop_run).numbers("ab")._repr_html_()
    assert html is not None and Elements(html).names <= {"div", "pre", "span"} and "softmax" in html


def test_long_texts_are_cut() -> None:
    text = "x" * (MAX_CHARS + 1)
    for value in (
        ColouredText(text=text, values=(0.5,) * len(text)),
        SurpriseText(text=text, bits=(2.0,) * len(text)),
        GeneratedText(text=text, logprobs=()),
    ):
        html = to_html(value) or ""
        assert f"The first {MAX_CHARS:,} of {len(text):,} characters." in html
        assert sum(map(len, re.findall("x+", re.sub("<[^>]*>", "", html)))) <= MAX_CHARS + 1
    guessed = ColouredText(text=text, values=(0.0,) * len(text), guesses=((("a", 0.5),),) * len(text))
    assert f"The first {MAX_GUESSED:,} of" in (to_html(guessed) or "")
    assert "The first" not in (to_html(COLOURED) or "")


def test_what_has_no_picture_is_shown_by_its_repr() -> None:
    assert to_html(object()) is None
    assert RecordList()._repr_html_() is None


def test_without_a_module_that_draws_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "offered_by_rooms", lambda kind: ())
    assert RUN._repr_html_() is None


def test_records_of_several_kinds_stand_below_each_other() -> None:
    html = RecordList([RUN, LOSS])._repr_html_() or ""
    assert html.index("shakespeare-001") < html.index("stateful")


def test_a_list_of_records_is_a_list() -> None:
    assert RecordList([RUN]) == [RUN] and RecordTuple([RUN]) == (RUN,)


def test_a_model_describes_itself(alphabet_run: Path) -> None:
    model = charrnn.load(alphabet_run)
    weights = sum(array.size for array in model.tensors.values())
    assert repr(model) == (
        f"<Model alphabet-001: rnn 1×28, {weights:,} weights, 28 characters, step 1, 1.0000 nats per character>"
    )
    html = model._repr_html_() or ""
    assert all(part in html for part in ("alphabet-001", "rnn 1×28", f"{weights:,}", "28 characters"))
    model.val_nats = None
    assert repr(model).endswith("step 1>") and "loss" not in (model._repr_html_() or "")


def test_what_a_model_returns_shows_itself(lstm: TrainedRun, corpus_file: Path) -> None:
    model = charrnn.load(lstm.path)
    assert model.val_nats == min(event.val_nats for event in lstm.events if event.event == "evaluation")
    text = corpus_file.read_text(encoding="utf-8")[:400]
    trace = model.trace(text, num_guesses=2)
    coloured = model.coloured_text(trace, 0, 3, slice(10, 20))
    assert (coloured.text, len(coloured.values), len(coloured.guesses)) == (text[10:20], 10, 10)
    assert coloured.values == tuple(trace.cells[10:20, 0, 3].tolist())
    with pytest.raises(charrnn.CharRNNError, match="0:32"):
        model.coloured_text(trace, 0, 32)
    shown: list[Displayable] = [
        *(trace, coloured, charrnn.find_cells(trace), model.gradients_with([], text, max_lag=5)),
        *(RecordList(model.predict("a")), learning_curves([lstm.path]), charrnn.evaluate(model, text)),
    ]
    for value in shown:
        assert (value._repr_html_() or "").startswith("<div>"), value
    assert isinstance(model.predict("a"), RecordList) and isinstance(model.samples(1, length=3), RecordList)


NOTEBOOK_CELLS = """\
import charrnn
model = charrnn.load({run!r})
model
---
model.predict("a")
---
trace = model.trace(open({text!r}, encoding="utf-8").read()[:400], num_guesses=3)
model.coloured_text(trace, 0, 3, slice(0, 80))
---
charrnn.find_cells(trace)
---
charrnn.learning_curves([{run!r}], against="characters", training=True)
---
charrnn.run_summaries([{run!r}])
---
charrnn.evaluate(model, open({text!r}, encoding="utf-8").read()[:2000])
---
import sys
print(sys.executable)
"""


@pytest.mark.thorough
def test_a_notebook_shows_them(lstm: TrainedRun, corpus_file: Path, tmp_path: Path) -> None:
    missing = [name for name in ("nbclient", "nbformat", "ipykernel") if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install -e '.[notebook]'")
    import nbclient
    import nbformat
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(KernelSpecManager):
        """Starts the interpreter that runs the tests, whatever kernels are installed."""

        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, display_name=kernel_name, language="python")

    notebook = nbformat.v4.new_notebook()
    cells = NOTEBOOK_CELLS.format(run=str(lstm.path), text=str(corpus_file)).split("---\n")
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    manager = AsyncKernelManager(kernel_spec_manager=ThisInterpreter())
    client = nbclient.NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    *pictures, interpreter = notebook.cells
    assert interpreter.outputs[0]["text"].strip() == sys.executable
    for cell, part in zip(
        pictures,
        (lstm.name, "probability", "background-color", "detector", "characters", "best nats/char", "stateful"),
        strict=True,
    ):
        (output,) = (output for output in cell.outputs if output["output_type"] == "execute_result")
        assert part in output["data"]["text/html"], cell.source
