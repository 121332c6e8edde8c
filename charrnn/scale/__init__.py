"""More of the same: several processes, sweeps, compiled sampling."""

from charrnn.extensions import CommandEntry, CompiledSampling

COMMANDS = (
    CommandEntry(
        "sweep", "Train every combination of settings, and compare the runs.", "charrnn.scale.sweep.command:sweep"
    ),
)
"""The commands of this room."""
MODULES = ("charrnn.scale.processes", "charrnn.scale.sweep.sweep")
"""The modules that declare EXTENSIONS."""
EXTENSIONS = (
    CompiledSampling(module="charrnn.scale.compiled", loops=("read", "write")),
    CompiledSampling(module="charrnn.scale.compiled_coding", loops=("code",)),
)
"""What this room offers without importing a module."""
