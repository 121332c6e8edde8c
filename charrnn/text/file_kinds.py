"""Recognise files that are not plain text by their first bytes, and say how to get their text."""

import re

from charrnn.errors import named
from charrnn.system.files import HTML_START

_PANDOC = "pandoc -t plain -o text.txt FILE"
_CSV = "saving it as CSV"
_ZIP = rb"PK\x03\x04"
_OPEN_DOCUMENT = _ZIP + rb".*mimetypeapplication/vnd\.oasis\.opendocument\."
_KINDS = (
    (rb"(?:\xef\xbb\xbf)?\s*%PDF-\d", "a PDF file", "pdftotext FILE text.txt"),
    (_ZIP + rb".*\0word/", "a Word document", _PANDOC),
    (_OPEN_DOCUMENT + rb"text", "an OpenDocument file", _PANDOC),
    (_ZIP + rb".*mimetypeapplication/epub", "an e-book", _PANDOC),
    (_ZIP + rb".*\0xl/", "a spreadsheet", _CSV),
    (_OPEN_DOCUMENT + rb"spreadsheet", "a spreadsheet", _CSV),
    (rb"PK(?:\x03\x04|\x05\x06)", "a ZIP archive", "unzip FILE"),
    (rb"\{\\rtf", "an RTF document", _PANDOC),
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a document of an old Microsoft Office",
        "libreoffice --convert-to txt FILE",
    ),
    (rb".{60}BOOKMOBI", "an e-book", "ebook-convert FILE text.txt"),
    (rb"BZh[1-9]1AY&SY", "compressed by bzip2", "bunzip2 FILE"),
    (rb"\xfd7zXZ\0", "compressed by xz", "unxz FILE"),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd", "unzstd FILE"),
    (rb"\x04\x22\x4d\x18", "compressed by lz4", "unlz4 FILE"),
    (rb"\x1f\x9d", "compressed by compress", "uncompress FILE"),
    (rb"\x1f\x8b\x08", "compressed by gzip", "a name that ends in .gz"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x FILE"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unrar x FILE"),
    (rb".{257}ustar", "a tar archive", "tar -xf FILE"),
    (rb"PAR1[^ -~]", "a Parquet file", "pandas.read_parquet(FILE).to_csv(…)"),
    (rb"ARROW1\0", "a Feather file", "pandas.read_feather(FILE).to_csv(…)"),
    (
        rb"\x89PNG\r|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF.{4}WEBP|BM.{4}\0\0\0\0",
        "a picture",
        "tesseract FILE text",
    ),
    (
        rb"ID3[\2-\4]\0|\xff[\xf2\xf3\xfb]|RIFF.{4}(?:WAVE|AVI )|OggS\0|fLaC\0|\0\0\0.ftyp"
        rb"|\x1aE\xdf\xa3",
        "a recording",
        "a program that recognises speech",
    ),
    (rb"SQLite format 3\0", "a SQLite database", "sqlite3 -csv FILE 'select …'"),
    (
        rb"\x80[\2-\5][^ -~]|.{3}\0{5}\{\"|\x93NUMPY|\x89HDF\r|GGUF[^ -~]",
        "data of another program",
        "saving its texts with that program",
    ),
    (
        rb'\s*\{(?=.*"(?:cell_type|nbformat)"\s*:)\s*"(?:cells|metadata|nbformat(?:_minor)?)"',
        "a Jupyter notebook",
        "jupyter nbconvert --to markdown FILE",
    ),
)
_PATTERNS = [(re.compile(start, re.DOTALL), what, way) for start, what, way in _KINDS]
_FASTA = re.compile(rb"\s*>[^\n]*\n(?:[A-Za-z*-]+\r?\n){2}")
_BLANK_LINES = re.compile(rb"\n[ \t\r]*\n")
MANY_PARAGRAPHS = 20
"""Paragraphs from which on it is no chance that each second one is of another shape."""
_MAILBOX = re.compile(rb"From \S+ [^\n]*\d\d:\d\d[^\n]*\d{4}[^\n]*\n[A-Za-z-]+: ")


def why_not_text(start: bytes) -> str:
    """Say what kind of file begins with these bytes, and how to get a text out of it; "" if it may
    be a text."""
    for pattern, what, way in _PATTERNS:
        if pattern.match(start):
            return f"is {what}, not a plain text: get its text by {way}"
    return ""


def describe_records(start: bytes, documents: str) -> str:
    """Say of records of several lines or paragraphs, which documents of this kind would tear, how
    to make each a line or a paragraph; "" for any other file."""
    if documents in ("none", "lines") and _FASTA.match(start):
        return (
            "is FASTA, in which a sequence has several lines: for a line and a document each, awk"
            ' \'/^>/ {print ""; next} {printf "%s", $0}\' FILE > sequences.txt, and'
            f" {named('documents', 'lines')}"
        )
    if documents == "blank-lines" and _alternates(start):
        return (
            "has records with a blank line inside, so that each becomes two documents, which are"
            " shuffled apart: join them by awk -v RS= 'NR % 2 {head = $0; next} {print head"
            ' "\\n" $0 "\\n"}\' FILE > records.txt'
        )
    return ""


def _alternates(start: bytes) -> bool:
    """Whether each second paragraph begins with a sign with which no other one begins, as the tags
    of a game of chess do."""
    paragraphs = [lines.lstrip()[:1] for lines in _BLANK_LINES.split(start) if lines.strip()]
    if len(paragraphs) < MANY_PARAGRAPHS:
        return False
    signs = set(paragraphs[::2])
    return len(signs) == 1 and signs.isdisjoint(paragraphs[1::2])


def describe_markup(start: bytes) -> str:
    """Say of an HTML page or a mailbox, which are read as they stand, how to get the text alone; ""
    for any other file."""
    if HTML_START.match(start):
        return (
            "is an HTML page, read with its tags: fetch the text again if a server sent that in its"
            f" place, or get its text by {_PANDOC}"
        )
    if _MAILBOX.match(start):
        return (
            "is a mailbox, read with its headers and attachments: get its texts by Python's module"
            " mailbox"
        )
    return ""
