"""charrnn export: write a model that can be given to other people to a folder, or to a file in the
format of its suffix."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.arguments import load_model
from charrnn.cli.command_options import ReplacingOptions
from charrnn.cli.other_words import meaning_of
from charrnn.cli.streams import print_json, print_path, warn, write_aside
from charrnn.config.options import argument, option, words_in_text
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.runs.targets import FolderTarget, Target
from charrnn.views.delivery import ExportFormat, find_format

if TYPE_CHECKING:
    from charrnn.plugins.formats.onnx import OnnxCheck
    from charrnn.trained_model import TrainedModel


Content = tuple[bytes, "OnnxCheck | None"]
"""The content of a file, or of all files of a folder, and the check of an .onnx file; None for
other formats, and without onnxruntime."""


def _zip(model: TrainedModel, path: Path) -> Content:
    from charrnn.plugins.formats.model_folder import files_of
    from charrnn.runs.model_file import pack

    return pack(files_of(model, path.stem)), None


def _onnx(model: TrainedModel, path: Path) -> Content:
    import numpy as np

    from charrnn.generation.sample_options import SampleOptions
    from charrnn.plugins.formats.model_folder import without_private_name
    from charrnn.plugins.formats.onnx import CHECKED_CHARS, check_onnx, onnx_to_bytes

    # The file is checked on a text that the model itself generates: all its characters are in the
    # alphabet.
    data = onnx_to_bytes(without_private_name(model, path.stem))
    options = SampleOptions(length=CHECKED_CHARS, temperature=1.0, seed=0, precision="fp32")
    ids = np.array(model.generator.draw_ids(options))
    return data, check_onnx(data, stepper=model.stepper, ids=ids)


def _html(model: TrainedModel, path: Path, title: str | None = None) -> Content:
    from charrnn.plugins.formats.model_folder import public_config, without_private_name
    from charrnn.plugins.formats.model_page.page import to_model_page

    shared = replace(without_private_name(model, path.stem), config=public_config(model))
    return to_model_page(shared, model.found_cells, title=title).encode("utf-8"), None


FORMATS = {
    ".zip": ExportFormat("the same folder in one file", write=_zip),
    ".html": ExportFormat("a page that runs the model", write=_html),
    ".onnx": ExportFormat(
        "for onnxruntime and other programs", write=_onnx, package="onnx", extra="onnx"
    ),
}
"""The formats of models by suffix; `write` takes the model and the path of the file, and returns a
`Content`."""
_FORMAT_LIST = words_in_text(
    f"{suffix} {file_format.content}" for suffix, file_format in FORMATS.items()
)


def target_of(
    file: str | Path, *, force: bool, read: Sequence[str | Path]
) -> Target | FolderTarget:
    """Return the folder that a name means, which ends in a slash or is there, or the file."""
    # A folder with the suffix of a file is there by mistake.
    is_there = os.path.isdir(file) and Path(file).suffix.lower() not in FORMATS
    if is_there or str(file).endswith(("/", os.sep)):
        return FolderTarget(Path(file), force=force, read=read)
    return Target(Path(file), force=force, read=read)


def _check_options(target: Target | FolderTarget, title: str | None) -> None:
    """Raise UsageError for an option of another format."""
    suffix = target.path.suffix.lower()
    if title is not None and (suffix != ".html" or isinstance(target, FolderTarget)):
        raise UsageError(
            f"{named('title', title)} is for a page: {target.path} does not end in .html."
        )
    if isinstance(target, Target) and suffix not in FORMATS:
        raise UsageError(
            f"{target.path}: the name must end in {words_in_text(FORMATS)}, or in / for a folder."
        )


def write_model(
    model: TrainedModel,
    target: Target | FolderTarget,
    title: str | None = None,
) -> Content:
    """Write a model to a folder, or to a file in the format of its suffix, and return the content.
    Raises the errors of `Model.export`."""
    _check_options(target, title)
    if model.instead_of is not None:
        raise CheckpointError(
            f"{model.instead_of}\nstep {model.step:,} of {model.name} could be loaded in its place:"
            f" to export that, name it: {model.name}@{model.step}"
        )
    target.check()
    # This raises CheckpointError if the predictions are not finite.
    model.generator.model_for("int8", clamps={})
    if isinstance(target, FolderTarget):
        # Imported here, as what the formats need: the help lists them.
        from charrnn.plugins.formats.model_folder import files_of

        files = files_of(model, os.path.basename(target.path.resolve()))
        target.write(files)
        return b"".join(files.values()), None

    write = find_format(target.path, FORMATS).write
    if title is not None:
        write = partial(_html, title=title)
    data, check = write(model, target.path)
    target.write(data)
    return data, check


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ReplacingOptions):
    """The options of `charrnn export`."""

    words: Sequence[str] = argument(
        "[RUN] FILE",
        f"The folder to write, NAME/ with a card, or the file: {_FORMAT_LIST}; before it,"
        " optionally, a run.",
    )
    title: str | None = option(
        None, flags="--title TEXT", help="Title of a page.", shown_default="the model's name"
    )


def export(options: ExportOptions) -> None:
    """Write a model that can be given to other people: to a folder, a .zip, a page or a graph.

    It contains the weights with the lowest validation loss and the alphabet: no optimizer state, no
    text, and no names of this machine or of a private text. The
    folder and the .zip have a card that describes the model, README.md. Both can be used in place
    of a run by sample, predict, visualize, explore, evaluate and train --init-from.
    The path is printed on stdout.
    """
    from charrnn.runs.model_file import is_model_file
    from charrnn.runs.reader import is_run

    *run, file = options.words
    if len(run) > 1:
        raise UsageError(
            f"export takes [RUN] FILE, not {len(options.words)} words. Put quotes around names with"
            " spaces."
        )
    # The target is checked before a large run is loaded.
    target = target_of(file, force=options.force, read=run)
    if target.path.suffix.lower() not in FORMATS and is_run(file) and not is_model_file(file):
        raise UsageError(f"export takes [RUN] FILE.\n{meaning_of('export', file)}")
    _check_options(target, options.title)
    if isinstance(target, Target):
        find_format(target.path, FORMATS)
    target.check()
    model = load_model(run[0] if run else None, quiet=options.quiet)
    data, check = write_model(model, target, title=options.title)

    is_told = not options.quiet and not options.json
    if is_told:
        loss = ""
        if model.val_nats is not None:
            loss = f", validation loss {model.val_nats:.4f} nats per character"
        write_aside(f"step {model.step:,}{loss}")
    if target.path.suffix.lower() == ".onnx" and check is None:
        warn(
            ("the file was not checked, because onnxruntime is not installed",), quiet=options.quiet
        )
    if is_told and check is not None:
        sys.stderr.write(
            f"onnxruntime read {check.num_chars:,} characters; the largest difference to the model"
            f" is {check.max_difference:.2g} (logits)\n"
        )

    if not options.json:
        print_path(file)
        return
    result = {"file": file, "bytes": len(data), "step": model.step, "val_nats": model.val_nats}
    if check is not None:
        result["check"] = asdict(check)
    print_json(result)
