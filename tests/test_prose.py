"""Labels of any text beyond its quotations and lines: words, capitals, numbers, addresses, speakers.

In the tables ¶ stands for a newline. Labels: Q inside, . outside; counts are digits.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import check, label, rows
from test_detectors import SOURCES
from test_formal_languages import TABLES as FORMAL

from charrnn.detectors.registry import DETECTORS

EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True)
MIXED = st.text(st.sampled_from(list("abAB01_.,'’\"“” \t\r\n:-é\u0301\ud800\x00")), max_size=50)
PLAY = "ANN:\nIs it lit?\n\nSecond Miller:\nNo.\n\n" * 3

NEWLINES_NEXT = rows("""
before each newline
lamp¶by¶
...Q..Q.
an empty line
a¶¶¶b
QQQ..
at the end nobody knows
a¶b
Q..
at the start
¶
.
""")
WORD_POSITIONS = {
    "each word from its start": (
        "The lamp, unlit.",
        "1230123400123450",
    ),
    "an apostrophe belongs to its word": (
        "don't ‘so’ dogs' 'a'",
        "12345001230123450012",
    ),
    "only one does": (
        "a''b",
        "1201",
    ),
    "names in source code": (
        "num_lines2=x1",
        "123456789a012",
    ),
    "over the end of a line": (
        "by¶the-door",
        "12012301234",
    ),
    "letters of any script, with their marks": (
        "вода e\u0301te\u0301 हिन्दी",
        "12340123450123456",
    ),
}
CAPITALS = rows("""
from the second on, until the word ends
ROMEO: O MY
.QQQQ.....Q
a capital alone says nothing
Romeo and I. A
..............
a small letter ends it
HTTPServer McDONALD
.QQQQ..............
digits, underscores and apostrophes do not
MAX_2LONG I'M
.QQQQQQQQ...Q
the second capital, not the second character
X_1Y A1B
...Q...Q
capitals of any script
ВОДА Вода
.QQQ.....
""")
NUMBERS = rows("""
all of its digits
In 1812, 3 lamps.
...QQQQ..Q.......
what separates digits
1,234.50 and 10_000.
QQQQQQQQ.....QQQQQQ.
hexadecimal
x=0x1fG 0b
..QQQQ..Q.
with a unit
5kg 1st 20%
Q...Q...QQ.
digits of a name are none
x1 utf8 _3 a1.5
..............Q
""")
URLS = rows("""
from its first character on
see http://a.b/c?d=1#e now
....QQQQQQQQQQQQQQQQQQ....
without the punctuation after it
(https://a.b/c). ftp://d,
.QQQQQQQQQQQQQ...QQQQQQQ.
with brackets of its own
https://a.b/c_(d), e
QQQQQQQQQQQQQQQQQ...
without a scheme
www.a.org or WWW.B.ORG¶
QQQQQQQQQ....QQQQQQQQQ.
up to a mark of quotation or markup
"http://a.b" <https://c>
.QQQQQQQQQQ...QQQQQQQQQ.
nothing but a scheme
http:// a http:a awww.b x@www.c
...............................
""")
SPEAKERS = {
    "the name, up to before its colon": (
        "ANN:¶Is it lit?¶",
        "QQQ.............",
    ),
    "several words": (
        "First Citizen:¶KING RICHARD III:¶",
        "QQQQQQQQQQQQQ..QQQQQQQQQQQQQQQQ..",
    ),
    "on a line of its own": (
        "ANN: lit.¶So: ¶ Bob:¶",
        "..........QQ.........",
    ),
    "not a sentence": (
        "he said:¶They all said it was:¶No, so:¶",
        ".......................................",
    ),
    "before a carriage return": (
        "ANN:\r¶",
        "QQQ...",
    ),
    "at the end of the text": (
        "ANN:",
        "QQQ.",
    ),
    "before the colon nobody is": (
        "ANN¶",
        "....",
    ),
}
TABLES = {
    "newline-next": NEWLINES_NEXT,
    "word-position": WORD_POSITIONS,
    "capital": CAPITALS,
    "digit": NUMBERS,
    "url": URLS,
    "speaker": SPEAKERS,
}
ROWS = [
    pytest.param(name, text, expected, id=f"{name}: {what}")
    for name, table in TABLES.items()
    for what, (text, expected) in table.items()
]


@pytest.mark.parametrize(("name", "text", "expected"), ROWS)
def test_labels_of_any_text(name: str, text: str, expected: str) -> None:
    check(name, text, expected, header=PLAY if name == "speaker" else "")


def test_every_detector_has_rows_in_a_table() -> None:
    """A table that is not in `TABLES` is not used."""
    elsewhere = {"quote", "line-position", "line-length", "indentation", "latex-math", *SOURCES, *FORMAL}
    assert [name for name in DETECTORS if name not in elsewhere and not TABLES.get(name)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Contents:\n\nThe lamp:\n\nIndex:\n",  # headings come once
        PLAY + "The rain came over the hill, and nobody spoke.\n" * 200,  # four in two hundred lines
        "def f():\n    '''Lights it.\n\nArgs:\n    a\n    '''\nReturns:\n" * 9,  # source code
    ],
)
def test_what_is_no_play_has_no_speakers(text: str) -> None:
    assert DETECTORS["speaker"].label(text) is None


@pytest.mark.parametrize("name", ["quote", "line-position", "indentation", "word-position", "capital"])
@given(text=MIXED, cut=st.integers(0, 50))
@EXAMPLES
def test_what_follows_changes_no_label_of_a_causal_detector(name: str, text: str, cut: int) -> None:
    assert label(name, text[:cut]).tolist() == label(name, text)[:cut].tolist()


@pytest.mark.parametrize(("name", "num_unsettled"), [("newline-next", 1), ("digit", 1)])
@given(text=MIXED, cut=st.integers(2, 50))
@EXAMPLES
def test_one_character_more_settles_the_labels_that_look_ahead(
    name: str, num_unsettled: int, text: str, cut: int
) -> None:
    settled = len(text[:cut]) - num_unsettled
    assert label(name, text[:cut])[: max(0, settled)].tolist() == label(name, text)[: max(0, settled)].tolist()


@given(MIXED)
@EXAMPLES
def test_words_and_capitals_equal_what_reading_gives(text: str) -> None:
    position, word, positions, capitals = 0, "", [], []
    for index, character in enumerate(text):
        is_letter = character.isalnum() or character in "_\u0301"
        joins = character in "'’" and index > 0 and (text[index - 1].isalnum() or text[index - 1] in "_\u0301")
        word = word + character if is_letter or joins else ""
        position = len(word)
        positions.append(position)
        capitals.append(sum(map(str.isupper, word)) >= 2 and not any(map(str.islower, word)))
    assert label("word-position", text).tolist() == positions
    assert label("capital", text).tolist() == capitals
