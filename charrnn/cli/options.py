"""Options and arguments that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    pass


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table or text.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run folder, or its name under checkpoints/. Default: the newest run that was validated.",
    ),
]

TextOption = Annotated[
    str | None, typer.Option("--text", help="Read this file, or - for stdin, instead.", metavar="FILE")
]


UnknownOption = Annotated[
    str,
    typer.Option("--unknown", help="Characters that the model never saw: error, skip or nearest.", metavar="WORD"),
]
