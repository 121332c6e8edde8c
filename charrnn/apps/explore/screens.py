"""The screens over the browser, and what they draw: a coloured text, a page of a cell, two texts to compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Size
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from charrnn.apps.explore.state import Clamp
from charrnn.apps.full_screen import StatusLine
from charrnn.cli.streams import printable
from charrnn.model.clamping import Direction
from charrnn.views.heatmap import fold, without_carriage_returns
from charrnn.views.theme import all_visible, block, palette_of

if TYPE_CHECKING:
    from charrnn.apps.explore.browser import Browser


COMMAND = "explore"
"""The command whose options messages name."""
KEYS = (
    ("↑ ↓", "the cell before, the cell after"),
    ("Home End", "the first cell of the list, the last"),
    ("← →", "along the text, character by character"),
    ("j k", "a line of text down, up"),
    ("PgDn PgUp", "a page of text down, up"),
    ("1 to 9", "the cell of the list with that number"),
    ("Enter p", "the page of the cell: passages, what it writes, the cost of ablating it, values, what sets it"),
    ("d", "the direction of the cell's detector over several cells, in place of the cell, and back"),
    ("s S", "the next list of cells, the one before: the best for each detector, all by one detector, all"),
    ("/", "go to a cell, layer:unit"),
    ("t", "type a text; the cells follow. Backspace deletes"),
    ("Esc", "stop typing; once more: back to the text that was given"),
    ("c", "clamp the cell or the direction at a value, and compare what the model generates from the cursor on"),
    ("?", "these keys"),
    ("q", "quit; Ctrl-C too, from everywhere"),
)
"""Keys and what they do, for the help."""
COLOURS = "Red is a cell's -1, blue its +1."
"""What the colours mean, for the help."""


class TextView(ScrollView, can_focus=False):
    """A text coloured by one value per character; without colour, blocks under each line show the values."""

    GUTTER = 2

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._characters = ""
        self._values: Sequence[float] | None = None
        self._cursor: int | None = None
        self._lines: list[list[tuple[str, int]]] = []
        self._folded: tuple[str, int] | None = None

    @property
    def _is_plain(self) -> bool:
        return self.app.no_color

    @property
    def _line_height(self) -> int:
        return 2 if self._is_plain else 1

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
            self.virtual_size = Size(width + self.GUTTER, len(self._lines) * self._line_height)
        height = self.scrollable_content_region.height
        row, top = self.current_line * self._line_height, self.scroll_offset.y
        if self._cursor is not None and height and not top <= row <= top + height - self._line_height:
            self.scroll_to(y=row if row < top else row - height + self._line_height, animate=False)
        self.refresh()

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

    @property
    def num_lines_shown(self) -> int:
        """Lines of text that fit."""
        return max(1, self.scrollable_content_region.height // self._line_height)

    def sparkline(self) -> str:
        """The values over the line that the cursor is on, a block as wide as each character."""
        if self._values is None or not self._lines:
            return ""
        return " " * self.GUTTER + self._marks(self._lines[self.current_line])

    def _marks(self, line: list[tuple[str, int]]) -> str:
        values = self._values or ()
        return "".join(block(values[index]) * cell_len(shown) for shown, index in line)

    def render_line(self, y: int) -> Strip:
        row, part = divmod(y + self.scroll_offset.y, self._line_height)
        if row >= len(self._lines):
            return Strip.blank(self.size.width)
        line = self._lines[row]
        is_current = self._cursor is not None and row == self.current_line
        segments = [Segment("▸ " if is_current and not part else "  ")]
        if part:
            segments.append(Segment("" if self._values is None else self._marks(line)))
        else:
            segments += [
                Segment("".join(shown for shown, _ in segment), style)
                for style, segment in groupby(line, lambda item: self._style_at(item[1]))
            ]
        return Strip(segments).adjust_cell_length(self.size.width)

    def _style_at(self, index: int) -> Style:
        style = Style()
        if self._values is not None and not self._is_plain:
            style = palette_of(self.app.console).value(self._values[index])
        # ↵ stands for a carriage return before it, too.
        is_before = self._cursor == index - 1 and self._characters[index - 1 : index + 1] == "\r\n"
        return style + Style(reverse=True) if index == self._cursor or is_before else style


CELL_HINT = "↑↓ PgUp PgDn scroll  ←→ other cells  c clamp  ? help  Esc back"
"""Keys at the bottom of the page of a cell."""
DIRECTION_HINT = "↑↓ PgUp PgDn scroll  c clamp  ? help  Esc back"
"""Keys at the bottom of the page of a direction."""


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """What a page is of: a cell (layer, unit) or a direction."""

    what: tuple[int, int] | Direction
    detector: str | None = None
    """The one that the cell follows, as far as is known."""


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


class Page(Screen[None]):
    """A title, a summary that stays, and pictures to scroll through, which may arrive one after the other."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,p", "dismiss", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("pagedown,space", "scroll_pages(1)", show=False),
        Binding("pageup", "scroll_pages(-1)", show=False),
        Binding("home", "scroll_to_end(False)", show=False),
        Binding("end", "scroll_to_end(True)", show=False),
        Binding("left", "turn(-1)", show=False),
        Binding("right", "turn(1)", show=False),
        Binding("c", "clamp", show=False),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(self, browser: "Browser") -> None:
        super().__init__()
        self._browser = browser
        self.subject: Subject | None = None
        """What it shows; None once it is closed."""

    def compose(self) -> ComposeResult:
        yield Static(id="caption")
        yield Static(id="summary")
        with VerticalScroll(id="pictures", can_focus=False):
            yield Static(id="page")
        yield StatusLine()
        yield Static(id="hint")

    def on_mount(self) -> None:
        self.show_subject()

    def show_subject(self) -> None:
        """Name what the page is of, and ask for its measurements."""
        exploration = self._browser.exploration
        name, about = exploration.caption()
        self.query_one("#caption", Static).update(Text.assemble((name, "bold"), printable(about)))
        for widget in ("#summary", "#page"):
            self.query_one(widget, Static).update("")
        self.query_one("#pictures").scroll_home(animate=False)
        hint = CELL_HINT if exploration.direction is None else DIRECTION_HINT
        self.query_one("#hint", Static).update(Text(hint, no_wrap=True))
        score = exploration.rows[exploration.row].score
        self.subject = Subject(exploration.direction or exploration.cell, score.detector if score else None)
        self._browser.measure_page(self, self.subject)

    def on_unmount(self) -> None:
        self.subject = None

    def say(self, subject: Subject, message: str) -> None:
        """Replace the status message, if the page still shows the subject; "" removes it."""
        if self.subject is subject:
            self.query_one(StatusLine).say(message)

    def take(self, subject: Subject, summary: Sequence[RenderableType], pictures: Sequence[RenderableType]) -> None:
        """Show what has been measured of a subject so far, if the page still shows it."""
        if self.subject is not subject:
            return
        self.query_one("#summary", Static).update(self._drawn(summary))
        self.query_one("#page", Static).update(self._drawn(pictures))

    def _drawn(self, pictures: Sequence[RenderableType]) -> RenderableType:
        return Legible(Group(*pictures), is_plain=self.app.no_color)

    def action_scroll(self, by: int) -> None:
        self.query_one("#pictures").scroll_relative(y=by, animate=False)

    def action_scroll_pages(self, by: int) -> None:
        pictures = self.query_one("#pictures")
        pictures.scroll_relative(y=by * max(1, pictures.size.height - 1), animate=False)

    def action_scroll_to_end(self, is_last: bool) -> None:
        pictures = self.query_one("#pictures")
        if is_last:
            pictures.scroll_end(animate=False)
        else:
            pictures.scroll_home(animate=False)

    def action_turn(self, by: int) -> None:
        """Show the page of the cell before or after in the list."""
        exploration = self._browser.exploration
        row = exploration.row + by
        if exploration.direction is None and 0 <= row < len(exploration.rows):
            self._browser.choose(row)
            self.show_subject()

    def action_clamp(self) -> None:
        self._browser.action_clamp()

    def action_help(self) -> None:
        self._browser.action_help()


class Comparison(Screen[None]):
    """Two generated texts side by side: with a cell clamped, and without."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", show=False),
        Binding("r", "again", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
    ]

    def __init__(self, clamp: Clamp, generate: Callable[["Comparison", Clamp], object]) -> None:
        """Compare; `generate` has the texts of a clamp generated, and then calls `take` or `say`."""
        super().__init__()
        self.clamp: Clamp | None = clamp
        """What is compared; None once the screen is closed."""
        self._generate_both = generate

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
        self.clamp = None

    def action_again(self) -> None:
        if self.clamp is not None:
            self.clamp = replace(self.clamp, seed=self.clamp.seed + 1)
            self._generate()

    def action_scroll(self, by: int) -> None:
        for view in self.query(TextView):
            view.scroll_relative(y=by, animate=False)

    def say(self, clamp: Clamp, message: str) -> None:
        """Show a message in place of the name of what is clamped, if the screen still compares that."""
        if clamp is self.clamp:
            self.query_one("#clamped-title", Static).update(Text(printable(message)))

    def take(self, clamp: Clamp, clamped: tuple[str, list[float]], free: tuple[str, list[float]]) -> None:
        """Show two texts with a value for each character, if the screen still compares that."""
        if clamp is self.clamp:
            self.say(clamp, f"{clamp.name} clamped at {clamp.value:.4g}")
            self.query_one("#clamped", TextView).show(*clamped)
            self.query_one("#free", TextView).show(*free)

    def _generate(self) -> None:
        if self.clamp is None:
            return
        clamp, (layer, unit) = self.clamp, self.clamp.cell
        after = all_visible(clamp.prime[-30:])
        self.query_one("#title", Static).update(Text(f"after …{after}   seed {clamp.seed}", no_wrap=True))
        self.query_one("#free-title", Static).update(Text(f"not clamped, coloured by {layer}:{unit}"))
        self.say(clamp, "generating ...")
        self._generate_both(self, clamp)
