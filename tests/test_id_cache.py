"""Ids of large texts: the same as in memory, committed whole, verified, rebuilt when damaged, removed by age."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL_RUN
from large_texts import SENTENCE, TEXT, assert_same, entries, in_memory, use_cache, write

import charrnn
from charrnn.config import Config
from charrnn.errors import TextChangedError, TooLargeError
from charrnn.progress import CallbackProgress, Task, using
from charrnn.text import files, id_builder, id_cache, source_reader
from charrnn.text.batches import BatchRows, release_pages
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.id_cache import IdCache
from charrnn.text.vocab import Vocab


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_cache(tmp_path, monkeypatch)


WAYS: dict[str, Callable[[], tuple[list[str], dict[str, Any]]]] = {
    "file": lambda: ([write("a.txt")], {}),
    "gzip": lambda: ([write("a.txt.gz", gzip.compress(TEXT.encode()))], {}),
    "two files of bytes": lambda: ([write("a.bin"), write("b.bin", b"\0" * 99)], {"alphabet": "byte"}),
    "known vocabulary": lambda: ([write("a.txt")], {"vocab": Vocab.from_text("Ein Büchlein\n")}),
    "wide ids": lambda: ([write("a.txt", "".join(map(chr, range(0x4E00, 0x4E00 + 700))) * 3 + "plain\n" * 400)], {}),
    "many characters": lambda: (
        [write("a.txt", SENTENCE * 30 + "".join(map(chr, range(0x4E00, 0x4E00 + 5_000))) + "\U0001f600" * 9)],
        {"vocab": Vocab.from_text(SENTENCE)},
    ),
    "folder": lambda: (
        [
            os.path.dirname(write("book/a.txt", "\ufeffno newline at the end\r\n" + TEXT)),
            os.path.dirname(write("more/b.txt", TEXT.encode() + b"\xff")),
        ][:1],
        {},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_large_text_has_the_ids_it_has_in_memory(way: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_builder, "BLOCK_BYTES", 700)
    sources, options = WAYS[way]()
    expected = in_memory(sources, **options)
    assert not isinstance(expected.ids, np.memmap) and not cache.exists()
    for _ in range(2):
        found = read_corpus(sources, **options)
        assert isinstance(found.ids, np.memmap)
        assert_same(found, expected)
        for num_lanes in (1, 7):
            lanes, like = (BatchRows(one.ids, num_lanes).window(len(one) - 9, 40) for one in (found, expected))
            assert np.array_equal(lanes, like)
    assert len(entries(cache)) == 1
    release_pages(found.ids)
    assert np.array_equal(found.ids, expected.ids), "its pages are read again"


def test_an_unchanged_text_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.txt")
    first = read_corpus([path])
    with monkeypatch.context() as patch:
        patch.setattr("charrnn.text.source_reader.file_blocks", lambda *_, **__: pytest.fail("reads it"))
        assert_same(read_corpus([path]), first)
        write("a.txt.new", TEXT.replace("best", "next"))
        os.replace("a.txt.new", path)
        with pytest.raises(pytest.fail.Exception):
            read_corpus([path])
    assert read_corpus([path]).content == TEXT.replace("best", "next")


def damage(entry: Path, how: str) -> None:
    """Damage an entry as a disk, a person or another program could."""
    data = bytearray(entry.read_bytes())
    header, ids = json.loads(data[: id_cache.HEADER_BYTES].rstrip(b"\0").partition(b"\n")[2]), id_cache.HEADER_BYTES
    if how == "link":
        entry.rename(entry.parent / "elsewhere")
        entry.symlink_to(entry.parent / "elsewhere")
    elif how == "folder":
        entry.unlink()
        entry.mkdir()
    elif how == "cut":
        os.truncate(entry, len(data) - 1)
    elif how.startswith("one bit"):
        data[{"ids": len(data) // 2, "header": 80, "unknown": len(data) - 3}[how.split()[-1]]] ^= 1
        entry.write_bytes(data)
    else:
        if how == "ids beyond the alphabet":
            data[ids] = 255
            header["sha256"] = hashlib.sha256(data[ids:]).hexdigest()
        else:
            header[how] = "0" * 64 if isinstance(header[how], str) else 1
        data[:ids] = id_cache._sealed(header).ljust(ids, b"\0")
        entry.write_bytes(data)


HOW = (
    *("one bit of the ids", "one bit of the header", "one bit of the unknown", "cut", "link", "folder"),
    *("ids beyond the alphabet", "format", "name", "num_ids", "sha256"),
)


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_or_foreign_entry_is_built_again(how: str, cache: Path) -> None:
    path = write("a.txt")
    expected = in_memory([path])
    read_corpus([path])
    (entry,) = entries(cache)
    damage(entry, how)
    assert IdCache().open(expected.digest, expected.vocab) is None
    assert_same(read_corpus([path]), expected)
    assert [entry] == entries(cache)
    assert IdCache().open(expected.digest, expected.vocab) is not None


def test_a_damaged_record_of_a_source_is_not_believed(cache: Path) -> None:
    path = write("a.txt")
    expected = read_corpus([path])
    (record,) = cache.glob("sources-*.json")
    whole = record.read_bytes()
    for damaged in (whole[:-9], whole.replace(b"1", b"2"), b"{}\n"):
        record.write_bytes(damaged)
        assert_same(read_corpus([path]), expected)


def test_a_text_that_changes_while_it_is_read_is_refused(cache: Path) -> None:
    sources = [write("a.txt"), write("b.txt", TEXT * 2)]

    def append(reading: Task) -> None:
        if reading.done > 2 * len(TEXT):
            Path("a.txt").write_text("another text")

    changed = "the 2 sources together changed while it was read: wait until"
    with pytest.raises(TextChangedError, match=changed), using(CallbackProgress(append)):
        read_corpus(sources)
    assert entries(cache) == [] and [*cache.glob("sources-*")] == []


def test_what_was_not_used_for_longest_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str) -> tuple[Corpus, Path]:
        before = {*entries(cache)}
        corpus = read_corpus([write(name, f"{name} {TEXT}")])
        return corpus, next(iter({*entries(cache)} - before), cache)

    (mapped, oldest), (_, old), (_, recent) = read("a.txt"), read("b.txt"), read("c.txt")
    for hours, entry in ((3, oldest), (2, old), (1, recent)):
        os.utime(entry, (0, entry.stat().st_mtime - 3600 * hours))
    monkeypatch.setenv("CHARRNN_CACHE_GB", str((3 * len(TEXT) + 3 * 5_000) / 1e9))
    _, new = read("d.txt")
    assert {*entries(cache)} == {old, recent, new}
    if sys.platform != "win32":
        assert mapped.text(0, 5) == "a.txt", "what is mapped remains readable"
    read_corpus(["b.txt"])  # is used now
    _, newest = read("e.txt")
    assert {*entries(cache)} == {old, new, newest}


def test_nothing_but_its_own_files_is_removed_from_a_folder_that_was_in_use_before(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str) -> Path:
        path = cache / write(f"{cache}/{name}", "thesis")
        os.utime(path, (0, 0))
        return path

    key = "0" * 32
    own = [make(name) for name in (f"{key}.ids", f".{key}.ids.tmp-7", f"{key}/entry.json")]
    foreign = [make(f) for f in (".config", ".notes.tmp-7", "thesis.ids", f"{'x' * 32}/entry.json", f"{'1' * 32}/a")]
    monkeypatch.setenv("CHARRNN_CACHE_GB", "1e-9")
    read_corpus([write("a.txt")])
    assert not any(path.exists() for path in own) and all(path.exists() for path in foreign)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a device without end")
def test_a_text_without_end_does_not_fill_the_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_CACHE_GB", "0.0001")
    monkeypatch.setattr(files, "_BLOCK_BYTES", 50_000)
    monkeypatch.setattr(id_builder, "BLOCK_BYTES", 50_000)
    bomb = write("bomb.txt.gz", gzip.compress(TEXT.encode() * 100))
    for source, alphabet in (("/dev/zero", "byte"), (bomb, "char")):
        with pytest.raises(TooLargeError, match=r"more than 0\.0001 GB of text.*\n.*CHARRNN_CACHE_GB"):
            read_corpus([source], alphabet=alphabet)
        assert entries(cache) == []
    read_corpus([write("a.txt", TEXT * 100)])  # The size of a plain file is known and meant.


def test_a_cache_that_is_read_only_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_corpus([write("a.txt")])

    def refuse(path: object, *rest: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    real_open = Path.open

    def read_only(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if cache in path.parents and set(mode) & set("+wax"):
            refuse(path)
        return real_open(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", read_only)
    for name in ("replace", "utime", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    assert_same(read_corpus(["a.txt"]), expected)
    assert len(entries(cache)) == 1


def test_the_cache_is_its_users_alone(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_corpus([write("a.txt")])
    (entry,) = entries(cache)
    assert cache.stat().st_mode & 0o077 == 0 and entry.stat().st_mode & 0o077 == 0
    monkeypatch.delenv("CHARRNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert id_cache.cache_folder() == tmp_path / "user" / "charrnn" / "ids"


@pytest.mark.trained
def test_a_large_text_is_trained_on_and_resumed_as_in_memory(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(**{**SMALL_RUN, "corpus": (write("a.txt"),), "steps": 4, "evaluate_every": 2, "threads": 1})
    for run in ("mapped", "whole"):
        list(charrnn.train(config, out=Path(run)))
        list(charrnn.resume(run, {"steps": 6}))
        if run == "mapped":
            assert len(entries(cache)) == 1, "the resumed run found the entry of the first"
            monkeypatch.setattr(source_reader, "MAX_BYTES_IN_MEMORY", 1 << 40)
    for step in ("step-00000004", "step-00000006"):
        mapped, whole = (Path(run, step, "model.safetensors") for run in ("mapped", "whole"))
        assert mapped.read_bytes() == whole.read_bytes()
