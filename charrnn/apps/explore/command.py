"""charrnn explore: browse the cells of a model over a text, in an interface that fills the terminal."""

import sys
from typing import Annotated

import typer

from charrnn.apps.terminal import check_full_screen
from charrnn.cli.arguments import load_model, read_passage
from charrnn.cli.options import DebugOption, QuietOption, RunArgument, TextOption
from charrnn.cli.streams import warn

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
    from charrnn.cells.records import CHARS_SCORED
    from charrnn.errors import UsageError

    check_full_screen("charrnn explore", "`charrnn visualize` prints the same findings.")
    if text == "-":
        raise UsageError("--text -: standard input is the keyboard here. Give a file.")
    if not quiet:
        sys.stderr.write("Looking into the model ...\n")
    from charrnn.apps.explore.app import Explorer

    model = load_model(run, quiet=quiet)
    content, before, _ = read_passage(model, text, max(chars, CHARS_SCORED))
    encoded = model.encode(content, context=before)
    explorer = Explorer(model, encoded, num_shown=chars, num_scored=CHARS_SCORED)
    explorer.run_until_signal(context.obj.signals)
    warn(tuple(explorer.warnings), quiet=quiet)
    return explorer.exit_code(context.obj.signals.number)
