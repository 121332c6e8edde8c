"""Draw what `charrnn explore` shows: `python docs/make_explore_picture.py` writes
docs/pictures/explore.svg.

The cell that follows quotations best is selected. The text shown is where most quotations begin and
end.
"""

import asyncio
from io import StringIO
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

import charrnn
from charrnn.api import Model
from charrnn.cells.findings import CHARS_SCORED
from charrnn.cells.passages import most_changes
from charrnn.cells.targets import label_by_name
from charrnn.text.vocab import EncodedText
from charrnn.tui.explore.app import Explorer, TextView
from charrnn.tui.explore.state import BEST
from charrnn.views.svg import INK, PAPER, RECORDING, to_svg

FILE = Path(__file__).parent / "pictures" / "explore.svg"
"""Where the picture goes."""
DETECTOR = "quote"
"""The selected cell is the best one for this detector."""
COLUMNS, LINES = 84, 27
"""Size of the terminal."""
NUM_SHOWN = 8_000
"""Characters of the text, as the command shows."""
CHARS_IN_VIEW = 700
"""Characters of the text that are in view, about."""
CHARS_AFTER, LINES_BEFORE = 3, 4
"""Characters after the quotation mark at which the cursor is, and lines above it."""
SELECTED = Style(color=PAPER, bgcolor=INK, bold=True)
"""The selected row and the cursor, whose colours the terminal swaps."""


async def take_picture(explorer: Explorer) -> list[Text]:
    """Select the cell, move to the passage, and return the lines of the screen."""
    async with explorer.run_test(size=(COLUMNS, LINES)) as pilot:
        browser = explorer.browser
        while BEST not in browser.exploration.orders or browser.query_one("#status").display:
            await pilot.pause(0.1)
        scores = [
            row.score.detector for row in browser.exploration.orders[BEST] if row.score is not None
        ]
        browser.choose(scores.index(DETECTOR))
        labels = label_by_name(browser.given.text, [DETECTOR])[DETECTOR]
        begin = most_changes(labels, 0, CHARS_IN_VIEW)
        view = browser.query_one("#text", TextView)
        view.styles.scrollbar_size_vertical = 0
        # The cursor is where the first quotation of the passage begins.
        browser.exploration.viewed.cursor = begin + int(labels[begin:].argmax())
        browser.action_move(CHARS_AFTER)
        await pilot.pause()
        view.scroll_to(y=view.current_line - LINES_BEFORE, animate=False)
        await pilot.pause()
        return [screen_line(list(strip)) for strip in explorer.screen._compositor.render_strips()]


def screen_line(segments: list[object]) -> Text:
    """Return a line of the screen, with explicit colours where they are swapped."""
    line = Text(no_wrap=True)
    for style, parts in groupby(segments, key=lambda segment: segment.style or Style()):  # type: ignore[attr-defined]
        text = "".join(part.text for part in parts)  # type: ignore[attr-defined]
        line.append(text, SELECTED if style.reverse else style)
    return line


def draw(model: Model, text: EncodedText) -> str:
    """Measure the cells, or look them up, and return the picture as SVG."""
    explorer = Explorer(model, text, num_shown=NUM_SHOWN, num_scored=CHARS_SCORED)
    # With all colours, on light paper, whatever the terminal is.
    explorer.console = Console(file=StringIO(), width=COLUMNS, **RECORDING)
    lines = asyncio.run(take_picture(explorer))
    explorer.finish()
    return to_svg(lines, f"charrnn explore: the cell of {model.name} for {DETECTOR}", COLUMNS)


def main() -> None:
    """Draw an included model over the text that it writes, as the command shows it."""
    model = charrnn.load("prose")
    picture = draw(model, model.encode(model.written_text()))
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(picture, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
