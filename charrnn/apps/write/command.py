"""charrnn write: an editor in which a model offers continuations."""

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.apps.terminal import check_full_screen
from charrnn.cli.arguments import load_model
from charrnn.cli.options import DebugOption, QuietOption
from charrnn.cli.signals import Signals
from charrnn.cli.streams import warn
from charrnn.errors import UsageError
from charrnn.generation.options import SAMPLE_TEMPERATURE

if TYPE_CHECKING:
    from charrnn.apps.write.screen import Writer

POLL_SECONDS = 0.2
"""Seconds between two looks for a signal."""
GRACE_SECONDS = 3.0
"""Seconds that the editor has to end after a signal."""


def write(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] DRAFT",
            help="A text file, which need not exist yet; before it, optionally, a run. Default: a new text.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            "--model",
            help="The run, also without a draft: a run folder, its name under checkpoints/, or a .zip of charrnn "
            "export. Default: the newest run there or in this folder.",
            metavar="RUN",
        ),
    ] = None,
    until: Annotated[
        str, typer.Option("--until", help="Continue to the end of a word, a line or a sentence.", metavar="WORD")
    ] = "word",
    temp: Annotated[
        float,
        typer.Option("--temp", "--temperature", help="Of the samples: 0 is greedy, 1 the model's own.", metavar="T"),
    ] = SAMPLE_TEMPERATURE,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="The same seed gives the same continuations. Default: a new one.", metavar="N", min=0
        ),
    ] = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Write a text with a model.

    Tab offers five continuations, a digit takes one, Ctrl-Z takes it back. Nothing is saved unasked: Ctrl-S saves, F5
    saves under another name. F1 lists the keys.
    """
    *runs, draft = arguments or (None,)
    if len(runs) > 1:
        raise UsageError(f"write takes [RUN] DRAFT, not {len(runs) + 1} words. Put quotes around names with spaces.")
    if runs and run is not None:
        raise UsageError(f"The run is given twice, as {runs[0]} and by --run {run}. Leave one of them out.")
    check_full_screen("charrnn write", "`charrnn sample --prime-file DRAFT` continues a text without one.")
    from charrnn.apps.write.continuations import ContinuationOptions
    from charrnn.apps.write.drafts import Draft, read_draft
    from charrnn.generation.generator import fresh_seed

    # Checked before a large draft is read.
    options = ContinuationOptions(until=until, temperature=temp, seed=fresh_seed() if seed is None else seed)
    read = Draft() if draft is None else read_draft(Path(draft))
    model = load_model(runs[0] if runs else run, quiet=quiet)

    from charrnn.apps.write.screen import Writer

    return _run(Writer(model, read, options), context.obj.signals, quiet=quiet)


def _run(writer: "Writer", signals: Signals, *, quiet: bool) -> int:
    """Run the editor; if something else than its keys ends it, say that text was not saved."""
    is_left, is_over = False, threading.Event()
    threading.Thread(target=_end_anyway, args=(signals, is_over), daemon=True).start()
    try:
        is_left = bool(writer.run_until_signal(signals))
    finally:
        is_over.set()
        if not is_left and writer.draft_screen.is_unsaved:
            with contextlib.suppress(OSError):  # the terminal may be gone
                warn(("the changes since the last save are lost",), quiet=quiet)
    return writer.exit_code(0) if is_left else writer.exit_code(signals.number) or 1


def _end_anyway(signals: Signals, is_over: threading.Event) -> None:
    """End the process after a signal, if Textual does not: it waits forever to write to a terminal that is gone."""
    while not signals.number:
        if is_over.wait(POLL_SECONDS):
            return
    if not is_over.wait(GRACE_SECONDS):
        os._exit(128 + signals.number)
