"""Reading in pieces gives what reading a file as a whole gives, and what is no text is refused.

Tests `text.file_kinds`, too.
"""

import bz2
import gzip
import io
import lzma
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hand_built import vocab_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from read_texts import read_corpus

from charrnn.errors import DataError, TextChangedError, named
from charrnn.text import id_builder
from charrnn.text import text_files as files
from charrnn.text.file_kinds import pandoc_kind
from charrnn.text.id_builder import IdBuilder
from charrnn.text.text_files import opened
from charrnn.text.vocab import Vocab

pytestmark = pytest.mark.usefixtures("here")


def read(data, encoding, name="it"):
    """The text of a file, or the error."""
    Path(name).write_bytes(data)
    options = {"encoding": encoding or "utf-8", "alphabet": "char" if encoding else "byte"}
    try:
        return read_corpus([name], is_for_training=False, **options).content
    except DataError as error:
        return error


@given(st.text(st.sampled_from("ab\r\né戦😀"), max_size=40), st.integers(1, 9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("abc\r\ndefg\r", 4)
def test_pieces_of_any_size_give_the_whole_text(text, size):
    whole = "".join(pieces(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE_CHARS", size)
        assert "".join(pieces(text)) == whole
        assert "".join(pieces(text, None)) == text


def pieces(text, encoding="utf-8"):
    for _, piece in files.read_pieces("it", io.BytesIO(text.encode()), encoding, allows_nul=False):
        assert piece
        yield piece


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
            builder.add(text[at : at + size])
            at, number = at + size, number + 1
        counts = builder.counts()
        assert np.flatnonzero(counts).tolist() == sorted(set(map(ord, text)))
        assert counts.sum() == len(text)
        if not text:
            return
        vocab = vocab_of(text, max_size=5)
        assert vocab == Vocab.from_counts(counts, max_size=5)
        found = [*builder.encode(vocab, counts)]
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
            next(builder.encode(exact, counts))


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("first line\n" * 9)
    with pytest.raises(TextChangedError), opened(path), path.open("a") as file:
        file.write("second line\n")


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
        (
            in_zip("[Content_Types].xml", "word/document.xml"),
            "a Word document",
            "leaving `clean=false` out",
        ),
        (in_zip("Index/Document.iwa"), "a document of Pages, Numbers or Keynote", "plain text"),
        (in_zip("[Content_Types].xml", "xl/workbook.xml"), "a spreadsheet", "CSV"),
        (in_zip("mimetype=application/vnd.oasis.opendocument.spreadsheet"), "a spreadsheet", "CSV"),
        (in_zip("a.txt=word"), "a ZIP archive", "unzip"),
        (in_zip("sword/a.txt"), "a ZIP archive", "unzip"),
        (in_zip(), "a ZIP archive", "unzip"),
        (b"[InternetShortcut]\r\nURL=https://a.org", "a pointer", "export"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer", "fetch"),
        (in_zip("config.yaml"), "an exported model", "charrnn sample"),
        (OLE + bytes(99) + "EncryptionInfo".encode("utf-16-le"), "protected by a password", "one"),
        (OLE + b"\0", "an old Microsoft Office", "libreoffice"),
        (bz2.compress(b"a"), "an archive or a compressed file", "unpack"),
        (lzma.compress(b"a"), "an archive or a compressed file", "unpack"),
        (b"\x28\xb5\x2f\xfd\x04", "an archive or a compressed file", "unpack"),
        (gzip.compress(b"a"), "an archive or a compressed file", r"\.gz"),
        (b"\xff\xd8\xff\xe0", "a picture", "tesseract"),
        (b"PAR1\x15\0", "a table in Parquet", "pandas.read_parquet"),
        (b"SQLite format 3\0\x10\0", "a database of SQLite", "sqlite3 FILE 'select COLUMN"),
        (b"ARROW1\0\0", "data of another program", "that program"),
        (b"\r\n%PDF-1.7\n", "a PDF file", "pdftotext"),
        (b"RIFF\0\1\2\3WAVEfmt ", "a recording", "speech"),
        (b"ID3\4\0\0", "a recording", "speech"),
        (pickle.dumps(["a"]), "data of another program", "that program"),
        (b"a.txt".ljust(257, b"\0") + b"ustar\0", "an archive or a compressed file", "unpack"),
    ],
    ids=lambda value: value if isinstance(value, str) else "of",
)
def test_a_file_that_is_no_plain_text_is_refused_with_the_way_to_its_text(data, kind, way):
    Path("no").write_bytes(data)
    with pytest.raises(DataError, match=f"no is .*{kind}.*, not a plain text: get its text.*{way}"):
        read_corpus(["no"], clean=False)
    assert read(data, None, "no") == data


@pytest.mark.parametrize(
    "text",
    ["BZhang and PAR1 %PDF-", '{"cells": []}', "From the sea: rain", "GGUF is", "ID3 tags, BM"],
)
def test_a_text_that_begins_like_such_a_file_is_read(text):
    assert read(text.encode(), "utf-8") == text


def test_text_in_wide_characters_without_a_mark_needs_its_encoding():
    for text in ("The lamp.\n", "Die Glühbirne\n"):
        for encoding in ("utf-16-le", "utf-16-be"):
            data = text.encode(encoding)
            assert encoding in str(read(data, "utf-8"))
            assert read(data, encoding) == text
    assert "not text" in str(read(b"\x7fELF" + b"\2\0\0\0" * 99, "utf-8"))


def test_a_file_says_its_encoding_by_its_mark_or_by_being_utf_8():
    text = "Grüße\n"
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert read(text.encode(encoding), "utf-8") == text
    assert read(text.encode(), "cp1251") == text
    assert read(text.encode("cp1252"), "cp1252") == text


def test_the_candidates_for_a_text_are_in_the_order_in_which_they_make_words():
    for encoding, text in (
        ("cp1254", "Şimdi güneşin ışığı ağaçların üstüne düştü ve çocuklar dağa çıktı.\n"),
        ("cp1252", "Il était une fois une fille qui préférait l'été à l'hiver glacé.\n"),
        ("mac_roman", "She couldn’t go – “no”, he said, it’s the café…\n"),
        ("cp1250", "Łąka była zielona, a źródło czyste, mówiła dziewczyna z zamku.\n"),
    ):
        named_first = str(read(text.encode(encoding) * 3, "utf-8")).split("makes")[:2]
        assert any(named("encoding", encoding) in candidate for candidate in named_first)


def test_an_encoding_that_makes_signs_in_words_is_none_of_the_first():
    names = (
        "Begoña Iñaki Asunción Concepción Mónica Simón Tomás José Ramón Sofía Lucía Martín Rubén"
        " Nicolás Fermín María Verónica Gastón Hernán Estéfano Dalía "
    )
    # Read as cp1257, most of them look like words, but Josˇ and Tom‡s do not.
    error = read(names.replace(" ", "\n").encode("mac_roman"), "utf-8")
    assert named("encoding", "mac_roman") in str(error).split("makes")[0]


def test_a_table_that_was_saved_on_a_mac_is_read_in_its_encoding():
    text = "id,said\r1,It couldn’t be.\r"
    assert named("encoding", "mac_roman") in str(read(text.encode("mac_roman"), "utf-8"))
    assert read(text.encode("mac_roman"), "mac_roman") == text.replace("\r", "\n")


def test_a_page_in_wide_characters_with_a_mark_is_a_page():
    page = "<!DOCTYPE html><html><body><p>Grüße</p></body></html>".encode("utf-16")
    assert pandoc_kind(files.start_in_utf_8(page)).format == "html"


def test_pieces_can_be_left_after_their_file_was_closed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    with opened(path) as file:
        pieces = files.read_pieces("a.txt", file, "utf-8", allows_nul=False)
        assert next(pieces).content == "one\n"
    pieces.close()
    assert list(pieces) == []


def test_a_text_in_utf_8_is_no_text_of_wide_characters():
    Path("a.txt").write_text("The lamp is lit.\n" * 20)
    assert read_corpus(["a.txt"], encoding="utf-16").content == "The lamp is lit.\n" * 20
