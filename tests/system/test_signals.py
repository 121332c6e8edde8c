"""Signals: one that is lost on its way is raised again, and one that must not interrupt a block is
handled after it."""

import os
import re
import signal
import sys
import time

import pytest
from environment import REPOSITORY

from charrnn.commands.app import run
from charrnn.system import process, signals
from charrnn.system.process import (
    ENDING_SIGNALS,
    SAVE_SIGNALS,
    ending_signals_delayed,
    signal_name,
    warn_before_kill,
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


@pytest.fixture
def handled():
    """The numbers of the signals that were handled."""
    numbers = []
    before = {
        number: signal.signal(number, lambda number, _: numbers.append(number))
        for number in ENDING_SIGNALS
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_is_handled_after_the_block_even_if_that_fails(handled, number):
    with pytest.raises(ZeroDivisionError), ending_signals_delayed():
        signal.raise_signal(number)
        assert handled == []
        raise ZeroDivisionError
    assert handled == [number]
    signal.raise_signal(number)
    assert handled == [number, number], "the handler is restored"


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


@pytest.mark.docs
@pytest.mark.skipif(sys.platform != "linux", reason="the page has the numbers of Linux")
def test_the_page_lists_every_signal_with_its_exit_code():
    page = (REPOSITORY / "docs/look-up/reliability.md").read_text(encoding="utf-8")
    numbers = dict(re.findall(r"^\| (SIG\w+) \| (\d+|–) \|", page, re.MULTILINE))
    expected = {signal_name(number): str(128 + number) for number in ENDING_SIGNALS}
    assert numbers == expected | {signal_name(number): "–" for number in SAVE_SIGNALS}


@pytest.mark.parametrize(
    ("limits", "warned_at"),
    [((60, 60), 40), ((20, 20), 10), ((30, 60), None), ((-1, -1), None)],
)
def test_a_limit_of_processor_time_warns_before_it_kills(monkeypatch, limits, warned_at):
    """On two cores; -1 is no limit."""
    import resource

    monkeypatch.setattr(process, "num_cores", lambda: 2)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    changed = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: changed.append(limits))
    warn_before_kill()
    assert changed == ([] if warned_at is None else [(warned_at, limits[1])])
