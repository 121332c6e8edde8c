"""Strings, comments, brackets and if-statements of source code, a label under each character.

In the tables ¶ is a newline, → a tab. Labels: S string, C comment, . code, ? either; I inside an
if-statement.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import characters, check_marks, rows

from charrnn.detectors.source import Region, has_strings, looks_like_source, scan_source

PYTHON = "import os\nimport sys\n" * 3
C = "int a;\nint b;\n" * 3
PYTHON_REGIONS = (
    r'''
lamp = 'lit' + "low"¶
.......SSSS....SSSS..  either mark
a = "it's" + 'say "so"'¶
....SSSSS....SSSSSSSSS..  the other mark inside
a = f"{b}" + rb'c'¶
.....SSSS......SS..  a prefix is code
a = 1  # one 'lamp¶b = 2¶
.......CCCCCCCCCCC.......  a comment up to its newline
a = 'no # here'  # but 'here'¶
....SSSSSSSSSS...CCCCCCCCCCCC.  no comment in a string
a = 'don\'t' + "\\" + "\"" ¶
....SSSSSSS....SSS....SSS...  escapes
a = 'open # ¶b = 'shut'¶
....SSSSSSSS.....SSSSS..  an open string ends at its line
a = 'one\¶two'¶b = 1¶
....SSSSSSSSS........  a backslash carries it on
"""One "lamp"¶# lit¶""" # out¶
SSSSSSSSSSSSSSSSSSSSSS..CCCCC.  three marks over lines
a = """""" + "b"¶
....SSSSS....SS..  three marks at once and again
a = """one¶two # 'x'¶
....SSSSSSSSSSSSSSSSS  three open marks go on to the end
a = 7 // 2 /* 'b' */¶
..............SS.....  no comment of another language
a = """b\"""
....SSSSSSSS  three marks, the first escaped
'''
    r"""a = '''it's ''lit'' '''¶
....SSSSSSSSSSSSSSSSSS..  three single marks
"""
)
C_REGIONS = r"""
int a; // don't "stop"¶int b;¶
.......CCCCCCCCCCCCCCC........  a comment up to its newline
/*/¶ "in */ out;¶
CCCCCCCCCC?......  a comment over lines is not closed by its own star
a /* open¶ " {
..CCCCCCCCCCCC  an open comment goes on to the end
char c = '"', d = '\'', e = '\\';¶
.........SS.......SSS.......SSS...  characters
page = "docs//a/*b*/"; // here¶
.......SSSSSSSSSSSSS...CCCCCCC.  no comment in a string
#include "a.h"¶
.........SSSS..  a hash is code
a = b(/c*/, 'd'); // e¶
............SS....CCCC.  a star before a slash need not end a comment
a = "open // ¶b = 'c';¶
....SSSSSSSSS.....SS...  an open string ends at its line
a.b(/["']/g, "");¶
.............S....  a regular expression of JavaScript is none
a = /'/; b => /[/"]/.c("d")¶
.......................SS...  wherever one can stand
case /'/: return typeof /"/;¶
.............................  after a word that takes a value
a(`it's ${b("c")} (`); `d ${e ? `f "${g}` : 'h'} i`;¶
..SSSSSSSSSSSSSSSSS....SSSSSSSSSSSSSSSSSSSSSSSSSSS...  a template is a string, with its braces
a = 1'000'000; b = R"x(c " ( )" )x"; d("e");¶
...................SSSSSSSSSSSSSSS.....SS....  no mark separates digits, and raw strings hold marks
¶  /\/"/.a('b');¶  return /'/; c / 2 / "d";¶
...........SS..........................SS...  division is none
"""
C_DEPTHS = r"""
f(/["'(]/g); {¶
011111111100011  a regular expression of JavaScript opens nothing
{ f(a, "b¶} c
1112222222000  a brace closes what was left open
"""
RUST_REGIONS = r"""
fn a<'b>(c: &'b str, d: &'b str) -> char { '"' }¶
...........................................SS....  lifetimes are none
'a: loop { break 'a; } "it's" '\'' '\u{1F600}'¶
.......................SSSSS..SSS..SSSSSSSSSS..  characters and strings are
a(r#"b " ( "#, r"\", 'c');¶
..SSSSSSSSSS...SSS...SS....  and so are raw strings
"""
PYTHON_DEPTHS = r"""
f(b[1], {2})¶
0112211122100  inside after the opening one, outside after the closing one
f('(', "[")  # {¶x
011111111100000000  strings and comments open nothing
) ]¶(x)
0000110  never below zero
([x)}¶
122000  a closing one closes what is open inside
{(x}{)]}
12201110  a brace closes all others, and no other closes a brace
f(a,¶ return b¶)
0111100000000000  no statement is inside
"""
PYTHON_IFS = r'''
if a:¶ b¶elif c:¶ d¶else:¶ e¶
IIIIIIII.IIIIIIIIII..........  elif too, else not
if a: b¶c¶
IIIIIII...  on one line
if a:¶ if b:¶  c¶ else:¶  d¶ e¶f
IIIIIIIIIIIIIIIIIIIIIIIIIIIIII..  an inner one and what follows it in the body
if a:¶ b¶else:¶ if c:¶  d¶ e¶
IIIIIIII........IIIIIIIII....  in an else, deeper
a = b if c else d¶e = [f for g in h if i]¶iffy = 1¶
...................................................  expressions are none
if (a¶and b):¶  c¶d
IIIIIIIIIIIIIIIII..  a condition over lines
if a \¶and b:¶  c¶d
IIIIIIIIIIIIIIIII..  carried on by a backslash
if a: b # \¶c¶
IIIIIIIIIII...  a comment carries nothing on
if a:¶ b¶¶# c¶ d¶¶# e¶f
IIIIIIIIIIIIIIII.......  blank lines and comments end no body
if a:¶ b = """¶c¶if"""¶ d¶e
IIIIIIIIIIIIIIIIIIIIIIIII..  nor do lines of a string
if a:¶  b
IIIIIIIII  up to the end
"""¶if a:¶ b"""¶# if c: d¶
..........................  none in a string or a comment
    if a:¶→b¶c
....IIIIIIII..  a tab is as deep as eight spaces
'''
C_IFS = r"""
if (a) b; c;
IIIIIIII....  up to before its semicolon
if (a) {b;} else if (c) d; else e;
IIIIIIIIII.......IIIIIIII.........  else is none, else if is one
if (a) { if (b) { c; } d; } e;
IIIIIIIIIIIIIIIIIIIIIIIIII....  an inner one
if (a) for (b; c; d) { e; } f;
IIIIIIIIIIIIIIIIIIIIIIIIII....  semicolons in brackets end none
if (a == ';') /* } */ b("};"); c; // if (d)¶
IIIIIIIIIIIIIIIIIIIIIIIIIIIII...............  strings and comments hold neither
#if A¶# ifdef B¶iffy(1); x.if_a = 2;¶
.....................................  directives and names are none
if (a
IIIII  up to the end
{ if (a) } b;
..IIIIIII....  the block around it closes it
} } if (a) b; }
....IIIIIIII...  a block that was cut off
if a > 0 { b; } c;
IIIIIIIIIIIIII....  without round brackets
"""


ROWS = [
    pytest.param(attribute, symbols, header, *row, id=f"{attribute} of {language}: {what}")
    for attribute, symbols, language, header, table in (
        ("regions", ".SC", "Python", PYTHON, PYTHON_REGIONS),
        ("regions", ".SC", "C", C, C_REGIONS),
        ("regions", ".SC", "Rust", C + "fn a(b: c) {\n}\n", RUST_REGIONS),
        ("depths", "0123456789", "Python", PYTHON, PYTHON_DEPTHS),
        ("depths", "0123456789", "C", C, C_DEPTHS),
        ("in_if", ".I", "Python", PYTHON, PYTHON_IFS),
        ("in_if", ".I", "Python that does not parse", PYTHON + "$ = ?\n", PYTHON_IFS),
        ("in_if", ".I", "C", C, C_IFS),
    )
    for what, row in rows(table).items()
]


@pytest.mark.parametrize("attribute, symbols, header, text, expected", ROWS)
def test_labels(attribute, symbols, header, text, expected):
    check_marks(text, getattr(scan_source(header + characters(text)), attribute), expected, symbols)


PROSE = "The lamp was lit before supper, and nobody spoke.\nThen the rain came; it was late.\n"


@pytest.mark.parametrize(
    "text, is_source",
    [
        ("", False),
        ("\ud800\n\n", False),
        (PROSE, False),
        (PROSE * 20 + "import os\n", False),
        (
            "And yet she came;\nNot late;\nThe lamp was lit, the table laid;\nNo more of that;\n"
            * 5,
            False,
        ),
        ("\\begin{document}\n\\section{Lamps}\n\\end{document}\n" * 3, False),
        ("class Lamp:\n    def light(self):\n        self.lit = True\n        return self\n", True),
        (
            (
                "/*\n * Lights the lamp.\n */\nvoid light(struct lamp *lamp)\n{\n    lamp->lit = 1;"
                " // at last\n}\n"
            ),
            True,
        ),
        ("#include <lamp.h>\n#define LIT 1\n", True),
        (PROSE * 4 + PYTHON, True),  # eight lines of prose, six of code
        ("* Lamps\n* **Rain**\n" * 9, False),
        ("import os\n" + "  \n" * 50, True),  # blank lines are no prose
    ],
)
def test_code_of_either_family_is_source_and_prose_verse_and_latex_are_not(text, is_source):
    assert looks_like_source(text) == is_source


def test_json_has_strings_and_a_table_of_quoted_values_has_none():
    assert has_strings('["Ann", 12],\n' * 20)
    assert not has_strings('"Ann", 12\n' * 20)
    assert not has_strings("[12, 13],\n" * 20)


LAMPS_PYTHON = '''"""Lamps that
don't go out."""


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
    text = @@@a "quoted
    text that isn't code: (" @@@
    for lamp in [Lamp(), Lamp()]:
        if lamp.light(text): print("#", lamp)
    return os.path.join(r"\\d", b"x")


'''.replace("@@@", "'" * 3)


@given(data=st.data())
def test_a_text_cut_anywhere_has_the_labels_of_the_whole(data):
    """From the first definition at the margin, outside brackets, ifs and docstrings, to the last
    line but one."""
    text = LAMPS_PYTHON * 4
    begin = data.draw(st.integers(0, len(text) // 2))
    end = data.draw(st.integers(len(text) * 3 // 4, len(text)))
    whole, cut = scan_source(text), scan_source(text[begin:end])
    settled = re.compile("(?m)^(?:import|class|def) ").search(text, begin + 1)
    first, last = settled.start(), text.rindex("\n", 0, end)
    assert last - first > 100
    for name in ("regions", "depths", "in_if"):
        expected, found = (
            getattr(whole, name)[first:last],
            getattr(cut, name)[first - begin : last - begin],
        )
        assert found.tolist() == expected.tolist(), (
            name,
            text[first:last][int((found != expected).argmax()) :][:60],
        )


def test_a_definition_closes_brackets_left_open_in_python():
    found = scan_source(PYTHON + "x = (1\n    def a():\n    (b\ndef c(d):\n")
    assert found.depths[-len("    (b\ndef c(d):\n") :].tolist() == [
        *[0] * 4,
        *[1] * 3,
        *[0] * 5,
        1,
        1,
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("marks", ['"""', "'''"])
def test_a_text_that_starts_inside_a_docstring_is_read_from_its_end(marks):
    code = (
        f"def a():\n    {marks}Light (it).{marks}\n    return 1\n\n\ndef b(c='d'):\n    return 2\n"
    )
    text = f"of a lamp, isn't it: (\n{marks}\n" + code
    found = scan_source(text)
    begin = text.index(code)
    assert (found.regions[: begin - 2] == Region.STRING).all()
    assert found.regions[begin:].tolist() == scan_source(code).regions.tolist()
    assert found.depths[begin:].tolist() == scan_source(code).depths.tolist()
