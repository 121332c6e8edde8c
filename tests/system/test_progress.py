"""Progress: reported where the block says, and bars drawn after their delay."""

import threading
from contextlib import contextmanager

import pytest
from streams import Terminal

from charrnn.cli.progress_bars import TerminalProgress
from charrnn.system.progress import Cancelled, Progress, Task, current, task, using


@contextmanager
def bar(total, label, *, quiet=False, unit="chars"):
    """Report a task to the terminal."""
    with using(TerminalProgress(quiet=quiet)), task(label, total, unit=unit) as advance:
        yield advance


def test_work_that_takes_longer_has_a_bar_and_two_share_a_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("CI", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    with bar(100, "short") as advance:
        advance(50)
    seconds = iter(range(0, 1000, 2))  # longer than the delay
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(seconds)))
    with bar(100, "quiet", quiet=True) as advance:
        advance(100)
    assert terminal.getvalue() == ""
    with bar(100, "reading") as read, bar(3, "scoring", unit="detectors") as score:
        read(100)
        score(1)
        assert "scoring:  33%" in terminal.getvalue().split("\r")[-1]
    assert "reading: 100%" in terminal.getvalue()
    assert "\n" not in terminal.getvalue() and "\x1b" not in terminal.getvalue()
    assert terminal.getvalue().split("\r")[-2].strip() == "", "the bars are removed"


def test_reports_go_where_the_innermost_block_says_and_nowhere_by_default():
    seen = []

    def record(one):
        seen.append((one.label, one.done, one.total, one.unit))

    with task("silent", 3) as advance:
        advance(3)
    with using(Progress(record)):
        with task("reading", 5) as advance:
            advance(2)
            with using(Progress()), task("inside") as inside:
                inside(9)
            advance.total = 4
            advance()
        outside = current()
    assert seen == [("reading", 2, 5, "chars"), ("reading", 3, 4, "chars")]
    assert current() is not outside


def test_a_report_can_end_the_work_the_task_is_closed_and_a_thread_starts_silent():
    ended = []
    found = []

    class Ending(Task):
        def __call__(self, amount=1):
            raise Cancelled

        def close(self):
            ended.append(self.label)

    class Ended(Progress):
        def start(self, label, total, unit):
            return Ending(label, total, unit)

    with pytest.raises(Cancelled), using(Ended()), task("reading", 5) as advance:
        thread = threading.Thread(target=lambda: found.append(current()))
        thread.start()
        thread.join()
        advance(1)
    assert ended == ["reading"] and type(found[0]) is Progress
