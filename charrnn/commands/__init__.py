"""The commands of charrnn, which are imported when they are used."""

from charrnn.hooks.specifications import CommandEntry

COMMANDS = (
    CommandEntry("train", summary="Train a model on a text.", place="charrnn.commands.train:train"),
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
    CommandEntry(
        "demo",
        summary="Watch a model write, and one of its cells.",
        place="charrnn.plugins.tui.demo:demo",
        needs="tui",
    ),
    CommandEntry(
        "explore",
        summary="Browse the cells of a model over a text.",
        place="charrnn.plugins.tui.terminal:explore",
        needs="tui",
    ),
    CommandEntry(
        "export",
        summary="Write a model to one file, in the format of its suffix.",
        place="charrnn.plugins.formats.export:export",
        needs="formats",
    ),
    CommandEntry(
        "import",
        summary="Make a run of a model that another program trained.",
        place="charrnn.plugins.formats.importing:import_model",
        needs="formats",
    ),
    CommandEntry(
        "serve",
        summary="Serve a model to a browser and to OpenAI's clients.",
        place="charrnn.plugins.serving.serve:serve",
        needs="serving",
    ),
    CommandEntry(
        "predict",
        summary="Print the most likely next characters.",
        place="charrnn.plugins.analyses.predict:predict",
        needs="analyses",
    ),
)
"""All commands, in the order of the help."""
