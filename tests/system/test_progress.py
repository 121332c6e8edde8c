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


@pytest.fixture
def open_terminal(monkeypatch):
    """Return a function that makes stderr a terminal, on which bars can be drawn, and returns it.

    pytest sets stderr again between a fixture and its test, so that the test has to call it.
    """

    def call():
        terminal = Terminal()
        monkeypatch.setenv("CI", "")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stderr", terminal)
        return terminal

    return call


@pytest.fixture
def slow(monkeypatch):
    """Let everything take longer than the delay of a bar."""
    seconds = iter(range(0, 1000, 2))
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(seconds)))


def test_short_work_has_no_bar(open_terminal):
    terminal = open_terminal()
    with bar(100, "short") as advance:
        advance(50)
    assert terminal.getvalue() == ""


def test_with_quiet_there_is_no_bar(open_terminal, slow):
    terminal = open_terminal()
    with bar(100, "quiet", quiet=True) as advance:
        advance(100)
    assert terminal.getvalue() == ""


def test_bars_of_long_work_share_a_line_and_are_removed(open_terminal, slow):
    terminal = open_terminal()
    with bar(100, "reading") as read, bar(3, "scoring", unit="detectors") as score:
        read(100)
        score(1)
        assert "scoring:  33%" in terminal.getvalue().split("\r")[-1]
    assert "reading: 100%" in terminal.getvalue()
    assert "\n" not in terminal.getvalue() and "\x1b" not in terminal.getvalue()
    assert terminal.getvalue().split("\r")[-2].strip() == ""


def test_reports_go_nowhere_by_default():
    with task("silent", 3) as advance:
        advance(3)
    assert advance.done == 3
    assert type(current()) is Progress


def test_reports_go_where_the_innermost_block_says():
    seen = []

    def record(one):
        seen.append((one.label, one.done, one.total, one.unit))

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


def test_a_report_can_end_the_work_and_the_task_is_closed():
    closed = []

    class Ending(Task):
        def __call__(self, amount=1):
            raise Cancelled

        def close(self):
            closed.append(self.label)

    class Ended(Progress):
        def start(self, label, total, unit):
            return Ending(label, total, unit)

    with pytest.raises(Cancelled), using(Ended()), task("reading", 5) as advance:
        advance(1)
    assert closed == ["reading"]


def test_a_thread_starts_silent_and_can_be_handed_the_progress_of_another():
    progress = Progress(lambda one: None)
    found = []

    def look(handed):
        found.append(current())
        with using(handed):
            found.append(current())

    with using(progress):
        thread = threading.Thread(target=look, args=(current(),))
        thread.start()
        thread.join()
    assert type(found[0]) is Progress and found[0] is not progress
    assert found[1] is progress
