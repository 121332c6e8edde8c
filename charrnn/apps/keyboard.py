"""Reads the keyboard of an interface that fills the terminal; bytes that are not UTF-8 do not end it."""

import codecs
from collections.abc import Callable
from functools import partial

from textual.drivers import linux_driver

_NAME = "getincrementaldecoder"
"""What Textual's loop calls as it starts."""


class TolerantDriver(linux_driver.LinuxDriver):
    """Textual's driver of terminals, except that U+FFFD stands for each byte that is not UTF-8.

    Such bytes come from a terminal set to Latin-1 and from pasted binary data.
    """

    def run_input_thread(self) -> None:
        """Read keys until the application ends."""
        # Textual has no option for this. A restart of its loop after the error would lose what was read with the byte,
        # the end of a paste included, and a loop of our own would depend on more of what is private.
        names = vars(linux_driver)
        strict = names[_NAME]
        names[_NAME] = _tolerant_decoder
        try:
            super().run_input_thread()
        finally:
            names[_NAME] = strict


def _tolerant_decoder(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    return partial(codecs.getincrementaldecoder(encoding), errors="replace")
