"""What a notebook shows: HTML of every kind of object, escaped, without scripts, legible on white
and on black.

Tests `system.display`, too.
"""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from displayed import COLOURED, EMPTY, LOSS, OBJECTS
from elements import Elements
from example_results import RUN
from legibility import contrast
from rich.color_triplet import ColorTriplet

import charrnn
from charrnn.cells.findings import (
    ColouredText,
)
from charrnn.cells.trace import Trace
from charrnn.generation.generated_text import GeneratedText
from charrnn.system.display import Displayable, RecordList, RecordTuple
from charrnn.views.notebook import MAX_CHARS, MAX_GUESSED, NOTEBOOK, to_html

WHITE, BLACK = "#ffffff", "#111111"
"""Backgrounds of light and dark notebooks."""


@pytest.mark.parametrize("value, part", OBJECTS.values(), ids=OBJECTS.keys())
def test_every_object_shows_itself_without_a_script(value, part):
    html = value._repr_html_()
    assert part in html
    drawn = {"svg", "title", "rect", "g", "text", "path", "style"}
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


@pytest.mark.parametrize("value", [RecordList(), Displayable()])
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
