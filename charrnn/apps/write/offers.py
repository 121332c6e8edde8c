"""The continuations that are offered: a thread that searches for them, so that typing never waits, and their list."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from charrnn.api import Model
from charrnn.apps.full_screen import Stopped
from charrnn.apps.write.assistant import assistant_of
from charrnn.apps.write.continuations import NUM_CONTINUATIONS, Continuations
from charrnn.apps.write.drafts import Settings, shown_continuation, source_of
from charrnn.errors import CharRNNError, counted
from charrnn.generation.records import Continuation


@dataclass(eq=False)
class Job:
    """Something to compute: `work` is given the job, whose `check` it calls often."""

    kind: str
    work: Callable[["Job"], Any]
    done: Callable[[Any], object]
    """Called in the thread with the result."""
    is_stopped: bool = field(default=False, init=False)

    def check(self) -> None:
        """Raise Stopped if the job is not wanted any more."""
        if self.is_stopped:
            raise Stopped


class Worker:
    """Runs jobs in one thread; kinds that come first in `kinds` go before the others, which start again afterwards."""

    def __init__(
        self, kinds: tuple[str, ...], on_error: Callable[[Job, str], object], on_failure: Callable[[Exception], object]
    ) -> None:
        """Call `on_error` with a job and the message of its CharRNNError, `on_failure` with any other exception."""
        self._kinds, self._on_error, self._on_failure = kinds, on_error, on_failure
        self._waiting: dict[str, Job] = {}
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Do this as soon as possible, instead of an earlier job of its kind."""
        with self._changed:
            self._waiting[job.kind] = job
            running = self._running
            if running is not None and self._kinds.index(job.kind) <= self._kinds.index(running.kind):
                running.is_stopped = True
                if running.kind != job.kind and running.kind not in self._waiting:
                    self._waiting[running.kind] = Job(running.kind, running.work, running.done)
            self._changed.notify()

    def cancel(self, kind: str) -> None:
        """Forget the jobs of a kind, the running one included."""
        with self._changed:
            self._waiting.pop(kind, None)
            if self._running is not None and self._running.kind == kind:
                self._running.is_stopped = True

    def close(self) -> None:
        """Stop the job that runs, and wait for the end of the thread."""
        with self._changed:
            self._is_closing = True
            if self._running is not None:
                self._running.is_stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _next(self) -> Job | None:
        with self._changed:
            self._running = None
            while not self._waiting and not self._is_closing:
                self._changed.wait()
            if self._is_closing:
                return None
            kind = min(self._waiting, key=self._kinds.index)
            self._running = self._waiting.pop(kind)
            return self._running

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                result = job.work(job)
                job.check()
                job.done(result)
            except Stopped:
                continue
            except CharRNNError as error:
                self._on_error(job, str(error))
            except Exception as error:  # of a worker thread: raised again where the command ends
                self._on_failure(error)
                return


LONG_READ = 4_000
"""Characters from which on the share that is read is shown."""


class OfferSearch:
    """The continuations offered, and the search for them in the worker, of which the last one counts."""

    def __init__(
        self,
        model: Model,
        worker: Worker,
        kind: str,
        call_later: Callable[..., object],
        on_change: Callable[[str | None], object],
    ) -> None:
        """Search by jobs of a `kind`. `call_later` is called in the worker's thread.

        `on_change` is called when the continuations change, with the message to show, or None if it stays.
        """
        self.offered: list[Continuation] = []
        self._model, self._worker, self._kind = model, worker, kind
        self._call_later, self._on_change = call_later, on_change
        self._search: Job | None = None
        self._running: Job | None = None
        self._continuations: Continuations | None = None

    @property
    def is_looking(self) -> bool:
        """Whether continuations are being looked for."""
        return self._search is not None

    def look(self, text: str, settings: Settings) -> None:
        """Look for continuations of a text, or for others where some are offered already."""
        if self.offered and self._continuations is not None:
            continuations = self._continuations
            self._submit(lambda job: continuations, settings)
            return
        options, num_read = settings.options(), 0

        def begin(job: Job) -> Continuations:
            def count(num: int) -> None:
                nonlocal num_read
                job.check()
                num_read += num
                if num_read % LONG_READ < num and num_read >= LONG_READ:
                    self._call_later(self._say_share, job, num_read, len(text))

            return assistant_of(self._model).continue_text(text, options, on_read=count, on_step=self._check)

        self._submit(begin, settings)

    def dismiss(self) -> None:
        """Offer no continuations, and stop looking for them."""
        was_looking = self.is_looking
        if was_looking:
            self._worker.cancel(self._kind)
        self._search, self.offered, self._continuations = None, [], None
        self._on_change("" if was_looking else None)

    def give_up(self, job: Job, message: str) -> None:
        """End a search that failed, with a message, if it is still the one that counts."""
        if job is self._search:
            self._search = None
            self._on_change(message)

    def _check(self) -> None:
        # Later jobs go on with the same continuations: the one that runs now counts.
        if self._running is not None:
            self._running.check()

    def _submit(self, begin: Callable[[Job], Continuations], settings: Settings) -> None:
        def work(job: Job) -> tuple[Continuations, list[Continuation]]:
            self._running = job
            continuations = begin(job)
            return continuations, continuations.take(NUM_CONTINUATIONS)

        none = f"{self._model.name} has no other continuation to the end of a {settings.until}"
        search = Job(self._kind, work, lambda found: self._call_later(self._take, search, *found, none))
        self._search = search
        self._on_change("looking for continuations ...")
        self._worker.submit(search)

    def _say_share(self, search: Job, num_read: int, num_chars: int) -> None:
        if search is self._search:
            self._on_change(f"reading the draft: {num_read:,} of {counted(num_chars, 'character')}")

    def _take(self, search: Job, continuations: Continuations, found: list[Continuation], none: str) -> None:
        """Offer what was found, unless something was typed or asked for meanwhile."""
        if search is self._search:
            self._search, self._continuations, self.offered = None, continuations, found
            self._on_change("" if found else none)


def offer_table(offered: Sequence[Continuation], width: int) -> Table:
    """List continuations by number for a screen of so many columns, each on two lines at most."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=True)
    for style in ("bold", "", ""):
        table.add_column(style=style, no_wrap=True)
    table.add_column(ratio=1)
    for number, one in enumerate(offered, start=1):
        shown = _folded(shown_continuation(one), max(20, width - 20))
        table.add_row(str(number), source_of(one), f"{one.nats_per_char:.2f}", shown)
    return table


def _folded(text: str, width: int) -> Text:
    """Return at most two lines of a text, with … where it goes on."""
    lines, line = [], ""
    for word in text.replace(" ", " \0").split("\0"):
        if cell_len(line + word.rstrip()) > width and line:
            lines.append(line)
            line = ""
        line += word
    lines.append(line)
    shown = lines[:2]
    if len(lines) > 2:
        shown[1] = shown[1].rstrip() + " …"
    return Text("\n".join(shown), no_wrap=True, overflow="ellipsis")
