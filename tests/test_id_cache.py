"""Ids of large texts: the same as in memory, committed whole, verified, rebuilt when damaged, removed by age."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.text import corpus as corpus_module
from charrnn.text import id_builder
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.id_cache import release_pages
from charrnn.text.lanes import Lanes
from charrnn.text.vocab import Vocab

SENTENCE = "Ein Büchlein für Лев: 'it was the best of times'.\n"
TEXT = SENTENCE * 400 + "zß"  # two characters that are too rare


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, beside an empty cache for every text of more than 1,000 bytes."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHARRNN_CACHE_GB", raising=False)
    monkeypatch.setattr(corpus_module, "MAX_BYTES_IN_MEMORY", 1_000)
    return tmp_path / "cache"


def write(name: str, content: str | bytes = TEXT) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def in_memory(sources: list[str], **options: Any) -> Corpus:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "MAX_BYTES_IN_MEMORY", 1 << 40)
        return read_corpus(sources, **options)


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("*") if path.is_dir())


def assert_same(found: Corpus, expected: Corpus) -> None:
    assert found.vocab == expected.vocab and found.digest == expected.digest and found.notes == expected.notes
    assert found.ids.dtype == expected.ids.dtype and np.array_equal(found.ids, expected.ids)
    assert found.unknown.tolist() == expected.unknown.tolist()
    assert found.content == expected.content and found.num_bytes() == expected.num_bytes()


WAYS: dict[str, Callable[[], tuple[list[str], dict[str, Any]]]] = {
    "file": lambda: ([write("a.txt")], {}),
    "ascii": lambda: ([write("a.txt", "It was the best of times.\n" * 200)], {}),
    "gzip": lambda: ([write("a.txt.gz", gzip.compress(TEXT.encode()))], {}),
    "latin-1": lambda: ([write("a.txt", ("Büchlein\r\n" * 300).encode("latin-1"))], {"encoding": "latin-1"}),
    "bytes": lambda: ([write("a.bin", bytes(range(256)) * 9)], {"alphabet": "byte"}),
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
            lanes, like = (Lanes(one.ids, num_lanes).window(len(one) - 9, 40) for one in (found, expected))
            assert np.array_equal(lanes, like)
    assert len(entries(cache)) == (0 if way == "bytes" else 1)
    release_pages(found.ids)
    assert np.array_equal(found.ids, expected.ids), "its pages are read again"
