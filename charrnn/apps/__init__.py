"""Programs around a model: explorer, editor, exported page, ONNX, notebook."""

from charrnn.extensions import CommandEntry, NotebookDrawing

COMMANDS = (
    CommandEntry("explore", "Browse the cells of a model over a text.", "charrnn.apps.terminal:explore"),
    CommandEntry("write", "Write a text with a model.", "charrnn.apps.terminal:write"),
    CommandEntry("export", "Write a model to one file, in the format of its suffix.", "charrnn.apps.export:export"),
    CommandEntry(
        "import", "Make a run of a model that another program trained.", "charrnn.apps.importing:import_model"
    ),
    CommandEntry("serve", "Serve a model to a browser and to OpenAI's clients.", "charrnn.apps.serve:serve"),
    CommandEntry("compress", "Compress files by a model.", "charrnn.apps.compress.command:compress"),
    CommandEntry("decompress", "Restore compressed files.", "charrnn.apps.compress.command:decompress"),
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
