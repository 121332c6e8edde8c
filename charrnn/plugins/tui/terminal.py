"""The commands that fill the terminal: charrnn explore, a browser of cells, and charrnn write, an
editor."""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from charrnn.cli.arguments import is_run, load_model, read_passage
from charrnn.cli.command_options import NEWEST_RUN, RUN_HELP, ScreenOptions, run_argument
from charrnn.cli.streams import supports_cursor_control, warn
from charrnn.config.options import argument, option
from charrnn.errors import UsageError, require_package
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE
from charrnn.plugins.tui.keyboard import keys_dropped
from charrnn.system.signals import Signals

CHARS_SHOWN = 8_000
"""The default number of characters that are shown."""


def check_full_screen(command: str, instead: str) -> None:
    """Raise UsageError if a command that fills the terminal cannot run: without the package
    textual, with TERM=dumb, or if the keyboard or the screen is no terminal.

    `instead` names a command that has the same result without a full screen.
    """
    require_package("textual", user=command)
    if not fills_terminal():
        raise UsageError(
            f"{command} fills a terminal: standard input, output and error must all be one, and"
            f" neither ACCESSIBLE=1 nor TERM=dumb be set.\n{instead}"
        )


def fills_terminal() -> bool:
    """Whether the keyboard and the screen are a terminal. Textual draws on stderr."""
    for stream in (sys.stdin, sys.stdout):
        if stream is None or not stream.isatty():
            return False
    return supports_cursor_control(sys.stderr)


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(ScreenOptions):
    """The options of `charrnn explore`."""

    run: str | None = run_argument()
    text: str | None = option(
        None, flags="--text FILE", help="Read this file instead of held-out text."
    )
    chars: int = option(CHARS_SHOWN, flags="--chars N", help="Characters to show.", least=1)


def explore(context: typer.Context, options: ExploreOptions) -> int:
    """Browse the cells of a model over a text.

    The arrow keys move through the cells, best first; the text is coloured by the selected one: red
    where it is low, blue where it is high. Type a text and watch the cells follow, or clamp a cell
    at a value and compare what the model generates. ? lists the keys.
    """
    from charrnn.cells.findings import CHARS_SCORED

    check_full_screen("charrnn explore", "`charrnn visualize` prints the same findings.")
    # The keys are read from standard input, so the text cannot be read from it.
    if options.text == "-":
        raise UsageError("--text -: standard input is the keyboard here. Give a file.")
    # Importing the interface takes so long that the user needs a message.
    if not options.quiet:
        sys.stderr.write("Looking into the model ...\n")
    with keys_dropped():
        from charrnn.plugins.tui.explore.app import Explorer

        model = load_model(options.run, quiet=options.quiet)
        content, before, _ = read_passage(
            model,
            source=options.text,
            num_chars=max(options.chars, CHARS_SCORED),
            quiet=options.quiet,
        )
        # The shown text and the scored text begin at the same character, so that the scores belong
        # to the text on the screen.
        explorer = Explorer(
            model,
            text=model.encode(content, context=before),
            num_shown=options.chars,
            num_scored=CHARS_SCORED,
        )
    explorer.run_until_signal(context.obj.signals)

    # The warnings are repeated, because those on the screen have gone with it.
    warn(tuple(explorer.warnings), quiet=options.quiet)
    return explorer.exit_code(context.obj.signals.number)


@dataclass(frozen=True, kw_only=True)
class WriteOptions(ScreenOptions):
    """The options of `charrnn write`."""

    words: Sequence[str] = argument(
        "[[RUN] DRAFT]",
        "A text file, which need not exist yet; before it, optionally, a run.",
        default=(),
        shown_default="a new text",
    )
    run: str | None = option(
        None,
        flags="--run RUN",
        help=f"The run, also without a draft. {RUN_HELP}",
        shown_default=NEWEST_RUN,
    )
    until: str = option(
        "word",
        flags="--until WORD",
        help="Continue to the end of a word, a line or a sentence.",
    )
    temperature: float = option(
        SAMPLE_TEMPERATURE,
        flags="--temp T",
        help="0 is greedy, 1 the model's own distribution.",
    )
    seed: int | None = option(
        None,
        flags="--seed N",
        help="The same seed gives the same continuations.",
        least=0,
        shown_default="a new one",
    )


def write(context: typer.Context, options: WriteOptions) -> int:
    """Write a text with a model.

    Tab offers five continuations, a digit takes one, Ctrl-Z takes it back. Nothing is saved
    unasked: Ctrl-S saves, F5 saves under another name. F1 lists the keys.
    """
    # The last word is the draft; the run stands before it, or in its option.
    *runs, draft = options.words or (None,)
    if len(runs) > 1:
        raise UsageError(
            f"write takes [RUN] DRAFT, not {len(runs) + 1} words. Put quotes around names with"
            " spaces."
        )
    if runs and options.run is not None:
        raise UsageError(
            f"The run is given twice, as {runs[0]} and by --run {options.run}. Leave one of them"
            " out."
        )

    # Without this error, a name of a run would count as the draft, and the newest run would
    # continue it.
    is_alone = not runs and options.run is None
    if draft is not None and is_alone and not Path(draft).exists() and is_run(draft):
        raise UsageError(
            f"{draft} is a run, and the draft is missing. Give a draft after it, or --run {draft}"
            f" for a new text. If {draft} is the draft, name a run before it."
        )

    check_full_screen(
        "charrnn write", "`charrnn sample --prime @DRAFT` continues a text without one."
    )
    from charrnn.generation.continuations import ContinuationOptions
    from charrnn.generation.generator import fresh_seed
    from charrnn.plugins.tui.write.drafts import Draft, read_draft

    # The options are checked before a large draft is read.
    seed = options.seed
    if seed is None:
        seed = fresh_seed()
    continuation = ContinuationOptions(
        until=options.until,
        temperature=options.temperature,
        seed=seed,
    )
    opened_draft = Draft() if draft is None else read_draft(Path(draft))
    with keys_dropped():
        model = load_model(runs[0] if runs else options.run, quiet=options.quiet)

        # Textual is imported last, because that takes a second: a wrong name of a draft or a run is
        # an error at once.
        from charrnn.plugins.tui.write.screen import Writer

        writer = Writer(model, draft=opened_draft, options=continuation)
    signals: Signals = context.obj.signals
    # The text is rescued, whatever ends the editor.
    is_left = False
    try:
        is_left = bool(writer.run_until_signal(signals))
    finally:
        if not is_left and (rescued := writer.rescue()) is not None:
            with contextlib.suppress(OSError):  # the terminal may be gone
                warn((f"the changes since the last save are in {rescued}",), quiet=options.quiet)
    # A signal that arrives after the text was saved and left is no failure.
    if is_left:
        return writer.exit_code(0)
    return writer.exit_code(signals.number) or 1
