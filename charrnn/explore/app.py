"""The application of `charrnn explore`: a table of cells and a text coloured by the selected cell,
while other threads measure the cells.

Two more screens show the page of a cell, and two texts to compare.
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

from charrnn.analyses.ranking import ranking
from charrnn.cells.findings import CellFindings, CellScore
from charrnn.cells.study import Study
from charrnn.cells.trace import Trace, trace_text
from charrnn.cli.streams import printable, with_flags
from charrnn.explore import state
from charrnn.explore.full_screen import (
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
from charrnn.explore.state import (
    ALL,
    BEST,
    Clamp,
    Exploration,
    TracedText,
    TypedText,
    cell_name,
)
from charrnn.explore.text_view import TextView
from charrnn.generation.continuations import (
    Continuation,
    ContinuationOptions,
    continue_text,
)
from charrnn.generation.sample_options import NUM_CONTINUATIONS
from charrnn.model.cell_type_registry import cell_type
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel
from charrnn.views.cell_page import page_pictures
from charrnn.views.tables import MEANINGS
from charrnn.views.theme import Scale, all_visible, block, palette_of, shown_character

PAGE = "page"
"""The kind of the job that measures the page of a cell."""
COMPARISON = "comparison"
"""The kind of the job that generates two texts."""
OFFERS = "offers"
"""The kind of the job that continues the typed text."""
COMMON_KEYS: tuple[Keys, ...] = (
    (
        "c",
        "clamp the cell, and compare what the model generates from the cursor",
        {"c": "app.clamp"},
    ),
    ("?", "these keys", {"question_mark": "app.help"}),
)
"""The keys that the browser and the page of a cell have in common."""
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
    *COMMON_KEYS,
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
        "the page of the cell: its score, its values, and passages",
        {"enter,p": "page"},
    ),
    (
        "s S",
        "the next list, the one before: best cells, all by one detector, all",
        {"s": "turn(1)", "S": "turn(-1)"},
    ),
    ("/", "go to a cell, layer:unit", {"slash": "go_to"}),
    ("t", "type a text; the cells follow. Backspace deletes", {}),
    (
        "Tab F1-F5",
        "while you type: take the first and most probable continuation, or that of the key",
        {},
    ),
    ("Esc", "stop typing; once more: back to the text that was given", {}),
    *COMMON_KEYS,
    ("q", "quit; Ctrl-C too, from everywhere", {"q": "app.quit"}),
)
"""The keys of the browser. A key without an action is handled by `Browser.on_key`."""
NOTES = (
    "Red is a cell's -1, blue its +1.",
    *(f"{mark} after a score: {what}." for mark, what in MEANINGS.items()),
)
"""The meanings of the colours and the marks, for the help."""
HINT = "? help  q quit  Enter page  ↑↓ cell  ←→ text  c clamp  t type  s list  / go to"
"""Keys at the bottom of the screen: as many as fit."""
TYPING_HINT = "typing: Esc ends  Tab F1-F5 take a continuation  ↑↓ cell  ←→ text"
"""Keys at the bottom while a text is typed."""
PAGE_HINT = "↑↓ PgUp PgDn scroll  ←→ other cells  c clamp  ? help  Esc back"
"""Keys at the bottom of the page of a cell."""
CLAMP_HINT = "jk scroll  r other random numbers  Esc back"
"""Keys at the bottom of two generated texts."""
LEGEND_STEPS = 15
"""Number of blocks of the colour scale."""
DELETE_LAST = "delete last"
"""Stands for Backspace among the typed characters."""
NAMED_KEYS = {"enter": "\n", "backspace": DELETE_LAST}
"""The text that is typed by keys without a printable character."""
OFFER_KEYS = {"tab": 0} | {f"f{n}": n - 1 for n in range(1, NUM_CONTINUATIONS + 1)}
"""The number of the continuation that a key takes while a text is typed."""
CELLS_JOB = "cells"
"""The kind of the job of the browser."""


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
        self.show_subject()

    def on_unmount(self) -> None:
        # The page is not needed any more.
        self.app.work.stop(PAGE)

    def show_subject(self) -> None:
        """Show the name of the selected cell, and measure and draw its page."""
        explorer = self.app
        exploration = explorer.browser.exploration
        cell = exploration.cell

        # The caption appears at once.
        self.put("caption", caption_of(exploration))
        self._draw([])
        self.query_one("#pictures").scroll_home(animate=False)

        def measure(job: Job) -> None:
            # As in the text, the detector of the row decides how the passages are drawn.
            page = replace(explorer.study.page(*cell), polarity=exploration.polarity)
            job.show(self._draw, page_pictures(page))

        explorer.measure(PAGE, measure, say=self.say)

    def _draw(self, pictures: Sequence[RenderableType]) -> None:
        self.put("page", Legible(Group(*pictures), self.app.no_color))

    def action_scroll(self, lines: int, pages: int = 0) -> None:
        # The last line of a page is the first line of the next page.
        pictures = self.query_one("#pictures")
        lines_of_page = max(1, pictures.size.height - 1)
        pictures.scroll_relative(y=lines + pages * lines_of_page, animate=False)

    def action_turn(self, by: int) -> None:
        """Show the page of the cell that is `by` rows further on in the list."""
        # The row is selected in the list, too, which is visible again when the page is closed.
        exploration = self.app.browser.exploration
        # The list does not continue at its other end: the user would not notice the end.
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
            # `_take` finds the widgets by these names.
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
        # Both texts have the new seed, so that they differ only by the clamp.
        self._clamp = replace(self._clamp, seed=self._clamp.seed + 1)
        self._generate()

    def action_scroll(self, by: int) -> None:
        # Both texts scroll together, so that the same characters stand side by side.
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
        # The title shows the end of the prime, which the model continues.
        title = f"after …{all_visible(clamp.prime[-30:])}   seed {clamp.seed}"
        self.put("title", Text(title, no_wrap=True))
        free = f"not clamped, coloured by {cell_name(clamp.cell)}"
        if clamp.polarity < 0:
            free += ", its sign turned"
        self.put("free-title", Text(free))

        # This message replaces the title of the clamped text until both texts are generated.
        self._say("writing ...")

        def generate(job: Job) -> None:
            job.show(self._take, *clamp.generate(model, job.pause))

        self.app.measure(COMPARISON, generate, say=self._say)


class CellTable(DataTable[Text], inherit_bindings=False):
    """The list of cells, best first."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(TABLE_KEYS)


class Browser(FullScreen):
    """The main screen: a table of cells, and a text coloured by the selected cell."""

    BINDINGS: ClassVar[list[BindingType]] = bind_all(BROWSER_KEYS)
    app: "Explorer"

    def __init__(self, model: TrainedModel, shown: EncodedText) -> None:
        super().__init__()
        self.model = model
        self.shown = shown
        self.given = TracedText(model, shown.text)
        self.typed = TypedText(model)
        self.exploration = Exploration(model, self.given)
        self.is_typing = False
        self.offered: list[Continuation] = []
        """The continuations of the typed text that are shown."""
        self._has_moved = False
        """Whether the user has chosen a cell or a list, which new scores then do not change."""

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
                yield Static(id="offers")
        yield StatusLine()
        yield HintLine(HINT)

    def on_mount(self) -> None:
        self.list_cells()
        self.query_one(CellTable).focus()
        # The cells are measured after the first screen is drawn: importing torch takes a second.
        self.call_after_refresh(self.app.measure, CELLS_JOB, self._measure, self.say, self._end)

    def _measure(self, job: Job) -> None:
        """Measure the cells, and show first the trace of the text, then the best cells, then the
        rankings of all cells."""
        # The trace takes a moment, and colours the text.
        study = self.app.study
        trace = trace_text(
            study.network(),
            self.shown,
            num_guesses=state.NUM_GUESSES,
        )
        job.show(self._take_trace, trace)

        # The scores take seconds, and the rankings need them.
        findings = study.findings()
        job.show(self._take_findings, findings, {})
        if findings.scores:
            ranked = ranking(study, [score.detector for score in findings.scores])
            job.show(self._take_findings, findings, ranked)

    def _take_trace(self, trace: Trace) -> None:
        # The text is coloured now, without waiting for the scores.
        self.given.trace = trace
        self._show()

    def _take_findings(
        self, findings: CellFindings, ranked: Mapping[str, tuple[CellScore, ...]]
    ) -> None:
        exploration = self.exploration
        was_new = BEST not in exploration.orders
        exploration.set_findings(findings, ranked)

        # The best cells come first, unless the user is looking at another cell.
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

        if scale.is_turned:
            high = f"{high}  sign turned"

        # Without colours, blocks have different heights.
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

        # The text has no colours until the model has read it.
        values = exploration.values
        scale_values = None
        if values is not None:
            scale_values = list(map(exploration.scale.position, values.tolist()))
        view = self.query_one("#text", TextView)
        view.show(exploration.viewed.text, scale_values, cursor=exploration.viewed.cursor)

        # Below the text are the values of the line with the cursor, and the character at the
        # cursor.
        sparkline = Text(view.sparkline(view.current_line), no_wrap=True)
        self.put("sparkline", sparkline)
        self.put("readout", self._readout())

        hint = HINT
        if self.is_typing:
            hint = TYPING_HINT
        self.query_one(HintLine).show(hint)
        self.put("offers", state.offered_lines(self.offered))
        self.query_one("#offers").display = self.is_typing

    def _readout(self) -> Text:
        """Return the character at the cursor, the cell's value there, and the most likely next
        characters."""
        # The shown text may be the given text or the typed text.
        viewed = self.exploration.viewed
        values = self.exploration.values
        readout = Text(no_wrap=True)
        if values is None or not len(values):
            return readout

        character = _shown(viewed.text[viewed.cursor])
        readout.append(f"{character} {values[viewed.cursor]:+.2f}", "bold")

        # The probabilities show how certain the model is.
        guesses = []
        for guess, probability in viewed.guesses():
            guesses.append(f"{_shown(guess)} {probability:.2f}")
        if guesses:
            readout.append("   next: " + "  ".join(guesses))
        return readout

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        # The event may be older than the list, which may have become shorter meanwhile.
        row = event.cursor_row
        if row != self.exploration.row and row < len(self.exploration.rows):
            self._has_moved = True
            self.exploration.select(row)
            self._show()

    def on_resize(self) -> None:
        # The text is folded again, so another line has the cursor. Its view learns its new width
        # after the screen.
        self.call_after_refresh(self._show)

    # Moving

    def action_move(self, characters: int, lines: int = 0, pages: int = 0) -> None:
        """Move the cursor along the text, or by lines and pages down."""
        viewed = self.exploration.viewed
        view = self.query_one("#text", TextView)
        lines_of_page = max(1, view.scrollable_content_region.height // view.rows_per_line)
        down = lines + pages * lines_of_page

        # Only the view knows where the lines are folded.
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
            # The list is drawn after the question has closed.
            self.call_later(self.list_cells)

        self.app.push_screen(Question("Go to which cell? layer:unit, such as 0:17", go))

    def action_choose(self, row: int) -> None:
        # The numbers mean the best cells: before these are scored, the keys have no effect.
        if self.exploration.order != ALL and row < len(self.exploration.rows):
            self.choose(row)

    def choose(self, row: int) -> None:
        """Select a row of the list."""
        self._has_moved = True
        self.exploration.select(row)

        # The event is prevented, because it would select the row again.
        with self.prevent(DataTable.RowHighlighted):
            self.query_one(CellTable).move_cursor(row=row, animate=False)
        self._show()

    def action_page(self) -> None:
        # The scores may come while the page is open, and must not select another cell.
        self._has_moved = True
        self.app.push_screen(CellScreen())

    # Typing

    def on_key(self, event: events.Key) -> None:
        """Handle characters as text while a text is typed, and as commands otherwise."""
        # `t` is no binding, because bindings run later: the key right after `t` must already count
        # as text.
        typed = NAMED_KEYS.get(event.key)
        if event.is_printable:
            typed = event.character
        # What was said of the last key does not hold for this one.
        if self.is_typing:
            self.say("")

        if event.key == "t" and not self.is_typing:
            self.is_typing = True
            self.exploration.viewed = self.typed
            self._offer()
        elif event.key == "escape":
            # The first Escape ends typing, and the typed text stays on the screen. The second
            # Escape shows the given text again.
            if not self.is_typing:
                self.exploration.viewed = self.given
            self.is_typing = False
            self.app.work.stop(OFFERS)
            self._show()
        elif self.is_typing and event.key in OFFER_KEYS:
            # The texts of the keys that have no continuation yet are not there to be taken.
            for continuation in self.offered[OFFER_KEYS[event.key] :][:1]:
                self._type(continuation.text)
        elif self.is_typing and typed:
            self._type([typed])
        else:
            return

        # The bindings of a handled key must not run, such as those of Backspace, Enter and `q`.
        event.stop()

    def on_paste(self, event: events.Paste) -> None:
        # The text has the line end LF; the clipboard may have others.
        if self.is_typing:
            self._type(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    def _type(self, characters: Iterable[str]) -> None:
        """Let the model read the typed or pasted characters."""
        # The characters are read one by one, because the state after each one is kept.
        vocab = self.model.vocab
        unknown: dict[str, None] = {}
        messages = []
        for character in characters:
            if character == DELETE_LAST:
                self.typed.delete_last()
                continue

            if self.typed.is_full:
                messages.append(f"no more than {state.MAX_TYPED:,} characters can be typed")
                break
            if vocab.unknown_characters(character):
                unknown[_shown(character)] = None
                if not vocab.has_unknown_symbol:
                    continue

            self.typed.feed(character)

        if unknown:
            fate = "counted as unknown" if vocab.has_unknown_symbol else "left out"
            messages.append(f"not in the vocabulary, and {fate}: {' '.join(unknown)}")
        self.say("; ".join(messages))

        # A pasted text may be long, so it is drawn and continued only once.
        self._offer()

    def _offer(self) -> None:
        """Look for continuations of the typed text; those of the text before are removed."""
        self.offered = []
        self._show()
        typed = self.typed.typed

        def search(job: Job) -> None:
            generator = self.model.generator
            continuations = continue_text(generator, typed, options=ContinuationOptions()).take(
                on_step=job.pause
            )
            job.show(self._take_offered, continuations)

        # The message on the screen stays, such as that of an unknown character.
        def say(message: str) -> None:
            if message:
                self.say(message)

        self.app.measure(OFFERS, search, say=say)

    def _take_offered(self, continuations: list[Continuation]) -> None:
        self.offered = sorted(continuations, key=lambda continuation: -continuation.logprob)
        self._show()


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

    def __init__(
        self, model: TrainedModel, text: EncodedText, *, num_shown: int, num_scored: int
    ) -> None:
        """Show the first `num_shown` characters of a text, and score the cells on the first
        `num_scored`."""
        super().__init__()
        self.model = model
        # `visualize` scores the same text, so that both commands share the cached scores.
        self._scored = text.part(0, num_scored)
        self.browser = Browser(model, text.part(0, num_shown))

    def on_mount(self) -> None:
        """Show the browser."""
        self.push_screen(self.browser)

    @cached_property
    def study(self) -> Study:
        """The analysis of the cells over the scored text. It shares its cache with `charrnn
        visualize`."""
        return self.model.study(self._scored, cached=True)

    def action_help(self) -> None:
        """Show the keys of the screen."""
        # The screen below the help decides which keys it explains.
        keys = TABLE_KEYS + BROWSER_KEYS
        if isinstance(self.screen, CellScreen):
            keys = PAGE_KEYS
        self.push_screen(Help(keys, NOTES))

    def action_clamp(self) -> None:
        """Ask for a value, and show the texts that the model generates with the cell clamped at
        this value and without the clamp."""
        exploration = self.browser.exploration
        question = f"Clamp cell {cell_name(exploration.cell)} at which value? From -1 to 1"

        def compare(value: str) -> None:
            # The question shows the error that `parse` raises. It closes before the screen opens.
            self.call_later(self.push_screen, ClampScreen(Clamp.parse(value, exploration)))

        self.push_screen(Question(question, compare))
