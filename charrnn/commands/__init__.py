"""The commands of the core, which are imported when they are used."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of the core, in the order of the help."""
    return [
        CommandEntry(
            "train", summary="Train a model on a text.", place="charrnn.commands.train:train"
        ),
        CommandEntry("sample", summary="Generate text.", place="charrnn.commands.sample:sample"),
        CommandEntry(
            "visualize",
            summary="Show what the cells of a model keep track of.",
            place="charrnn.commands.visualize:visualize",
            added_options="charrnn.commands.visualize:added_options",
            epilog="charrnn.commands.visualize:EPILOG",
        ),
        CommandEntry(
            "evaluate",
            summary="Measure how well models predict a text.",
            place="charrnn.commands.evaluate:evaluate",
            added_options="charrnn.commands.evaluate:added_options",
        ),
        CommandEntry(
            "runs", summary="List the runs and their losses.", place="charrnn.commands.runs:runs"
        ),
        CommandEntry(
            "corpora",
            summary="List, download and generate texts.",
            place="charrnn.commands.corpora:app",
        ),
    ]
