"""Programs that fill the terminal: the explorer of cells and the editor that writes with a
model."""

from charrnn.hooks.extensions import CommandEntry

COMMANDS = (
    CommandEntry(
        "explore", "Browse the cells of a model over a text.", "charrnn.tui.terminal:explore"
    ),
    CommandEntry("write", "Write a text with a model.", "charrnn.tui.terminal:write"),
)
"""The commands of this room."""
MODULES = ("charrnn.tui.write.continuations",)
"""The modules that declare EXTENSIONS."""
