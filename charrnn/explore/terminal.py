"""The command that fills the terminal: charrnn explore, a browser of cells."""

import sys
from dataclasses import dataclass

import typer

from charrnn.cli.arguments import load_model, read_measured_text
from charrnn.cli.command_options import ScreenOptions, run_argument
from charrnn.cli.streams import supports_cursor_control
from charrnn.config.options import at_least, option
from charrnn.errors import UsageError
from charrnn.system.progress import tell, warn

CHARS_SHOWN = 8_000
"""The default number of characters that are shown."""


def check_full_screen() -> None:
    """Raise UsageError if the explorer cannot run: with TERM=dumb, or if the
    keyboard or the screen is no terminal."""
    streams = (sys.stdin, sys.stdout)
    is_terminal = all(stream is not None and stream.isatty() for stream in streams)
    # Textual draws on stderr.
    if not is_terminal or not supports_cursor_control():
        raise UsageError(
            "charrnn explore fills a terminal: standard input, output and error must all be one,"
            " and neither ACCESSIBLE=1 nor TERM=dumb be set.\n"
            "`charrnn visualize` prints the same findings."
        )


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(ScreenOptions):
    """The options of `charrnn explore`."""

    run: str | None = run_argument()
    text: str | None = option(
        None, flags="--text FILE", help="Read this file instead of held-out text."
    )
    chars: int = option(
        CHARS_SHOWN, flags="--chars N", help="Characters to show.", allowed=at_least(1)
    )


def explore(context: typer.Context, options: ExploreOptions) -> int:
    """Browse the cells of a model over a text.

    \b
    Examples:
      charrnn explore prose
      charrnn explore code
      charrnn explore prose --text letter.txt

    The arrow keys move through the cells, best first; the text is coloured by the selected one: red
    where it is low, blue where it is high. Enter shows the page of a cell. ? lists the keys.
    """
    from charrnn.cells.records import CHARS_SCORED

    check_full_screen()
    # The keys are read from standard input, so the text cannot be read from it.
    if options.text == "-":
        raise UsageError("--text -: standard input is the keyboard here. Give a file.")
    # Importing the interface takes so long that the user needs a message.
    tell("Looking into the model ...")
    from charrnn.explore.app import Explorer
    from charrnn.explore.state import explore_text

    model = load_model(options.run)
    read = read_measured_text(
        model, source=options.text, num_chars=max(options.chars, CHARS_SCORED)
    )
    # The shown text and the scored text begin at the same character, so that the scores belong to
    # the text on the screen.
    exploration = explore_text(
        model,
        text=read.encoded,
        num_shown=options.chars,
        num_scored=CHARS_SCORED,
    )
    explorer = Explorer(exploration)
    signals = context.obj
    explorer.run_until_signal(signals)

    # What the status line has shown stays in the terminal.
    warn(*explorer.warnings)
    if signals.number:
        return 128 + int(signals.number)
    return explorer.return_code or 0
