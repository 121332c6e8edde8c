"""Finds where a word, a line or a sentence that is being generated ends."""

import re
from typing import Literal, get_args

from charrnn.errors import UsageError, did_you_mean, named

Until = Literal["word", "line", "sentence"]
"""How far a continuation goes."""
MAX_CHARS: dict[Until, int] = {"word": 40, "line": 240, "sentence": 240}
"""Characters of a continuation at most (of bytes, with the byte alphabet): what is longer is cut."""
_MARKS = "\u0300-\u036f"
_WORD = re.compile(rf"[\w{_MARKS}]+(?:['’][\w{_MARKS}]+)*(?=[^\w{_MARKS}'’]|['’][^\w{_MARKS}])")
"""A word with single apostrophes inside it, before a character that cannot continue it."""
_LINE = re.compile(r"[^\r\n](?=[\r\n])")
"""The last character of a line."""
_SENTENCE = re.compile(
    r"""\w[^\w]*?(?:
          [.!?…]+ ["'”’»)\]]* (?=\s)      # closing quotes and brackets belong to the sentence
        | [。！？]+ [」』”’）]* (?=[^。！？」』”’）])   # no space follows in Chinese and Japanese
        | (?=\r?\n[ \t]*\r?\n)            # a paragraph without a full stop, such as a heading
    )""",
    re.VERBOSE,
)
"""The end of a sentence: a full stop is taken for one even after an abbreviation."""
_PATTERNS = {"word": _WORD, "line": _LINE, "sentence": _SENTENCE}


def check_until(until: str) -> Until:
    """Return a word that says how far a continuation goes. Raises UsageError for another one."""
    for known in get_args(Until):
        if until == known:
            return known  # type: ignore[no-any-return]
    near = did_you_mean(until, get_args(Until))
    raise UsageError(f"{named('until')} is {until!r}; it must be word, line or sentence.{near}")


def end_of(text: str, until: Until, before: str = "") -> int | None:
    """Return the length of the first word, line or sentence of a text, with the white space before it; more than 0.

    None while it may still go on: whether it has ended is known from what follows it. `before` is the character before
    the text: a sentence whose last word is there may end with the full stop that the text begins with.
    """
    begin = len(before) if until == "sentence" and before.isalnum() else 0
    match = _PATTERNS[until].search(before[-begin:] + text if begin else text)
    if match is not None and match.end() <= begin:
        match = _PATTERNS[until].search(before[-begin:] + text, begin)
    return None if match is None else match.end() - begin


def may_end(last: str, until: Until) -> bool:
    """Return whether a text may have ended whose last two characters are these: a fast test before `end_of`."""
    if until == "word":
        return not last[-1:].isalnum()
    if until == "line":
        return last[-1:] in ("\r", "\n")
    return last[-1:].isspace() or not last.isascii()
