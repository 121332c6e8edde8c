"""Label strings of formal languages, one per line, by the count or memory that predicts them.

`languages` makes such texts. The text may be cut anywhere. Counts are int64 arrays
(N,), yes/no labels bool arrays (N,), for a text of N characters; both are 0 after a newline.
"""

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.prose import Counts, Flags, last_index

_OPENING, _CLOSING = "([{<", ")]}>"
_HEAD = 1000
"""Number of characters that are checked first: nearly every text of another kind has a forbidden
character among them."""


def _codes_within(text: str, characters: str) -> NDArray[np.uint8] | None:
    """Return the code points (N,) of a text that consists of the ASCII `characters` and newlines,
    None for any other text."""
    allowed = {*characters, "\n"}
    if not text or not allowed.issuperset(text[:_HEAD]) or not allowed.issuperset(text):
        return None
    return np.frombuffer(text.encode("ascii"), np.uint8)


def _is(codes: NDArray[np.uint8], characters: str) -> Flags:
    return np.isin(codes, np.frombuffer(characters.encode("ascii"), np.uint8))


def _counted_on_line(codes: NDArray[np.uint8], steps: NDArray[np.integer]) -> Counts:
    """Sum `steps` (N,) since the last newline; the step of the newline itself is left out."""
    # This is the sum up to here, minus the sum up to the last newline.
    is_newline = codes == ord("\n")
    total = np.cumsum(np.where(is_newline, 0, steps), dtype=np.int64)
    last_newline = last_index(is_newline)
    return np.asarray(total - np.where(last_newline >= 0, total[last_newline], 0))


def _abc(text: str) -> NDArray[np.uint8] | None:
    """Return the code points of a text whose lines are a's, then b's, then c's, None for any other
    text."""
    codes = _codes_within(text, "abc")
    if codes is None or "ab" not in text:
        return None
    # Only a newline may be followed by a letter that comes earlier.
    is_newline = codes == ord("\n")
    is_descent = (codes[1:] < codes[:-1]) & ~is_newline[1:] & ~is_newline[:-1]
    if is_descent.any():
        return None
    return codes


def _balance(codes: NDArray[np.uint8], opening: str, closing: str) -> Counts:
    """Count the opening characters of this line so far minus the closing ones, at least 0."""
    steps = _is(codes, opening).astype(np.int64) - _is(codes, closing)
    return _counted_on_line(codes, steps).clip(0)


def label_a_minus_b(text: str) -> Counts | None:
    """The a's of this string so far minus its b's, at least 0. None unless every line is a's, b's
    and c's in order."""
    codes = _abc(text)
    if codes is None:
        return None
    return _balance(codes, opening="a", closing="b")


def label_b_minus_c(text: str) -> Counts | None:
    """The b's of this string so far minus its c's, at least 0. None unless there are lines of a's,
    b's and c's."""
    codes = _abc(text)
    if codes is None or "bc" not in text:
        return None
    return _balance(codes, opening="b", closing="c")


def label_dyck_depth(text: str) -> Counts | None:
    """Brackets opened on this line minus those closed, at least 0. None for a text with other
    characters."""
    codes = _codes_within(text, _OPENING + _CLOSING)
    if codes is None or not _is(codes, _OPENING).any():
        return None
    return _balance(codes, opening=_OPENING, closing=_CLOSING)


def label_parity(text: str) -> Flags | None:
    """True if the number of ones before = is odd. None unless the text is lines of bits, = and one
    bit."""
    codes = _codes_within(text, "01=")
    if codes is None or "=" not in text:
        return None

    # One bit must follow =, then the end of the line, except where the text is cut.
    equals = np.flatnonzero(codes == ord("="))
    answers = equals[equals + 1 < len(codes)] + 1
    ends = answers[answers + 1 < len(codes)] + 1
    if not _is(codes[answers], "01").all() or (codes[ends] != ord("\n")).any():
        return None

    is_answer = np.zeros(len(codes), bool)
    is_answer[answers] = True
    return np.asarray(_counted_on_line(codes, (codes == ord("1")) & ~is_answer) % 2 == 1)


def label_copy_position(text: str) -> Counts | None:
    """Characters of the copy after = read so far. None unless every whole line is a word, = and the
    same word."""
    codes = _codes_within(text, "abcd=")
    if codes is None or "=" not in text:
        return None

    # The first and the last line may be cut.
    for line in text.split("\n")[1:-1]:
        word, _, copied = line.partition("=")
        if word != copied:
            return None

    # Every character of the line after = is copied.
    is_equals = codes == ord("=")
    is_copied = (_counted_on_line(codes, is_equals.astype(np.int64)) > 0) & ~is_equals
    return _counted_on_line(codes, is_copied.astype(np.int64))
