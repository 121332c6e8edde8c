"""The browser: cells in a table, a text coloured by the selected one, and the keys that move through both."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Static

from charrnn.api import Model
from charrnn.apps.explore.screens import COLOURS, COMMAND, KEYS, Comparison, Page, Subject, TextView
from charrnn.apps.explore.state import (
    ALL,
    BEST,
    MAX_TYPED,
    Clamp,
    Exploration,
    RankedFindings,
    TracedText,
    TypedText,
    columns,
)
from charrnn.apps.full_screen import Help, Question, StatusLine
from charrnn.cli.streams import printable
from charrnn.model.clamping import Direction
from charrnn.model.registry import cell_type
from charrnn.views.theme import all_visible, block, palette_of

if TYPE_CHECKING:
    from charrnn.cells.trace import Trace

HINT_KEYS = ("Enter page", "↑↓ 1-9 cell", "←→jk text", "c clamp", "t type", "s list", "d direction", "/ go to")
"""Keys at the bottom of the screen, as many as fit, and then LAST_KEYS."""
BEST_KEY = "s best cells"
"""Named first where the list is that of all cells."""
LAST_KEYS = "? help  q quit"
"""The keys that are always named."""
TYPING_HINT = "typing: the cells follow  ↑↓ cell  ←→ text  Backspace deletes  Esc ends"
"""Keys at the bottom while a text is typed."""
FED_AT_ONCE = 16
"""Typed or pasted characters that are read before the next key is handled."""
LEGEND_STEPS = 15
"""Blocks of the colour scale."""
NUM_NUMBERED = 9
"""Cells of a list by score that have a key: the number beside them."""
DELETE_LAST = "delete last"
"""Stands for Backspace among the typed characters."""


class Measurer(Protocol):
    """What measures cells and directions without blocking the interface."""

    def measure_page(self, page: Page, subject: Subject) -> None:
        """Measure a cell or a direction and show on its page what is known."""

    def measure_direction(self, detector: str, show: Callable[[Direction], object]) -> None:
        """Fit the direction of a detector and call `show` with it."""

    def generate_both(self, comparison: Comparison, clamp: Clamp) -> None:
        """Generate the two texts of a comparison and show them."""


class CellTable(DataTable[Text], inherit_bindings=False):
    """The list of cells, best first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", show=False),
        Binding("down", "cursor_down", show=False),
        Binding("home", "scroll_top", show=False),
        Binding("end", "scroll_bottom", show=False),
    ]


class Browser(Screen[None]):
    """Cells in a table, a text coloured by the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", show=False),
        Binding("left", "move(-1)", show=False),
        Binding("right", "move(1)", show=False),
        Binding("j", "move_lines(1)", show=False),
        Binding("k", "move_lines(-1)", show=False),
        Binding("pagedown", "move_pages(1)", show=False),
        Binding("pageup", "move_pages(-1)", show=False),
        Binding("s", "turn(1)", show=False),
        Binding("S", "turn(-1)", show=False),
        Binding("slash", "go_to", show=False),
        Binding("c", "clamp", show=False),
        Binding("d", "direction", show=False),
        Binding("enter,p", "page", show=False),
        *(Binding(str(number), f"choose({number - 1})", show=False) for number in range(1, NUM_NUMBERED + 1)),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(self, model: Model, given: TracedText, measurer: Measurer) -> None:
        super().__init__()
        self._measurer = measurer
        self.model, self.given, self.typed = model, given, TypedText(model)
        self.exploration = Exploration(model, given)
        self.is_typing = self._has_moved = False
        self._pending: deque[str] = deque()

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Static(id="title")
            yield Static(self._legend(), id="legend")
        with Horizontal(id="body"):
            yield CellTable(cursor_type="row")
            with Vertical(id="reading"):
                yield Static(id="caption")
                yield TextView(id="text")
                yield Static(id="sparkline")
                yield Static(id="readout")
        yield StatusLine()
        yield Static(id="hint")

    def on_mount(self) -> None:
        self.list_cells()
        self.query_one(CellTable).focus()

    def _legend(self) -> Text:
        values = [2 * step / (LEGEND_STEPS - 1) - 1 for step in range(LEGEND_STEPS)]
        palette = palette_of(self.app.console)
        scale = [(block(value), "") if self.app.no_color else (" ", palette.value(value)) for value in values]
        return Text.assemble("-1 ", *scale, " +1")

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        self.query_one(StatusLine).say(message)

    def take(self, result: "Trace | RankedFindings") -> None:
        """Show a result of `measure_in_stages`."""
        if not isinstance(result, RankedFindings):
            self.given.trace = result
            self._show()
            return
        was_new = BEST not in self.exploration.orders
        self.exploration.set_findings(result.findings, result.ranking)
        if was_new and not self._has_moved and BEST in self.exploration.orders:
            self.exploration.turn_to(BEST)
        self.list_cells()

    # Drawing

    def list_cells(self) -> None:
        """Fill the table with the current list."""
        table, row = self.query_one(CellTable), self.exploration.row
        with self.prevent(DataTable.RowHighlighted):
            table.clear(columns=True)
            order = self.exploration.order
            num_numbered = 0 if order == ALL else NUM_NUMBERED
            shown = [row.shown(order) for row in self.exploration.rows]
            table.add_column(Text(""), width=1)
            # With explicit widths, because a table that is filled again cuts values off at the width of their headings.
            for heading, *values in zip(columns(order), *shown, strict=True):
                table.add_column(Text(heading), width=max(map(cell_len, (heading, *values))))
            for number, cells in enumerate(shown, start=1):
                table.add_row(*(Text(value) for value in (str(number) if number <= num_numbered else "", *cells)))
            table.move_cursor(row=row, animate=False)
        self._show()

    def _show(self) -> None:
        """Draw everything but the table."""
        self._show_title()
        name, what_it_does = self.exploration.caption()
        self.query_one("#caption", Static).update(Text.assemble((name, "bold"), printable(what_it_does)))
        viewed = self.exploration.viewed
        values = self.exploration.values
        view = self.query_one("#text", TextView)
        view.show(viewed.text, None if values is None else values.tolist(), viewed.cursor)
        self.query_one("#sparkline", Static).update(Text(view.sparkline(), no_wrap=True))
        self.query_one("#readout", Static).update(self._readout())
        # Where someone has moved before the cells were scored, the list is still that of all cells.
        names_best = self.exploration.order == ALL and BEST in self.exploration.orders
        keys = (BEST_KEY, *HINT_KEYS) if names_best else HINT_KEYS
        hint = TYPING_HINT if self.is_typing else keys_that_fit(keys, self.size.width)
        self.query_one("#hint", Static).update(Text(hint, no_wrap=True))

    def _show_title(self) -> None:
        parts = [self.model.name, cell_type(self.model.config.cell).shows, self.exploration.order]
        title = "  ".join(" ".join(printable(part).split()) for part in parts if part)
        self.query_one("#title", Static).update(Text(title, no_wrap=True, overflow="ellipsis"))

    def _readout(self) -> Text:
        """Return the character at the cursor, the cell's value there, and the most likely next characters."""
        viewed = self.exploration.viewed
        values = self.exploration.values
        if values is None or not len(values):
            return Text("")
        guesses = viewed.guesses()
        shown = [f"{_shown(character)} {probability:.2f}" for character, probability in guesses]
        return Text.assemble(
            (f"{_shown(viewed.text[viewed.cursor])} {values[viewed.cursor]:+.2f}", "bold"),
            "   next: " + "  ".join(shown) if shown else "",
            no_wrap=True,
        )

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.cursor_row != self.exploration.row and event.cursor_row < len(self.exploration.rows):
            self._has_moved = True
            self.exploration.select(event.cursor_row)
            self._show()

    def on_resize(self) -> None:
        self._show()

    # Moving

    def action_move(self, by: int) -> None:
        self._move_to(self.exploration.viewed.cursor + by)

    def action_move_lines(self, by: int) -> None:
        self._move_to(self.query_one("#text", TextView).line_further(by))

    def action_move_pages(self, by: int) -> None:
        view = self.query_one("#text", TextView)
        self._move_to(view.line_further(by * view.num_lines_shown))

    def _move_to(self, cursor: int) -> None:
        viewed = self.exploration.viewed
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
            self.call_later(self.list_cells)

        self.app.push_screen(Question("Go to which cell? layer:unit, such as 0:17", go, command=COMMAND))

    def action_choose(self, row: int) -> None:
        if self.exploration.order == ALL:
            # Someone who does not wait for the scores would else get a cell that follows nothing.
            is_scored = BEST in self.exploration.orders
            self.say("s shows the lists with numbers" if is_scored else "no numbers: cells are not scored yet")
        elif row < len(self.exploration.rows):
            self.choose(row)

    def choose(self, row: int) -> None:
        """Select the cell of a row of the list."""
        self._has_moved = True
        self.exploration.select(row)
        with self.prevent(DataTable.RowHighlighted):
            self.query_one(CellTable).move_cursor(row=row, animate=False)
        self._show()

    def action_page(self) -> None:
        self.app.push_screen(Page(self))

    def measure_page(self, page: Page, subject: Subject) -> None:
        """Have everything measured that a page shows."""
        self._measurer.measure_page(page, subject)

    def action_direction(self) -> None:
        """Show the direction of the selected cell's detector in place of the cell, and back."""
        exploration = self.exploration
        row = exploration.rows[exploration.row]
        if exploration.direction is not None:
            exploration.direction = None
            self._show()
        elif row.score is None:
            self.say("no direction: this cell follows no detector, or is not scored yet")
        else:

            def show(direction: Direction) -> None:
                # Another row may have been selected meanwhile.
                if exploration.rows[exploration.row] is row:
                    exploration.direction = direction
                    self._show()

            self._measurer.measure_direction(row.score.detector, show)

    def action_help(self) -> None:
        self.app.push_screen(Help(KEYS, [COLOURS]))

    # Typing

    def _start_typing(self) -> None:
        self.is_typing, self.exploration.viewed = True, self.typed
        self._show()

    def _leave(self) -> None:
        if not self.is_typing:
            self.exploration.viewed = self.given
        self.is_typing = False
        self._show()

    def on_key(self, event: events.Key) -> None:
        """Handle characters as text while a text is typed, and as commands otherwise."""
        # Not by bindings, which run later: what is typed right after `t` must be text already.
        if event.key == "t" and not self.is_typing:
            self._start_typing()
            event.stop()
        elif event.key == "escape":
            self._leave()
            event.stop()
        elif self.is_typing:
            self._on_typing_key(event)

    def _on_typing_key(self, event: events.Key) -> None:
        named = {"enter": "\n", "tab": "\t"}
        if event.key == "backspace":
            self._type([DELETE_LAST])
        elif character := named.get(event.key) or (event.character if event.is_printable else None):
            self._type(character)
        else:
            return
        event.stop()

    def on_paste(self, event: events.Paste) -> None:
        if self.is_typing:
            self._type(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    def _type(self, characters: Sequence[str]) -> None:
        is_idle = not self._pending
        self._pending.extend(characters)
        if is_idle:
            self._feed()

    def _feed(self) -> None:
        """Let the model read some of the typed characters, and schedule the rest after other events."""
        for _ in range(min(FED_AT_ONCE, len(self._pending))):
            character = self._pending.popleft()
            if character == DELETE_LAST:
                self.typed.delete_last()
            elif self.typed.is_full:
                self._pending.clear()
                self.say(f"no more than {MAX_TYPED:,} characters can be typed")
                break
            else:
                self.typed.feed(character)
                if self.model.vocab.unknown_characters(character):
                    self.say(f"{_shown(character)} is not in the vocabulary: it counts as unknown")
        self._show()
        if self._pending:
            self.call_later(self._feed)

    # Clamping

    def action_clamp(self) -> None:
        direction, (layer, unit) = self.exploration.direction, self.exploration.cell
        question = f"Clamp cell {layer}:{unit} at which value? From -1 to 1"
        if direction is not None:
            ends = f"low ({direction.low:.3g}), high ({direction.high:.3g}) or a number"
            question = f"Clamp direction {direction.name} at which output? {ends}"

        def compare(value: str) -> None:
            clamp = Clamp.parse(value, self.exploration)
            self.call_later(self.app.push_screen, Comparison(clamp, self._measurer.generate_both))

        self.app.push_screen(Question(question, compare, command=COMMAND))


def keys_that_fit(keys: Sequence[str], width: int) -> str:
    """Return the keys and what they do, the first of some and LAST_KEYS, in so many columns."""
    names: list[str] = []
    for name in keys:
        if cell_len("  ".join((*names, name, LAST_KEYS))) > width:
            break
        names.append(name)
    return "  ".join((*names, LAST_KEYS))


def _shown(character: str) -> str:
    """Return a character as it is shown by itself: the unknown symbol by name."""
    return {" ": "␣", "": "unknown"}.get(character) or all_visible(character).rstrip()
