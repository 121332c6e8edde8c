"""Ctrl-C before a command handles its signals: the process ends, without a traceback."""

import signal
import subprocess
import sys

import pytest
from environment import clean_environment, python_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="another number of a signal's end")

INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
"""What a module of Python does instead of what it is for: Ctrl-C arrives while it is imported."""


def _end(folder, *arguments):
    """Start Python where Ctrl-C arrives in one of the first imports of the package."""
    (folder / "dataclasses.py").write_text(INTERRUPTED, encoding="utf-8")
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean_environment(PYTHONPATH=python_path(folder)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "from charrnn_start import main; main()"),  # as its script does
        ("-m", "charrnn"),
    ],
    ids=" ".join,
)
def test_ctrl_c_while_the_program_is_imported(tmp_path, arguments):
    ended = _end(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def _printed(program):
    """Return what a program prints."""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def test_another_program_keeps_its_signals():
    """Importing the package leaves Ctrl-C to the program that imports it."""
    program = "import charrnn, signal\nprint(signal.getsignal(2) is signal.default_int_handler)"
    assert _printed(program) == "True\n"


def test_a_background_job_ignores_ctrl_c():
    """A shell starts a job in the background, and `nohup`, with Ctrl-C ignored."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import charrnn_start; charrnn_start.end_at_interrupt()\n"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    assert _printed(program) == "True\n"
