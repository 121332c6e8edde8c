"""`charrnn corpora`: the catalogue of texts."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.progress import download_bar
from charrnn.cli.streams import print_json, print_path, result_console

app = typer.Typer(
    help="The catalogue: texts that `charrnn train NAME` can download.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _default(
    context: typer.Context, json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False
) -> None:
    if context.invoked_subcommand is None:
        list_corpora(json=json)


@app.command("list")
def list_corpora(json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False) -> None:
    """List the texts of the catalogue and what to look for in them."""
    from charrnn.text.catalogue import load_catalogue

    entries = load_catalogue()
    if json:
        print_json([asdict(entry) for entry in entries])
        return
    from charrnn.render.tables import catalogue_table

    result_console().print(catalogue_table(entries))


@app.command("fetch")
def fetch_corpus(
    name: Annotated[str, typer.Argument(help="A name from `charrnn corpora list`.", metavar="NAME")],
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a text into corpora/, check its SHA-256 and print its path."""
    from charrnn.errors import DataError, did_you_mean
    from charrnn.text.catalogue import fetch, find_entry, load_catalogue

    entry = find_entry(name)
    if entry is None:
        names = [entry.name for entry in load_catalogue()]
        raise DataError(f"The catalogue has no {name!r}; it has {', '.join(names)}." + did_you_mean(name, names))
    path = fetch(entry, Path("corpora"), on_progress=download_bar(quiet=quiet))
    if json:
        print_json({"name": entry.name, "path": str(path)})
    else:
        print_path(str(path))
