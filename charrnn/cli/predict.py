"""charrnn predict: the most likely next characters."""

from typing import Annotated

import typer

from charrnn.cli.arguments import load_model, to_content
from charrnn.cli.options import DebugOption, JsonOption, QuietOption, UnknownOption
from charrnn.cli.streams import print_json, result_console
from charrnn.generation.defaults import DEFAULT_TOP, DEFAULT_UNKNOWN


def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[RUN] TEXT", help="The text before the character; before it, optionally, a run."),
    ],
    top: Annotated[int, typer.Option("--top", help="Number of characters.", metavar="N")] = DEFAULT_TOP,
    unknown: UnknownOption = DEFAULT_UNKNOWN,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the most likely next characters.

    Each character that may follow TEXT with its probability.
    """
    from charrnn.errors import UsageError

    if len(arguments) > 2:
        raise UsageError(f"predict takes [RUN] TEXT, not {len(arguments)} words. Put quotes around the text.")
    *run, text = arguments
    model = load_model(run[0] if run else None, quiet=quiet)
    predictions = model.predict(to_content(text, model.vocab.kind), top=top, unknown=unknown)
    if json:
        print_json([{"character": p.character, "probability": p.probability} for p in predictions])
        return
    from charrnn.render.tables import predictions_table

    result_console().print(predictions_table(predictions))
