"""The common parts of the interfaces that fill the terminal: key bindings, jobs in other threads,
the end after a signal or an error, dialogs."""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.driver import Driver
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from charrnn.cli.streams import printable, with_flags
from charrnn.errors import CharRNNError, UsageError
from charrnn.explore.keyboard import Modes, keyboard_modes, keys_dropped, restore_terminal
from charrnn.system.progress import CallbackProgress, Cancelled, Task, using
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


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A computation in another thread than the interface. A new job replaces the earlier job of its
    kind."""

    kind: str
    compute: Callable[["Job"], object]
    _work: "Work"

    def pause(self) -> None:
        """Let newer jobs run first; a job must call this often. Raises Cancelled if the job was
        stopped or replaced."""
        self._work.take_turn(self)

    def show(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the thread of the interface, unless the job was stopped or replaced by
        then."""
        self._work.call_later(lambda: self._work.is_wanted(self) and function(*arguments))


class Work:
    """Run jobs one at a time, the newest first, so that no two jobs use torch or the findings at
    once.

    Each job has its own thread, because gradients that torch records and the progress belong to a
    thread.
    """

    def __init__(
        self, call_later: Callable[..., object], on_failure: Callable[[Exception], object]
    ) -> None:
        """Prepare to run jobs. `on_failure` is called in the thread of a job with the exception
        that the job raises, except Cancelled."""
        self.call_later = call_later
        self._on_failure = on_failure
        self._changed = threading.Condition()
        """Guards the following attributes; notified after every change of them."""
        self._jobs: list[Job] = []
        """All jobs that have not ended, in the order in which they were started."""
        self._latest: dict[str, Job] = {}
        self._running: Job | None = None
        self._is_closed = False

    def start(self, kind: str, compute: Callable[[Job], object]) -> None:
        """Start a job, which replaces the earlier job of its kind."""
        job = Job(kind, compute=compute, _work=self)
        with self._changed:
            self._latest[kind] = job
            self._jobs.append(job)
            self._changed.notify_all()

        # The thread is a daemon, so that a job that never pauses cannot keep the process alive.
        threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def stop(self, kind: str) -> None:
        """Stop the job of a kind. Its results are no longer shown."""
        with self._changed:
            self._latest.pop(kind, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop all jobs, and wait until the running job has ended."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            # A thread that runs torch code while the process ends can crash it.
            self._changed.wait_for(lambda: not self._jobs)

    def is_wanted(self, job: Job) -> bool:
        """Whether a job was neither stopped nor replaced by a newer job of its kind."""
        # No lock is needed: a stale answer costs only one more step of a job.
        return not self._is_closed and self._latest.get(job.kind) is job

    def take_turn(self, job: Job) -> None:
        """Wait until no other job runs and all newer jobs have ended. Raises Cancelled if the job
        was stopped or replaced."""
        # The usual case takes no lock, because a job calls this at every character that it reads.
        if self._running is self._jobs[-1] is job and self.is_wanted(job):
            return

        def may_go_on() -> bool:
            return self._running is None and self._jobs[-1] is job

        # Newer jobs run while this one waits. A job that was replaced ends here.
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
        except Exception as error:  # `FullScreenApp.finish` raises it again in the main thread.
            self._on_failure(error)
        finally:
            with self._changed:
                # A waiting job continues, and `close` returns when no job remains.
                self._jobs.remove(job)
                self._yield_turn(job)


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
        super().__init__(id="hint")
        self.show(keys)

    def show(self, keys: str) -> None:
        """Replace the keys."""
        self.update(Text(keys, no_wrap=True, overflow="ellipsis"))


class FullScreen(Screen[None]):
    """A screen of the interface: named lines, and a status line."""

    def put(self, name: str, drawn: RenderableType) -> None:
        """Replace the content of the line with this name."""
        self.query_one(f"#{name}", Static).update(drawn)

    def say(self, message: str) -> None:
        """Replace the status message; "" removes it."""
        self.query_one(StatusLine).say(message)


class FullScreenApp(App[None]):
    """An interface in the terminal's own colours. A key, a signal or an error in another thread
    closes it.

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
        self._failure: Exception | None = None
        self.warnings: list[str] = []
        """Warnings of the jobs, because the screen would cover what they print."""

        # After the interface has ended, there are no widgets that a function could change.
        def call_while_running(function: Callable[[], object]) -> None:
            self.call_later(lambda: self.is_running and function())

        self.work = Work(call_while_running, self.fail)

    def get_driver_class(self) -> type[Driver]:
        """Return the driver, which reads the keyboard and writes to the terminal. It reads each
        byte that is not UTF-8 as U+FFFD.

        Such bytes come from a terminal set to Latin-1 and from pasted binary data.
        """
        driver = super().get_driver_class()
        names = vars(sys.modules[driver.__module__])
        # Textual has no option for this. If its loop were started again after the error, the bytes
        # that were read together with the wrong one would be lost, such as the end of a paste. A
        # loop of our own would depend on more private names of Textual.
        if "getincrementaldecoder" in names:
            names["getincrementaldecoder"] = lambda name: partial(
                codecs.getincrementaldecoder(name), errors="replace"
            )
        return driver

    def on_mount(self) -> None:
        """Check regularly whether a signal has arrived. Textual calls this method in addition to
        the `on_mount` of a subclass."""
        # A signal handler must not touch widgets: it only sets a number.
        self.set_interval(SIGNAL_POLL, self._exit_after_signal)

    def _exit_after_signal(self) -> None:
        if self._signals.number:
            self.exit()

    def run_until_signal(self, signals: Signals) -> None:
        """Run until the interface is closed or a signal arrives.

        Raises the error that has closed the interface, if there was one.
        """
        # Without this, Textual would print a traceback of the interruption.
        signals.is_quiet = True
        signals.defers = True
        self._signals = signals
        is_over = threading.Event()
        modes = keyboard_modes()
        threading.Thread(target=self._end_anyway, args=(is_over, modes), daemon=True).start()
        try:
            self.run()

            # `finish` may raise an error, which can be printed only after Textual has restored the
            # terminal. A job may take a second to end, and what is typed meanwhile is not meant for
            # the shell.
            with keys_dropped():
                self.finish()
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

    def measure(
        self,
        kind: str,
        compute: Callable[[Job], object],
        say: Callable[[str], object],
        end: Callable[[str], object] | None = None,
    ) -> None:
        """Run `compute` as a job. `say` is called with its progress; `end`, or `say` if there is no
        `end`, is called at the end with the message of an error or ""."""

        def work(job: Job) -> None:
            def show_task(task: Task) -> None:
                # Every computation reports its progress often, so this is the place to let newer
                # jobs run.
                job.pause()
                progress = "..."
                if task.total and task.done:
                    progress = f"{min(1, task.done / task.total):.0%}"
                job.show(say, f"{task.label} {progress}")

            # The message of a CharRNNError is shown; any other exception closes the interface.
            message = ""
            try:
                with using(CallbackProgress(show_task, on_warning=self.warnings.append)):
                    compute(job)
            except CharRNNError as error:
                message = with_flags(error.message, self.COMMAND)
            job.show(end or say, message)

        self.work.start(kind, work)

    def finish(self) -> None:
        """Stop all jobs after the interface was closed. Raises the error that has closed it, if
        there was one."""
        # `close` comes first: a job may still fail while the interface closes.
        self.work.close()
        if self._failure is not None:
            raise self._failure

    def fail(self, error: Exception) -> None:
        """Close the interface because of an error in another thread, which calls this method;
        `finish` raises the error in the main thread."""
        self._failure = error
        self.call_later(self.exit)


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
