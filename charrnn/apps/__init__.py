"""Programs around a model: explorer, editor, exported page, ONNX, notebook."""

from charrnn.extensions import CommandEntry, NotebookDrawing

_COMMANDS = (
    ("explore", "Browse the cells of a model over a text.", "terminal:explore"),
    ("write", "Write a text with a model.", "terminal:write"),
    ("export", "Write a model to one file, in the format of its suffix.", "export:export"),
    ("import", "Make a run of a model that another program trained.", "importing:import_model"),
    ("serve", "Serve a model to a browser and to OpenAI's clients.", "serve:serve"),
    ("compress", "Compress files by a model.", "compress.command:compress"),
    ("decompress", "Restore compressed files.", "compress.command:decompress"),
)
COMMANDS = tuple(
    CommandEntry(name=name, summary=summary, function=f"{__name__}.{function}") for name, summary, function in _COMMANDS
)
"""The commands of this room."""
EXTENSIONS = (NotebookDrawing(module="charrnn.apps.notebook"),)
"""What draws objects in a notebook."""
MODULES = (
    "charrnn.apps.compress.command",
    "charrnn.apps.compress.coded",
    "charrnn.apps.export",
    "charrnn.apps.write.continuations",
)
"""The modules that declare EXTENSIONS."""
