"""What the interfaces that fill the terminal have in common: how they end, their look, and dialogs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol, TypeVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.driver import Driver
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from charrnn.cli.flags import with_flags
from charrnn.cli.streams import printable
from charrnn.errors import UsageError

Result = TypeVar("Result")
"""What an interface returns once it is closed by its keys."""
SIGNAL_POLL = 0.1
"""Seconds between two calls of the function that says whether to end."""


class Stopped(Exception):
    """Raised in a job that is not wanted any more, to end it."""


class Background(Protocol):
    """What an interface computes in other threads."""

    def close(self) -> None:
        """End all jobs, and wait until none runs."""


class StatusLine(Static):
    """A message below the text, which takes no room where there is none."""

    def __init__(self) -> None:
        super().__init__(id="status")

    def say(self, message: str) -> None:
        """Replace the message; "" removes it."""
        self.update(Text(printable(message)))
        self.display = bool(message)


class FullScreenApp(App[Result]):
    """An interface in the terminal's own colours that its keys, a signal or an error in another thread closes.

    Nothing is dim: some terminals draw dim text with a contrast of less than 3. What is marked has its colours swapped,
    which is legible on any background.
    """

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    CSS = """
    Screen { layout: vertical; }
    #top { height: 1; }
    #title { width: 1fr; height: 1; text-style: bold; }
    #status { height: auto; max-height: 3; display: none; text-style: italic; }
    #hint { height: 1; }
    ModalScreen { align: center middle; background: transparent; }
    #box { background: ansi_default; border: solid ansi_default; padding: 0 1; }
    #box { width: 72; max-width: 100%; height: auto; max-height: 100%; }
    .key { height: auto; }
    .meaning { width: 1fr; }
    Input > .input--cursor, Input > .input--selection {
        text-style: reverse; background: ansi_default; color: ansi_default;
    }
    """
    work: Background
    """Set by the subclass."""

    def __init__(self) -> None:
        # The terminal's own colours, so that text without a value looks as it does everywhere else.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._is_end_asked: Callable[[], bool] = lambda: False
        self._failure: Exception | None = None

    def get_driver_class(self) -> type[Driver]:
        """Return what reads the keyboard and writes to the terminal."""
        found = super().get_driver_class()
        if sys.platform == "win32":
            return found
        from charrnn.apps.keyboard import TolerantDriver  # imports termios, which Windows does not have

        return TolerantDriver if issubclass(TolerantDriver, found) else found

    def on_mount(self) -> None:
        """Look regularly whether to end; Textual calls this beside the method of a subclass."""
        self.set_interval(SIGNAL_POLL, self._end_if_asked)

    def run_until(self, is_end_asked: Callable[[], bool]) -> Result | None:
        """Run until the interface is closed or `is_end_asked` returns true; return None unless its keys closed it."""
        self._is_end_asked = is_end_asked
        return self.run()

    def exit_code(self, signal_number: int) -> int:
        """Return the exit code of the command: that of the signal, 1 after an error, else 0."""
        return 128 + signal_number if signal_number else self.return_code or 0

    def finish(self) -> None:
        """End the work; call this when the interface is closed. Raises the error that closed it, if there was one."""
        self.work.close()
        if self._failure is not None:
            raise self._failure

    def fail(self, error: Exception) -> None:
        """Close the interface for an error in another thread, which calls this; `finish` raises it."""
        self._failure = error
        self.call_later(self.exit)

    def _end_if_asked(self) -> None:
        if self._is_end_asked():
            self.exit()


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
