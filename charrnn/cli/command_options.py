"""Commands whose options are a dataclass, and the options that several commands share.

Which options go together is said in `cli.option_rules`.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from charrnn.cli.command_classes import OTHER, QUIET, QUIET_LETTER
from charrnn.cli.option_rules import check_rules
from charrnn.config.options import Option, argument, check, make, option, parameters_of, refused
from charrnn.config.settings import KIND_NAMES, limit_of, whole_number
from charrnn.errors import UsageError, named, shortened
from charrnn.system.files import with_home
from charrnn.views.delivery import describe_formats

TEXT_HELP = "Read this file, or - for stdin, instead of held-out text."
"""The help of --text."""
NEWEST_RUN = "the newest run here"
"""The help of the run that is taken without RUN (`arguments.load_model`)."""
PART_HELP = "Part of the run's text: validation, or test of --split 80/10/10."
"""The help of --part."""
WRITTEN = ("--export FILE", "--out DIR", "[RUN] FILE")
"""The options and the argument whose file or folder is written, not read."""
_READ = re.compile("RUN|FILE")
"""Matches the placeholder of an option or an argument that names what is read."""


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """The options of every command that fills the terminal or runs until it is stopped.

    A new command inherits from one of these classes: this one has what every command needs, and
    prints no result.
    """

    quiet: bool = option(
        False, flags=QUIET, letter=QUIET_LETTER, help="Print only errors on stderr.", panel=OTHER
    )
    debug: bool = option(
        False, flags="--debug", help="Show a traceback when something fails.", panel=OTHER
    )


@dataclass(frozen=True, kw_only=True)
class CommandOptions(ScreenOptions):
    """The options of every command that reports something."""

    json: bool = option(
        False, flags="--json", help="Print JSON on stdout instead of a table or text.", panel=OTHER
    )


@dataclass(frozen=True, kw_only=True)
class ReplacingOptions(CommandOptions):
    """The options of a command that writes a file which the user names."""

    force: bool = option(False, flags="--force", help="Replace a file that exists.", panel=OTHER)
    read: Sequence[str] = ()
    """The runs and files that were typed for all other options and arguments: the command reads
    them, and never replaces one."""


@dataclass(frozen=True, kw_only=True)
class ExportingOptions(ReplacingOptions):
    """The options of a command that can write its result to a file."""

    export: Path | None = option(
        None, flags="--export FILE", help=f"Write to FILE: {describe_formats()}.", panel=OTHER
    )


def run_argument() -> Any:
    """Declare the run of a command, by default the newest."""
    return argument(
        "[RUN]",
        help="A run, its name, RUN@STEP, or what charrnn export wrote.",
        shown_default=NEWEST_RUN,
    )


def command_of(function: Callable[..., object], *, name: str = "") -> Callable[..., object]:
    """Turn a function that takes a dataclass of options into a function for typer. The parameter of
    the dataclass is named `options`; a parameter `context` gets the context.

    A command is then a plain function of one record, which a test calls without a command line. The
    new function checks the rules of the command `name`.
    """
    hints = get_type_hints(function)
    owner = hints["options"]
    parameters = list(parameters_of(owner))

    def call(context: typer.Context, **typed: Any) -> object:
        # An option that was not given is an empty tuple, False or None.
        given = {}
        for parameter in parameters:
            value = typed[parameter.name]
            if value is not None and value is not False and value != ():
                if _is_collected(parameter):
                    value = _only_value(value, declared=parameter)
                given[parameter.name] = _converted(value, declared=parameter)
        check_rules(name, _facts_of(given, parameters=parameters))

        # Only the options that were given: the dataclass has the defaults.
        options = make(owner, given)
        if isinstance(options, ReplacingOptions):
            options = replace(options, read=tuple(_read_names(given, parameters=parameters)))
        if "context" in hints:
            return function(context=context, options=options)
        return function(options=options)

    # typer reads the options from the signature and the help from the docstring, so that no
    # function need be written by `exec`.
    in_context = _by_name("context", annotation=typer.Context, default=inspect.Parameter.empty)
    signature = [in_context, *map(_to_parameter, parameters)]
    call.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    call.__doc__ = function.__doc__
    return call


def _facts_of(given: Mapping[str, Any], parameters: Sequence[Option]) -> Iterator[str]:
    """Yield what the rules may name of the given values: each option, alone and with each of its
    values; of a file the suffix; the first of the words that belong to no option."""
    for parameter in parameters:
        if parameter.name not in given:
            continue
        values = given[parameter.name]
        if not isinstance(values, list | tuple):
            values = [values]
        if not parameter.flag:
            yield str(values[0])
            continue
        yield parameter.flag
        for value in values:
            if isinstance(value, Path):
                value = value.suffix.lower()
            yield f"{parameter.flag}={value}"


def _read_names(given: Mapping[str, Any], parameters: Sequence[Option]) -> Iterator[str]:
    """Yield the names of runs and files among the given values: those of the parameters whose
    placeholder is one, in all forms such as @FILE, NAME=FILE.py and RUN@STEP."""
    for parameter in parameters:
        placeholder = parameter.metavar or ""
        is_written = f"{parameter.flag} {placeholder}".strip() in WRITTEN
        if parameter.name not in given or is_written or not _READ.search(placeholder):
            continue
        texts = given[parameter.name]
        if isinstance(texts, str):
            texts = [texts]
        for text in texts:
            # Rather a name too many than one too few: a name of nothing spares nothing.
            names = (text, text.removeprefix("@"), *text.rpartition("=")[::2])
            yield from filter(None, names)


def _is_collected(declared: Option) -> bool:
    """Whether typer collects all values of an option that takes one, so that a second value can be
    refused: of an option that is no list, typer itself keeps the last value in silence."""
    return bool(declared.flag) and declared.kind is not bool and not declared.is_repeatable


def _only_value(values: Sequence[str], declared: Option) -> str:
    """Return the value of an option that takes one. Raises UsageError, which names all values, if
    the option was typed several times."""
    if len(values) > 1:
        typed = [shortened(value) if value else "an empty one" for value in values]
        raise UsageError(
            f"{named(declared.name)} takes one value, not {' and '.join(typed)}: give one of them."
        )
    return values[0]


def _converted(typed: object, declared: Option) -> object:
    """Convert the typed text of an option to its value. Raises UsageError for a text that has
    none, and for a value out of range."""
    # A text or several texts; True for an option without a value.
    value: Any = typed
    texts = typed if isinstance(typed, list | tuple) else [typed]
    if "" in texts and not declared.may_be_empty:
        # The value of a shell variable that is not set.
        what = named(declared.name) if declared.flag else declared.metavar
        raise UsageError(f"{what} is empty: give a value, or leave it out.")
    if declared.kind is Path:
        # The shell leaves the ~ of --out=~/run as it is.
        value = Path(with_home(value))
    elif declared.kind not in (str, bool):
        # Whole numbers are read as those of the configuration are.
        read: Any = whole_number if declared.kind is int else declared.kind
        try:
            value = read(typed)
        except ValueError:
            wanted = KIND_NAMES[declared.kind] + limit_of(typed)
            raise refused(declared.name, value=typed, wanted=wanted) from None
    if declared.allowed is not None:
        check(declared.name, value, allowed=declared.allowed)
    return value


def _to_parameter(declared: Option) -> inspect.Parameter:
    """Return the parameter of a function from which typer makes an option or an argument."""
    text = declared.help
    if declared.shown_default is not None:
        text += f" [default: {declared.shown_default}]"
    info: Any = typer.Argument(metavar=declared.metavar, help=text)
    if declared.flag:
        spellings = [declared.flag]
        if declared.letter:
            spellings.append(declared.letter)
        info = typer.Option(
            *spellings,
            help=text,
            metavar=declared.metavar,
            rich_help_panel=declared.panel,
            hidden=declared.is_hidden,
        )
    if declared.kind is bool:
        return _by_name(declared.name, annotation=Annotated[bool, info], default=False)

    # A text or several texts, whatever the type of the field: `_converted` makes the value from it,
    # and `command_classes.AsTyped` says why typer does not.
    # None where nothing was given, so that a typed value can be told from a default.
    kind: Any = str
    if declared.is_repeatable or _is_collected(declared):
        kind = list[str]
    return _by_name(declared.name, annotation=Annotated[kind | None, info], default=None)


def _by_name(name: str, annotation: object, *, default: object) -> inspect.Parameter:
    # By keyword alone: a parameter with a default may then stand before one without.
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind=kind, default=default, annotation=annotation)
