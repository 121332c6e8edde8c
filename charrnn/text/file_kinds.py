"""Recognise what a file is: by its first bytes or, of a ZIP archive, by the names in it.

Each kind is a row of a table. A document is read by pandoc; of what is no text, a message says how
to get one.
"""

import io
import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from charrnn.errors import named
from charrnn.system.files import LFS_POINTER

DAMAGED = (
    BadZipFile,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)
"""What a damaged document raises where it is read."""


class Kind(NamedTuple):
    """A kind of files that pandoc reads.

    Every other file has none.
    """

    what: str
    """What it is, for a message."""
    format: str
    """The format by which pandoc reads it."""


_PROLOGUE = rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*)*"
# The names in an archive; any file of a folder will do, because programs name the first one
# differently.
_ZIP = b"PK\0"
_IN_ZIP = _ZIP + rb"(?:.*\n)?"
_BY_PANDOC: Sequence[tuple[bytes, Kind]] = (
    (_IN_ZIP + rb"word/", Kind("a Word document", "docx")),
    (_IN_ZIP + rb"ppt/", Kind("slides", "pptx")),
    # Compressed MusicXML has such a container, too.
    (
        rb"(?=.*(?:\.opf|application/epub\+zip)\n)" + _IN_ZIP + rb"META-INF/container\.xml\n",
        Kind("an e-book", "epub"),
    ),
    (
        _IN_ZIP + rb"application/vnd\.oasis\.opendocument\.text\n",
        Kind("an OpenDocument file", "odt"),
    ),
    (rb"\{\\rtf", Kind("an RTF document", "rtf")),
    (
        rb'\s*\{(?=.*"(?:cell_type|nbformat)"\s*:)\s*"(?:cells|metadata|nbformat(?:_minor)?)"',
        Kind("a Jupyter notebook", "ipynb"),
    ),
    (_PROLOGUE + rb"<(?i:!doctype html|html|head|body)[\s>]", Kind("an HTML page", "html")),
    (_PROLOGUE + rb"<FictionBook\s", Kind("an e-book", "fb2")),
)
"""Documents by their beginning. Of these, a model may learn as they stand."""

_PASSWORD = "EncryptionInfo".encode("utf-16-le")
_OLD_OFFICE = rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_REFUSED: Sequence[tuple[bytes, str, str]] = (
    (
        _IN_ZIP + rb"(?:xl/|application/vnd\.oasis\.opendocument\.spreadsheet\n)",
        "a spreadsheet",
        "saving it as CSV",
    ),
    (
        _IN_ZIP + rb"(?:[^\n]*/)?(?:Index\.zip|[^\n]*\.iwa)\n",
        "a document of Pages, Numbers or Keynote",
        "saving it as plain text in the program that made it",
    ),
    (_IN_ZIP + rb"config\.yaml", "an exported model", "charrnn sample FILE"),
    (
        _IN_ZIP + rb"(?:META-INF/container\.xml|[^\n]*\.mscx)\n",
        "a score (compressed MusicXML, or MuseScore)",
        "saving it as ABC in the program that made it, or xml2abc.py FILE > tunes.abc",
    ),
    (
        _IN_ZIP + rb"application/vnd\.oasis\.opendocument\.presentation\n",
        "slides of LibreOffice",
        "libreoffice --convert-to pptx FILE, which charrnn reads",
    ),
    (_ZIP, "a ZIP archive or a document of another program", "unzip FILE"),
    (rb"(?:\xef\xbb\xbf)?\s*%PDF-\d", "a PDF file", "pdftotext -nopgbrk FILE text.txt"),
    (
        _OLD_OFFICE + rb"(?=.*%b)" % _PASSWORD,
        "a document that is protected by a password",
        "saving it without one in the program that made it",
    ),
    (
        _OLD_OFFICE + rb"(?=.*%b)" % "__properties_version1.0".encode("utf-16-le"),
        "a mail of Outlook",
        "saving it as text in Outlook, or msgconvert FILE, which writes a mail (.eml)",
    ),
    (_OLD_OFFICE, "a document of an old Microsoft Office", "libreoffice --convert-to txt FILE"),
    (rb"\xffWPC", "a document of WordPerfect", "libreoffice --convert-to txt FILE"),
    (rb"!BDN", "a mailbox of Outlook", "readpst FILE, which writes a mailbox (mbox)"),
    (rb"\x78\x9f\x3e\x22", "the attachments of a mail of Outlook (winmail.dat)", "tnef FILE"),
    (
        rb"bplist00(?=.*WebMainResource)",
        "a page that Safari has saved",
        "textutil -convert txt FILE on a Mac",
    ),
    (rb"AT&TFORM", "a scanned book (DjVu)", "djvutxt FILE text.txt"),
    (rb".{60}(?:BOOKMOBI|TEXtREAd)", "an e-book", "ebook-convert FILE text.txt"),
    (
        rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x1f\x8b\x08|7z\xbc\xaf\x27\x1c"
        rb"|Rar!\x1a\x07|.{257}ustar",
        "an archive or a compressed file",
        "unpacking it (what ends in .gz is unpacked here)",
    ),
    (rb"\x89PNG\r|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP", "a picture", "tesseract FILE text"),
    (
        rb"ID3[\2-\4]\0|\xff[\xf2\xf3\xfb]|RIFF|OggS\0|fLaC\0|MThd\0|\0\0\0.ftyp",
        "a recording",
        "a program that recognises speech",
    ),
    (
        rb"SQLite format 3\0",
        "a database of SQLite",
        "sqlite3 FILE 'select COLUMN from TABLE' > text.txt (sqlite3 FILE .schema lists the tables"
        " and their columns)",
    ),
    (
        rb"PAR1[^ -~]",
        "a table in Parquet",
        "python3 -c \"import pandas; pandas.read_parquet('FILE').to_csv('table.csv',"
        ' index=False)", which takes pip install pandas pyarrow',
    ),
    (
        rb"ARROW1\0|\x80[\2-\5][^ -~]|\x93NUMPY|\x89HDF\r"
        rb"|bplist00",
        "data of another program",
        "saving its texts with that program",
    ),
    # Google Drive, links of Windows and of a Mac, git-annex and Git LFS.
    (
        rb'\s*\{(?=[^{}]*"(?:url|doc_id|resource_id)"\s*:)(?=[^{}]*"(?:email|doc_id)"\s*:)'
        rb"[^{}]*\}\s*\Z"
        rb"|\[InternetShortcut\]\s|/?(?:\.\./)*(?:\.git/)?annex/objects/\S+\s*\Z"
        rb"|<\?xml(?=.{0,300}<plist)(?=.{0,600}<key>URL</key>)|" + re.escape(LFS_POINTER),
        "a pointer to a file that is elsewhere",
        "exporting or fetching that one (git lfs pull, git annex get)",
    ),
)
"""What is no text, and what charrnn does not read, by its first bytes."""
_HEADER = rb"(?:[!-9;-~]+:|[ \t])[^\r\n]*\r?\n"
_MAIL = (
    rb"(?:\xef\xbb\xbf)?(?:\d+ *\r?\n)?"
    rb"(?=(?:%b){0,200}?(?i:From|To|Subject|Date):)"
    % _HEADER
    + rb"(?=(?:%b){0,200}?(?i:MIME-Version|Message-ID|Received|Return-Path|Content-T[a-z-]+):)"
    % _HEADER
)
# Apple Mail writes the number of bytes before a mail.
_TEXT_OF_MAIL = (
    'python3 -X utf8 -c "import email, sys; from email.policy import default;'
    " [print(part.get_content()) for name in sys.argv[1:] for part in [email.message_from_bytes("
    "open(name, 'rb').read().lstrip(b'0123456789 \\r\\n'), policy=default).get_body({kinds})]"
    ' if part]" FILE > {file}'
)
_AS_IT_STANDS = f"{named('clean', 'false')} takes it as it stands"
_WRITTEN: Sequence[tuple[bytes, str, str]] = (
    (
        _MAIL
        + rb"(?=(?:%b){0,200}?(?:From: *[\"<]*Saved by|Snapshot-Content-Location:))" % _HEADER,
        "a page with its pictures (MHTML)",
        _TEXT_OF_MAIL.format(kinds=("html", "plain"), file="page.html") + ", which charrnn reads",
    ),
    (_MAIL, "a mail", _TEXT_OF_MAIL.format(kinds=("plain", "html"), file="text.txt")),
    (
        _PROLOGUE + rb"<FinalDraft\s",
        "a screenplay of Final Draft",
        'exporting it as text there, or python3 -X utf8 -c "import xml.etree.ElementTree as E;'
        " [print(''.join(text.text or '' for text in line.iter('Text')))"
        " for line in E.parse('FILE').iter('Paragraph')]\" > text.txt",
    ),
    (
        _PROLOGUE + rb"<document\s[^>]*Open Screenplay Format",
        "a screenplay (Open Screenplay Format)",
        "saving it as plain text or Fountain in the program that made it",
    ),
    (
        _PROLOGUE + rb"<(?:office:document|pkg:package|w:wordDocument|abiword|DOCTYPE abiword)\s",
        "a document in XML",
        "libreoffice --convert-to txt FILE",
    ),
)
"""Texts that a program has written for itself, with codes, tags and headers in them. They can be
taken as they stand."""
TAGGED_LINES = r"\s*(?:<(\w+)>[^\n]*</\1>[ \t]*\n\s*){2}"
"""Matches lines each of which stands between a tag and its end, such as <s> and </s>."""
# Lines between the marks of sentences are no XML, but have a note of their own. What begins with an
# element that has no end, such as a picture, is a page of Markdown.
_XML = (
    rf"(?!{TAGGED_LINES})"
    r"\s*(?:(?:<\?xml[^>]*>|<!--(?:(?!-->).)*-->|<!(?!--)[^>\[]*(?:\[[^\]]*\][^>]*)?>)\s*)*"
    r"(?!<(?i:img|br|hr|input|link|meta|source)\b|<[^<>]*/>)"
    r"<([A-Za-z][\w:.-]*)[\s/>](?=.*</)(?!.*</\2>\s*[^\s<])"
)
_DATA: Sequence[tuple[str, str]] = (
    (r"%!PS", "PostScript"),
    (r'\s*\{(?=.*"mappings"\s*:)(?=.{0,300}"(?:version|file|sources)"\s*:)', "source maps"),
    (
        r"(?=[^\n]*[a-z])(?=[^\n]*[A-Z])(?=[^\n]*\d)"
        r"(?:(?:[A-Za-z0-9+/]{60,}={0,2}\r?\n){10}|[A-Za-z0-9+/]{1000})",
        "base64",
    ),
    (
        r"\{[0-9]+\}\{[0-9]+\}|\[(?:Script Info|INFORMATION)\]|\[Events\]|(?:\[[a-z]+:[^\]]*\]\s*)*"
        r"\[\d\d:\d\d\.\d\d\]|\s*<(?:tt\s|(?i:sami)[\s>])|\s*[\d:]+[.,]\d+\s*-->",
        "subtitles with their times, which other programs save as .srt",
    ),
    # IRC, LINE and KakaoTalk.
    (
        r"(?:[^\n]*\n){0,9}?(?:(?:\[?\d?\d:\d\d(?::\d\d)?\]?(?: <[^<>\n]+> |\t[^\t\n]+\t)"
        r"|\[[^\]\n]+\] \[[^\]\n]*\d:\d\d\] ?)[^\n]*\n){3}",
        "a chat with its times, which stay in it",
    ),
    (r"BEGIN:V(?:CARD|CALENDAR)\s", "addresses or dates with the names of their fields"),
    (_XML, "drawings or XML with its tags"),
)
"""Texts that nobody wrote as they stand."""
SCRIPTS = (
    "script",
    "left out {num} in pages of {label} (<script>, <style>);"
    f" {named('clean', 'false')} keeps the pages as they are",
)
"""A change of a text: what pandoc does not read of a page, though it may be what one wants."""
_SCRIPT = re.compile(rb"<(?:script|style)\b[^>]*>\s*[^<\s]", re.IGNORECASE)
MINIFIED = 1000
"""Characters of a line on average from which on a program or a style is called minified."""
LEAST_BETWEEN = 0.1
"""Share of the letters of XML that are its words, at least: of the others, a command would leave
nothing."""
_PROGRAM = re.compile(r"\.(?:m?js|css|map)(?:\.gz)?$", re.IGNORECASE)


def pandoc_kind(data: bytes) -> Kind | None:
    """Return the kind of a file for pandoc that begins with these bytes, None for others. A ZIP
    archive must be whole.

    It is asked first: what it knows is converted, and what it does not know is refused by
    `why_not_text` or read as it stands.
    """
    start = _with_names(data)
    for pattern, kind in _BY_PANDOC:
        if re.match(pattern, start, re.DOTALL):
            return kind
    return None


def why_not_text(data: bytes, *, clean: bool) -> str:
    """Say what kind of file begins with these bytes, and how to get a text out of it; "" if it may
    be a text. Where a text is not to be made `clean`, a mail is taken as it stands.

    A picture or a spreadsheet that is read as text gives a model of garbage, without any error.
    """
    start = _with_names(data)
    if not clean and start.startswith(_ZIP) and (kind := pandoc_kind(data)):
        return (
            f"is {kind.what}, not a plain text: get its text by leaving"
            f" {named('clean', 'false')} out, so that pandoc reads it"
        )
    for pattern, what, way in _REFUSED:
        if re.match(pattern, start, re.DOTALL):
            return f"is {what}, not a plain text: get its text by {way}"
    if not clean:
        return ""
    for pattern, what, way in _WRITTEN:
        if re.match(pattern, start, re.DOTALL):
            return f"is {what}, not a plain text: get its text by {way}; {_AS_IT_STANDS}"
    return ""


def num_scripts(page: bytes) -> int:
    """Return the number of programs and styles that stand in an HTML page.

    Pandoc leaves them out in silence, and a note has to say so.
    """
    return len(_SCRIPT.findall(page))


def _with_names(data: bytes) -> bytes:
    """Return the names in a ZIP archive, and what it says it is, on lines of their own; the bytes
    of any other file."""
    if not data.startswith(b"PK"):
        return data
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            names = [name.encode() for name in archive.namelist()]
            if b"mimetype" in names:
                names.append(archive.read("mimetype").strip())
    except DAMAGED:
        return data
    return _ZIP + b"\n".join([*names, b""])


def why_protected(data: bytes) -> str:
    """Say that the text of a document is encrypted; "" if it is not.

    Pandoc would only call the file damaged.
    """
    if not data.startswith(b"PK"):
        return ""
    with ZipFile(io.BytesIO(data)) as archive:
        said = b""
        for name in {"META-INF/manifest.xml", "META-INF/encryption.xml"} & {*archive.namelist()}:
            said += archive.read(name)
    if b"encryption-data" in said:
        return "is protected by a password: save it without one in the program that made it"
    # Scrambled fonts are no hindrance.
    if re.search(rb"""CipherReference\s+URI=["'][^"']*\.x?html?["']""", said):
        return "is protected against copying (DRM): its text cannot be read"
    return ""


def data_kind(start: str, name: str) -> str:
    """Say what kind of data or generated text a file with this name begins with; "" for any other
    text.

    Such a file is read all the same; the note asks whether the user means it.
    """
    # What a program has made is known by its beginning, or by its long lines.
    for pattern, what in _DATA:
        if re.match(pattern, start, re.DOTALL):
            if pattern == _XML:
                what += _remedy_for_tags(start)
            return what
    if _PROGRAM.search(name) and len(start) > MINIFIED * (1 + start.count("\n")):
        return "minified code"
    return ""


def _remedy_for_tags(start: str) -> str:
    """Say how the words of XML that begins like this are had without its tags."""
    letters_between = re.findall(r"[^\W\d_]", re.sub(r"<[^>]*>", "", start))
    letters = re.findall(r"[^\W\d_]", start)
    # The words of an outline, or of a drawing, may be values of attributes.
    if len(letters_between) < LEAST_BETWEEN * len(letters):
        return ", between which it has hardly a word"
    return ", of which sed 's/<[^>]*>/ /g' FILE > text.txt leaves the words"
