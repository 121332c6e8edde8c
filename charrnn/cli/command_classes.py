"""How typer shows and calls a command and a group of commands, and what a command knows of its own
start."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import typer.core

from charrnn.cli.help_page import COMMANDS, argument_name, parameter_sections, write_help
from charrnn.errors import UsageError
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


_DASHED = re.compile("[\u2010-\u2015\u2212]{1,2}([a-z][a-z-]*)(?:=.*)?")
_QUOTED = re.compile("[“”„‘’«»]")


def check_typography(arguments: Sequence[str], flags: Collection[str]) -> None:
    """Raise UsageError for an option of these `flags` that begins with a typographic dash, and for
    a text between typographic quotation marks, which the shell has divided."""
    before = ""
    for index, typed in enumerate(arguments):
        dashed = _DASHED.fullmatch(typed)
        if dashed and f"--{dashed[1]}" in flags and not before.startswith("--"):
            raise UsageError(
                f"{typed} begins with a typographic dash ({typed[0]!r}): write --{dashed[1]}, with"
                " two hyphens."
            )
        following = arguments[index + 1 :]
        is_open = _QUOTED.match(typed) and not _QUOTED.search(typed, 1) and " " not in typed
        if is_open and any(_QUOTED.search(word, len(word) - 1) for word in following):
            raise UsageError(
                f"{typed} begins with a typographic quotation mark, at which the shell divides a"
                ' text: put it between " and ".'
            )
        before = typed


class Command(_AsTyped, typer.core.TyperCommand):
    """A command with the page of `help_page`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, which must not be typeset."""
        flags = {flag for word in self.get_params(ctx) for flag in word.opts}
        check_typography(args, flags)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

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
