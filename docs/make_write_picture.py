"""Draw what `charrnn write` shows: `python docs/make_write_picture.py` writes
docs/pictures/write.svg.

The draft has curly quotes and a dash; Tab was pressed.
"""

import asyncio
from io import StringIO
from pathlib import Path

from make_explore_picture import screen_line
from rich.console import Console
from rich.text import Text

import charrnn
from charrnn.api import Model
from charrnn.tui.write.continuations import ContinuationOptions
from charrnn.tui.write.drafts import Draft
from charrnn.tui.write.screen import Writer
from charrnn.views.svg import RECORDING, to_svg

FILE = Path(__file__).parent / "pictures" / "write.svg"
"""Where the picture goes."""
DRAFT = """“You are late,” said the count—and he looked at the door again.

Nobody answered. The old officer stood at the window with his hat in his
hand, and the rain ran down the glass. At last he turned round and
"""
"""The draft."""
COLUMNS, LINES = 84, 20
"""Size of the terminal."""


async def take_picture(writer: Writer) -> list[Text]:
    """Press Tab at the end of the draft, and return the lines of the screen."""
    async with writer.run_test(size=(COLUMNS, LINES)) as pilot:
        await pilot.press("tab")
        while not writer.draft_screen.offered:
            await pilot.pause(0.1)
        await pilot.pause(0.5)
        return [screen_line(list(strip)) for strip in writer.screen._compositor.render_strips()]


def draw(model: Model) -> str:
    """Open the draft, and return the picture as SVG."""
    options = ContinuationOptions(until="sentence", seed=4)
    writer = Writer(model, Draft(Path("chapter-1.txt"), DRAFT), options)
    # With all colours, on light paper, whatever the terminal is.
    writer.console = Console(file=StringIO(), width=COLUMNS, **RECORDING)
    lines = asyncio.run(take_picture(writer))
    writer.finish()
    return to_svg(lines, f"charrnn write: five continuations by {model.name}", COLUMNS)


def main() -> None:
    """Draw the editor with a run."""
    picture = draw(charrnn.load("prose"))
    FILE.write_text(picture, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
