"""Make characters visible that a terminal does not show, or interprets as control codes."""

from functools import lru_cache

from rich.cells import cell_len

TAB_WIDTH = 4
"""Columns of a tab."""
LINE_ENDS = ("\n", "\0")
"""Characters after which a picture of a text begins a new line: a newline and the END of a document."""


@lru_cache(maxsize=4096)
def visible(character: str) -> str:
    """Return how a character is shown: a newline as ↵, a tab as → and spaces, control and format characters as marks.

    The result contains nothing that moves the cursor or reverses the direction of the text.
    """
    if character == "\n":
        return "↵"
    if character == "\t":
        return "→".ljust(TAB_WIDTH)
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "␡"
    # The last two code points of every plane are no characters: XML, and so an exported picture, does not allow them.
    if (
        128 <= code < 160
        or cell_len(character) == 0
        or 0xD800 <= code < 0xE000
        or _is_bidi(code)
        or code & 0xFFFE == 0xFFFE
    ):
        return f"<{code:02x}>"
    return character


def all_visible(text: str, *, ascii_only: bool = False) -> str:
    """Apply `visible`, or `visible_in_ascii`, to every character of a text; the result is one line."""
    return "".join(map(visible_in_ascii if ascii_only else visible, text))


def visible_in_ascii(character: str) -> str:
    """Return how a character is shown on a stream that carries ASCII only: other characters are backslash escapes."""
    if character == "\t":
        return "\\t".ljust(TAB_WIDTH)
    return character if " " <= character <= "~" else character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _is_bidi(code: int) -> bool:
    return 0x200E <= code <= 0x200F or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code == 0x061C
