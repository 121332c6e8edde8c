"""charrnn export: write a model that can be given to other people to a folder, or to a file in the
format of its suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.arguments import load_model
from charrnn.cli.command_options import ReplacingOptions
from charrnn.cli.streams import print_json, print_path
from charrnn.config.options import argument, option, words_in_text
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.hooks import ModelFormat
from charrnn.hooks.manager import offered
from charrnn.runs.destinations import Destination, FolderDestination
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import tell, warn

if TYPE_CHECKING:
    from charrnn.formats import model_folder
    from charrnn.trained_model import TrainedModel
else:
    model_folder = LazyModule("charrnn.formats.model_folder")


def epilog() -> str:
    """Return the text below the help: all formats."""
    listed = words_in_text(f"{each.suffix} ({each.content})" for each in _formats().values())
    return f"The end of FILE says the format: {listed}."


def _to_zip(model: TrainedModel, path: Path) -> bytes:
    """Return the files of a model in one, with the name of the file."""
    from charrnn.runs.model_file import pack

    return pack(model_folder.files_of(model, name=path.stem))


def _to_folder(model: TrainedModel, path: Path) -> dict[str, bytes]:
    """Return the files of a model by their names, with the name of the folder."""
    return model_folder.files_of(model, name=path.resolve().name)


def _to_page(model: TrainedModel, path: Path, title: str | None = None) -> bytes:
    """Return the page of a model, with the name of the file if its text is private."""
    return model_folder.page_of(model, name=path.stem, title=title)


def _to_module(model: TrainedModel, path: Path, new: bool = False) -> bytes:
    """Return the module of a model, which has no name in it. With `new` it tells new documents."""
    from charrnn.formats.model_page.digests import DocumentDigests
    from charrnn.formats.model_page.page import to_module

    digests = None
    if new:
        digests = DocumentDigests.of(model)
    return to_module(model, digests).encode("utf-8")


def _to_declaration() -> bytes:
    """Return the types of a module, which are those of every module."""
    from charrnn.formats.model_page.module_options import declaration

    return declaration().encode("utf-8")


FORMATS = (
    ModelFormat(".zip", content="the folder in one file", write=_to_zip),
    ModelFormat(".html", content="a page that runs the model", write=_to_page, has_title=True),
    ModelFormat(".js", content="a module for other programs", write=_to_module, has_new=True),
    ModelFormat(".mjs", content="the same, for node", write=_to_module, has_new=True),
    ModelFormat("/", content="a folder with a card", write=_to_folder),
)
"""The formats of charrnn."""
DECLARATIONS = {".js": ".d.ts", ".mjs": ".d.mts"}
"""The suffix of the file that declares the types of a module, which TypeScript looks for beside it.
"""


def _formats() -> dict[str, ModelFormat]:
    """Return the formats that are written, by suffix. Of two with the same suffix the first counts,
    so that no package replaces a format of charrnn."""
    formats: dict[str, ModelFormat] = {}
    for each in (*FORMATS, *(each for _, each in offered("formats"))):
        if each.write:
            formats.setdefault(each.suffix, each)
    return formats


def destination_of(
    file: str | Path, *, force: bool, read: Sequence[str | Path]
) -> Destination | FolderDestination:
    """Return the folder that a name means, which ends in a slash or is there, or the file.

    A method and a command give a model away by the same rules; `Destination.check` says whether the
    path will do.
    """
    # A folder with the suffix of a file is there by mistake.
    is_there = os.path.isdir(file) and Path(file).suffix.lower() not in _formats()
    if is_there or str(file).endswith(("/", os.sep)):
        return FolderDestination(Path(file), force=force, read=read)
    return Destination(Path(file), force=force, read=read)


def _declaration_beside(destination: Destination | FolderDestination) -> Destination | None:
    """Return the file beside a module that declares its types; None for another format. One that an
    earlier export wrote is replaced."""
    from charrnn.formats.model_page.module_options import DECLARATION_MARK

    suffix = DECLARATIONS.get(destination.path.suffix.lower())
    if suffix is None or isinstance(destination, FolderDestination):
        return None
    return Destination(
        destination.path.with_suffix(suffix),
        force=destination.force,
        mark=DECLARATION_MARK,
        read=destination.read,
    )


def _check(destination: Destination | FolderDestination) -> None:
    """Check that the destination can be written, and the declaration beside it."""
    destination.check()
    declaration = _declaration_beside(destination)
    if declaration is not None:
        declaration.check()


def _writer_of(
    destination: Destination | FolderDestination, *, title: str | None, new: bool
) -> Callable[..., Any]:
    """Return the function that writes a folder, or a file by its suffix. Raises UsageError for an
    unknown suffix, for the title of another format than a page, and for the digests of another than
    a module."""
    formats = _formats()
    suffix = "/" if isinstance(destination, FolderDestination) else destination.path.suffix.lower()
    if suffix not in formats:
        raise UsageError(
            f"{destination.path}: the name of a file, after the run, must end in"
            f" {words_in_text(formats)}: / is a folder."
        )
    write = formats[suffix].write
    assert write is not None, suffix
    # The functions of other formats have no parameters for these.
    if title is not None:
        if not formats[suffix].has_title:
            raise UsageError(
                f"{named('title', title)} is for a page: {destination.path} has no title."
            )
        write = partial(write, title=title)
    if new:
        if not formats[suffix].has_new:
            raise UsageError(
                f"{named('new')} is for a module, {words_in_text(DECLARATIONS)}: {destination.path}"
                " has no use for digests of documents."
            )
        write = partial(write, new=True)
    return write


def write_model(
    model: TrainedModel,
    destination: Destination | FolderDestination,
    title: str | None = None,
    *,
    known_words: bool = False,
    new: bool = False,
) -> int:
    """Write a model to a folder, or to a file in the format of its suffix, and return the number of
    bytes. With `known_words` the words that it has read are in the file, too, and with `new` the
    digests of its documents. Raises the errors of `Model.export`.

    `Model.export` and the command both end here, so that every format is written in one way.
    """
    # Looked for before all else: a name that is wrong is the error that is mended first.
    write = _writer_of(destination, title=title, new=new)
    if model.instead_of is not None:
        raise CheckpointError(
            f"{model.instead_of}\nstep {model.step:,} of {model.name} could be loaded in its place:"
            f" to export that, name it: {model.name}@{model.step}"
        )
    _check(destination)
    # This raises CheckpointError if the predictions are not finite.
    model.generator.stepper_for("int8", clamps={})

    # Whoever gives words of a text away has asked for it: those that came with a model are left
    # out, too.
    words = model.word_list.to_bytes() if known_words else None
    if words != model.words:
        model = replace(model, words=words)
    content = write(model, destination.path)
    destination.write(content)
    declaration = _declaration_beside(destination)
    if declaration is not None:
        declaration.write(_to_declaration())
    if isinstance(destination, FolderDestination):
        return sum(map(len, content.values()))
    return len(content)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ReplacingOptions):
    """The options of `charrnn export`."""

    words: Sequence[str] = argument(
        "[RUN] FILE",
        help="A run (the newest if left out), then a file, whose suffix says the format, or a"
        " folder, NAME/.",
        default=(),
    )
    title: str | None = option(
        None, flags="--title TEXT", help="Title of a page.", shown_default="the model's name"
    )
    known_words: bool = option(
        False,
        flags="--known-words",
        help="Put in the words of the text, for sample --known-words.",
    )
    new: bool = option(
        False,
        flags="--new",
        help="Put in digests of the documents, for isNew of a module.",
    )


def export(options: ExportOptions) -> None:
    """Save a model to share: a folder, .zip, web page or JavaScript module.

    \b
    Examples:
      charrnn export prose copy.zip
      charrnn export prose tolstoy.html --title "War and Peace"
      charrnn export prose tolstoy.js

    It contains the weights with the lowest validation loss and the alphabet: no optimizer state, no
    text, no words of it without --known-words, no digests of its documents without --new, and no
    names of this machine or of a private text.
    The folder and the .zip can be used in place of a run by all commands and by train --init-from.
    The path is printed on stdout.
    """
    if not 1 <= len(options.words) <= 2:
        raise UsageError(
            f"export takes [RUN] FILE, not {len(options.words)} words. Put quotes around names with"
            " spaces."
        )
    *run, file = options.words
    # The destination is checked before a large run is loaded.
    destination = destination_of(file, force=options.force, read=run)
    _writer_of(destination, title=options.title, new=options.new)
    _check(destination)
    model = load_model(run[0] if run else None)
    num_bytes = write_model(
        model,
        destination,
        title=options.title,
        known_words=options.known_words,
        new=options.new,
    )
    if options.new:
        warn(
            "digests of the documents are in the file: whoever has it can test whether a guess is"
            " one of them"
        )

    if options.json:
        result = {"file": file, "bytes": num_bytes, "step": model.step, "val_nats": model.val_nats}
        print_json(result)
        return
    loss = ""
    if model.val_nats is not None:
        loss = f", validation loss {model.val_nats:.4f} nats per character"
    tell(f"step {model.step:,}{loss}")
    if options.known_words:
        tell(f"the words of the text are in the file: {len(model.word_list.words):,}")
    print_path(file)
