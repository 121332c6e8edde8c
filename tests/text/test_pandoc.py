"""Documents of a word processor, e-books and pages are read as plain text, each once."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from charrnn.errors import DataError
from charrnn.text import pandoc
from charrnn.text.corpus import read_corpus

PARAGRAPHS = ("“I am here,” said Mara – and she was. " * 9, "It rained.")
PLAIN = "\n\n".join(text.strip() for text in PARAGRAPHS) + "\n"
BODY = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-'
    'types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relation'
    'ships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxml'
    'formats-officedocument.wordprocessingml.document.main+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relation'
    f'ships"><Relationship Id="r1" Type="{RELATIONS}" Target="word/document.xml"/></Relationships>',
    "word/document.xml": BODY
    + "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in PARAGRAPHS)
    + "</w:body></w:document>",
}
pytestmark = pytest.mark.usefixtures("here")


def in_zip(**parts):
    """A ZIP archive with these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in parts.items():
            file.writestr(name, HEAD + content)
    return archive.getvalue()


DOCX = in_zip(**PARTS)


@pytest.fixture
def pypandoc():
    return pytest.importorskip("pypandoc", reason="the extra `files` is not installed")


@pytest.fixture
def imitated(monkeypatch):
    """Put a program in the place of pandoc; return a function that sets what it does."""

    def imitate(script):
        path = Path("pandoc").absolute()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        module = SimpleNamespace(get_pandoc_path=lambda: str(path))
        monkeypatch.setitem(sys.modules, "pypandoc", module)

    return imitate


@pytest.mark.parametrize(
    "form", ["docx", "odt", "epub", "rtf", "fb2", "html", "ipynb", "markdown-smart"]
)
def test_the_text_of_a_document_is_that_of_its_paragraphs(pypandoc, form):
    document = DOCX
    if form != "docx":
        command = [pypandoc.get_pandoc_path(), "-s", "-t", form, "-M", "title=Rain"]
        document = subprocess.run(
            [*command, "-f", "markdown-smart", "-o", "-"],
            input=PLAIN.encode(),
            capture_output=True,
            check=True,
        ).stdout
    # The name says nothing: the content does.
    Path("chapter").write_bytes(document)
    corpus = read_corpus(["chapter"])
    content = str(corpus.content)
    assert content[content.index("“") :] == PLAIN
    assert "read 1 file of chapter by pandoc" in corpus.notes[0]


def test_a_place_is_a_paragraph_and_a_folder_has_documents_among_texts(pypandoc):
    Path("novel").mkdir()
    Path("novel/1.docx").write_bytes(DOCX)
    Path("novel/2.txt").write_text("one\ntwo\n")
    Path("novel/~$1.docx").write_bytes(b"\5Mara" + 150 * b" ")
    corpus = read_corpus(["novel"])
    content = str(corpus.content)
    rain, two = corpus.places(np.array([content.index("rained"), content.index("two")]))
    assert (rain.line, rain.unit) == (2, "paragraph")
    assert (two.line, two.unit) == (2, "line")
    assert corpus.notes[0] == "skipped 1 lock file in novel"


def test_documents_that_the_shell_has_named_have_one_note(imitated):
    imitated("echo the lamp by the river")
    for name in ("1.docx", "2.docx"):
        Path(name).write_bytes(DOCX)
    notes = read_corpus(["1.docx", "2.docx"]).notes
    assert notes == ("read 2 files of 2 sources by pandoc (a Word document)",)


def test_each_document_is_read_once(imitated):
    Path("a.docx").write_bytes(DOCX)
    imitated("echo once and never again >> count; cat count")
    read = [read_corpus(["a.docx"]).content for _ in range(3)]
    assert read == ["once and never again\n"] * 3


@pytest.mark.parametrize(
    "script, reason",
    [
        ("exec sleep 9", "pandoc has not read it in 0.2 seconds"),
        ("echo no document >&2; exit 1", r"pandoc cannot read it \(no document\)"),
    ],
)
def test_what_pandoc_cannot_read_is_refused(imitated, monkeypatch, script, reason):
    Path("a.docx").write_bytes(DOCX)
    monkeypatch.setattr(pandoc, "MOST_SECONDS", 0.2)
    imitated(script)
    with pytest.raises(DataError, match=rf"a\.docx is a Word document, but {reason}: save it"):
        read_corpus(["a.docx"])


def test_without_the_extra_three_lines_say_what_to_do(command, monkeypatch):
    Path("novel").mkdir()
    Path("novel/a.docx").write_bytes(DOCX)
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    ran = command("train", "novel")
    assert (ran.code, ran.err.count("\n")) == (2, 3)
    assert "a.docx is a Word document" in ran.err
    assert "'charrnn-lab[files]'" in ran.err
    assert "save it as plain text" in ran.err


def test_a_lock_file_that_the_shell_has_named_is_skipped():
    Path("1.txt").write_text("The lamp by the river.\n")
    corpus = read_corpus(["~$1.docx", "1.txt"])
    assert (corpus.name, corpus.notes) == ("1", ("skipped 1 lock file in ~$1.docx",))
    with pytest.raises(DataError, match="skipped: 1 lock file"):
        read_corpus(["~$1.docx"])


def test_a_model_that_reads_files_as_they_stand_refuses_documents_as_its_own_text():
    Path("a.docx").write_bytes(DOCX)
    Path("a.html").write_text("<html><p>The lamp by the river.</p></html>\n")
    assert "<p>" in str(read_corpus(["a.html"], is_cleaned=False).content)
    with pytest.raises(DataError, match=r"is a Word document, not a plain text: .*`clean=false`"):
        read_corpus(["a.docx"], is_cleaned=False)
