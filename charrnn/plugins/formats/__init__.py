"""Files that other programs read: a model in one file, ONNX, a page that runs the model,
notebooks."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this plugin."""
    return [
        CommandEntry(
            name="export",
            summary="Write a model to one file, in the format of its suffix.",
            place="charrnn.plugins.formats.export:export",
        ),
        CommandEntry(
            name="import",
            summary="Make a run of a model that another program trained.",
            place="charrnn.plugins.formats.importing:import_model",
        ),
    ]
