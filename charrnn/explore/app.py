"""The application of `charrnn explore`: a table of cells, a text coloured by the selected cell, and
the page of a cell."""

import math
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Static
from textual.worker import get_current_worker

from charrnn.analyses.why import Why
from charrnn.analyses.why.one_place import EFFECT_ENDS, EFFECT_SCALE
from charrnn.cells.records import CellIndex, CellPage
from charrnn.cli.streams import printable, with_flags
from charrnn.errors import CharRNNError
from charrnn.explore.state import ALL, Exploration, columns
from charrnn.explore.text_view import TextView
from charrnn.model.cell_type_registry import cell_type
from charrnn.system.progress import Cancelled, Progress, Task, using
from charrnn.system.signals import Signals
from charrnn.views.cell_pages import page_pictures
from charrnn.views.heatmap import Legend
from charrnn.views.scores import MEANINGS
from charrnn.views.theme import shown_character

SIGNAL_POLL = 0.1
"""Seconds between two checks whether a signal has arrived."""
GRACE_SECONDS = 5.0
"""Seconds that the interface has to end after a signal."""
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""The signal that ends the interface when its terminal has gone; Windows has no SIGHUP."""
NUM_NUMBERED = 9
"""Cells of a list by score that have a key: the number beside them."""
BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
"""The columns from which a screen has a class: `app.tcss` draws the table of cells above a narrow
text, and beside a wide one."""
Keys = tuple[str, str, Mapping[str, str]]
"""Keys as the help names them, their meaning, and the action of each key by its Textual name."""
HELP_KEY: Keys = ("?", "these keys", {"question_mark": "app.help"})
"""The key that lists the keys, on each screen."""
PAGE_KEYS: tuple[Keys, ...] = (
    ("q Esc", "on a page: back to the list; Enter and p too", {"escape,q,enter,p": "dismiss"}),
    HELP_KEY,
)
"""The keys of the page of a cell, beside those that scroll it."""
TABLE_KEYS: tuple[Keys, ...] = (
    (
        "↑ ↓",
        "the cell before, after; on a page: scroll",
        {"up": "cursor_up", "down": "cursor_down"},
    ),
    (
        "Home End",
        "the first cell, the last; on a page: its ends",
        {"home": "scroll_top", "end": "scroll_bottom"},
    ),
)
"""The keys of the list of cells."""
BROWSER_KEYS: tuple[Keys, ...] = (
    ("← →", "along the text, character by character", {"left": "move(-1)", "right": "move(1)"}),
    ("j k", "a line of text down, up", {"j": "move(0, 1)", "k": "move(0, -1)"}),
    (
        "PgDn PgUp",
        "a screen of text down, up; on a page: scroll",
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
    (
        "w",
        "why the character at the cursor came: the text before it by effect; w or Esc back",
        {"w": "why", "escape": "no_why"},
    ),
    HELP_KEY,
    ("q", "quit; Ctrl-C too, from everywhere", {"q": "app.quit"}),
)
"""The keys of the browser."""
NOTES = (
    "Red is a cell's -1, blue its +1. If the scale says turned, blue is -1.",
    *(f"{mark} after a score: {what}." for mark, what in MEANINGS.items()),
    "Esc closes this.",
)
"""The meanings of the colours and the marks, for the help."""
HINT = "? help  q quit  Enter page  ↑↓ cell  ←→ text  s list  w why"
"""Keys at the bottom of the screen: as many as fit."""
PAGE_HINT = "↑↓ PgUp PgDn scroll  ? help  Esc back"
"""Keys at the bottom of the page of a cell."""


def bind(rows: Sequence[Keys], *, priority: bool = False) -> list[BindingType]:
    """Return the bindings of all keys that a help lists."""
    # Textual does not show them: each screen has its own line of hints.
    bindings: list[BindingType] = []
    for _, _, actions in rows:
        for keys, action in actions.items():
            bindings.append(Binding(keys, action, show=False, priority=priority))
    return bindings


@dataclass(frozen=True)
class Legible:
    """A renderable without dim text and, if `is_plain`, without colours.

    `is_plain` is needed because the console of Textual always has colours.
    """

    drawn: RenderableType
    is_plain: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.is_plain:
            console = Console(file=console.file, width=options.max_width, color_system=None)

        # Textual blends dim text with the background, after which it is too faint to read.
        for text, style, control in console.render(self.drawn, options):
            if style is not None:
                style += Style(dim=False)
            yield Segment(text, style, control)


class NamedLines(Screen[None]):
    """A screen of lines that are replaced by their names. One of them is the status, which is
    hidden while there is nothing to say, and shows warnings until the interface is closed."""

    app: "Explorer"

    def put(self, name: str, drawn: RenderableType) -> None:
        """Replace the content of the line with this name."""
        if not isinstance(drawn, Text):
            drawn = Legible(drawn, is_plain=self.app.no_color)
        self.query_one(f"#{name}", Static).update(drawn)

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        # Messages contain file names, which may have control characters.
        lines = [*filter(None, [message]), *self.app.warnings]
        self.put("status", Text(printable("\n".join(lines))))
        self.query_one("#status").display = bool(lines)

    def put_caption(self) -> None:
        """Show the name of the selected cell in bold, and its description."""
        name, about = self.app.exploration.caption()
        self.put("caption", Text.assemble((name, "bold"), printable(about)))


class CellScreen(NamedLines):
    """The page of a cell: a title, and pictures to scroll through."""

    BINDINGS = bind(PAGE_KEYS)

    def compose(self) -> ComposeResult:
        """Yield the parts of the screen, from the top."""
        yield Static(id="caption")
        with VerticalScroll(id="pictures"):
            yield Static(id="page")
        # The status is below the pictures, so that they do not jump when it changes.
        yield Static(id="status")
        yield Static(Text(PAGE_HINT, no_wrap=True, overflow="ellipsis"), id="hint")

    def on_mount(self) -> None:
        """Show the name of the cell, and begin to measure it."""
        self.put_caption()
        self.say("measuring ...")
        self._measure(self.app.exploration.cell)

    @work(thread=True)
    def _measure(self, cell: CellIndex) -> None:
        """Measure the page of a cell in another thread, which stops when the page is closed."""
        worker = get_current_worker()

        def show_task(task: Task) -> None:
            if worker.is_cancelled:
                raise Cancelled
            progress = "..."
            if task.total and task.done:
                progress = f"{min(1, task.done / task.total):.0%}"
            self.call_later(self.say, f"{task.label} {progress}")

        try:
            # One page at a time: the page before may not have noticed yet that it is stopped.
            with self.app.measuring, using(Progress(show_task, on_warning=self.app.warn)):
                page = self.app.exploration.study.page(*cell)
        except Cancelled:
            return
        except CharRNNError as error:
            self.call_later(self.say, with_flags(error.message, "explore"))
        else:
            self.call_later(self._show_page, page)

    def _show_page(self, page: CellPage) -> None:
        """Show what was measured."""
        self.say("")
        # As in the text, the detector of the row decides how the passages are drawn.
        polarity = self.app.exploration.polarity
        self.put("page", Group(*page_pictures(replace(page, polarity=polarity))))


class CellTable(DataTable[Text], inherit_bindings=False):
    """The list of cells, best first."""

    BINDINGS = bind(TABLE_KEYS)


class Browser(NamedLines):
    """The main screen: a table of cells, and a text coloured by the selected cell."""

    BINDINGS = bind(BROWSER_KEYS)

    def __init__(self, exploration: Exploration):
        super().__init__()
        self.exploration = exploration
        self.asks_why = False
        """Whether the text before the cursor is coloured by effect."""
        self.why: Why | None = None
        """What was found of the character at the cursor; None before that."""

    def compose(self) -> ComposeResult:
        """Yield the parts of the screen, from the top."""
        with Horizontal(id="top"):
            yield Static(id="title")
            yield Static(id="legend")
        with Horizontal(id="body"):
            yield CellTable(cursor_type="row")
            with Vertical(id="reading"):
                yield Static(id="caption")
                yield TextView(self.exploration.trace.text)
                yield Static(id="sparkline")
                yield Static(id="readout")
        yield Static(id="status")
        yield Static(Text(HINT, no_wrap=True, overflow="ellipsis"), id="hint")

    def on_mount(self) -> None:
        """Show the first list, with the keys going to its table."""
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

        # Filling the table highlights its first row, which the user has not chosen.
        with self.prevent(DataTable.RowHighlighted):
            table.clear(columns=True)
            table.add_column(Text(""), width=1)
            # The columns have explicit widths, because a table that is filled again would cut the
            # values at the width of the headings.
            for heading, *values in zip(columns(order), *rows, strict=True):
                table.add_column(Text(heading), width=max(map(cell_len, (heading, *values))))
            for number, cells in enumerate(rows, start=1):
                key = ""
                if order != ALL and number <= NUM_NUMBERED:
                    key = str(number)
                table.add_row(Text(key), *map(Text, cells))
            table.move_cursor(row=self.exploration.row, animate=False)
        self._show()

    def _show(self) -> None:
        """Draw everything but the table."""
        exploration = self.exploration
        shows = cell_type(exploration.model.config.cell_type).shows
        title = printable(f"{exploration.model.name}  {shows}  {exploration.order}")
        # Names may contain line ends, which the title must not.
        self.put("title", Text(" ".join(title.split()), no_wrap=True, overflow="ellipsis"))
        self.put_caption()
        scale = exploration.scale
        turned = ", turned" if scale.is_turned else ""
        low, high = scale.ends
        legend = Legend((low, f"{high}{turned}"))
        positions = list(map(scale.position, exploration.values.tolist()))
        if self.asks_why:
            legend = Legend(EFFECT_ENDS)
            positions = self._effects()
        self.put("legend", legend)
        view = self.query_one(TextView)
        view.show(positions, cursor=exploration.cursor)

        # Below the text are the values of the line with the cursor, and the character at the
        # cursor with the cell's value there and the most likely next characters.
        self.put("sparkline", Text(view.sparkline(view.current_line), no_wrap=True))
        character = _shown(exploration.trace.text[exploration.cursor])
        value = exploration.values[exploration.cursor]
        guesses = [f"{_shown(guess)} {chance:.2f}" for guess, chance in exploration.guesses()]
        readout = Text.assemble(
            (f"{character} {value:+.2f}", "bold"), "   next: ", "  ".join(guesses), no_wrap=True
        )
        self.put("readout", readout)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Select the cell of a row to which the user has moved."""
        # The event may be older than the list, which may have become shorter meanwhile.
        row = event.cursor_row
        if row != self.exploration.row and row < len(self.exploration.rows):
            self.exploration.row = row
            self._show()

    def on_resize(self) -> None:
        """Draw the text again, which has other lines now."""
        # The text is folded again, so another line has the cursor. Its view learns its new width
        # after the screen.
        self.call_after_refresh(self._show)

    # Why a character came

    def action_why(self) -> None:
        """Colour the text before the cursor by effect, or by the cell again."""
        if self.asks_why:
            self.action_no_why()
            return
        self.asks_why = True
        self._ask()

    def action_no_why(self) -> None:
        """Colour the text by the cell again."""
        if self.asks_why:
            self.asks_why = False
            self.why = None
            self.say(self.exploration.note)
            self._show()

    def _ask(self) -> None:
        """Explain the character at the cursor, in another thread."""
        self.why = None
        self.say("leaving characters out ...")
        self._show()
        self._explain(self.exploration.cursor)

    @work(thread=True, exclusive=True, group="why")
    def _explain(self, cursor: int) -> None:
        """Leave out each character before the cursor. The thread stops when the cursor moves on."""
        worker = get_current_worker()

        def show_task(task: Task) -> None:
            if worker.is_cancelled:
                raise Cancelled

        try:
            with self.app.measuring, using(Progress(show_task, on_warning=self.app.warn)):
                why = self.exploration.why(cursor)
        except Cancelled:
            return
        except CharRNNError as error:
            self.call_later(self._show_why, cursor, None, error.message)
        else:
            self.call_later(self._show_why, cursor, why, why.sentence)

    def _show_why(self, cursor: int, why: Why | None, message: str) -> None:
        """Show what was found, unless the cursor has moved on or the key was pressed again."""
        if self.asks_why and cursor == self.exploration.cursor:
            self.why = why
            self.say(with_flags(message, "explore"))
            self._show()

    def _effects(self) -> list[float]:
        """Return the effect of each character of the text on that at the cursor, from -1 to 1; nan
        for the others."""
        effects = [math.nan] * len(self.exploration.trace.text)
        if self.why is not None:
            begin = self.exploration.cursor - len(self.why.effects)
            for index, effect in enumerate(self.why.effects.tolist(), start=begin):
                effects[index] = EFFECT_SCALE.position(effect)
        return effects

    # Moving

    def action_move(self, characters: int, lines: int = 0, pages: int = 0) -> None:
        """Move the cursor along the text, or by lines and pages down."""
        view = self.query_one(TextView)
        lines_of_page = max(1, view.scrollable_content_region.height // view.rows_per_line)
        down = lines + pages * lines_of_page

        # Only the view knows where the lines are folded.
        cursor = self.exploration.cursor + characters
        if down:
            cursor = view.line_further(down)
        self.exploration.cursor = max(0, min(cursor, len(self.exploration.trace.text) - 1))
        if self.asks_why:
            self._ask()
        else:
            self._show()

    def action_turn(self, by: int) -> None:
        """Show the list that is `by` lists further on."""
        self.exploration.turn(by)
        self.list_cells()

    def action_choose(self, row: int) -> None:
        """Select the row with a number that was typed."""
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
        """Open the page of the selected cell."""
        self.app.push_screen(CellScreen())


def _shown(character: str) -> str:
    """Return a character as it is shown by itself; the unknown symbol is shown as `unknown`."""
    if character == "":
        return "unknown"
    return shown_character(character).rstrip(" ")


class Help(ModalScreen[None]):
    """The list of all keys, and notes below it."""

    BINDINGS = bind([("", "", {"escape,question_mark,f1,q,enter": "dismiss"})])

    def compose(self) -> ComposeResult:
        """Yield the list of keys and the notes, in one box."""
        # Long meanings fold beside their keys.
        keys = Table.grid(padding=(0, 2))
        for names, meaning, _ in (*TABLE_KEYS, *BROWSER_KEYS, *PAGE_KEYS[:-1]):
            keys.add_row(Text(names, style="bold", no_wrap=True), Text(meaning))
        with VerticalScroll(id="box"):
            yield Static(Group(keys, *(Text(f"\n{note}") for note in NOTES)))


class Explorer(App[None]):
    """The application of `charrnn explore`, in the terminal's own colours. A key or a signal closes
    it.

    No text is dim: some terminals draw dim text with a contrast of less than 3. Marked text has
    swapped colours, which are legible on any background.
    """

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    CSS_PATH = "app.tcss"
    BINDINGS = bind([("", "", {"ctrl+c,ctrl+q": "quit"})], priority=True)

    def __init__(self, exploration: Exploration):
        # The terminal's own colours are used, so that text without a value looks as it does in
        # other programs.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.exploration = exploration
        self.browser = Browser(exploration)
        self.measuring = threading.Lock()
        """Held by the thread that measures: the findings are for one thread at a time."""
        self.warnings: list[str] = []
        """What was warned of since it was opened, each message once."""
        self._signals = Signals()

    def on_mount(self) -> None:
        """Show the browser, and check regularly whether a signal has arrived."""
        self.push_screen(self.browser)
        # A signal handler must not touch widgets: it only sets a number.
        self.set_interval(SIGNAL_POLL, self._exit_after_signal)

    def warn(self, message: str) -> None:
        """Show a warning in the status of the screen."""
        if message in self.warnings:
            return
        self.warnings.append(message)
        for screen in self.screen_stack[-1:]:
            if isinstance(screen, NamedLines):
                self.call_later(screen.say, "")

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(Help())

    # The end

    def _exit_after_signal(self) -> None:
        if self._signals.number:
            self.exit()

    def run_until_signal(self, signals: Signals) -> None:
        """Run until the interface is closed or a signal arrives."""
        # Without this, Textual would print a traceback of the interruption.
        signals.is_quiet = True
        signals.defers = True
        self._signals = signals
        is_over = threading.Event()
        # In a test there is no terminal that could go. It may go before the thread runs.
        has_terminal = os.isatty(0)
        threading.Thread(target=self._end_anyway, args=(is_over, has_terminal), daemon=True).start()
        try:
            with using(Progress(on_warning=self.warn)):
                self.run()
        finally:
            is_over.set()

    def _end_anyway(self, is_over: threading.Event, had_terminal: bool) -> None:
        """End the process after a signal, or when the terminal that it had has gone, if Textual
        does not end it: Textual waits forever to write to a terminal that has gone.

        This runs in its own thread, because the main thread may be stuck.
        """
        while not self._signals.number:
            if is_over.wait(SIGNAL_POLL):
                return
            # The system tells only the process that opened the terminal, mostly a shell.
            if had_terminal and not os.isatty(0):
                self._signals.number = HANGUP
        if not is_over.wait(GRACE_SECONDS):
            os._exit(128 + self._signals.number)
