"""Rows and reports of `charrnn evaluate`, one file each, and what of a generated text was
copied."""

from charrnn.config.architectures import CELL_GROUP
from charrnn.hooks.extensions import PluginEntry, module_names

MODULES = module_names(__name__, __path__)
"""The modules that may declare EXTENSIONS: all of this room."""
_CELLS = ("MinGru", "MinLstm", "RgLru", "Slstm", "Mogrifier")
EXTENSIONS = tuple(
    PluginEntry(CELL_GROUP, cell.lower(), f"charrnn.model.recent_cell_types:{cell}")
    for cell in _CELLS
)
"""What `--cell` takes besides the cells of the core."""
