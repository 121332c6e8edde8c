"""Reading block by block gives what reading a file as a whole gives: the text, what was changed,
and the error.

Tests `text.file_kinds`, too.
"""

import bz2
import codecs
import gzip
import io
import lzma
import pickle
import re
import zipfile

import numpy as np
import pytest
from hand_built import vocab_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.errors import DataError, TextChangedError, TooLargeError, named
from charrnn.text import id_builder
from charrnn.text import text_files as files
from charrnn.text.id_builder import IdBuilder
from charrnn.text.text_files import Reading, Tally, clean_blocks, file_blocks
from charrnn.text.vocab import Vocab

PARTS = (
    b"a",
    b"plain text\n",
    b"\r",
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf",
    "é".encode(),
    "Лев ".encode(),
    "戦争".encode(),
    "\U0001f600".encode(),
    b"\0",
    b"\xe9",
    b"\xff\xfe",
    b"\xfe\xff",
    b"+2AA-",
    b"+AOk-",
    "テキスト".encode("shift-jis"),
    b"\xed\xa0\x80",
    b"\x1b$B",
    "Ein Büchlein\r\n".encode("utf-16"),
    "é\r\n".encode("utf-16-le"),
)
ENCODINGS = (
    "utf-8",
    "UTF8",
    "latin-1",
    "cp1252",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "utf-7",
    "shift-jis",
)
ENCODINGS += ("iso2022_jp", "koi8-r")


def read(data, encoding, block):
    """Text, tally and error."""
    tally = Tally()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK_BYTES", block)
        try:
            return (
                b"".join(clean_blocks("it", io.BytesIO(data), Reading(encoding=encoding), tally)),
                tally,
                "",
            )
        except DataError as error:
            return None, None, str(error)


@given(
    st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join),
    st.sampled_from((*ENCODINGS, None)),
    st.integers(4, 40),
)
@settings(max_examples=120)
@example(b"abc\r\ndefg\r", "utf-8", 4)
@example(b"\xef\xbb\xbf\r\n\r", "utf-8", 4)
@example("\ufeffa\r\n".encode("utf-16-le"), "utf-16-le", 4)
@example("ab\r\n".encode("utf-16")[:-1], "utf-16", 4)
@example(b"abcdef\xe4\xb8", "utf-8", 4)
@example(b"abc\xff\xff\0\0\0\0", "utf-8", 4)
@example(b"\xff\xfe\0\0\xff", "utf-8", 4)
@example(b"abcd\r", None, 4)
def test_blocks_of_any_size_give_the_whole_text(data, encoding, block):
    text, tally, fault = read(data, encoding, block)
    whole, whole_tally, whole_fault = read(data, encoding, 1 << 20)
    assert (text, tally, bool(fault)) == (whole, whole_tally, bool(whole_fault)), (
        fault,
        whole_fault,
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.integers(1, 9), min_size=1),
    st.integers(8, 30),
)
@example("é" * 9 + "\0" + "a" * 30, [1], 8)
@example("".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 2, [5], 8)
def test_ids_do_not_depend_on_how_a_text_is_cut(text, lengths, block):
    builder, at, number = IdBuilder("char"), 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_builder, "BLOCK_BYTES", block)
        while at < len(text):
            size = lengths[number % len(lengths)]
            builder.add(text[at : at + size].encode())
            at, number = at + size, number + 1
        counted = builder.counts()
        assert sorted(counted.code_points.tolist()) == sorted(set(map(ord, text)))
        assert counted.num_chars == len(text)
        if not text:
            return
        vocab = vocab_of(text, max_size=5)
        assert vocab == Vocab.from_counts(counted, max_size=5)
        found = [*builder.encode(vocab)]
    ids = np.concatenate([block for block, _ in found])
    unknown = np.concatenate([missing for _, missing in found])
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, vocab.encode(text))
    assert unknown.tolist() == [
        (at, ord(one)) for at, one in enumerate(text) if one not in vocab.characters
    ]
    exact = vocab_of("ab", is_exact=True)
    if missing := sorted(set(text) - {*"ab"}):
        with pytest.raises(DataError, match=re.escape(f"neither {missing[0]!r}")):
            next(builder.encode(exact))


def test_a_text_of_an_eighth_of_the_memory_is_too_large(monkeypatch):
    monkeypatch.setattr(files, "memory_bytes", lambda: 160_000_000)
    files.check_memory("a.txt", 20_000_000)
    with pytest.raises(TooLargeError, match="take fewer files, or a part of one"):
        files.check_memory("a.txt", 20_000_001)


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("first line\n" * 9)
    blocks = file_blocks(path, Reading(encoding="utf-8"), Tally(), needs_regular=False)
    next(blocks)
    with path.open("a") as file:
        file.write("second line\n")
    with pytest.raises(
        TextChangedError, match=r"log\.txt changed while it was read: wait until it is written"
    ):
        b"".join(blocks)


def in_zip(*names):
    """A ZIP archive with files of these names."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            name, _, content = name.partition("=")
            file.writestr(name, content)
    return archive.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    "data, kind, way",
    [
        (b"%PDF-1.4\n", "a PDF file", "pdftotext"),
        (in_zip("[Content_Types].xml", "word/document.xml"), "a Word document", "clean"),
        (
            in_zip("mimetype=application/vnd.oasis.opendocument.text"),
            "an OpenDocument file",
            "clean",
        ),
        (in_zip("META-INF/container.xml", "mimetype=application/epub+zip"), "an e-book", "clean"),
        (in_zip("ppt/presentation.xml"), "slides", "clean"),
        (in_zip("Index/Document.iwa"), "a document of Pages, Numbers or Keynote", "plain text"),
        (in_zip("[Content_Types].xml", "xl/workbook.xml"), "a spreadsheet", "CSV"),
        (in_zip("mimetype=application/vnd.oasis.opendocument.spreadsheet"), "a spreadsheet", "CSV"),
        (in_zip("a.txt=word"), "a ZIP archive", "unzip"),
        (in_zip("sword/a.txt"), "a ZIP archive", "unzip"),
        (in_zip(), "a ZIP archive", "unzip"),
        (in_zip("config.yaml"), "an exported model", "charrnn sample"),
        (rb"{\rtf1\ansi}", "an RTF document", "clean"),
        (OLE + bytes(99) + "EncryptionInfo".encode("utf-16-le"), "protected by a password", "one"),
        (OLE + b"\0", "an old Microsoft Office", "libreoffice"),
        (bz2.compress(b"a"), "compressed by bzip2", "bunzip2"),
        (lzma.compress(b"a"), "compressed by xz", "unxz"),
        (b"\x28\xb5\x2f\xfd\x04", "compressed by zstd", "unzstd"),
        (gzip.compress(b"a"), "compressed by gzip", r"\.gz"),
        (b"\xff\xd8\xff\xe0", "a picture", "tesseract"),
        (b"PAR1\x15\0", "a Parquet file", "read_parquet"),
        (b"\r\n%PDF-1.7\n", "a PDF file", "pdftotext"),
        (b"RIFF\0\1\2\3WAVEfmt ", "a recording", "speech"),
        (b"ID3\4\0\0", "a recording", "speech"),
        (b'\x48\0\0\0\0\0\0\0{"a": {}}', "data of another program", "that program"),
        (pickle.dumps(["a"]), "data of another program", "that program"),
        (b"a.txt".ljust(257, b"\0") + b"ustar\0", "a tar archive", "tar -xf"),
        (
            b'{\n "cells": [\n  {\n   "cell_type": "code"}], "nbformat": 4}',
            "a Jupyter notebook",
            "clean",
        ),
        (b'{"nbformat_minor": 5, "nbformat": 4, "cells": []}', "a Jupyter notebook", "clean"),
    ],
    ids=lambda value: value if isinstance(value, str) else "of",
)
def test_a_file_that_is_no_plain_text_is_refused_with_the_way_to_its_text(data, kind, way):
    with pytest.raises(
        DataError, match=f"it is .*{kind}, not a plain text: get its text by.*{way}"
    ):
        b"".join(clean_blocks("it", io.BytesIO(data), Reading(encoding="utf-8"), Tally()))
    assert b"".join(clean_blocks("it", io.BytesIO(data), Reading(encoding=None), Tally())) == data


@pytest.mark.parametrize(
    "text",
    ["BZhang and PAR1 %PDF-", '{"cells": []}', "From the sea: rain", "GGUF is", "ID3 tags, BM"],
)
def test_a_text_that_begins_like_such_a_file_is_read(text):
    assert read(text.encode(), "utf-8", 99)[0] == text.encode()


@pytest.mark.parametrize(
    "text, encoding, wider",
    [("(①)", "shift-jis", "cp932"), ("朱镕基", "gb2312", "gb18030"), ("똠", "euc-kr", "cp949")],
)
def test_an_encoding_that_is_called_by_a_narrower_name_is_refused(text, encoding, wider):
    data = text.encode(wider)
    name = codecs.lookup(encoding).name
    assert f"is not {name} at byte offset" in read(data, encoding, 99)[2]
    assert read(data, wider, 99)[0] == text.encode()


def test_text_in_wide_characters_without_a_mark_needs_its_encoding():
    data = "The lamp.\n".encode("utf-16-le")
    assert named("encoding", "utf-16-le") in read(data, "utf-8", 99)[2]
    assert read(data, "utf-16-le", 99)[0] == b"The lamp.\n"
    assert "not text" in read(b"\x7fELF" + b"\2\0\0\0" * 99, "utf-8", 99)[2]


@pytest.mark.parametrize(
    "encoding, text, word",
    [
        ("koi8_r", "Лампа у реки горит. ", "Лампа"),
        ("cp1251", "Весной на реке сошёл лёд, и мост стоял над водой. ", "Весной"),
        ("cp932", "河の音が聞こえる。猫は眠っている。\n", "河の音"),
        ("gb18030", "他是一个很好的人，河水流过。\n", "他是一个"),
        ("iso8859_2", "Gdy wieczorem wracali do domu, nad rzeką leżała mgła.\n", "rzeką"),
        ("cp1254", "Güneşli bir günde çocuklar şarkı söylüyordu.\n", "Güneşli"),
        ("cp1252", "Sie sagte: „Grüße aus Köln – für dich.“\n", "Grüße"),
    ],
)
def test_the_encodings_in_which_a_text_makes_words_are_named_with_a_word(encoding, text, word):
    problem = read((text * 30).encode(encoding), "utf-8", 99_999)[2]
    made = re.findall(r"`encoding=(\w+)` makes '([^']*)'", problem)
    assert 1 <= len(made) <= 4
    assert any((text * 30).encode(encoding).decode(name) == text * 30 for name, _ in made)
    assert any(shown in text for _, shown in made)


def test_an_escape_of_japanese_mail_is_refused_by_its_name():
    assert "iso2022_jp" in read("河の音".encode("iso2022_jp"), "utf-8", 99)[2]
    assert read("河の音".encode("iso2022_jp"), "iso2022_jp", 99)[0].decode() == "河の音"


@pytest.mark.parametrize(
    "data, encoding, text, num_cut",
    [
        ("Лев".encode()[:-1], "utf-8", "Ле", 1),
        (b"caf\xc3", "utf-8", "caf", 1),
        ("a戦".encode()[:-1], "utf-8", "a", 2),
        ("戦争".encode("shift-jis")[:-1], "shift-jis", "戦", 1),
        ("ab".encode("utf-16-le")[:-1], "utf-16-le", "a", 1),
    ],
)
def test_a_character_that_is_cut_at_the_end_is_left_out(data, encoding, text, num_cut):
    found, tally, _ = read(data, encoding, 99)
    assert (found.decode(), tally.changes[files.CUT]) == (text, num_cut)


def test_a_small_letter_of_latin_1_at_the_end_is_no_cut_character():
    assert "is not UTF-8 at byte offset 3" in read(b"caf\xe9", "utf-8", 99)[2]
