"""Files that other programs read: a model in one file and a page that runs the model."""

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import ModelFormat


@hookimpl
def formats() -> list[ModelFormat]:
    """Return the formats of `charrnn export`."""
    folder = "charrnn.formats.model_folder"
    return [
        ModelFormat(".zip", content="the folder in one file", write=f"{folder}:to_zip"),
        ModelFormat(
            ".html", content="a page that runs the model", write=f"{folder}:to_page", has_title=True
        ),
        ModelFormat("/", content="a folder with a card", write=f"{folder}:to_folder"),
    ]
