"""How characters are shown that a terminal would not show, or would obey."""

from rich.cells import cell_len

TAB_WIDTH = 4


def visible(character: str) -> str:
    """How a character is shown: a newline as an arrow, tabs as spaces, control and formatting characters as marks.

    Nothing that could move the cursor or turn the text around gets through.
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
    # The last two of every plane are no characters: XML, and so an exported picture, refuses them.
    if (
        128 <= code < 160
        or cell_len(character) == 0
        or 0xD800 <= code < 0xE000
        or _is_bidi(code)
        or code & 0xFFFE == 0xFFFE
    ):
        return f"<{code:02x}>"
    return character


def all_visible(text: str) -> str:
    """A text in one line, each of its characters as `visible` shows it."""
    return "".join(map(visible, text))


def visible_in_ascii(character: str) -> str:
    """As `visible`, for a stream that can carry ASCII only: what it cannot is a backslash escape."""
    if character == "\t":
        return "\\t".ljust(TAB_WIDTH)
    return character if " " <= character <= "~" else character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _is_bidi(code: int) -> bool:
    return 0x200E <= code <= 0x200F or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code == 0x061C
