"""Define the options and arguments that several commands share."""

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table or text.")]
"""--json: print the result as JSON."""
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.")]
"""--quiet: print no progress, notes or warnings."""
DebugOption = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
"""--debug: print a traceback with an error."""
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run folder, its name under checkpoints/, or a .zip of charrnn export. Default: the newest run there or "
        "in this folder.",
    ),
]
"""The run to use; None stands for the newest one that was validated."""
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="A run folder, its name under checkpoints/, RUN@STEP for one of its checkpoints, or a .zip of charrnn "
        "export. Default: the newest run there or in this folder. --same takes several.",
    ),
]
"""The run to use, or several; None stands for the newest one that was validated."""

TextOption = Annotated[
    str | None, typer.Option("--text", help="Read this file, or - for stdin, instead of held-out text.", metavar="FILE")
]
"""--text: read a file or standard input instead of held-out text."""

UnknownOption = Annotated[
    str,
    typer.Option("--unknown", help="Characters outside the vocabulary: error, skip or nearest.", metavar="WORD"),
]
"""--unknown: what happens to characters of a text that are not in the vocabulary."""

MixOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mix",
        help="Mix the predictions of this run in, with the weight W; the first run has the rest. Repeatable; without "
        "=W all weights are equal.",
        metavar="RUN[=W]",
    ),
]
"""--mix: further runs that predict together with the first one."""
MixModeOption = Annotated[
    str | None,
    typer.Option(
        "--mix-mode",
        help="mixture (default): the weighted mean of the probabilities. product: their weighted product.",
        metavar="WORD",
    ),
]
"""--mix-mode: how the predictions of several runs become one."""
