"""How cells are looked into, one file each: an analysis has its result, its picture and its option
beside it.

Every module here may declare EXTENSIONS: a new analysis is one new file.
"""

from charrnn.hooks.extensions import CommandEntry, module_names

COMMANDS = (
    CommandEntry(
        name="predict",
        summary="Print the most likely next characters.",
        function="charrnn.analyses.numbers:predict",
    ),
)
"""The commands of this room."""
MODULES = module_names(__name__, __path__)
"""The modules that may declare EXTENSIONS: all of this room."""
