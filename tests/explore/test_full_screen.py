"""Interfaces that fill the terminal end with their terminal, even where Textual waits for it."""

import os
import threading

import pytest

from charrnn.explore import full_screen
from charrnn.explore.full_screen import HANGUP, FullScreenApp
from charrnn.system.signals import Signals


class Stuck(FullScreenApp):
    """An interface that waits for the terminal until the process is ended."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()
        self.log_of_end = []
        self.restored = []

    def run(self):
        assert self.ended.wait(600)

    def end(self, code):
        self.log_of_end.append(code)
        self.ended.set()


@pytest.fixture
def stuck(monkeypatch):
    app = Stuck()
    monkeypatch.setattr(full_screen, "GRACE_SECONDS", 0)
    monkeypatch.setattr(full_screen, "keyboard_modes", lambda: None)
    monkeypatch.setattr(full_screen, "restore_terminal", app.restored.append)
    monkeypatch.setattr(os, "_exit", app.end)
    return app


def test_a_stuck_interface_ends_by_a_signal(stuck, monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    signals = Signals()
    signals.number = 15
    stuck.run_until_signal(signals)
    assert (stuck.log_of_end, stuck.restored) == ([143], [None])


def test_a_stuck_interface_ends_without_a_terminal_and_a_signal(stuck, monkeypatch):
    answers = [True]  # then the terminal is gone
    monkeypatch.setattr(os, "isatty", lambda descriptor: bool(answers and answers.pop()))
    stuck.run_until_signal(Signals())
    assert stuck.log_of_end == [128 + HANGUP]


def test_a_keyboard_that_is_gone_keeps_no_process(stuck, monkeypatch):
    def fail(modes):
        raise OSError("the disk is full")

    monkeypatch.setattr(threading, "excepthook", lambda failure: None)
    monkeypatch.setattr(full_screen, "restore_terminal", fail)
    signals = Signals()
    signals.number = 15
    stuck.run_until_signal(signals)
    assert stuck.log_of_end == [143]
