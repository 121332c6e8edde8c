"""Fixtures of the fault tests. A plugin, not a conftest: `tests/conftest.py` is imported by that name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nursery import Nursery
from small_runs import Straight, run_straight


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Commands that start in a fraction of a second, in a folder with a `text.txt`."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture(scope="session")
def straight(nursery: Nursery) -> Straight:
    """The run that nobody disturbs."""
    return run_straight(nursery)
