"""All commands together, and what becomes of their errors."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import typer.core

from charrnn import __version__
from charrnn.cli import corpora, evaluate, explore, predict, runs, sample, train, visualize
from charrnn.cli.flags import with_flags
from charrnn.cli.signals import Signals
from charrnn.cli.streams import describe_unexpected, discard_output, print_error
from charrnn.errors import CharRNNError


class _EndOfFile(Exception):
    """An EOFError, by a name that typer does not know."""


class _Commands(typer.core.TyperGroup):
    """The group of all commands.

    Typer takes every EOFError for a prompt that the user closed, and ends without a message. No command prompts: an
    EOFError comes from a damaged file or from a bug.
    """

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise _EndOfFile from error


app = typer.Typer(
    name="charrnn",
    cls=_Commands,
    help="A laboratory for character-level recurrent language models: train one, let it write, look at its cells.",
    epilog="Start with `charrnn train`, then `charrnn sample` and `charrnn visualize`.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("predict")(predict.predict)
app.command("visualize")(visualize.visualize)
app.command("explore")(explore.explore)
app.command("evaluate")(evaluate.evaluate)
app.command("runs")(runs.runs)
app.add_typer(corpora.app, name="corpora")


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
    """Run one command; return its exit code.

    That of the `CharRNNError`; 2 for a bad command line; 128 + the signal that ended it, 130 for Ctrl-C.
    """
    # Looked for here, because a command line that does not parse must honour it too.
    is_debugging = "--debug" in arguments
    if sys.stderr is None:  # closed by whoever started the command
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        print_error("cannot write the output: standard output is closed")
        return 1
    for stream in (sys.stdout, sys.stderr):
        # A stream that cannot spell a character shows its escape, rather than end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not _has_working_folder():
        print_error("the folder that this was started in was removed: change to another one (cd)")
        return 1
    signals = Signals()
    try:
        with signals.heard():
            try:
                result = app(list(arguments) or ["--help"], prog_name="charrnn", standalone_mode=False, obj=signals)
                sys.stdout.flush()
            except BaseException:
                # Whatever the interrupt became on its way out: amid an import it may be an ImportError.
                if not signals.has_raised:
                    raise
            if signals.has_raised:
                discard_output()
                return 128 + signals.number
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit):
        # The reader has what it wanted (`| head -1`): typer makes an exit of that, the only one it makes when embedded.
        discard_output()
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if not error.filename:
            discard_output()  # Python flushes standard output once more as it ends, and a failure there exits with 120.
        if is_debugging:
            raise
        what = f"cannot read or write {error.filename}" if error.filename else "cannot write the output"
        print_error(f"{what}: {error.strerror or error}")
        return 1
    except CharRNNError as error:
        if is_debugging:
            raise
        print_error(with_flags(error.message, _command_name(arguments)))
        return error.exit_code
    except typer.TyperException as error:
        if is_debugging:
            raise
        command = " ".join(filter(None, ["charrnn", _command_name(arguments)]))
        print_error(f"{error.format_message()}\nTry '{command} --help'.")
        return error.exit_code
    except typer.Abort:
        return 130
    except Exception as error:  # a bug of ours: still a short message, with the way to see more
        if is_debugging:
            raise
        print_error(describe_unexpected(error.__cause__ or error if isinstance(error, _EndOfFile) else error))
        return 1


def _has_working_folder() -> bool:
    # Without one torch ends the process, with a message about a library of its own.
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _command_name(arguments: Sequence[str]) -> str:
    names = {command.name for command in app.registered_commands} | {"corpora"}
    return next((argument for argument in arguments if argument in names), "")
