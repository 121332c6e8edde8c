"""Tables: what stands in them at 80 columns, and that nothing else does.

Tests `views.findings_tables`, `views.passages` and `views.scores`, too.
"""

import re
from collections import Counter
from dataclasses import replace

import pytest
from displayed import WIDE_TABLES
from drawn import lines
from example_results import BRACKETS, QUOTE
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Group

from charrnn.cells.records import CellFindings, ColouredText, Passage, Skipped
from charrnn.generation.generated_text import Prediction
from charrnn.views import scores, tables
from charrnn.views.findings_tables import findings_pictures, findings_table, skipped_line
from charrnn.views.passages import passage_pictures


def plain(renderable, width=80):
    return "".join(f"{line}\n" for line in lines(renderable, width))


def rows(renderable):
    """The cells of a table's rows, without the heading; columns are at least two spaces apart."""
    _, _, body = plain(renderable, width=200).rpartition("──")
    shown = []
    for line in body.splitlines()[1:]:
        if line.strip():
            shown.append(re.split(r"\s{2,}", line.strip()))
    return shown


@pytest.mark.parametrize(
    "value, form, text",
    [
        (0.99998, ".3f", "0.999"),
        (-0.9999, "+.3f", "-0.999"),
        (1.0, ".3f", "1.000"),
        (0.9994, ".3f", "0.999"),
        (-1.048, ".3f", "-1.048"),
    ],
)
def test_no_score_looks_perfect_that_is_not(value, form, text):
    assert scores.score_number(value, form) == text
    assert scores.ends_text(value, value, form) == f"{text}…{text}"


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["too rare"], "a: not scored, too rare"),
        (["too rare", "too rare"], "a, b: not scored, too rare"),
        (["too rare", "constant"], "a, b: not scored"),
    ],
)
def test_the_reason_of_skipped_detectors_is_shown_if_it_is_that_of_all(reasons, expected):
    skipped = []
    for name, reason in zip("ab", reasons, strict=False):
        skipped.append(Skipped(detector=name, reason=reason))
    assert skipped_line(skipped).plain == expected


BLANK = dict.fromkeys(map(ord, " \n─"))


@pytest.mark.parametrize("name", WIDE_TABLES)
def test_tables_fit_eighty_columns_and_leave_nothing_out(name):
    text = plain(table := WIDE_TABLES[name])
    assert 0 < max(map(cell_len, text.splitlines())) <= 80
    # The same characters stand in a table that has all the room it wants.
    assert Counter(text.translate(BLANK)) == Counter(plain(table, width=1000).translate(BLANK))


WORDS = st.text("ab日é ", max_size=40)


@given(
    rows=st.lists(st.tuples(WORDS, st.integers(0, 10**9), WORDS, st.integers()), max_size=4),
    width=st.integers(30, 120),
)
def test_no_table_is_wider_than_the_terminal_and_no_number_is_cut(rows, width):
    columns = ("name", "first", "words", "second")
    cells = [[f"{cell}" for cell in row] for row in rows]
    table = tables.plain_table(*columns, right=("first", "second"), rows=cells)
    shown = lines(table, width)
    assert max(map(cell_len, shown)) <= width
    words = " ".join(shown).split()
    assert {"name", "first", *(row[1] for row in cells)} <= {*words}

    # The other columns are there, or named below the table.
    _, _, left_out = " ".join(words).partition("A wider terminal also shows: ")
    assert {*columns} == {*shown[1].split(), *left_out.removesuffix(".").split(", ")} - {""}
    if not left_out:
        assert {row[3] for row in cells} <= {*words}


GOOD = replace(QUOTE, untrained=0.6)
"""A score that is significant, and better than that of the untrained baseline."""
FALLING = replace(BRACKETS, p_value=0.005, null_level=0.1)


def test_a_score_that_the_untrained_network_reaches_has_a_mark_and_a_footnote():
    coloured = ColouredText(text="ab", values=(0.0, 1.0))
    for score, mark in (
        (GOOD, ""),
        (replace(QUOTE, auc=0.685, null_level=0.6, ci_low=0.65, untrained=0.723), "~"),
        (replace(QUOTE, untrained=0.98765), "~"),
        (replace(FALLING, untrained=0.8), ""),
        (replace(FALLING, untrained=-0.9), "~"),
        (replace(BRACKETS, untrained=-0.9), "?"),
    ):
        findings = CellFindings(scores=(GOOD, score))
        table = findings_table(findings)
        shown = rows(table)[1][2]
        assert shown.lstrip("AUCρ -0123456789.") == mark, shown
        assert table.rows[1].style == ("dim" if mark else None)
        drawn = plain(Group(*findings_pictures("title", findings)))
        assert ("~: " in drawn, "?: " in drawn) == (mark == "~", mark == "?")
        passage = Passage(score=score, begin=0, coloured=coloured)
        drawn = plain(Group(*passage_pictures([passage])), 200)
        assert ("no better" in drawn, "not significant" in drawn) == (mark == "~", mark == "?")


def test_a_bar_is_as_long_as_the_probability():
    predictions = [Prediction(character="a", probability=p) for p in (1.0, 0.5)]
    [_, _, whole], [_, _, half] = rows(tables.predictions_table(predictions))
    assert len(whole) == 2 * len(half) > 10


def test_a_heading_cannot_move_the_cursor_or_be_markup():
    table = tables.plain_table("[/b][red]name", "a\x1b[2J", right=["a\x1b[2J"])
    table.add_row("x", "1")
    shown = plain(table)
    assert "[/b][red]name" in shown
    assert "a␛[2J" in shown
