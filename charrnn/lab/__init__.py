"""Analyses: each measures one thing, and has its result, its picture and its option beside it. And recent cells.

Every module here may declare EXTENSIONS: a new analysis is one new file.
"""

from charrnn.architectures import CELL_GROUP
from charrnn.extensions import CommandEntry, PluginEntry, module_names

COMMANDS = (
    CommandEntry(
        name="predict", summary="Print the most likely next characters.", function="charrnn.lab.numbers:predict"
    ),
)
"""The commands of this room."""
MODULES = module_names(__name__, __path__)
"""The modules that may declare EXTENSIONS: all of this room."""
_CELLS = ("MinGru", "MinLstm", "RgLru", "Slstm", "Mogrifier")
EXTENSIONS = tuple(PluginEntry(CELL_GROUP, cell.lower(), f"charrnn.lab.recent_cells:{cell}") for cell in _CELLS)
"""What `--cell` takes besides the cells of the core."""
