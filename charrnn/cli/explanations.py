"""Explain the error that ended a command: its message, with the name that was probably meant, and
its exit code."""

import errno
import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

import typer

from charrnn.cli.root import app, commands, owner_of
from charrnn.cli.streams import describe_unexpected, with_flags
from charrnn.errors import CharRNNError, FolderOfRunsError, did_you_mean
from charrnn.hooks.manager import extension_in


class Explanation(NamedTuple):
    """How a command ends after an error."""

    message: str
    """What is printed on stderr after `error: `."""
    exit_code: int
    """The exit code of the process."""


def explain(error: Exception, arguments: Sequence[str]) -> Explanation:
    """Say what an error means for somebody who typed these arguments: with options in place of the
    names of parameters, and the package that failed, if it is another one.

    Below the command line, messages name parameters as Python does: all that is particular to a
    terminal is added here.
    """
    # An OSError without a number does not come from the system: a library could not be loaded.
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOMEM):
        message = _refused_by_system(error, _command_name(arguments))
        return Explanation(message, exit_code=1)

    if isinstance(error, FolderOfRunsError) and _takes_several_runs(_command_name(arguments)):
        return Explanation(_named_runs(error, arguments), exit_code=error.exit_code)
    if isinstance(error, CharRNNError):
        message = with_flags(error.message, _command_name(arguments))
        return Explanation(message, exit_code=error.exit_code)
    if isinstance(error, typer.TyperException):
        message = _refused_by_typer(error, _command_name(arguments))
        return Explanation(message, exit_code=error.exit_code)

    # Typer takes an EOFError for a closed prompt. No command prompts, so it comes from a damaged
    # file, or is a bug.
    cause = error.__cause__ if isinstance(error, typer.Abort) else error
    message = describe_unexpected(cause or error)
    if owner := owner_of(_command_name(arguments)) or extension_in(error):
        message = f"The {owner} failed: {message}"
    return Explanation(message, exit_code=1)


_ACTIONS = {
    errno.ENOSPC: ("write", "make room on that disk, and type the command again"),
    errno.EDQUOT: ("write", "make room: your share of that disk is used up"),
    errno.EFBIG: ("write", "raise the limit of the size of a file (ulimit -f)"),
    errno.EROFS: ("write", "name a folder of a disk that can be written"),
    errno.ENOENT: ("find", "look for a mistake in the name, and whether its folder is there"),
    errno.EACCES: ("open", "change its permissions, or name another place"),
    errno.EPERM: ("change", "change its owner or permissions, or name another place"),
    errno.EMFILE: ("open", "raise the number of files that a process may open (ulimit -n)"),
    errno.EIO: ("read or write", "the disk has failed: copy what matters to another one"),
}
"""What a command could not do with a file, and what to do about it, by the number of the error."""


_ROOM_FOR_TRAINING = "make room on that disk, and continue what was saved: charrnn train --resume"
"""What to do about a full disk when a training was stopped by it."""


def _refused_by_system(error: OSError, command: str) -> str:
    """Return the message about a file, or about the output, for an error of the system that nothing
    below the command line has explained."""
    action, remedy = _ACTIONS.get(error.errno or 0, ("read or write", ""))
    if command == "train" and error.errno == errno.ENOSPC:
        remedy = _ROOM_FOR_TRAINING
    what = f"{action} {error.filename}"
    # Without a name, it is standard output.
    if not error.filename:
        what = "write the output"
    return f"cannot {what}: {error.strerror or error}\n{remedy}".rstrip()


def _command_name(arguments: Sequence[str]) -> str:
    names = commands()
    return next((argument for argument in arguments if argument in names), "")


def _takes_several_runs(name: str) -> bool:
    """Return whether a command is of any number of runs, as `evaluate` and `runs` are."""
    command = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    return any(word.name == "runs" and word.nargs == -1 for word in command.params)


def _named_runs(error: FolderOfRunsError, arguments: Sequence[str]) -> str:
    """Return the message about a folder of runs: the command that was typed, with the runs in the
    place of their folder."""
    words = ["charrnn"]
    for argument in arguments:
        if argument == error.typed:
            words += error.names
        else:
            words.append(argument)
    return f"{error.path} is a folder of runs\nname them: {shlex.join(words)}"


def _refused_by_typer(error: typer.TyperException, name: str) -> str:
    """Return the message about the line of a command, "" for none, that cannot be parsed."""
    context: Any = getattr(error, "ctx", None)
    # An option without its value has no context.
    command = getattr(context, "command_path", f"charrnn {name}".rstrip())
    problem = error.format_message()

    # The errors about unknown options have a field of similar names.
    if hasattr(error, "possibilities"):
        typed = getattr(error, "option_name", "")
        problem = f"No such option: {typed}.{_meant(typed, context)}"
    elif extra := re.match(r"Got unexpected extra .*? \((.*)\)", problem, re.DOTALL):
        usage = " ".join(context.command.collect_usage_pieces(context))
        problem = f"{command} takes {usage}: leave out {extra[1]}."
        if any("--with" in word.opts for word in context.command.params):
            problem += " To compare runs, type --gradients --with and the name of each."
    return f"{problem}\nTry '{command} --help'."


def _meant(typed: str, context: Any) -> str:
    """Return what was probably meant by an option that the command does not have: a setting, an
    option of a similar name, or a text that begins with a dash."""
    # Imported here: only a command line that is wrong needs the names.
    from charrnn.config.settings import FIELD_NAMES

    flags = [flag for word in context.command.params for flag in word.opts]
    field = typed.lstrip("-").replace("-", "_")
    if "--set" in flags and field in FIELD_NAMES:
        return f" Did you mean --set {field}=VALUE?"
    if not typed.startswith("--") or " " in typed:
        return "\nA text or a file that begins with a dash stands last, after --."
    return did_you_mean(typed, flags)
