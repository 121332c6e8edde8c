"""A standard stream that keeps what is written to it."""

import io


class Stream(io.TextIOWrapper):
    """A stream that is a terminal or not; it has no file descriptor."""

    def __init__(
        self, data: bytes = b"", *, is_terminal: bool = False, encoding: str = "utf-8"
    ) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding, newline="", write_through=True)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def text(self) -> str:
        """All that was written to it."""
        self.flush()
        return self.buffer.getvalue().decode(self.encoding, "replace")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True
