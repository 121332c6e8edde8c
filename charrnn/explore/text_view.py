"""A text that is coloured by one value per character and scrolls with a cursor."""

from bisect import bisect_left
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from charrnn.views.heatmap import coloured_line, fold, marks_below
from charrnn.views.theme import block, palette_of

GUTTER = 2
"""Number of columns before each line, for the mark of the line with the cursor."""


class TextView(ScrollView, can_focus=False):
    """A text coloured by one value per character."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._characters = ""
        self._values: Sequence[float] | None = None
        """The value of each character, from -1 to 1."""
        self._cursor: int | None = None
        self._lines: list[list[tuple[str, int]]] = []
        """The lines on the screen: grapheme clusters with the indices of their last characters."""
        self._folded: tuple[str, int] | None = None
        """The text and the width from which `_lines` was made."""

    def show(
        self, characters: str, values: Sequence[float] | None, cursor: int | None = None
    ) -> None:
        """Show the characters, coloured by their values if there are any, and scroll to the
        character at `cursor`."""
        self._characters = characters
        self._values = values
        self._cursor = cursor
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        # The text is folded again only if it or the width has changed: folding takes longer than
        # drawing.
        width = max(1, self.scrollable_content_region.width - GUTTER)
        if self._folded != (self._characters, width):
            self._folded = (self._characters, width)
            indexed = zip(self._characters, range(len(self._characters)), strict=True)
            self._lines = list(fold(indexed, width))
            num_rows = len(self._lines) * self.rows_per_line
            self.virtual_size = Size(width + GUTTER, num_rows)

        self._scroll_to_cursor()
        self.refresh()

    def _scroll_to_cursor(self) -> None:
        height = self.scrollable_content_region.height
        if self._cursor is None or height == 0:
            return

        # The view scrolls as little as possible: not at all while the cursor is in view.
        top = self.scroll_offset.y
        first = self.current_line * self.rows_per_line
        last = first + self.rows_per_line - 1
        if first < top:
            self.scroll_to(y=first, animate=False)
        elif last >= top + height:
            self.scroll_to(y=last - height + 1, animate=False)

    @property
    def rows_per_line(self) -> int:
        """Number of rows of the screen for each line of text: 2 without colours, with a row of
        blocks below the text."""
        return 2 if self.app.no_color else 1

    @property
    def current_line(self) -> int:
        """The number of the line with the cursor."""
        # It is the first line that ends at the cursor or after it.
        for number, line in enumerate(self._lines):
            _, last = line[-1]
            if last >= (self._cursor or 0):
                return number
        return 0

    def line_further(self, by: int) -> int:
        """Return the index of the character `by` lines below the cursor, in the same column."""
        if not self._lines:
            return 0
        current = self.current_line
        column = self._cursor_column(self._lines[current])

        # In a shorter line it is the last character.
        number = min(len(self._lines) - 1, max(0, current + by))
        line = self._lines[number]
        _, index = line[min(column, len(line) - 1)]
        return index

    def sparkline(self, number: int) -> str:
        """Return the values of a line as blocks, each as wide as its character."""
        values = self._values
        if values is None or not self._lines:
            return ""
        return " " * GUTTER + marks_below(self._lines[number], lambda index: block(values[index]))

    def render_line(self, y: int) -> Strip:
        # Without colours every second row is a row of blocks.
        number, is_below = divmod(y + self.scroll_offset.y, self.rows_per_line)
        if number >= len(self._lines):
            return Strip.blank(self.size.width)
        if is_below:
            return Strip([Segment(self.sparkline(number))]).adjust_cell_length(self.size.width)

        line = self._lines[number]
        gutter = " " * GUTTER
        under_cursor = None
        if self._cursor is not None and number == self.current_line:
            gutter = "▸ "
            # A cluster has the index of its last character; the cursor may be at an earlier one.
            under_cursor = line[self._cursor_column(line)][1]
        coloured = coloured_line(line, lambda index: self._style_at(index, under_cursor))
        return Strip([Segment(gutter), *coloured]).adjust_cell_length(self.size.width)

    def _cursor_column(self, line: Sequence[tuple[str, int]]) -> int:
        """Return the number of the cluster under the cursor in a line, the number of the last
        cluster if the cursor is behind it."""
        indices = [index for _, index in line]
        return min(len(line) - 1, bisect_left(indices, self._cursor or 0))

    def _style_at(self, index: int, under_cursor: int | None) -> Style:
        style = Style()
        if self._values is not None and not self.app.no_color:
            style = palette_of(self.app.console).value(self._values[index])
        # Swapped colours are visible on any colour.
        if index == under_cursor:
            style += Style(reverse=True)
        return style
