"""Characters that a terminal would interpret or a text widget would drop, as others that it keeps, and back.

Each becomes one private-use character, which is drawn as a mark: what is saved has the author's own.
"""

import re

from charrnn.errors import DataError
from charrnn.views.visible import visible

_BASE = 0x100000
"""Start of plane 16, which is private use as a whole."""
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters except a tab and a newline; line separators; marks that change the direction of the text; lone
surrogates, which no terminal can be sent."""
_PRIVATE = re.compile("[\U00100000-\U0010ffff]")
_NARROW = "␦"
"""Mark of a character whose own mark would be wider than one column."""


def hide(text: str) -> str:
    """Replace what cannot be shown, one character by one. Raises DataError for a text with such private characters."""
    if found := _PRIVATE.search(text):
        raise DataError(
            f"the text has the private-use character U+{ord(found[0]):X}, which the editor needs for itself: "
            "leave such characters out"
        )
    return _STEERING.sub(lambda match: chr(_BASE + ord(match[0])), text)


def hide_pasted(text: str) -> str:
    """Replace what cannot be shown in a text that comes from elsewhere; line ends of any kind become a newline."""
    return hide_copied(re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text))


def hide_copied(text: str) -> str:
    """Replace what cannot be shown in a text that was copied in the editor; its own line separators stay."""
    return hide(_PRIVATE.sub("\ufffd", text))


def reveal(text: str) -> str:
    """Return the text that `hide` was given."""
    return _PRIVATE.sub(lambda match: chr(ord(match[0]) - _BASE), text)


def marks(text: str) -> str:
    """Return what is drawn for a text from `hide`: a mark of one column for each character that was replaced."""
    return _PRIVATE.sub(_mark, text)


def _mark(match: "re.Match[str]") -> str:
    mark = visible(chr(ord(match[0]) - _BASE))
    return mark if len(mark) == 1 else _NARROW
