"""A model behind HTTP, for a browser and for OpenAI's clients."""

from charrnn.hooks.extensions import CommandEntry

COMMANDS = (
    CommandEntry(
        "serve",
        "Serve a model to a browser and to OpenAI's clients.",
        "charrnn.serving.serve:serve",
    ),
)
"""The commands of this room."""
