"""Recognise what a file is: by its first bytes or, of a ZIP archive, by the names in it.

Each kind is a row of a table. A document is read by pandoc; of what is no text, a message says how
to get one.
"""

import io
import re
from collections.abc import Sequence
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from charrnn.errors import named


class Kind(NamedTuple):
    """A kind of documents."""

    what: str
    """What it is, for a message."""
    format: str
    """The format by which pandoc reads it."""


_PROLOGUE = rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*"
_OPEN_DOCUMENT = r"application/vnd\.oasis\.opendocument\."
# Any file of these folders will do, because programs name the first one differently.
_IN_ZIP = (
    (r"word/", Kind("a Word document", "docx")),
    (r"ppt/", Kind("slides", "pptx")),
    (r"META-INF/container\.xml", Kind("an e-book", "epub")),
    (rf"{_OPEN_DOCUMENT}text$", Kind("an OpenDocument file", "odt")),
)
_RICH_TEXT: Sequence[tuple[bytes, Kind]] = (
    (rb"\{\\rtf", Kind("an RTF document", "rtf")),
    (
        rb'\s*\{(?=.*"(?:cell_type|nbformat)"\s*:)\s*"(?:cells|metadata|nbformat(?:_minor)?)"',
        Kind("a Jupyter notebook", "ipynb"),
    ),
)
_MARKUP: Sequence[tuple[bytes, Kind]] = (
    (_PROLOGUE + rb"<(?i:!doctype html|html|head|body)[\s>]", Kind("an HTML page", "html")),
    (_PROLOGUE + rb"<FictionBook\s", Kind("an e-book", "fb2")),
)
"""What could be learned from as it stands."""

_EXPORT = "saving it as plain text in the program that made it"
_CSV = "saving it as CSV"
_REFUSED_IN_ZIP = (
    (r"xl/", "a spreadsheet", _CSV),
    (r"(?:.*/)?(?:Index\.zip|.*\.iwa)$", "a document of Pages, Numbers or Keynote", _EXPORT),
    (r"config\.yaml", "an exported model", "charrnn sample FILE"),
    (rf"{_OPEN_DOCUMENT}spreadsheet$", "a spreadsheet", _CSV),
)
# The first bytes are those of the formats' own specifications.
_PICTURE = rb"\x89PNG\r|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF.{4}WEBP|BM.{4}\0\0\0\0"
_SOUND = rb"ID3[\2-\4]\0|\xff[\xf2\xf3\xfb]|RIFF.{4}(?:WAVE|AVI )|OggS\0|fLaC\0|MThd\0"
_PASSWORD = "EncryptionInfo".encode("utf-16-le")
_REFUSED: Sequence[tuple[bytes, str, str]] = (
    (rb"(?:\xef\xbb\xbf)?\s*%PDF-\d", "a PDF file", "pdftotext -nopgbrk FILE text.txt"),
    (rb"PK(?:\x03\x04|\x05\x06)", "a ZIP archive", "unzip FILE"),
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1(?=.*%b)" % _PASSWORD,
        "a document that is protected by a password",
        "saving it without one in the program that made it",
    ),
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a document of an old Microsoft Office",
        "libreoffice --convert-to txt FILE",
    ),
    (rb".{60}(?:BOOKMOBI|TEXtREAd)", "an e-book", "ebook-convert FILE text.txt"),
    # Compressed files and archives.
    (rb"BZh[1-9]1AY&SY", "compressed by bzip2", "bunzip2 FILE"),
    (rb"\xfd7zXZ\0", "compressed by xz", "unxz FILE"),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd", "unzstd FILE"),
    (rb"\x04\x22\x4d\x18", "compressed by lz4", "unlz4 FILE"),
    (rb"\x1f\x9d", "compressed by compress", "uncompress FILE"),
    (rb"\x1f\x8b\x08", "compressed by gzip", "a name that ends in .gz"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x FILE"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unrar x FILE"),
    (rb".{257}ustar", "a tar archive", "tar -xf FILE"),
    # Tables, pictures, sounds and numbers.
    (rb"PAR1[^ -~]", "a Parquet file", "pandas.read_parquet(FILE).to_csv(…)"),
    (rb"ARROW1\0", "a Feather file", "pandas.read_feather(FILE).to_csv(…)"),
    (_PICTURE, "a picture", "tesseract FILE text"),
    (
        _SOUND + rb"|\0\0\0.ftyp|\x1aE\xdf\xa3",
        "a recording",
        "a program that recognises speech",
    ),
    (rb"SQLite format 3\0", "a SQLite database", "sqlite3 -csv FILE 'select …'"),
    (
        rb"\x80[\2-\5][^ -~]|.{3}\0{5}\{\"|\x93NUMPY|\x89HDF\r|GGUF[^ -~]",
        "data of another program",
        "saving its texts with that program",
    ),
)
"""What is no text, and what charrnn does not read."""
_POINTERS = (
    # Google Drive, links of Windows and of a Mac, and git-annex.
    rb'\s*\{(?=[^{}]*"(?:url|doc_id|resource_id)"\s*:)(?=[^{}]*"(?:email|doc_id)"\s*:)[^{}]*\}\s*\Z'
    rb"|\[InternetShortcut\]\s|/?(?:\.\./)*(?:\.git/)?annex/objects/\S+\s*\Z"
    rb"|<\?xml(?=.{0,300}<plist)(?=.{0,600}<key>URL</key>)"
)
MAX_POINTER = 4096
"""Bytes of a file that stands for another one on a server, at most."""

_DATA: Sequence[tuple[bytes, str]] = (
    (rb"%!PS", "PostScript"),
    (rb'\s*\{(?=.*"mappings"\s*:)(?=.{0,300}"(?:version|file|sources)"\s*:)', "source maps"),
    (rb"(?:[A-Za-z0-9+/]{60,}={0,2}\r?\n){10}|[A-Za-z0-9+/]{1000}", "base64"),
    (_PROLOGUE + rb"(?:<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", "drawings in SVG"),
    (
        rb"\{[0-9]+\}\{[0-9]+\}|\[Script Info\]|\[Events\]|(?:\[[a-z]+:[^\]]*\]\s*)*"
        rb"\[\d\d:\d\d[.:]\d\d\]|" + _PROLOGUE + rb"<(?:tt\s|(?i:sami)[\s>])",
        "subtitles with their times, which other programs save as .srt",
    ),
    (_PROLOGUE + rb"<(?![!?])[A-Za-z][\w:.-]*[\s/>](?=.*</)", "XML with its tags"),
)
"""Texts that nobody wrote as they stand."""
MINIFIED = 1000
"""Characters of a line on average from which on a program or a style is called minified."""
_PROGRAM = re.compile(r"\.(?:m?js|css|json|map)(?:\.gz)?$", re.IGNORECASE)


def document_kind(data: bytes, *, is_cleaned: bool) -> Kind | None:
    """Return the kind of a document that begins with these bytes, None for anything else. A ZIP
    archive must be whole. What could be learned from as it stands counts if it `is_cleaned`."""
    for name in _names_in_zip(data):
        for pattern, kind in _IN_ZIP:
            if re.match(pattern, name):
                return kind
    # A page may be learned from with its tags.
    rows = [*_RICH_TEXT]
    if is_cleaned:
        rows += _MARKUP
    for start, kind in rows:
        if re.match(start, data, re.DOTALL):
            return kind
    return None


def why_not_text(data: bytes) -> str:
    """Say what kind of file begins with these bytes, and how to get a text out of it; "" if it may
    be a text."""
    # A document is refused only as the text of a model that reads files as they stand.
    what = way = ""
    if document := document_kind(data, is_cleaned=False):
        what = document.what
        way = f"leaving {named('clean', 'false')} out, and giving it as a file"
    # By the names in an archive, and else by the beginning.
    for name in _names_in_zip(data):
        for name_pattern, refused, remedy in _REFUSED_IN_ZIP:
            if not what and re.match(name_pattern, name):
                what, way = refused, remedy
    for pattern, refused, remedy in _REFUSED:
        if not what and re.match(pattern, data, re.DOTALL):
            what, way = refused, remedy
    if not what:
        return ""
    return f"is {what}, not a plain text: get its text by {way}"


def why_protected(data: bytes) -> str:
    """Say that the text of a document is encrypted; "" if it is not."""
    if not data.startswith(b"PK"):
        return ""
    with ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if any(entry.flag_bits & 1 for entry in archive.infolist()):
            return "is protected by a password: save it without one"
        if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read(
            "META-INF/manifest.xml"
        ):
            return "is protected by a password: save it without one in the program that made it"
        if "META-INF/encryption.xml" not in names:
            return ""
        # Scrambled fonts are no hindrance.
        encrypted = archive.read("META-INF/encryption.xml")
        if re.search(rb"""URI=["'][^"']*\.x?html?["']""", encrypted):
            return "is protected against copying (DRM): its text cannot be read"
    return ""


def is_pointer(data: bytes) -> bool:
    """Whether a small file stands for a document that is somewhere else, such as .gdoc and .url."""
    return len(data) <= MAX_POINTER and bool(re.match(_POINTERS, data, re.DOTALL))


def data_kind(start: bytes, name: str) -> str:
    """Say what kind of data or generated text a file with this name begins with; "" for any other
    text."""
    # What a program has made is known by its beginning, or by its long lines.
    for pattern, what in _DATA:
        if re.match(pattern, start, re.DOTALL):
            return what
    if _PROGRAM.search(name) and len(start) > MINIFIED * (1 + start.count(b"\n")):
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
    except (BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        return []
