"""The cache of ids on a full disk, and after a process was killed: nothing half-written is ever used."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from faulty_disk import Killed, faulty_disk
from large_texts import TEXT, assert_same, in_memory, use_cache, write

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
    assert num_errors > 5
