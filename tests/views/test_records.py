"""What a notebook shows: HTML of every kind of object, escaped, without scripts, legible on white
and on black.

Tests `system.display`, too.
"""

import re

import pytest
from displayed import OBJECTS
from elements import Elements
from legibility import contrast

import charrnn

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


def test_a_model_describes_itself(alphabet_run):
    model = charrnn.load(alphabet_run)
    weights = sum(array.size for array in model.tensors.values())
    size = f"rnn 1×28, {weights:,} weights, 28 characters"
    assert repr(model) == f"<Model alphabet-001: {size}, step 1, 1.0000 nats per character>"
    html = to_html(model)
    for part in ("alphabet-001", "rnn 1×28", f"{weights:,}", "28 characters"):
        assert part in html


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
