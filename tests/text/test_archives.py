"""Large and hostile files of every kind: what is skipped is not read, and what is read of a document
is limited."""

import gzip
import io
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from read_texts import read_corpus

from charrnn.errors import DataError
from charrnn.text import archives
from charrnn.text.json_chats import messages_of_json

pytestmark = pytest.mark.usefixtures("here")

LIMIT = 1 << 16
"""The limit of the tests."""
GROWTHS = (8, 32)
"""How many times as large as the limit a file is, in its hostile part."""
FILES = {
    "zeros in a picture": ("docx", {"word/document.xml": "<w/>", "word/media/a.png": None}),
    "zeros in an unknown part": ("docx", {"word/document.xml": "<w/>", "word/a.bin": None}),
    "a part of text": ("docx", {"word/document.xml": None}),
    "parts of text": (
        "epub",
        {"mimetype": "application/epub+zip", "META-INF/container.xml": "", "a.xhtml": None},
    ),
    "an archive": ("zip", {"a.txt": None, "b.txt": None}),
    "a spreadsheet": ("xlsx", {"xl/a.xml": None}),
    "a page": ("html", "<!DOCTYPE html><p>"),
    "a page of line ends": ("html", "<!DOCTYPE html>\n"),
    "rich text": ("rtf", "{\\rtf1 "),
    "a notebook": ("ipynb", '{"nbformat": 4, "cells": ["'),
}
"""Files by their kind: the parts of an archive, of which None grows, or what a text begins with."""


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    """Lower the limits, and let pandoc be missing: nothing that is too large gets so far."""
    monkeypatch.setattr(archives, "MAX_UNPACKED", LIMIT)
    monkeypatch.setattr(archives, "LARGEST_UNKNOWN", LIMIT // 4)
    monkeypatch.setitem(sys.modules, "pypandoc", None)


def in_zip(parts, num_bytes):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, b"\0" * num_bytes if content is None else content)
    return archive.getvalue()


def write(kind, num_bytes):
    """Write a file of a kind with a hostile part of this size; return its name."""
    suffix, content = FILES[kind]
    name = f"a.{suffix}"
    if isinstance(content, dict):
        Path(name).write_bytes(in_zip(content, num_bytes))
    else:
        filling = "\n" if content.endswith("\n") else "a"
        Path(name).write_text(content + filling * num_bytes)
    return name


def peak_of(function):
    """The memory that a function takes, and the error that it ends with."""
    tracemalloc.start()
    try:
        with pytest.raises(Exception) as error:
            function()
        return tracemalloc.get_traced_memory()[1], str(error.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", FILES)
def test_memory_does_not_grow_with_a_hostile_file(kind):
    peaks = []
    for growth in GROWTHS:
        name = write(kind, growth * LIMIT)
        peak, error = peak_of(lambda name=name: read_corpus([name]))
        assert name in error
        peaks.append(peak)
    # A text is decoded in pieces, of which one is in memory.
    size = (GROWTHS[1] - GROWTHS[0]) * LIMIT
    most = LIMIT
    if not isinstance(FILES[kind][1], dict):
        most = 12 * size
    assert peaks[1] - peaks[0] < most


def test_what_is_too_large_is_named_with_the_remedy():
    for kind in ("a part of text", "parts of text", "a page", "rich text"):
        name = write(kind, 8 * LIMIT)
        with pytest.raises(DataError, match=f"{name} is a document of more than .* plain text"):
            read_corpus([name])


def test_of_an_archive_that_is_skipped_the_list_of_files_alone_is_read(monkeypatch):
    read = []

    class Watched(archives._Limited):
        def read(self, size=-1, /):
            read.append(size)
            return super().read(size)

    monkeypatch.setattr(archives, "_Limited", Watched)
    content = b"".join(bytes([byte]) * 997 for byte in range(256))
    with zipfile.ZipFile("big.zip", "w") as archive:
        archive.writestr("a.bin", content * 4)
    with pytest.raises(DataError, match="unzip FILE"):
        read_corpus(["big.zip"])
    assert 0 < sum(read) < 70_000 < len(content)


def test_a_list_of_files_that_is_too_long_is_not_read(monkeypatch):
    monkeypatch.setattr(archives, "MAX_LIST", 10_000)
    Path("a.zip").write_bytes(in_zip({f"word/{number}.xml": "" for number in range(900)}, 0))
    with Path("a.zip").open("rb") as file:
        assert archives.names_in(file) == b""


def test_an_archive_that_is_compressed_again_is_unpacked_up_to_the_limit():
    packed = gzip.compress(in_zip({"a.bin": None}, 0) + b"\0" * 100 * LIMIT)
    Path("a.docx.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"a\.docx\.gz is a document of more than"):
        read_corpus(["a.docx.gz"])


def test_a_text_that_begins_like_an_archive_is_a_text():
    Path("a.txt").write_text("PK is short for many things.\n")
    assert str(read_corpus(["a.txt"]).content).startswith("PK is")


def test_json_that_is_too_deep_to_walk_through_is_no_chat(monkeypatch):
    """A later Python parses what its own functions cannot follow."""

    def too_deep(data):
        raise RecursionError

    monkeypatch.setattr("charrnn.text.json_chats._chats_in", too_deep)
    assert messages_of_json('[{"from": "Ana", "text": "one", "date": "2026"}]', {}) is None
