"""The commands of charrnn, which are imported when they are used."""

from charrnn.hooks import CommandEntry

COMMANDS = (
    CommandEntry(
        name="train", summary="Train a model on a text.", place="charrnn.commands.train:train"
    ),
    CommandEntry(name="sample", summary="Generate text.", place="charrnn.commands.sample:sample"),
    CommandEntry(
        name="visualize",
        summary="Show what the cells of a model keep track of.",
        place="charrnn.commands.visualize:visualize",
        epilog="charrnn.commands.visualize:epilog",
    ),
    CommandEntry(
        name="evaluate",
        summary="Measure how well models predict a text.",
        place="charrnn.commands.evaluate:evaluate",
    ),
    CommandEntry(
        name="runs", summary="List the runs and their losses.", place="charrnn.commands.runs:runs"
    ),
    CommandEntry(
        name="corpora",
        summary="List and download texts.",
        place="charrnn.commands.corpora:app",
    ),
    CommandEntry(
        name="demo",
        summary="Watch a model write, and one of its cells.",
        place="charrnn.explore.demo:demo",
    ),
    CommandEntry(
        name="explore",
        summary="Browse the cells of a model over a text.",
        place="charrnn.explore.terminal:explore",
    ),
    CommandEntry(
        name="export",
        summary="Write a model to a folder, or to one file.",
        place="charrnn.formats.export:export",
        epilog="charrnn.formats.export:epilog",
    ),
    CommandEntry(
        name="predict",
        summary="Print the most likely next characters.",
        place="charrnn.analyses.predict:predict",
    ),
)
"""All commands, in the order of the help."""
