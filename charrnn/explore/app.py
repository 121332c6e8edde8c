"""The application of `charrnn explore`: a table of cells, a text coloured by the selected cell, and
the page of a cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import ClassVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Static
from textual.worker import get_current_worker

from charrnn.cells.findings import CellIndex, CellPage
from charrnn.cli.streams import printable, with_flags
from charrnn.errors import CharRNNError
from charrnn.explore.full_screen import (
    FullScreen,
    FullScreenApp,
    Help,
    HintLine,
    Keys,
    Question,
    StatusLine,
    bind,
    bind_all,
    one_line,
)
from charrnn.explore.state import ALL, Exploration, columns
from charrnn.explore.text_view import TextView
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.progress import CallbackProgress, Cancelled, Task, using
from charrnn.views.cell_page import page_pictures
from charrnn.views.tables import MEANINGS
from charrnn.views.theme import Scale, block, palette_of, shown_character

HELP_KEY: Keys = ("?", "these keys", {"question_mark": "app.help"})
"""The key that lists the keys, on each screen."""
PAGE_KEYS: tuple[Keys, ...] = (
    ("↑ ↓ k j", "a line up, down", {"j,down": "scroll(1)", "k,up": "scroll(-1)"}),
    (
        "PgDn PgUp",
        "a screen down, up; Space too",
        {"pagedown,space": "scroll(0, 1)", "pageup": "scroll(0, -1)"},
    ),
    (
        "Home End",
        "the beginning, the end",
        {"home": "scroll(0, -1000000)", "end": "scroll(0, 1000000)"},
    ),
    (
        "← →",
        "the page of the cell before, after in the list",
        {"left": "turn(-1)", "right": "turn(1)"},
    ),
    HELP_KEY,
    ("q Esc", "back to the list of cells; Enter and p too", {"escape,q,enter,p": "dismiss"}),
)
"""The keys of the page of a cell."""
NUM_NUMBERED = 9
"""Cells of a list by score that have a key: the number beside them."""
TABLE_KEYS: tuple[Keys, ...] = (
    ("↑ ↓", "the cell before, the cell after", {"up": "cursor_up", "down": "cursor_down"}),
    (
        "Home End",
        "the first cell of the list, the last",
        {"home": "scroll_top", "end": "scroll_bottom"},
    ),
)
"""The keys of the list of cells."""
BROWSER_KEYS: tuple[Keys, ...] = (
    ("← →", "along the text, character by character", {"left": "move(-1)", "right": "move(1)"}),
    ("j k", "a line of text down, up", {"j": "move(0, 1)", "k": "move(0, -1)"}),
    (
        "PgDn PgUp",
        "a page of text down, up",
        {"pagedown": "move(0, 0, 1)", "pageup": "move(0, 0, -1)"},
    ),
    (
        "1 to 9",
        "the cell of the list with that number",
        {str(n): f"choose({n - 1})" for n in range(1, NUM_NUMBERED + 1)},
    ),
    ("Enter p", "the page of the cell: its score, its values, and passages", {"enter,p": "page"}),
    (
        "s S",
        "the next list, the one before: best cells, all by one detector, all",
        {"s": "turn(1)", "S": "turn(-1)"},
    ),
    ("/", "go to a cell, layer:unit", {"slash": "go_to"}),
    HELP_KEY,
    ("q", "quit; Ctrl-C too, from everywhere", {"q": "app.quit"}),
)
"""The keys of the browser."""
NOTES = (
    "Red is a cell's -1, blue its +1.",
    *(f"{mark} after a score: {what}." for mark, what in MEANINGS.items()),
)
"""The meanings of the colours and the marks, for the help."""
HINT = "? help  q quit  Enter page  ↑↓ cell  ←→ text  s list  / go to"
"""Keys at the bottom of the screen: as many as fit."""
PAGE_HINT = "↑↓ PgUp PgDn scroll  ←→ other cells  ? help  Esc back"
"""Keys at the bottom of the page of a cell."""
LEGEND_STEPS = 15
"""Number of blocks of the colour scale."""


@dataclass(frozen=True)
class Legible:
    """A renderable without dim text and, if `is_plain`, without colours.

    `is_plain` is needed because the console of Textual always has colours.
    """

    drawn: RenderableType
    is_plain: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.is_plain:
            console = Console(
                file=console.file,
                width=options.max_width,
                color_system=None,
                markup=False,
                highlight=False,
            )

        # Textual blends dim text with the background, after which it is too faint to read.
        for text, style, control in console.render(self.drawn, options):
            yield Segment(text, style and style + Style(dim=False), control)


class CellScreen(FullScreen):
    """The page of a cell: a title, and pictures to scroll through."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(PAGE_KEYS)
    app: "Explorer"

    def compose(self) -> ComposeResult:
        yield Static(id="caption")
        with VerticalScroll(id="pictures", can_focus=False):
            yield Static(id="page")
        # The status is below the pictures, so that they do not jump when it changes.
        yield StatusLine()
        yield HintLine(PAGE_HINT)

    def on_mount(self) -> None:
        self._show_cell()

    def _show_cell(self) -> None:
        """Show the name of the selected cell, and measure and draw its page."""
        exploration = self.app.exploration
        self.put("caption", caption_of(exploration))
        self._draw([])
        self.query_one("#pictures").scroll_home(animate=False)
        self.say("measuring ...")
        self._measure(exploration.cell)

    @work(thread=True, exclusive=True)
    def _measure(self, cell: CellIndex) -> None:
        """Measure the page of a cell in another thread. A new page stops it."""
        worker = get_current_worker()

        def show_task(task: Task) -> None:
            if worker.is_cancelled:
                raise Cancelled
            progress = "..."
            if task.total and task.done:
                progress = f"{min(1, task.done / task.total):.0%}"
            self.call_later(self._show_if_selected, cell, f"{task.label} {progress}")

        try:
            # One page at a time: the page before may not have noticed yet that it is stopped.
            with self.app.measuring, using(CallbackProgress(show_task)):
                page = self.app.exploration.study.page(*cell)
        except Cancelled:
            return
        except CharRNNError as error:
            message = with_flags(error.message, self.app.COMMAND)
            self.call_later(self._show_if_selected, cell, message)
        else:
            self.call_later(self._show_if_selected, cell, "", page)

    def _show_if_selected(
        self, cell: CellIndex, message: str, page: CellPage | None = None
    ) -> None:
        """Show what was measured of a cell, unless another cell was selected meanwhile."""
        exploration = self.app.exploration
        if cell != exploration.cell:
            return
        self.say(message)
        if page is not None:
            # As in the text, the detector of the row decides how the passages are drawn.
            self._draw(page_pictures(replace(page, polarity=exploration.polarity)))

    def _draw(self, pictures: Sequence[RenderableType]) -> None:
        self.put("page", Legible(Group(*pictures), self.app.no_color))

    def action_scroll(self, lines: int, pages: int = 0) -> None:
        # The last line of a page is the first line of the next page.
        pictures = self.query_one("#pictures")
        lines_of_page = max(1, pictures.size.height - 1)
        pictures.scroll_relative(y=lines + pages * lines_of_page, animate=False)

    def action_turn(self, by: int) -> None:
        """Show the page of the cell that is `by` rows further on in the list."""
        # The list does not continue at its other end: the user would not notice the end.
        row = self.app.exploration.row + by
        if 0 <= row < len(self.app.exploration.rows):
            # The row is selected in the list, too, which is visible again when the page is closed.
            self.app.browser.choose(row)
            self._show_cell()


class CellTable(DataTable[Text], inherit_bindings=False):
    """The list of cells, best first."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(TABLE_KEYS)


class Browser(FullScreen):
    """The main screen: a table of cells, and a text coloured by the selected cell."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(BROWSER_KEYS)
    app: "Explorer"

    def __init__(self, exploration: Exploration) -> None:
        super().__init__()
        self.exploration = exploration

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Static(id="title")
            yield Static(id="legend")
        with Horizontal(id="body"):
            yield CellTable(cursor_type="row")
            with Vertical(id="reading"):
                yield Static(id="caption")
                yield TextView(id="text")
                yield Static(id="sparkline")
                yield Static(id="readout")
        yield StatusLine()
        yield HintLine(HINT)

    def on_mount(self) -> None:
        self.list_cells()
        self.query_one(CellTable).focus()
        self.say(self.exploration.note)

    # Drawing

    def list_cells(self) -> None:
        """Fill the table with the current list."""
        # The columns are replaced, too: each list has its own.
        table = self.query_one(CellTable)
        order = self.exploration.order
        rows = [row.shown(order) for row in self.exploration.rows]
        num_numbered = 0 if order == ALL else NUM_NUMBERED

        # Filling the table highlights its first row, which the user has not chosen.
        with self.prevent(DataTable.RowHighlighted):
            table.clear(columns=True)
            table.add_column(Text(""), width=1)
            # The columns have explicit widths, because a table that is filled again would cut the
            # values at the width of the headings.
            for heading, *values in zip(columns(order), *rows, strict=True):
                table.add_column(Text(heading), width=max(map(cell_len, (heading, *values))))

            for number, cells in enumerate(rows, start=1):
                key = str(number) if number <= num_numbered else ""
                table.add_row(Text(key), *map(Text, cells))
            table.move_cursor(row=self.exploration.row, animate=False)
        self._show()

    def _show(self) -> None:
        """Draw everything but the table."""
        exploration = self.exploration
        shows = cell_type(exploration.model.config.cell_type).shows
        self.put("title", one_line(exploration.model.name, shows, exploration.order))
        self.put("caption", caption_of(exploration))
        scale = exploration.scale
        self.put("legend", self._legend(scale))

        positions = list(map(scale.position, exploration.values.tolist()))
        view = self.query_one("#text", TextView)
        view.show(exploration.trace.text, positions, cursor=exploration.cursor)

        # Below the text are the values of the line with the cursor, and the character at the
        # cursor.
        self.put("sparkline", Text(view.sparkline(view.current_line), no_wrap=True))
        self.put("readout", self._readout())

    def _legend(self, scale: Scale) -> Text:
        palette = palette_of(self.app.console)
        low, high = scale.ends
        legend = Text(f"{low} ")
        if scale.is_own:
            legend = Text(f"its own range {low} ")

        # Without colours, blocks have different heights.
        for step in range(LEGEND_STEPS):
            value = 2 * step / (LEGEND_STEPS - 1) - 1
            if self.app.no_color:
                legend.append(block(value))
            else:
                legend.append(" ", palette.value(value))
        legend.append(f" {high}")
        if scale.is_turned:
            legend.append("  sign turned")
        return legend

    def _readout(self) -> Text:
        """Return the character at the cursor, the cell's value there, and the most likely next
        characters with their probabilities."""
        exploration = self.exploration
        character = _shown(exploration.trace.text[exploration.cursor])
        value = exploration.values[exploration.cursor]
        readout = Text(f"{character} {value:+.2f}", "bold", no_wrap=True)
        readout = Text.assemble(readout, "   next: ", no_wrap=True)
        guesses = [f"{_shown(guess)} {chance:.2f}" for guess, chance in exploration.guesses()]
        return readout.append("  ".join(guesses))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        # The event may be older than the list, which may have become shorter meanwhile.
        row = event.cursor_row
        if row != self.exploration.row and row < len(self.exploration.rows):
            self.exploration.row = row
            self._show()

    def on_resize(self) -> None:
        # The text is folded again, so another line has the cursor. Its view learns its new width
        # after the screen.
        self.call_after_refresh(self._show)

    # Moving

    def action_move(self, characters: int, lines: int = 0, pages: int = 0) -> None:
        """Move the cursor along the text, or by lines and pages down."""
        view = self.query_one("#text", TextView)
        lines_of_page = max(1, view.scrollable_content_region.height // view.rows_per_line)
        down = lines + pages * lines_of_page

        # Only the view knows where the lines are folded.
        cursor = self.exploration.cursor + characters
        if down:
            cursor = view.line_further(down)
        self.exploration.cursor = max(0, min(cursor, len(self.exploration.trace.text) - 1))
        self._show()

    def action_turn(self, by: int) -> None:
        self.exploration.turn(by)
        self.list_cells()

    def action_go_to(self) -> None:
        def go(where: str) -> None:
            self.exploration.go_to(where)
            # The list is drawn after the question has closed.
            self.call_later(self.list_cells)

        self.app.push_screen(Question("Go to which cell? layer:unit, such as 0:17", go))

    def action_choose(self, row: int) -> None:
        # In the list of all cells there are no numbers.
        if self.exploration.order != ALL and row < len(self.exploration.rows):
            self.choose(row)

    def choose(self, row: int) -> None:
        """Select a row of the list."""
        self.exploration.row = row

        # The event is prevented, because it would select the row again.
        with self.prevent(DataTable.RowHighlighted):
            self.query_one(CellTable).move_cursor(row=row, animate=False)
        self._show()

    def action_page(self) -> None:
        self.app.push_screen(CellScreen())


def caption_of(exploration: Exploration) -> Text:
    """Return the name of the selected cell in bold, and its description."""
    name, about = exploration.caption()
    return Text.assemble((name, "bold"), printable(about))


def _shown(character: str) -> str:
    """Return a character as it is shown by itself; the unknown symbol is shown as `unknown`."""
    if character == "":
        return "unknown"
    return shown_character(character).rstrip(" ")


class Explorer(FullScreenApp):
    """The application of `charrnn explore`."""

    COMMAND = "explore"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    CSS_PATH = ["full_screen.tcss", "app.tcss"]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = bind({"ctrl+c,ctrl+q": "quit"}, priority=True)

    def __init__(self, exploration: Exploration) -> None:
        super().__init__()
        self.exploration = exploration
        self.browser = Browser(exploration)
        self.measuring = Lock()
        """Held by the thread that measures: the findings are for one thread at a time."""

    def on_mount(self) -> None:
        """Show the browser."""
        self.push_screen(self.browser)

    def action_help(self) -> None:
        """Show the keys of the screen."""
        # The screen below the help decides which keys it explains.
        keys = TABLE_KEYS + BROWSER_KEYS
        if isinstance(self.screen, CellScreen):
            keys = PAGE_KEYS
        self.push_screen(Help(keys, NOTES))
