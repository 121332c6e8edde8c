"""What a word processor or a browser hides is left out of a document; all else stays byte for byte.

What pandoc makes of documents with hidden parts is tested beside `text.pandoc`.
"""

import io
import re
import zipfile

import pytest

from charrnn.text.hidden import without_hidden
from charrnn.text.visible_page import visible_page

HIDDEN = "<w:r><w:rPr><w:vanish/></w:rPr><w:t>no</w:t></w:r>"
STYLES = (
    '<style:style style:name="T1"><style:text-properties text:display="none"/></style:style>'
    "<style:style style:name='P1'><style:text-properties text:display='none'/></style:style>"
    '<style:style style:name="T2"><style:text-properties/></style:style>'
)


def in_zip(parts):
    """A ZIP archive with these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return archive.getvalue()


def part(data, name):
    """A file of a ZIP archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()


def word(body):
    """What stays of the body of a Word document."""
    data = in_zip({"word/document.xml": f"<w:body>{body}</w:body>"})
    shown = part(without_hidden(data, "docx"), "word/document.xml")
    return shown.removeprefix("<w:body>").removesuffix("</w:body>")


def open_document(body):
    """What stays of the text of an OpenDocument file, without tags."""
    content = f"<office:text>{STYLES}{body}</office:text>"
    data = in_zip({"content.xml": content, "styles.xml": "<styles/>"})
    return re.sub("<[^>]*>", "", part(without_hidden(data, "odt"), "content.xml"))


def run(properties, text="no", attributes=""):
    return f"<w:r{attributes}><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r>"


@pytest.mark.parametrize(
    "hidden",
    [
        run("<w:vanish/>"),
        run("<w:vanish></w:vanish>"),
        run("<w:vanish w:val='true'/>"),
        run('<w:b/><w:vanish w:val = "1" />'),
        run("<w:vanish/>", attributes='\n w:rsidR="a>b"'),
        run("<w:vanish/>").replace("</w:r>", "</w:r\n>"),
        run("<w:vanish/>", f"no<w:ruby><w:rt>{run('')}</w:rt></w:ruby>"),
        run("<w:vanish/>", f"<w:pict><w:txbxContent>{run('')}</w:txbxContent></w:pict>"),
    ],
)
def test_a_hidden_run_is_left_out_whole_however_it_is_written(hidden):
    assert word(f"<w:p>{hidden}</w:p>") == "<w:p></w:p>"


@pytest.mark.parametrize(
    "seen",
    [
        run('<w:vanish w:val="0"/>'),
        run("<!-- <w:vanish/> -->"),
        run("<w:webHidden/>", "<![CDATA[<w:vanish/>]]>"),
        run("<w:rPrChange><w:rPr><w:vanish/></w:rPr></w:rPrChange>"),
        "<w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr>" + run("<w:b  />", attributes=" w:a = 'b'"),
    ],
)
def test_all_other_runs_stay_byte_for_byte(seen):
    body = f"<w:p\n>{seen}<!-- – --><?a b?>&#228;</w:p >"
    assert word(body + HIDDEN) == body


def test_of_ideographs_with_readings_the_ideographs_stay_outside_of_the_run():
    ruby = "<w:ruby w:a=''><w:rt>no</w:rt><w:rubyBase w:a=''><w:r>漢</w:r></w:rubyBase></w:ruby>"
    assert word(f"<w:r>a{ruby}b</w:r>") == "<w:r>a</w:r><w:r>漢</w:r><w:r>b</w:r>"


@pytest.mark.parametrize(
    "body, text",
    [
        ('a<text:span text:style-name="T1">no</text:span>b', "ab"),
        ("a<text:span x='>' text:style-name='T1'>no</text:span>b", "ab"),
        ('a<text:span text:style-name="T1">no<text:span>no</text:span>no</text:span>b', "ab"),
        ('<text:h text:style-name="P1">no</text:h><text:p text:style-name="T2">b</text:p>', "b"),
        ("a<text:date>May</text:date><text:time/><text:sender-city>b</text:sender-city>", "aMayb"),
        ("<text:ruby><text:ruby-text>no</text:ruby-text></text:ruby>b<text:ruby-text/>", "b"),
    ],
)
def test_what_a_style_hides_is_left_out_of_an_open_document(body, text):
    assert open_document(body) == text


@pytest.mark.parametrize(
    "damaged",
    [
        "<w:r>",
        "<w:r a='1' a='2'/>",
        "<w:r a=1/>",
        "<w:r>&none;</w:r>",
        "<!DOCTYPE r [<!ENTITY a 'a'><!ENTITY b '&a;&a;'>]><r b='&b;'>&b;</r>",
        "<!DOCTYPE r [<!ENTITY a SYSTEM 'file:///etc/hostname'>]><r>&a;</r>",
        "<!DOCTYPE r [<!ENTITY % a SYSTEM 'http://localhost:9/'>%a;]><r/>",
    ],
)
def test_a_part_that_is_damaged_or_declares_entities_becomes_empty(damaged):
    """Nobody knows what is hidden in it. Other parts stay, of which some may be of no use."""
    parts = {"word/document.xml": "<w:r>a</w:r>", "word/theme.xml": damaged, "a.xml": damaged}
    shown = without_hidden(in_zip(parts), "docx")
    assert [part(shown, name) for name in parts] == ["<w:r>a</w:r>", "", damaged]


def test_no_chapter_of_an_e_book_stands_beside_the_text():
    chapters = (
        "<opf:itemref idref='ä&amp;' linear = 'no' x=''/>",
        "<itemref linear='yes'/>",
        "<!-- <itemref linear='no'/> -->",
    )
    shown = without_hidden(in_zip({"a.opf": f"<spine>{''.join(chapters)}</spine>"}), "epub")
    changed = '<opf:itemref idref="&#228;&amp;" linear="yes" x=""></opf:itemref>'
    assert part(shown, "a.opf") == f"<spine>{changed}{chapters[1]}{chapters[2]}</spine>"


@pytest.mark.parametrize(
    "page, shown",
    [
        ("<table><colgroup span=1><COL title='a>b'/></colgroup\n><tr>", "<table><tr>"),
        ("<p title='<col>'>a<!-- <col> --></p>", None),
        ("<p>It has epub:type='titlepage'.</p>", None),
        ("<section class=a epub:type = frontmatter-titlepage>", '<section class="a">'),
        ("<hr role='titlepage'><p/><div epub:type=titlepage />", "<hr><p/><div/>"),
        ("<rp a=b type=titlepage>no</rp>", '<rp a="b"></rp>'),
        ("<body type='titlepage' title='&quot;&amp;'>", '<body title="&quot;&amp;">'),
        ("<div hidden>no<col>no<section role=titlepage>no</section></div>", "<div hidden></div>"),
    ],
)
def test_a_page_has_no_tags_for_which_pandoc_drops_text(page, shown):
    assert visible_page(page.encode()).decode() == (page if shown is None else shown)
