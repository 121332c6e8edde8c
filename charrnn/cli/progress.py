"""Draw progress bars on stderr."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tqdm import tqdm

from charrnn.cli.streams import can_animate

DELAY = 1.0
"""Seconds after which a bar is drawn: shorter work needs none."""
_open_bars: "list[tqdm[Any]]" = []
"""All bars that are not closed, outermost first. They are drawn on one line, the one that was updated last."""


@contextmanager
def progress(
    total: int, label: str, *, quiet: bool = False, unit: str = "chars"
) -> "Iterator[Callable[[int], object]]":
    """Draw a bar for work that takes more than DELAY seconds; yields a function to call with each amount done."""
    with _bar(total, label, quiet=quiet, unit=unit) as bar:
        yield bar.update


@contextmanager
def progress_of_unknown(
    label: str, *, quiet: bool = False
) -> "Iterator[tuple[Callable[[int], object], Callable[[int], object]]]":
    """Draw such a bar for work whose total is known later; yields what to call with each amount, and with the total."""
    with _bar(0, label, quiet=quiet, unit="chars") as bar:

        def set_total(total: int) -> None:
            bar.total = total

        yield bar.update, set_total


@contextmanager
def _bar(total: int, label: str, *, quiet: bool, unit: str) -> "Iterator[Any]":
    from tqdm import tqdm

    from charrnn.views.visible import all_visible

    bar = tqdm(
        total=total,
        desc=all_visible(label),
        unit=f" {unit}",
        unit_scale=unit == "chars",
        leave=False,
        delay=DELAY,
        disable=quiet or not can_animate(sys.stderr),
        dynamic_ncols=True,
        position=0,
    )
    is_first = not _open_bars  # the others are drawn when their part of the work begins
    _open_bars.append(bar)
    try:
        with bar, _drawn_in_time(bar) if is_first and not bar.disable else nullcontext():
            yield bar
    finally:
        _open_bars.pop()


@contextmanager
def _drawn_in_time(bar: "tqdm[Any]") -> "Iterator[None]":
    """Draw a bar after its delay even if nothing is done until then: tqdm draws at the next update only.

    Nothing is drawn after the end: the thread is stopped and has ended before the bar is closed.
    """

    def draw() -> None:
        bar.last_print_t = max(bar.last_print_t, bar.start_t + DELAY)  # else tqdm leaves it on the screen
        with suppress(OSError):  # a closed terminal, which the next update reports
            bar.refresh()

    timer = threading.Timer(DELAY, draw)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


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
