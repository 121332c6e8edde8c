"""Screens over any interface that fills the terminal: a question, a choice, and the list of keys."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from charrnn.cli.flags import with_flags
from charrnn.cli.streams import printable
from charrnn.errors import UsageError


class Question(ModalScreen[None]):
    """A question with one line of input; it stays, with the error below it, until the answer is valid."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", show=False)]

    def __init__(self, question: str, answer: Callable[[str], object], *, command: str) -> None:
        """Ask. `answer` raises UsageError for an invalid answer, whose message names options of `command`."""
        super().__init__()
        self._question, self._answer, self._command = question, answer, command

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(self._question))
            yield Input(compact=True, select_on_focus=False)
            yield Static(id="wrong")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer, or show what is wrong with the answer."""
        try:
            self._answer(event.value)
        except UsageError as error:
            self.query_one("#wrong", Static).update(Text(printable(with_flags(error.message, self._command))))
        else:
            self.dismiss()


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


class Help(ModalScreen[None]):
    """The list of all keys, and notes below it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter", "dismiss", show=False)]

    def __init__(self, keys: Sequence[tuple[str, str]], notes: Sequence[str]) -> None:
        """Show `keys`, pairs of keys and what they do, and `notes`, a paragraph each."""
        super().__init__()
        self._keys, self._notes = keys, notes

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box"):
            for key, meaning in self._keys:
                with Horizontal(classes="key"):
                    yield Static(Text(key, style="bold"), classes="name")
                    yield Static(Text(meaning), classes="meaning")
            for note in (*self._notes, "Esc closes this."):
                yield Static(Text("\n" + printable(note)))
