"""What nobody wrote is left out, and every character keeps the line that an editor shows."""

import io
import re
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from read_texts import read_corpus

from charrnn.text import text_files
from charrnn.text.cleaning import tidied, written_lines
from charrnn.text.file_kinds import data_kind, pandoc_kind
from charrnn.text.messages import parse_chat

pytestmark = pytest.mark.usefixtures("here")

STORY = "".join(f"Line {number} of the story.\n" for number in range(9))
BEFORE = "The Project Gutenberg eBook of Rain\n\nThis eBook is for anybody.\n\n"
MODERN = (
    f"{BEFORE}*** START OF THE PROJECT GUTENBERG EBOOK RAIN ***\n\n",
    "\nEnd of Project Gutenberg's Rain\n*** END OF THE PROJECT GUTENBERG EBOOK RAIN ***\n\nTerms.\n",
)
LONG_TITLE = f"{BEFORE}*** START OF THIS PROJECT GUTENBERG EBOOK RAIN\nAND SNOW ***\n\n"
SMALL_PRINT = (
    "**The Project Gutenberg Etext of Rain**\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*\n\n"
)


def read(name, content, **options):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_corpus([name], **options)


def lines_of(corpus):
    """The number in the file of each line of a corpus."""
    content = str(corpus.content)
    starts = [match.start() for match in re.finditer(r"^.", content, re.MULTILINE)]
    return [place.line for place in corpus.places(np.array(starts))]


@pytest.mark.parametrize(
    "before, after",
    [
        MODERN,
        (LONG_TITLE, MODERN[1]),
        (SMALL_PRINT, ""),
        ("", MODERN[1]),
        (MODERN[0], MODERN[1] + MODERN[0] + STORY + MODERN[1]),
    ],
)
def test_the_terms_of_project_gutenberg_are_left_out_of_a_book(before, after):
    corpus = read("books/rain.txt", before + STORY + after)
    times = 1 + after.count(STORY)
    assert str(corpus.content).replace("\n\n", "\n").strip() == (times * STORY).strip()
    assert lines_of(corpus)[:9] == [*range(before.count("\n") + 1, before.count("\n") + 10)]
    assert "left out of books/rain.txt: Project Gutenberg's terms (" in corpus.notes[0]
    whole = read_corpus(["books/rain.txt"], clean=False)
    assert whole.content == before + STORY + after
    paragraphs = read_corpus(["books"], documents="files", order="sorted")
    assert str(paragraphs.content).startswith(STORY.strip())


def test_a_long_head_before_the_small_print_is_left_out():
    head = "The Project Gutenberg Etext of Rain\n" + "Donations are needed.\n" * 150
    small_print = "***START**THE SMALL PRINT!***\nTerms.\n*END*THE SMALL PRINT!*\n\n"
    corpus = read("rain.txt", head + small_print + 20 * STORY)
    assert str(corpus.content) == 20 * STORY


def test_another_text_behind_a_book_stays_with_the_terms_before_it():
    corpus = read("rain.txt", MODERN[0] + STORY + MODERN[1] + "Other words.\n" * 700)
    assert str(corpus.content).count("Other words.") == 700
    assert "Project Gutenberg's terms (6 lines)" in str(corpus.notes)


IPHONE = (
    "\u200e[28.11.26, 22:13:07] Us: \u200eMessages and calls are end-to-end encrypted.\r\n"
    "[28.11.26, 22:13:08] Mara: I am at the river.\nIt rains.\r\n"
    "\u200e[28.11.26, 22:14:00] ~\u202fBen: \u200eimage omitted\r\n"
    "[28.11.26, 22:15:00] ~\u202fBen: Stay: I come.\u200e<This message was edited>\r\n"
)
ANDROID = (
    "11/28/26, 10:13\u202fPM - Messages and calls are end-to-end encrypted.\n"
    "11/28/26, 10:13\u202fPM - Mara: I am at the river.\nIt rains.\n"
    "11/28/26, 10:14\u202fPM - Ben: <Media omitted>\n"
    "11/28/26, 10:14\u202fPM - Ben: IMG-20261128-WA0001.jpg (file attached)\n"
    "11/28/26, 10:15\u202fPM - Ben: Stay: I come.\n"
)
DELETED = (
    "This message was deleted",
    "You deleted this message.",
    "Diese Nachricht wurde gelöscht.",
    "Du hast diese Nachricht gelöscht.",
    "Se eliminó este mensaje.",
    "Ce message a été supprimé",
    "Esta mensagem foi apagada",
    "Questo messaggio è stato eliminato.",
)
CHAT = "Mara: I am at the river.\nIt rains.\nBen: Stay: I come.\n"


@pytest.mark.parametrize(
    "content, text, lines",
    [
        (IPHONE, CHAT.replace("Ben", "~\u202fBen"), [2, 3, 5]),
        (IPHONE.replace(",", ""), CHAT.replace("Ben", "~\u202fBen"), [2, 3, 5]),
        (ANDROID, CHAT, [2, 3, 6]),
        *[(ANDROID.replace("<Media omitted>", message), CHAT, [2, 3, 6]) for message in DELETED],
        (ANDROID.replace("Stay", DELETED[0]), CHAT.replace("Stay", DELETED[0]), [2, 3, 6]),
    ],
)
def test_the_stamps_of_a_chat_are_left_out(content, text, lines):
    # A chat has at least five messages, and what the program says stands once.
    first = content.index("\n") + 1
    lines = [*lines, *(line - 1 + content.count("\n") for line in lines)]
    content += content[first:]
    text *= 2
    corpus = read("_chat.txt", content)
    assert corpus.content == text
    assert lines_of(corpus) == lines
    note = r"left out of _chat.txt: the dates and times of a chat \(\d messages\)"
    assert any(re.match(note, text) for text in corpus.notes)
    kept = read_corpus(["_chat.txt"], clean=False).content
    assert kept == content.replace("\r\n", "\n")


@pytest.mark.parametrize(
    "text",
    [
        "28.11.26, 22:13 - It rains.\n29.11.26, 08:00 - It does not.\n",
        "28.11.26, 22:13 - It rains: stay.\n29.11.26, 08:00 - It does not.\n",
        "[2026-11-28 10:00:00] production.ERROR: rain\n" * 3,
        "[2026-11-28 10:00:00] nginx: rain\n" * 3,
        "2026-11-28 10:00 - INFO: rain\n2026-11-28 10:01 - Rain [debug]: no\n" * 3,
        "2026-11-28 10:00:00,123 - rain - INFO: it rains\n" * 3,
        "1\n2\n3 --> 4 of them\n\n",
        "The End of Project Gutenberg was discussed at length.\n",
        "A book ends with the line\nEnd of Project Gutenberg's Rain\nand its terms.\n",
        "WEBVTT is a format.\n\n1984\n\n",
    ],
)
def test_a_text_that_looks_a_little_like_it_stays_as_it_is(text):
    assert read("diary.txt", text * 9).content == text * 9


APART = "A\u0308rger im Cafe\u0301, und u\u0308ber allem Regen. "
WHOLE = "Ärger im Café, und über allem Regen. "


def test_letters_and_their_accents_are_joined_whatever_the_blocks(monkeypatch):
    monkeypatch.setattr("charrnn.text.text_files.PIECE_CHARS", 7)
    corpus = read("umlauts.txt", APART * 9)
    assert corpus.content == WHOLE * 9
    assert "27 letters of umlauts.txt" in corpus.notes[-1]
    assert read_corpus(["umlauts.txt"], clean=False).content == APART * 9
    assert read_corpus(["umlauts.txt"], alphabet="byte").content == (APART * 9).encode()
    pages = "four\x0bfive\x0c\nsix\n\x0cseven\x0c\x0b and\x0c"
    assert read("pages.txt", pages * 9).content == ("four\nfive\nsix\nseven\n and\n" * 9)[:-1]
    record = '{"text": "e\\u0301 and e\u0301 and the rain"}\n'
    table = read("a.jsonl", record, documents="column", column="text")
    assert table.content == "é and é and the rain\0"


def test_ends_of_pages_are_no_characters_that_are_left_out():
    corpus = read("pages.txt", "It goes on over\fthe page.\n" * 9 + "Soft\u00ad\n")
    assert corpus.content == "It goes on over\nthe page.\n" * 9 + "Soft\n"
    notes = str(corpus.notes)
    assert "put 9 line ends into pages.txt where a form feed parted words" in notes
    assert "left out 1 character of pages.txt that nobody sees" in notes


def test_a_carriage_return_within_a_line_is_noted():
    corpus = read("tweets.txt", "It does.\r\nIt rains.\rAnd rains.\n" * 3)
    assert corpus.content == "It does.\nIt rains.\rAnd rains.\n" * 3
    assert corpus.notes[0].startswith("3 carriage returns within the lines of tweets.txt")


def test_letters_without_an_accent_change_too():
    for text in ("\u212b, \u2126 and \uf900", "e\u0302\u0301", "\ufb2a", "\u05d1\u05b8\u05b0"):
        changes = Counter()
        assert tidied(text, changes) == unicodedata.normalize("NFC", text)
        assert changes.total() > 0


def test_a_text_in_one_line_is_not_kept_until_its_end(monkeypatch):
    monkeypatch.setattr(text_files, "PIECE_CHARS", 20)
    monkeypatch.setattr(text_files, "MAX_LINE_CHARS", 20)
    pieces = list(
        text_files.read_pieces("it", io.BytesIO(b"ACGT" * 99 + b"\nend"), "utf-8", allows_nul=True)
    )
    assert max(len(piece.content) for piece in pieces) <= 40
    assert "".join(piece.content for piece in pieces) == "ACGT" * 99 + "\nend"


@pytest.mark.parametrize(
    "start", [b"---\n" + b"-a: 1\n" * 40, b"From a " + b"11:111111" * 7000], ids=["head", "mailbox"]
)
def test_the_kind_of_a_text_is_found_in_little_time(start):
    started = time.process_time()
    assert pandoc_kind(start) is None and not data_kind(start.decode(), "")
    assert parse_chat(start.decode(), Counter()) is None
    written = written_lines(start.decode(), Counter())
    assert "".join(line.content for line in written) == start.decode()
    assert time.process_time() - started < 2
