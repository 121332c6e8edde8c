"""The cache of ids on a full disk, and after a process was killed: nothing half-written is ever used."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from environment import clean_environment
from faulty_disk import Killed, faulty_disk
from large_texts import TEXT, assert_same, entries, in_memory, use_cache, write

from charrnn.errors import CharRNNError
from charrnn.text import id_builder
from charrnn.text.corpus import read_corpus

NUM_BYTES = len(TEXT.encode())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_cache(tmp_path, monkeypatch)


def test_whichever_operation_of_the_disk_fails_nothing_half_written_is_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_builder, "BLOCK_BYTES", 8_000)
    path = os.path.abspath(write("a.txt"))  # A relative name would count as one below the cache.
    expected = in_memory([path])
    with faulty_disk(cache) as disk:
        read_corpus([path])
    num_errors = 0
    for at in range(1, len(disk.seen) + 1):
        for fault in (lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Killed):
            shutil.rmtree(cache)
            try:
                with faulty_disk(cache, at, fault):
                    assert_same(read_corpus([path]), expected)
            except CharRNNError as error:
                num_errors += 1
                lines = str(error).splitlines()
                assert lines[0] == f"cannot write {cache}: No space left on device ({NUM_BYTES:,} bytes needed)"
                assert "CHARRNN_CACHE" in lines[1] and len(lines) == 2
            except Killed:
                pass
            assert_same(read_corpus([path]), expected)
            assert [one for one in cache.iterdir() if one.name.startswith(".") and one.is_dir()] == []
    assert num_errors > 5


KILLED = """
import os, signal, sys
from charrnn.text import corpus, id_builder
corpus.MAX_BYTES_IN_MEMORY, id_builder.BLOCK_BYTES = 1_000, 4_000
num_calls = 0
def on_progress(done, total):
    global num_calls
    num_calls += 1
    if num_calls == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
corpus.BLOCK_BYTES = 1
corpus.read_corpus(["a.txt", "b.txt"], on_progress=on_progress)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
@pytest.mark.parametrize("at", [2, 4], ids=["while reading", "while encoding"])
def test_a_process_that_is_killed_leaves_nothing_that_is_trusted(at: int, cache: Path) -> None:
    sources = [write("a.txt"), write("b.txt", TEXT * 2)]
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(at)], env={**clean_environment(), "CHARRNN_CACHE": str(cache)}
    )
    assert ran.returncode == -signal.SIGKILL
    (left,) = entries(cache)
    assert left.name.startswith(".new.tmp-")
    assert_same(read_corpus(sources), in_memory(sources))
    assert not left.exists() and len(entries(cache)) == 1
