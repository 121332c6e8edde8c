"""Train every combination of settings, and compare the runs."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this room."""
    return [
        CommandEntry(
            name="sweep",
            summary="Train every combination of settings, and compare the runs.",
            place="charrnn.sweeps.command:sweep",
        ),
    ]
