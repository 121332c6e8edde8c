"""The command-line interface: all commands, and the exit codes of their errors."""

import errno
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.command_classes import Invocation
from charrnn.cli.progress_bars import TerminalProgress
from charrnn.cli.root import app, commands, owner_of
from charrnn.cli.streams import (
    choose_encoding,
    describe_unexpected,
    discard_output,
    end_interrupted_line,
    print_error,
    report_lost_characters,
    warn,
    with_flags,
)
from charrnn.errors import (
    LOST_CONNECTION,
    CharRNNError,
    NoRunError,
    NotHereError,
    OtherProcessError,
    did_you_mean,
)
from charrnn.hooks.manager import LEFT_OUT, about_missing_plugins
from charrnn.system.lazy import LazyModule
from charrnn.system.process import ENDING_SIGNALS, NUMPY_BYTES, PARENT, check_room
from charrnn.system.progress import using
from charrnn.system.signals import Signals
from charrnn.version import __version__

if TYPE_CHECKING:
    from charrnn.cli import other_words
else:
    # Only a command line that is wrong needs it.
    other_words = LazyModule("charrnn.cli.other_words")

QUIET = {"-q", "--quiet"}
"""Options that silence warnings and progress."""


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
        return _run_with_signals(arguments) or report_lost_characters()
    except (BrokenPipeError, SystemExit):
        # The reader of the output exited (`| head -1`), which typer turns into SystemExit.
        discard_output()
        return 0
    except KeyboardInterrupt:
        end_interrupted_line(signal.SIGINT)
        return 130
    except Exception as error:
        if isinstance(error, OSError) and not error.filename:
            # Else Python flushes standard output at exit, fails again and exits with 120.
            discard_output()
        if isinstance(error, OtherProcessError) and PARENT in os.environ:
            return LOST_CONNECTION  # the launcher says so for all processes
        # `--debug` is looked for here, because it also applies to a command line that does not
        # parse.
        if "--debug" in arguments:
            raise
        message, code = _explain(error, arguments)
        if "WORLD_SIZE" in os.environ:
            # torch ends all processes once a process has failed; the message and the code of this
            # process must not be lost.
            for number in ENDING_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        print_error(message)
        return code
    finally:
        if LEFT_OUT and os.environ.get("RANK", "0") == "0":
            warn(tuple(LEFT_OUT), quiet=not QUIET.isdisjoint(arguments))


def _explain(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the message about an error, and the exit code."""
    # An OSError without a number does not come from the system: a library could not be loaded.
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOMEM):
        problem_of_file = (
            f"cannot read or write {error.filename}"
            if error.filename
            else "cannot write the output"
        )
        return f"{problem_of_file}: {error.strerror or error}", 1
    if isinstance(error, CharRNNError):
        command = _command_name(arguments)
        message = with_flags(error.message, command)
        field = re.search(r"no configuration field '(\w+)'", message)
        if field:
            message = f"{message}\n{other_words.field_for(field[1])}".rstrip()
        # What was typed for a run or a text may be meant as something else.
        if isinstance(error, NoRunError | NotHereError) and _is_word(error.source, arguments):
            message = f"{message}\n{other_words.meaning_of(command, error.source)}"
        return message, error.exit_code
    if isinstance(error, typer.TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "charrnn")
        problem = _unknown_option(error, arguments) or error.format_message()
        problem = _with_meaning(problem, command, arguments)
        if problem.startswith("No such"):
            problem += about_missing_plugins()
            # The reason belongs to the error: -q hides warnings, but not this one.
            if "command" in problem and LEFT_OUT:
                problem += f"\n{LEFT_OUT.pop(0)}"
        return f"{problem}\nTry '{command} --help'.", error.exit_code
    # Typer takes an EOFError for a closed prompt. No command prompts, so it comes from a damaged
    # file, or is a bug.
    cause = error.__cause__ if isinstance(error, typer.Abort) else error
    message = describe_unexpected(cause or error)
    if owner := owner_of(_command_name(arguments)):
        message = f"The {owner} failed: {message}"
    return message, 1


def _with_meaning(problem: str, command: str, arguments: Sequence[str]) -> str:
    """Return a message about an unknown command, a word too many or a value too many, and what
    works in its place."""
    unknown = re.match(r"No such command '(.*?)'", problem, re.DOTALL)
    if unknown:
        known = other_words.command_for(command, unknown[1])
        # Not also a command that only looks alike.
        return f"{unknown[0]}. {known}" if known else problem
    extra = re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", problem, re.DOTALL)
    if extra:
        known = other_words.meaning_of(command.partition(" ")[2], extra[1])
        return f"{problem}\n{known}".rstrip()
    flag = re.match("Option '(.*?)' does not take a value", problem)
    if flag:
        known = other_words.flag_for(flag[1], other_words.value_after(arguments, flag[1]))
        return f"{problem} {known}".rstrip()
    return problem


def _is_word(text: str, arguments: Sequence[str]) -> bool:
    """Return whether a text was typed as a word of its own, and not as the value of an option."""
    if text not in arguments:
        return False
    index = arguments.index(text)
    before = arguments[index - 1]
    return index > 0 and (not before.startswith("-") or before in other_words.FLAGS)


def _unknown_option(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """Return a message about an option that the command does not have, with the words that work, an
    option of a similar name, or the way to type a text or a file that begins with a dash; "" for
    another error."""
    context = getattr(error, "ctx", None)
    if not hasattr(error, "possibilities") or context is None:
        return ""
    typed: str = getattr(error, "option_name", "")
    flags = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.param_type_name == "option"
    ]

    # For -q.txt, the error has only the first letter that is no option; the message shows the word.
    is_text = " " in typed
    if not typed.startswith("--"):
        is_text = True
        words = [word for word in arguments if re.match("-[^-]", word) and typed[1:] in word]
        typed = words[0] if words else typed
    message = f"No such option: {typed}."
    known = other_words.option_for(
        context.command_path.partition(" ")[2],
        typed,
        flags=flags,
        value=other_words.value_after(arguments, typed),
    )
    if known:
        return f"{message} {known}"

    near = did_you_mean(typed, flags)
    has_arguments = len(flags) < len(context.command.params)
    if has_arguments and is_text:
        remedy = f"stands last, after --, as in -- {typed}; a file may also begin with ./"
        return f"{message}{near}\nA text or a file that begins with a dash {remedy}"
    return f"{message}{near}"


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
    try:
        os.getcwd()  # without one torch ends the process with a message about one of its libraries
    except OSError:
        return "the current folder was removed: change to another one (cd)"
    return None


def _run_with_signals(arguments: Sequence[str]) -> int:
    """Run one command with its signals handled; return its exit code, or raise the error that ended
    it."""
    check_room(NUMPY_BYTES, "charrnn")
    signals = Signals()
    try:
        with signals.handle():
            invocation = Invocation(signals, tuple(arguments))
            with using(TerminalProgress(quiet=not QUIET.isdisjoint(arguments))):
                result = app(
                    list(arguments) or ["--help"],
                    prog_name="charrnn",
                    standalone_mode=False,
                    obj=invocation,
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


def _command_name(arguments: Sequence[str]) -> str:
    names = commands()
    return next((argument for argument in arguments if argument in names), "")
