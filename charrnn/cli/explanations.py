"""Explain the error that ended a command: its message, with what works in place of what was typed,
and its exit code."""

import errno
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli.root import commands, owner_of
from charrnn.cli.streams import describe_unexpected, with_flags
from charrnn.errors import CharRNNError, NoRunError, NotHereError, did_you_mean
from charrnn.hooks.manager import extension_in, left_out, other_packages
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.cli import other_words
else:
    # Only a command line that is wrong needs it.
    other_words = LazyModule("charrnn.cli.other_words")


def explain(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the message about an error, and the exit code."""
    # An OSError without a number does not come from the system: a library could not be loaded.
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOMEM):
        action = "write the output"
        if error.filename:
            action = f"read or write {error.filename}"
        return f"cannot {action}: {error.strerror or error}", 1

    if isinstance(error, CharRNNError):
        return _refused_by_command(error, arguments), error.exit_code
    if isinstance(error, typer.TyperException):
        return _refused_by_typer(error, arguments), error.exit_code

    # Typer takes an EOFError for a closed prompt. No command prompts, so it comes from a damaged
    # file, or is a bug.
    cause = error.__cause__ if isinstance(error, typer.Abort) else error
    message = describe_unexpected(cause or error)
    if owner := owner_of(_command_name(arguments)) or extension_in(error):
        message = f"The {owner} failed: {message}"
    elif others := ", ".join(other_packages()):
        # What a package returns, and a function that does not fit, fail in a line of charrnn.
        message += f" It may be a fault of what extends charrnn: {others}."
    return message, 1


def _command_name(arguments: Sequence[str]) -> str:
    names = commands()
    return next((argument for argument in arguments if argument in names), "")


def _refused_by_command(error: CharRNNError, arguments: Sequence[str]) -> str:
    """Return the message about values that a command refuses."""
    command = _command_name(arguments)
    message = with_flags(error.message, command)
    known = ""
    if field := re.search(r"no configuration field '(\w+)'", message):
        known = other_words.field_for(field[1])
    # What was typed for a run or a text may be meant as something else.
    if isinstance(error, NoRunError | NotHereError) and _is_word(error.source, arguments):
        known = other_words.meaning_of(command, error.source)
    return f"{message}\n{known}"


def _is_word(text: str, arguments: Sequence[str]) -> bool:
    """Return whether a text was typed as a word of its own, and not as the value of an option."""
    if text not in arguments:
        return False
    index = arguments.index(text)
    before = arguments[index - 1]
    return index > 0 and (not before.startswith("-") or before in other_words.FLAGS)


def _refused_by_typer(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """Return the message about a command line that cannot be parsed."""
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "charrnn")
    option = getattr(error, "option_name", "")
    problem = error.format_message()

    # The errors of options have fields; those of words have a message alone.
    if hasattr(error, "possibilities"):
        problem = _about_unknown_option(option, context, arguments=arguments)
    elif option:
        known = other_words.flag_for(option, other_words.value_after(arguments, option))
        problem = f"{problem} {known}".rstrip()
    elif unknown := re.match(r"No such command '(.*?)'", problem, re.DOTALL):
        # What works, and not also a command that only looks alike.
        if known := other_words.command_for(command, unknown[1]):
            problem = f"{unknown[0]}. {known}"
        # The reason belongs to the error: -q hides warnings, but not this one.
        for reason in left_out()[:1]:
            problem += f"\n{reason}"
    elif extra := re.match(r"Got unexpected extra .*? \((.*)\)", problem, re.DOTALL):
        known = other_words.meaning_of(command.partition(" ")[2], extra[1])
        problem = f"{problem}\n{known}"
    return f"{problem}\nTry '{command} --help'."


def _about_unknown_option(typed: str, context: Any, arguments: Sequence[str]) -> str:
    """Return the message about an option that the command does not have, with the words that work,
    an option of a similar name, or the way to type a text or a file that begins with a dash."""
    parameters = context.command.params
    flags = [word.opts[0] for word in parameters if word.param_type_name == "option"]

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
    has_arguments = len(flags) < len(parameters)
    if has_arguments and is_text:
        remedy = f"stands last, after --, as in -- {typed}; a file may also begin with ./"
        return f"{message}{near}\nA text or a file that begins with a dash {remedy}"
    return f"{message}{near}"
