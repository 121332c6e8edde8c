"""Joins the lines of paragraphs that were wrapped at some width, as those of many books are."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

LEAST_COLUMNS = 57
"""Characters of the longest line of a wrapped paragraph at least: verse has shorter lines."""
SLACK_COLUMNS = 8
"""Characters by which a line of a wrapped paragraph may be shorter than it had to be."""
MOST_LINES = 1_000
"""Lines of a paragraph that are looked at together, so that a text without paragraphs fits into the
memory."""
DASHES = ("-", "—", "–")
"""What a line ends with if no blank is missing between it and the next one."""


def join_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join the lines of each wrapped paragraph of a file in UTF-8, given and yielded in blocks of
    whole lines.

    Blank lines and indented lines begin a paragraph, so that verse and code, all of whose lines are
    indented, stay as they are. So does a paragraph that was not wrapped (`is_wrapped`).
    """
    paragraph: list[str] = []
    for block in blocks:
        joined: list[str] = []
        for line in block.decode().removesuffix("\n").split("\n"):
            if paragraph and (
                _begins_paragraph(line, paragraph[-1]) or len(paragraph) == MOST_LINES
            ):
                joined.append(_joined(paragraph))
                paragraph = []
            paragraph.append(line)
        if joined:
            yield "".join(joined).encode()
    if paragraph:
        yield _joined(paragraph).encode()


def is_wrapped(lines: Sequence[str]) -> bool:
    """Return whether each line but the last one of a paragraph ends where the next word would make
    it too long, as in a paragraph that an editor has wrapped."""
    # Below an indented line, one line is often the next statement of a program, or follows a verse.
    least_lines = 3 if lines[0][:1].isspace() else 2
    width = max(map(len, lines))
    if len(lines) < least_lines or width < LEAST_COLUMNS:
        return False
    for line, following in pairwise(lines):
        next_word = following.split(maxsplit=1)[0]
        if len(line.rstrip()) + 1 + len(next_word) <= width - SLACK_COLUMNS:
            return False
    return True


def share_wrapped(text: str) -> float:
    """Return the share of the lines of a text, which are not blank, that `join_lines` would
    join."""
    joined = b"".join(join_lines([text.encode("utf-8", "replace")]))
    num_lines = sum(1 for line in text.split("\n") if line.strip())
    return (text.count("\n") - joined.count(b"\n")) / max(1, num_lines)


def _begins_paragraph(line: str, before: str) -> bool:
    return not line.strip() or not before.strip() or line[0].isspace()


def _joined(paragraph: Sequence[str]) -> str:
    """Return a paragraph with a newline at its end, on one line if it was wrapped."""
    if not is_wrapped(paragraph):
        return "\n".join(paragraph) + "\n"
    parts = []
    for line in paragraph[:-1]:
        words = line.rstrip()
        parts.append(words if words.endswith(DASHES) else f"{words} ")
    return "".join(parts) + paragraph[-1] + "\n"
