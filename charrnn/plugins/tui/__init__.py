"""Programs that use the whole terminal: a demonstration, and the explorer of cells."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this plugin."""
    return [
        CommandEntry(
            name="demo",
            summary="Watch a model write, and one of its cells.",
            place="charrnn.plugins.tui.demo:demo",
        ),
        CommandEntry(
            name="explore",
            summary="Browse the cells of a model over a text.",
            place="charrnn.plugins.tui.terminal:explore",
        ),
    ]
