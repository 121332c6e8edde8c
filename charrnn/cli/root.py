"""The group of all commands: of charrnn and of other packages. Each is imported when it is used."""

from functools import cache
from typing import Any

import typer
import typer.core
import typer.main

from charrnn.cli.command_classes import Command, Page, write_rows
from charrnn.hooks import CommandEntry
from charrnn.hooks.manager import Extension, load_place, offered

OWN: dict[str, CommandEntry] = {}
"""The commands of charrnn by name. `commands.app` fills it: their table is above this module, as
they are."""


def commands() -> dict[str, CommandEntry]:
    """Return all commands by name, in the order of the help. Of two commands with the same name the
    first counts."""
    # A command of a package never hides a command of charrnn.
    entries = dict(OWN)
    for _, entry in offered("commands"):
        entries.setdefault(entry.name, entry)
    return entries


def owner_of(name: str) -> Extension | None:
    """Return a command of another package; None for a command of charrnn, and where there is none
    of that name."""
    if name in OWN:
        return None
    for extension, entry in offered("commands"):
        if entry.name == name:
            return Extension(
                kind="command", name=name, place=entry.place, package=extension.package
            )
    return None


@cache
def _load(entry: CommandEntry) -> Any:
    """Import a command and build it, once for a process that runs several command lines."""
    # The options of commands import settings, which the list of all commands does not need.
    from charrnn.cli.command_options import command_of

    function = load_place(entry.place)
    # typer makes a command of a function by an application of one command.
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    epilog = None
    if entry.epilog:
        epilog = load_place(entry.epilog)()
    declared = command_of(function, name=entry.name)
    alone.command(entry.name, cls=Command, epilog=epilog)(declared)
    return typer.main.get_command(alone)


class _Commands(Page, typer.core.TyperGroup):
    """The group of all commands."""

    def get_command(self, ctx: Any, name: str) -> Any:
        """Import a command; other packages are looked for only if charrnn has no such command."""
        entry = OWN.get(name) or commands().get(name)
        if entry is None:
            # typer names the nearest of these.
            self.commands = dict.fromkeys(commands())  # type: ignore[assignment]
            return None
        owner = owner_of(name)
        if owner is None:
            return _load(entry)
        return owner.run(_load, entry)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(commands())

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, which readers look for, before the options; none is imported."""
        rows = [(entry.name, entry.summary) for entry in commands().values()]
        write_rows(formatter, title="Commands", rows=rows)
        super().format_options(ctx, formatter)


app = typer.Typer(
    name="charrnn",
    cls=_Commands,
    help=("Train a small network on your text, let it write, and see what its cells have learned."),
    epilog=(
        "Look first: `charrnn demo`. Then `charrnn train`, `charrnn sample` and"
        " `charrnn visualize`."
    ),
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
