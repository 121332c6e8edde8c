"""Texts that are large enough for the cache of ids, because its threshold is low; and what to compare of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.text import source_reader
from charrnn.text.corpus import Corpus, read_corpus

SENTENCE = "Ein Büchlein für Лев: 'it was the best of times'.\n"
TEXT = SENTENCE * 400 + "zß"
"""A text with two characters that are too rare for a vocabulary."""


def use_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder; use an empty cache, which is returned, for every text of more than 1,000 bytes."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHARRNN_CACHE_GB", raising=False)
    monkeypatch.setattr(source_reader, "MAX_BYTES_IN_MEMORY", 1_000)
    return tmp_path / "cache"


def write(name: str, content: str | bytes = TEXT) -> str:
    """Write a file below the working folder; return its name."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def in_memory(sources: list[str], **options: Any) -> Corpus:
    """Read a corpus as one that is small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_reader, "MAX_BYTES_IN_MEMORY", 1 << 40)
        return read_corpus(sources, **options)


def entries(cache: Path) -> list[Path]:
    """List the entries of the cache."""
    return sorted(cache.glob("*.ids"))


def assert_same(found: Corpus, expected: Corpus) -> None:
    """Compare what two ways of reading have found."""
    assert found.vocab == expected.vocab and found.digest == expected.digest and found.notes == expected.notes
    assert found.ids.dtype == expected.ids.dtype and np.array_equal(found.ids, expected.ids)
    assert found.unknown.tolist() == expected.unknown.tolist()
    assert found.content == expected.content and found.num_bytes() == expected.num_bytes()
