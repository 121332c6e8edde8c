"""Parameters of commands, made from options that are declared as data, and the options that several commands share."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import typer

from charrnn.options import options_of

OTHER = "Other options"
"""Panel of the options that every command has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a command: its name, what its help says, and what it takes."""

    flag: str
    """As it is typed, such as --top-p."""
    help: str
    metavar: str | None = None
    panel: str | None = None
    """The group of the help that lists it; None: the first one, of the options that everybody uses."""
    kind: type = str
    """The type of its value; bool for an option without one."""
    repeatable: bool = False
    """Whether it may be given several times; its value is then a list."""
    default: Any = None
    minimum: float | None = None
    aliases: tuple[str, ...] = ()
    """Further spellings."""
    is_hidden: bool = False
    """Whether the help leaves it out."""
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
            hidden=self.is_hidden,
        )
        return inspect.Parameter(
            self.parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if is_flag else self.default,
            annotation=Annotated[kind if is_flag else kind | None, option],
        )


def field_options(owner: type[Any], *, as_text: bool = False) -> tuple[Option, ...]:
    """Return the options that a dataclass declares in the metadata of its fields (`charrnn.options`).

    An option that is not given has the value None or False. `as_text`: every value but that of a flag is a text.
    """
    declared, hints = options_of(owner), {field.name: field.type for field in fields(owner)}
    made = []
    for name, option in declared.items():
        kind, repeatable = _kind_of(hints[name])
        made.append(
            Option(
                flag=option.flags[0],
                aliases=option.flags[1:],
                name=name,
                help=option.help,
                metavar=option.metavar,
                panel=option.panel,
                kind=str if as_text and kind is not bool else kind,
                repeatable=repeatable and not as_text,
                minimum=option.least,
                is_hidden=option.is_hidden,
            )
        )
    return tuple(made)


def _kind_of(hint: Any) -> tuple[type, bool]:
    """Return the type of an option that sets a field with this type, and whether it is repeatable."""
    members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kind = next((kind for kind in (bool, int, float, str) if kind in members), None)
    if kind is not None:
        return kind, False
    origin = get_origin(members[0])
    return str, isinstance(origin, type) and origin is not tuple and issubclass(origin, Iterable)


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


JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout instead of a table or text.", rich_help_panel=OTHER)
]
"""--json: print the result as JSON."""
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.", rich_help_panel=OTHER)]
"""--quiet: print no progress, notes or warnings."""
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show a traceback when something fails.", rich_help_panel=OTHER)
]
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
MIX = Option(
    flag="--mix",
    help="Mix the predictions of this run in, with the weight W; the first run has the rest. Repeatable; without =W "
    "all weights are equal.",
    metavar="RUN[=W]",
    panel="Several runs",
    repeatable=True,
)
"""--mix: further runs that predict together with the first one."""
MIX_MODE = Option(
    flag="--mix-mode",
    help="mixture (default): the weighted mean of the probabilities. product: their weighted product.",
    metavar="WORD",
    panel="Several runs",
)
"""--mix-mode: how the predictions of several runs become one."""
MixOption = Annotated[
    list[str] | None,
    typer.Option(MIX.flag, help=MIX.help, metavar=MIX.metavar, rich_help_panel=MIX.panel),
]
"""--mix, for a command with a signature."""
MixModeOption = Annotated[
    str | None,
    typer.Option(MIX_MODE.flag, help=MIX_MODE.help, metavar=MIX_MODE.metavar, rich_help_panel=MIX_MODE.panel),
]
"""--mix-mode, for a command with a signature."""
