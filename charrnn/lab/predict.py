"""charrnn predict: the most likely next characters, or every number of a small network."""

from typing import Annotated

import typer

from charrnn.cli.arguments import load_model, to_content
from charrnn.cli.options import DebugOption, JsonOption, QuietOption, UnknownOption
from charrnn.cli.streams import print_json, result_console
from charrnn.generation.options import DEFAULT_TOP, DEFAULT_UNKNOWN
from charrnn.lab.numbers_records import MAX_UNITS


def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[RUN] TEXT", help="The text before the character; before it, optionally, a run."),
    ],
    top: Annotated[
        int | None,
        typer.Option("--top", help="Number of characters.", metavar="N", show_default=str(DEFAULT_TOP)),
    ] = None,
    numbers: Annotated[
        bool,
        typer.Option("--numbers", help=f"Print every number of each step, for networks of at most {MAX_UNITS} units."),
    ] = False,
    unknown: UnknownOption = DEFAULT_UNKNOWN,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the most likely next characters.

    Each character that may follow TEXT with its probability. With --numbers, how the network computes it, step by
    step: input, products, gates, hidden state, logits, softmax, target and loss.
    """
    from charrnn.errors import UsageError

    if len(arguments) > 2:
        raise UsageError(f"predict takes [RUN] TEXT, not {len(arguments)} words. Put quotes around the text.")
    if numbers and top is not None:
        raise UsageError("--top does not apply to --numbers: leave out one of them.")
    *run, text = arguments
    model = load_model(run[0] if run else None, quiet=quiet)
    content = to_content(text, model.vocab.kind)
    if numbers:
        computed = model.numbers(content, unknown=unknown)
        if json:
            print_json(computed.to_json())
            return
        from charrnn.lab.numbers_view import NumbersTable

        result_console().print(NumbersTable(computed))
        return
    predictions = model.predict(content, top=DEFAULT_TOP if top is None else top, unknown=unknown)
    if json:
        print_json([{"character": p.character, "probability": p.probability} for p in predictions])
        return
    from charrnn.views.tables import predictions_table

    result_console().print(predictions_table(predictions))
