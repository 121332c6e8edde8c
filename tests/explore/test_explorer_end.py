"""The explorer ends with its terminal, even where Textual waits for it."""

import os
import threading

import pytest

from charrnn.explore import app as application
from charrnn.explore.app import HANGUP, Explorer
from charrnn.system.signals import Signals


class Stuck(Explorer):
    """An interface that waits for the terminal until the process is ended."""

    def __init__(self):
        super().__init__(exploration=None)
        self.ended = threading.Event()
        self.log_of_end = []

    def run(self):
        assert self.ended.wait(600)

    def end(self, code):
        self.log_of_end.append(code)
        self.ended.set()


@pytest.fixture
def stuck(monkeypatch):
    app = Stuck()
    monkeypatch.setattr(application, "GRACE_SECONDS", 0)
    monkeypatch.setattr(os, "_exit", app.end)
    return app


def test_a_stuck_interface_ends_by_a_signal(stuck, monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    signals = Signals()
    signals.number = 15
    stuck.run_until_signal(signals)
    assert stuck.log_of_end == [143]


def test_a_stuck_interface_ends_without_a_terminal_and_a_signal(stuck, monkeypatch):
    answers = [True]  # then the terminal is gone
    monkeypatch.setattr(os, "isatty", lambda descriptor: bool(answers and answers.pop()))
    stuck.run_until_signal(Signals())
    assert stuck.log_of_end == [128 + HANGUP]
