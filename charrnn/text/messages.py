"""Parse a chat into messages, and leave out what nobody wrote.

A stamp is a date and a time at the beginning of a line, as the program of the chat writes it in any
language. Everything up to the next stamp belongs to its message, which is kept or left out whole.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from charrnn.text.text_files import Line

LEAST_STAMPS = 5
"""Stamps of one form from which on a text may be a chat."""
NAMED_SHARE, LIKELY_SHARE = 0.9, 0.5
"""Share of the messages of a chat that have a name, at least; and of a text that looks like one."""
MOST_NAMES = 0.75
"""Different names of a chat, as a share of its messages, at most: each says more than once."""

_MARK = "[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]*"
_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_BLANK = "[ \t\u00a0\u202f\u200e\u200f]"
_STAMP = re.compile(
    rf"{_MARK}(?:\[(?P<inner>[^\]\[\n]{{8,60}})\]{_BLANK}*"
    rf"|(?=\d)(?P<outer>[^\n]{{8,50}}?)(?:{_BLANK}[-–—]{_BLANK}|, (?=[^\n:]{{1,40}} : )))"
)
# Numbers, the signs between them, and short words such as AM, um, klo, 년 and 下午.
_DATE = re.compile(rf"(?:[\d./:,،·()-]|{_BLANK}|[^\W\d_]{{1,12}}\.?)+")
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[^\W\d_]+\.?")
_TIME = re.compile(r"(?<!\d)\d{1,2} ?(?:[:.h시時]|[^\W\d_]) ?\d\d(?!\d)")
_NAME = re.compile(r"(?P<name>[^:\n\"“”„«»]{1,60}?) ?[:：](?: |$)(?P<said>.*)", re.DOTALL)
_LEFT_OUT_OF_NAMES = re.compile(f"{_MARKS.pattern}| (?=: )")
_LEVEL = r"(?:INFO|DEBUG|TRACE|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE)"
# A log has a level or the name of a program before its colon.
_LOGGED = re.compile(rf"(?i:\W*{_LEVEL}\b)|.*(?:\W|^){_LEVEL}\W*$|[a-z][\w.-]*$|.*\] ")
_EDITED = re.compile("\u200e<[^<>\n]*>")
_FILE = r"\S[^\n]{0,100}\.\w{2,5} \([^()\n]+\)|\S[^\n]{0,100}\.\w{2,5}[^\n]{0,40}\u200e<[^<>\n]*>"
_PROGRAM_LINE = re.compile(
    rf"\u200e[^\n]*|<[^<>\n]+>|{_FILE}|null"
    r"|(?:This message was deleted|You deleted this message"
    r"|(?:Diese Nachricht wurde|Du hast diese Nachricht) gelöscht"
    r"|(?:Se eliminó|Eliminaste) este mensaje"
    r"|Ce message a été supprimé|Vous avez supprimé ce message"
    r"|Esta mensagem foi apagada|Você apagou esta mensagem"
    r"|Questo messaggio è stato eliminato|Hai eliminato questo messaggio)\.?"
    r"|(?:Missed (?:group )?(?:voice|video) call|Verpasster (?:Sprach|Video)anruf"
    r"|Appel (?:vocal|vidéo) manqué|Llamada perdida|Videollamada perdida)\.?"
)
"""Matches a line that the program wrote in the place of a message or a picture."""
_NAMES = ("sender_name", "from", "author", "user_profile", "user", "role")
JSON_CHAT = re.compile(rf'\s*[\[{{](?=.*"(?:{"|".join(_NAMES)})"\s*:)', re.DOTALL)
"""Matches the beginning of JSON that may be a chat."""
_CONTENTS = ("content", "text", "value")
_DOUBLY_ENCODED = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]")


@dataclass(frozen=True, slots=True)
class Messages:
    """A chat without its stamps."""

    lines: Sequence[Line]
    """The lines that somebody wrote, each message after the name."""
    num_stamps: int
    """Its messages, with those that were left out."""
    num_left_out: int
    """Messages that the program wrote, or pictures without a caption."""
    is_sure: bool = True
    """Whether nine in ten messages have a name; if not, nothing is left out."""


def find_stamps(text: str) -> list[tuple[int, int]]:
    """Return where the stamps of the most frequent form begin and end in a text; none if there are
    too few."""
    stamps = []
    forms: Counter[str] = Counter()
    begin = 0
    for line in text.split("\n"):
        stamp = _STAMP.match(line)
        if stamp and (form := _form(stamp["inner"] or stamp["outer"] or "")):
            # The sign at the end tells chats of one program from those of another.
            form += stamp[0].rstrip()[-1]
            forms[form] += 1
            stamps.append((begin, begin + stamp.end(), form))
        begin += len(line) + 1
    if not stamps:
        return []
    ((usual, num),) = forms.most_common(1)
    if num < LEAST_STAMPS:
        return []
    return [(first, last) for first, last, form in stamps if form == usual]


def _form(stamp: str) -> str:
    """Return the form of a stamp; "" if it is no date with a time."""
    # The signs of writing directions differ from line to line.
    plain = _MARKS.sub("", stamp)
    numbers = _DIGITS.findall(plain)
    words = _LETTERS.findall(plain)
    # The name of a month may stand for a number.
    if not 4 <= len(numbers) <= 6 or (len(numbers) == 4 and not words) or len(words) > 5:
        return ""
    if not _TIME.search(plain) or not _DATE.fullmatch(plain):
        return ""
    # The hour, the names of months and the halves of the day differ.
    form = _LETTERS.sub("a", plain)
    form = re.sub(r"(?:(?<=\d)\s*)?a(?:\s*(?=\d))?", "a", form)
    return f"{len(numbers)}{_DIGITS.sub('', form).replace('a', '').replace(' ', '')}"


class _Message(NamedTuple):
    """A message of a chat: where its stamp begins in the text, where the stamp ends, and where the
    message ends; and its name and words, None for what the program says."""

    begin: int
    after: int
    end: int
    said: re.Match[str] | None


def parse_chat(text: str) -> Messages | None:
    """Parse the messages of a chat. Returns None for a text that is none, or not surely one."""
    stamps = find_stamps(text)
    if not stamps:
        return None
    # Everything up to the next stamp belongs to a message.
    ends = [*(begin for begin, _ in stamps[1:]), len(text)]
    messages = []
    for (begin, after), end in zip(stamps, ends, strict=True):
        said = _NAME.match(text, after, end)
        if said and (_LOGGED.match(said["name"]) or _STAMP.match(said["name"])):
            said = None
        messages.append(_Message(begin, after, end, said))

    # A group begins with what the program says of it.
    names = [message.said["name"] for message in messages if message.said]
    first = next((index for index, message in enumerate(messages) if message.said), len(messages))
    num_messages = len(messages) - first
    # The sentences of a diary with a colon begin differently, and few say something twice.
    is_likely = len(names) >= LIKELY_SHARE * num_messages
    if not names or not is_likely or len(set(names)) > MOST_NAMES * len(names):
        return None
    if len(names) < NAMED_SHARE * num_messages:
        return Messages((), num_stamps=len(messages), num_left_out=0, is_sure=False)

    # What stands before the first stamp is no message. The numbers of lines are those of the file.
    kept = []
    position = messages[0].begin
    if position:
        kept.append(Line(1, text[:position].encode()))
    number = 1 + text.count("\n", 0, position)
    num_left_out = 0
    for message in messages:
        number += text.count("\n", position, message.begin)
        position = message.begin
        lines = list(_lines_of(text, message, number))
        num_left_out += not lines
        kept += lines
    return Messages(kept, num_stamps=len(messages), num_left_out=num_left_out)


def _lines_of(text: str, message: _Message, number: int) -> Iterator[Line]:
    """Yield the lines of a message without what the program wrote. A caption keeps the name."""
    if message.said is None:
        return
    line_begin = message.said.start("said")
    name = _LEFT_OUT_OF_NAMES.sub("", text[message.after : line_begin])
    # The columns are those of the file, in which the name ends where the message begins.
    offset = line_begin - message.begin
    name_cuts = [(0, offset - len(name))]
    is_first = True
    for index, line in enumerate(message.said["said"].splitlines(keepends=True)):
        content = line.rstrip("\n")
        if _PROGRAM_LINE.fullmatch(content) or (is_first and not content.strip()):
            continue
        edited = _EDITED.sub("", line)
        cuts = [match.span() for match in _EDITED.finditer(line)]
        if is_first and index == 0:
            cuts = name_cuts + [(first + offset, last + offset) for first, last in cuts]
        # The caption stands below the picture: its columns are those after the name.
        if is_first:
            edited = name + edited
        yield Line(number + index, edited.encode(), cuts)
        is_first = False


def messages_of_json(text: str) -> list[Line]:
    """Return the messages of chats that were exported as JSON, each after its name, with a blank
    line between two chats; none of any other file. Letters that were encoded twice, as Messenger
    writes them, are mended."""
    try:
        data = json.loads(text)
    except RecursionError:
        return []
    except ValueError:
        # Each line may be a chat of its own.
        try:
            data = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            return []
    # Messenger writes each byte of a letter as a letter.
    chats = ["".join(chat) for chat in _chats_in(data)]
    content = "\n".join(chats)
    if _DOUBLY_ENCODED.search(content):
        content = _mended(content)
    return [Line(1, line.encode("utf-8", "replace")) for line in content.splitlines(keepends=True)]


def _chats_in(data: object) -> Iterator[list[str]]:
    """Yield the messages of each list in JSON most of whose items have a name and a text."""
    if isinstance(data, dict):
        for value in data.values():
            yield from _chats_in(value)
    if not isinstance(data, list):
        return
    said = []
    for record in data:
        name = _first(record, _NAMES)
        content = _first(record, _CONTENTS)
        if name and content:
            said.append(f"{name}: {content}\n")
    if len(said) < max(1, len(data) / 2):
        for value in data:
            yield from _chats_in(value)
        return
    # Messenger writes the newest message first.
    times = [record.get("timestamp_ms", 0) for record in data if isinstance(record, dict)]
    if times != sorted(times):
        said.reverse()
    yield said


def _first(record: object, fields: Sequence[str]) -> str:
    """Return the first of some fields of a record that is a text."""
    if not isinstance(record, dict):
        return ""
    for field in fields:
        value = record.get(field)
        # Slack and Discord describe who writes by an object.
        if isinstance(value, dict):
            value = value.get("real_name") or value.get("name") or value.get("nickname")
        # Telegram parts a text where its style changes.
        if isinstance(value, list):
            value = "".join(
                part if isinstance(part, str) else _first(part, ("text",)) for part in value
            )
        if isinstance(value, str) and value:
            return value
    return ""


def _mended(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
