"""Fixtures of the fault tests, as a plugin: tests import `tests/conftest.py` by name, so there can
be no second one."""

import io
import sys

import pytest
from conftest import Ran
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


@pytest.fixture
def on_screen(monkeypatch):
    """Run `charrnn ARGUMENTS` in this process with two streams that are terminals, or are not."""
    from streams import Stream

    from charrnn.cli.app import run

    def call(*arguments, is_terminal=True, encoding="utf-8", stdin=b"", **environment):
        streams = [Stream(is_terminal=is_terminal, encoding=encoding) for _ in range(2)]
        with monkeypatch.context() as here:
            for name, value in environment.items():
                here.setenv(name, value)
            here.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
            here.setattr(sys, "stdout", streams[0])
            here.setattr(sys, "stderr", streams[1])
            code = run([str(argument) for argument in arguments])
        return Ran(code, *(stream.text() for stream in streams))

    return call
