"""charrnn export: a model in one file, to be given away."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from charrnn.apps.exports import check_target, describe_model_formats, export_model
from charrnn.cli.arguments import load_model
from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.streams import print_json, print_path, warn


def export(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] FILE", help=f"The file to write: {describe_model_formats()}; before it, optionally, a run."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a model to one file, in the format of its suffix.

    It contains the weights with the lowest validation loss and the alphabet: no optimizer state, no text, and no folder
    names of this machine. A .zip can be used in place of a run by sample, predict, visualize, explore, write, evaluate
    and train --init-from. The path is printed on stdout.
    """
    from charrnn.errors import UsageError

    if len(arguments) > 2:
        raise UsageError(f"export takes [RUN] FILE, not {len(arguments)} words. Put quotes around names with spaces.")
    *run, file = arguments
    check_target(Path(file), is_replaced=force)  # before a large run is loaded
    model = load_model(run[0] if run else None, quiet=quiet)
    exported = export_model(model, Path(file), force=force)
    warn(exported.notes, quiet=quiet)
    check = exported.check
    if check is not None and not quiet and not json:
        sys.stderr.write(
            f"onnxruntime read {check.num_chars:,} characters; the largest difference to the model is "
            f"{check.max_difference:.2g} (logits)\n"
        )
    if json:
        described = {"file": file, "bytes": exported.num_bytes, "step": model.step, "val_nats": model.val_nats}
        print_json(described | ({} if check is None else {"check": asdict(check)}))
    else:
        print_path(file)
