"""A thread that works for the editor: one job at a time, the latest of each kind, so that typing never waits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from charrnn.apps.full_screen import Stopped
from charrnn.errors import CharRNNError


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
