"""The explorer: cells in a table, a text coloured by the selected one, and threads that measure the
cells meanwhile.

Over it stand the page of a cell, and two texts to compare.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Static

from charrnn.api import Model
from charrnn.cells.analysis import CellAnalysis
from charrnn.cells.findings import CellFindings, CellScore
from charrnn.cells.trace import Trace, trace_text
from charrnn.cli.streams import printable, with_flags
from charrnn.model.cell_type_registry import cell_type
from charrnn.text.vocab import EncodedText
from charrnn.tui.explore import state
from charrnn.tui.explore.state import (
    ALL,
    BEST,
    Clamp,
    Exploration,
    TracedText,
    TypedText,
    cell_name,
)
from charrnn.tui.explore.text_view import TextView
from charrnn.tui.full_screen import (
    FullScreen,
    FullScreenApp,
    Help,
    HintLine,
    Job,
    Keys,
    Question,
    StatusLine,
    bind,
    bind_all,
    one_line,
)
from charrnn.views.cell_page import page_pictures, summary_pictures
from charrnn.views.tables import MEANINGS
from charrnn.views.theme import Scale, all_visible, block, palette_of, shown_character

PAGE = "page"
"""The kind of the job that measures the page of a cell."""
COMPARISON = "comparison"
"""The kind of the job that generates two texts."""
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
    (
        "c",
        "clamp the cell, and compare what the model generates from the cursor",
        {"c": "app.clamp"},
    ),
    ("?", "these keys", {"question_mark": "app.help"}),
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
        {str(n): f"choose({n - 1})" for n in range(1, 10)},
    ),
    (
        "Enter p",
        "the page of the cell: passages, what it writes, its cost, values, what sets it",
        {"enter,p": "page"},
    ),
    (
        "s S",
        "the next list, the one before: best cells, all by one detector, all",
        {"s": "turn(1)", "S": "turn(-1)"},
    ),
    ("/", "go to a cell, layer:unit", {"slash": "go_to"}),
    ("t", "type a text; the cells follow. Backspace deletes", {}),
    ("Esc", "stop typing; once more: back to the text that was given", {}),
    (
        "c",
        "clamp the cell, and compare what the model generates from the cursor",
        {"c": "app.clamp"},
    ),
    ("?", "these keys", {"question_mark": "app.help"}),
    ("q", "quit; Ctrl-C too, from everywhere", {"q": "app.quit"}),
)
"""The keys of the browser; those without an action are handled where they are typed."""
NOTES = (
    "Red is a cell's -1, blue its +1.",
    *(f"{mark} after a score: {what}." for mark, what in MEANINGS.items()),
)
"""What the colours and the marks mean, for the help."""
HINT = "? help  q quit  Enter page  ↑↓ cell  ←→ text  c clamp  t type  s list  / go to"
"""Keys at the bottom of the screen: as many as fit."""
TYPING_HINT = "typing: the cells follow  ↑↓ cell  ←→ text  Backspace deletes  Esc ends"
"""Keys at the bottom while a text is typed."""
PAGE_HINT = "↑↓ PgUp PgDn scroll  ←→ other cells  c clamp  ? help  Esc back"
"""Keys at the bottom of the page of a cell."""
CLAMP_HINT = "jk scroll  r other random numbers  Esc back"
"""Keys at the bottom of two generated texts."""
LEGEND_STEPS = 15
"""Blocks of the colour scale."""
DELETE_LAST = "delete last"
"""Stands for Backspace among the typed characters."""
NAMED_KEYS = {"enter": "\n", "tab": "\t", "backspace": DELETE_LAST}
"""What keys without a printable character type."""
CELLS = "cells"
"""The kind of the job of the browser."""


@dataclass(frozen=True)
class Legible:
    """A renderable without dim text and, if `is_plain`, as for a terminal without colours.

    The console of Textual always has them.
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
    """A title, a summary that stays, and pictures to scroll through, which arrive one after the
    other."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(PAGE_KEYS)
    app: "Explorer"

    def compose(self) -> ComposeResult:
        yield Static(id="caption")
        yield Static(id="summary")
        with VerticalScroll(id="pictures", can_focus=False):
            yield Static(id="page")
        # The status below the pictures, so that they do not jump when it changes.
        yield StatusLine()
        yield HintLine(PAGE_HINT)

    def on_mount(self) -> None:
        self.show_subject()

    def on_unmount(self) -> None:
        # Nobody waits for what is left of the page.
        self.app.work.stop(PAGE)

    def show_subject(self) -> None:
        """Name the selected cell, and measure and draw one part of its page after the other."""
        explorer = self.app
        exploration = explorer.browser.exploration
        cell = exploration.cell

        # What is known at once.
        self.put("caption", caption_of(exploration))
        self._draw([], [])
        self.query_one("#pictures").scroll_home(animate=False)

        # The rest follows from a thread; each part is drawn with those before it.
        def measure(job: Job) -> None:
            for page in explorer.study.page_in_parts(*cell):
                job.show(self._draw, summary_pictures(page), page_pictures(page))
                job.pause()

        explorer.measure(PAGE, measure, self.say)

    def _draw(self, summary: Sequence[RenderableType], pictures: Sequence[RenderableType]) -> None:
        is_plain = self.app.no_color
        self.put("summary", Legible(Group(*summary), is_plain))
        self.put("page", Legible(Group(*pictures), is_plain))

    def action_scroll(self, lines: int, pages: int = 0) -> None:
        # The last line of a screen stays, as the first one of the next.
        pictures = self.query_one("#pictures")
        lines_of_page = max(1, pictures.size.height - 1)
        pictures.scroll_relative(y=lines + pages * lines_of_page, animate=False)

    def action_turn(self, by: int) -> None:
        """Show the page of the cell before or after in the list."""
        # The list behind the page moves, too, and is there when the page is closed.
        exploration = self.app.browser.exploration
        # At the ends of the list nothing happens: it is no ring, whose end nobody would notice.
        row = exploration.row + by
        if 0 <= row < len(exploration.rows):
            self.app.browser.choose(row)
            self.show_subject()


class ClampScreen(FullScreen):
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
            # Named by side, so that each text finds its widget again.
            for side in ("clamped", "free"):
                with Vertical():
                    yield Static(id=f"{side}-title", classes="bold")
                    yield TextView(id=side)
        yield HintLine(CLAMP_HINT)

    def on_mount(self) -> None:
        self._generate()

    def on_unmount(self) -> None:
        self.app.work.stop(COMPARISON)

    def action_again(self) -> None:
        # Both texts have the new seed: they differ by the clamp alone.
        self._clamp = replace(self._clamp, seed=self._clamp.seed + 1)
        self._generate()

    def action_scroll(self, by: int) -> None:
        # Both together, so that the same places stand side by side.
        for view in self.query(TextView):
            view.scroll_relative(y=by, animate=False)

    def _take(self, clamped: tuple[str, list[float]], free: tuple[str, list[float]]) -> None:
        self.query_one("#clamped", TextView).show(*clamped)
        self.query_one("#free", TextView).show(*free)

    def _say(self, message: str) -> None:
        clamped = f"{cell_name(self._clamp.cell)} clamped at {self._clamp.value:.4g}"
        self.put("clamped-title", Text(printable(message or clamped)))

    def _generate(self) -> None:
        clamp = self._clamp
        model = self.app.model
        # The end of the prime is what the model goes on from.
        title = f"after …{all_visible(clamp.prime[-30:])}   seed {clamp.seed}"
        self.put("title", Text(title, no_wrap=True))
        free = f"not clamped, coloured by {cell_name(clamp.cell)}"
        self.put("free-title", Text(free))

        # In place of the other title, until the texts are there.
        self._say("writing ...")

        def generate(job: Job) -> None:
            job.show(self._take, *clamp.generate(model, job.pause))

        self.app.measure(COMPARISON, generate, self._say)


class CellTable(DataTable[Text], inherit_bindings=False):
    """The list of cells, best first."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(TABLE_KEYS)


class Browser(FullScreen):
    """Cells in a table, a text coloured by the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(BROWSER_KEYS)
    app: "Explorer"

    def __init__(self, model: Model, shown: EncodedText) -> None:
        super().__init__()
        self.model = model
        self.shown = shown
        self.given = TracedText(model, shown.text)
        self.typed = TypedText(model)
        self.exploration = Exploration(model, self.given)
        self.is_typing = False
        self._has_moved = False
        """Whether a cell or a list was chosen, which is then left as it is."""

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
        # After the first screen is drawn, because importing torch takes a second.
        self.call_after_refresh(self.app.measure, CELLS, self._measure, self.say, self._end)

    def _measure(self, job: Job) -> None:
        """Measure the cells and show the trace of the text, the best cells, and all cells ranked,
        one by one."""
        # The trace takes a moment and colours the text.
        study = self.app.study
        trace = trace_text(
            study.network(),
            self.shown,
            num_guesses=state.NUM_GUESSES,
        )
        job.show(self._take_trace, trace)

        # The scores take seconds, the rankings need them.
        findings = study.findings()
        job.show(self._take_findings, findings, {})
        if findings.scores:
            ranked = study.ranking([score.detector for score in findings.scores])
            job.show(self._take_findings, findings, ranked)

    def _take_trace(self, trace: Trace) -> None:
        # The colours of the selected cell are there at once, whatever the scores take.
        self.given.trace = trace
        self._show()

    def _take_findings(
        self, findings: CellFindings, ranked: Mapping[str, tuple[CellScore, ...]]
    ) -> None:
        exploration = self.exploration
        was_new = BEST not in exploration.orders
        exploration.set_findings(findings, ranked)

        # The best cells come first, but nobody loses the cell that they are looking at.
        is_new = was_new and BEST in exploration.orders
        if is_new and not self._has_moved:
            exploration.turn_to(BEST)
        self.list_cells()

    def _legend(self, scale: Scale) -> Text:
        palette = palette_of(self.app.console)
        low, high = scale.ends
        legend = Text(f"{low} ")
        if scale.is_own:
            legend = Text(f"its own range {low} ")

        # Blocks of different height where there are no colours.
        for step in range(LEGEND_STEPS):
            value = 2 * step / (LEGEND_STEPS - 1) - 1
            if self.app.no_color:
                legend.append(block(value))
            else:
                legend.append(" ", palette.value(value))
        return legend.append(f" {high}")

    def _end(self, message: str) -> None:
        self.say(message or " ".join(map(with_flags, self.app.warnings)))

    # Drawing

    def list_cells(self) -> None:
        """Fill the table with the current list."""
        # All anew: another list has other columns.
        table = self.query_one(CellTable)
        order = self.exploration.order
        rows = [row.shown(order) for row in self.exploration.rows]
        num_numbered = 0 if order == ALL else NUM_NUMBERED

        # Filling the table highlights its first row, which nobody has chosen.
        with self.prevent(DataTable.RowHighlighted):
            table.clear(columns=True)
            table.add_column(Text(""), width=1)
            # With explicit widths, because a table that is filled again cuts values off at the
            # width of their headings.
            for heading, *values in zip(state.columns(order), *rows, strict=True):
                table.add_column(Text(heading), width=max(map(cell_len, (heading, *values))))

            for number, cells in enumerate(rows, start=1):
                key = str(number) if number <= num_numbered else ""
                table.add_row(Text(key), *map(Text, cells))
            table.move_cursor(row=self.exploration.row, animate=False)
        self._show()

    def _show(self) -> None:
        """Draw everything but the table."""
        exploration = self.exploration
        shows = cell_type(self.model.config.cell).shows
        title = one_line(self.model.name, shows, exploration.order)
        self.put("title", title)
        self.put("caption", caption_of(exploration))
        self.put("legend", self._legend(exploration.scale))

        # The text has no colours until it was read.
        values = exploration.values
        places = None
        if values is not None:
            places = list(map(exploration.scale.place, values.tolist()))
        view = self.query_one("#text", TextView)
        view.show(exploration.viewed.text, places, exploration.viewed.cursor)

        # Below it, the values of the line with the cursor, and the character there.
        sparkline = Text(view.sparkline(view.current_line), no_wrap=True)
        self.put("sparkline", sparkline)
        self.put("readout", self._readout())

        hint = HINT
        if self.is_typing:
            hint = TYPING_HINT
        self.query_one(HintLine).show(hint)

    def _readout(self) -> Text:
        """Return the character at the cursor, the cell's value there, and the most likely next
        characters."""
        # Of the text that is shown, which may be the typed one.
        viewed = self.exploration.viewed
        values = self.exploration.values
        readout = Text(no_wrap=True)
        if values is None or not len(values):
            return readout

        character = _shown(viewed.text[viewed.cursor])
        readout.append(f"{character} {values[viewed.cursor]:+.2f}", "bold")

        # With their probabilities, so that a certain model is told from an unsure one.
        guesses = []
        for guess, probability in viewed.guesses():
            guesses.append(f"{_shown(guess)} {probability:.2f}")
        if guesses:
            readout.append("   next: " + "  ".join(guesses))
        return readout

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        # The event may be older than the list: a shorter one can have come meanwhile.
        row = event.cursor_row
        if row != self.exploration.row and row < len(self.exploration.rows):
            self._has_moved = True
            self.exploration.select(row)
            self._show()

    def on_resize(self) -> None:
        # The text is folded anew, and the line with the cursor is another.
        self._show()

    # Moving

    def action_move(self, characters: int, lines: int = 0, pages: int = 0) -> None:
        """Move the cursor along the text, or by lines and pages down."""
        viewed = self.exploration.viewed
        view = self.query_one("#text", TextView)
        lines_of_page = max(1, view.scrollable_content_region.height // view.rows_per_line)
        down = lines + pages * lines_of_page

        # Lines are those on the screen: only the view knows where they are folded.
        cursor = viewed.cursor + characters
        if down:
            cursor = view.line_further(down)
        viewed.cursor = max(0, min(cursor, len(viewed.text) - 1))
        self._show()

    def action_turn(self, by: int) -> None:
        self._has_moved = True
        self.exploration.turn(by)
        self.list_cells()

    def action_go_to(self) -> None:
        def go(where: str) -> None:
            self.exploration.go_to(where)
            self._has_moved = True
            # After the question has closed.
            self.call_later(self.list_cells)

        self.app.push_screen(Question("Go to which cell? layer:unit, such as 0:17", go))

    def action_choose(self, row: int) -> None:
        # Someone who does not wait for the scores would else get a cell that follows nothing.
        if self.exploration.order != ALL and row < len(self.exploration.rows):
            self.choose(row)

    def choose(self, row: int) -> None:
        """Select the cell of a row of the list."""
        self._has_moved = True
        self.exploration.select(row)

        # Without the event, which would select the row again.
        with self.prevent(DataTable.RowHighlighted):
            self.query_one(CellTable).move_cursor(row=row, animate=False)
        self._show()

    def action_page(self) -> None:
        self.app.push_screen(CellScreen())

    # Typing

    def on_key(self, event: events.Key) -> None:
        """Handle characters as text while a text is typed, and as commands otherwise."""
        # Not by bindings, which run later: what is typed right after `t` must be text already.
        typed = NAMED_KEYS.get(event.key)
        if event.is_printable:
            typed = event.character

        if event.key == "t" and not self.is_typing:
            self.is_typing = True
            self.exploration.viewed = self.typed
            self._show()
        elif event.key == "escape":
            # Once: the typed text stays to be looked at. Twice: back to the text that was given.
            if not self.is_typing:
                self.exploration.viewed = self.given
            self.is_typing = False
            self._show()
        elif self.is_typing and typed:
            self._type([typed])
        else:
            return

        # What was handled here is no binding any more: Backspace, Enter, `q`.
        event.stop()

    def on_paste(self, event: events.Paste) -> None:
        # Texts have LF line ends here, a clipboard may have others.
        if self.is_typing:
            self._type(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    def _type(self, characters: Iterable[str]) -> None:
        """Let the model read what was typed or pasted."""
        # Character by character: each has a state of its own to go back to.
        vocab = self.model.vocab
        for character in characters:
            if character == DELETE_LAST:
                self.typed.delete_last()
                continue

            if self.typed.is_full:
                self.say(f"no more than {state.MAX_TYPED:,} characters can be typed")
                break
            if vocab.unknown_characters(character):
                fate = "it counts as unknown" if vocab.has_unknown_symbol else "it is left out"
                self.say(f"{_shown(character)} is not in the vocabulary: {fate}")
                if not vocab.has_unknown_symbol:
                    continue

            self.typed.feed(character)

        # Once for all of them, as a pasted text is long.
        self._show()


def caption_of(exploration: Exploration) -> Text:
    """Return the name of the selected cell, and what is known about it."""
    name, about = exploration.caption()
    return Text.assemble((name, "bold"), printable(about))


def _shown(character: str) -> str:
    """Return a character as it is shown by itself: the unknown symbol by name."""
    if character == "":
        return "unknown"
    return shown_character(character).rstrip(" ")


class Explorer(FullScreenApp[None]):
    """`charrnn explore`: the browser, and what it needs of the model."""

    COMMAND = "explore"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    CSS_PATH = ["../full_screen.tcss", "app.tcss"]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = bind({"ctrl+c,ctrl+q": "quit"}, priority=True)

    def __init__(self, model: Model, text: EncodedText, *, num_shown: int, num_scored: int) -> None:
        """Show the first `num_shown` characters of a text, and score the cells on the first
        `num_scored`."""
        super().__init__()
        self.model = model
        # The scored text is that of `visualize`, so that both share what was measured.
        self._scored = text.part(0, num_scored)
        self.browser = Browser(model, text.part(0, num_shown))
        self.warnings: list[str] = []
        """What the findings of the run cannot be right about."""
        # Printed, a warning would be lost below the screen.
        model.findings.on_warning = self.warnings.append

    def on_mount(self) -> None:
        """Show the browser."""
        self.push_screen(self.browser)

    @cached_property
    def study(self) -> CellAnalysis:
        """What measures the cells; its cache is that of `charrnn visualize`."""
        return self.model.study(self._scored, cached=True)

    def action_help(self) -> None:
        """Show the keys of the screen."""
        # The screen below the help decides which keys it explains.
        keys = TABLE_KEYS + BROWSER_KEYS
        if isinstance(self.screen, CellScreen):
            keys = PAGE_KEYS
        self.push_screen(Help(keys, NOTES))

    def action_clamp(self) -> None:
        """Ask for a value, and compare what the model generates with the cell clamped at it."""
        exploration = self.browser.exploration
        question = f"Clamp cell {cell_name(exploration.cell)} at which value? From -1 to 1"

        def compare(value: str) -> None:
            # `parse` raises what the question then says, which is closed before the screen opens.
            self.call_later(self.push_screen, ClampScreen(Clamp.parse(value, exploration)))

        self.push_screen(Question(question, compare))
