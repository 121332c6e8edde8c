"""Where a picture of `charrnn visualize` goes: to the terminal, or to a file for others."""

from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.pictures import Shown
from charrnn.cli.streams import print_path, result_console
from charrnn.render.export import find_format

if TYPE_CHECKING:
    from charrnn.detectors.registry import Detector
    from charrnn.microscope.trace import Trace


def check_export(export: Path | None, text: str | None) -> None:
    """Raise UsageError, before anything is computed, for a name that cannot be written, or is that of `text`."""
    from charrnn.errors import UsageError

    if export is not None:
        try:
            find_format(export)
        except UsageError as error:
            raise UsageError(f"--export {error}") from None
    if export is not None and not export.parent.is_dir():
        raise UsageError(f"--export {export}: there is no folder {export.parent}. Make it first, or give another.")
    if export is not None and export.is_dir():
        raise UsageError(f"--export {export}: that is a folder. Give the name of a file.")
    if export is not None and text is not None and export.exists() and Path(text).exists() and export.samefile(text):
        raise UsageError(f"--export {export}: that is the text to look at, which it would replace. Give another name.")


def deliver(shown: Shown, export: Path | None) -> None:
    """Print the pictures or, for an export, what its suffix asks for. Raises CharRNNError if it cannot be written."""
    if export is None:
        console = result_console()
        for picture in shown.pictures:
            console.print(picture)
        return
    _write(export, find_format(export).write(shown))


def save_arrays(path: Path, trace: "Trace", detectors: "list[Detector]", *, num_chosen_on: int) -> None:
    """The raw activations, in the format that docs/formats.md describes.

    They count as scored from the first that no cell was chosen on. Raises CharRNNError if they cannot be written.
    """
    import numpy as np

    from charrnn.render.visible import all_visible

    arrays = {
        "ids": trace.ids,
        "text": np.array(trace.text),
        "cells": trace.cells,
        "hidden": trace.hidden,
        "logprobs": trace.logprobs,
        "scored": np.arange(len(trace.text)) >= num_chosen_on,
    }
    for detector in detectors:
        labels = detector.label(trace.text)
        if labels is not None:
            # A regular expression may hold what no name of a file in an archive can be spelled with.
            arrays[all_visible(f"labels_{detector.name}")] = labels
    kept = {name: array for name, array in arrays.items() if array is not None}
    deliver(Shown("", (), None, arrays=kept), path)


def _write(export: Path, data: bytes) -> None:
    """Write a file whole or not at all, so that an older one of that name is not lost for half of a new one."""
    from charrnn.errors import CharRNNError
    from charrnn.files import write_atomically

    try:
        if export.exists() and not export.is_file():  # a pipe or a device: not to be replaced by a file
            export.write_bytes(data)
        else:
            write_atomically(export.resolve(), data)
    except OSError as error:
        raise CharRNNError(f"--export {export}: {error.strerror}. Give another name.") from None
    except CharRNNError as error:
        raise CharRNNError(f"--export {export}: {error.marked}") from None
    print_path(str(export))
