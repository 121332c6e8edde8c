"""A result as the terminal shows it and as programs read it: printed, or exported to a file."""

from pathlib import Path

from charrnn.cli.streams import print_path, result_console
from charrnn.errors import CharRNNError, UsageError
from charrnn.files import behind_links, write_atomically
from charrnn.views.export import Shown, check_target, find_format

__all__ = ("Shown", "check_export", "deliver")


def check_export(export: Path | None, text: str | None, *, no_arrays: str | None = None) -> None:
    """Raise UsageError, before anything is computed, for a file that cannot be written or that is the `text`.

    `no_arrays` is what has no activations, so that no .npz can be written.
    """
    if export is None:
        return
    try:
        check_target(export)
    except UsageError as error:
        raise UsageError(f"--export {error}") from None
    problem = None
    if export.is_dir():
        problem = "that is a folder. Give the name of a file."
    elif text is not None and export.exists() and Path(text).exists() and export.samefile(text):
        problem = "that is the text, which it would replace. Give another name."
    elif no_arrays is not None and export.suffix.lower() == ".npz":
        problem = f"{no_arrays} no activations; use .json."
    if problem is not None:
        raise UsageError(f"--export {export}: {problem}")


def deliver(shown: Shown, export: Path | None) -> None:
    """Print the pictures, or write them in the format of the suffix and print the path of the file.

    Writes atomically. Raises CharRNNError naming the option if that fails.
    """
    if export is None:
        console = result_console()
        for picture in shown.pictures:
            console.print(picture)
        return
    data = find_format(export).write(shown)
    try:
        if export.exists() and not export.is_file():  # a pipe or a device, which must not be replaced
            export.write_bytes(data)
        else:
            write_atomically(behind_links(export), data)
    except OSError as error:
        raise CharRNNError(f"--export {export}: {error.strerror}. Give another name.") from None
    except CharRNNError as error:
        raise CharRNNError(f"--export {export}: {error.marked}") from None
    print_path(str(export))
