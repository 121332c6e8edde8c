"""The sentence that says why a character is predicted: the numbers of one place in plain English."""

import pytest

from charrnn.analyses.why.one_place import COLUMNS
from charrnn.analyses.why.sentences import (
    Carrier,
    LeftOut,
    a_character,
    explain,
    percentage,
    the_character,
)


def carried(share, name="0:97", **changes):
    fields = {"layer": 0, "entry": 97, "is_unit": True, "term": share, "share": share}
    return Carrier(name=name, **{**fields, **changes})


def without(character, distance, *, effect, probability, carriers=None, logit=None):
    return LeftOut(
        character=character,
        distance=distance,
        effect=effect,
        probability=probability,
        logit_change=effect if logit is None else logit,
        carriers=carriers or (carried(0.68),),
    )


QUOTE = without('"', 46, effect=1.86, probability=0.048, carriers=(carried(0.68, follows="quote"),))
STOP = without(".", 1, effect=3.0, probability=0.015)


@pytest.mark.parametrize(
    "left_out, sentence",
    [
        (
            [QUOTE, STOP],
            "'\"' has a chance of 31%, above all because of the '\"' 46 characters before: without"
            " it the chance would be 4.8%. Cell 0:97, which follows quote, carries 68% of this"
            " difference.",
        ),
        (
            [STOP, QUOTE],
            "'\"' has a chance of 31%, above all because of the '.' right before it: without it the"
            " chance would be 1.5%. Further back, the '\"' 46 characters before counts most:"
            " without it the chance would be 4.8%. Cell 0:97, which follows quote, carries 68% of"
            " this difference.",
        ),
        (
            [without("\n", 12, effect=-0.5, probability=0.5)],
            "'\"' has a chance of 31% in spite of the newline 12 characters before: without it the"
            " chance would be 50%. Cell 0:97 carries 68% of this difference.",
        ),
        (
            [STOP, without(" ", 7, effect=-0.5, probability=0.5)],
            "'\"' has a chance of 31%, above all because of the '.' right before it: without it the"
            " chance would be 1.5%. Further back, the space 7 characters before counts most, and"
            " against it: without it the chance would be 50%. Cell 0:97 carries 68% of this"
            " difference.",
        ),
        (
            [without("e", 2, effect=0.05, probability=0.29)],
            "'\"' has a chance of 31% for many small reasons: even without the 'e' 2 characters"
            " before, which counts most, it would have 29%.",
        ),
        # A character further back that changes little is not told of.
        (
            [STOP, without("e", 9, effect=0.05, probability=0.29)],
            "'\"' has a chance of 31%, above all because of the '.' right before it: without it the"
            " chance would be 1.5%. Cell 0:97 carries 68% of this difference.",
        ),
    ],
)
def test_a_sentence_is_made_of_the_numbers_of_the_place(left_out, sentence):
    assert explain('"', 0.31, tuple(left_out)) == sentence


@pytest.mark.parametrize(
    "changes, end",
    [
        ({"carriers": (carried(1.3),)}, "Cell 0:97 carries more than this difference, 130% of it,"),
        (
            {"carriers": (carried(-0.3, "0:1"), carried(0.2))},
            "Many share this difference: cell 0:97 carries most, 20%.",
        ),
        ({"carriers": (carried(-0.3), carried(-0.2))}, "Many cells share this difference."),
        ({"carriers": (carried(None),)}, "Many cells share this difference."),
        (
            {"carriers": (carried(0.6, "entry 97", is_unit=False),)},
            "Entry 97 of the vector that the output layer reads carries 60% of this difference.",
        ),
        ({"logit": 0.5}, "This is mostly because other characters become likelier without it."),
        (
            {"effect": -2.0, "logit": 0.5},
            "This is mostly because other characters become less likely without it.",
        ),
    ],
)
def test_what_carries_a_difference_is_said_as_it_is(changes, end):
    place = {"effect": 2.0, "probability": 0.05, **changes}
    assert end in explain("e", 0.31, (without("x", 9, **place),))


@pytest.mark.parametrize(
    "character, expected, read",
    [
        ("e", "'e'", "the 'e'"),
        ("'", '"\'"', 'the "\'"'),
        (" ", "a space", "the space"),
        ("\n", "a newline", "the newline"),
        ("\t", "a tab", "the tab"),
        ("\0", "the end of the document", "the end of the document"),
        ("", "an unknown character", "the unknown character"),
        ("\\\\xe9", "a byte \\\\xe9", "the byte \\\\xe9"),
        ("\u00a0", "a no-break space", "the no-break space"),
        ("\u200b", "'<200b>'", "the '<200b>'"),
    ],
)
def test_characters_that_nobody_sees_are_named_in_words(character, expected, read):
    assert (a_character(character), the_character(character)) == (expected, read)


def test_bytes_are_counted_as_bytes():
    assert "9 bytes before" in explain(
        "e", 0.3, (without("x", 9, effect=1, probability=0.1),), "byte"
    )


@pytest.mark.parametrize(
    "share, text",
    [
        (0.31, "31%"),
        (0.1, "10%"),
        (0.048, "4.8%"),
        (0.0034, "0.34%"),
        (0.00001, "less than 0.01%"),
        (0.996, "99.6%"),
        (0.99999, "more than 99.9%"),
        (0.985, "98%"),
    ],
)
def test_a_chance_is_a_percentage_that_is_never_0_or_100(share, text):
    assert percentage(share) == text


def test_the_table_names_no_carriers_where_the_logit_hardly_changes():
    """Shares of a difference near 0 are those of terms that cancel out."""
    small = without("m", 7, effect=-0.034, probability=0.89, carriers=(carried(-10.04),))
    assert COLUMNS["carried by"](small) == "–"
    assert COLUMNS["carried by"](QUOTE) == "0:97 (follows quote) 68%"
