"""Parameters of commands, made from options that are declared as data, and the options that several
commands share.

Which options go together is one table, `RULES`, from which the errors and the reference are made.
The options that select and modify an analysis of `visualize` are declared with the analyses
(`cli.analyses`).
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import typer

from charrnn.config.options import Option, options_of
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


REPORTS = ("--by --ngrams --dynamic", "--errors --long-range", "--per-line")
"""The reports of `evaluate` that one call can print together."""
_SHARED = options_of(TextOptions)
_DRAWS = " ".join(one.flag for one in options_of(SampleOptions) if one not in _SHARED)
"""The options of text that is drawn at random."""
RULES: dict[str, tuple[Rule, ...]] = {
    "sample": (
        Rule("--no-repeat", without="--beam"),
        Rule(f"{_DRAWS} --export", beside="--beam", why="which searches for the most likely text"),
        Rule("--stop --no-repeat", beside="--match", why="whose text must match as a whole"),
        Rule("--color --export", beside="--novelty", why="which colours the text, too"),
        Rule("--color --export", beside="--count --json"),
        Rule("--alternatives", beside="--novelty"),
        Rule("--adapt --clamp --novelty", beside="--mix"),
    ),
    "train": (
        Rule(
            "--recipe --out --show-config", beside="--resume", why="which continues a run as it is"
        ),
    ),
    "visualize": (Rule("--json", beside="--export"), Rule("--guesses", beside="--sparkline")),
    "evaluate": (
        *(
            Rule(group, beside=" ".join(other for other in REPORTS if other != group))
            for group in REPORTS
        ),
        Rule("--part", beside="--text", why="which is no part of the run's own text"),
        Rule("--json", beside="--export"),
        Rule("--export", beside="--per-line", why="whose JSON Lines go to stdout"),
        Rule("--errors --long-range --per-line", beside="--mix"),
    ),
    "runs": (
        Rule("--json", beside="--export"),
        Rule("--against --training --export", without="--plot"),
    ),
}
"""The rules of each command, in the order in which they are checked."""


def is_given(value: object) -> bool:
    """Return whether an option with this value was given."""
    return value is not None and value is not False and value not in ("", [], ())


def check_rules(command: str, values: Mapping[str, object]) -> None:
    """Raise UsageError if options that were given do not go together. `values` has them by flag."""
    for rule in RULES[command]:
        option, other, needed = (
            next((flag for flag in flags.split() if is_given(values.get(flag))), None)
            for flags in (rule.options, rule.beside, rule.without)
        )
        if option is not None and other is not None:
            why = f", {rule.why}" if rule.why else ""
            raise UsageError(f"{option} does not go with {other}{why}. Leave one of them out.")
        if option is not None and rule.without and needed is None:
            raise UsageError(f"{option} needs {rule.without}: add it, or leave {option} out.")


OTHER = "Other options"
"""Panel of the options that every command has."""
_BY_NAME = inspect.Parameter.KEYWORD_ONLY


def _to_parameter(option: Option) -> inspect.Parameter:
    """Return the parameter of a function from which typer makes an option."""
    kind = list[option.kind] if option.repeatable else option.kind  # type: ignore[name-defined]
    is_flag = option.kind is bool
    declared = typer.Option(
        option.flag,
        *option.aliases,
        help=option.help,
        metavar=option.metavar,
        min=option.least,
        show_default=option.shown_default or True,
        rich_help_panel=option.panel,
    )
    return inspect.Parameter(
        option.parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if is_flag else option.default,
        annotation=Annotated[kind if is_flag else kind | None, declared],
    )


def with_options(
    function: Callable[..., Any], options: Iterable[Option], command: str = ""
) -> Callable[..., Any]:
    """Return a function for typer that has further options, and --debug.

    It checks the rules of the command and calls `function`, with the values of all options by their
    flags as the parameter `values`, if it has that. The options of its own signature are
    parameters, too.
    """
    declared = tuple(options)
    listed = [option for option in declared if not option.needs or has_room(option.needs)]
    missing: dict[str, Any] = {
        option.flag: False if option.kind is bool else option.default
        for option in declared
        if option not in listed
    }
    signature = inspect.signature(function, eval_str=True)
    own = {
        name: parameter.replace(kind=_BY_NAME) for name, parameter in signature.parameters.items()
    }
    takes_values = own.pop("values", None) is not None

    def call(**arguments: Any) -> Any:
        if "debug" not in own:  # `cli.app` looks for it
            del arguments["debug"]
        values = missing | {option.flag: arguments.pop(option.parameter) for option in listed}
        values |= {f"--{name}": value for name, value in arguments.items()}
        if command in RULES:
            check_rules(command, values)
        return function(**arguments, **({"values": values} if takes_values else {}))

    debug = inspect.Parameter("debug", _BY_NAME, default=False, annotation=DebugOption)
    parameters = [*{**own, "debug": own.get("debug", debug)}.values(), *map(_to_parameter, listed)]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__doc__ = function.__doc__
    return call


def _flag(help: str, *flags: str) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=OTHER)


JsonOption = Annotated[bool, _flag("Print JSON on stdout instead of a table or text.", "--json")]
"""--json: print the result as JSON."""
QuietOption = Annotated[bool, _flag("Print only errors on stderr.", "--quiet", "-q")]
"""--quiet: print no progress, notes or warnings."""
DebugOption = Annotated[bool, _flag("Show a traceback when something fails.", "--debug")]
"""--debug: print a traceback with an error."""
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help=(
            "A run folder, its name under checkpoints/, or a .zip of charrnn export. Default: the"
            " newest run there or in this folder."
        ),
    ),
]
"""The run to use; None stands for the newest one that was validated."""
TextOption = Annotated[
    str | None,
    typer.Option(
        "--text", help="Read this file, or - for stdin, instead of held-out text.", metavar="FILE"
    ),
]
"""--text: read a file or standard input instead of held-out text."""
SEVERAL_RUNS = "Several runs"
"""Panel of the options that take further runs."""
MIX = Option(
    "--mix",
    "Mix the predictions of this run in, with the weight W; the first run has the rest. Repeatable;"
    " without =W all weights are equal.",
    "RUN[=W]",
    SEVERAL_RUNS,
    repeatable=True,
    needs="reports",
)
"""Further runs that predict together with the first one."""
