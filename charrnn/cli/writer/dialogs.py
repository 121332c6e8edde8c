"""The keys of the editor, and the screen that asks for a choice."""

from collections.abc import Callable, Mapping

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from charrnn.cli.streams import printable

KEYS = (
    ("Tab", "five continuations; once more: five others. Any other key but a digit dismisses them"),
    ("1 to 5", "insert that one; Ctrl-Z takes it out again"),
    ("Esc", "dismiss the continuations, or stop looking for them"),
    ("Ctrl-U F3", "where continuations end: word, line or sentence"),
    ("Ctrl-T F2", "the temperature of the samples"),
    ("F4", "colours: none, surprise, the cell of --color"),
    ("Ctrl-Z Ctrl-Y", "undo, redo"),
    ("Ctrl-S", "save; F5 saves under another name"),
    ("Ctrl-X Ctrl-C Ctrl-V", "cut, copy and paste what is selected (Shift with the arrow keys)"),
    ("Ctrl-Q", "quit; asks if something is not saved. So does Ctrl-C where nothing is selected"),
    ("F1", "these keys, and how the model reads the draft"),
)
"""Keys and what they do, for the help."""


class Choice(ModalScreen[None]):
    """A question that is answered by one key; Escape leaves everything as it is."""

    def __init__(self, question: str, answers: Mapping[str, tuple[str, Callable[[], object]]]) -> None:
        """Ask. `answers` maps a key to what it says and what it does."""
        super().__init__()
        self._question, self._answers = question, answers

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(printable(self._question)), id="question")
            named = [f"{key} {text}" for key, (text, _) in self._answers.items()]
            yield Static(Text("   ".join((*named, "Esc back")), style="bold"))

    def on_key(self, event: events.Key) -> None:
        """Answer with a key."""
        event.stop()
        if event.key == "escape":
            self.dismiss()
        elif event.key in self._answers:
            self.dismiss()
            self.app.call_later(self._answers[event.key][1])
