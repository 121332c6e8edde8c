"""What a file is, is known by its content, and each kind has a note or an error that helps."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from read_texts import read_corpus

from charrnn.errors import DataError
from charrnn.text.file_kinds import data_kind, pandoc_kind

pytestmark = pytest.mark.usefixtures("here")
GREETING = "Grüße aus dem Süden, a = b.\n"
PAGE = f"<html><body><p>{GREETING}</p></body></html>\n"


def mail(text=GREETING, sender="Ana <ana@sea>", kind="plain", coding="quoted-printable", **headers):
    message = EmailMessage()
    message["From"] = sender
    message["Subject"] = "A lamp"
    message["Date"] = "Mon, 30 Nov 2026 14:00:00 +0000"
    for name, value in headers.items():
        message[name] = value
    message.set_content(9 * text, subtype=kind, cte=coding)
    return bytes(message)


def page_with_picture():
    message = EmailMessage()
    message["From"] = "<Saved by Blink>"
    message["Snapshot-Content-Location"] = "https://sea.org"
    message.set_content(9 * PAGE, subtype="html", cte="quoted-printable")
    message.add_related(b"\x89PNG\r\n" * 99, "image", "png")
    return bytes(message)


def in_zip(*names):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, "<container/>")
    return archive.getvalue()


SCREENPLAY = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<FinalDraft DocumentType="Script"><Content>\n'
    '<Paragraph Type="Character"><Text>ANA</Text></Paragraph>\n'
    '<Paragraph Type="Dialogue"><Text>It </Text><Text Style="Italic">räins.</Text></Paragraph>\n'
    "</Content></FinalDraft>\n"
).encode()
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
WRITTEN_BY_PROGRAMS = {
    "a mail": mail(),
    "a mail in base64": mail(coding="base64"),
    "a mail of Apple": b"512  \n" + mail(),
    "a mail with CRLF": mail().replace(b"\n", b"\r\n"),
    "a page": page_with_picture(),
    "a screenplay": SCREENPLAY,
}


@pytest.mark.parametrize("data", WRITTEN_BY_PROGRAMS.values(), ids=WRITTEN_BY_PROGRAMS)
def test_what_a_program_has_coded_is_refused_with_a_command_that_gets_its_text(data):
    Path("letter").write_bytes(data)
    with pytest.raises(DataError, match=r"letter is a .*, not a plain text") as refused:
        read_corpus(["letter"], is_for_training=False)

    typed = re.search(r"(python3 .*) > (\S+\.(?:txt|html))", str(refused.value))
    command = typed[1].replace("FILE", "letter").replace("python3", sys.executable, 1)
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    assert "It räins." in done.stdout or GREETING.strip() in done.stdout
    assert "=C3" not in done.stdout and "Subject" not in done.stdout
    assert pandoc_kind(done.stdout.encode()) or typed[2] == "text.txt"


def test_it_is_read_as_it_stands_if_one_asks_for_it():
    Path("letter.eml").write_bytes(mail())
    content = read_corpus(["letter.eml"], is_for_training=False, clean=False).content
    assert content.startswith("From: Ana")


def test_a_folder_of_mails_names_the_whole_command_once():
    Path("mails").mkdir()
    for number in range(9):
        Path(f"mails/{number}.txt").write_bytes(mail(To=f"ben{number}@sea"))
    with pytest.raises(DataError, match="no file to learn from") as refused:
        read_corpus(["mails"], order="sorted")
    assert str(refused.value).count("0.txt is a mail, not a plain text") == 1
    assert "FILE > text.txt" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "From: Ana\nSubject: a lamp\n\nIt is a letter that somebody typed.\n",
        "To: the reader\n\nMessage-ID: no\n",
        "Received: one lamp. From: the sea.\n",
        "Name: lamp\nVersion: 1\nDescription-Content-Type: text/markdown\n\nIt is lit.\n",
    ],
)
def test_a_text_with_a_head_of_its_own_is_no_mail(text):
    Path("a.txt").write_text(text)
    assert read_corpus(["a.txt"], is_for_training=False).content == text


@pytest.mark.parametrize(
    "data, kind, way",
    [
        (in_zip("META-INF/container.xml", "song.xml"), "a score", "xml2abc.py FILE > tunes.abc"),
        (in_zip("song.mscx"), "a score", "ABC"),
        (in_zip("set", "a.png"), "a ZIP archive", "unzip FILE$"),
        (OLE + "__properties_version1.0".encode("utf-16-le"), "a mail of Outlook", "msgconvert"),
        (b"!BDN\0\0", "a mailbox of Outlook", "readpst"),
        (b"bplist00\xd1_\x10\x0fWebMainResource", "a page that Safari has saved", "textutil"),
        (b"bplist00\xd1", "data of another program", "that program"),
        (b"AT&TFORM\0\0", "a scanned book", "djvutxt"),
        (b"\xffWPC\1", "WordPerfect", "libreoffice"),
        (b"<?xml version='1.0'?>\n<office:document a='b'>", "a document in XML", "libreoffice"),
        (b'<document type="Open Screenplay Format document">', "a screenplay", "plain text"),
    ],
)
def test_other_kinds_are_refused_with_the_way_to_their_text(data, kind, way):
    Path("no").write_bytes(data)
    with pytest.raises(DataError, match=f"no is .*{kind}.*, not a plain text: get its text.*{way}"):
        read_corpus(["no"], is_for_training=False)


def test_an_archive_with_a_package_is_an_e_book():
    assert pandoc_kind(in_zip("META-INF/container.xml", "OEBPS/content.opf")).format == "epub"
    assert pandoc_kind(in_zip("META-INF/container.xml", "song.xml")) is None


def noted(content, name="a.txt"):
    Path(name).write_text(content)
    return read_corpus([name], is_for_training=False).notes


AOZORA_HEAD = f"{'-' * 55}\n【テキスト中に現れる記号について】\n\n《》：ルビ\n{'-' * 55}\n\n"


@pytest.mark.parametrize(
    "content, start",
    [
        (
            "".join(f"<s> the lamp is number {n} . </s>\n" for n in range(90)),
            "the lamp is number 0",
        ),
        ('[Event "Club"]\n[Round "1"]\n\n1. e4 e5 2. Nf3\n\n' * 9, "\n1. e4 e5"),
        ("# text = It rains.\n1\tIt\tit\tPRON\t_\n2\trains\train\tVERB\t_\n\n" * 9, "It rains."),
        ("L1 +++$+++ u0 +++$+++ ANA +++$+++ It rains.\n" * 9, "It rains."),
        ("".join(f"Bread &amp; butter &lt;3 number {n}\n" for n in range(90)), "Bread & butter <3"),
        (
            f"雨\n\n{AOZORA_HEAD}　｜或日《あるひ》の暮方《くれがた》の事［＃「事」に傍点］である。\n"
            * 9,
            "雨\n\n　或日の暮方の事である。",
        ),
    ],
    ids=["tags", "games", "analysed", "fields", "entities", "readings"],
)
def test_a_note_gives_a_command_that_takes_the_text_out(content, start):
    [note] = noted(content)
    typed = re.search(r"(?:sed|grep|python3) .*? > \w+\.txt", note)[0]
    command = typed.replace("FILE", "a.txt").replace("python3", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)
    made = Path(re.search(r"> (\S+)$", command)[1]).read_text()
    assert made.lstrip(" ").startswith(start)


@pytest.mark.parametrize("encoding", ["cp932", "utf-16"])
def test_a_note_says_how_a_file_is_brought_into_the_encoding_of_its_command(encoding):
    """Aozora Bunko writes its files in Shift JIS."""
    written = f"雨\n\n{AOZORA_HEAD}　｜或日《あるひ》の暮方《くれがた》の事である。\n" * 9
    Path("a.txt").write_text(written, encoding=encoding)
    [note] = read_corpus(["a.txt"], encoding=encoding, is_for_training=False).notes
    decode = re.search(r"python3 -X utf8 -c \"print.* > utf-8\.txt", note)[0]
    command = decode.replace("FILE", "a.txt").replace("python3", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)
    assert Path("utf-8.txt").read_text("utf-8") == written
    assert "utf-8.txt" not in str(noted(written))


def test_lines_between_tags_are_no_drawing_but_a_page_of_xml_is():
    line = "<s> the lamp </s>\n"
    assert data_kind(line * 9, "a.txt") == ""
    assert data_kind("<text>\n<s> the lamp </s>\n<s> the </s>\n</text>\n", "a.txt")
    assert data_kind("BEGIN:VCARD\nVERSION:3.0\n", "a.vcf")


def test_a_page_of_markdown_with_a_picture_at_its_head_is_no_drawing():
    for head in ('<img src="a.png" align="right">', '<a href="b"/>', "<br />\n<br>"):
        page = f"{head}\n\n# Lamps\n\n| lamp | sea |\n|---|---|\n| <b>one</b> | <b>two</b> |\n"
        assert data_kind(page, "README.md") == ""


def table(row):
    return f"{','.join(row)}\n" + f"{','.join(row.values())}\n" * 9


@pytest.mark.parametrize(
    "suffix, write", [("json", lambda row: json.dumps([row] * 9)), ("csv", table)]
)
def test_a_folder_of_tables_that_differ_has_a_note(suffix, write):
    os.makedirs("notes")
    for number in range(4):
        row = {f"about{number}": "Lamps", "text": "It rains on the sea"}
        Path(f"notes/{number}.{suffix}").write_text(write(row))
    [note] = read_corpus(["notes"]).notes
    assert "4 of 4 files have text: charrnn train notes `column=text` reads it" in note
    # What all files have is no text.
    for number in range(4):
        row = {"id": str(number), f"story{number}": "It rains on the sea"}
        Path(f"notes/{number}.{suffix}").write_text(write(row))
    [note] = read_corpus(["notes"]).notes
    assert "; its files have different" in note and "`column=NAME` reads one of a file" in note


def test_a_command_that_leaves_the_words_of_xml_is_given_where_there_are_words():
    verses = "<book>\n" + "<verse>It rains.</verse>\n" * 9 + "</book>\n"
    assert "sed 's/<[^>]*>/ /g' FILE" in data_kind(verses, "a.xml")
    outline = "<opml><title>Sea</title>" + '<outline text="Lamps by the sea"/>' * 9 + "</opml>\n"
    icon = '<svg viewBox="0 0 9 9"><path stroke="currentColor" d="M5 12H2"/></svg>'
    for drawing in (outline, icon):
        kind = data_kind(drawing, "a.svg")
        assert kind == "drawings or XML with its tags, between which it has hardly a word"


def test_a_song_is_no_list():
    lines = [f"The lamp is lit for the {number}th time" for number in range(60)]
    assert "look like a list" in noted("\n".join(lines) + "\n")[0]
    refrain = "And it rains\nAll day long\n"
    assert noted("".join(f"{line}\n{refrain}" for line in lines)) == ()


def test_copies_are_named_with_their_folders():
    for folder in ("one", "two"):
        Path("book", folder).mkdir(parents=True)
        Path("book", folder, "index.txt").write_text("The same lamp.\n" * 9)
    notes = read_corpus(["book"], order="sorted").notes
    assert (
        "book has files that look like copies of one another: one/index.txt = two/index.txt"
        in notes
    )
