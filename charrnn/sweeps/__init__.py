"""Training every combination of settings, and comparing the runs."""

from collections.abc import Mapping, Sequence

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


@hookimpl
def package_functions() -> Mapping[str, str]:
    """Return the functions and classes of the package `charrnn`."""
    return {
        "SweepReport": "charrnn.sweeps.report:SweepReport",
        "read_sweep": "charrnn.sweeps.sweep:read_sweep",
        "sweep": "charrnn.sweeps.sweep:sweep",
    }
