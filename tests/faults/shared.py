"""Fixtures of the fault tests, as a plugin: tests import `conftest.py` by name, so there can
be no second one."""

import pytest
from fork_server import ForkServer
from small_runs import run_uninterrupted


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory):
    """Start commands in a fraction of a second, in a folder with a `text.txt`."""
    with ForkServer(tmp_path_factory.mktemp("fork_server")) as fork_server:
        yield fork_server


@pytest.fixture(scope="session")
def uninterrupted(fork_server):
    """A run that is not interrupted."""
    return run_uninterrupted(fork_server)
