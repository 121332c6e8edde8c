"""Signals: one that is lost on its way is raised again, and one that must not interrupt a block is
handled after it."""

import os
import signal
import sys
import time

import pytest

from charrnn.commands.app import run
from charrnn.system import signals
from charrnn.system.process import (
    ENDING_SIGNALS,
)
from charrnn.system.signals import Signals

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither these signals nor their timer"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_callback_swallows_comes_again(number, monkeypatch):
    """Numba's compiler calls back into Python, and drops what is raised there."""
    monkeypatch.setattr(signals, "RERAISE_SECONDS", 0.05)
    handler = Signals()
    num_lost = 0
    with pytest.raises(KeyboardInterrupt), handler.handle():
        for is_sent in (True, False):
            try:
                if is_sent:
                    os.kill(os.getpid(), number)
                time.sleep(30)  # nobody sends another
            except KeyboardInterrupt:
                num_lost += 1
        time.sleep(30)
    assert (num_lost, handler.number) == (2, number)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_interrupt_in_a_finalizer(monkeypatch, capfd):
    """Python prints what a closing generator raises, and drops it; other errors are shown."""
    monkeypatch.setattr(signals, "RERAISE_SECONDS", 0.05)
    monkeypatch.setattr(
        sys, "unraisablehook", sys.__unraisablehook__
    )  # not that of pytest, which keeps it

    def interrupted_while_closing():
        try:
            yield 1
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(1000))

    class Failing:
        def __del__(self):
            raise ValueError("in a finalizer")

    with pytest.raises(KeyboardInterrupt), Signals().handle():
        any(interrupted_while_closing())
        time.sleep(30)
    assert capfd.readouterr().err == ""
    with Signals().handle():
        failing = Failing()
        del failing
    assert "ValueError: in a finalizer" in capfd.readouterr().err


def test_a_signal_that_arrives_while_handlers_are_set_has_its_own_code(monkeypatch):
    set_handler = signal.signal

    def set_and_send(number, handler):
        before = set_handler(number, handler)
        signal.raise_signal(signal.SIGHUP)
        return before

    monkeypatch.setattr(signal, "signal", set_and_send)
    assert run(["runs"]) == 129


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_every_ending_signal_lets_training_save(number):
    handler = Signals()
    handler.defers = handler.is_quiet = True
    with handler.handle():
        signal.raise_signal(number)
    assert handler.number == number


def test_a_signal_during_the_import_of_torch_arrives_after_it(tmp_path, process):
    """C++ that calls Python meanwhile ends the process if a handler raises."""
    (tmp_path / "torch.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGUSR2)\nsum(range(1000))\nis_whole = True"
    )
    code = (
        "import sys\nfrom charrnn.system.lazy import torch\n"
        "from charrnn.system.signals import Signals\n"
        "try:\n    with Signals().handle(): torch.is_whole\n"
        "except KeyboardInterrupt: print(sys.modules['torch'].is_whole)"
    )
    assert process("-c", code).stdout == b"True\n"
