"""Commands whose options are a dataclass, and the options that several commands share.

Which options go together is one table, `RULES`, from which the errors and the reference are made.
The options that select and modify an analysis of `visualize` are declared with the analyses
(`cli.analyses`).
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from charrnn.cli.help_page import OTHER
from charrnn.config.options import (
    Argument,
    Option,
    argument,
    make,
    option,
    options_of,
    parameters_of,
)
from charrnn.errors import UsageError
from charrnn.generation.sample_options import SampleOptions, TextOptions
from charrnn.hooks.manager import has_room


@dataclass(frozen=True, slots=True)
class Rule:
    """When options are refused: beside others, or without others. The flags are separated by
    spaces."""

    options: str
    """The options that are refused."""
    _: KW_ONLY
    beside: str = ""
    """Refused if one of these is given."""
    without: str = ""
    """Refused unless one of these is given."""
    why: str = ""
    """What the message says of the option beside."""


REPORTS = ("--by --ngrams --dynamic", "--errors", "--per-line")
"""The reports of `evaluate` that one call can print together."""
_SHARED = options_of(TextOptions)
_SHAPING = [one.flag for one in options_of(SampleOptions) if one not in _SHARED]
_DRAWS = " ".join(["--temp", *_SHAPING, "--color"])
"""The options of text that is drawn at random."""
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        Rule("--no-repeat", without="--beam"),
        Rule("--counts", beside="--no-counts --adapt"),
        # A search draws nothing at random.
        Rule(
            f"{_DRAWS} --export --no-copy --unique --new",
            beside="--beam",
            why="which searches for the most likely text",
        ),
        Rule("--stop --no-repeat", beside="--match", why="whose text must match as a whole"),
        # Colours have one meaning at a time, and JSON has none.
        Rule("--color --export", beside="--novelty", why="which colours the text, too"),
        Rule("--color --export", beside="--count --json --unique --new"),
        Rule("--unique --new --count", beside="--novelty", why="which shows one text"),
        # What is measured or changed of one model has no meaning for several.
        Rule("--adapt --clamp --novelty --no-copy --new", beside="--mix"),
        Rule("--force", without="--export"),
    ),
    "train": (
        Rule(
            "--recipe --out --show-config", beside="--resume", why="which continues a run as it is"
        ),
    ),
    "visualize": (Rule("--json", beside="--export"), Rule("--force", without="--export")),
    "predict": (
        Rule("--top", beside="--numbers"),
        Rule("--backward", without="--numbers"),
        Rule("--json", beside="--export"),
        Rule("--force", without="--export"),
    ),
    "evaluate": (
        # The reports of a group share a table; those of two groups do not fit into one.
        *(
            Rule(group, beside=" ".join(other for other in REPORTS if other != group))
            for group in REPORTS
        ),
        Rule("--part", beside="--text", why="which is no part of the run's own text"),
        Rule("--json", beside="--export"),
        Rule("--export", beside="--per-line", why="whose JSON Lines go to stdout"),
        Rule("--errors --per-line", beside="--mix"),
        Rule("--force", without="--export"),
    ),
    "runs": (
        Rule("--json", beside="--export"),
        Rule("--export", without="--plot"),
        Rule("--to", beside="--plot --json --sort"),
        Rule("--force", without="--export --to"),
    ),
}
"""The rules of each command, in the order in which they are checked."""


def is_given(value: object) -> bool:
    """Return whether an option with this value was given."""
    return value is not None and value is not False and value not in ("", [], ())


def check_rules(command: str, values: Mapping[str, object]) -> None:
    """Raise UsageError if options that were given do not go together. `values` has them by flag."""
    # The first rule that is broken: one error at a time, in an order that the table fixes.
    given = {flag for flag, value in values.items() if is_given(value)}
    for rule in RULES.get(command, ()):
        option = _first_of(rule.options, given)
        if option is None:
            continue

        # Either one option too many, or one that is missing.
        other = _first_of(rule.beside, given)
        if other is not None:
            why = ""
            if rule.why:
                why = f", {rule.why}"
            raise UsageError(f"{option} does not go with {other}{why}. Leave one of them out.")
        if rule.without and _first_of(rule.without, given) is None:
            wanted = " or ".join(rule.without.split())
            raise UsageError(f"{option} needs {wanted}: add it, or leave {option} out.")


def _first_of(flags: str, given: Collection[str]) -> str | None:
    """Return the first of some flags that was given, None if none was."""
    for flag in flags.split():
        if flag in given:
            return flag
    return None


SEVERAL_RUNS = "Several runs"
"""Panel of the options that take further runs."""
RUN_HELP = "A run folder, its name under checkpoints/, or a .zip of charrnn export."
"""What the help says of RUN."""
NEWEST_RUN = "the newest run there or in this folder"
"""What the help says of the run that is taken without RUN (`arguments.load_model`)."""
NEW_RUN = "a new one in checkpoints/"
"""What the help says of the folder that a run is saved in."""
TEXT_HELP = "Read this file, or - for stdin, instead of held-out text."
"""What the help says of --text."""
Extra = TypeVar("Extra")
"""The dataclass of options that a room or another package declares."""


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options that every command has."""

    json: bool = option(
        False, flags="--json", help="Print JSON on stdout instead of a table or text.", panel=OTHER
    )
    quiet: bool = option(
        False, flags="--quiet -q", help="Print only errors on stderr.", panel=OTHER
    )
    debug: bool = option(
        False, flags="--debug", help="Show a traceback when something fails.", panel=OTHER
    )


@dataclass(frozen=True, kw_only=True)
class ReplacingOptions(CommandOptions):
    """The options of a command that writes a file which the user names."""

    force: bool = option(False, flags="--force", help="Replace FILE if it exists.", panel=OTHER)


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """The options that every command has which fills the terminal or runs until it is stopped."""

    quiet: bool = option(
        False, flags="--quiet -q", help="Print only errors on stderr.", panel=OTHER
    )
    debug: bool = option(
        False, flags="--debug", help="Show a traceback when something fails.", panel=OTHER
    )


@dataclass(frozen=True, kw_only=True)
class ExtensibleOptions(ReplacingOptions):
    """The options of a command to which rooms and other packages add some."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """The values of all options that were given, the command's own included, by the names of their
    fields."""

    def of(self, owner: type[Extra]) -> Extra:
        """Return the options of a class that a room or another package declares."""
        return make(owner, self.extra)


def run_argument() -> Any:
    """Declare the run of a command that takes one, by default the newest."""
    return argument("RUN", help=RUN_HELP, default=None, shown_default=NEWEST_RUN)


def mix_option() -> Any:
    """Declare the runs that predict together with the first one."""
    return option(
        (),
        flags="--mix RUN[=W]",
        help="Mix the predictions of this run in, with the weight W; the first run has the rest."
        " Without =W all weights are equal (repeatable).",
        panel=SEVERAL_RUNS,
        needs="reports",
    )


def command_of(
    function: Callable[..., Any], *, name: str = "", added: Iterable[Option] = ()
) -> Callable[..., Any]:
    """Return the function for typer of one that takes a dataclass as its parameter `options`, and
    the context if it has such a parameter.

    It checks the rules of the command `name`. `added` are options of rooms and other packages for
    `ExtensibleOptions.extra`.
    """
    # An option of a package never takes the place of one of the command's own.
    hints = get_type_hints(function)
    owner = hints["options"]
    own = list(parameters_of(owner))
    others = [one for one in added if one.flag not in {getattr(two, "flag", "") for two in own}]
    parameters = [one for one in (*own, *others) if _is_there(one)]
    by_name = {one.name: one for one in parameters if isinstance(one, Option)}

    def call(**typed: Any) -> Any:
        context = {}
        if "context" in typed:
            context["context"] = typed.pop("context")

        # A tuple is empty, a flag false and all else None if it was not given.
        given = {}
        for key, value in typed.items():
            if value is not None and value is not False and value != ():
                given[key] = _converted(value, by_name.get(key))
        check_rules(name, values={one.flag: given.get(key) for key, one in by_name.items()})

        # Only what was given: the defaults are those of the dataclass.
        options = make(owner, given)
        if isinstance(options, ExtensibleOptions):
            options = replace(options, extra=given)
        return function(**context, options=options)

    # typer reads the options from the signature and the help from the docstring.
    signature = [_to_parameter(one) for one in parameters]
    if "context" in hints:
        signature.insert(0, _by_name("context", typer.Context))
    # Two attributes in place of a function that is written by `exec`, as typer expects one.
    call.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    call.__doc__ = function.__doc__
    return call


def _converted(typed: Any, declared: Option | None) -> Any:
    """Return the value of an option from what was typed. Raises UsageError for one that is none."""
    # A text, or several; True for an option without a value.
    if declared is None or declared.kind in (str, bool):
        return typed

    wanted = ""
    try:
        value: Any = declared.kind(typed)  # a number or a path
    except ValueError:
        wanted = "a whole number" if declared.kind is int else "a number"
    else:
        if declared.least is not None and value < declared.least:
            wanted = f"at least {declared.least}"
        if declared.most is not None and value > declared.most:
            wanted = f"at most {declared.most}"
    if wanted:
        raise UsageError(f"{declared.flag} is {typed}; it must be {wanted}.")
    return value


def _is_there(parameter: Option | Argument) -> bool:
    """Return whether the room that an option needs is there."""
    if isinstance(parameter, Argument) or not parameter.needs:
        return True
    return has_room(parameter.needs)


def _to_parameter(declared: Option | Argument) -> inspect.Parameter:
    """Return the parameter of a function from which typer makes an option or an argument."""
    # A text or several, whatever the field: `_converted` makes the value of it.
    kind: Any = list[str] if declared.is_repeatable else str
    if isinstance(declared, Argument):
        taken = typer.Argument(metavar=declared.metavar, help=_help_of(declared))
    else:
        spellings = [one for one in (declared.flag, declared.letter) if one is not None]
        taken = typer.Option(
            *spellings,
            help=_help_of(declared),
            metavar=declared.metavar,
            rich_help_panel=declared.panel,
        )
        if declared.kind is bool:
            return _by_name(declared.name, annotation=Annotated[bool, taken], default=False)

    # None where nothing was given, so that what was typed can be told from a default.
    if declared.is_required:
        return _by_name(declared.name, Annotated[kind, taken])
    return _by_name(declared.name, annotation=Annotated[kind | None, taken], default=None)


def _help_of(declared: Option | Argument) -> str:
    """Return the text of the help with what everybody asks next, in brackets at its end."""
    text = declared.help
    if declared.shown_default:
        text += f" [default: {declared.shown_default}]"
    if isinstance(declared, Option) and declared.is_required:
        text += " [required]"
    return text


def _by_name(
    name: str, annotation: Any, *, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    # By keyword alone: a parameter with a default may then stand before one without.
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
