"""Estimate what JSON takes in memory, before it is decoded."""

MAX_DECODED = 300 << 20
"""Bytes of memory that the objects of any JSON may take."""
MOST_PER_CHAR = 8
"""Bytes for each character from which on larger JSON is refused. Chats take 4 to 6, and a file made
to fill the memory 20 and more."""
_OBJECT, _LIST, _TEXT, _PLACE = 184, 72, 50, 16
"""Bytes that Python takes for an object, a list, a text and a place in one of them."""


def fills_memory(text: str) -> bool:
    """Whether JSON would take much memory and says little: hundreds of megabytes of objects,
    brackets and commas.

    One asks before a file that may come from anybody is decoded as a whole.
    """
    num_bytes = (
        _OBJECT * text.count("{")
        + _LIST * text.count("[")
        + _PLACE * text.count(",")
        + _TEXT * text.count('"') // 2
    )
    return num_bytes > max(MAX_DECODED, MOST_PER_CHAR * len(text))
