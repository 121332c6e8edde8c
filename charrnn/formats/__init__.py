"""Files that other programs read: one file of a run, ONNX, a page that runs the model, compressed
texts (`crnn`), notebooks."""

from collections.abc import Mapping, Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry, NotebookDrawing


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this room."""
    return [
        CommandEntry(
            name="export",
            summary="Write a model to one file, in the format of its suffix.",
            place="charrnn.formats.export:export",
        ),
        CommandEntry(
            name="import",
            summary="Make a run of a model that another program trained.",
            place="charrnn.formats.importing:import_model",
        ),
    ]


@hookimpl
def model_methods() -> Mapping[str, str]:
    """Return the methods of `Model`."""
    return {"export": "charrnn.formats.export:export_model"}


@hookimpl
def notebook_drawings() -> Sequence[NotebookDrawing]:
    """Return what draws objects in a notebook."""
    from charrnn.formats.notebook import to_html

    return [NotebookDrawing(to_html)]
