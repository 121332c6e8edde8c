"""Training every combination of settings, and comparing the runs."""

from charrnn.hooks.extensions import CommandEntry

COMMANDS = (
    CommandEntry(
        "sweep",
        "Train every combination of settings, and compare the runs.",
        "charrnn.sweeps.command:sweep",
    ),
)
"""The commands of this room."""
MODULES = ("charrnn.sweeps.sweep",)
"""The modules that declare EXTENSIONS."""
