"""The page of a cell: measured once, kept in the cache, and drawn at any width; several of them as
HTML.
"""

import json
import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from synthetic import make_corpus

from charrnn.analyses.ranking import ranking
from charrnn.cells.records import CellPassage
from charrnn.views.cell_pages import clipped, page_pictures, passage_list

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
    lines = drawn(passage_list([passage]), width, color_system="truecolor", force_terminal=True)
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


def test_any_other_cell_is_scored_for_the_detector_that_it_follows_best(study):
    found = {(score.layer, score.unit) for score in study.findings().scores}
    other = next((0, unit) for unit in range(study.num_units) if (0, unit) not in found)
    (score,) = study.page(*other).scores
    ranked = next(
        one for one in ranking(study, [score.detector])[score.detector] if one.unit == other[1]
    )
    # The two readings differ by rounding. Two characters whose values are equal but for it may
    # change their order, and an AUC counts pairs of characters.
    assert score.strength == pytest.approx(ranked.strength, abs=1e-3)
    assert (score.null_level, score.untrained) == (ranked.null_level, ranked.untrained)
    assert score.ci_low < (score.auc or score.spearman) < score.ci_high
    assert "best cell of no detector" in "".join(drawn(page_pictures(study.page(*other)), 200))


def test_the_strongest_cells_are_the_best_ones_first(study):
    scores = study.findings().scores
    assert None not in {score.untrained for score in scores}, "it is compared by default"
    best = dict.fromkeys((score.layer, score.unit) for score in scores)
    cells = study.strongest_cells(1_000)
    assert [*best] == [*cells[: len(best)]]
    assert len(set(cells)) == len(cells) == study.num_cells
    assert study.strongest_cells(3) == cells[:3]


def test_a_page_is_written_as_json_with_every_part(page):
    found = page.to_json()
    json.dumps(found, allow_nan=False)
    parts = {"scores", "num_chars", "mean", "spread", "histogram", "passages", "polarity"}
    assert found.keys() == {"layer", "unit"} | parts


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
    for width in range(80, 120):
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
