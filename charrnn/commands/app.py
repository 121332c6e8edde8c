"""The command-line interface: all commands, and the exit codes of their errors."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.command_classes import QUIET, QUIET_LETTER
from charrnn.cli.explanations import explain
from charrnn.cli.progress_bars import TerminalProgress
from charrnn.cli.root import OWN, app
from charrnn.cli.streams import (
    choose_encoding,
    discard_output,
    end_interrupted_line,
    print_error,
)
from charrnn.commands import COMMANDS
from charrnn.errors import GivenTextWarning
from charrnn.system.process import ENDING_SIGNALS, NUMPY_BYTES, check_room
from charrnn.system.progress import using
from charrnn.system.signals import Signals
from charrnn.version import __version__

OWN.update({entry.name: entry for entry in COMMANDS})


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"charrnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    It is 0 for success, the exit code of a `CharRNNError`, 2 for a bad command line, 128 + the
    number of the signal that ended the command (130 for Ctrl-C), and 1 for anything else.
    """
    if problem := _prepare_process():
        print_error(problem)
        return 1
    try:
        return _run_with_signals(arguments)
    except (BrokenPipeError, SystemExit):
        # The reader of the output exited (`| head -1`), which typer turns into SystemExit.
        discard_output()
        return 0
    except KeyboardInterrupt:
        end_interrupted_line(signal.SIGINT)
        return 130
    except Exception as error:  # Every error becomes a message and an exit code.
        if isinstance(error, OSError) and not error.filename:
            # Else Python flushes standard output at exit, fails again and exits with 120.
            discard_output()
        # `--debug` is looked for here, because it also applies to a command line that does not
        # parse.
        if "--debug" in arguments:
            raise
        message, code = explain(error, arguments)
        if "WORLD_SIZE" in os.environ:
            # torch ends all processes once a process has failed; the message and the code of this
            # process must not be lost.
            for number in ENDING_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        print_error(message)
        return code


def _prepare_process() -> str | None:
    """Make the standard streams usable; return a message if the command cannot start, or None."""
    if sys.stderr is None:  # closed by whoever started the command
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        return "cannot write the output: standard output is closed"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            choose_encoding(stream)
    # A model whose training diverged computes inf and nan. The code that prints a result checks for
    # them, so NumPy's warnings, which show lines of the source, are hidden.
    warnings.filterwarnings(
        "ignore", "(divide by zero|overflow|invalid value) encountered", RuntimeWarning
    )
    warnings.filterwarnings("ignore", category=GivenTextWarning)
    try:
        os.getcwd()  # without one torch ends the process with a message about one of its libraries
    except OSError:
        return "the current folder was removed: change to another one (cd)"
    return None


def _run_with_signals(arguments: Sequence[str]) -> int:
    """Run one command with its signals handled; return its exit code, or raise the error that ended
    it."""
    check_room(NUMPY_BYTES, what="charrnn")
    signals = Signals()
    # What is imported before the options are read may warn, too. Of several processes that torchrun
    # has started, the first one says what is to be said.
    # Without WORLD_SIZE, RANK is a variable of somebody else.
    is_first = "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"
    is_quiet = QUIET in arguments or QUIET_LETTER in arguments or not is_first
    try:
        with signals.handle():
            with using(TerminalProgress(quiet=is_quiet)):
                result = app(
                    list(arguments) or ["--help"],
                    prog_name="charrnn",
                    standalone_mode=False,
                    obj=signals,
                )
            sys.stdout.flush()
    except BaseException:
        # The interrupt may arrive as another exception: during an import as an ImportError. It may
        # also arrive while the handlers are set or taken back.
        if not signals.has_raised:
            raise
    if signals.has_raised:
        end_interrupted_line(signals.number)
        discard_output()
        return 128 + signals.number
    return result if isinstance(result, int) else 0
