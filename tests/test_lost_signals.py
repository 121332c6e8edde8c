"""Signals: an interrupt that is lost on its way is raised again."""

import os
import signal
import time

import pytest

from charrnn.cli import signals
from charrnn.cli.signals import Signals


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that could raise it again")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_callback_swallows_comes_again(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's compiler calls back into Python, and drops what is raised there."""
    monkeypatch.setattr(signals, "PATIENCE", 0.05)
    heard = Signals()
    num_lost = 0
    with pytest.raises(KeyboardInterrupt), heard.heard():
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
    assert (num_lost, heard.number) == (2, number)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
