"""What a cell might keep track of, a label under each character: what holds after reading it.

In the tables ¶ stands for a newline and → for a tab. Labels: Q inside, . outside, ? either; counts are digits, a = 10.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.microscope.detectors import (
    DETECTORS,
    MIN_POSITIVES,
    MIN_SPANS,
    Labels,
    get_detectors,
    why_not_scored,
)

EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True)
ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates included
LINES = st.text("ab \t\n", max_size=40)
SOURCE = "import os\nimport sys\n"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def label(name: str, text: str) -> Labels:
    labels = DETECTORS[name].label(text)
    assert labels is not None
    return labels


def check(name: str, text: str, expected: str) -> None:
    assert len(text) == len(expected), "the table is out of step"
    labels = label(name, text.replace("¶", "\n").replace("→", "\t"))
    marks = "".join(".Q"[int(x)] for x in labels) if labels.dtype == bool else "".join(DIGITS[x] for x in labels)
    hidden = "".join("?" if want == "?" else mark for mark, want in zip(marks, expected, strict=True))
    assert hidden == expected, f"\n{text}\n{marks}"


QUOTES = {
    "from the opening mark to before the closing one": (
        '''He said "wait" twice.¶''',
        '''........QQQQQ.........''',
    ),
    "curly marks": (
        '''He said “wait” twice.¶''',
        '''........QQQQQ.........''',
    ),
    "a curly mark says which way": (
        '''“One “two” three” four''',
        '''QQQQQQQQQ.............''',
    ),
    "either closes the other": (
        '''“One" two "three” four''',
        '''QQQQ......QQQQQQ......''',
    ),
    "an empty quotation": (
        '''So: "". "a"''',
        '''....Q...QQ.''',
    ),
    "over the end of a line": (
        '''"One¶two" three¶''',
        '''QQQQQQQQ........''',
    ),
    "a blank line ends it": (
        '''"One,¶¶two "three" four''',
        '''QQQQQ?.....QQQQQQ......''',
    ),
    "so does a line of blanks": (
        '''"One,¶ → ¶two "three"¶''',
        '''QQQQQ????.....QQQQQQ..''',
    ),
    "a blank line opens none": (
        '''One.¶¶¶¶Two "three".¶''',
        '''............QQQQQQ...''',
    ),
    "apostrophes are none": (
        """It's 'so' ‘then’ "isn't it".¶""",
        """.................QQQQQQQQQ...""",
    ),
    "up to the end": (
        '''He said "wait''',
        '''........QQQQQ''',
    ),
}  # fmt: skip
LINE_POSITIONS = {
    "each line from its start": (
        "lamp¶by the door¶",
        "12340123456789ab0",
    ),
    "empty lines": (
        "¶¶a¶",
        "0010",
    ),
    "a tab is one": (
        "→a→¶b",
        "12301",
    ),
}
LINE_LENGTHS = {
    "how many are left": (
        "lamp¶door¶",
        "3210432100",
    ),
    "a newline sees the next line": (
        "a¶by the door¶¶b¶",
        "0ba98765432100100",
    ),
    "up to the end": (
        "a¶door",
        "043210",
    ),
}
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


def test_string_comment_and_bracket_depth_are_read_from_source() -> None:
    text = r"""f("a", 'b')  # c"""
    assert "".join(".Q"[inside] for inside in label("string", SOURCE + text).tolist()) == (
        "." * len(SOURCE) + r"""..QQ...QQ......."""
    )
    assert "".join(".Q"[inside] for inside in label("comment", SOURCE + text).tolist()) == (
        "." * len(SOURCE) + r""".............QQQ"""
    )
    assert label("bracket-depth", SOURCE + text)[len(SOURCE) :].tolist() == [0, *[1] * 9, *[0] * 6]


@pytest.mark.parametrize("name", ["string", "comment", "bracket-depth"])
@pytest.mark.parametrize("text", ["", "\n", "She said (quietly): 'it is late'.\nNobody # spoke.\n"])
def test_a_text_that_is_no_source_has_no_such_labels(name: str, text: str) -> None:
    assert DETECTORS[name].label(text) is None


@given(ANY_TEXT, st.sampled_from(["", SOURCE]))
@EXAMPLES
def test_labels_are_as_long_as_their_text(text: str, header: str) -> None:
    for name, detector in DETECTORS.items():
        labels = detector.label(header + text)
        # Two lines of source before at most sixty characters are more than the share that makes it source.
        assert labels is not None or (name in ("string", "comment", "bracket-depth") and not header)
        if labels is not None:
            assert labels.shape == (len(header + text),)
            assert labels.dtype == (bool if name in ("quote", "string", "comment") else np.int64)


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
    with pytest.raises(UsageError, match=r"no detector 'quotes'.* quote, line-position, line-length, indentation"):
        get_detectors(["quote", "quotes"])


def spans(*lengths: int, gap: int = 100) -> Labels:
    """Yes/no labels with spans of these lengths, `gap` characters outside before each."""
    return np.concatenate([np.r_[np.zeros(gap, bool), np.ones(length, bool)] for length in lengths])


WHY_NOT: dict[str, tuple[Labels | None, str | None]] = {
    "no source": (None, "this text is not source code"),
    "nothing at all": (np.zeros(0, bool), "there are none in this text"),
    "none inside": (np.zeros(5000, bool), "there are none in this text"),
    "enough": (spans(*[MIN_POSITIVES // MIN_SPANS] * MIN_SPANS), None),
    "one character less": (
        spans(*[MIN_POSITIVES // MIN_SPANS] * MIN_SPANS)[:-1],
        "too little to see: 5 spans, 49 characters inside",
    ),
    "one span less": (spans(*[1000] * (MIN_SPANS - 1)), "too little to see: 4 spans, 4000 characters inside"),
    "a span from the first character on": (spans(*[20] * MIN_SPANS)[100:], None),
    "enough outside": (spans(*[1000] * MIN_SPANS, gap=MIN_POSITIVES // MIN_SPANS), None),
    "one character less outside": (
        spans(*[1000] * MIN_SPANS, gap=MIN_POSITIVES // MIN_SPANS)[1:],
        "nearly every character is inside",
    ),
    "counts": (np.array([0, 0, 1]), None),
    "counts below zero": (np.array([-1, 0]), None),
    "counts that stay": (np.full(5000, 7), "it never changes in this text"),
    "one count": (np.array([3]), "it never changes in this text"),
    "no count": (np.zeros(0, np.int64), "it never changes in this text"),
}


@pytest.mark.parametrize(("labels", "reason"), WHY_NOT.values(), ids=WHY_NOT.keys())
def test_labels_that_cannot_be_scored_say_why(labels: Labels | None, reason: str | None) -> None:
    assert why_not_scored(labels) == reason


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_quotation_lasts_until_the_blank_line_has_been_read(newline: str) -> None:
    text = f'"open{newline}{newline}after'
    labels = DETECTORS["quote"].label(text)
    assert labels is not None
    end = text.rindex("\n")
    assert labels[:end].all() and not labels[end:].any()
