"""Strings, comments, brackets and if-statements of source code, a label under each character.

In the tables ¶ is a newline, → a tab. Labels: S string, C comment, . code, ? either; I inside an if-statement.
"""

import re
import tokenize

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from labelled import rows

from charrnn.detectors.source import Region, SourceLabels, looks_like_source, scan_source

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
}  # fmt: skip
C_REGIONS = rows(r"""
a comment up to its newline
int a; // don't "stop"¶int b;¶
.......CCCCCCCCCCCCCCC........
a comment over lines
/* one¶ "two */ int c;¶
CCCCCCCCCCCCCC?........
a comment is not closed by its own star
/*/ in */ out;¶
CCCCCCCC?......
an open comment goes on to the end
a /* open¶ " {
..CCCCCCCCCCCC
characters
char c = '"', d = '\'', e = '\\';¶
.........SS.......SSS.......SSS...
no comment in a string
page = "docs//a/*b*/"; // here¶
.......SSSSSSSSSSSSS...CCCCCCC.
a hash is code
#include "a.h"¶
.........SSSS..
an open string ends at its line
a = "open // ¶b = 'c';¶
....SSSSSSSSS.....SS...
""")
PYTHON_DEPTHS = rows("""
inside after the opening one, outside after the closing one
f(b[1], {2})¶
0112211122100
strings and comments open nothing
f('(', "[")  # {¶x
011111111100000000
never below zero
) ]¶(x)
0000110
any closes any
([x)}¶
122100
""")


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


PYTHON_IFS = rows(r'''
from the keyword to the end of the body
if a:¶  b = 1¶c
IIIIIIIIIIIII..
elif too, else not
if a:¶ b¶elif c:¶ d¶else:¶ e¶
IIIIIIII.IIIIIIIIII..........
on one line
if a: b¶c¶
IIIIIII...
an inner one and what follows it in the body
if a:¶ if b:¶  c¶ else:¶  d¶ e¶f
IIIIIIIIIIIIIIIIIIIIIIIIIIIIII..
in an else, deeper
if a:¶ b¶else:¶ if c:¶  d¶ e¶
IIIIIIII........IIIIIIIII....
expressions are none
a = b if c else d¶e = [f for g in h if i]¶iffy = 1¶
...................................................
a condition over lines
if (a¶and b):¶  c¶d
IIIIIIIIIIIIIIIII..
carried on by a backslash
if a \¶and b:¶  c¶d
IIIIIIIIIIIIIIIII..
a comment carries nothing on
if a: b # \¶c¶
IIIIIIIIIII...
blank lines and comments end no body
if a:¶ b¶¶# c¶ d¶¶# e¶f
IIIIIIIIIIIIIIII.......
nor do lines of a string
if a:¶ b = """¶c¶if"""¶ d¶e
IIIIIIIIIIIIIIIIIIIIIIIII..
none in a string or a comment
"""¶if a:¶ b"""¶# if c: d¶
..........................
a tab is as deep as eight spaces
    if a:¶→b¶c
....IIIIIIII..
up to the end
if a:¶  b
IIIIIIIII
''')
C_IFS = rows("""
up to before the brace that ends it
if (a) { b; c; } d;
IIIIIIIIIIIIIII....
up to before its semicolon
if (a) b; c;
IIIIIIII....
else is none, else if is one
if (a) {b;} else if (c) d; else e;
IIIIIIIIII.......IIIIIIII.........
an inner one
if (a) { if (b) { c; } d; } e;
IIIIIIIIIIIIIIIIIIIIIIIIII....
semicolons in brackets end none
if (a) for (b; c; d) { e; } f;
IIIIIIIIIIIIIIIIIIIIIIIIII....
strings and comments hold neither
if (a == ';') /* } */ b("};"); c; // if (d)¶
IIIIIIIIIIIIIIIIIIIIIIIIIIIII...............
directives and names are none
#if A¶# ifdef B¶iffy(1); x.if_a = 2;¶
.....................................
the block around it closes it
{ if (a) } b;
..IIIIIII....
a block that was cut off
} } if (a) b; }
....IIIIIIII...
without round brackets
if a > 0 { b; } c;
IIIIIIIIIIIIII....
up to the end
if (a
IIIII
""")


def check_ifs(text: str, expected: str, header: str) -> None:
    assert len(text) == len(expected), "the table is out of step"
    inside = scan_source(header + text.replace("¶", "\n").replace("→", "\t")).in_if[len(header) :]
    marks = "".join(".I"[flag] for flag in inside.tolist())
    assert marks == expected, f"\n{text}\n{marks}"


@pytest.mark.parametrize(("text", "expected"), PYTHON_IFS.values(), ids=PYTHON_IFS.keys())
def test_if_statements_of_python(text: str, expected: str) -> None:
    check_ifs(text, expected, PYTHON)


@pytest.mark.parametrize(("text", "expected"), PYTHON_IFS.values(), ids=PYTHON_IFS.keys())
def test_if_statements_of_python_that_does_not_parse(text: str, expected: str) -> None:
    check_ifs(text, expected, PYTHON + "$ = ?\n")


@pytest.mark.parametrize(("text", "expected"), C_IFS.values(), ids=C_IFS.keys())
def test_if_statements_of_c(text: str, expected: str) -> None:
    check_ifs(text, expected, C)


LAMPS_PYTHON = (
    '''"""Lamps that
don't go out."""

import os


class Lamp:
    """A lamp. It's "lit" (or not."""

    def light(self, oil, *, wick="long"):
        """Light it.

        Nobody's lamp is lit twice; don't try.
        """
        if self.lit and oil[0] in {"seed": 1, 'whale': [2, 3]}:
            return None  # it's lit (already
        elif not oil:
            raise ValueError(
                f"no oil in {self!r}",
                'say "when"',
            )
        else:
            self.lit = True
        # if it burns
        return self


def main():
    text = '''
    + "'''"
    + """a "quoted
    text that isn't code: (" """
    + "'''"
    + """
    for lamp in [Lamp(), Lamp()]:
        if lamp.light(text): print("#", lamp)
    return os.path.join(r"\\d", b"x")


"""
)
LAMPS_C = r"""/* Lamps that
 * don't go out. { "
 */
#include "lamp.h"
#if LIT

static int light(struct lamp *lamp, char c)
{
    if (lamp->lit && c == '"') {
        return 0; // it's lit {
    } else if (c == '\'') {
        for (int i = 0; i < 3; i++)
            lamp->oil[i] = (c + 1) * 2;
    }
    /* nobody's "lamp
       if (it) burns; */
    puts("a \"lamp\" /* lit");
    return 1;
}

int x = 3;
"""


def settled_line(text: str, cut: int) -> int:
    """The first line after `cut` that begins a definition at the margin.

    What a text was cut out of (brackets, an if-statement, a docstring) is not there to be read: only a line that
    stands in none of it settles the matter.
    """
    found = re.compile("(?m)^(?:import|class|def|static|int) ").search(text, cut + 1)
    assert found is not None
    return found.start()


def is_cut_in_c_line(labels: SourceLabels, text: str, cut: int) -> bool:
    """Whether a string or a `//` comment of C is cut in two: its rest reads as code, and may open what never closes."""
    is_block = text.rfind("/*", 0, cut) > text.rfind("*/", 0, cut)
    return cut > 0 and labels.regions[cut - 1] != Region.CODE and not is_block


@pytest.mark.parametrize("text", [LAMPS_PYTHON, LAMPS_C], ids=["python", "c"])
@given(data=st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_text_cut_anywhere_has_the_labels_of_the_whole(text: str, data: st.DataObject) -> None:
    """From the first settled line to the last line but one: the end is not told what follows."""
    text *= 4
    begin = data.draw(st.integers(0, len(text) // 2))
    end = data.draw(st.integers(len(text) * 3 // 4, len(text)))
    whole, cut = scan_source(text), scan_source(text[begin:end])
    assume("static" not in text or not is_cut_in_c_line(whole, text, begin))
    first, last = settled_line(text, begin), text.rindex("\n", 0, end)
    assert last - first > 100
    for name in ("regions", "depths", "in_if"):
        expected, found = getattr(whole, name)[first:last], getattr(cut, name)[first - begin : last - begin]
        assert found.tolist() == expected.tolist(), (name, text[first:last][int((found != expected).argmax()) :][:60])


def test_a_definition_at_the_margin_closes_brackets_left_open_in_python() -> None:
    found = scan_source(PYTHON + "x = (1\n    def a():\n    b]\ndef c(d):\n")
    assert found.depths[-len("    b]\ndef c(d):\n") :].tolist() == [*[1] * 5, 0, 0, *[0] * 5, 1, 1, 0, 0, 0]


def test_the_scanner_of_marks_reads_python_as_the_tokenizer_does() -> None:
    parsed = scan_source(LAMPS_PYTHON * 3)
    # A line that is refused, right at the start, leaves everything to the scanner of marks.
    refused = "$ = ?\n"
    with pytest.raises((tokenize.TokenError, SyntaxError)):
        compile(refused, "", "exec")
    scanned = scan_source(refused + LAMPS_PYTHON * 3)
    for name in ("regions", "depths", "in_if"):
        assert getattr(scanned, name)[len(refused) :].tolist() == getattr(parsed, name).tolist()


@pytest.mark.parametrize("marks", ['"""', "'''"])
def test_a_text_that_starts_inside_a_docstring_is_read_from_its_end(marks: str) -> None:
    code = f"def a():\n    {marks}Light (it).{marks}\n    return 1\n\n\ndef b(c='d'):\n    return 2\n"
    text = f"of a lamp, isn't it: (\n{marks}\n" + code
    found = scan_source(text)
    begin = text.index(code)
    assert (found.regions[: begin - 2] == Region.STRING).all()
    assert found.regions[begin:].tolist() == scan_source(code).regions.tolist()
    assert found.depths[begin:].tolist() == scan_source(code).depths.tolist()


def test_a_text_that_starts_inside_a_comment_of_c_is_read_from_its_end() -> None:
    comment = " * don't \"stop\n *"
    found = scan_source(comment + "/\n" + C)
    assert found.regions.tolist() == [Region.COMMENT] * len(comment) + [Region.CODE] * (2 + len(C))


@pytest.mark.parametrize(
    "text",
    [
        "And yet she came;\nNot late;\nThe lamp was lit, the table laid;\nNo more of that;\n" * 5,
        "\\begin{document}\n\\section{Lamps}\n\\end{document}\n" * 3,
    ],
)
def test_verse_and_latex_are_no_source(text: str) -> None:
    assert not looks_like_source(text)
