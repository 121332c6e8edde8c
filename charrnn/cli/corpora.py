"""`charrnn corpora`: the catalogue of texts, and texts that are generated."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from charrnn.cli.command_options import DebugOption, JsonOption, QuietOption, with_options
from charrnn.cli.root import Command
from charrnn.cli.streams import print_json, print_path, result_console
from charrnn.config.options import Option
from charrnn.detectors.registry import DETECTORS
from charrnn.errors import DataError, UsageError, did_you_mean
from charrnn.text.formal_languages import find_language, make_strings
from charrnn.text.sources import fetch_to_train, find_entry, load_catalogue

app = typer.Typer(
    help=(
        "List, download and generate texts. They are those of a catalogue, and strings of formal"
        " languages."
    ),
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
MAKE_OPTIONS = (
    Option(
        "--count",
        "Number of strings, one per line.",
        "N",
        kind=int,
        default=10_000,
        name="lines",
    ),
    Option(
        "--length",
        "Characters of a string, at most.",
        "N",
        kind=int,
        default=50,
        name="max_length",
    ),
    Option("--brackets", "Kinds of brackets of dyck: 1 to 4.", "N", kind=int, default=1),
    Option("--seed", "The same seed gives the same strings.", "N", kind=int, default=0, least=0),
    Option("--json", "Print JSON: each string with its states.", kind=bool),
)
"""The options of `charrnn corpora make`."""


@app.callback()
def _default(
    context: typer.Context,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    if context.invoked_subcommand is None:
        list_corpora(json=json)
    elif json:
        name = context.invoked_subcommand
        raise UsageError(f"--json belongs after {name}: charrnn corpora {name} --json")


def list_corpora(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the texts of the catalogue and what to look for in them."""
    entries = load_catalogue()
    if json:
        print_json([asdict(entry) for entry in entries])
        return
    from charrnn.views.tables import catalogue_table

    result_console().print(catalogue_table(entries))


def fetch_corpus(
    name: Annotated[
        str, typer.Argument(help="A name from `charrnn corpora list`.", metavar="NAME")
    ],
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Download a text into corpora/ and print its path.

    A text that is there or in a folder of CHARRNN_CORPORA already is not downloaded again. A file
    whose SHA-256 is not that of the catalogue is refused.
    """
    entry = find_entry(name)
    if entry is None:
        names = [entry.name for entry in load_catalogue()]
        raise DataError(
            f"The catalogue has no {name!r}; it has {', '.join(names)}." + did_you_mean(name, names)
        )
    path = str(fetch_to_train(entry))
    print_json({"name": entry.name, "path": path}) if json else print_path(path)


def make_corpus(
    language: Annotated[
        str,
        typer.Argument(
            metavar="LANGUAGE",
            help=(
                "anbn (aabb), anbncn (aabbcc), dyck (nested brackets), parity (1101=1) or copy"
                " (abca=abca)."
            ),
        ),
    ],
    quiet: QuietOption = False,
    *,
    values: Mapping[str, Any],
) -> None:
    """Generate strings of a formal language.

    Train on them with `charrnn train FILE --documents lines`; `charrnn visualize` then finds the
    cells that count.
    """
    found = find_language(language, values["--brackets"])
    labels: dict[str, Any] = {name: DETECTORS[name].label for name in found.detectors}
    strings = make_strings(
        found, values["--count"], max_length=values["--length"], seed=values["--seed"]
    )
    for string in strings:
        if values["--json"]:
            states = {
                name: label(string.text).astype(int).tolist() for name, label in labels.items()
            }
            print_json({"text": string.text, "states": states})
        else:
            sys.stdout.write(string.text + "\n")


app.command("list", cls=Command)(with_options(list_corpora, ()))
app.command("fetch", cls=Command)(with_options(fetch_corpus, ()))
app.command("make", cls=Command)(with_options(make_corpus, MAKE_OPTIONS))
