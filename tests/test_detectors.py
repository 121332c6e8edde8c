"""What a cell might keep track of, a label under each character: what holds after reading it.

In the tables ¶ stands for a newline and → for a tab. Labels: Q inside, . outside, ? either; counts are digits, a = 10.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import check, label, rows

from charrnn.detectors.detector import MIN_POSITIVES, MIN_SPANS, Detector, Labels, why_not_scored
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.errors import UsageError

EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True)
ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates included
LINES = st.text("ab \t\n", max_size=40)
SOURCE = "import os\nimport sys\n"
PROSE = "She said (quietly): 'it is late'.\nNobody # spoke.\n"
NOT_EVERYWHERE = {
    "string": "this text is not source code",
    "comment": "this text is not source code",
    "bracket-depth": "this text is not source code",
    "if-statement": "this text is not source code",
    "speaker": "this text is not a play",
    "latex-math": "this text is not LaTeX",
    "a-minus-b": "this text is not of that formal language",
    "b-minus-c": "this text is not of that formal language",
    "dyck-depth": "this text is not of that formal language",
    "parity": "this text is not of that formal language",
    "copy-position": "this text is not of that formal language",
}
UNSTATED = Detector("name", "nothing", lambda text: None).absence
"""The reason of a detector that states none."""
FORMAL = ("aabb\nab\n", "aabbcc\n", "(())\n", "11=0\n", "ab=ab\n")
SAMPLES = (SOURCE, PROSE, "ANN:\nIs it lit?\n\n" * 3, "\\begin{document}\n$x$\n" * 3, *FORMAL)
KINDS = {
    name: {labels.dtype for text in SAMPLES if (labels := detector.label(text)) is not None}
    for name, detector in DETECTORS.items()
}
"""The types of the labels of each detector."""


QUOTES = rows("""
from the opening mark to before the closing one
He said "wait" twice.¶
........QQQQQ.........
curly marks
He said “wait” twice.¶
........QQQQQ.........
a curly mark says which way
“One “two” three” four
QQQQQQQQQ.............
either closes the other
“One" two "three” four
QQQQ......QQQQQQ......
an empty quotation
So: "". "a"
....Q...QQ.
over the end of a line
"One¶two" three¶
QQQQQQQQ........
a blank line ends it
"One,¶¶two "three" four
QQQQQ?.....QQQQQQ......
so does a line of blanks
"One,¶ → ¶two "three"¶
QQQQQ????.....QQQQQQ..
a blank line opens none
One.¶¶¶¶Two "three".¶
............QQQQQQ...
apostrophes are none
It's 'so' ‘then’ "isn't it".¶
.................QQQQQQQQQ...
up to the end
He said "wait
........QQQQQ
""")
LINE_POSITIONS = rows("""
each line from its start
lamp¶by the door¶
12340123456789ab0
empty lines
¶¶a¶
0010
a tab is one
→a→¶b
12301
""")
LINE_LENGTHS = rows("""
how many are left
lamp¶door¶
3210432100
a newline sees the next line
a¶by the door¶¶b¶
0ba98765432100100
up to the end
a¶door
043210
""")
INDENTATIONS = {
    "of the whole line, its newline included": (
        "if a:¶    b = 1¶c¶",
        "000000123444444400",
    ),
    "while reading it, so far": (
        "   a b¶ c¶",
        "1233333111",
    ),
    "a tab is one": (
        "→→a¶→ b¶",
        "12221222",
    ),
    "a line of blanks": (
        "  ¶ ¶¶a",
        "1221100",
    ),
    "spaces further on are none": (
        "a  b¶  ",
        "0000012",
    ),
}


@pytest.mark.parametrize(("text", "expected"), QUOTES.values(), ids=QUOTES.keys())
def test_quote(text: str, expected: str) -> None:
    check("quote", text, expected)


@pytest.mark.parametrize(("text", "expected"), LINE_POSITIONS.values(), ids=LINE_POSITIONS.keys())
def test_line_position(text: str, expected: str) -> None:
    check("line-position", text, expected)


@pytest.mark.parametrize(("text", "expected"), LINE_LENGTHS.values(), ids=LINE_LENGTHS.keys())
def test_line_length(text: str, expected: str) -> None:
    check("line-length", text, expected)


@pytest.mark.parametrize(("text", "expected"), INDENTATIONS.values(), ids=INDENTATIONS.keys())
def test_indentation(text: str, expected: str) -> None:
    check("indentation", text, expected)


SOURCES = rows("""
string
f("a", 'b')  # c
..QQ...QQ.......
comment
f("a", 'b')  # c
.............QQQ
bracket-depth
f("a", [b])  # (
0111111221000000
if-statement
if a:¶ f(b)¶c
QQQQQQQQQQQ..
""")


@pytest.mark.parametrize(("name", "text", "expected"), [(name, *row) for name, row in SOURCES.items()])
def test_source_code_has_labels_of_its_own(name: str, text: str, expected: str) -> None:
    check(name, text, expected, header=SOURCE)


@pytest.mark.parametrize("name", NOT_EVERYWHERE)
@pytest.mark.parametrize("text", ["", "\n", PROSE])
def test_what_does_not_apply_to_a_text_has_no_labels_and_says_why(name: str, text: str) -> None:
    detector = DETECTORS[name]
    assert detector.label(text) is None
    assert why_not_scored(None, detector.absence) == NOT_EVERYWHERE[name]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bracket-depth", "a (b [c'] d) e)\n(f", "001112221110000011"),
        ("bracket-depth", "He (says.\n \nShe (", "00011111111000001"),
        ("string", "say 'so'.\n", "0000111000"),
        ("speaker", "Ann:\nyes\n", "111000000"),
        ("latex-math", "it is $x$.\n", "00000011000"),
        ("comment", PROSE.splitlines()[0], "0" * 33),
    ],
)
def test_a_detector_that_is_named_labels_any_kind_of_text(name: str, text: str, expected: str) -> None:
    assert DETECTORS[name].label(text) is None
    (named,) = get_detectors([name])
    labels = named.label(text)
    assert labels is not None
    assert "".join(str(int(label)) for label in labels) == expected


@given(ANY_TEXT)
@EXAMPLES
def test_named_or_not_the_labels_are_the_same_where_there_are_some(text: str) -> None:
    for name, detector in DETECTORS.items():
        (named,) = get_detectors([name])
        labels, default = named.label(text), detector.label(text)
        assert (labels is None) == (default is None and NOT_EVERYWHERE[name] == NOT_EVERYWHERE["parity"])
        assert labels is None or labels.shape == (len(text),)
        assert default is None or np.array_equal(default, labels)


@given(ANY_TEXT, st.sampled_from(["", SOURCE]))
@EXAMPLES
def test_labels_are_as_long_as_their_text(text: str, header: str) -> None:
    for name, detector in DETECTORS.items():
        labels = detector.label(header + text)
        assert labels is not None or detector.absence != UNSTATED, f"{name} returns None and states no reason"
        # Two lines of source before at most sixty characters are more than the share that makes it source.
        assert labels is not None or not header or detector.absence != NOT_EVERYWHERE["string"]
        if labels is not None:
            assert labels.shape == (len(header + text),)
            assert labels.dtype in (bool, np.int64), f"{name} returns {labels.dtype}"
            assert KINDS[name] <= {labels.dtype}, f"{name} returns yes or no for some texts, counts for others"


@given(LINES)
@EXAMPLES
def test_counts_equal_what_counting_gives(text: str) -> None:
    positions, lengths, depths = [], [], []
    for index, character in enumerate(text):
        line_start = text.rfind("\n", 0, index) + 1
        line = text[line_start:].split("\n")[0]
        positions.append(0 if character == "\n" else index - line_start + 1)
        lengths.append(len(text[index + 1 :].split("\n")[0]))
        depths.append(min(len(line) - len(line.lstrip(" \t")), index - line_start + 1))
    assert label("line-position", text).tolist() == positions
    assert label("line-length", text).tolist() == lengths
    assert label("indentation", text).tolist() == depths


def test_detectors_are_found_by_name() -> None:
    assert [detector.name for detector in get_detectors(None)] == list(DETECTORS)
    assert all(name == detector.name and detector.looks_for for name, detector in DETECTORS.items())
    assert [detector.name for detector in get_detectors(["comment", "quote"])] == ["comment", "quote"]
    listed = ", ".join(DETECTORS)
    with pytest.raises(UsageError, match=rf"no detector 'quotes'.* {listed}"):
        get_detectors(["quote", "quotes"])


def spans(*lengths: int, gap: int = 100) -> Labels:
    """Yes/no labels with spans of these lengths, `gap` characters outside before each."""
    return np.concatenate([np.r_[np.zeros(gap, bool), np.ones(length, bool)] for length in lengths])


def counts(num_stretches: int, length: int) -> Labels:
    """Seven, but for so many stretches of this length, which are three."""
    stretch = np.r_[np.full(2000, 7), np.full(length, 3)]
    return np.r_[np.tile(stretch, num_stretches), np.full(2000, 7)]


WHY_NOT: dict[str, tuple[Labels | None, str | None]] = {
    "no source": (None, "it does not apply to this text"),
    "nothing at all": (np.zeros(0, bool), "there are none in this text"),
    "none inside": (np.zeros(5000, bool), "there are none in this text"),
    "enough": (spans(*[MIN_POSITIVES // MIN_SPANS] * MIN_SPANS), None),
    "one character less": (
        spans(*[MIN_POSITIVES // MIN_SPANS] * MIN_SPANS)[:-1],
        "too few: 5 spans, 49 characters inside",
    ),
    "one span less": (spans(*[1000] * (MIN_SPANS - 1)), "too few: 4 spans, 4,000 characters inside"),
    "a span from the first character on": (spans(*[20] * MIN_SPANS)[100:], None),
    "enough outside": (spans(*[1000] * MIN_SPANS, gap=MIN_POSITIVES // MIN_SPANS), None),
    "one character less outside": (
        spans(*[1000] * MIN_SPANS, gap=MIN_POSITIVES // MIN_SPANS)[1:],
        "nearly every character is inside",
    ),
    "counts": (counts(5, 10), None),
    "counts below zero": (-counts(5, 10), None),
    "counts that hardly change": (
        counts(4, 1000),
        "too few: 8 changes, 4,000 characters with another value than most",
    ),
    "counts of which nearly all are one": (
        counts(49, 1),
        "too few: 98 changes, 49 characters with another value than most",
    ),
    "counts that stay": (np.full(5000, 7), "it never changes in this text"),
    "one count": (np.array([3]), "it never changes in this text"),
    "no count": (np.zeros(0, np.int64), "it never changes in this text"),
}


@pytest.mark.parametrize(("labels", "reason"), WHY_NOT.values(), ids=WHY_NOT.keys())
def test_labels_that_cannot_be_scored_say_why(labels: Labels | None, reason: str | None) -> None:
    assert why_not_scored(labels) == reason
