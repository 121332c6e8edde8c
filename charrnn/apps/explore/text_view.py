"""A text coloured by one value per character, that scrolls and has a cursor."""

from collections.abc import Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from charrnn.views.heatmap import fold, without_carriage_returns
from charrnn.views.palette import block, palette_of


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
