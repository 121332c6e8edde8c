"""`charrnn corpora`: the catalogue of texts, and texts that are generated."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.root import Command
from charrnn.cli.streams import print_json, print_path, result_console, warn
from charrnn.detectors.registry import DETECTORS
from charrnn.progress import task

if TYPE_CHECKING:
    from charrnn.text.formal_languages import FormalString

app = typer.Typer(
    help="List, download and generate texts. They are those of a catalogue, and strings of formal languages.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _default(
    context: typer.Context, json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False
) -> None:
    if context.invoked_subcommand is None:
        list_corpora(json=json)


@app.command("list", cls=Command)
def list_corpora(json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False) -> None:
    """List the texts of the catalogue and what to look for in them."""
    from charrnn.text.catalogue import load_catalogue

    entries = load_catalogue()
    if json:
        print_json([asdict(entry) for entry in entries])
        return
    from charrnn.views.tables import catalogue_table

    result_console().print(catalogue_table(entries))


@app.command("fetch", cls=Command)
def fetch_corpus(
    name: Annotated[str, typer.Argument(help="A name from `charrnn corpora list`.", metavar="NAME")],
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a text into corpora/ and print its path.

    A text that is there or in a folder of CHARRNN_CORPORA already is not downloaded again. A file whose SHA-256 is not
    that of the catalogue is refused.
    """
    from charrnn.errors import DataError, did_you_mean
    from charrnn.text.catalogue import find_entry, load_catalogue
    from charrnn.text.sources import fetch_to_train, read_instead

    entry = find_entry(name)
    if entry is None:
        names = [entry.name for entry in load_catalogue()]
        raise DataError(f"The catalogue has no {name!r}; it has {', '.join(names)}." + did_you_mean(name, names))
    here = read_instead(entry)
    if here is not None:
        warn((f"`charrnn train {entry.name}` reads {here} of this folder, not the text of the catalogue",), quiet=quiet)
    path = fetch_to_train(entry)
    if json:
        print_json({"name": entry.name, "path": str(path)})
    else:
        print_path(str(path))


@app.command("make", cls=Command)
def make_corpus(
    language: Annotated[
        str,
        typer.Argument(
            metavar="LANGUAGE",
            help="anbn (aabb), anbncn (aabbcc), dyck (nested brackets), parity (1101=1) or copy (abca=abca).",
        ),
    ],
    lines: Annotated[int, typer.Option("--lines", help="Number of strings, one per line.", metavar="N")] = 10_000,
    min_length: Annotated[int, typer.Option("--min-length", help="Characters of a string, at least.", metavar="N")] = 1,
    max_length: Annotated[int, typer.Option("--max-length", help="Characters of a string, at most.", metavar="N")] = 50,
    brackets: Annotated[int, typer.Option("--brackets", help="Kinds of brackets of dyck: 1 to 4.", metavar="N")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same strings.", metavar="N", min=0)] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this new file instead of stdout.", metavar="FILE")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: each string with its states, or what was written to --out.")
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Generate strings of a formal language.

    Train on them with `charrnn train FILE --documents lines`; `charrnn visualize` then finds the cells that count.
    """
    import sys

    from charrnn.text.formal_languages import find_language, make_strings, write_lines

    found = find_language(language, brackets)
    strings = make_strings(found, lines, min_length=min_length, max_length=max_length, seed=seed)
    if out is None:
        labels: dict[str, Any] = {name: DETECTORS[name].label for name in found.detectors}
        for one in strings:
            if json:
                states = {name: label(one.text).astype(int).tolist() for name, label in labels.items()}
                print_json({"text": one.text, "states": states})
            else:
                sys.stdout.write(one.text + "\n")
        return
    with task("writing", lines, unit="strings") as advance:
        num_bytes = write_lines(_advancing(strings, advance), out)
    if json:
        print_json({"language": language, "path": str(out), "num_strings": lines, "num_bytes": num_bytes, "seed": seed})
    else:
        print_path(str(out))


def _advancing(strings: "Iterable[FormalString]", advance: Callable[[int], object]) -> Iterator[str]:
    """Yield the texts of strings; `advance` is called for each."""
    for one in strings:
        yield one.text
        advance(1)
