"""Draw progress bars on stderr."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tqdm import tqdm

from charrnn.cli.streams import can_animate
from charrnn.progress import Progress, Task, task, using

DELAY = 1.0
"""Seconds after which a bar is drawn: shorter work needs none."""
_open_bars: "list[_Bar]" = []
"""All bars that are not closed, outermost first. They are drawn on one line, the one that was updated last."""


class TerminalProgress(Progress):
    """Draws a bar on stderr for each task that takes more than DELAY seconds, where stderr is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Draw nothing if `quiet`."""
        self.quiet = quiet

    def start(self, label: str, total: int, unit: str) -> Task:
        """Return a task with a bar."""
        if self.quiet or not can_animate(sys.stderr):
            return super().start(label, total, unit)
        return _Bar(label, total, unit)


class _Bar(Task):
    """A task with a bar."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        super().__init__(label, total, unit)
        from tqdm import tqdm

        from charrnn.views.theme import all_visible

        self._bar: tqdm[Any] = tqdm(
            total=total,
            desc=all_visible(label),
            unit=f" {unit}",
            unit_scale=unit == "chars",
            leave=False,
            delay=DELAY,
            dynamic_ncols=True,
            position=0,
        )
        self._timer = threading.Timer(DELAY, self._draw)
        self._timer.daemon = True
        if not _open_bars:  # the others are drawn when their part of the work begins
            self._timer.start()
        self._has_timer = not _open_bars
        _open_bars.append(self)

    def __call__(self, amount: int = 1) -> None:
        super().__call__(amount)
        self._bar.total = self.total
        self._bar.update(amount)

    def close(self) -> None:
        """Remove the bar. Nothing is drawn after that: the thread has ended before the bar is closed."""
        try:
            if self._has_timer:
                self._timer.cancel()
                self._timer.join()
            self._bar.close()
        finally:
            _open_bars.remove(self)

    def _draw(self) -> None:
        """Draw the bar after its delay even if nothing is done until then: tqdm draws at the next update only."""
        self._bar.last_print_t = max(self._bar.last_print_t, self._bar.start_t + DELAY)  # else tqdm leaves it there
        with suppress(OSError):  # a closed terminal, which the next update reports
            self._bar.refresh()


@contextmanager
def progress(
    total: int, label: str, *, quiet: bool = False, unit: str = "chars"
) -> "Iterator[Callable[[int], object]]":
    """Draw a bar for work that takes more than DELAY seconds; yields a function to call with each amount done."""
    with using(TerminalProgress(quiet=quiet)), task(label, total, unit=unit) as advance:
        yield advance


@contextmanager
def progress_of_unknown(
    label: str, *, quiet: bool = False
) -> "Iterator[tuple[Callable[[int], object], Callable[[int], object]]]":
    """Draw such a bar for work whose total is known later; yields what to call with each amount, and with the total."""
    with using(TerminalProgress(quiet=quiet)), task(label) as advance:

        def set_total(total: int) -> None:
            advance.total = total

        yield advance, set_total


def training_bar(total: int, bar_format: str, *, initial: int = 0) -> "tqdm[Any]":
    """Return a bar of steps or runs, in a format of tqdm; the caller moves and closes it."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        file=sys.stderr,
        disable=not can_animate(sys.stderr),
        dynamic_ncols=True,
        bar_format=bar_format,
        leave=False,
    )


def download_bar(*, quiet: bool) -> "Callable[[int, int], None]":
    """Return a function to call with (bytes so far, total bytes) during a download; its first call draws the bar."""
    return _byte_bar("download", quiet=quiet, delay=0)


def reading_bar(*, quiet: bool) -> "Callable[[int, int], None]":
    """Return such a function for reading a text: the bar appears after a second, without an end if the total is 0."""
    return _byte_bar("reading", quiet=quiet, delay=DELAY)


def _byte_bar(label: str, *, quiet: bool, delay: float) -> "Callable[[int, int], None]":
    from tqdm import tqdm

    bars: list[tqdm[Any]] = []

    def advance(num_bytes: int, total: int) -> None:
        if not bars:
            is_hidden = quiet or not can_animate(sys.stderr)
            bars.append(
                tqdm(
                    total=total or None,
                    desc=label,
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    delay=delay,
                    disable=is_hidden,
                )
            )
        bars[0].update(num_bytes - bars[0].n)
        if num_bytes >= total > 0:
            bars.pop().close()

    return advance
