"""Parameters of commands, made from options that are declared as data, and the options that several commands share."""

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from charrnn.cli.rules import RULES, check_rules
from charrnn.options import Option

OTHER = "Other options"
"""Panel of the options that every command has."""


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
        hidden=option.is_hidden,
    )
    return inspect.Parameter(
        option.parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if is_flag else option.default,
        annotation=Annotated[kind if is_flag else kind | None, declared],
    )


def with_options(function: Callable[..., Any], options: Iterable[Option], command: str = "") -> Callable[..., Any]:
    """Return a function for typer that has further options.

    It checks the rules of the command (`cli.rules`) and calls `function`, with the values of all options by their flags
    as the parameter `values`. The options of its own signature are parameters, too.
    """
    listed = tuple(options)
    signature = inspect.signature(function)

    def call(**arguments: Any) -> Any:
        values = {option.flag: arguments.pop(option.parameter) for option in listed}
        values |= {f"--{name}": value for name, value in arguments.items()}
        if command in RULES:
            check_rules(command, values)
        return function(values=values, **arguments)

    own = [parameter for parameter in signature.parameters.values() if parameter.name != "values"]
    parameters = [
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *map(_to_parameter, listed),
    ]
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
        help="A run folder, its name under checkpoints/, or a .zip of charrnn export. Default: the newest run there or "
        "in this folder.",
    ),
]
"""The run to use; None stands for the newest one that was validated."""
TextOption = Annotated[
    str | None, typer.Option("--text", help="Read this file, or - for stdin, instead of held-out text.", metavar="FILE")
]
"""--text: read a file or standard input instead of held-out text."""
SEVERAL_RUNS = "Several runs"
"""Panel of the options that take further runs."""
MIX = Option(
    "--mix",
    "Mix the predictions of this run in, with the weight W; the first run has the rest. Repeatable; without =W "
    "all weights are equal.",
    "RUN[=W]",
    SEVERAL_RUNS,
    repeatable=True,
)
"""Further runs that predict together with the first one."""
MIX_MODE = Option(
    "--mix-mode",
    "mixture (default): the weighted mean of the probabilities. product: their weighted product.",
    "WORD",
    SEVERAL_RUNS,
)
"""How the predictions of several runs become one."""
