"""Files that other programs read: one file of a run, ONNX, a page that runs the model, compressed
texts, notebooks."""

from charrnn.hooks.extensions import CommandEntry, NotebookDrawing

COMMANDS = (
    CommandEntry(
        "export",
        "Write a model to one file, in the format of its suffix.",
        "charrnn.formats.export:export",
    ),
    CommandEntry(
        "import",
        "Make a run of a model that another program trained.",
        "charrnn.formats.importing:import_model",
    ),
    CommandEntry("compress", "Compress files by a model.", "charrnn.formats.crnn.command:compress"),
    CommandEntry(
        "decompress", "Restore compressed files.", "charrnn.formats.crnn.command:decompress"
    ),
)
"""The commands of this room."""
EXTENSIONS = (NotebookDrawing(module="charrnn.formats.notebook"),)
"""What draws objects in a notebook."""
MODULES = ("charrnn.formats.crnn.command", "charrnn.formats.export")
"""The modules that declare EXTENSIONS."""
