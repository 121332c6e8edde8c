"""The command-line interface: all commands, and the exit codes of their errors."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import typer.main

from charrnn.cli.flags import TRAIN, with_flags
from charrnn.cli.progress import TerminalProgress
from charrnn.cli.root import EndOfFile, Invocation, app, command_names
from charrnn.cli.signals import Signals
from charrnn.cli.streams import describe_unexpected, discard_output, print_error
from charrnn.errors import CharRNNError, OtherProcessError
from charrnn.process import ending_signals_delayed
from charrnn.progress import using
from charrnn.training.process_group import LaunchedProcess, launched_process
from charrnn.version import __version__


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"charrnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    It is 0 for success, that of the `CharRNNError`, 2 for a bad command line, 128 + the number of the signal that ended
    the command (130 for Ctrl-C), and 1 for anything else.
    """
    # Parsed here, because it also applies to a command line that does not parse.
    is_debugging = "--debug" in arguments
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
        return 130
    except OSError as error:
        if not error.filename:
            discard_output()  # else Python flushes standard output at exit, fails again and exits with 120
        if is_debugging:
            raise
        what = f"cannot read or write {error.filename}" if error.filename else "cannot write the output"
        return _report(f"{what}: {error.strerror or error}", 1, arguments)
    except CharRNNError as error:
        if isinstance(error, OtherProcessError) and (code := _launched().code_of_other_process()) is not None:
            return code
        if is_debugging:
            raise
        return _report(with_flags(error.message, _command_name(arguments)), error.exit_code, arguments)
    except typer.TyperException as error:
        if is_debugging:
            raise
        command = " ".join(["charrnn", *_command_words(arguments)])
        return _report(f"{error.format_message()}\nTry '{command} --help'.", error.exit_code, arguments)
    except typer.Abort:
        return 130
    except Exception as error:  # a bug: print a short message, and how to see more
        if is_debugging:
            raise
        cause = error.__cause__ or error if isinstance(error, EndOfFile) else error
        return _report(describe_unexpected(cause), 1, arguments)


def _report(message: str, code: int, arguments: Sequence[str]) -> int:
    """Print an error and return the exit code. Of several processes that train, the first one to fail prints."""
    with ending_signals_delayed():  # torchrun ends all processes once one has failed: not before this one has printed
        earlier = _launched().claim_error(code, message) if _command_name(arguments) == TRAIN else None
        if earlier is None:
            print_error(message)
    return code if earlier is None else earlier


def _launched() -> LaunchedProcess:
    try:
        return launched_process()
    except CharRNNError:  # reported already
        return LaunchedProcess()


def _prepare_process() -> str | None:
    """Make the standard streams usable; return what keeps the command from starting, None if nothing does."""
    if sys.stderr is None:  # closed by whoever started the command
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        return "cannot write the output: standard output is closed"
    for stream in (sys.stdout, sys.stderr):
        # Escape characters that the encoding of the stream lacks, rather than end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return None if _has_working_folder() else "the current folder was removed: change to another one (cd)"


def _run_with_signals(arguments: Sequence[str]) -> int:
    """Run one command with its signals handled; return its exit code, or raise what ended it."""
    signals = Signals()
    with signals.handle():
        try:
            invocation = Invocation(signals, tuple(arguments))
            with using(TerminalProgress(quiet=not {"-q", "--quiet"}.isdisjoint(arguments))):
                result = app(list(arguments) or ["--help"], prog_name="charrnn", standalone_mode=False, obj=invocation)
            sys.stdout.flush()
        except BaseException:
            # The interrupt may arrive as another exception: during an import as an ImportError.
            if not signals.has_raised:
                raise
        if signals.has_raised:
            discard_output()
            return 128 + signals.number
    return result if isinstance(result, int) else 0


def _has_working_folder() -> bool:
    # Without one torch ends the process with a message about one of its libraries.
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _command_name(arguments: Sequence[str]) -> str:
    names = command_names()
    return next((argument for argument in arguments if argument in names), "")


def _command_words(arguments: Sequence[str]) -> list[str]:
    """Return the words of the command: none, its name, or `corpora` and the name of the command in it."""
    name = _command_name(arguments)
    if not name:
        return []
    names = getattr(typer.main.get_command(app).commands[name], "commands", {})  # type: ignore[attr-defined]
    after = arguments[arguments.index(name) + 1 :]
    return [name, *[argument for argument in after if argument in names][:1]]
