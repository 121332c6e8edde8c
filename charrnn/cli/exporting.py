"""Prints what `charrnn visualize` shows, or exports it to a file."""

from pathlib import Path

from charrnn.cli.pictures import Shown
from charrnn.cli.streams import print_path, result_console
from charrnn.views.export import find_format


def check_export(export: Path | None, text: str | None, *, no_arrays: str | None = None) -> None:
    """Raise UsageError, before anything is computed, for a file that cannot be written or that is the `text`.

    `no_arrays` is what has no activations, so that no .npz can be written.
    """
    from charrnn.errors import UsageError

    if export is not None:
        try:
            find_format(export)
        except UsageError as error:
            raise UsageError(f"--export {error}") from None
    if export is not None and not export.parent.is_dir():
        raise UsageError(f"--export {export}: there is no folder {export.parent}. Create it, or give another.")
    if export is not None and export.is_dir():
        raise UsageError(f"--export {export}: that is a folder. Give the name of a file.")
    if export is not None and text is not None and export.exists() and Path(text).exists() and export.samefile(text):
        raise UsageError(f"--export {export}: that is the text, which it would replace. Give another name.")
    if export is not None and no_arrays is not None and export.suffix.lower() == ".npz":
        raise UsageError(f"--export {export}: {no_arrays} no activations; use .json.")


def deliver(shown: Shown, export: Path | None) -> None:
    """Print the pictures, or write them in the format of the suffix. Raises CharRNNError if that fails."""
    if export is None:
        console = result_console()
        for picture in shown.pictures:
            console.print(picture)
        return
    _write(export, find_format(export).write(shown))


def _write(export: Path, data: bytes) -> None:
    """Write a file atomically and print its path. Raises CharRNNError naming the option."""
    from charrnn.errors import CharRNNError
    from charrnn.files import behind_links, write_atomically

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
