"""The lock on a run: refused while another process has it, free after that process ended in any way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from saved_runs import make_run

from charrnn.errors import RunInUseError
from charrnn.runs.writer import RunWriter


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


HOLDER = (
    "import sys, time; from pathlib import Path; from charrnn.runs.writer import RunWriter\n"
    "with RunWriter(Path(sys.argv[1])).lock():\n"
    "    print('held', flush=True); time.sleep(15)\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX word")
def test_lock_is_refused_while_held_and_free_after_kill_9(run: RunWriter) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = (run.path / "lock").stat()
        started = time.monotonic()
        with pytest.raises(RunInUseError, match=f"in use by process {holder.pid}") as caught, run.lock():
            pass
        assert time.monotonic() - started < 1
        assert str(run.path) in str(caught.value)
        after = (run.path / "lock").stat()
        assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=600)
    with run.lock():
        assert (run.path / "lock").read_text() == str(os.getpid())


def test_lock_can_be_taken_again_and_lets_errors_of_its_block_through(run: RunWriter) -> None:
    with pytest.raises(FileNotFoundError), run.lock():
        raise FileNotFoundError("not about the lock")
    with run.lock(), pytest.raises(RunInUseError), run.lock():
        pass


# In a process of its own, since forking this one, with the threads of other tests, is not safe.
