"""Options as data, from which the parameters of commands are made, and those that several commands share."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a command: its name, what its help says, and what it takes."""

    flag: str
    """As it is typed, such as --top-p."""
    help: str
    metavar: str | None = None
    panel: str | None = None
    """The group of the help that lists it."""
    kind: type = str
    """The type of its value; bool for an option without one."""
    repeatable: bool = False
    """Whether it may be given several times; its value is then a list."""
    default: Any = None
    minimum: int | float | None = None
    shown_default: bool | str = True
    """Whether the help shows the default, or what it shows instead."""
    aliases: tuple[str, ...] = ()
    """Further spellings that the help shows."""
    name: str = ""
    """The parameter that messages name by `errors.named`, if it is not spelled as the flag."""

    @property
    def parameter(self) -> str:
        """The name of the parameter of a function that receives the value."""
        return self.name or self.flag.lstrip("-").replace("-", "_")

    def to_parameter(self) -> inspect.Parameter:
        """Return the parameter from which typer makes the option."""
        kind = list[self.kind] if self.repeatable else self.kind  # type: ignore[name-defined]
        is_flag = self.kind is bool
        option = typer.Option(
            self.flag,
            *self.aliases,
            help=self.help,
            metavar=self.metavar,
            min=self.minimum,
            rich_help_panel=self.panel,
            show_default=self.shown_default,
        )
        return inspect.Parameter(
            self.parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if is_flag else self.default,
            annotation=Annotated[kind if is_flag else kind | None, option],
        )


def with_options(function: Callable[..., Any], options: Iterable[Option]) -> Callable[..., Any]:
    """Return a function for typer that has further options.

    It calls `function` with a dictionary `values` of their values by their flags, in place of the parameter `values`.
    """
    listed = tuple(options)
    signature = inspect.signature(function)

    def call(**arguments: Any) -> Any:
        return function(values={option.flag: arguments.pop(option.parameter) for option in listed}, **arguments)

    own = [parameter for parameter in signature.parameters.values() if parameter.name != "values"]
    parameters = [
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *(option.to_parameter() for option in listed),
    ]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__doc__ = function.__doc__
    return call


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table or text.")]
"""--json: print the result as JSON."""
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.")]
"""--quiet: print no progress, notes or warnings."""
DebugOption = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
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
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="A run folder, its name under checkpoints/, RUN@STEP for one of its checkpoints, or a .zip of charrnn "
        "export. Default: the newest run there or in this folder. --same takes several.",
    ),
]
"""The run to use, or several; None stands for the newest one that was validated."""

TextOption = Annotated[
    str | None, typer.Option("--text", help="Read this file, or - for stdin, instead of held-out text.", metavar="FILE")
]
"""--text: read a file or standard input instead of held-out text."""

UnknownOption = Annotated[
    str,
    typer.Option("--unknown", help="Characters outside the vocabulary: error, skip or nearest.", metavar="WORD"),
]
"""--unknown: what happens to characters of a text that are not in the vocabulary."""

MixOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mix",
        help="Mix the predictions of this run in, with the weight W; the first run has the rest. Repeatable; without "
        "=W all weights are equal.",
        metavar="RUN[=W]",
    ),
]
"""--mix: further runs that predict together with the first one."""
MixModeOption = Annotated[
    str | None,
    typer.Option(
        "--mix-mode",
        help="mixture (default): the weighted mean of the probabilities. product: their weighted product.",
        metavar="WORD",
    ),
]
"""--mix-mode: how the predictions of several runs become one."""
