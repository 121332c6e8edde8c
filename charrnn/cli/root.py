"""The group of all commands: those of the core, of rooms and of other packages. Each is imported
when it is used."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import typer
import typer.core
import typer.main

from charrnn.cli.signals import Signals
from charrnn.hooks import specifications
from charrnn.hooks.manager import leave_out, load_place, offered
from charrnn.hooks.specifications import CommandEntry

if TYPE_CHECKING:
    from charrnn.config.options import Option

_CORE = (
    CommandEntry("train", "Train a model on a text.", "charrnn.cli.train:train"),
    CommandEntry("sample", "Generate text.", "charrnn.cli.sample:sample"),
    CommandEntry(
        "visualize",
        "Show what the cells of a model keep track of.",
        "charrnn.cli.visualize:visualize",
        added_options="charrnn.cli.visualize:added_options",
        epilog="charrnn.cli.visualize:EPILOG",
    ),
    CommandEntry(
        "evaluate",
        "Measure how well models predict a text.",
        "charrnn.cli.evaluate:evaluate",
        added_options="charrnn.cli.evaluate:added_options",
    ),
    CommandEntry("runs", "List the runs and their losses.", "charrnn.cli.runs:runs"),
    CommandEntry("corpora", "List, download and generate texts.", "charrnn.cli.corpora:app"),
)
CORE_COMMANDS = {entry.name: entry for entry in _CORE}
"""The commands of the core by name."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command can ask about its own start: the object of its context."""

    signals: Signals
    arguments: tuple[str, ...]
    """The whole command line, without the program's name."""


def commands() -> dict[str, CommandEntry]:
    """Return all commands by name, in the order of the help. Of two with one name the first one
    counts."""
    entries = dict(CORE_COMMANDS)
    for entry in offered(specifications.commands, CommandEntry):
        if entries.setdefault(entry.name, entry) != entry:
            leave_out(f"The command {entry.name!r} of {entry.place} is left out: there is another")
    return entries


class _Loaded(Mapping[str, Any]):
    """The commands by name. A command is imported when it is looked up, the rooms when it is not
    one of the core."""

    def __getitem__(self, name: str) -> Any:
        # The rooms are not looked for when a command of the core runs.
        entry = CORE_COMMANDS.get(name) or commands()[name]
        function = load_place(entry.place)
        if isinstance(function, typer.Typer):
            return typer.main.get_command(function)

        added = ()
        if entry.added_options:
            added = load_place(entry.added_options)()
        return _built(entry, tuple(added))

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

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    epilog = None
    if entry.epilog:
        epilog = load_place(entry.epilog)
    function = command_of(load_place(entry.place), name=entry.name, added=added)
    alone.command(entry.name, cls=Command, epilog=epilog)(function)
    return typer.main.get_command(alone)


class _Commands(typer.core.TyperGroup):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Loaded()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the summary of each command, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.summary) for entry in commands().values()])


class Command(typer.core.TyperCommand):
    """A command whose help has one section for each group of options (`rich_help_panel`), without
    rich.

    Typer shows the groups only with rich, whose import takes longer than all the rest of `--help`.
    Arguments are named as in the usage, without Python types, and defaults have no brackets.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options without a group, each group, and the options that every
        command has."""
        from charrnn.cli.command_options import OTHER

        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:  # it is hidden
                continue
            name, text = record
            if is_argument := parameter.param_type_name == "argument":
                # As in the usage, without the braces of a required one: the record has the type of
                # the annotation.
                usage = " ".join(parameter.get_usage_pieces(ctx))
                name = re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1", usage)

            # A default that is given as a string has brackets.
            record = name, re.sub(r"\[default: \(([^()]*)\)", r"[default: \1", text)

            # --help is an option of click's own, which knows no panels.
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            if parameter.name == "help":
                panel = OTHER
            if is_argument:
                panel = "Arguments"
            groups.setdefault(panel, []).append(record)

        # What every command has comes last, in a group of its own only where there are several.
        others = groups.pop(OTHER)
        has_groups = len(groups) > 2
        last = "Options"
        if has_groups:
            last = OTHER
        groups.setdefault(last, []).extend(others)

        # One width for the names of all groups, so that their texts are aligned.
        width = 0
        if has_groups:
            width = max(len(name) for records in groups.values() for name, _ in records)

        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), text) for name, text in records])


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
