"""The text that is edited: coloured by one value per character."""

from collections.abc import Callable, Sequence

from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import TextArea

from charrnn.cli.writer.hidden import hide, hide_pasted, marks, reveal

MAX_UNDO = 1000
"""Steps that can be undone."""


class Editor(TextArea):
    """A text with line ends "\\n" that is edited, and coloured where styles are known."""

    class Pressed(Message):
        """A key was pressed that belongs to the continuations while they are shown: a digit or Escape."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Scrolled(Message):
        """Other lines are in view."""

    def __init__(self, text: str, is_offering: Callable[[], bool]) -> None:
        """Edit a text. While `is_offering` returns true, digits and Escape are sent as `Pressed`."""
        super().__init__(hide(text), soft_wrap=True, max_checkpoints=MAX_UNDO, highlight_cursor_line=False)
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._is_offering = is_offering
        self._styles: dict[int, Sequence[Style]] = {}

    @property
    def draft(self) -> str:
        """The text as it is saved, but with line ends "\\n"."""
        return reveal(self.text)

    def show_styles(self, styles: dict[int, Sequence[Style]]) -> None:
        """Colour the characters of some lines, by line number."""
        self._styles = styles
        self.notify_style_update()
        self.refresh()

    def get_line(self, line_index: int) -> Text:
        """Return a line in its colours, with marks for what a terminal would interpret."""
        line = Text(marks(self.document.get_line(line_index)), end="", no_wrap=True)
        for index, style in enumerate(self._styles.get(line_index, ())[: len(line)]):
            if style:
                line.stylize(style, index, index + 1)
        return line

    def offset_of(self, row: int, column: int = 0) -> int:
        """Return the number of characters before a location."""
        return sum(len(self.document.get_line(index)) + 1 for index in range(row)) + column

    def lines_in_view(self) -> tuple[int, int]:
        """Return the first line in view and the one after the last."""
        top, height = self.scroll_offset.y, max(1, self.size.height)
        wrapped = self.wrapped_document
        first = wrapped.offset_to_location(Offset(0, top))[0]
        last = wrapped.offset_to_location(Offset(0, min(top + height, max(1, wrapped.height)) - 1))[0]
        return first, last + 1

    def insert_continuation(self, text: str) -> None:
        """Insert a text at the cursor, as one step to undo."""
        self.history.checkpoint()
        result = self.replace(hide_pasted(text), *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)
        self.history.checkpoint()

    async def _on_key(self, event: events.Key) -> None:
        if self._is_offering() and (event.key in ("1", "2", "3", "4", "5", "escape")):
            event.stop()
            event.prevent_default()
            self.post_message(self.Pressed(event.key))

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        result = self.replace(hide_pasted(event.text), *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Say that other lines are in view."""
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Scrolled())
