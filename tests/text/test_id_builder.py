"""Ids of large texts: the same as in memory, mapped from temporary files; texts that do not fit are
refused.

Tests `text.reader`, too.
"""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hand_built import vocab_of
from read_texts import read_corpus

from charrnn.errors import DataError
from charrnn.text import id_builder
from charrnn.text import text_files as files
from charrnn.text.batches import BatchRows, release_pages

SENTENCE = "Ein Büchlein für Лев: 'it was the best of times'.\n"
TEXT = SENTENCE * 400 + "zß"
"""A text with two characters that are too rare for a vocabulary."""


@pytest.fixture(autouse=True)
def few_bytes_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(id_builder, "MAX_BYTES_IN_MEMORY", 1_000)
    monkeypatch.setattr(id_builder, "BLOCK_BYTES", 700)


def write(name, content=TEXT):
    """Write a file below the working folder; return its name."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


BOOK = {"a": "\ufeffno newline at the end\r\n" + TEXT, "b": TEXT.encode() + b"\xff"}
WAYS = {
    "gzip": lambda: ([write("a.txt.gz", gzip.compress(TEXT.encode()))], {}),
    "two files of bytes": lambda: (
        [write("a.bin", TEXT), write("b.bin", b"\0" * 99)],
        {"alphabet": "byte"},
    ),
    "known vocabulary": lambda: (
        [write("a.txt")],
        {"vocab": vocab_of("Ein Büchlein\n"), "extend_alphabet": False},
    ),
    "wide ids": lambda: (
        [write("a.txt", "".join(map(chr, range(0x4E00, 0x4E00 + 700))) * 3 + "plain\n" * 400)],
        {},
    ),
    "folder": lambda: (
        [*{os.path.dirname(write(f"book/{name}.txt", text)) for name, text in BOOK.items()}],
        {},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_large_text_has_the_ids_it_has_in_memory(way):
    sources, options = WAYS[way]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_builder, "MAX_BYTES_IN_MEMORY", 1 << 40)
        expected = read_corpus(sources, **options)
    found = read_corpus(sources, **options)
    assert isinstance(found.ids, np.memmap)
    assert not isinstance(expected.ids, np.memmap)
    assert found.vocab == expected.vocab
    assert found.digest == expected.digest
    assert found.notes == expected.notes
    assert found.ids.dtype == expected.ids.dtype
    assert np.array_equal(found.ids, expected.ids)
    assert found.unknown.tolist() == expected.unknown.tolist()
    assert found.content == expected.content
    assert found.num_bytes(0, len(found)) == expected.num_bytes(0, len(expected))
    window = BatchRows(found.ids, 7).window(len(found) - 9, 40)
    assert np.array_equal(window, BatchRows(expected.ids, 7).window(len(found) - 9, 40))
    release_pages(found.ids)
    assert np.array_equal(found.ids, expected.ids), "its pages are read again"


def test_any_part_of_a_text_is_decoded_exactly_and_measured():
    content = TEXT + "\x80\u07ff\u0800\uffff\U0001f600 end"
    found = read_corpus([write("a.txt", content)], vocab=vocab_of(SENTENCE), extend_alphabet=False)
    for begin, end in ((0, None), (3, 90), (-4, None), (50, 20), (19_990, 10**9)):
        part = content[begin:end]
        assert found.text(begin, end) == part
    assert found.num_bytes(3, 90) == len(content[3:90].encode())


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a device without end")
def test_a_text_without_end_does_not_fill_the_disk(monkeypatch):
    monkeypatch.setattr(files, "memory_bytes", lambda: 800_000)
    with pytest.raises(DataError, match=r"more than 0\.0 GB of text"):
        read_corpus(["/dev/zero"], alphabet="byte")
    # The size of a file is known and meant.
    read_corpus([write("a.txt", TEXT * 10), write("empty/b.txt", "c")])
