"""The parts of the interface that fills the terminal: key bindings, the end after a signal,
dialogs."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from charrnn.cli.streams import printable, with_flags
from charrnn.errors import UsageError
from charrnn.explore.keyboard import Modes, keyboard_modes, restore_terminal
from charrnn.system.signals import Signals

SIGNAL_POLL = 0.1
"""Seconds between two checks whether a signal has arrived."""
GRACE_SECONDS = 5.0
"""Seconds that an interface has to end after a signal."""
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""The signal that ends an interface when its terminal has gone; Windows has no SIGHUP."""
Keys = tuple[str, str, Mapping[str, str]]
"""Keys as the help names them, their meaning, and the action of each key by its Textual name."""


def bind(actions: Mapping[str, str], *, priority: bool = False) -> list[BindingType]:
    """Bind keys to actions. A key of `actions` may be several keys separated by commas."""
    # Textual does not show the bindings: each screen has its own hint line, which names as many
    # keys as fit.
    bindings: list[BindingType] = []
    for keys, action in actions.items():
        bindings.append(Binding(keys, action, show=False, priority=priority))
    return bindings


def bind_all(rows: Sequence[Keys]) -> list[BindingType]:
    """Return the bindings of all keys that a help lists."""
    bindings = []
    for _, _, actions in rows:
        bindings += bind(actions)
    return bindings


def one_line(*parts: str) -> Text:
    """Join the parts of a title to one line, which is cut where the screen ends."""
    # Names may contain line ends and control characters, which the title must not.
    text = "  ".join(" ".join(printable(part).split()) for part in parts if part)
    return Text(text, no_wrap=True, overflow="ellipsis")


class StatusLine(Static):
    """A line for a message below the text; it is hidden while there is no message."""

    def __init__(self) -> None:
        super().__init__(id="status")

    def say(self, message: str) -> None:
        """Replace the message; "" removes it."""
        # Messages contain file names, which may have control characters.
        self.update(Text(printable(message)))
        self.display = bool(message)


class HintLine(Static):
    """Some of the keys, in the last line of a screen: as many as fit."""

    def __init__(self, keys: str) -> None:
        super().__init__(Text(keys, no_wrap=True, overflow="ellipsis"), id="hint")


class FullScreen(Screen[None]):
    """A screen of the interface: named lines, and a status line."""

    def put(self, name: str, drawn: RenderableType) -> None:
        """Replace the content of the line with this name."""
        self.query_one(f"#{name}", Static).update(drawn)

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        self.query_one(StatusLine).say(message)


class FullScreenApp(App[None]):
    """An interface in the terminal's own colours. A key or a signal closes it.

    No text is dim: some terminals draw dim text with a contrast of less than 3. Marked text has
    swapped colours, which are legible on any background.
    """

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    COMMAND: ClassVar[str]
    """The command whose options are named in messages."""

    def __init__(self) -> None:
        # The terminal's own colours are used, so that text without a value looks as it does in
        # other programs.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._signals = Signals()

    def on_mount(self) -> None:
        """Check regularly whether a signal has arrived. Textual calls this method in addition to
        the `on_mount` of a subclass."""
        # A signal handler must not touch widgets: it only sets a number.
        self.set_interval(SIGNAL_POLL, self._exit_after_signal)

    def _exit_after_signal(self) -> None:
        if self._signals.number:
            self.exit()

    def run_until_signal(self, signals: Signals) -> None:
        """Run until the interface is closed or a signal arrives."""
        # Without this, Textual would print a traceback of the interruption.
        signals.is_quiet = True
        signals.defers = True
        self._signals = signals
        is_over = threading.Event()
        modes = keyboard_modes()
        threading.Thread(target=self._end_anyway, args=(is_over, modes), daemon=True).start()
        try:
            self.run()
        finally:
            is_over.set()

    def _end_anyway(self, is_over: threading.Event, modes: Modes) -> None:
        """End the process after a signal, or when the terminal has gone, if Textual does not end
        it: Textual waits forever to write to a terminal that has gone, and is slow on a busy
        machine.

        This runs in its own thread, because the main thread may be stuck.
        """
        # In a test there is no terminal that could go.
        had_terminal = os.isatty(0)
        while not self._signals.number:
            if is_over.wait(SIGNAL_POLL):
                return
            # The system tells only the process that opened the terminal, mostly a shell.
            if had_terminal and not os.isatty(0):
                self._signals.number = HANGUP

        if not is_over.wait(GRACE_SECONDS):
            try:
                restore_terminal(modes)
            finally:
                os._exit(128 + self._signals.number)

    def exit_code(self, signal_number: int) -> int:
        """Return the exit code of the command: 128 plus the number of the signal, 1 after an error,
        else 0."""
        if signal_number:
            return 128 + signal_number
        return self.return_code or 0


class Question(ModalScreen[None]):
    """A question with one line of input. It stays open, with an error message below it, until the
    answer is valid."""

    BINDINGS: ClassVar[list[BindingType]] = bind({"escape": "dismiss"})
    app: FullScreenApp

    def __init__(self, question: str, answer: Callable[[str], object]) -> None:
        """Ask `question`. `answer` is called with the input, and raises UsageError if the input is
        invalid."""
        super().__init__()
        self._question = question
        self._answer = answer

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(self._question))
            yield Input(compact=True)
            yield Static(id="wrong")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Give the answer, or show why it is invalid."""
        try:
            self._answer(event.value)
        except UsageError as error:
            message = with_flags(error.message, self.app.COMMAND)
            self.query_one("#wrong", Static).update(Text(printable(message)))
        else:
            self.dismiss()


class Help(ModalScreen[None]):
    """The list of all keys, and notes below it."""

    BINDINGS: ClassVar[list[BindingType]] = bind({"escape,question_mark,f1,q,enter": "dismiss"})

    def __init__(self, keys: Sequence[Keys], notes: Sequence[str]) -> None:
        """Show `keys`, and `notes`, a paragraph each."""
        super().__init__()
        self._keys = keys
        self._notes = notes

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box"):
            # Keys and meanings are in two columns, so that long meanings fold beside their keys.
            for key, meaning, _ in self._keys:
                with Horizontal(classes="key"):
                    yield Static(Text(key, style="bold"), classes="name")
                    yield Static(Text(meaning), classes="meaning")
            for note in (*self._notes, "Esc closes this."):
                yield Static(Text("\n" + printable(note)))
