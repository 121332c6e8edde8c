"""Join the lines of paragraphs that were wrapped at some width, as in the text files of many
books."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

LEAST_COLUMNS = 57
"""Minimum length of the longest line of a wrapped paragraph: verse has shorter lines."""
SLACK_COLUMNS = 8
"""Number of characters by which a line of a wrapped paragraph may be shorter than necessary."""
MOST_LINES = 1_000
"""Maximum number of lines that are treated as one paragraph, so that a text without paragraphs fits
into memory."""
DASHES = ("-", "—", "–")
"""After these characters at the end of a line, the next line is joined without a blank."""


def join_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join the lines of each wrapped paragraph of a file in UTF-8. The file is read and yielded in
    blocks of whole lines.

    A blank line and an indented line begin a paragraph, so that verse and code with indented lines
    stay as they are. A paragraph that was not wrapped (`is_wrapped`) stays as it is, too.
    """
    paragraph: list[str] = []
    for block in blocks:
        joined: list[str] = []
        for line in block.decode().removesuffix("\n").split("\n"):
            is_apart = not line.strip() or line[0].isspace()
            if paragraph and (
                is_apart or not paragraph[-1].strip() or len(paragraph) == MOST_LINES
            ):
                joined.append(_joined(paragraph))
                paragraph = []
            paragraph.append(line)
        if joined:
            yield "".join(joined).encode()
    if paragraph:
        yield _joined(paragraph).encode()


def is_wrapped(lines: Sequence[str]) -> bool:
    """Whether an editor has wrapped a paragraph: each line except the last ends where the next word
    would make it too long."""
    # A single line below an indented line is often the next statement of a program or line of a
    # verse.
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
    """Return the share of the non-blank lines of a text that `join_lines` would join to the next
    line."""
    joined = b"".join(join_lines([text.encode("utf-8", "replace")]))
    num_lines = sum(1 for line in text.split("\n") if line.strip())
    return (text.count("\n") - joined.count(b"\n")) / max(1, num_lines)


def _joined(paragraph: Sequence[str]) -> str:
    """Return a paragraph with a newline at its end; a wrapped paragraph becomes one line."""
    if not is_wrapped(paragraph):
        return "\n".join(paragraph) + "\n"
    joined_words = []
    for line in paragraph[:-1]:
        words = line.rstrip()
        joined_words.append(words if words.endswith(DASHES) else f"{words} ")
    return "".join(joined_words) + paragraph[-1] + "\n"
