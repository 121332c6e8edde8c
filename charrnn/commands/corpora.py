"""`charrnn corpora`: the catalogue of texts."""

from dataclasses import asdict, dataclass

import typer

from charrnn.cli.command_classes import Command, Group
from charrnn.cli.command_options import CommandOptions, command_of
from charrnn.cli.streams import print_json, print_path, result_console, with_flags
from charrnn.config.options import argument, option
from charrnn.errors import DataError, UsageError, did_you_mean, named
from charrnn.system.progress import warn
from charrnn.text.sources import (
    CORPORA_VARIABLE,
    CatalogueEntry,
    corpora_folders,
    fetch,
    find_entry,
    load_catalogue,
    path_of,
)

app = typer.Typer(
    cls=Group,
    help=("List and download the texts of a catalogue."),
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@dataclass(frozen=True, kw_only=True)
class ListOptions(CommandOptions):
    """The options of `charrnn corpora list`."""

    kind: str = option("", flags="--kind KIND", help="Only one kind of text, such as code.")


@dataclass(frozen=True, kw_only=True)
class EntryOptions(CommandOptions):
    """The options of `charrnn corpora show` and `fetch`."""

    name: str = argument("NAME", "A name from `charrnn corpora list`.")


def _default(context: typer.Context, options: ListOptions) -> None:
    # `charrnn corpora` alone lists, as most people type it first.
    name = context.invoked_subcommand
    if name is None:
        list_corpora(options)
    # Refused, not passed on: unlike --quiet and --debug, these would mean nothing to the group.
    elif options.json or options.kind:
        raise UsageError(f"--json and --kind belong after {name}: charrnn corpora {name} --json")


def list_corpora(options: ListOptions) -> None:
    """List the texts of the catalogue.

    `charrnn train NAME` downloads one if it is not here, and reads it as the catalogue says, such
    as line by line. Options come first, and so does a file of your own.
    """
    entries = [entry for entry in load_catalogue() if options.kind in ("", entry.kind)]
    if not entries:
        kinds = ", ".join(dict.fromkeys(entry.kind for entry in load_catalogue()))
        raise UsageError(f"No text is of the kind {options.kind!r}; the kinds are {kinds}.")
    _warn_of_folders()
    if options.json:
        print_json([_as_json(entry) for entry in entries])
        return

    # Imported here: rich takes longer than all the rest of the command.
    from charrnn.views.tables import catalogue_table

    # A narrow terminal has no room for all columns without breaking words. `show` has them all.
    console = result_console()
    table = catalogue_table(entries)
    unlimited = console.options.update(width=1000)
    while (
        len(table.columns) > 1 and console.measure(table, options=unlimited).maximum > console.width
    ):
        del table.columns[-1]
    console.print(table)


def show_corpus(options: EntryOptions) -> None:
    """Show what a text of the catalogue is, what to look for in it, and commands for it."""
    entry = _entry(options)
    path = path_of(entry)
    if options.json:
        print_json(_as_json(entry))
        return

    facts = {
        "text": entry.about,
        "licence": entry.licence,
        "look for": entry.look_for,
        "train": f"charrnn train {entry.name}",
        "then": entry.command,
    }
    # The settings as options, which can be typed to change them.
    settings = [named(name, value) for name, value in entry.settings.items()]
    if settings:
        facts["read with"] = with_flags(" ".join(settings))
    facts["from"] = entry.address
    facts["here"] = f"no: charrnn corpora fetch {entry.name}"
    if path is not None:
        facts["here"] = str(path)

    from charrnn.views.tables import plain_table

    kind = f"{entry.kind}, {entry.language}, {entry.num_bytes:,} bytes"
    result_console().print(plain_table(entry.name, kind, rows=facts.items()))


def fetch_corpus(options: EntryOptions) -> None:
    """Download a text into corpora/ and print its path.

    A text that is there or in a folder of CHARRNN_CORPORA already is not downloaded again. A file
    whose SHA-256 is not that of the catalogue is refused.
    """
    entry = _entry(options)

    # The path is the result, for `charrnn train $(charrnn corpora fetch NAME)`.
    path = str(fetch(entry))
    if options.json:
        print_json({"name": entry.name, "path": path})
    else:
        print_path(path)


def _entry(options: EntryOptions) -> CatalogueEntry:
    """Return the entry with this name. Raises DataError."""
    _warn_of_folders()
    name = options.name
    entry = find_entry(name)
    if entry is None:
        near = did_you_mean(name, [entry.name for entry in load_catalogue()])
        raise DataError(f"The catalogue has no {name!r}; charrnn corpora lists it.{near}")
    return entry


def _warn_of_folders() -> None:
    """Warn of paths in $CHARRNN_CORPORA that are no folders."""
    for folder in corpora_folders()[1:]:
        if not folder.is_dir():
            warn(f"{CORPORA_VARIABLE}: {folder} is no folder")


def _as_json(entry: CatalogueEntry) -> dict[str, object]:
    """Return an entry with the path of its file, if it is here."""
    path = path_of(entry)
    return asdict(entry) | {"path": path and str(path)}


app.callback()(command_of(_default))
app.command("list", cls=Command)(command_of(list_corpora))
app.command("show", cls=Command)(command_of(show_corpus))
app.command("fetch", cls=Command)(command_of(fetch_corpus))
