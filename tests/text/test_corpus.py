"""Corpora: every kind of source yields exactly its characters, or one clear error.

Tests `text.reading_notes`, too.
"""

import gzip
import hashlib
import os
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from read_texts import read_corpus
from streams import Stream

from charrnn.errors import CharRNNError, DataError

TEXT = "It was the best of times, it was the worst of times.\n"
pytestmark = pytest.mark.usefixtures("here")


def write(path, content=TEXT):
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def labels(corpus):
    return tuple(origin.label for origin in corpus.source_text.origins)


def test_files_are_joined_in_the_order_given_each_on_a_new_line():
    write("b.txt", "second half")
    write("a.txt", "first half\n")
    corpus = read_corpus(["b.txt", "a.txt", "b.txt"])
    assert corpus.content == "second half\nfirst half\nsecond half"
    assert labels(corpus) == (
        "b.txt",
        "a.txt",
        "b.txt",
    )
    assert (corpus.name, corpus.notes) == ("b-and-2-more", ())
    assert corpus.digest == hashlib.sha256(str(corpus.content).encode()).hexdigest()


def test_standard_input_once(monkeypatch):
    monkeypatch.setattr("sys.stdin", Stream(TEXT.encode()))
    corpus = read_corpus(["-"])
    assert (corpus.name, corpus.content, labels(corpus)) == ("stdin", TEXT, ("standard input",))
    [place] = corpus.places(np.array([7]))
    assert (place.file, place.line, place.column) == ("standard input", 1, 8), "it is read again"
    with pytest.raises(DataError, match="standard input is empty"):
        read_corpus(["-", "-"])


def test_a_folder_gives_its_text_files_by_path():
    write("book/b.txt", "chapter two\r\n")
    write("book/a/z.txt", "chapter one")
    write("book/image.png", b"\x89PNG\0\0")
    write("book/latin.txt", b"caf\xe9")
    write("book/empty.txt", b"")
    write("book/.hidden", "secret")
    write("book/.git/config", "secret")
    os.mkfifo("book/pipe")
    Path("book/dangling").symlink_to("nowhere")
    corpus = read_corpus(["book"], order="sorted")
    assert corpus.content == "chapter one\nchapter two\n"
    assert (corpus.name, labels(corpus)) == (
        "book",
        ("book",),
    )
    [note] = corpus.notes
    for skipped in ("3 files (empty.txt, image.png, latin.txt;", "latin.txt is not", "2 hidden"):
        assert skipped in note
    corpus = read_corpus(["book/**/*.txt"], order="sorted")
    assert (corpus.name, corpus.content) == ("book", "chapter one\nchapter two\n")
    with pytest.raises(DataError, match=r"no file matches the pattern 'book/\*\.c'"):
        read_corpus(["book/*.c"])
    for path in (Path("book/b.txt"), *Path("book/a").iterdir()):
        path.unlink()
    with pytest.raises(
        DataError, match=r"book has no file to learn from: give text files\n3 files "
    ):
        read_corpus(["book"])


def test_a_file_with_a_fault_at_its_end_is_left_out_as_a_whole(monkeypatch):
    monkeypatch.setattr("charrnn.text.text_files.PIECE_CHARS", 8)
    write("book/a.txt", "chapter one, without an end")
    # Several blocks, as Python decodes them.
    write("book/b.txt", b"a line\n" * 3_000 + b"\xff")
    write("book/c.txt", "chapter two\n")
    corpus = read_corpus(["book"], order="sorted")
    assert corpus.content == "chapter one, without an end\nchapter two\n"
    assert "1 file (b.txt;" in corpus.notes[0]


def test_the_documents_of_a_file_that_is_left_out_are_not_seen(monkeypatch):
    """A whole copy of a damaged file is learned, by one reading and by the next."""
    monkeypatch.setattr("charrnn.text.text_files.PIECE_CHARS", 8)
    lines = [f"the document number {number}" for number in range(1_000)]
    rows = "".join(f"{line}\n" for line in lines)
    write("book/a.txt", rows.encode() + b"\xff")
    write("book/b.txt", rows + "of b alone\n")
    write("book/c.txt", rows)
    corpus = read_corpus(["book"], order="sorted", documents="lines", unique_documents=True)
    assert str(corpus.content).split("\0")[:-1] == [*lines, "of b alone"]
    assert [note.partition(";")[0] for note in corpus.notes] == [
        "skipped in book: 1 file (a.txt",
        "left out 1,000 repeated documents of book",
    ]
    last = str(corpus.content).index("of b alone")
    [place] = corpus.places(np.array([last]))
    assert (place.file, place.line) == ("book/b.txt", 1_001)


def test_a_name_is_found_in_both_forms_of_unicode(here):
    write("Mu\u0308ller.txt", "a text of some letters\n")
    for name in ("M\u00fcller.txt", "Mu\u0308ller", "M\u00fcller"):
        assert read_corpus([name]).content.startswith("a text")


@pytest.mark.parametrize(
    "content, text",
    [
        (b"one\rtwo\r\rthree\r", "one\ntwo\n\nthree\n"),
        (b"one\r\ntwo\rthree\r\n", "one\ntwo\rthree\n"),
        (b"one\ntwo\rthree\r", "one\ntwo\rthree\r"),
    ],
)
def test_cr_ends_lines_where_it_ends_the_first(content, text):
    write("a.txt", content)
    assert read_corpus(["a.txt"], is_for_training=False).content == text


def test_gzip_files_are_decompressed_and_refused_if_they_are_damaged():
    packed = gzip.compress(TEXT.encode())
    corpus = read_corpus([write("dickens.txt.gz", packed)])
    assert (corpus.content, corpus.name) == (TEXT, "dickens")
    for damaged in (
        TEXT.encode(),
        packed[:-12],
        packed[:15] + b"\xff" * 30,
        packed[:-8] + b"\0" * 8,
    ):
        with pytest.raises(DataError, match=r"a\.gz is damaged"):
            read_corpus([write("a.gz", damaged)])


@pytest.mark.slow
def test_nothing_means_the_standard_library():
    corpus = read_corpus([], order="sorted")
    assert isinstance(corpus.content, str)
    assert corpus.name == "stdlib"
    assert len(labels(corpus)) == 1
    assert "def dataclass(" in corpus.content
    assert len(corpus.content) > 1_000_000
    assert corpus.content.startswith(
        Path(sysconfig.get_paths()["stdlib"], "__future__.py").read_text()
    )
    assert (
        "build_time_vars = {" not in corpus.content
    )  # what _sysconfigdata*, with this machine's paths, begins with


def test_a_text_is_decoded_as_it_is_said_to_be():
    text = "Ein Buch, весна\nлето\n"
    path = write("novel.txt", text.replace("\n", "\r\n").encode("koi8-u"))
    corpus = read_corpus([path], encoding="koi8-u")
    assert corpus.content == text
    assert corpus.digest == read_corpus([write("same.txt", text)]).digest
    assert read_corpus([path], alphabet="byte").content == text.replace("\n", "\r\n").encode(
        "koi8-u"
    )


def test_files_that_cannot_be_learned_from_are_refused():
    for encoding, content, fault in (
        ("utf-8", b"x", "1 character cannot.*at least 16"),
        ("utf-8", b"a" * 100, "it has only one character; at least 2"),
        (
            "utf-8",
            "a lamp".encode("utf-16-le"),
            r"in wide characters \(`encoding=utf-16-le`",
        ),
        (
            "utf-16",
            TEXT.encode("utf-16") + b"\0\xdc",
            r"bad.txt is not UTF-16: ",
        ),
    ):
        with pytest.raises(DataError, match=fault):
            read_corpus([write("bad.txt", content)], encoding=encoding)


def test_a_file_that_no_memory_holds_is_refused(monkeypatch):
    # An eighth of the memory of this machine is what a corpus may take.
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 80_000, "SC_PAGE_SIZE": 1}.__getitem__)
    write("large.txt", TEXT * (10_000 // len(TEXT) + 1))
    write("bomb.txt.gz", gzip.compress(TEXT.encode() * 10_000))
    for source in ("large.txt", "bomb.txt.gz"):
        with pytest.raises(DataError, match="memory"):
            read_corpus([source], is_for_training=False)


@pytest.mark.parametrize(
    "content, is_noted",
    [
        (TEXT.replace("times", "tÃ¼mes") * 9, True),
        ("Itâ€™s the best of times.\n" * 9, True),
        (TEXT.replace(" ", "&nbsp;") * 9, True),
        ("for (&amp;) write &amp;amp;\n" + TEXT * 99, False),
        ("ÑÃ©, Ã¼, Ã¤ (or Ã¶, â€™, &uuml;, &#x27;) wrote Ana of Ã\n" + TEXT * 9, False),
        (f"From ana@sea Mon Nov 30 04:48:19 2026\nSubject: lamps\n\n{TEXT}" * 9, True),
        (f"From - Mon Nov 30 04:48:19 2026 +0000\nX-Status: 1\n\n{TEXT}" * 9, True),
        (f"From noon to 12:30 it rained.\nMara: {TEXT}" * 9, False),
        (f'{{\n  "title": "Lamps"\n}}\n\n{TEXT}', True),
        (f"{{\n  lamp\n}}\n\n{TEXT}", False),
        (f"<|startoftext|>{TEXT.strip()}<|endoftext|>\n" * 9, True),
        (f"<|endoftext|> ends a text.\n{TEXT}" * 3, False),
    ],
)
def test_a_note_names_what_is_read_better_in_another_way(content, is_noted):
    assert bool(read_corpus([write("a.md", content)]).notes) is is_noted


def test_bars_of_marks_part_no_columns():
    lines = "".join(f"<|im_start|>user said {number}<|im_end|>\n" for number in range(99))
    [note] = read_corpus([write("a.txt", lines)]).notes
    assert "column" not in note and "sed 's/<|[^|]*|>//g' FILE" in note
    [note] = read_corpus([write("b.txt", f"{TEXT}<|endoftext|>\n" * 99)]).notes
    assert "'line:<|endoftext|>'" in note


def test_the_note_on_xml_has_a_command_that_leaves_the_words():
    lines = "".join(f"<p>Line {number} of the play.</p>\n" for number in range(99))
    [note] = read_corpus([write("a.xml", f"<play>\n{lines}</play>\n")]).notes
    assert "% of the text of a.xml is " in note and "sed 's/<[^>]*>/ /g' FILE" in note
    assert "(a.xml)" not in note


def test_a_small_text_needs_no_temporary_folder_and_a_large_one_says_that_it_does(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["nowhere"])
    assert read_corpus([write("a.txt")]).content == TEXT

    monkeypatch.setattr("charrnn.text.id_builder.MAX_BYTES_IN_MEMORY", 10)
    with pytest.raises(CharRNNError, match="cannot write to a temporary folder: No usable"):
        read_corpus(["a.txt"])
