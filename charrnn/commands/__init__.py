"""The commands of charrnn, which are imported when they are used."""

from charrnn.hooks import CommandEntry

COMMANDS = (
    CommandEntry(
        name="train",
        summary="Train a model on a text.",
        place="charrnn.commands.train:train",
        epilog="charrnn.commands.train:epilog",
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
        name="runs",
        summary="List, compare, plot, check or delete your models.",
        place="charrnn.commands.runs:runs",
    ),
    CommandEntry(
        name="corpora",
        summary="Texts to download by name.",
        place="charrnn.commands.corpora:corpora",
    ),
    CommandEntry(
        name="demo",
        summary="Watch an included model write, coloured by one of its cells.",
        place="charrnn.explore.demo:demo",
    ),
    CommandEntry(
        name="explore",
        summary="Browse the cells of a model over a text.",
        place="charrnn.explore.terminal:explore",
    ),
    CommandEntry(
        name="export",
        summary="Save a model to share: a folder, .zip, page or module.",
        place="charrnn.formats.export:export",
        epilog="charrnn.formats.export:epilog",
    ),
    CommandEntry(
        name="predict",
        summary="Show the next characters, and why; find copied and repeated passages.",
        place="charrnn.analyses.predict:predict",
    ),
)
"""All commands, in the order of the help."""
