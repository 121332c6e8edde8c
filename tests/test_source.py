"""Strings, comments and brackets of source code, a label under each character.

In the tables ¶ stands for a newline. Labels: S string, C comment, . code, ? either.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.microscope.source import Region, looks_like_source, scan_source

EXAMPLES = settings(max_examples=100, deadline=None, derandomize=True)
PYTHON = "import os\nimport sys\n" * 3
C = "int a;\nint b;\n" * 3
PIECES = ["'", '"', "'''", '"""', "\\", "#", "//", "/*", "*/", "(", ")", "[", "]", "{", "}", "\n", "x", ";", "\ud800"]


def regions_of(text: str, header: str) -> str:
    """The labels of `text` where it follows `header`, which tells what language it is."""
    regions = scan_source(header + text).regions[len(header) :]
    return "".join({Region.STRING: "S", Region.COMMENT: "C", Region.CODE: "."}[Region(region)] for region in regions)


def check(text: str, labels: str, header: str) -> None:
    assert len(text) == len(labels), "the table is out of step"
    found = regions_of(text.replace("¶", "\n"), header)
    hidden = "".join("?" if label == "?" else mark for mark, label in zip(found, labels, strict=True))
    assert hidden == labels, f"\n{text}\n{found}"


PYTHON_REGIONS = {
    "either mark": (
        r'''lamp = 'lit' + "low"¶''',
        r'''.......SSSS....SSSS..''',
    ),
    "the other mark inside": (
        r'''a = "it's" + 'say "so"'¶''',
        r'''....SSSSS....SSSSSSSSS..''',
    ),
    "an empty string": (
        r'''a = "" + ''¶''',
        r'''....S....S..''',
    ),
    "a prefix is code": (
        r'''a = f"{b}" + rb'c'¶''',
        r'''.....SSSS......SS..''',
    ),
    "a comment up to its newline": (
        r'''a = 1  # one 'lamp¶b = 2¶''',
        r'''.......CCCCCCCCCCC.......''',
    ),
    "no comment in a string": (
        r'''a = 'no # here'  # but 'here'¶''',
        r'''....SSSSSSSSSS...CCCCCCCCCCCC.''',
    ),
    "escapes": (
        r'''a = 'don\'t' + "\\" + "\"" ¶''',
        r'''....SSSSSSS....SSS....SSS...''',
    ),
    "an open string ends at its line": (
        r'''a = 'open # ¶b = 'shut'¶''',
        r'''....SSSSSSSS.....SSSSS..''',
    ),
    "a backslash carries it on": (
        r'''a = 'one\¶two'¶b = 1¶''',
        r'''....SSSSSSSSS........''',
    ),
    "three marks over lines": (
        r'''"""One "lamp"¶# lit¶""" # out¶''',
        r'''SSSSSSSSSSSSSSSSSSSSSS..CCCCC.''',
    ),
    "three single marks": (
        r"""a = '''it's ''lit'' '''¶""",
        r"""....SSSSSSSSSSSSSSSSSS..""",
    ),
    "three marks, one escaped": (
        r'''a = """a \""" b"""¶b''',
        r'''....SSSSSSSSSSSSS...''',
    ),
    "three marks at once and again": (
        r'''a = """""" + "b"¶''',
        r'''....SSSSS....SS..''',
    ),
    "three open marks go on to the end": (
        r'''a = """one¶two # 'x'¶''',
        r'''....SSSSSSSSSSSSSSSSS''',
    ),
    "no comment of another language": (
        r'''a = 7 // 2 /* 'b' */¶''',
        r'''..............SS.....''',
    ),
    "nothing": ("", ""),
}  # fmt: skip
C_REGIONS = {
    "a comment up to its newline": (
        r'''int a; // don't "stop"¶int b;¶''',
        r'''.......CCCCCCCCCCCCCCC........''',
    ),
    "a comment over lines": (
        r'''/* one¶ "two */ int c;¶''',
        r'''CCCCCCCCCCCCCC?........''',
    ),
    "a comment is not closed by its own star": (
        r'''/*/ in */ out;¶''',
        r'''CCCCCCCC?......''',
    ),
    "an open comment goes on to the end": (
        r'''a /* open¶ " {''',
        r'''..CCCCCCCCCCCC''',
    ),
    "characters": (
        r"""char c = '"', d = '\'', e = '\\';¶""",
        r""".........SS.......SSS.......SSS...""",
    ),
    "no comment in a string": (
        r'''page = "docs//a/*b*/"; // here¶''',
        r'''.......SSSSSSSSSSSSS...CCCCCCC.''',
    ),
    "a hash is code": (
        r'''#include "a.h"¶''',
        r'''.........SSSS..''',
    ),
    "an open string ends at its line": (
        r'''a = "open // ¶b = 'c';¶''',
        r'''....SSSSSSSSS.....SS...''',
    ),
}  # fmt: skip
PYTHON_DEPTHS = {
    "inside after the opening one, outside after the closing one": (
        r'''f(b[1], {2})¶''',
        r'''0112211122100''',
    ),
    "strings and comments open nothing": (
        r'''f('(', "[")  # {¶x''',
        r'''011111111100000000''',
    ),
    "never below zero": (
        r''') ]¶(x)''',
        r'''0000110''',
    ),
    "any closes any": (
        r'''([x)}¶''',
        r'''122100''',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "labels"), PYTHON_REGIONS.values(), ids=PYTHON_REGIONS.keys())
def test_strings_and_comments_of_python(text: str, labels: str) -> None:
    check(text, labels, PYTHON)


@pytest.mark.parametrize(("text", "labels"), C_REGIONS.values(), ids=C_REGIONS.keys())
def test_strings_and_comments_of_c(text: str, labels: str) -> None:
    check(text, labels, C)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (r'''a = "b\"¶c = 1¶''', r'''....SSSS.......'''),
        (r'''a = "b\'s \"''', r'''....SSSSSSSS'''),
        (r'''a = """b\"""''', r'''....SSSSSSSS'''),
    ],
)  # fmt: skip
def test_an_open_string_that_ends_in_an_escaped_mark_is_open_to_its_end(text: str, labels: str) -> None:
    check(text, labels, PYTHON)


@pytest.mark.parametrize(("text", "depths"), PYTHON_DEPTHS.values(), ids=PYTHON_DEPTHS.keys())
def test_open_brackets(text: str, depths: str) -> None:
    found = scan_source(PYTHON + text.replace("¶", "\n")).depths[len(PYTHON) :]
    assert "".join(map(str, found)) == depths


@given(st.sampled_from([PYTHON, C, ""]), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@EXAMPLES
def test_whatever_the_code_each_character_has_a_label_and_no_bracket_closes_twice(header: str, text: str) -> None:
    labels = scan_source(header + text)
    assert labels.regions.shape == labels.depths.shape == (len(header + text),)
    assert set(labels.regions.tolist()) <= set(Region)
    assert labels.depths.min(initial=0) >= 0
    # A depth moves where a bracket of the code stands, by one, and nowhere else.
    before = 0
    for character, region, depth in zip(header + text, labels.regions, labels.depths, strict=True):
        is_bracket = region == Region.CODE and character in "()[]{}"
        expected = before if not is_bracket else before + 1 if character in "([{" else max(0, before - 1)
        assert depth == expected
        before = depth


PROSE = "The lamp was lit before supper, and nobody spoke.\nThen the rain came; it was late.\n"


@pytest.mark.parametrize("text", ["", "\n\n", PROSE, PROSE * 20 + "import os\n", "\ud800"])
def test_prose_is_no_source(text: str) -> None:
    assert not looks_like_source(text)


@pytest.mark.parametrize(
    "text",
    [
        PYTHON,
        "class Lamp:\n    def light(self):\n        self.lit = True\n        return self\n",
        "for lamp in lamps:\n    count = count + 1\n    show(count)\n",
        C,
        "/*\n * Lights the lamp.\n */\nvoid light(struct lamp *lamp)\n{\n    lamp->lit = 1; // at last\n}\n",
        "#include <lamp.h>\n#define LIT 1\n",
        PROSE * 4 + PYTHON,  # eight lines of prose, six of code
        "import os\n" + "  \n" * 50,  # blank lines are no prose
    ],
)
def test_code_of_either_family_is_source(text: str) -> None:
    assert looks_like_source(text)
