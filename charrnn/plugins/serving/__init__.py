"""A model behind HTTP, for a browser and for OpenAI's clients."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this plugin."""
    return [
        CommandEntry(
            name="serve",
            summary="Serve a model to a browser and to OpenAI's clients.",
            place="charrnn.plugins.serving.serve:serve",
        ),
    ]
