"""How typer shows and calls a command.

Typer draws groups of options with rich alone, and importing rich takes longer than all the rest of
`--help`.
"""

import os
from typing import Any

import typer
import typer.core

from charrnn.system.words import prints_words

ARGUMENTS = "Arguments"
"""The title of the arguments in the help of a command."""
OPTIONS = "Options"
"""The title of the options without a group."""
OTHER = "Other options"
"""The title of the options that every command has."""
QUIET = "--quiet"
"""The option by which stderr has errors alone."""
QUIET_LETTER = "-q"
"""Its short spelling."""


class AsTyped:
    """What converts no value: it takes the place of typer's own conversion, for two reasons.

    typer converts by pydantic, whose import is a tenth of the processor time in which `sample`
    loads an included model and writes 100 characters. And typer knows less: `command_options` reads
    a value as one of a settings file or of Python is read, so that its error has the same range and
    remedy, and an empty value or a second one is refused.

    typer has no setting for it, so a parameter gets an object of this class instead of the
    `RuntimeParam` that it would build. In a version of typer without `get_runtime_param` that does
    nothing, and no harm: every parameter is declared as text, which is not converted.
    """

    def coerce(self, value: Any, **_: Any) -> Any:
        """Return a value as it was typed."""
        return value


class Page:
    """A command or a group that passes values on as they were typed (`AsTyped`), and shows its
    options in groups."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, whose values `command_options` converts."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            parameter.get_runtime_param = AsTyped
        return parameters

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options by their groups, with all names in one column."""
        groups: dict[str, list[tuple[str, str]]] = {ARGUMENTS: [], OPTIONS: [], OTHER: []}
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "argument":
                groups[ARGUMENTS].append((parameter.metavar, parameter.help))
            elif not parameter.hidden:
                title = parameter.rich_help_panel or OPTIONS
                # typer's own option has no group.
                if parameter.name == "help":
                    title = OTHER
                name, _ = parameter.get_help_record(ctx)
                groups.setdefault(title, []).append((name, parameter.help))

        # The options of every command come last, in a group of their own only if there are several
        # groups.
        common = groups.pop(OTHER)
        last = OTHER if len(groups) > 2 else OPTIONS
        groups.setdefault(last, []).extend(common)
        column = max(len(name) for rows in groups.values() for name, _ in rows)
        for title, rows in groups.items():
            if rows:
                write_rows(formatter, title=title, rows=rows, column=column)


def write_rows(formatter: Any, title: str, rows: list[tuple[str, str]], column: int = 0) -> None:
    """Write a title and, below it, names and their texts; the column of the names is at least so
    wide."""
    with formatter.section(_bold(title)):
        formatter.write_dl([(_bold(name.ljust(column)), text) for name, text in rows])


def _bold(text: str) -> str:
    """Return text in the codes of bold, which typer leaves out off a terminal."""
    # A user who asks for no colours wants no bold either.
    if "NO_COLOR" in os.environ or prints_words():
        return text
    return typer.style(text, bold=True)


class Command(Page, typer.core.TyperCommand):
    """A command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command in its usage."""
        words = [word for word in self.get_params(ctx) if word.param_type_name == "argument"]
        return ["[OPTIONS]", *(word.metavar for word in words)]
