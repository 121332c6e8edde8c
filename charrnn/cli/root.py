"""The group of all commands, of the core, of rooms and of other packages. Each is imported when it
is used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer
import typer.core
import typer.main

from charrnn.cli.help_page import COMMANDS, argument_name, parameter_sections, write_help
from charrnn.hooks import specifications
from charrnn.hooks.manager import leave_out, load_place, offered, package_of, run_of_package
from charrnn.hooks.specifications import CommandEntry
from charrnn.system.signals import Signals

if TYPE_CHECKING:
    from charrnn.config.options import Option

_CORE = (
    CommandEntry("train", summary="Train a model on a text.", place="charrnn.cli.train:train"),
    CommandEntry("sample", summary="Generate text.", place="charrnn.cli.sample:sample"),
    CommandEntry(
        "visualize",
        summary="Show what the cells of a model keep track of.",
        place="charrnn.cli.visualize:visualize",
        added_options="charrnn.cli.visualize:added_options",
        epilog="charrnn.cli.visualize:EPILOG",
    ),
    CommandEntry(
        "evaluate",
        summary="Measure how well models predict a text.",
        place="charrnn.cli.evaluate:evaluate",
        added_options="charrnn.cli.evaluate:added_options",
    ),
    CommandEntry("runs", summary="List the runs and their losses.", place="charrnn.cli.runs:runs"),
    CommandEntry(
        "corpora", summary="List, download and generate texts.", place="charrnn.cli.corpora:app"
    ),
)
CORE_COMMANDS = {entry.name: entry for entry in _CORE}
"""The commands of the core by name."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """Facts for a command about its own start: the object of its context."""

    signals: Signals
    arguments: tuple[str, ...]
    """The whole command line, without the program's name."""


def commands() -> dict[str, CommandEntry]:
    """Return all commands by name, in the order of the help. Of two commands with the same name the
    first counts."""
    # A command of a package never hides a command of the core.
    entries = dict(CORE_COMMANDS)
    for entry in offered(specifications.commands, CommandEntry):
        if entries.setdefault(entry.name, entry) != entry:
            leave_out(f"The command {entry.name!r} of {entry.place} is left out: there is another")
    return entries


def owner_of(name: str) -> str:
    """Return what messages call a command of another package: "command 'rhyme' of the package
    rhymes 1.0"; "" for a command of charrnn, and where there is none of that name."""
    if name in CORE_COMMANDS or name not in (entries := commands()):
        return ""
    package = package_of(specifications.commands, entries[name])
    if package == "charrnn":
        return ""
    return f"command {name!r} of the package {package}"


def _load(entry: CommandEntry) -> Any:
    """Import a command, and build it."""
    function = load_place(entry.place)
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)

    # Packages may add options to a command of the core, too.
    added = ()
    if entry.added_options:
        added = load_place(entry.added_options)()
    return _built(entry, tuple(added))


class _Loaded(Mapping[str, Any]):
    """The commands by name. A command is imported when it is looked up; the rooms are imported only
    if the core has no such command."""

    def __getitem__(self, name: str) -> Any:
        entry = CORE_COMMANDS.get(name) or commands()[name]
        owner = owner_of(name)
        if not owner:
            return _load(entry)
        # Whatever its code raises: a KeyError here would mean that there is no such command.
        return run_of_package(f"The {owner}", entry.place, _load, entry)

    def __iter__(self) -> Iterator[str]:
        return iter(commands())

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _built(entry: CommandEntry, added: "tuple[Option, ...]") -> Any:
    """Build a command with the options that packages add, once for a process that runs several
    command lines."""
    # The options of commands import settings, which the list of all commands does not need.
    from charrnn.cli.command_options import command_of

    # typer makes a command of a function by an application of one command.
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    epilog = None
    if entry.epilog:
        epilog = load_place(entry.epilog)
    function = command_of(load_place(entry.place), name=entry.name, added=added)
    alone.command(entry.name, cls=Command, epilog=epilog)(function)
    return typer.main.get_command(alone)


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
