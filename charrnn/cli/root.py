"""The group that `cli.app` registers all commands on."""

import re
from dataclasses import dataclass
from typing import Any

import typer
import typer.core

from charrnn.cli.signals import Signals


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command can ask about its own start: the object of its context."""

    signals: Signals
    arguments: tuple[str, ...]
    """The whole command line, without the program's name."""


class EndOfFile(Exception):
    """Replaces an EOFError, which typer would handle itself."""


class _Commands(typer.core.TyperGroup):
    """The group of all commands.

    Typer treats every EOFError as a closed prompt and exits without a message. No command prompts: an EOFError comes
    from a damaged file or from a bug.
    """

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise EndOfFile from error


class Command(typer.core.TyperCommand):
    """A command whose help names arguments as the usage does, without Python types, and defaults without brackets."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            parameters = [one for one in self.get_params(ctx) if one.param_type_name == kind]
            records = [record for one in parameters if (record := help_record(one, ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def help_record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the name of an argument or option and its help text; None if it is hidden."""
    record = parameter.get_help_record(ctx)
    if record is None:
        return None
    name, text = record
    if parameter.param_type_name == "argument":
        # As in the usage, without the braces of a required one: the record has the type of the annotation, too.
        name = re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1", " ".join(parameter.get_usage_pieces(ctx)))
    # A default that is given as a string has brackets.
    return name, re.sub(r"\[default: \(([^()]*)\)", r"[default: \1", text)


class GroupedCommand(Command):
    """A command whose help has one section for each group of options (`rich_help_panel`), without rich.

    Typer shows the groups only with rich, whose import takes longer than all the rest of `--help`.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group where its first option is, then the options without a group."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        ungrouped = []
        for parameter in self.get_params(ctx):
            record = help_record(parameter, ctx)
            panel = getattr(parameter, "rich_help_panel", None)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                groups["Arguments"].append(record)
            elif panel is None:
                ungrouped.append(record)
            else:
                groups.setdefault(panel, []).append(record)
        groups["Other options"] = ungrouped
        # One width for the names of all groups, so that their texts are aligned.
        width = max(len(name) for records in groups.values() for name, _ in records)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), text) for name, text in records])


app = typer.Typer(
    name="charrnn",
    cls=_Commands,
    help="A laboratory for character-level recurrent language models: train one, sample it, see what its cells do.",
    epilog="Start with `charrnn train`, then `charrnn sample` and `charrnn visualize`.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
