"""What a notebook shows: HTML of every kind of object, escaped, without scripts, legible on white
and on black.

Tests `system.display`, too.
"""

import re

import numpy as np
import pytest
from displayed import EMPTY, LOSS, OBJECTS
from elements import Elements
from example_results import RUN
from legibility import contrast

import charrnn
from charrnn.cells.findings import ColouredText
from charrnn.cells.trace import Trace
from charrnn.generation.generated_text import GeneratedText
from charrnn.system.display import Displayable, RecordList, RecordTuple
from charrnn.views.records import MAX_CHARS

WHITE, BLACK = "#ffffff", "#111111"
"""Backgrounds of light and dark notebooks."""


def to_html(value):
    """What a notebook shows of an object."""
    return value._repr_mimebundle_(include=None, exclude=None)["text/html"]


@pytest.mark.parametrize("value, part", OBJECTS.values(), ids=OBJECTS.keys())
def test_every_object_shows_itself_without_a_script(value, part):
    shown = value._repr_mimebundle_()
    assert part in shown["text/plain"]
    assert set(Elements(shown["text/html"]).tags) <= {"pre", "span"}
    for text in shown.values():
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)


def test_every_colour_is_legible_on_white_and_on_black():
    styles = set()
    for value, _ in OBJECTS.values():
        for written in re.findall(r'<span style="([^"]*)"', to_html(value)):
            rules = dict(rule.split(": ") for rule in written.split("; "))
            styles.add((rules.get("color"), rules.get("background-color")))
    assert len(styles) > 4
    for ink, paper in styles:
        if paper is not None:
            assert ink is not None and contrast(ink, paper) >= 3
        elif ink is not None:
            assert min(contrast(ink, WHITE), contrast(ink, BLACK)) >= 3, ink


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


@pytest.mark.parametrize("value", [RecordList(), Displayable()])
def test_what_has_no_picture_is_shown_by_its_repr(value):
    assert value._repr_mimebundle_() is None


def test_lists_of_records_are_equal_to_usual_ones():
    assert RecordList([RUN]) == [RUN]
    assert RecordTuple([RUN]) == (RUN,)


def test_records_of_several_types_are_shown_below_each_other():
    html = to_html(RecordList([RUN, LOSS]))
    assert html.index("shakespeare-001") < html.index("stateful")


def test_a_model_describes_itself(alphabet_run):
    model = charrnn.load(alphabet_run)
    weights = sum(array.size for array in model.tensors.values())
    size = f"rnn 1×28, {weights:,} weights, 28 characters"
    assert repr(model) == f"<Model alphabet-001: {size}, step 1, 1.0000 nats per character>"
    html = to_html(model)
    for part in ("alphabet-001", "rnn 1×28", f"{weights:,}", "28 characters"):
        assert part in html


def test_a_model_without_a_loss_shows_none(alphabet_run):
    model = charrnn.load(alphabet_run)
    model.val_nats = None
    assert repr(model).endswith("step 1>")
    assert "loss" not in to_html(model)


def test_what_a_model_returns_shows_itself(lstm):
    model = charrnn.load(lstm.path)
    trace = model.trace("the lamp is lit. " * 20, num_guesses=2)
    coloured = model.coloured_text(trace, 0, 3, slice(10, 20))
    assert (len(coloured.text), len(coloured.values), len(coloured.guesses)) == (10, 10, 10)
    assert coloured.values == tuple(trace.cells[10:20, 0, 3].tolist())
    with pytest.raises(charrnn.CharRNNError, match="0:32"):
        model.coloured_text(trace, 0, 32)
    for value in (trace, coloured, charrnn.find_cells(trace), model.predict("a")):
        assert to_html(value).startswith("<pre"), value


def test_lists_that_a_model_returns_show_themselves(lstm):
    model = charrnn.load(lstm.path)
    assert isinstance(model.predict("a"), RecordList)
    assert isinstance(model.samples(1, length=3), RecordList)


def test_the_numbers_of_a_model_show_themselves(loop_run):
    html = to_html(charrnn.load(loop_run).numbers("ab"))
    assert set(Elements(html).tags) <= {"pre", "span"}
    assert "softmax" in html
