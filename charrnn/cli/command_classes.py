"""How typer shows and calls a command and a group of commands, and what a command knows of its own
start."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import typer.core

from charrnn.cli.help_page import COMMANDS, argument_name, parameter_sections, write_help
from charrnn.system.signals import Signals


@dataclass(frozen=True, slots=True)
class Invocation:
    """Facts for a command about its own start: the object of its context."""

    signals: Signals
    arguments: tuple[str, ...]
    """The whole command line, without the program's name."""


class _AsTyped:
    """A command or a group that passes values on as they were typed."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters with their values unconverted: `command_options` converts them."""
        # typer would convert them by pydantic, and importing pydantic takes a quarter of the time
        # until `sample` writes. In a version of typer without `get_runtime_param`, this changes
        # nothing.
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            parameter.get_runtime_param = lambda: SimpleNamespace(coerce=lambda value, **_: value)
        return parameters


class Command(_AsTyped, typer.core.TyperCommand):
    """A command with the page of `help_page`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command in its usage."""
        parameters = self.get_params(ctx)
        arguments = [word for word in parameters if word.param_type_name == "argument"]
        return ["[OPTIONS]", *map(argument_name, arguments)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page: the arguments, then the options by their groups."""
        write_help(self, context=ctx, formatter=formatter, sections=parameter_sections(self, ctx))


class Group(_AsTyped, typer.core.TyperGroup):
    """A group of commands with the page of `help_page`."""

    def summaries(self) -> list[tuple[str, str]]:
        """Return the name and the summary of each command."""
        return [(name, command.get_short_help_str(1000)) for name, command in self.commands.items()]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page: the commands, which readers look for, before the options."""
        sections = {COMMANDS: self.summaries(), **parameter_sections(self, ctx)}
        write_help(self, context=ctx, formatter=formatter, sections=sections)
