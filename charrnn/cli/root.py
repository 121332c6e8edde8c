"""The group of all commands: of charrnn and of other packages. Each is imported when
it is used."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import typer
import typer.core
import typer.main

from charrnn.cli.command_classes import Command, Group
from charrnn.hooks import CommandEntry
from charrnn.hooks.manager import (
    Extension,
    leave_out,
    load_place,
    offered,
)

if TYPE_CHECKING:
    pass


_own_entries: list[CommandEntry] = []


def take_commands(entries: Sequence[CommandEntry]) -> None:
    """Make these the commands of charrnn: their table is above this module, as they are."""
    _own_entries[:] = entries
    own_commands.cache_clear()


@cache
def own_commands() -> dict[str, CommandEntry]:
    """Return the commands of charrnn by name, without looking for other packages."""
    return {entry.name: entry for entry in _own_entries}


def commands() -> dict[str, CommandEntry]:
    """Return all commands by name, in the order of the help. Of two commands with the same name the
    first counts."""
    # A command of a package never hides a command of charrnn.
    entries = dict(own_commands())
    for _, entry in offered("commands"):
        if entries.setdefault(entry.name, entry) != entry:
            leave_out(f"The command {entry.name!r} of {entry.place} is left out: there is another")
    return entries


def owner_of(name: str) -> Extension | None:
    """Return a command of another package; None for a command of charrnn, and where there is none
    of that name."""
    if name in own_commands():
        return None
    for extension, entry in offered("commands"):
        if entry.name == name:
            return Extension("command", name, place=entry.place, package=extension.package)
    return None


def _load(entry: CommandEntry) -> Any:
    """Import a command, and build it."""
    function = load_place(entry.place)
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)
    return _built(entry)


class _Loaded(Mapping[str, Any]):
    """The commands by name. A command is imported when it is looked up; other packages are looked
    for only if charrnn has no such command."""

    def __getitem__(self, name: str) -> Any:
        entry = own_commands().get(name) or commands()[name]
        owner = owner_of(name)
        if owner is None:
            return _load(entry)
        # Whatever its code raises: a KeyError here would mean that there is no such command.
        return owner.run(_load, entry)

    def __iter__(self) -> Iterator[str]:
        return iter(commands())

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _built(entry: CommandEntry) -> Any:
    """Build a command, once for a process that runs several command lines."""
    # The options of commands import settings, which the list of all commands does not need.
    from charrnn.cli.command_options import command_of

    # typer makes a command of a function by an application of one command.
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    epilog = None
    if entry.epilog:
        epilog = load_place(entry.epilog)()
    function = command_of(load_place(entry.place), name=entry.name)
    alone.command(entry.name, cls=Command, epilog=epilog)(function)
    return typer.main.get_command(alone)


class _Commands(Group):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # In place of the dictionary into which typer would have imported all of them.
        self.commands = _Loaded()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(self.commands)

    def summaries(self) -> list[tuple[str, str]]:
        """Return the name and the summary of each command, without importing any."""
        return [(entry.name, entry.summary) for entry in commands().values()]


app = typer.Typer(
    name="charrnn",
    cls=_Commands,
    help=(
        "A laboratory for character-level recurrent language models: train one, sample it, see what"
        " its cells do."
    ),
    epilog="Start with `charrnn train`, then `charrnn sample` and `charrnn visualize`.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
