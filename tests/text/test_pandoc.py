"""Documents of a word processor, e-books and pages are read as plain text, each once.

Tests `text.pandoc_text`, too.
"""

import io
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pypandoc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_texts import read_corpus

from charrnn.errors import DataError
from charrnn.runs.reader import RunReader
from charrnn.text import pandoc
from charrnn.text.file_kinds import why_protected
from charrnn.text.hidden import without_hidden
from charrnn.text.kept_texts import read_kept_texts

PARAGRAPHS = ("“I am here,” said Mara – and she was. " * 9, "It rained.")
PLAIN = "\n\n".join(text.strip() for text in PARAGRAPHS) + "\n"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-'
    'types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relation'
    'ships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxml'
    'formats-officedocument.wordprocessingml.document.main+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relation'
    f'ships"><Relationship Id="r1" Type="{RELATIONS}" Target="word/document.xml"/></Relationships>',
}
CHAPTER = '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title>t</title></head><body>{}</body></html>'
CONTAINER = '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
PACKAGE = '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="i">x</dc:identifier><dc:title>The Kettle</dc:title><dc:creator>Ana Berg</dc:creator></metadata><manifest>{}</manifest><spine>{}</spine></package>'
pytestmark = pytest.mark.usefixtures("here")


def in_zip(parts, kind=zipfile.ZIP_DEFLATED):
    """A ZIP archive with these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", kind) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return archive.getvalue()


def word(body):
    """A Word document with this body."""
    document = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    return in_zip(
        {name: HEAD + part for name, part in {**PARTS, "word/document.xml": document}.items()}
    )


def run(text, properties=""):
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def epub(*chapters, linear="", mimetype=zipfile.ZIP_STORED, **more):
    """An e-book with these chapters, of which the last has the attribute `linear`."""
    names = [f"{number}.xhtml" for number in range(len(chapters))]
    items = "".join(
        f'<item id="a{n}" href="{n}" media-type="application/xhtml+xml"/>' for n in names
    )
    spine = "".join(f'<itemref idref="a{n}"/>' for n in names[:-1])
    spine += f'<itemref idref="a{names[-1]}"{linear}/>'
    parts = {"META-INF/container.xml": CONTAINER, "c.opf": PACKAGE.format(items, spine), **more}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("mimetype", "application/epub+zip", mimetype)
        for name, content in parts.items():
            file.writestr(name, content)
        for name, chapter in zip(names, chapters, strict=True):
            file.writestr(name, CHAPTER.format(chapter))
    return archive.getvalue()


DOCX = word("".join(f"<w:p>{run(text)}</w:p>" for text in PARAGRAPHS))


def read(data, name="a", **options):
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(read_corpus([name], is_for_training=False, **options).content)


def texts_in(run):
    """The texts that a run has kept, by their digests."""
    state = RunReader(Path(run)).newest_state().state
    return dict(read_kept_texts(Path(run), state["document_texts"]))


def page(body):
    """The text of an HTML page."""
    return read(f"<!DOCTYPE html><html><body>{body}</body></html>", "a.html")


@pytest.fixture
def imitated(monkeypatch):
    """Return a function that puts a program in the place of pandoc."""

    def imitate(script):
        path = Path("pandoc").absolute()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        module = SimpleNamespace(get_pandoc_path=lambda: str(path))
        monkeypatch.setitem(sys.modules, "pypandoc", module)

    return imitate


@pytest.mark.parametrize("form", ["docx", "odt", "epub", "rtf", "fb2", "html", "ipynb", "pptx"])
def test_the_text_of_a_document_is_that_of_its_paragraphs(form):
    document = DOCX
    if form != "docx":
        document = subprocess.run(
            [pypandoc.get_pandoc_path(), "-s", "-t", form, "-M", "title=Rain", "-o", "-"],
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


def test_a_slide_without_a_title_has_none():
    slides = "# Rain\n\nSlide 1 is wet.\n\n---\n\nNo title.\n"
    Path("talk.pptx").write_bytes(
        subprocess.run(
            [pypandoc.get_pandoc_path(), "-t", "pptx", "-o", "-"],
            input=slides.encode(),
            capture_output=True,
            check=True,
        ).stdout
    )
    assert read_corpus(["talk.pptx"]).content == "Rain\n\nSlide 1 is wet.\n\nNo title.\n"


@pytest.mark.parametrize(
    "body, text",
    [
        ("<p>On the 1<sup>st</sup> of H<sub>2</sub>O</p>", "On the 1st of H₂O\n"),
        ("<p>one<br>two</p><hr><p>three</p>", "one\ntwo\n\nthree\n"),
        ("<p>one\ntwo 河の\n音</p>", "one two 河の音\n"),
        ("<p>a <s>gone</s> <del>old</del> b</p>", "a b\n"),
        ("<p>After <img src=b alt='IMG_0042.jpg'> it.</p>", "After it.\n"),
        (
            "<figure class=c><img src=a alt=A><figcaption>It is new.</figcaption></figure>",
            "It is new.\n",
        ),
        ("<ul><li>a</li><li>b</li></ul><ol start=3><li>c</li></ol>", "- a\n- b\n\n3. c\n"),
        (
            "<table><tr><th>A</th><th>B</th></tr><tr><td>one</td><td>two words</td></tr></table>",
            "A\tB\none\ttwo words\n",
        ),
        (
            "<table><tr><td>Home</td></tr><tr><td><p>Long.</p><p>Short.</p></td></tr></table>",
            "Home\nLong.\nShort.\n",
        ),
        ("<blockquote><p>said</p></blockquote><pre>a  b\n c</pre>", "said\n\na  b\n c\n"),
        ("<p>seen <span style='DISPLAY: none'>no</span> <b hidden>no</b>too</p>", "seen too\n"),
        ("<dl><dt hidden>no<dd>seen<dt>too</dl>", "seen\n\ntoo\n"),
        ("<table><tr><th hidden>no<td hidden>no<tr><td>seen</table>", "seen\n"),
        ("<p hidden>no<div>seen</div>", "seen\n"),
        ("<p hidden>no<p>seen<template><p>no</p></template><noscript>no</noscript>", "seen\n"),
        (
            "<nav><ul><li>menu</li></ul></nav><p>text <button>Press</button><textarea>no</textarea></p>",
            "text\n",
        ),
        ("<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字</p>", "漢字\n"),
        ("<p>here<sup>x</sup> <math><mi>x</mi></math> and</p>", "herex x and\n"),
    ],
)
def test_a_page_is_what_a_reader_sees(body, text):
    assert page(body) == text


def test_a_character_of_rich_text_by_its_number_is_read_without_its_stand_in():
    for stand_in in (r"\'92", r" \'92", "?", " ?"):
        rich = rf"{{\rtf1\ansi\ansicpg1252\uc1 It\u8217{stand_in}s lit{{\uc2\u8230\'81\'63}}\par}}"
        assert read(rich) == "It’s lit…\n"
    for numbers in (
        r"\u-10179?\u-8704?",
        r"\u55357 ?\u56832 ?",
        r"\u55357\'5f\u-8704\'5f",
        r"\uc0\u55357 \u56832 ",
        r"\uc2\u-10179\'81\'48\u-8704\'81\'48",
    ):
        assert read(rf"{{\rtf1\ansi\uc1 A smile: {numbers}\par}}") == "A smile: 😀\n"


def test_the_title_and_the_authors_are_the_first_lines_and_a_title_page_is_text():
    title_page = '<section epub:type="titlepage"><h1>The Kettle</h1><p>For Ana.</p></section>'
    text = read(epub(title_page, "<p>It was new.</p>"))
    assert text == "Ana Berg\n\nThe Kettle\n\nFor Ana.\n\nIt was new.\n"
    written = (
        "---\ntitle: Rain\nauthor: [Ida Holm, Per Lund]\ndate: May 1901\n---\nRain\n\nIt fell.[^1]"
        "\n\n[^1]: Far."
    )
    command = [pypandoc.get_pandoc_path(), "-s", "--from=markdown", "-o", "-", "--to"]
    texts = []
    for form in ("epub", "docx", "rtf"):
        document = subprocess.run(
            [*command, form], input=written.encode(), capture_output=True, check=True
        ).stdout
        texts.append(read(document).replace("[1]", ""))
    names = "Rain\n\nIda Holm\n\nPer Lund\n\n"
    end = "Rain\n\nIt fell.\n\n Far.\n"
    assert texts[0].startswith(names)
    assert texts[1:] == [f"{names}May 1901\n\n{end}"] * 2


def test_an_e_book_is_known_by_its_container_and_its_side_chapters_are_read():
    chapters = ("<p>Main.</p>", "<p>A word: its meaning.</p>")
    side = read(epub(*chapters, linear=' linear="no"'))
    assert side == read(epub(*chapters, mimetype=zipfile.ZIP_DEFLATED))
    assert side.endswith("Main.\n\nA word: its meaning.\n")
    assert "漢字" in read(epub("<p><ruby>漢<rt>かん</rt></ruby>字</p>"))
    assert "no" not in read(epub("<p>seen <span hidden='hidden'>no</span></p>"))


def test_what_is_hidden_deleted_or_struck_out_in_word_is_not_there():
    deleted = f'<w:del w:id="1" w:author="a" w:date="2026-01-01T00:00:00Z">{run("OLD").replace("w:t", "w:delText")}</w:del>'
    inserted = f'<w:ins w:id="2" w:author="a" w:date="2026-01-01T00:00:00Z">{run("new ")}</w:ins>'
    body = run("seen ") + run("SECRET", "<w:vanish/>") + deleted + inserted
    body += run("struck", "<w:strike/>") + run("kept", '<w:vanish w:val="0"/>')
    body += (
        f"<w:r><w:ruby><w:rt>{run('no')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase></w:ruby></w:r>"
    )
    body += f'<w:fldSimple w:instr=" DATE ">{run("May")}</w:fldSimple>'
    assert read(word(f"<w:p>{body}</w:p>")) == "seen new kept漢May\n"
    assert read(rb"{\rtf1\ansi Seen {\v SECRET }{\deleted OLD }end.\par}") == "Seen end.\n"


def test_tracked_changes_of_word_are_read_as_if_all_were_accepted():
    by = 'w:author="a" w:date="2026-01-01T00:00:00Z"'
    moved = f'<w:p><w:moveFrom w:id="1" {by}>{run("Moved. ")}</w:moveFrom>{run("Left.")}</w:p>'
    moved += f'<w:p>{run("Here: ")}<w:moveTo w:id="2" {by}>{run("Moved.")}</w:moveTo></w:p>'
    deleted_end = f'<w:pPr><w:rPr><w:del w:id="3" {by}/></w:rPr></w:pPr>'
    joined = f"<w:p>{deleted_end}{run('One, ')}</w:p><w:p>{run('two.')}</w:p>"
    old = run("Old").replace("w:t", "w:delText")
    gone = f'<w:p>{deleted_end}<w:del w:id="4" {by}>{old}</w:del></w:p>'
    text = read(word(f"{moved}{joined}{gone}<w:p>{run('End.')}</w:p>"))
    assert text == "Left.\n\nHere: Moved.\n\nOne, two.\n\nEnd.\n"


def test_what_a_style_of_open_document_hides_is_not_there():
    styles = '<office:automatic-styles><style:style style:name="T1"><style:text-properties text:display="none"/></style:style></office:automatic-styles>'
    body = '<office:body><office:text><text:p>seen <text:span text:style-name="T1">SECRET</text:span>too<text:ruby><text:ruby-base>漢</text:ruby-base><text:ruby-text>no</text:ruby-text></text:ruby></text:p></office:text></office:body>'
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "style", "text")
    )
    content = f"<office:document-content {names}>{styles}{body}</office:document-content>"
    parts = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": content,
        "styles.xml": f"<office:document-styles {names}/>",
    }
    assert read(in_zip(parts)) == "seen too漢\n"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["<w:r ", "<w:ruby ", "<w:r><w:vanish/>", "<p hidden>", "<rt><b "])
def test_what_has_no_end_takes_no_long_time(part):
    started = time.process_time()
    for format in ("docx", "html"):
        data = (part * 100_000).encode()
        if format == "docx":
            data = in_zip({"word/document.xml": part * 100_000})
        without_hidden(data, format)
    assert time.process_time() - started < 20


def test_a_page_says_in_which_encoding_it_is():
    for name, text in (("windows-1251", "Лёд на реке"), ("Shift_JIS", "河の音①")):
        codec = {"Shift_JIS": "cp932"}.get(name, name)
        html = f'<!DOCTYPE html><html><head><meta charset="{name}"></head><body><p>{text}</p></body></html>'
        assert read(html.encode(codec)) == f"{text}\n"
    fiction = '<?xml version="1.0" encoding="windows-1251"?><FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"><body><section><p>Лёд</p></section></body></FictionBook>'
    assert read(fiction.encode("cp1251")) == "Лёд\n"


def test_a_place_is_a_paragraph_and_a_folder_has_documents_among_texts():
    Path("novel").mkdir()
    Path("novel/1.docx").write_bytes(DOCX)
    Path("novel/2.txt").write_text("one\ntwo\n")
    Path("novel/~$1.docx").write_bytes(b"\5Mara" + 150 * b" ")
    corpus = read_corpus(["novel"])
    content = str(corpus.content)
    rain, two = corpus.places(np.array([content.index("rained"), content.index("two")]))
    assert (rain.line, rain.unit) == (2, "paragraph")
    assert (two.line, two.unit) == (2, "line")
    assert corpus.notes[0] == "skipped in novel: 1 hidden name"


@pytest.mark.slow
def test_of_a_hundred_documents_a_broken_one_is_named_and_all_others_are_read():
    Path("novel").mkdir()
    for number in range(100):
        Path(f"novel/{number}.docx").write_bytes(word(f"<w:p>{run(f'Chapter {number}.')}</w:p>"))
    Path("novel/7.docx").write_bytes(in_zip({"word/document.xml": "<broken"}))
    started = time.monotonic()
    corpus = read_corpus(["novel"])
    assert time.monotonic() - started < 60  # all of them take about five seconds
    assert str(corpus.content).count("Chapter") == 99
    assert "skipped in novel: 1 file (7.docx; 7.docx is a Word document, but" in corpus.notes[0]


def test_a_damaged_document_and_one_that_is_too_deep_are_skipped():
    Path("novel").mkdir()
    # A bit of the text has flipped.
    damaged = bytearray(DOCX)
    damaged[DOCX.index(b"word/document.xml") + 40] ^= 1
    Path("novel/1.docx").write_bytes(damaged)
    Path("novel/2.html").write_text(f"<html>{3000 * '<div>'}rain{3000 * '</div>'}</html>")
    Path("novel/3.txt").write_text("The lamp is lit.\n")
    corpus = read_corpus(["novel"])
    assert corpus.content == "The lamp is lit.\n"
    assert "skipped in novel: 2 files (2.html, 1.docx;" in corpus.notes[0]


def test_a_run_keeps_the_texts_of_its_documents(command, imitated):
    Path("a.docx").write_bytes(DOCX)
    ran = command("train a.docx --steps 2 --hidden-size 4 --out mine")
    assert ran.code == 0
    assert list(texts_in("mine").values()) == [PLAIN]
    # Another version of pandoc makes another text.
    imitated("""echo '{"meta": {}, "blocks": [{"t": "CodeBlock", "c": ["", "another text"]}]}'""")
    assert command("evaluate mine").code == 0
    assert command("export mine mine.zip").code == 0
    assert not any("gz" in name for name in zipfile.ZipFile("mine.zip").namelist())
    packed = Path("mine/documents.gz").read_bytes()
    Path("mine/documents.gz").write_bytes(packed[:-1])
    err = command("evaluate mine").err
    assert "mine/documents.gz is not the file that the checkpoint has recorded: its doc" in err
    assert "has changed since it was trained (a.docx), or is read by another pandoc" in err
    assert err.count("documents.gz") == 2


def test_a_resumed_run_keeps_its_texts_again_where_they_were_damaged(command):
    Path("a.docx").write_bytes(DOCX)
    assert command("train a.docx --steps 2 --hidden-size 4 --out mine").code == 0
    packed = Path("mine/documents.gz").read_bytes()
    Path("mine/documents.gz").write_bytes(b"damaged")
    ran = command("train --resume mine --steps 3")
    assert (ran.code, ran.err.count("documents.gz is not the file")) == (0, 1)
    assert Path("mine/documents.gz").read_bytes() == packed
    assert "documents.gz" not in command("evaluate mine").err


def test_a_run_keeps_no_text_of_a_document_that_it_skips(command):
    Path("novel").mkdir()
    for number in range(3):
        body = word(f"<w:p>{run(f'A text of all, number {number}.')}</w:p>")
        Path(f"novel/{number}.docx").write_bytes(body)
    Path("novel/empty.docx").write_bytes(word(f"<w:p>{run(' ')}</w:p>"))
    # A text of documents has none in it that is empty.
    ran = command("train novel --documents files --steps 2 --hidden-size 4 --out mine")
    assert "skipped in novel: 1 file (empty.docx;" in ran.err
    assert len(texts_in("mine")) == 3


WORDS = st.lists(
    st.text("abcdeäøñлёд河の音ابج", min_size=1, max_size=6), min_size=1, max_size=8
).map(" ".join)
CELLS = st.lists(WORDS, min_size=2, max_size=3)
BLOCKS = st.one_of(
    WORDS.map(lambda text: (f"<p>{text}</p>", f"<w:p>{run(text)}</w:p>", [text])),
    st.tuples(WORDS, WORDS).map(
        lambda lines: (
            f"<p>{'<br/>'.join(lines)}</p>",
            f"<w:p>{run(lines[0])}<w:r><w:br/></w:r>{run(lines[1])}</w:p>",
            [*lines],
        )
    ),
    st.tuples(CELLS, CELLS).map(
        lambda rows: (
            f"<table>{''.join(map(html_row, same(rows)))}</table>",
            f"<w:tbl>{''.join(map(word_row, same(rows)))}</w:tbl>",
            ["\t".join(row) for row in same(rows)],
        )
    ),
)


def same(rows):
    """Rows with as many cells each."""
    return [row[:2] for row in rows]


def html_row(row):
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"


def word_row(row):
    cells = "".join(f"<w:tc><w:p>{run(cell)}</w:p></w:tc>" for cell in row)
    return f"<w:tr>{cells}</w:tr>"


def check_documents(blocks):
    lines = [line for _, _, text in blocks for line in text]
    html = "".join(block for block, _, _ in blocks)
    # Tables of Word stand apart by a paragraph.
    body = "<w:p/>".join(block for _, block, _ in blocks)
    for text in (page(html), read(word(body)), read(epub(html))):
        found = [line for line in text.split("\n") if line]
        if found[: -len(lines)]:
            assert found[: -len(lines)] == ["The Kettle", "Ana Berg"]
        assert found[-len(lines) :] == lines


@settings(max_examples=25, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=5))
def test_documents_of_known_text_lose_and_add_nothing(blocks):
    check_documents(blocks)


@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=5))
def test_many_documents_of_known_text_lose_and_add_nothing(blocks):
    check_documents(blocks)


@pytest.mark.parametrize(
    "script, reason",
    [
        ("exec sleep 9", r"pandoc cannot read it \(not in 0.2 seconds"),
        ("echo no memory >&2; exit 1", r"pandoc cannot read it \(no memory\)"),
        ("echo another text; cat >/dev/null", "pandoc cannot read it"),
    ],
)
def test_what_pandoc_cannot_read_is_refused(imitated, monkeypatch, script, reason):
    Path("a.docx").write_bytes(DOCX)
    monkeypatch.setattr(pandoc, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(pandoc, "SECONDS_PER_MB", 0)
    imitated(script)
    with pytest.raises(DataError, match=rf"a\.docx is a Word document, but {reason}.*: save it"):
        read_corpus(["a.docx"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
@pytest.mark.parametrize(
    "script, reason",
    [
        ("while :; do :; done", r"not in 1 seconds"),
        ("exec yes", r"what it makes of .* MB is .* MB"),
    ],
    ids=["time", "size"],
)
def test_what_pandoc_makes_of_a_document_without_end_is_refused(
    imitated, monkeypatch, script, reason
):
    """Processor time and what is written are limited, however busy the machine is."""
    Path("a.docx").write_bytes(DOCX)
    monkeypatch.setattr(pandoc, "CPU_SECONDS", 1)
    imitated(script)
    with pytest.raises(DataError, match=rf"pandoc cannot read it \({reason}"):
        read_corpus(["a.docx"])


def test_what_pandoc_may_take_grows_with_the_document(imitated):
    """A small file that describes much is refused before it takes much."""
    imitated('echo "$2" >> limits; exit 1')
    for num_chars in (10**4, 10**6, 2 * 10**6, 10**7):
        Path("a.html").write_text("<!DOCTYPE html>" + "a" * num_chars)
        with pytest.raises(DataError, match="pandoc cannot read it"):
            read_corpus(["a.html"])
    heaps = [int(line.strip()[2:-1]) for line in Path("limits").read_text().split()]
    assert heaps[0] < 200, "megabytes"
    assert heaps[2] - heaps[1] == pytest.approx(pandoc.HEAP_PER_BYTE * 10**6 / 2**20, abs=2)
    assert heaps[3] <= pandoc.MAX_PANDOC >> 20


HOSTILE = {
    "columns": "<table><tr><td colspan=1000000000>a</table>",
    "boxes": "<div>" * 9_000,
    "bold": "<b>" * 9_000 + "a",
    "lists": "<ol><li>" * 3_000 + "a",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_page_is_read_or_refused_within_its_limits(kind, monkeypatch):
    monkeypatch.setattr(pandoc, "LEAST_HEAP", 64 << 20)
    monkeypatch.setattr(pandoc, "CPU_SECONDS", 3)
    Path("a.html").write_text(f"<!DOCTYPE html><html><body>{HOSTILE[kind]}")
    try:
        assert len(read_corpus(["a.html"], is_for_training=False).content) < 100_000
    except DataError as error:
        assert re.search("pandoc cannot read it|nothing that somebody wrote", str(error))


def test_a_document_that_grows_is_refused(monkeypatch):
    Path("a.docx").write_bytes(DOCX)
    monkeypatch.setattr(pandoc, "MAX_GROWTH", 0.001)
    assert read_corpus(["a.docx"]).content, "a short text may be larger than its document"
    monkeypatch.setattr(pandoc, "MAX_TEXT", 2)
    with pytest.raises(DataError, match=r"a\.docx .* times as large"):
        read_corpus(["a.docx"])


def test_without_the_extra_three_lines_say_what_to_do(command, monkeypatch):
    Path("novel").mkdir()
    Path("novel/a.docx").write_bytes(DOCX)
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    ran = command("train novel")
    assert (ran.code, ran.err.count("\n")) == (2, 3)
    assert "a.docx is a Word document" in ran.err
    assert "'charrnn-lab[files]'" in ran.err
    assert "save it as plain text" in ran.err


@pytest.mark.parametrize(
    "name, content, why",
    [
        ("manifest", "<encryption-data/>", "a password"),
        ("encryption", '<CipherReference URI="one.xhtml"/>', "DRM"),
        ("encryption", '<CipherReference URI="a font.otf"/>', ""),
    ],
)
def test_a_protected_document_says_so(name, content, why):
    said = why_protected(in_zip({f"META-INF/{name}.xml": content}))
    assert why in said and bool(said) == bool(why)
