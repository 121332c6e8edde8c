"""Mathematics in LaTeX. In the tables ¶ stands for a newline. Labels: Q inside, . outside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import check, label, rows

from charrnn.detectors.latex import looks_like_latex
from charrnn.detectors.registry import DETECTORS

HEADER = "\\begin{document}\n\\section{Lamps}\n\n" * 3
PIECES = ["$", "$$", "\\", "(", ")", "[", "]", "\\begin{equation}", "\\end{equation}", "%", "\n", " ", "x", "\ud800"]

MATHS = rows(r"""
between dollars
so $x+1$ is¶
...QQQQ.....
display
so $$x$$ is \[y\] and \(z\).
...QQQQ.....QQQQ......QQQQ..
one formula right after another
$x$$y$ $$z$$$w$
QQ.QQ..QQQQ.QQ.
escaped dollars are none
\$5 and $\$5$ \\$x$
........QQQQ....QQ.
a line break with a length opens nothing
a \\[2pt] b \\(c)
.................
equations
\begin{equation}x\end{equation}y
QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ..
with a star
a\begin{align*}x\end{align*}y
.QQQQQQQQQQQQQQQQQQQQQQQQQQ..
dollars in an equation close nothing
\begin{math}x\mbox{if $y$}z\end{math}w
QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ..
other environments are text
\begin{quote}x\end{quote}
.........................
comments
a % $b¶$c$ \% $d$¶
.......QQ.....QQ..
verbatim
\begin{verbatim}$a\end{verbatim} $b$
.................................QQ.
over the end of a line
$a¶b$ c
QQQQ...
a blank line ends it
$a¶ ¶b $c$
QQQQ...QQ.
an end that was cut off
x\] $a$ \end{equation} $b$
....QQ.................QQ.
up to the end
a $b
..QQ
""")


@pytest.mark.parametrize(("text", "expected"), MATHS.values(), ids=MATHS.keys())
def test_mathematics(text: str, expected: str) -> None:
    check("latex-math", text, expected, header=HEADER)


@pytest.mark.parametrize(
    "text",
    ["", "It was $5, then $6.\n" * 50, 'print("\\n", "\\t", $HOME)\n' * 9, "\\item\n" + "The lamp was lit.\n" * 50],
)
def test_what_is_no_latex_has_no_mathematics(text: str) -> None:
    assert not looks_like_latex(text)
    assert DETECTORS["latex-math"].label(text) is None


def test_latex_is_no_source_code_though_its_lines_end_in_braces() -> None:
    text = HEADER + "\\emph{lamp}\n\\end{document}\n"
    assert DETECTORS["string"].label(text) is None
    assert DETECTORS["latex-math"].label(text) is not None


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.integers(0, 60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_after_a_blank_line_what_came_before_is_forgotten(before: str, cut: int) -> None:
    after = "\n\na $b$ c\n"
    text = HEADER + before.replace("%", "")[cut:] + after
    # The blank line itself may end a formula; from its second newline on the text is as if it stood alone.
    assert label("latex-math", text)[-len(after) + 1 :].tolist() == [False] * 3 + [True] * 2 + [False] * 4
