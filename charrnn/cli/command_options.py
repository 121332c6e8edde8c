"""Commands whose options are a dataclass, and the options that several commands share.

The table `RULES` says which options go together; errors and the reference are made from it.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, Any, cast, get_type_hints

import typer

from charrnn.cli.help_page import OTHER
from charrnn.config.options import (
    Option,
    argument,
    check,
    make,
    option,
    parameters_of,
    refused,
)
from charrnn.config.settings import KIND_NAMES, whole_number
from charrnn.errors import UsageError
from charrnn.system.files import with_home


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that refuses options: beside some options, or without some. Flags are separated by
    spaces."""

    options: str
    """The options that are refused."""
    _: KW_ONLY
    beside: str = ""
    """The options are refused if one of these is given."""
    without: str = ""
    """The options are refused unless one of these is given."""
    why: str = ""
    """A clause for the message, about the option beside."""


REPORTS = ("--windowed --ngrams", "--per-line")
"""The reports of `evaluate` that one call can print together."""
VIEWS = ("--cell", "--surprise", "--find", "--evidence", "--gates", "--gradients")
"""The options that choose what `visualize` shows."""
_DRAWS = "--temp --top-k --top-p --min-p --precision --color"
"""The options of text that is drawn at random."""
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        Rule("--no-repeat", without="--beam"),
        # A search draws nothing at random.
        Rule(
            f"{_DRAWS} --no-copy --unique --new",
            beside="--beam",
            why="which searches for the most likely text",
        ),
        Rule("--stop --no-repeat", beside="--match", why="whose text must match as a whole"),
        # Colours have one meaning at a time, and belong to one text.
        Rule("--color", beside="--trace", why="which colours the text, too"),
        Rule("--color", beside="--count --unique --new"),
        Rule("--export", beside="--json"),
        Rule("--sort", beside="--trace --color --beam"),
        Rule("--unique --new", beside="--trace", why="which shows all that is drawn"),
        Rule("--force", without="--export"),
    ),
    "train": (
        Rule(
            "--recipe --out --show-config", beside="--resume", why="which continues a run as it is"
        ),
    ),
    "visualize": (
        # One picture at a time.
        *(Rule(view, beside=" ".join(VIEWS[index + 1 :])) for index, view in enumerate(VIEWS[:-1])),
        Rule("--detector --detect", beside="--surprise --gates --gradients"),
        Rule("--top", beside="--cell --find --evidence --gates --gradients"),
        Rule("--guesses", without="--cell"),
        Rule("--with", without="--gradients"),
        Rule("--json", beside="--export"),
        Rule("--force", without="--export"),
    ),
    "predict": (
        Rule("--top", beside="--numbers --trace"),
        Rule("--trace", beside="--numbers"),
        Rule("--text", without="--trace --within"),
        Rule("--within", without="--text"),
        Rule("--unknown", beside="--trace", why="which reads the text as it is"),
        Rule("--backward", without="--numbers"),
        Rule("--json", beside="--export"),
        Rule("--force", without="--export"),
    ),
    "evaluate": (
        # The reports of a group share a table; reports of two groups do not fit into one table.
        *(
            Rule(group, beside=" ".join(report for report in REPORTS if report != group))
            for group in REPORTS
        ),
        Rule("--part", beside="--text", why="which is no part of the run's own text"),
        Rule("--json", beside="--export"),
        Rule("--export", beside="--per-line", why="whose JSON Lines go to stdout"),
        Rule("--force", without="--export"),
    ),
    "runs": (
        Rule("--json", beside="--export"),
        Rule("--force", without="--export"),
    ),
}
"""The rules of each command, in the order in which they are checked."""


def is_given(value: object) -> bool:
    """Return whether an option with this value was given."""
    return value is not None and value is not False and value not in ("", [], ())


def check_rules(command: str, values: Mapping[str, object]) -> None:
    """Raise UsageError if options that were given do not go together. `values` has their values by
    flag."""
    # Only the first broken rule is reported, in the order of the table.
    given_flags = {flag for flag, value in values.items() if is_given(value)}
    for rule in RULES.get(command, ()):
        option = _first_of(rule.options, given_flags)
        if option is None:
            continue

        # Either an option too many, or an option that is missing.
        excluded_by = _first_of(rule.beside, given_flags)
        if excluded_by is not None:
            why = ""
            if rule.why:
                why = f", {rule.why}"
            raise UsageError(
                f"{option} does not go with {excluded_by}{why}. Leave one of them out."
            )
        if rule.without and _first_of(rule.without, given_flags) is None:
            wanted = " or ".join(rule.without.split())
            raise UsageError(f"{option} needs {wanted}: add it, or leave {option} out.")


def _first_of(flags: str, given: Collection[str]) -> str | None:
    """Return the first of some flags that was given, or None."""
    for flag in flags.split():
        if flag in given:
            return flag
    return None


RUN_HELP = "A run folder, its name under checkpoints/, or a folder or .zip of charrnn export."
"""The help of RUN."""
NEWEST_RUN = "the newest run there or in this folder"
"""The help of the run that is taken without RUN (`arguments.load_model`)."""
NEW_RUN = "a new one in checkpoints/"
"""The help of the folder that a run is saved in."""
TEXT_HELP = "Read this file, or - for stdin, instead of held-out text."
"""The help of --text."""
WRITING = frozenset({"--export", "--out"})
"""The options whose file or folder is written, not read."""
_READ = re.compile("RUN|FILE")
"""Matches the placeholder of an option or an argument that names what is read."""
_PATH = re.compile("RUN|FILE|DIR|CORPUS|TARGET|FIELD=VALUE|NAME$")
"""Matches the placeholder of an option or an argument that may be a path."""


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """The options of every command that fills the terminal or runs until it is stopped."""

    quiet: bool = option(
        False, flags="--quiet -q", help="Print only errors on stderr.", panel=OTHER
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

    force: bool = option(False, flags="--force", help="Replace FILE if it exists.", panel=OTHER)
    read: Sequence[str] = ()
    """The runs and files that were typed for all other options and arguments: the command reads
    them, and never replaces one."""


def run_argument() -> Any:
    """Declare the run of a command, by default the newest."""
    return argument("RUN", help=RUN_HELP, default=None, shown_default=NEWEST_RUN)


def command_of(function: Callable[..., object], *, name: str = "") -> Callable[..., object]:
    """Turn a function that takes a dataclass of options into a function for typer. The parameter of
    the dataclass is named `options`; a parameter `context` gets the context.

    The new function checks the rules of the command `name`.
    """
    hints = get_type_hints(function)
    if "options" not in hints:
        raise TypeError(
            f"{function.__name__} has no parameter `options` with the class of its options"
        )
    owner = hints["options"]
    parameters = list(parameters_of(owner))
    by_name = {option.name: option for option in parameters if option.flag}
    placeholders = {parameter.name: parameter.metavar or "" for parameter in parameters}

    def call(**typed: object) -> object:
        context = {}
        if "context" in typed:
            context["context"] = typed.pop("context")

        # An option that was not given is an empty tuple, False or None.
        given = {}
        for key, value in typed.items():
            if value is not None and value is not False and value != ():
                typed_value = _with_home(value, placeholders.get(key, ""))
                given[key] = typed_value
                if key in by_name:
                    given[key] = _converted(typed_value, by_name[key])
        check_rules(name, values={option.flag: given.get(key) for key, option in by_name.items()})

        # Only the options that were given: the dataclass has the defaults.
        options = make(owner, given)
        if isinstance(options, ReplacingOptions):
            options = replace(options, read=_read_names(given, parameters))
        return function(**context, options=options)

    signature = [_to_parameter(parameter) for parameter in parameters]
    if "context" in hints:
        signature.insert(0, _by_name("context", typer.Context))
    # typer reads the options from the signature and the help from the docstring, so that no
    # function need be written by `exec`.
    call.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    call.__doc__ = function.__doc__
    return call


def _read_names(given: Mapping[str, object], parameters: Iterable[Option]) -> tuple[str, ...]:
    """Return the names of runs and files among the given values: those of the parameters whose
    placeholder is one, in all forms such as @FILE, NAME=FILE.py and RUN@STEP."""
    names: dict[str, None] = {}
    for parameter in parameters:
        # An argument in brackets is followed by another one, which the command itself tells apart.
        placeholder = parameter.metavar or ""
        is_written = parameter.flag in WRITING or placeholder.startswith("[")
        if parameter.name not in given or is_written or not _READ.search(placeholder):
            continue
        value = given[parameter.name]
        for text in [value] if isinstance(value, str) else cast(Iterable[str], value):
            # Rather a name too many than one too few: a name of nothing spares nothing.
            names |= dict.fromkeys((text, text.removeprefix("@"), *text.rpartition("=")[::2]))
    names.pop("", None)
    return tuple(names)


def _with_home(typed: object, placeholder: str) -> object:
    """Return a typed value with the folder of the user in place of ~, if it may be a path."""
    if not _PATH.search(placeholder):
        return typed
    if not isinstance(typed, str):
        # Several values, or True for an option without a value.
        if isinstance(typed, Sequence):
            return [_with_home(one, placeholder) for one in typed]
        return typed

    # A text and a regular expression may begin with ~, too.
    is_other = "TEXT" in placeholder or "REGEX" in placeholder
    if is_other and not typed.startswith("@") and not typed.endswith(".py"):
        return typed
    return with_home(typed)


def _converted(typed: object, declared: Option) -> object:
    """Convert the typed text of an option to its value. Raises UsageError for a text that has
    none, and for a value out of range."""
    # A text or several texts; True for an option without a value.
    value: Any = typed
    if declared.kind not in (str, bool):
        # Whole numbers are read as those of the configuration are.
        read: Any = whole_number if declared.kind is int else declared.kind
        try:
            value = read(typed)  # a number or a path
        except ValueError:
            raise refused(declared.name, typed, KIND_NAMES[declared.kind]) from None
    if declared.allowed is not None:
        check(declared.name, value, allowed=declared.allowed)
    return value


def _to_parameter(declared: Option) -> inspect.Parameter:
    """Return the parameter of a function from which typer makes an option or an argument."""
    # A text or several texts, whatever the type of the field: `_converted` makes the value from it.
    kind: Any = list[str] if declared.is_repeatable else str
    if not declared.flag:
        info = typer.Argument(metavar=declared.metavar, help=_help_of(declared))
    else:
        spellings = [name for name in (declared.flag, declared.letter) if name is not None]
        info = typer.Option(
            *spellings,
            help=_help_of(declared),
            metavar=declared.metavar,
            rich_help_panel=declared.panel,
        )
        if declared.kind is bool:
            return _by_name(declared.name, annotation=Annotated[bool, info], default=False)

    # None where nothing was given, so that a typed value can be told from a default.
    if declared.is_required:
        return _by_name(declared.name, Annotated[kind, info])
    return _by_name(declared.name, annotation=Annotated[kind | None, info], default=None)


def _help_of(declared: Option) -> str:
    """Return the text of the help, with the default or "required" in brackets at its end."""
    text = declared.help
    if declared.shown_default:
        text += f" [default: {declared.shown_default}]"
    if declared.flag and declared.is_required:
        text += " [required]"
    return text


def _by_name(
    name: str, annotation: object, *, default: object = inspect.Parameter.empty
) -> inspect.Parameter:
    # By keyword alone: a parameter with a default may then stand before one without.
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
