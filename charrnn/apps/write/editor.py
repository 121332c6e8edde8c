"""The text that is edited, without characters that a terminal would interpret."""

import re
from collections.abc import Awaitable, Callable

from rich.text import Text
from textual import events
from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.widgets import TextArea

from charrnn.apps.write.drafts import MAX_LINE_CHARS
from charrnn.errors import DataError
from charrnn.views.theme import visible

_BASE = 0x100000
"""Start of plane 16, which is private use as a whole."""
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters except a tab and a newline; line separators; marks that change the direction of the text; lone
surrogates, which no terminal can be sent."""
_PRIVATE = re.compile("[\U00100000-\U0010ffff]")
_NARROW = "␦"
"""Mark of a character whose own mark would be wider than one column."""


def hide(text: str) -> str:
    """Replace what cannot be shown, one character by one. Raises DataError for a text with such private characters."""
    if found := _PRIVATE.search(text):
        raise DataError(
            f"the text has the private-use character U+{ord(found[0]):X}, which the editor needs for itself: "
            "leave such characters out"
        )
    return _STEERING.sub(lambda match: chr(_BASE + ord(match[0])), text)


def hide_pasted(text: str) -> str:
    """Replace what cannot be shown in a text that comes from elsewhere; line ends of any kind become a newline."""
    return hide_copied(re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text))


def hide_copied(text: str) -> str:
    """Replace what cannot be shown in a text that was copied in the editor; its own line separators stay."""
    return hide(_PRIVATE.sub("\ufffd", text))


def reveal(text: str) -> str:
    """Return the text that `hide` was given."""
    return _PRIVATE.sub(lambda match: chr(ord(match[0]) - _BASE), text)


def marks(text: str) -> str:
    """Return what is drawn for a text from `hide`: a mark of one column for each character that was replaced."""
    return _PRIVATE.sub(_mark, text)


def _mark(match: "re.Match[str]") -> str:
    mark = visible(chr(ord(match[0]) - _BASE))
    return mark if len(mark) == 1 else _NARROW


OFFER_KEYS = ("1", "2", "3", "4", "5", "escape")
"""Keys that belong to the continuations while they are shown."""
MAX_UNDO = 1000
"""Steps that can be undone."""


class Editor(TextArea):
    """A text with line ends "\\n" that is edited."""

    def __init__(self, text: str, press: Callable[[str], Awaitable[bool]], refuse: Callable[[str], object]) -> None:
        """Edit a text.

        `press` is called with a key and returns whether it was obeyed, `refuse` with the reason why a change is not
        made.
        """
        self._text: str | None = None
        self._draft: str | None = None
        super().__init__(hide(text), soft_wrap=True, max_checkpoints=MAX_UNDO, highlight_cursor_line=False)
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._press, self._refuse = press, refuse

    @property
    def text(self) -> str:
        """The text as it is in the widget; kept until it changes, because every line that is drawn asks for it."""
        if self._text is None:
            self._text = self.document.text
        return self._text

    @text.setter
    def text(self, value: str) -> None:
        self.load_text(value)

    @property
    def draft(self) -> str:
        """The text as it is saved, but with line ends "\\n"."""
        if self._draft is None:
            self._draft = reveal(self.text)
        return self._draft

    def _forget_text(self) -> None:
        self._text = self._draft = None

    def load_text(self, text: str) -> None:
        """Replace the text and what can be undone."""
        self._forget_text()
        super().load_text(text)

    def edit(self, edit: Edit) -> EditResult:
        """Make a change, unless it makes a line too long."""
        if (length := self._longest_line_after(edit)) > MAX_LINE_CHARS:
            limit = f"a line would have {length:,} characters; at most {MAX_LINE_CHARS:,}"
            self._refuse(f"not changed: {limit}. Enter begins a new line.")
            return EditResult(end_location=self.selection.end, replaced_text="")
        self._forget_text()
        return super().edit(edit)

    def _longest_line_after(self, edit: Edit) -> int:
        """Return the length of the longest line that a change makes."""
        row, column = edit.bottom
        lengths = [len(line) for line in edit.text.split("\n")]
        lengths[0] += edit.top[1]
        lengths[-1] += len(self.document.get_line(row)) - column
        return max(lengths)

    def undo(self) -> None:
        """Take the last change back."""
        self._forget_text()
        super().undo()

    def redo(self) -> None:
        """Make the change again that was taken back."""
        self._forget_text()
        super().redo()

    def get_line(self, line_index: int) -> Text:
        """Return a line with marks for what a terminal would interpret."""
        return Text(marks(self.document.get_line(line_index)), end="", no_wrap=True)

    def before_cursor(self) -> str:
        """Return the draft up to the cursor."""
        row, column = self.cursor_location
        return self.draft[: sum(len(self.document.get_line(index)) + 1 for index in range(row)) + column]

    def insert_continuation(self, text: str) -> None:
        """Insert a text at the cursor, as one step to undo."""
        self._insert(hide_pasted(text))

    def action_paste(self) -> None:
        """Insert what was copied in the editor."""
        if copied := self.app.clipboard:
            self._insert(hide_copied(copied))

    def _insert(self, text: str) -> None:
        self.history.checkpoint()
        result = self.replace(text, *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)
        self.history.checkpoint()

    async def _on_key(self, event: events.Key) -> None:
        # Keys may arrive together with text. Textual obeys a binding with priority before the letters typed ahead of
        # it are inserted, and any other one after letters typed behind it: here each has its turn.
        is_obeyed = await self._press(event.key)
        if not is_obeyed and not event.is_printable and (bound := self.screen.active_bindings.get(event.key)):
            is_obeyed = await self.app.run_action(bound.binding.action, bound.node)
        if is_obeyed:
            event.stop()
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self._insert(hide_pasted(event.text))
