"""Run command lines in this process at several places, and check the rules that all of them keep.

The lines themselves stand in `tests/commands/test_golden_outputs.py` and in `every_option.py`.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from rich.cells import cell_len
from streams import Stream

XTERM = "xterm-256color"
PLACES: dict[str, dict[str, Any]] = {
    "pipe": {"TERM": XTERM},
    "terminal": {"is_terminal": True, "TERM": XTERM},
    "narrow": {"encoding": "cp1252", "COLUMNS": "40", "CI": "true", "TERM": XTERM},
    "forced": {"FORCE_COLOR": "1", "TERM": XTERM, "CI": "true", "COLUMNS": "30"},
    "ascii": {"encoding": "ascii", "COLUMNS": "60"},
    "truecolor": {"is_terminal": True, "TERM": XTERM, "COLORTERM": "truecolor"},
    "dumb": {"is_terminal": True, "TERM": "dumb"},
    "no-colour": {"is_terminal": True, "TERM": XTERM, "NO_COLOR": "1"},
    "forced-and-no-colour": {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": XTERM},
    "ci-120-columns": {"COLUMNS": "120", "CI": "1"},
    "unknown-terminal": {"is_terminal": True, "TERM": "unknown"},
}
"""Where a command may run: its streams, and the variables that tell of them."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
HUE = re.compile(r"\x1b\[(?:\d+;)*[349]\d[;\d]*m")
"""A colour that is neither bold nor dim."""
DRAWN = re.compile("[\u2500-\u25ff\u2800-\u28ff\x1b\r]")
"""What a screen reader spells or passes over: rules, blocks, marks, braille, codes."""
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@dataclass(frozen=True, slots=True)
class Ran:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def notes(self) -> str:
        """What stderr says, without the lines that name the run which was taken by default, and
        who writes."""
        return re.sub(r"(?m)^(Run|written by): .*\n", "", self.err)

    def assert_refused(self, code: int, *parts: str) -> None:
        """Assert that the command printed nothing but an error of at most three lines, which has
        these parts."""
        assert (self.code, self.out) == (code, ""), self.err
        assert self.notes.startswith("error: ") and self.err.endswith("\n")
        assert len(self.notes.splitlines()) <= 3 and "Traceback" not in self.err
        assert not re.search(r"unexpected \w+(Error|Exception)\b", self.err)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", self.err), "the cursor could move"
        for part in parts:
            assert part in self.err


def run_line(
    arguments: Iterable[object],
    *,
    is_terminal: bool = False,
    encoding: str = "utf-8",
    stdin: bytes = b"",
    **variables: str,
) -> Ran:
    """Run `charrnn ARGUMENTS` with both streams at a place; return what it printed."""
    from charrnn.commands.app import run

    words = [str(argument) for argument in arguments]
    streams = {
        name: Stream(is_terminal=is_terminal, encoding=encoding) for name in ("stdout", "stderr")
    }
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.multiple(sys, argv=["charrnn", *words], stdin=Stream(stdin), **streams),
    ):
        code = run(words)
    return Ran(code, streams["stdout"].text(), streams["stderr"].text())


def faults(
    arguments: Iterable[object],
    ran: Ran,
    *,
    is_exact: bool = False,
    max_lines: int = 3,
    is_terminal: bool = False,
    encoding: str = "utf-8",
    **variables: str,
) -> list[str]:
    """Return what no command line may do at a place, whatever it prints; [] if it does nothing of
    it. `is_exact` is for an output that carries the characters of a hostile text to a program."""
    from charrnn.cli.streams import IN_TEXT

    name, *rest = map(str, arguments)
    shows_text = name in ("sample", "train") or [name, *rest[:1]] == ["corpora", "make"]
    allowed = "\n\t"
    if shows_text:
        allowed = IN_TEXT
    said = []

    # One error of at most three lines, and no accident.
    if re.search(r"error: unexpected|unexpected \w+Error|Traceback|Warning", ran.err):
        said.append(f"did not expect this: {ran.err[-300:]}")
    if ran.code not in (0, 2, 3, 4):
        said.append(f"ends with the exit code {ran.code}")
    if ran.err.count("error: ") != (ran.code != 0):
        said.append("fails without one error, or does not fail with one")
    if ran.err.partition("error: ")[2].count("\n") > max_lines:
        said.append(f"says more than {max_lines} lines of an error")

    # Nothing steers a terminal. Colours are for those that can show them.
    has_colours = is_terminal and variables.get("TERM") == XTERM
    shown = {"stdout": ran.out, "stderr": ran.err}
    if has_colours or "FORCE_COLOR" in variables:
        shown = {name: COLOUR.sub("", text) for name, text in shown.items()}
    if "NO_COLOR" in variables and HUE.search(ran.out):
        said.append("has colours, which nobody wants")
    if not is_exact and steering(shown["stdout"], allowed):
        said.append(f"steers a terminal: {steering(shown['stdout'], allowed)}")
    if has_colours:
        allowed += "\r"  # of the bar
    if steering(shown["stderr"], allowed):
        said.append(f"steers a terminal on stderr: {steering(shown['stderr'], allowed)}")

    # Words take the place of drawings. A model or a text may have any character.
    is_dumb = variables.get("TERM") in ("dumb", "unknown")
    if is_dumb and not (is_exact or shows_text) and DRAWN.search(ran.out + ran.err):
        said.append("draws for a screen reader")

    # Texts are as wide as the model made them, and JSON and the path of a run are for programs.
    if (not shows_text or "--show-config" in rest) and encoding == "utf-8":
        lines = [line for line in shown["stdout"].splitlines() if not line.startswith(("{", "["))]
        columns = int(variables.get("COLUMNS", os.environ["COLUMNS"]))
        said += [f"is too wide: {line}" for line in lines if cell_len(line) > columns][:1]
    return said


def steering(text: str, allowed: str = "\n\t") -> list[str]:
    """The characters of a text that a terminal would obey rather than show, or show as nothing."""
    return [
        character
        for character in text
        if character not in allowed
        and (
            unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            or unicodedata.bidirectional(character) in _TURNING
        )
    ]
