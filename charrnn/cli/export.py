"""charrnn export: a model in one file, to be given away."""

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import load_model
from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.streams import print_json, print_path


def export(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[RUN] FILE.zip", help="The file to write; before it, optionally, a run."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.zip if it exists.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a model to one file that every command takes instead of a run.

    It contains the weights with the lowest validation loss, the alphabet, the configuration and a note: no optimizer
    state, no text, and no folder names of this machine. The path is printed on stdout.
    """
    from charrnn.errors import UsageError
    from charrnn.runs.model_file import check_target

    if len(arguments) > 2:
        raise UsageError(
            f"export takes [RUN] FILE.zip, not {len(arguments)} words. Put quotes around names with spaces."
        )
    *run, file = arguments
    check_target(Path(file), is_replaced=force)  # before a large run is loaded
    model = load_model(run[0] if run else None, quiet=quiet)
    path = model.export(file, force=force)
    if json:
        described = model.description
        size = path.stat().st_size
        print_json({"file": file, "bytes": size, "step": described.step, "val_nats": described.val_nats})
    else:
        print_path(file)
