"""Programs around a model: explorer, editor, exported page, ONNX, notebook."""

from charrnn.extensions import CommandEntry, NotebookDrawing

COMMANDS = (
    CommandEntry(
        name="explore",
        summary="Browse the cells of a model over a text.",
        function="charrnn.apps.terminal:explore",
    ),
    CommandEntry(name="write", summary="Write a text with a model.", function="charrnn.apps.terminal:write"),
    CommandEntry(
        name="export",
        summary="Write a model to one file, in the format of its suffix.",
        function="charrnn.apps.export:export",
    ),
    CommandEntry(
        name="compress",
        summary="Compress files by a model.",
        function="charrnn.apps.compress.command:compress",
    ),
    CommandEntry(
        name="decompress",
        summary="Restore compressed files.",
        function="charrnn.apps.compress.command:decompress",
    ),
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
