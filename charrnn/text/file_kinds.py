"""Recognise by its first bytes what a file is, and say how its text is read, or how to get it.

Each kind is a row of a table: what its files begin with, what they are, and what is done.
"""

import re
from collections.abc import Sequence
from shlex import quote
from typing import TypeAlias, TypeVar

from charrnn.errors import named

Action = TypeVar("Action", str, bytes)
Kind: TypeAlias = tuple[bytes, str, str]
"""What the files of a kind begin with, as a pattern; what they are, for a message; and the format
by which pandoc reads them, or the way to their text, in which FILE stands for their name."""

_CSV = "saving it as CSV"
_ZIP = rb"PK\x03\x04"
_OPEN_DOCUMENT = _ZIP + rb".*mimetypeapplication/vnd\.oasis\.opendocument\."
DOCUMENTS: Sequence[Kind] = (
    (_ZIP + rb".*\0word/", "a Word document", "docx"),
    (_OPEN_DOCUMENT + rb"text", "an OpenDocument file", "odt"),
    (_ZIP + rb".*mimetypeapplication/epub", "an e-book", "epub"),
    (rb"\{\\rtf", "an RTF document", "rtf"),
    (
        rb'\s*\{(?=.*"(?:cell_type|nbformat)"\s*:)\s*"(?:cells|metadata|nbformat(?:_minor)?)"',
        "a Jupyter notebook",
        "ipynb",
    ),
)
"""What pandoc reads, and what is no text as it stands."""
MARKUP: Sequence[Kind] = (
    *DOCUMENTS,
    (rb"(?i)\s*<(?:!doctype html|html|head)[\s>]", "an HTML page", "html"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?<FictionBook\s", "an e-book", "fb2"),
    (
        rb"---[ \t]*\n(?:\w[\w-]*:[^\n]*\n|[ \t#-][^\n]*\n)+?(?:---|\.\.\.)[ \t]*\n"
        rb"(?=\n|#|[A-Z])",
        "Markdown below a head of settings",
        "markdown-smart",
    ),
)
"""What pandoc reads, with what could be learned from as it stands."""
_REFUSED: Sequence[Kind] = (
    (rb"(?:\xef\xbb\xbf)?\s*%PDF-\d", "a PDF file", "pdftotext FILE text.txt"),
    (_ZIP + rb".*\0xl/", "a spreadsheet", _CSV),
    (_OPEN_DOCUMENT + rb"spreadsheet", "a spreadsheet", _CSV),
    (_ZIP + rb".{26}config\.yaml", "an exported model", "charrnn sample FILE"),
    (rb"PK(?:\x03\x04|\x05\x06)", "a ZIP archive", "unzip FILE"),
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a document of an old Microsoft Office",
        "libreoffice --convert-to txt FILE",
    ),
    (rb".{60}BOOKMOBI", "an e-book", "ebook-convert FILE text.txt"),
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
)
"""What is no text, and what charrnn does not read."""

_RECORDS: Sequence[Kind] = (
    (
        rb'\s*[\[{](?=.*"(?:messages|conversations)"\s*:\s*\[\s*\{)(?=.*"(?:role|from)"\s*:)'
        rb'(?=.*"(?:content|value)"\s*:)(?!.*"(?:text_entities|guild)"\s*:)',
        "conversations in JSON",
        "jq -c '.. | objects | (.messages? // .conversations?) | arrays | {text: (map("
        '"\\(.role // .from): \\(.content // .value)") | join("\\n"))}\' FILE > texts.jsonl',
    ),
    (
        rb'\s*[\[{](?=.*"(?:instruction|prompt)"\s*:\s*")'
        rb'(?=.*"(?:output|completion|response)"\s*:\s*")',
        "questions and answers in JSON",
        "jq -c '.. | objects | select(.instruction? // .prompt?) | {text: ([.instruction // .prompt"
        ', .input, .output // .completion // .response] | map(strings | select(. != "")) | join('
        '"\\n"))}\' FILE > texts.jsonl',
    ),
)
"""JSON of which each record has several texts that belong together."""

_PAIRS = (
    'awk -v RS= \'NR % 2 {head = $0; next} {print head "\\n" $0 "\\n"}\' FILE > records.txt,'
    f" and {named('documents', 'blank-lines')}"
)
_NOTED: Sequence[Kind] = (
    # Records of several lines or paragraphs.
    (
        rb"\s*>[^\n]*\n(?:[A-Za-z*-]+\n){2}",
        "is FASTA, in which a sequence has several lines: for a line and a document each,",
        'awk \'/^>/ {print ""; next} {printf "%s", $0}\' FILE > sequences.txt, and'
        f" {named('documents', 'lines')}",
    ),
    (
        rb'\s*\[Event "',
        "has games of chess with a blank line inside, which would be torn: for a document each,",
        _PAIRS,
    ),
    # Letters and chats.
    (
        rb"From \S{1,99} [^\n]{0,99}\d\d:\d\d[^\n]{0,99}\d{4}[^\n]{0,99}\n[A-Za-z-]+: ",
        "is a mailbox, read with its headers and attachments: for the texts alone,",
        'python3 -c "import sys, mailbox, email as e, email.policy as p;'
        " [print(t.get_content()) for m in mailbox.mbox(sys.argv[1], lambda f:"
        " e.message_from_binary_file(f, policy=p.default))"
        " if (t := m.get_body(['plain']))]\" FILE > text.txt",
    ),
    (
        rb'\s*\{(?=.*"text_entities"\s*:)',
        "is a Telegram chat, read with its braces, numbers and dates: for the messages alone,",
        'jq -r \'.. | objects | select(.from? and .text_entities? and .text != "") |'
        ' "\\(.from): \\([.text_entities[].text] | add)"\' FILE > chat.txt',
    ),
    (
        rb'\s*\{(?=.*"guild"\s*:)(?=.*"messages"\s*:)',
        "is a Discord chat, read with its braces, numbers and dates: for the messages alone,",
        'jq -r \'.messages[] | select(.content != "") | "\\(.author.name): \\(.content)"\' FILE'
        " > chat.txt",
    ),
    (
        rb'\s*\[\s*\{(?=.*"ts"\s*:\s*"\d+\.\d+")(?=.*"text"\s*:)',
        "is a Slack chat, read with its braces, numbers and dates: for the messages alone,",
        "jq -r '.[] | select(.text) | \"\\(.user_profile.real_name // .user): \\(.text)\"' FILE"
        " > chat.txt",
    ),
)
"""What is read as it stands, and the command that makes a better text of it."""

# WhatsApp writes the date as the language of the phone does, on an iPhone in square brackets and
# with seconds. Before AM there may be a narrow blank that does not break.
_MARK = rb"(?:\xe2\x80[\x8e\x8f])*"
_DAY = rb"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_MINUTE = rb"\d{1,2}[:.]\d\d"
_NOON = rb"(?:(?: |\xc2\xa0|\xe2\x80\xaf)[AaPp]\.?(?: |\xc2\xa0)?[Mm]\.?)?"
_STAMP = (
    _MARK
    + rb"(?:\[%b,? %b(?:[:.]\d\d)?%b\] " % (_DAY, _MINUTE, _NOON)
    + rb"|%b,? %b%b - )" % (_DAY, _MINUTE, _NOON)
)
_DELETED = (
    r"(?:This message was deleted|You deleted this message"
    r"|(?:Diese Nachricht wurde|Du hast diese Nachricht) gelöscht"
    r"|(?:Se eliminó|Eliminaste) este mensaje"
    r"|Ce message a été supprimé|Vous avez supprimé ce message"
    r"|Esta mensagem foi apagada|Você apagou esta mensagem"
    r"|Questo messaggio è stato eliminato|Hai eliminato questo messaggio)\.?"
).encode()
# A log may have such stamps without a comma, and a level or the name of a program before its colon.
_LEVEL = rb"INFO|DEBUG|TRACE|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE"
_LOGGED = rb"[^,\n]{10,40}?(?:\]| -) (?:[a-z][^\s:]*:|(?:[^:\n]{0,59}\W)?(?:%b|%b)\b)" % (
    _LEVEL,
    _LEVEL.lower(),
)
_NAMED = rb"(?!%b)%b[^:\n]{1,60}: [^\n]*\n" % (_LOGGED, _STAMP)
STAMPED: Sequence[tuple[bytes, str, bytes]] = (
    (
        # Two messages with names in a row, which a diary hardly has.
        rb"(?=%b)(?:[^\n]*\n){0,9}?%b(?:(?!%b)[^\n]*\n){0,9}%b" % (_STAMP, _NAMED, _STAMP, _NAMED),
        "the dates and times of a WhatsApp chat, and what stands for its pictures and deleted"
        " messages",
        # A message without a name, or one that begins with a mark or is in brackets, is written by
        # the program; and so is what stands for a deleted one, on Android without a mark.
        rb"\A"
        + _STAMP
        + rb"(?:[^:\n]*\n|[^:\n]*: (?:\xe2\x80\x8e[^\n]*|<[^<>\n]*>|"
        + _DELETED
        + rb"|[A-Z]{3}-\d{8}-WA\d+\.\w+ \([^\n]*\))\n?\Z)?|\xe2\x80\x8e<[^<>\n]*>",
    ),
    # A number and a time stand before each subtitle, and marks of italics in it.
    (
        rb"\s*(?:WEBVTT\b(?=.*\n[\d:]+\.\d+ --> )|\d+[ \t]*\n[\d:]+[,.]\d+ --> )",
        "the numbers and times of subtitles",
        rb"\A(?:\d+|WEBVTT[^\n]*|NOTE[^\n]*|[\d:.,]+ --> [^\n]*)?\s*\Z"
        rb"|</?[a-z][^<>\n]*>|\{\\[^{}\n]*\}",
    ),
)
"""Texts whose lines have parts that nobody wrote: what is left out, and its pattern."""


def find_kind(
    kinds: Sequence[tuple[bytes, str, Action]], start: bytes
) -> tuple[bytes, str, Action] | None:
    """Return the first of some kinds of files that begin with these bytes, None for any other."""
    for kind in kinds:
        if re.match(kind[0], start, re.DOTALL):
            return kind
    return None


def why_not_text(start: bytes) -> str:
    """Say what kind of file begins with these bytes, and how to get a text out of it; "" if it may
    be a text."""
    kind = find_kind(_REFUSED, start)
    if document := find_kind(DOCUMENTS, start):
        kind = *document[:2], f"leaving {named('clean', 'false')} out, and giving it as a file"
    if kind is None:
        return ""
    return f"is {kind[1]}, not a plain text: get its text by {kind[2]}"


def why_torn(start: bytes, name: str) -> str:
    """Say of JSON that begins with these bytes, and whose records have several texts, how to make
    one text of each; "" of any other file."""
    kind = find_kind(_RECORDS, start)
    if kind is None:
        return ""
    return (
        f"is {kind[1]}: write a text for each by {kind[2].replace('FILE', quote(name))}\nand read"
        f" texts.jsonl by {named('column', 'text')}, or {name} as it stands by"
        f" {named('clean', 'false')}"
    )


def joining_pairs(name: str) -> str:
    """Return the command that joins each two paragraphs of a file to a document."""
    return f"for a document each, {_PAIRS.replace('FILE', quote(name))}"


def describe_kind(start: bytes, name: str) -> str:
    """Describe a text whose records would be torn, or which has more than what somebody wrote, and
    name the command that makes a better one of it; "" for any other text."""
    kind = find_kind(_NOTED, start)
    if kind is None:
        return ""
    return f"{kind[1]} {kind[2].replace('FILE', quote(name))}"
