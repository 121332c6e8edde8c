"""What the interfaces that fill the terminal have in common: keys, work in other threads, how they
end, dialogs."""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.driver import Driver
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from charrnn.cli.signals import Signals
from charrnn.cli.streams import printable, with_flags
from charrnn.errors import CharRNNError, UsageError
from charrnn.system.progress import CallbackProgress, Cancelled, Task, using
from charrnn.tui.keyboard import Modes, keyboard_modes, restore_keyboard

Result = TypeVar("Result")
"""What an interface returns once it is closed by its keys."""
SIGNAL_POLL = 0.1
"""Seconds between two calls of the function that says whether to end."""
GRACE_SECONDS = 5.0
"""Seconds that an interface has to end after a signal."""
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""What ends an interface whose terminal is gone; Windows has no SIGHUP."""
Keys = tuple[str, str, Mapping[str, str]]
"""Keys as the help names them, what they do, and the actions of each by its Textual name."""


def bind(actions: Mapping[str, str], *, priority: bool = False) -> list[BindingType]:
    """Return the bindings of keys, several of which are separated by commas, to actions."""
    # Not shown: a screen has a hint line of its own, which names as many keys as fit.
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


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something that is computed beside the interface; of the jobs of a kind, the last one
    counts."""

    kind: str
    compute: Callable[["Job"], object]
    _work: "Work"

    def pause(self) -> None:
        """Let newer jobs run first; to be called often. Raises Cancelled if the job is not wanted
        any more."""
        self._work.take_turn(self)

    def show(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the thread of the interface, unless the job is not wanted any more by
        then."""
        self._work.call_later(lambda: self._work.is_wanted(self) and function(*arguments))


class Work:
    """Jobs of which one runs at a time, the newest first, so that no two use torch or the findings
    at once.

    Each has a thread of its own, because what torch records and the progress belong to a thread.
    """

    def __init__(
        self, call_later: Callable[..., object], on_failure: Callable[[Exception], object]
    ) -> None:
        """Call `on_failure` with what a job raises, except Cancelled, in the job's thread."""
        self.call_later = call_later
        self._on_failure = on_failure
        self._changed = threading.Condition()
        """Whoever changes what follows notifies who waits for it."""
        self._jobs: list[Job] = []
        """All jobs that have not ended, in the order in which they were started."""
        self._latest: dict[str, Job] = {}
        self._running: Job | None = None
        self._is_closed = False

    def start(self, kind: str, compute: Callable[[Job], object]) -> None:
        """Compute in a thread, in place of an earlier job of that kind."""
        job = Job(kind, compute=compute, _work=self)
        with self._changed:
            self._latest[kind] = job
            self._jobs.append(job)
            self._changed.notify_all()

        # A daemon: a job that never pauses cannot keep the process.
        threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def stop(self, kind: str) -> None:
        """End the job of a kind, and show nothing of it any more."""
        with self._changed:
            self._latest.pop(kind, None)
            self._changed.notify_all()

    def close(self) -> None:
        """End all jobs, and wait for the one that runs; none runs afterwards."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            # A thread that runs torch code while the process ends can crash it.
            self._changed.wait_for(lambda: not self._jobs)

    def is_wanted(self, job: Job) -> bool:
        """Return whether a job is the last one of its kind, and not stopped."""
        # Without the lock: a stale answer only costs one more step of a job.
        return not self._is_closed and self._latest.get(job.kind) is job

    def take_turn(self, job: Job) -> None:
        """Return once no other job runs and all newer ones have ended. Raises Cancelled if it is
        not wanted."""
        # Without the lock: a job asks at every character that it reads.
        if self._running is self._jobs[-1] is job and self.is_wanted(job):
            return

        def may_go_on() -> bool:
            return self._running is None and self._jobs[-1] is job

        # Newer jobs run meanwhile; a job that is replaced ends here, wherever it is in its work.
        with self._changed:
            self._yield_turn(job)
            self._changed.wait_for(lambda: may_go_on() or not self.is_wanted(job))
            if not self.is_wanted(job):
                raise Cancelled
            self._running = job

    def _yield_turn(self, job: Job) -> None:
        # A job that has not begun has no turn to yield.
        if self._running is job:
            self._running = None
        self._changed.notify_all()

    def _run(self, job: Job) -> None:
        try:
            self.take_turn(job)
            job.compute(job)
        except Cancelled:
            pass
        except Exception as error:  # of a worker thread: raised again where the command ends
            self._on_failure(error)
        finally:
            with self._changed:
                # Whoever waits goes on, and `close` returns once none is left.
                self._jobs.remove(job)
                self._yield_turn(job)


def one_line(*parts: str) -> Text:
    """Return the parts of a title in one line, of which as much is shown as fits."""
    # A name may have line ends and control characters: the title stays one line.
    text = "  ".join(" ".join(printable(part).split()) for part in parts if part)
    return Text(text, no_wrap=True, overflow="ellipsis")


class StatusLine(Static):
    """A message below the text, which takes no room where there is none."""

    def __init__(self) -> None:
        super().__init__(id="status")

    def say(self, message: str) -> None:
        """Replace the message; "" removes it."""
        # Messages contain names of files, which a terminal could interpret.
        self.update(Text(printable(message)))
        self.display = bool(message)


class HintLine(Static):
    """Some of the keys, in the last line of a screen: as many as fit."""

    def __init__(self, keys: str) -> None:
        super().__init__(id="hint")
        self.show(keys)

    def show(self, keys: str) -> None:
        """Replace the keys."""
        self.update(Text(keys, no_wrap=True, overflow="ellipsis"))


class FullScreen(Screen[None]):
    """A screen of the interface: named lines, and a status line."""

    def put(self, name: str, drawn: RenderableType) -> None:
        """Replace what the line of this name shows."""
        self.query_one(f"#{name}", Static).update(drawn)

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        self.query_one(StatusLine).say(message)


class FullScreenApp(App[Result]):
    """An interface in the terminal's own colours that its keys, a signal or an error in another
    thread closes.

    Nothing is dim: some terminals draw dim text with a contrast of less than 3. What is marked has
    its colours swapped, which is legible on any background.
    """

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    COMMAND: ClassVar[str]
    """The command whose options messages name."""

    def __init__(self) -> None:
        # The terminal's own colours, so that text without a value looks as it does everywhere else.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._signals = Signals()
        self._failure: Exception | None = None

        # An interface that has ended has no widgets any more.
        def call_while_running(function: Callable[[], object]) -> None:
            self.call_later(lambda: self.is_running and function())

        self.work = Work(call_while_running, self.fail)

    def get_driver_class(self) -> type[Driver]:
        """Return what reads the keyboard and writes to the terminal; U+FFFD stands for each byte
        that is not UTF-8.

        Such bytes come from a terminal set to Latin-1 and from pasted binary data.
        """
        driver = super().get_driver_class()
        names = vars(sys.modules[driver.__module__])
        # Textual has no option for this. A restart of its loop after the error would lose what was
        # read with the byte, the end of a paste included, and a loop of our own would depend on
        # more of what is private.
        if "getincrementaldecoder" in names:
            names["getincrementaldecoder"] = lambda name: partial(
                codecs.getincrementaldecoder(name), errors="replace"
            )
        return driver

    def on_mount(self) -> None:
        """Look regularly whether to end; Textual calls this beside the method of a subclass."""
        # A signal handler must not touch widgets: it sets a number, which is looked at here.
        self.set_interval(SIGNAL_POLL, self._exit_after_signal)

    def _exit_after_signal(self) -> None:
        if self._signals.number:
            self.exit()

    def run_until_signal(self, signals: Signals) -> Result | None:
        """Run until the interface is closed or a signal arrives; return None unless its keys closed
        it.

        Raises the error that closed it, if there was one.
        """
        # Textual would print where it was interrupted.
        signals.is_quiet = True
        signals.defers = True
        self._signals = signals
        is_over = threading.Event()
        modes = keyboard_modes()
        threading.Thread(target=self._end_anyway, args=(is_over, modes), daemon=True).start()
        try:
            result = self.run()

            # Only now, with the terminal restored: an error can be printed.
            self.finish()
        finally:
            is_over.set()
        return result

    def _end_anyway(self, is_over: threading.Event, modes: Modes) -> None:
        """End the process after a signal, or without a terminal, if Textual does not: it waits
        forever to write to a terminal that is gone."""
        # A thread of its own: the main thread is the one that may be stuck. Without a screen, as in
        # a test, there is no terminal that could go.
        had_terminal = os.isatty(0)
        while not self._signals.number:
            if is_over.wait(SIGNAL_POLL):
                return
            # The system tells only the process that opened the terminal, mostly a shell.
            if had_terminal and not os.isatty(0):
                self._signals.number = HANGUP

        if not is_over.wait(GRACE_SECONDS):
            try:
                self.rescue()
                restore_keyboard(modes)
            finally:
                os._exit(128 + self._signals.number)

    def rescue(self) -> object:
        """Save what is lost if the process ends now; a subclass says what that is."""

    def exit_code(self, signal_number: int) -> int:
        """Return the exit code of the command: that of the signal, 1 after an error, else 0."""
        if signal_number:
            return 128 + signal_number
        return self.return_code or 0

    def measure(
        self,
        kind: str,
        compute: Callable[[Job], object],
        say: Callable[[str], object],
        end: Callable[[str], object] | None = None,
    ) -> None:
        """Compute in a thread; `say` shows its progress, and `end`, or else `say`, the message of
        an error or ""."""

        def work(job: Job) -> None:
            def show_task(task: Task) -> None:
                # Progress is reported often, whatever is computed: the place to let others run.
                job.pause()
                progress = "..."
                if task.total and task.done:
                    progress = f"{min(1, task.done / task.total):.0%}"
                job.show(say, f"{task.label} {progress}")

            # An error of charrnn is an answer; any other one closes the interface.
            message = ""
            try:
                with using(CallbackProgress(show_task)):
                    compute(job)
            except CharRNNError as error:
                message = with_flags(error.message, self.COMMAND)
            job.show(end or say, message)

        self.work.start(kind, work)

    def finish(self) -> None:
        """End the work; call this when the interface is closed. Raises the error that closed it, if
        there was one."""
        # Jobs first: one that fails while the interface closes has its error below.
        self.work.close()
        if self._failure is not None:
            raise self._failure

    def fail(self, error: Exception) -> None:
        """Close the interface for an error in another thread, which calls this; `finish` raises
        it."""
        # Not raised here: no one waits for this thread.
        self._failure = error
        self.call_later(self.exit)


class Question(ModalScreen[None]):
    """A question with one line of input; it stays, with the error below it, until the answer is
    valid."""

    BINDINGS: ClassVar[list[BindingType]] = bind({"escape": "dismiss"})
    app: "FullScreenApp[Any]"

    def __init__(self, question: str, answer: Callable[[str], object]) -> None:
        """Ask. `answer` raises UsageError for an invalid answer."""
        super().__init__()
        self._question = question
        self._answer = answer

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(self._question))
            yield Input(compact=True)
            yield Static(id="wrong")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer, or show what is wrong with the answer."""
        try:
            self._answer(event.value)
        except UsageError as error:
            message = with_flags(error.message, self.app.COMMAND)
            self.query_one("#wrong", Static).update(Text(printable(message)))
        else:
            self.dismiss()


class KeyQuestion(ModalScreen[None]):
    """A question that is answered by one key; Escape leaves everything as it is."""

    def __init__(
        self, question: str, answers: Mapping[str, tuple[str, Callable[[], object]]]
    ) -> None:
        """Ask. `answers` maps a key to what it says and what it does."""
        super().__init__()
        self._question = question
        self._answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(printable(self._question)), id="question")
            # Escape is always an answer, so that no question is a trap.
            keys = [f"{key} {text}" for key, (text, _) in self._answers.items()]
            keys.append("Esc back")
            yield Static(Text("   ".join(keys), style="bold"))

    def on_key(self, event: events.Key) -> None:
        """Answer with a key."""
        # No key reaches the screen below, whose bindings would obey it, too.
        event.stop()
        if event.key == "escape":
            self.dismiss()
        elif event.key in self._answers:
            _, function = self._answers[event.key]
            # Closed first, as what follows may ask again.
            self.dismiss()
            self.app.call_later(function)


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
            # In two columns, so that long meanings fold beside their keys.
            for key, meaning, _ in self._keys:
                with Horizontal(classes="key"):
                    yield Static(Text(key, style="bold"), classes="name")
                    yield Static(Text(meaning), classes="meaning")
            for note in (*self._notes, "Esc closes this."):
                yield Static(Text("\n" + printable(note)))
