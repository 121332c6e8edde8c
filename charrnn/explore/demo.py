"""charrnn demo: an included model writes a text, coloured by one of its cells; then a table lists
its best cells."""

import sys
import time

from charrnn.cli.command_options import CommandOptions
from charrnn.cli.streams import print_json, result_console
from charrnn.runs.included import INCLUDED

LENGTH = 293
"""Number of characters after which the text ends with a whole sentence. Sampling is exact, so that
the text is the same on every machine."""
SECONDS_PER_CHAR = 0.012
"""The pause after each character on a terminal: the model is much too fast to be watched."""
NEXT = """\
charrnn sample prose     more of its text
charrnn visualize prose  its other cells
charrnn train FILE       learn your text"""
"""The commands to go on with, for 40 columns."""


def demo(options: CommandOptions) -> None:
    """Watch an included model write, coloured by one of its cells.

    \b
    Example:
      charrnn demo

    Nothing has to be trained, and nothing is saved. The model writes words that it has read, as by
    `charrnn sample prose --known-words`. The cell has learned where quotations begin and end: the
    text is red where it is low, blue where it is high. Without colours blocks below each line show
    the same.
    """
    # Imported here, so that --help starts sooner.
    from rich.text import Text

    from charrnn.api import load
    from charrnn.cells.records import CellFindings, ColouredText
    from charrnn.views.heatmap import HeatMap, fold, scale_pictures
    from charrnn.views.theme import is_plain, palette_of, scale_of

    # The model is loaded from its file, because a run may have its name.
    model = load(INCLUDED / "prose.zip")
    # The first cell of its card follows quotations.
    best = model.card_scores[:3]
    cell = (best[0].layer, best[0].unit)
    pieces = model.stream(
        prime="said Pierre.\n\n",
        length=LENGTH,
        seed=2,
        temperature=0.7,
        cell=cell,
        known_words=True,
    )
    characters = ((piece.text, piece.value) for piece in pieces)
    if options.json:
        cells = [score.to_json() for score in best]
        print_json({"cell": cell, "characters": [*characters], "cells": cells})
        return

    # The first line appears at once.
    console = result_console()
    heading = f"A network that has read {model.card['text']} writes."
    scale = scale_of(values=(), polarity=best[0].polarity)
    console.print(f"{heading} Its cell {cell[0]}:{cell[1]} follows quotations:")
    console.print(*scale_pictures(scale), sep="\n")
    if is_plain(console):
        # The blocks stand below each line, so a line is printed only when it is complete.
        text, values = zip(*characters, strict=True)
        console.print(HeatMap(ColouredText(text="".join(text), values=values), scale))
    else:
        # A line is drawn as soon as the model has written it, and no sooner.
        for line in fold(characters, console.width):
            for cluster, value in line:
                style = palette_of(console).value(scale.position(value))
                console.print(Text(cluster, style=style), end="")
                if sys.stdout.isatty():
                    sys.stdout.flush()
                    time.sleep(SECONDS_PER_CHAR)
            console.print()

    # Imported only now, so that the text starts sooner.
    from charrnn.views.findings_tables import findings_table

    console.print("\nScored on text that it never saw:", findings_table(CellFindings(scores=best)))
    console.print(NEXT)
