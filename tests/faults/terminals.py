"""Terminals to run commands on, and strings with control sequences."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios

from fork_server import ForkServer

SEQUENCES = (
    "\x1b[2J\x1b[31m",  # CSI: clears the screen, then paints
    "\x1b]0;title\x07",  # OSC 0: renames the window
    "\x1b]8;;https://example.invalid\x1b\\",  # OSC 8: a link
    "\x1b]52;c;aGk=\x07",  # OSC 52: writes the clipboard
    "\x9b31m\x85\x90\x9c\x7f",  # C1, which some terminals take for the same, and DEL
    "\u202e\u2066\u2069\u200f\u061c",  # turn the text around
    "\u200b\u200d\ufeff\u2028\ufe0f",  # without width, separators
    "\r\b\x07\x00\v",
    "\udcff\ud800",  # undecodable bytes of a command line, a lone surrogate
)
MARKUP = (
    "[/bold]",
    "[link=javascript:alert(1)]x[/link]",
    "[red]",
    "[/]",
    ":boom:",
    "&lt;",
    "<!--",
    "{}%s%(x)d",
    "'\"",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
)
HOSTILE = "".join(SEQUENCES + MARKUP)
IN_A_TEXT = "".join(
    character
    for character in HOSTILE
    if character != "\0" and not "\ud800" <= character <= "\udfff"
)
"""As hostile as UTF-8 text can be."""
IN_AN_ARGUMENT = HOSTILE.replace("\0", "").replace("\ud800", "")
"""As hostile as a word of a command line can be."""
IN_A_NAME = (
    "".join(SEQUENCES).translate({0: None, ord("/"): None, 0xD800: None})
    + "[b]x[link=a]<script>&lt;{}%s'\""
)
"""As hostile as the name of a file can be: no slash, and with an ending under 255 bytes."""


class Terminal:
    """A terminal of 24 lines that a command runs on, and all that it has shown: each newline as CR
    LF."""

    def __init__(
        self,
        fork_server: ForkServer,
        *arguments: object,
        width: int = 80,
        pager: str = "",
        prepare: str = "child_faults:take_terminal",
    ) -> None:
        """Start a command on a terminal, which the function `prepare` of the child takes."""
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        path = os.ttyname(self.slave)
        self.child = fork_server.spawn(*arguments, prepare=prepare, path=path, pager=pager)
        self.seen = b""

    def read_until(self, text: bytes) -> None:
        """Read what is shown until a text was shown. Fails after two minutes without output."""
        while text not in self.seen:
            shown, _, _ = select.select([self.master], [], [], 120)
            assert shown, f"{text!r} was not shown, but {self.seen[-200:]!r}"
            self.seen += os.read(self.master, 65536)

    def type(self, keys: bytes) -> None:
        """Type keys, such as Ctrl-C, which the terminal turns into a signal."""
        os.write(self.master, keys)

    def close(self) -> int:
        """Close the terminal; return the exit code."""
        os.close(self.slave)
        os.close(self.master)
        return self.child.wait()

    def terminate(self) -> int:
        """Send SIGTERM, and read what is shown until the usual screen is back and all is said."""
        os.kill(self.child.pid, signal.SIGTERM)
        self.read_until(b"\x1b[?1049l")
        return self.read_to_the_end()

    def read_to_the_end(self) -> int:
        """Read what is shown until nobody writes to the terminal any more; return the exit code."""
        while not self.seen:  # the command has opened the terminal
            self.seen += os.read(self.master, 65536)
        os.close(self.slave)
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while more := os.read(self.master, 65536):
                self.seen += more
        os.close(self.master)
        return self.child.wait()
