"""The page of a cell: measured once, kept in the cache, and drawn at any width; several of them as
HTML.
"""

import json
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from conftest import copy_run
from rich.cells import cell_len
from rich.console import Console
from synthetic import make_corpus

import charrnn
from charrnn.analyses.ranking import ranking
from charrnn.cells.findings import CellPassage
from charrnn.cells.passages import extreme_passages
from charrnn.errors import UsageError
from charrnn.views.cell_page import (
    PassageList,
    clipped,
    page_pictures,
)

TEXT = make_corpus(num_chars=4_000, seed=3).text
HOSTILE = "<b>\x1b[2J\r\n\t\u202e"


@pytest.fixture(scope="module")
def study(model):
    return model.study(TEXT)


@pytest.fixture(scope="module")
def page(study):
    return study.page(0, 7)


def drawn(pictures, width, **options):
    console = Console(
        file=StringIO(), width=width, markup=False, emoji=False, highlight=False, **options
    )
    for picture in pictures:
        console.print(picture)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def in_colour(passage, width):
    """The scale and the lines of a passage where there are colours, without them."""
    lines = drawn([PassageList([passage])], width, color_system="truecolor", force_terminal=True)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def test_passages_are_parts_of_the_text_with_the_values_of_the_cell(study, page):
    [values] = study.values([(0, 7)])
    assert len(page.passages) > 10
    for passage in page.passages:
        end = passage.begin + len(passage.text)
        assert passage.text == TEXT[passage.begin : end]
        # Half precision has 11 significant bits.
        assert passage.values == pytest.approx(values[passage.begin : end].tolist(), abs=1e-3)
        assert passage.line == TEXT[: passage.index].count("\n") + 1
        assert passage.value == pytest.approx(values[passage.index], abs=1e-3)


def test_the_best_cell_of_a_detector_has_the_score_of_the_findings(study):
    best = study.findings().scores[0]
    page = study.page(best.layer, best.unit)
    assert page.scores[0] == best
    assert {(score.layer, score.unit) for score in page.scores} == {(best.layer, best.unit)}


def test_any_other_cell_is_scored_for_the_detector_that_it_follows_best(study):
    found = {(score.layer, score.unit) for score in study.findings().scores}
    other = next((0, unit) for unit in range(study.num_units) if (0, unit) not in found)
    (score,) = study.page(*other).scores
    ranked = next(
        one for one in ranking(study, [score.detector])[score.detector] if one.unit == other[1]
    )
    assert score.strength == pytest.approx(ranked.strength, abs=1e-6)
    assert (score.null_level, score.untrained) == (ranked.null_level, ranked.untrained)
    assert score.ci_low < (score.auc or score.spearman) < score.ci_high
    assert "best cell of no detector" in "".join(drawn(page_pictures(study.page(*other)), 200))


def test_several_pages_are_those_of_each_cell(study, model):
    cells = [(0, 7), (0, 3)]
    again = model.study(TEXT)
    assert again.pages(cells) == tuple(study.page(*cell) for cell in cells)


def test_the_strongest_cells_are_the_best_ones_first(study):
    best = dict.fromkeys((score.layer, score.unit) for score in study.findings().scores)
    cells = study.strongest_cells(1_000)
    assert [*best] == [*cells[: len(best)]]
    assert len(set(cells)) == len(cells) == study.num_cells
    assert study.strongest_cells(3) == cells[:3]


def test_a_page_is_written_as_json_with_every_part(page):
    found = page.to_json()
    json.dumps(found, allow_nan=False)
    parts = {"scores", "num_chars", "mean", "spread", "histogram", "passages", "polarity"}
    assert found.keys() == {"layer", "unit"} | parts


def test_a_page_of_a_cell_that_does_not_exist_is_refused(study):
    message = "There is no cell 1:0: the only layer is 0, units go from 0 to 31"
    with pytest.raises(UsageError, match=message):
        study.page(1, 0)


@pytest.mark.parametrize("num_chars", [1, 40])
def test_a_short_text_has_a_page_without_what_it_is_too_short_for(model, num_chars):
    page = model.study(TEXT[:num_chars]).page(0, 3)
    assert page.num_chars == num_chars
    assert page.scores == ()
    assert drawn(page_pictures(page), 80)


def test_a_second_page_is_read_from_the_run(lstm, tmp_path, monkeypatch):
    run = copy_run(lstm.path, tmp_path / "copy")
    first = charrnn.load(run).study(TEXT, cached=True).page(0, 5)
    monkeypatch.setattr("charrnn.model.network.CharRNN.__init__", pytest.fail)
    again = charrnn.load(run).study(TEXT, cached=True).page(0, 5)
    assert again == first
    assert isinstance(again.passages[0], CellPassage)


@pytest.mark.parametrize("width, color_system", [(40, None), (80, "truecolor")])
def test_a_page_fits_its_width(page, width, color_system):
    lines = drawn_page(page, width, color_system)
    assert max(cell_len(line.rstrip()) for line in lines) <= width


def drawn_page(page, width, color_system):
    """The lines of a page without their colours."""
    is_terminal = color_system is not None
    pictures = page_pictures(page)
    lines = drawn(pictures, width, color_system=color_system, force_terminal=is_terminal)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def test_a_document_is_a_line():
    values = np.arange(5).astype(np.float16)
    in_order = np.arange(5)
    passage = next(extreme_passages(values, "ab\0cd", np.zeros(5, np.int64), in_order))
    assert (passage.text, passage.index, passage.line) == ("ab\0cd", 4, 2)


def test_a_passage_is_clipped_around_its_character():
    text = "".join(chr(97 + number % 26) for number in range(150))
    values = tuple(number / 1000 for number in range(150))
    passage = CellPassage(
        kind="top", rank=1, value=0.1, index=1100, begin=1000, line=3, text=text, values=values
    )
    for num_columns in (1, 9, 60, 149, 150, 400):
        shown = clipped(passage, num_columns)
        assert len(shown.text) == len(shown.values) == min(num_columns, 150)
        begin = round(1000 * shown.values[0])
        assert shown.text == text[begin : begin + len(shown.text)]
        assert begin <= 100 < begin + len(shown.text)
    assert round(1000 * clipped(passage, 60).values[0]) == pytest.approx(60, abs=2)


def test_a_passage_of_a_tenth_takes_one_line_and_an_extreme_one_two(page):
    words = tuple("abcdefgh klmnopqrst " * 8)[:150]
    passage = replace(page.passages[0], text="".join(words), values=(0.5,) * 150, begin=0, index=90)
    for width in range(70, 120):
        assert len(in_colour(passage, width)) == 1 + 2
        assert len(in_colour(replace(passage, kind="decile"), width)) == 1 + 1


def test_line_ends_and_control_characters_stay_on_their_line(page):
    values = (0.5,) * len(HOSTILE)
    passage = replace(
        page.passages[-1], value=-1.0, index=2, begin=0, line=123_456, text=HOSTILE, values=values
    )
    _, line = in_colour(replace(passage, kind="decile", rank=10), 80)
    assert line.startswith("tenth 10  -1.00 line 123456 <b>")
    assert "↵" in line
    assert not {"\x1b", "\u202e", "␍"} & set(line), "↵ stands for both"
