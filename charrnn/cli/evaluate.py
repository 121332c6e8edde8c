"""charrnn evaluate: the loss of a model over a text."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from charrnn.cli.arguments import load_model, read_text
from charrnn.cli.options import DebugOption, JsonOption, QuietOption, RunArgument, TextOption
from charrnn.cli.streams import can_animate, print_json, result_console, warn

MAX_SCORED = 1 << 24
"""The limit of --chars, unless another is asked for: about a minute for 512 units on two cores."""


def evaluate(
    run: RunArgument = None,
    text: TextOption = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", help="Which part of the run's text: validation, or test (with --split 80/10/10).", metavar="PART"
        ),
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or fp16.", metavar="P")] = "auto",
    chars: Annotated[
        int,
        typer.Option(
            "--chars",
            help="Score at most N characters by the stateful protocol, in segments spread evenly over the text.",
            metavar="N",
            min=1,
        ),
    ] = MAX_SCORED,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure how well a model predicts a text.

    Prints the loss on the validation text, the test text or --text, in nats and bits per character.

    Of a text with more than 16,777,216 characters, segments are scored that are spread evenly over it; --chars N sets
    another limit.

    `stateful` carries the state through the whole text; `windowed-256` reads random windows of 256 characters, each
    from a zero state. The two must not be compared with each other.
    """
    from charrnn import api
    from charrnn.errors import UsageError, counted
    from charrnn.evaluation.loss import WINDOWED_LENGTH

    if part is not None and text is not None:
        raise UsageError("--part selects a part of the run's own text: give --part or --text, not both.")
    model = load_model(run, quiet=quiet)
    content = model.held_out(part or "validation") if text is None else read_text(text, model.config, quiet=quiet)
    if can_animate(sys.stderr) and not quiet:
        sys.stderr.write(f"Reading {counted(min(len(content), chars), 'character')} ...\n")
    reports = [api.evaluate(model, content, precision=precision, max_chars=chars)]
    skipped = []
    if len(content) > WINDOWED_LENGTH:
        reports.append(api.evaluate(model, content, protocol="windowed-256", precision=precision))
    else:
        unit = "byte" if model.vocab.kind == "byte" else "character"
        reason = f"it needs more than {WINDOWED_LENGTH} {unit}s, and the text has {len(content)}"
        skipped.append({"protocol": "windowed-256", "reason": reason})
    if json:
        windowed = {"windowed_256": asdict(reports[1])} if len(reports) > 1 else {}
        source = {"part": part or "validation"} if text is None else {}
        report = {"run": model.name, "step": model.step, **source, **asdict(reports[0]), **windowed}
        print_json(report | {"skipped": skipped})
        return
    from charrnn.render.tables import losses_table

    console = result_console()
    console.print(losses_table(reports))
    for row in skipped:
        console.print(f"{row['protocol']} is skipped: {row['reason']}.")
    first = reports[0]
    if len(content) > chars:
        share = f"{100 * first.num_chars / len(content):.2g} %"
        console.print(
            f"stateful: {first.num_chars:,} of {len(content):,} characters ({share}), in segments spread evenly over "
            "the text."
        )
    unknown = first.num_unknown
    if unknown:
        what = f"{counted(unknown, 'character')} of this text {'is' if unknown == 1 else 'are'} unknown to the model"
        warn((f"{what} and read as one symbol",), quiet=quiet)
