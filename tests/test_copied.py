"""A text with its copies marked: underlined at a fixed width without colour, and as style spans."""

import io
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from charrnn.lab.novelty import LINES, STYLES, CopiedText, Copy, Novelty
from charrnn.views.theme import visible

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


def novelty(text: str | bytes, *spans: tuple[int, int]) -> Novelty:
    """A novelty with copies of (start, length)."""
    copies = tuple(Copy(start=start, length=length, source=0, source_line=1) for start, length in spans)
    return Novelty(text=text, min_length=1, copies=copies)


def plain(renderable: object, width: int = 60, *, encoding: str = "utf-8") -> list[str]:
    """The lines printed where there is no colour."""
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding, newline="\n")
    Console(file=file, width=width, color_system=None, legacy_windows=False, _environ={}).print(renderable)
    file.flush()
    return written.getvalue().decode(encoding).split("\n")[:-1]


def styled(renderable: CopiedText, width: int = 60) -> list[tuple[str, int]]:
    """Stretches of what is printed with colours, newlines left out, and the index of their style."""
    console = Console(file=io.StringIO(), width=width, color_system="truecolor", force_terminal=True, _environ={})
    columns = [
        (character, STYLES.index(segment.style or STYLES[0]))
        for segment in console.render(renderable)
        for character in segment.text
        if character != "\n"
    ]
    stretches = groupby(columns, key=lambda column: column[1])
    return [("".join(character for character, _ in stretch), style) for style, stretch in stretches]


def test_copies_that_adjoin_or_overlap_are_told_apart() -> None:
    assert plain(CopiedText(novelty("abcdefgh", (0, 3), (3, 3))))[1] == "━━━═══"
    assert plain(CopiedText(novelty("abcdefgh", (0, 2), (3, 2), (6, 2))))[1] == "━━ ══ ━━"
    assert plain(CopiedText(novelty("abcdefgh", (0, 5), (3, 5))))[1] == "━━━━━═══", "the first has what several have"
    assert plain(CopiedText(novelty("abcdefgh", (0, 3), (1, 5), (2, 6))))[1] == "━━━═══━━"


def test_bytes_are_spelled_and_marked_by_the_character() -> None:
    text = "aé日".encode() + b"\xff\x80b"
    assert plain(CopiedText(novelty(text, (1, 5)))) == ["aé日<dcff><dc80>b", " ━━━"]
    # One that is cut is not copied, what is no UTF-8 is a character of its own.
    assert plain(CopiedText(novelty(text, (2, 5)))) == ["aé日<dcff><dc80>b", "  ━━━━━━━━"]


@given(
    st.text(st.characters() | st.sampled_from("lamp 日\t\n\x1b\u202e\u0301"), max_size=150),
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 40)), max_size=6),
    st.sampled_from([9, 60]),
)
@EXAMPLES
def test_whatever_the_text_nothing_sticks_out_or_is_lost_and_the_same_is_marked_in_colour(
    text: str, spans: list[tuple[int, int]], width: int
) -> None:
    longest_at = {start: min(length, len(text) - start) for start, length in sorted(spans) if start < len(text)}
    contained = [
        a for a in longest_at for b in longest_at if a > b and a + longest_at[a] <= b + longest_at[b]
    ]  # as copies never are
    found = novelty(text, *((start, length) for start, length in longest_at.items() if start not in contained))
    lines = plain(CopiedText(found), width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(line for line in lines if not line or set(line) - set(LINES)) == "".join(map(visible, text))
    copied = {position for copy in found.copies for position in range(copy.start, copy.stop)}
    marked = "".join(shown for shown, style in styled(CopiedText(found), width) if style)
    assert marked == "".join(visible(character) for position, character in enumerate(text) if position in copied)
    num_marks = sum(len(line.replace(" ", "")) for line in lines if line and not set(line) - set(LINES))
    assert num_marks == cell_len(marked)
