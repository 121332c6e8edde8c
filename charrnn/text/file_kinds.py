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
    """A kind of documents."""

    what: str
    """What it is, for a message."""
    format: str
    """The format by which pandoc reads it."""


_PROLOGUE = rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*"
# Any file of these folders will do, because programs name the first one differently.
_IN_ZIP = (
    (r"word/", Kind("a Word document", "docx")),
    (r"ppt/", Kind("slides", "pptx")),
    (r"META-INF/container\.xml", Kind("an e-book", "epub")),
    (r"application/vnd\.oasis\.opendocument\.text$", Kind("an OpenDocument file", "odt")),
)
_DOCUMENTS: Sequence[tuple[bytes, Kind]] = (
    (rb"\{\\rtf", Kind("an RTF document", "rtf")),
    (
        rb'\s*\{(?=.*"(?:cell_type|nbformat)"\s*:)\s*"(?:cells|metadata|nbformat(?:_minor)?)"',
        Kind("a Jupyter notebook", "ipynb"),
    ),
    (_PROLOGUE + rb"<(?i:!doctype html|html|head|body)[\s>]", Kind("an HTML page", "html")),
    (_PROLOGUE + rb"<FictionBook\s", Kind("an e-book", "fb2")),
)
"""Documents by their beginning. Of these, a model may learn as they stand."""

_EXPORT = "saving it as plain text in the program that made it"
_CSV = "saving it as CSV"
_REFUSED_IN_ZIP = (
    (r"xl/|application/vnd\.oasis\.opendocument\.spreadsheet$", "a spreadsheet", _CSV),
    (r"(?:.*/)?(?:Index\.zip|.*\.iwa)$", "a document of Pages, Numbers or Keynote", _EXPORT),
    (r"config\.yaml", "an exported model", "charrnn sample FILE"),
    ("", "a document or a ZIP archive", f"unzip FILE, or leaving {named('clean', 'false')} out"),
)
_PASSWORD = "EncryptionInfo".encode("utf-16-le")
_OLD_OFFICE = rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_REFUSED: Sequence[tuple[bytes, str, str]] = (
    (rb"(?:\xef\xbb\xbf)?\s*%PDF-\d", "a PDF file", "pdftotext -nopgbrk FILE text.txt"),
    (
        _OLD_OFFICE + rb"(?=.*%b)" % _PASSWORD,
        "a document that is protected by a password",
        "saving it without one in the program that made it",
    ),
    (_OLD_OFFICE, "a document of an old Microsoft Office", "libreoffice --convert-to txt FILE"),
    (rb".{60}(?:BOOKMOBI|TEXtREAd)", "an e-book", "ebook-convert FILE text.txt"),
    (
        rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x1f\x8b\x08|7z\xbc\xaf\x27\x1c"
        rb"|Rar!\x1a\x07|.{257}ustar|PK\x05\x06",
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
        rb"SQLite format 3\0|PAR1[^ -~]|ARROW1\0|\x80[\2-\5][^ -~]|\x93NUMPY|\x89HDF\r",
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
_DATA: Sequence[tuple[str, str]] = (
    (r"%!PS", "PostScript"),
    (r'\s*\{(?=.*"mappings"\s*:)(?=.{0,300}"(?:version|file|sources)"\s*:)', "source maps"),
    (r"(?:[A-Za-z0-9+/]{60,}={0,2}\r?\n){10}|[A-Za-z0-9+/]{1000}", "base64"),
    (
        r"\{[0-9]+\}\{[0-9]+\}|\[Script Info\]|\[Events\]|(?:\[[a-z]+:[^\]]*\]\s*)*"
        r"\[\d\d:\d\d[.:]\d\d\]|\s*<(?:tt\s|(?i:sami)[\s>])|\s*[\d:]+[.,]\d+\s*-->",
        "subtitles with their times, which other programs save as .srt",
    ),
    # IRC, LINE and KakaoTalk.
    (
        r"(?:[^\n]*\n){0,9}?(?:(?:\[?\d?\d:\d\d(?::\d\d)?\]?(?: <[^<>\n]+> |\t[^\t\n]+\t)"
        r"|\[[^\]\n]+\] \[[^\]\n]*\d:\d\d\] ?)[^\n]*\n){3}",
        "a chat with its times, which stay in it",
    ),
    (
        r"\s*(?:<\?xml[^>]*>\s*|<!.*?>\s*)*<[A-Za-z][\w:.-]*[\s/>](?=.*</)",
        "drawings or XML with its tags",
    ),
)
"""Texts that nobody wrote as they stand."""
MINIFIED = 1000
"""Characters of a line on average from which on a program or a style is called minified."""
_PROGRAM = re.compile(r"\.(?:m?js|css|json|map)(?:\.gz)?$", re.IGNORECASE)


def document_kind(data: bytes) -> Kind | None:
    """Return the kind of a document that begins with these bytes, None for anything else. A ZIP
    archive must be whole."""
    for name in _names_in_zip(data):
        for pattern, kind in _IN_ZIP:
            if re.match(pattern, name):
                return kind
    for start, kind in _DOCUMENTS:
        if re.match(start, data, re.DOTALL):
            return kind
    return None


def why_not_text(data: bytes) -> str:
    """Say what kind of file begins with these bytes, and how to get a text out of it; "" if it may
    be a text."""
    # By the names in an archive, of which the last row has any, and else by the beginning.
    names = _names_in_zip(data)
    rows = [row[1:] for row in _REFUSED_IN_ZIP if any(re.match(row[0], name) for name in names)]
    rows += [row[1:] for row in _REFUSED if re.match(row[0], data, re.DOTALL)]
    if not rows:
        return ""
    what, way = rows[0]
    return f"is {what}, not a plain text: get its text by {way}"


def why_protected(data: bytes) -> str:
    """Say that the text of a document is encrypted; "" if it is not."""
    if not data.startswith(b"PK"):
        return ""
    with ZipFile(io.BytesIO(data)) as archive:
        said = b""
        for name in {"META-INF/manifest.xml", "META-INF/encryption.xml"} & {*archive.namelist()}:
            said += archive.read(name)
        is_locked = any(entry.flag_bits & 1 for entry in archive.infolist())
    if is_locked or b"encryption-data" in said:
        return "is protected by a password: save it without one in the program that made it"
    # Scrambled fonts are no hindrance.
    if re.search(rb"""CipherReference\s+URI=["'][^"']*\.x?html?["']""", said):
        return "is protected against copying (DRM): its text cannot be read"
    return ""


def data_kind(start: str, name: str) -> str:
    """Say what kind of data or generated text a file with this name begins with; "" for any other
    text."""
    # What a program has made is known by its beginning, or by its long lines.
    for pattern, what in _DATA:
        if re.match(pattern, start, re.DOTALL):
            return what
    if _PROGRAM.search(name) and len(start) > MINIFIED * (1 + start.count("\n")):
        return "minified code"
    return ""


def _names_in_zip(data: bytes) -> list[str]:
    """Return the names in a ZIP archive, and what it says it is; none for any other file."""
    if not data.startswith(b"PK"):
        return []
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if "mimetype" in names:
                names.append(archive.read("mimetype").decode("ascii", "replace").strip())
            return names
    except DAMAGED:
        return []
