"""Measurements in threads, one at a time: one that a user asks for pauses those before it."""

import threading
from collections.abc import Callable

from charrnn.apps.full_screen import Stopped

Job = Callable[[Callable[[], None]], None]
"""Something to compute, given a function that it calls often: it lets newer jobs run first, and raises Stopped."""


class Work:
    """Jobs of which one runs at a time, the newest first, so that no two use torch or the findings at once."""

    def __init__(self, on_failure: Callable[[Exception], object]) -> None:
        """Call `on_failure` with what a job raises, except Stopped, in the job's thread."""
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._jobs: list[object] = []
        self._running: object | None = None
        self._is_closed = False

    def start(self, job: Job) -> None:
        """Run a job in a thread."""
        name = object()
        with self._changed:
            self._jobs.append(name)

        def run() -> None:
            try:
                self._take_turn(name)
                job(lambda: self._take_turn(name))
            except Stopped:
                pass
            except Exception as error:  # of a worker thread: raised again where the command ends
                self._on_failure(error)
            finally:
                with self._changed:
                    self._jobs.remove(name)
                    if self._running is name:
                        self._running = None
                    self._changed.notify_all()

        threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        """End all jobs, and wait for the one that runs; none runs afterwards."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            # A thread that runs torch code while the process ends can crash it.
            self._changed.wait_for(lambda: self._running is None)

    @property
    def is_closed(self) -> bool:
        """Whether no job runs any more."""
        return self._is_closed and self._running is None

    def _take_turn(self, name: object) -> None:
        with self._changed:
            if self._running is name and self._jobs[-1] is not name and not self._is_closed:
                self._running = None
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_closed or (self._jobs[-1] is name and self._running in (None, name))
            )
            if self._is_closed:
                raise Stopped
            self._running = name
