"""The screens over the browser, and what they draw: a coloured text, a page of a cell, two texts to compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Size
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from charrnn.apps.explore.state import CellIndex, Clamp
from charrnn.apps.full_screen import Job, Keys, StatusLine, bind, bind_all
from charrnn.cells.records import CellPassage
from charrnn.cells.values import extreme_passages, number_sentences, read_passages
from charrnn.cli.streams import printable
from charrnn.views.cell_page import page_pictures, passages_pictures, summary_pictures
from charrnn.views.heatmap import fold, without_carriage_returns
from charrnn.views.theme import all_visible, block, palette_of

if TYPE_CHECKING:
    from charrnn.apps.explore.app import Explorer

PAGE, COMPARISON = "page", "comparison"
"""Kinds of the jobs of the screens."""
PAGE_KEYS: tuple[Keys, ...] = (
    ("↑ ↓ k j", "a line up, down", {"j,down": "scroll(1)", "k,up": "scroll(-1)"}),
    ("PgDn PgUp", "a screen down, up; Space too", {"pagedown,space": "scroll(0, 1)", "pageup": "scroll(0, -1)"}),
    ("Home End", "the beginning, the end", {"home": "scroll(0, -1000000)", "end": "scroll(0, 1000000)"}),
    ("← →", "the page of the cell before, after in the list", {"left": "turn(-1)", "right": "turn(1)"}),
    ("c", "clamp the cell, and compare what the model generates from the cursor", {"c": "app.clamp"}),
    ("?", "these keys", {"question_mark": "app.help"}),
    ("q Esc", "back to the list of cells; Enter and p too", {"escape,q,enter,p": "dismiss"}),
)
"""The keys of the page of a cell."""


class TextView(ScrollView, can_focus=False):
    """A text coloured by one value per character."""

    GUTTER = 2

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._characters = ""
        self._values: Sequence[float] | None = None
        """From -1 to 1."""
        self._cursor: int | None = None
        self._lines: list[list[tuple[str, int]]] = []
        self._folded: tuple[str, int] | None = None

    def show(self, characters: str, values: Sequence[float] | None, cursor: int | None = None) -> None:
        """Show the characters with their values, or without, and the one at `cursor` in view."""
        self._characters, self._values, self._cursor = characters, values, cursor
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = max(1, self.scrollable_content_region.width - self.GUTTER)
        if self._folded != (self._characters, width):
            self._folded = self._characters, width
            indexed = zip(self._characters, range(len(self._characters)), strict=True)
            self._lines = list(fold(without_carriage_returns(indexed), width, ascii_only=False))
            self.virtual_size = Size(width + self.GUTTER, len(self._lines) * self.rows_per_line)
        height = self.scrollable_content_region.height
        row, top = self.current_line * self.rows_per_line, self.scroll_offset.y
        last = row + self.rows_per_line - 1
        if self._cursor is not None and height and not top <= row <= last < top + height:
            self.scroll_to(y=row if row < top else last - height + 1, animate=False)
        self.refresh()

    @property
    def rows_per_line(self) -> int:
        """Rows of the screen that a line of text takes: without colours, a line of blocks is below each."""
        return 2 if self.app.no_color else 1

    @property
    def current_line(self) -> int:
        """Which line the cursor is on."""
        cursor = self._cursor or 0
        return next((row for row, line in enumerate(self._lines) if line[-1][1] >= cursor), 0)

    def line_further(self, by: int) -> int:
        """The character so many lines down from the cursor, in the same place of its line."""
        if not self._lines:
            return 0
        row = self.current_line
        place = (self._cursor or 0) - self._lines[row][0][1]
        line = self._lines[min(len(self._lines) - 1, max(0, row + by))]
        return line[min(place, len(line) - 1)][1]

    def sparkline(self, row: int | None = None) -> str:
        """The values over a line, by default that of the cursor: a block as wide as each character."""
        if self._values is None or not self._lines:
            return ""
        line = self._lines[self.current_line if row is None else row]
        return " " * self.GUTTER + "".join(block(self._values[index]) * cell_len(shown) for shown, index in line)

    def render_line(self, y: int) -> Strip:
        row, is_below = divmod(y + self.scroll_offset.y, self.rows_per_line)
        if row >= len(self._lines):
            return Strip.blank(self.size.width)
        if is_below:
            return Strip([Segment(self.sparkline(row))]).adjust_cell_length(self.size.width)
        is_current = self._cursor is not None and row == self.current_line
        segments = [Segment("▸ " if is_current else "  ")]
        segments += [
            Segment("".join(shown for shown, _ in segment), style)
            for style, segment in groupby(self._lines[row], lambda item: self._style_at(item[1]))
        ]
        return Strip(segments).adjust_cell_length(self.size.width)

    def _style_at(self, index: int) -> Style:
        style = Style()
        if self._values is not None and not self.app.no_color:
            style = palette_of(self.app.console).value(self._values[index])
        return style + Style(reverse=True) if index == self._cursor else style


@dataclass(frozen=True)
class Legible:
    """A renderable without dim text and, if `is_plain`, as for a terminal without colours.

    The console of Textual always has them.
    """

    drawn: RenderableType
    is_plain: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.is_plain:
            width = options.max_width
            console = Console(file=console.file, width=width, color_system=None, markup=False, highlight=False)
        for text, style, control in console.render(self.drawn, options):
            yield Segment(text, style and style + Style(dim=False), control)


def passages_in(text: str, values: NDArray[np.float32]) -> tuple[CellPassage, ...]:
    """Return the top, the bottom and the decile passages of a text by a cell's values (N,) over it."""
    drawn = np.random.default_rng(0).permutation(len(values))
    places = list(extreme_passages(values.astype(np.float16), text, number_sentences(text), drawn))
    return read_passages(text, places, [values[place.begin : place.end] for place in places])


class Page(Screen[None]):
    """A title, a summary that stays, and pictures to scroll through, which arrive one after the other."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(PAGE_KEYS)
    app: "Explorer"

    def compose(self) -> ComposeResult:
        yield Static(id="caption")
        yield Static(id="summary")
        with VerticalScroll(id="pictures", can_focus=False):
            yield Static(id="page")
        yield StatusLine()
        yield Static(id="hint")

    def on_mount(self) -> None:
        self.show_subject()

    def on_unmount(self) -> None:
        self.app.work.stop(PAGE)

    def show_subject(self) -> None:
        """Name the selected cell, and measure and draw one part of its page after the other."""
        explorer, exploration = self.app, self.app.browser.exploration
        cell, score = exploration.cell, exploration.rows[exploration.row].score
        name, about = exploration.caption()
        self.query_one("#caption", Static).update(Text.assemble((name, "bold"), printable(about)))
        self._draw([], self._early_pictures(cell))
        self.query_one("#pictures").scroll_home(animate=False)
        hint = "↑↓ PgUp PgDn scroll  ←→ other cells  c clamp  ? help  Esc back"
        self.query_one("#hint", Static).update(Text(hint, no_wrap=True))

        def measure(job: Job) -> None:
            for page in explorer.study.page_in_parts(*cell):
                summary = summary_pictures(page, score.detector if score else None)
                job.show(self._draw, summary, page_pictures(page))
                job.pause()

        explorer.measure(PAGE, measure, self.query_one(StatusLine).say)

    def _early_pictures(self, cell: CellIndex) -> list[RenderableType]:
        """Draw the passages of the text of the browser, if it was read: to read the one that is scored takes longer."""
        given = self.app.browser.given
        values = given.values(cell)
        if values is None:
            return []
        title = f"Where cell {cell[0]}:{cell[1]} is high and low in the first {len(values):,} characters"
        return passages_pictures(title, passages_in(given.text, values))

    def _draw(self, summary: Sequence[RenderableType], pictures: Sequence[RenderableType]) -> None:
        for widget, drawn in (("#summary", summary), ("#page", pictures)):
            self.query_one(widget, Static).update(Legible(Group(*drawn), is_plain=self.app.no_color))

    def action_scroll(self, lines: int, pages: int = 0) -> None:
        pictures = self.query_one("#pictures")
        pictures.scroll_relative(y=lines + pages * max(1, pictures.size.height - 1), animate=False)

    def action_turn(self, by: int) -> None:
        """Show the page of the cell before or after in the list."""
        exploration = self.app.browser.exploration
        row = exploration.row + by
        if 0 <= row < len(exploration.rows):
            self.app.browser.choose(row)
            self.show_subject()


class Comparison(Screen[None]):
    """Two generated texts side by side: with a cell clamped, and without."""

    BINDINGS: ClassVar[list[BindingType]] = bind(
        {"escape,q": "dismiss", "r": "again", "j,down": "scroll(1)", "k,up": "scroll(-1)"}
    )
    app: "Explorer"

    def __init__(self, clamp: Clamp) -> None:
        super().__init__()
        self._clamp = clamp

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        with Horizontal():
            for side in ("clamped", "free"):
                with Vertical():
                    yield Static(id=f"{side}-title", classes="bold")
                    yield TextView(id=side)
        yield Static(Text("jk scroll  r other random numbers  Esc back"), id="hint")

    def on_mount(self) -> None:
        self._generate()

    def on_unmount(self) -> None:
        self.app.work.stop(COMPARISON)

    def action_again(self) -> None:
        self._clamp = replace(self._clamp, seed=self._clamp.seed + 1)
        self._generate()

    def action_scroll(self, by: int) -> None:
        for view in self.query(TextView):
            view.scroll_relative(y=by, animate=False)

    def _take(self, clamped: tuple[str, list[float]], free: tuple[str, list[float]]) -> None:
        self.query_one("#clamped", TextView).show(*clamped)
        self.query_one("#free", TextView).show(*free)

    def _say(self, message: str) -> None:
        title = message or "{}:{}".format(*self._clamp.cell) + f" clamped at {self._clamp.value:.4g}"
        self.query_one("#clamped-title", Static).update(Text(printable(title)))

    def _generate(self) -> None:
        clamp, model = self._clamp, self.app.model
        after = all_visible(clamp.prime[-30:])
        self.query_one("#title", Static).update(Text(f"after …{after}   seed {clamp.seed}", no_wrap=True))
        self.query_one("#free-title", Static).update(Text("not clamped, coloured by {}:{}".format(*clamp.cell)))
        self._say("generating ...")

        self.app.measure(COMPARISON, lambda job: job.show(self._take, *clamp.generate(model, job.pause)), self._say)
