"""Make the figures of the pages again, and say of which recipe and model each of them is.

    python tools/figures.py --list                       # those that are not of today
    python tools/figures.py demo page                    # makes these again
    python tools/figures.py cells-prose --texts FOLDER   # with the texts of this folder
    python tools/figures.py cards --sign                 # makes nothing: the page was changed by hand

What an entry of docs/figures.yaml has is said in tools/figure_entries.py.

A command runs in an empty folder with the texts of `--texts` and the variable DOCS. What it prints
is printed, so that it can be copied to the page.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figure_entries import (
    DOCS,
    facts_of,
    read_figures,
    stale_figures,
    unnamed_sections,
    write_figures,
)

DRAWN = {
    "peers": "charts.draw_peers",
    "bars": "charts.draw_bars",
    "cells": "coloured_texts.draw_cells",
    "code": "coloured_texts.draw_code",
    "demo": "record_demo.draw_demo",
    "explore": "screens.draw_explorer",
}
"""Figures that a function draws, whose module is imported then. All others are made by their command."""


def make(name: str, figure: dict[str, Any], texts: Path | None) -> None:
    """Make a figure. Raises SystemExit if its command fails, or is to be run by hand."""
    if name in DRAWN:
        module, function = DRAWN[name].split(".")
        draw = getattr(importlib.import_module(module), function)
        draw()
    elif figure.get("by_hand"):
        raise SystemExit(f"{name} takes long: run `{figure['command']}`, then --sign {name}")
    elif run(figure["command"], texts) != 0:
        raise SystemExit(f"{name}: the command failed")


def run(command: str, texts: Path | None) -> int:
    """Run the command of a figure in a folder with the texts; return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        for text in [] if texts is None else texts.iterdir():
            (Path(folder) / text.name).symlink_to(text.resolve())
        benchmarks = DOCS.parent.resolve() / "benchmarks"
        (Path(folder) / "benchmarks").symlink_to(benchmarks)
        environment = {
            **os.environ,
            "DOCS": str(DOCS.resolve()),
            "COLUMNS": "80",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(DOCS.parent.resolve()),
        }
        return subprocess.run(["bash", "-ec", command], cwd=folder, env=environment).returncode


def main() -> None:
    """Make the figures that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="list what is not of today")
    parser.add_argument("--sign", action="store_true", help="only write version, machine and date")
    parser.add_argument("--texts", type=Path, help="the folder of the texts that are learned")
    given = parser.parse_args()
    figures = read_figures()
    if given.list:
        for name in stale_figures():
            print(f"{name:24} {figures[name]['date']:11} {figures[name]['version']}")
        for section in unnamed_sections():
            print(f"{section} shows a figure without an entry")
        return

    unknown = set(given.names) - set(figures)
    if unknown or not given.names:
        parser.error(f"name figures of: {', '.join(figures)}")
    for name in given.names:
        if not given.sign:
            make(name, figures[name], given.texts)
        # Read again: the figure may have taken long. The numbers of a chart that is only drawn
        # again are not measured again.
        figures = read_figures()
        figure = figures[name]
        if given.sign or not figure.get("by_hand"):
            figure |= facts_of(figure)
        write_figures(figures)


if __name__ == "__main__":
    main()
