"""charrnn export: write a model to a single file, which can be given to other people, in the format
of the file's suffix."""

from __future__ import annotations

import io
import re
import sys
import zipfile
import zlib
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
from charrnn.runs.targets import Target
from charrnn.system.files import JSON, encode_text, json_to_bytes
from charrnn.version import __version__
from charrnn.views.delivery import ExportFormat, find_format

if TYPE_CHECKING:
    from charrnn.plugins.formats.onnx import OnnxCheck
    from charrnn.trained_model import TrainedModel


_NOTE = Path(__file__).with_name("model_note.txt")
"""The text of the note in a .zip."""
_DATE = (1980, 1, 1, 0, 0, 0)  # A fixed date, so that the same model gives the same bytes.
Content = tuple[bytes, "OnnxCheck | None"]
"""The content of a file, and the check of an .onnx file; None for other formats, and without
onnxruntime."""


def _zip(model: TrainedModel, path: Path) -> Content:
    """Return the content of a model file. The same model gives the same bytes.

    The names of its texts and of the run from which it started are written without folders, so that
    the file contains no path of this machine.
    """
    from charrnn.runs import model_file
    from charrnn.runs.checkpoint import MANIFEST, MODEL, list_files, tensors_to_bytes
    from charrnn.runs.config_files import RunDescription

    names = tuple(map(_last_part, model.config.corpus))
    learned = ", ".join(names) or "the standard library of a Python"
    start = model.config.init_from
    if start is not None:
        start = _last_part(start)
        learned += f", after the texts of the model {start}"
    shared = replace(model.config, corpus=names, init_from=start, extend_alphabet=False)
    files = RunDescription.of(Path(), config=shared, vocab=model.vocab).files()
    files[MODEL] = tensors_to_bytes(model.tensors)

    # The digest identifies the text without its content and its path.
    recorded = model.recorded_corpus
    manifest: dict[str, JSON] = {
        "format": model_file.MODEL_FILE_VERSION,
        "charrnn": __version__,
        "step": model.step,
        "val_nats": model.val_nats,
        "corpus_digest": None if recorded is None else recorded.digest,
        "files": list_files(files),
    }

    loss = ""
    if model.val_nats is not None:
        loss = f", validation loss {model.val_nats:.4f} nats per symbol"
    note = _NOTE.read_text(encoding="utf-8").format(
        version=__version__,
        architecture=(
            f"{shared.num_layers} layer(s) of {shared.hidden_size} {shared.cell} units"
            f" ({shared.depth})"
        ),
        num_symbols=len(model.vocab),
        step=model.step,
        loss=loss,
        text=learned,
        name=path.stem,
        suffix=model_file.MODEL_FILE_SUFFIX,
    )

    first = {model_file.NOTE: encode_text(note), MANIFEST: json_to_bytes(manifest)}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for entry, data in {**first, **files}.items():
            info = zipfile.ZipInfo(entry, _DATE)
            info.compress_type = zipfile.ZIP_STORED if _is_stored(data) else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return content.getvalue(), None


def _is_stored(data: bytes) -> bool:
    """Whether a file is stored without compression. Weights that are nearly all zero would compress
    so well that `ModelFile` would refuse them as a bomb."""
    from charrnn.runs.model_file import MAX_RATIO, MAX_UNPACKED

    return len(data) > MAX_UNPACKED and len(data) > MAX_RATIO // 2 * len(zlib.compress(data))


def _last_part(source: str) -> str:
    """Return the last part of a path or an address, on any operating system."""
    names = [name for name in re.split(r"[/\\]", source) if name]
    return names[-1] if names else "text"


def _onnx(model: TrainedModel, path: Path) -> Content:
    import numpy as np

    from charrnn.generation.sample_options import SampleOptions
    from charrnn.plugins.formats.onnx import CHECKED_CHARS, check_onnx, onnx_to_bytes

    # The file is checked on a text that the model itself generates: all its characters are in the
    # alphabet.
    data = onnx_to_bytes(model)
    options = SampleOptions(length=CHECKED_CHARS, seed=0, precision="fp32")
    ids = np.array(model.generator.draw_ids(options))
    return data, check_onnx(data, stepper=model.stepper, ids=ids)


def _html(model: TrainedModel, path: Path, title: str | None = None) -> Content:
    from charrnn.plugins.formats.model_page.page import to_model_page

    return to_model_page(model, model.found_cells, title=title).encode("utf-8"), None


FORMATS = {
    ".zip": ExportFormat("for every command of charrnn", write=_zip),
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


def _check_title(path: Path, title: str | None) -> None:
    """Raise UsageError if a title is given for a file that is no page."""
    if title is not None and path.suffix.lower() != ".html":
        raise UsageError(f"{named('title', title)} is for a page: {path} does not end in .html.")


def write_model(model: TrainedModel, target: Target, title: str | None = None) -> Content:
    """Write a model to a file in the format of its suffix, and return its content. Raises the
    errors of `Model.export`."""
    _check_title(target.path, title)
    if model.instead_of is not None:
        raise CheckpointError(
            f"{model.instead_of}\nstep {model.step:,} of {model.name} could be loaded in its place:"
            f" to export that, name it: {model.name}@{model.step}"
        )
    target.check()
    write = find_format(target.path, FORMATS).write
    if title is not None:
        write = partial(_html, title=title)
    data, check = write(model, target.path)
    # This raises CheckpointError if the predictions are not finite.
    model.generator.model_for("int8", clamps={})
    target.write(data)
    return data, check


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ReplacingOptions):
    """The options of `charrnn export`."""

    words: Sequence[str] = argument(
        "[RUN] FILE", f"The file to write: {_FORMAT_LIST}; before it, optionally, a run."
    )
    title: str | None = option(
        None, flags="--title TEXT", help="Title of a page.", shown_default="the model's name"
    )


def export(options: ExportOptions) -> None:
    """Write a model to one file, in the format of its suffix.

    It contains the weights with the lowest validation loss and the alphabet: no optimizer state, no
    text, no counts of the training text, and no folder names of this machine. A .zip can be used in
    place of a run by sample, predict, visualize, explore, evaluate and train --init-from.
    The path is printed on stdout.
    """
    from charrnn.counts.counts_file import COUNTS_FILE
    from charrnn.runs.reader import is_run

    *run, file = options.words
    if len(run) > 1:
        raise UsageError(
            f"export takes [RUN] FILE, not {len(options.words)} words. Put quotes around names with"
            " spaces."
        )
    if Path(file).suffix.lower() not in FORMATS and is_run(file):
        raise UsageError(f"export takes [RUN] FILE.\n{meaning_of('export', file)}")
    # The target is checked before a large run is loaded.
    _check_title(Path(file), options.title)
    target = Target(Path(file), force=options.force, read=run)
    find_format(target.path, FORMATS)
    target.check()
    model = load_model(run[0] if run else None, quiet=options.quiet)
    if model.path is not None and (model.path / COUNTS_FILE).exists():
        warn(
            (
                "the file does not have the counts of the training text: it writes what"
                f" `charrnn sample {model.name} --no-counts` writes",
            ),
            quiet=options.quiet,
        )
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
