"""Signals that end a process, delayed while a block must not be interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from charrnn.process import ENDING_SIGNALS, ending_signals_delayed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot raise SIGTERM in a process")


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The numbers of the signals that were handled."""
    numbers: list[int] = []
    before = {number: signal.signal(number, lambda number, _: numbers.append(number)) for number in ENDING_SIGNALS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_is_handled_after_the_block_even_if_that_fails(handled: list[int], number: int) -> None:
    with pytest.raises(ZeroDivisionError), ending_signals_delayed():
        signal.raise_signal(number)
        assert handled == []
        raise ZeroDivisionError
    assert handled == [number]
    signal.raise_signal(number)
    assert handled == [number, number], "the handler is restored"


def test_an_ignored_signal_stays_ignored(handled: list[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ending_signals_delayed():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    assert handled == []


def test_another_thread_may_use_it_without_effect() -> None:
    def enter() -> bool:
        with ending_signals_delayed():
            return True

    with ThreadPoolExecutor() as pool:
        assert pool.submit(enter).result()
