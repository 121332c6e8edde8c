"""charrnn explore: browse the cells of a model over a text, in an interface that fills the terminal."""

import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from charrnn.cli.arguments import load_model, read_passage
from charrnn.cli.options import DebugOption, QuietOption, RunArgument, TextOption
from charrnn.cli.signals import Signals
from charrnn.cli.streams import supports_cursor_control
from charrnn.records.microscope import CHARS_SCORED

CHARS_SHOWN = 8_000
"""Characters that are shown, unless another number is asked for."""


def explore(
    context: typer.Context,
    run: RunArgument = None,
    text: TextOption = None,
    chars: Annotated[int, typer.Option("--chars", help="Characters to show.", metavar="N", min=1)] = CHARS_SHOWN,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Browse the cells of a model over a text.

    The arrow keys move through the cells, best first; the text is coloured by the selected one: red where it is low,
    blue where it is high. Type a text and watch the cells follow, or clamp a cell at a value and compare what the
    model generates. ? lists the keys.
    """
    from charrnn.errors import UsageError

    if find_spec("textual") is None:
        raise UsageError(
            "charrnn explore needs the package textual. In the folder of charrnn's pyproject.toml: "
            "pip install -e '.[tui]'"
        )
    if os.environ.get("TERM") == "dumb":
        raise UsageError(
            "charrnn explore moves the cursor, which a terminal with TERM=dumb cannot do.\n"
            "`charrnn visualize` prints the same findings."
        )
    if not _is_terminal():
        raise UsageError(
            "charrnn explore fills a terminal: standard input, output and error must all be one.\n"
            "`charrnn visualize` prints the same findings."
        )
    if text == "-":
        raise UsageError("--text -: standard input is the keyboard here. Give a file.")
    if not quiet:
        sys.stderr.write("Looking into the model ...\n")
    from charrnn.cli.explorer.app import Explorer

    model = load_model(run, quiet=quiet)
    content, before, _ = read_passage(model, text, max(chars, CHARS_SCORED), quiet=quiet)
    encoded = model.encode(content, context=before)
    explorer = Explorer(model, encoded, num_shown=chars, num_scored=CHARS_SCORED)
    # Textual would print where it was interrupted.
    signals: Signals = context.obj.signals
    signals.is_quiet = signals.defers = True
    explorer.run_until(lambda: signals.number != 0)
    explorer.finish()
    return 128 + signals.number if signals.number else 0


def _is_terminal() -> bool:
    # Textual draws on stderr.
    return sys.stdin.isatty() and sys.stdout.isatty() and supports_cursor_control(sys.stderr)
