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

    def __init__(self, text: str):
        super().__init__()
        self._text = text
        self._values: Sequence[float] = ()
        """The value of each character, from -1 to 1."""
        self._cursor = 0
        self._lines: list[list[tuple[str, int]]] = []
        """The lines on the screen: grapheme clusters with the indices of their last characters."""
        self._ends: list[int] = []
        """The index of the last character of each line."""

    def show(self, values: Sequence[float], cursor: int) -> None:
        """Colour the characters by their values, and scroll to the character at `cursor`."""
        self._values = values
        self._cursor = cursor
        self._scroll_to_cursor()
        self.refresh()

    def on_resize(self) -> None:
        """Fold the text at the new width, and keep the cursor in view."""
        # The text is folded only here: folding takes longer than drawing.
        width = max(1, self.scrollable_content_region.width - GUTTER)
        indexed = zip(self._text, range(len(self._text)), strict=True)
        self._lines = list(fold(indexed, width))
        self._ends = [line[-1][1] for line in self._lines]
        self.virtual_size = Size(width + GUTTER, len(self._lines) * self.rows_per_line)
        self._scroll_to_cursor()

    def _scroll_to_cursor(self) -> None:
        # The view scrolls as little as possible: not at all while the cursor is in view.
        top = self.scroll_offset.y
        height = self.scrollable_content_region.height
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
        """The number of the line with the cursor: the first that ends at it or after it."""
        return bisect_left(self._ends, self._cursor)

    def line_further(self, by: int) -> int:
        """Return the index of the character `by` lines below the cursor, in the same column."""
        current = self.current_line
        column = self._cursor_column(self._lines[current])

        # In a shorter line it is the last character.
        line = self._lines[min(len(self._lines) - 1, max(0, current + by))]
        _, index = line[min(column, len(line) - 1)]
        return index

    def sparkline(self, number: int) -> str:
        """Return the values of a line as blocks, each as wide as its character."""
        if not self._values or not self._lines:
            return ""
        marks = marks_below(self._lines[number], lambda index: block(self._values[index]))
        return " " * GUTTER + marks

    def render_line(self, y: int) -> Strip:
        """Return a row of the screen: a part of the text, or the blocks below it."""
        # Without colours every second row is a row of blocks.
        number, is_below = divmod(y + self.scroll_offset.y, self.rows_per_line)
        if number >= len(self._lines) or not self._values:
            return Strip.blank(self.size.width)
        if is_below:
            return Strip([Segment(self.sparkline(number))]).adjust_cell_length(self.size.width)

        line = self._lines[number]
        gutter = " " * GUTTER
        under_cursor = -1
        if number == self.current_line:
            gutter = "▸ "
            # A cluster has the index of its last character; the cursor may be at an earlier one.
            _, under_cursor = line[self._cursor_column(line)]

        def style_of(index: int) -> Style:
            style = Style()
            if not self.app.no_color:
                style = palette_of(self.app.console).value(self._values[index])
            # Swapped colours are visible on any colour.
            return style + Style(reverse=index == under_cursor)

        segments = [Segment(gutter), *coloured_line(line, style_of)]
        return Strip(segments).adjust_cell_length(self.size.width)

    def _cursor_column(self, line: Sequence[tuple[str, int]]) -> int:
        """Return the number of the cluster under the cursor in its line."""
        return bisect_left([index for _, index in line], self._cursor)
