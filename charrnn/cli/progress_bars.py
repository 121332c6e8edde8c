"""Draw progress bars on stderr."""

import sys
from threading import RLock
from typing import TYPE_CHECKING, Any

from charrnn.cli.streams import can_animate, with_flags, write_aside
from charrnn.system.progress import Progress, Task

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY = 1.0
"""Seconds after which a bar is drawn: shorter work needs none."""
_LOCK = RLock()
"""Only threads draw bars. The locks that tqdm makes by itself are of processes, too, for which
Python 3.14 starts a process."""


class TerminalProgress(Progress):
    """Draws a bar on stderr for each task that takes more than DELAY seconds, where stderr is a
    terminal.

    A command uses it around its work; `explore`, which owns the screen, has a progress of its own.
    """

    def __init__(self, *, quiet: bool = False):
        """Draw nothing if `quiet`."""
        super().__init__()
        self.quiet = quiet

    def start(self, label: str, total: int, unit: str) -> Task:
        """Return a task with a bar."""
        # Off a terminal, a bar would fill a log with its frames.
        if self.quiet or not can_animate():
            return super().start(label, total=total, unit=unit)
        return _Bar(label, total=total, unit=unit)

    def tell(self, message: str) -> None:
        """Print a note on stderr, above the bars."""
        if self.quiet:
            return
        line = with_flags(message)
        # Without tqdm no bar is drawn, and most commands do without it.
        if "tqdm" not in sys.modules:
            write_aside(line)
            return
        with tqdm_class().external_write_mode(file=sys.stderr):
            write_aside(line)

    def warn(self, message: str) -> None:
        """Print a warning on stderr, above the bars."""
        self.tell(f"warning: {message}")


class _Bar(Task):
    """A task with a bar."""

    def __init__(self, label: str, total: int, unit: str):
        super().__init__(label, total=total, unit=unit)

        # Imported here, because most tasks have no bar and need neither.
        from charrnn.views.theme import all_visible

        # The label of a task that does not count appears at once; the bars of its steps take its
        # line.
        self._bar: tqdm[Any] = tqdm_class()(
            total=total or None,
            desc=all_visible(label),
            unit=unit if unit == "B" else f" {unit}",
            unit_scale=unit in ("chars", "B"),
            leave=False,
            delay=DELAY if unit else 0.0,
            bar_format=None if unit else "{desc} ...",
            dynamic_ncols=True,
            position=0,
        )

    def __call__(self, amount: int = 1) -> None:
        super().__call__(amount)
        # Some tasks learn their total only while they run.
        self._bar.total = self.total or None
        self._bar.update(amount)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


def tqdm_class() -> type["tqdm[Any]"]:
    """Return the class of bars, which share a lock."""
    from tqdm import tqdm

    tqdm.set_lock(_LOCK)
    return tqdm
