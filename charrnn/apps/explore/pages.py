"""Screens of one cell or direction: what was measured of it, part by part as it arrives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from charrnn.apps.full_screen import StatusLine
from charrnn.cli.streams import printable
from charrnn.model.clamping import Direction

if TYPE_CHECKING:
    from charrnn.apps.explore.browser import Browser

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
