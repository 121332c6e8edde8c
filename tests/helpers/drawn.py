"""What a console draws, for the tests of pictures."""

import io

from rich.console import Console


def lines(renderable: object, width: int = 60, encoding: str = "utf-8") -> list[str]:
    """Return the lines printed without colour, on a stream of this encoding."""
    written = io.BytesIO()
    # As the command opens its streams: a character that the encoding has not is escaped.
    file = io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace", newline="\n")
    Console(file=file, width=width, color_system=None, legacy_windows=False, _environ={}).print(
        renderable
    )
    file.flush()
    return written.getvalue().decode(encoding).split("\n")[:-1]
