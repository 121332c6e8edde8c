"""Make the figures of the pages again, and say of which recipe and model each of them is.

    python docs/make/figures.py --list                       # those that are not of today; nothing if all are
    python docs/make/figures.py --all                        # all of them, and what is known of each
    python docs/make/figures.py demo page                    # makes these again
    python docs/make/figures.py latex --texts FOLDER         # with the texts of this folder
    python docs/make/figures.py --measure RESULTS --hours 2  # all that fits, those that are timed first
    python docs/make/figures.py cards --sign                 # makes nothing: the page was changed by hand
    python docs/make/figures.py cards --sign --measured RESULTS

What an entry of docs/figures.yaml has is said in docs/make/figure_entries.py.

A command runs in an empty folder with the texts of `--texts` and the variable DOCS. What it prints
is printed, so that it can be copied to the page; `--measure` writes it to RESULTS/NAME.txt, with
RESULTS/NAME.json for `--sign`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from figure_entries import (
    DOCS,
    facts_of,
    read_figures,
    recipe_version,
    state_of,
    unnamed_sections,
    write_figures,
)


def _drawn(module: str, function: str) -> Callable[[], None]:
    """Return what draws a figure; its module is imported when it is called."""

    def draw() -> None:
        getattr(__import__(module), function)()

    return draw


DRAWN = {
    "theory": _drawn("drawings", "write_drawings"),
    "peers": _drawn("charts", "draw_peers"),
    "recipe-choice": _drawn("charts", "draw_choice"),
    "gradients": _drawn("charts", "draw_gradients"),
    "demo": _drawn("record_demo", "draw_demo"),
    "page": _drawn("screens", "draw_page"),
    "explore": _drawn("screens", "draw_explorer"),
}
"""Figures that a function draws. All others are made by their command."""


def make(name: str, figure: dict[str, Any], texts: Path | None) -> None:
    """Make a figure. Raises SystemExit if its command fails, or is to be run by hand."""
    if name in DRAWN:
        DRAWN[name]()
        return
    if figure.get("by_hand"):
        raise SystemExit(f"{name} takes long: run `{figure['command']}`, then --sign {name}")
    if run(figure, texts, timeout=None, output=None) != 0:
        raise SystemExit(f"{name}: the command failed")


def run(
    figure: dict[str, Any], texts: Path | None, *, timeout: float | None, output: TextIO | None
) -> int:
    """Run the command of a figure in a folder with the texts; return its exit code, 124 after
    `timeout` seconds."""
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
        process = subprocess.Popen(
            ["bash", "-ec", figure["command"]],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return 124


def measure_all(results: Path, hours: float, texts: Path | None) -> None:
    """Run the commands of the figures that are not of today, those that are timed first and then the
    shortest, as long as they fit into the time; write what each prints and what is known of it."""
    results.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 3600 * hours
    figures = read_figures()
    wanted = [name for name, figure in figures.items() if state_of(figure) and name not in DRAWN]
    wanted.sort(key=lambda name: (not figures[name].get("timed"), figures[name].get("minutes", 1)))
    for name in wanted:
        figure = figures[name]
        if figure.get("by_hand"):
            print(f"{name}: by hand, {figure['command']}")
            continue
        minutes = figure.get("minutes", 1)
        left = end - time.monotonic()
        if 60 * minutes > left:
            print(f"{name}: no time for {minutes} minutes")
            continue
        facts = facts_of(figure)
        begin = time.monotonic()
        with (results / f"{name}.txt").open("w", encoding="utf-8") as output:
            code = run(figure, texts, timeout=left, output=output)
        seconds = time.monotonic() - begin
        print(f"{name}: {seconds:.0f} seconds, exit code {code}", flush=True)
        if code == 0:
            (results / f"{name}.json").write_text(json.dumps(facts, indent=1))


def main() -> None:
    """Make the figures that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="list what is not of today")
    parser.add_argument("--all", action="store_true", help="list all figures")
    parser.add_argument(
        "--measure", type=Path, metavar="RESULTS", help="measure what is not of today"
    )
    parser.add_argument("--hours", type=float, default=2, help="the time that --measure has")
    parser.add_argument("--measured", type=Path, metavar="RESULTS", help="what --sign signs")
    parser.add_argument("--sign", action="store_true", help="only write version, machine and date")
    parser.add_argument("--texts", type=Path, help="the folder of the texts that are learned")
    given = parser.parse_args()
    figures = read_figures()
    if given.all:
        print(f"today: recipe {recipe_version()}")
    if given.all or given.list:
        for name, figure in figures.items():
            state = state_of(figure)
            if given.all or state:
                print(f"{name:24} {state:6} {figure.get('date', '')!s:11} {figure['version']}")
        for section in unnamed_sections():
            print(f"{section} shows a figure without an entry")
        return
    if given.measure:
        measure_all(given.measure, given.hours, given.texts)
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
            facts = facts_of(figure)
            if given.measured:
                facts = json.loads((given.measured / f"{name}.json").read_text())
            figure |= facts
            for reason in ("accepted", "older"):
                figure.pop(reason, None)
        write_figures(figures)


if __name__ == "__main__":
    main()
