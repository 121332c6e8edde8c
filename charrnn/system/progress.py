"""The progress of long work: whoever works reports it, whoever started the work decides how it is
shown.

    with task("reading", len(text), unit="chars") as advance:
        for window in windows:
            ...
            advance(len(window))

Nothing is shown by default. `using` sets where reports go in this thread and context: a bar in a
terminal (`cli.progress_bars`), a line of the explorer, or a function. A report may raise
`Cancelled` to end the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from charrnn import errors


class Cancelled(Exception):
    """Raised by a report of progress: whoever waits for the result does not want it any more.

    `explore` raises it for a measurement that a user has left.
    """


class Task:
    """A piece of work. Call it with each amount that is done.

    `task` yields one; only something that shows progress makes subclasses.
    """

    def __init__(
        self,
        label: str,
        total: int = 0,
        unit: str = "chars",
        report: Callable[[Task], object] = lambda task: None,
    ):
        """Start with nothing done. `total` is 0 while it is not known, and may be set later.

        `report` is called with the task after each amount of it.
        """
        self.label = label
        self.total = total
        self.unit = unit
        self.report = report
        self.done = 0

    def __call__(self, amount: int = 1) -> None:
        """Count `amount` as done. Raises Cancelled if the work is to end."""
        self.done += amount
        self.report(self)

    def close(self) -> None:
        """Remove what is shown of the task. Called once, however the work ended."""


class Progress:
    """Where reports of progress go.

    A command or a notebook that shows progress in its own way makes one and calls `using`. `report`
    is called with a task after each amount of it, and may raise Cancelled; `on_warning` is called
    with each warning. By default nothing is shown, and a warning is a RuntimeWarning.

    With `on_warning=current().warn` only warnings are shown as they are now: lines of progress
    would stand in the middle of a text that appears meanwhile.
    """

    def __init__(
        self,
        report: Callable[[Task], object] = lambda task: None,
        on_warning: Callable[[str], object] = errors.warn,
    ):
        self.report = report
        self.on_warning = on_warning

    def start(self, label: str, total: int, unit: str) -> Task:
        """Return a new task, which is closed by `task`."""
        return Task(label, total=total, unit=unit, report=self.report)

    def tell(self, message: str) -> None:
        """Show a note."""

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.on_warning(message)


_SILENT = Progress()
_current: ContextVar[Progress] = ContextVar("progress", default=_SILENT)


@contextmanager
def using(progress: Progress) -> Iterator[None]:
    """Send the reports of this block to `progress`. A thread that the block starts has to do the
    same itself.

    A command calls it once, around its work; `current` hands the same to another thread.
    """
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Progress:
    """Return where reports go now: for `using` in another thread."""
    return _current.get()


def tell(*messages: str) -> None:
    """Show notes to the user of a command, such as what is waited for. A program, which has the
    notes of its result, is told nothing.

    What a user should act on is a warning (`warn`).
    """
    for message in messages:
        _current.get().tell(message)


def warn(*messages: str) -> None:
    """Show warnings, about something that makes the work slower or its result poorer: a command on
    stderr, a program as RuntimeWarnings.

    Code below `cli` uses it in place of `warnings.warn` and of a print.
    """
    for message in messages:
        _current.get().warn(message)


def task_from(
    least: int, label: str, total: int, *, unit: str = "chars"
) -> AbstractContextManager[Task]:
    """Report a piece of work as `task` does if it has more than `least` units, and nothing
    otherwise.

    It is for work that takes seconds only if there is much of it, such as writing a text.
    """
    if total <= least:
        return nullcontext(Task(label))
    return task(label, total=total, unit=unit)


@contextmanager
def task(label: str, total: int = 0, *, unit: str = "chars") -> Iterator[Task]:
    """Report a piece of work: yields what to call with each amount that is done.

    Put it around a loop that may take seconds: it costs nothing where nobody looks.

    With `unit=""` nothing is counted: what it is is shown at once.
    """
    started = _current.get().start(label, total=total, unit=unit)
    try:
        yield started
    finally:
        started.close()
