"""The group that `cli.app` registers all commands on."""

from dataclasses import dataclass

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


app = typer.Typer(
    name="charrnn",
    cls=_Commands,
    help="A laboratory for character-level recurrent language models: train one, sample it, see what its cells do.",
    epilog="Start with `charrnn train`, then `charrnn sample` and `charrnn visualize`.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
