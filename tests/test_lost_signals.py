"""Signals: an interrupt that is lost on its way is raised again."""

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from charrnn.cli import signals
from charrnn.cli.signals import Signals


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that could raise it again")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_callback_swallows_comes_again(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's compiler calls back into Python, and drops what is raised there."""
    monkeypatch.setattr(signals, "RERAISE_SECONDS", 0.05)
    handler = Signals()
    num_lost = 0
    with pytest.raises(KeyboardInterrupt), handler.handle():
        for _ in range(2):
            try:
                os.kill(os.getpid(), number)
                time.sleep(30)
            except KeyboardInterrupt:
                num_lost += 1
            if num_lost == 1:
                try:
                    time.sleep(30)  # nobody sends another
                except KeyboardInterrupt:
                    num_lost += 1
                break
        time.sleep(30)
    assert (num_lost, handler.number) == (2, number)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that could raise it again")
def test_an_interrupt_in_a_finalizer_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python prints what a closing generator raises, and drops it."""
    monkeypatch.setattr(signals, "RERAISE_SECONDS", 0.05)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)  # not that of pytest, which keeps it

    def interrupted_while_closing() -> Iterator[int]:
        try:
            yield 1
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(1000))

    with pytest.raises(KeyboardInterrupt), Signals().handle():
        any(interrupted_while_closing())
        time.sleep(30)
    assert capfd.readouterr().err == ""


def test_other_errors_that_nothing_can_catch_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    class Failing:
        def __del__(self) -> None:
            raise ValueError("in a finalizer")

    with Signals().handle():
        failing = Failing()
        del failing
    assert "ValueError: in a finalizer" in capfd.readouterr().err
