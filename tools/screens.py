"""Draw what charrnn shows: the explorer, and a page with names.

    python tools/screens.py towns   # a run that has learned names

`tools/figures.py` draws the explorer, which shows an included model: it writes the same text
everywhere. The page is one that somebody writes around an exported module. It needs chromium.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

import charrnn
from charrnn.cells.records import CHARS_SCORED
from charrnn.explore.app import Explorer, TextView
from charrnn.explore.state import explore_text
from charrnn.views.svg import INK, PAPER, RECORDING, to_svg

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
"""Where the pictures go."""
COLUMNS, LINES = 84, 27
"""Size of the terminal."""
ROW, DETECTOR = 1, "quote"
"""The row of the list that is selected in the explorer, and its detector."""
NUM_SHOWN = 8_000
"""Characters of the text, as the explorer shows."""
CURSOR, LINES_BEFORE = 7111, 4
"""The character at which the cursor is, in a dialogue, and the lines above it."""
SELECTED = Style(color=PAPER, bgcolor=INK, bold=True)
"""The selected row and the cursor, whose colours the terminal swaps."""
SIZE = "760,330"
"""Pixels of the window with the page."""
PAGE = """\
<!DOCTYPE html>
<title>Towns</title>
<style>
body { font: 17px system-ui, sans-serif; margin: 0; padding: 16px 24px; background: #fcfcfa; color: #1e1e22 }
body { border: 1px solid #8c959f; min-height: 100vh; box-sizing: border-box }
ul { columns: 4; padding: 0; list-style: none; line-height: 1.7 }
button { font: inherit; padding: 6px 14px }
</style>
<h1>Twenty new names of towns</h1>
<ul id="names"></ul>
<button onclick="write()">Twenty others</button>
<script type="module">
  import { sample } from "./towns.js";
  window.write = (seed) => {
    const names = sample({ count: 20, unique: true, isNew: true, temperature: 0.5, seed });
    document.getElementById("names").innerHTML = names.map((name) => `<li>${name}`).join("");
  };
  write(1);
</script>
"""
"""A page around the module of a model."""


def _screen_lines(app: Explorer) -> list[Text]:
    """Return the lines of a screen, with explicit colours where the terminal swaps them."""
    lines = []
    for strip in app.screen._compositor.render_strips():
        line = Text(no_wrap=True)
        for style, parts in groupby(strip, key=lambda segment: segment.style or Style()):
            text = "".join(part.text for part in parts)
            line.append(text, SELECTED if style.reverse else style)
        lines.append(line)
    return lines


def _draw(app: Explorer, lines: list[Text], title: str, name: str) -> None:
    picture = to_svg(lines, title, COLUMNS)
    (PICTURES / name).write_text(picture, encoding="utf-8", newline="\n")


async def _explore(explorer: Explorer) -> list[Text]:
    """Select the cell, move the cursor, and return the screen."""
    async with explorer.run_test(size=(COLUMNS, LINES)) as pilot:
        browser = explorer.browser
        browser.choose(ROW)
        view = browser.query_one(TextView)
        view.styles.scrollbar_size_vertical = 0
        browser.action_move(CURSOR)
        await pilot.pause()
        view.scroll_to(y=view.current_line - LINES_BEFORE, animate=False)
        await pilot.pause()
        return _screen_lines(explorer)


def draw_explorer() -> None:
    """Draw `charrnn explore prose` over the text that the model writes."""
    model = charrnn.load("prose")
    text = model.encode(model.written_text())
    explorer = Explorer(explore_text(model, text, num_shown=NUM_SHOWN, num_scored=CHARS_SCORED))
    # With all colours, on light paper, whatever the terminal is.
    explorer.console = Console(file=StringIO(), width=COLUMNS, **RECORDING)
    lines = asyncio.run(_explore(explorer))
    title = f"charrnn explore: the cell of {model.name} for {DETECTOR}"
    _draw(explorer, lines=lines, title=title, name="explore.svg")


def draw_page(run: Path) -> None:
    """Export the module of a run that has learned names, open PAGE around it, and take the
    picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "towns.js"
        charrnn.load(run).export(module, new=True)
        print(f"towns.js has {module.stat().st_size:,} bytes")
        page = Path(folder) / "page.html"
        page.write_text(PAGE, encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            f"--window-size={SIZE}",
            "--virtual-time-budget=10000",
            f"--screenshot={PICTURES / 'page.png'}",
        ]
        subprocess.run([chromium, *options, page.as_uri()], check=True)


if __name__ == "__main__":
    draw_page(Path(sys.argv[1]))
