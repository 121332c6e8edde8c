"""`charrnn corpora`: the catalogue of texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from charrnn.cli.command_options import CommandOptions
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


@dataclass(frozen=True, kw_only=True)
class CorporaOptions(CommandOptions):
    """The options of `charrnn corpora`."""

    words: Sequence[str] = argument(
        "[show|fetch NAME]", "What a text is, or download it.", default=(), shown_default="list all"
    )
    kind: str = option("", flags="--kind KIND", help="List only one kind of text, such as code.")


def corpora(options: CorporaOptions) -> None:
    """List the texts of the catalogue, show what one is, or download it.

    \b
    Examples:
      charrnn corpora
      charrnn corpora show shakespeare
      charrnn corpora fetch shakespeare

    `charrnn train NAME` downloads a text if it is not here, and reads it as the catalogue says,
    such as line by line; a file of your own with this name comes first. `fetch` downloads it into
    corpora/ and prints its path. A file whose SHA-256 is not that of the catalogue is refused.
    """
    for folder in corpora_folders()[1:]:
        if not folder.is_dir():
            warn(f"{CORPORA_VARIABLE}: {folder} is no folder")

    match options.words:
        case [] | ["list"]:
            _list(options)
        case ["show", name]:
            _show(_entry(name), options)
        case ["fetch", name]:
            # The path is the result, for `charrnn train $(charrnn corpora fetch NAME)`.
            path = str(fetch(_entry(name)))
            if options.json:
                print_json({"name": name, "path": path})
            else:
                print_path(path)
        case [action, *_]:
            near = did_you_mean(action, ("list", "show", "fetch"))
            raise UsageError(f"charrnn corpora takes list, show NAME or fetch NAME.{near}")


def _list(options: CorporaOptions) -> None:
    """List the texts of the catalogue."""
    entries = [entry for entry in load_catalogue() if options.kind in ("", entry.kind)]
    if not entries:
        kinds = ", ".join(dict.fromkeys(entry.kind for entry in load_catalogue()))
        raise UsageError(f"No text is of the kind {options.kind!r}; the kinds are {kinds}.")
    if options.json:
        print_json([_as_json(entry) for entry in entries])
        return

    # Imported here: rich takes longer than all the rest of the command.
    from charrnn.views.tables import catalogue_table

    result_console().print(catalogue_table(entries))


def _show(entry: CatalogueEntry, options: CorporaOptions) -> None:
    """Show what a text is, what to look for in it, and commands for it."""
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


def _entry(name: str) -> CatalogueEntry:
    """Return the entry with this name. Raises DataError."""
    entry = find_entry(name)
    if entry is None:
        near = did_you_mean(name, [entry.name for entry in load_catalogue()])
        raise DataError(f"The catalogue has no {name!r}; charrnn corpora lists it.{near}")
    return entry


def _as_json(entry: CatalogueEntry) -> dict[str, object]:
    """Return an entry with the path of its file, if it is here."""
    path = path_of(entry)
    return asdict(entry) | {"path": None if path is None else str(path)}
