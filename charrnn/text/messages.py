"""Parse a chat of WhatsApp, or of another program that stamps its lines, into messages, and leave
out what nobody wrote.

A stamp is a date and a time at the beginning of a line, as the program of the chat writes it in any
language. Everything up to the next stamp belongs to its message, which is kept or left out whole.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from charrnn.errors import named
from charrnn.text.text_files import Change, Chat, Line, split_lines

LEAST_STAMPS = 5
"""Stamps of one form from which on a text may be a chat."""
NAMED_SHARE = 0.9
"""Share of the messages of a chat that have a name, at least."""
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
_NAME = re.compile(
    r"(?P<name>(?:[^:\n\"“”„«»]|\"[^:\n\"]*\"|“[^:\n”]*”|„[^:\n“]*“|«[^:\n»]*»){1,60}?)"
    r" ?[:：](?: |$)(?P<said>.*)",
    re.DOTALL,
)
_LEFT_OUT_OF_NAMES = re.compile(f"{_MARKS.pattern}| (?=: )")
_LEVEL = r"(?:INFO|DEBUG|TRACE|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE)"
# A log has a level before its colon.
_LOGGED = re.compile(rf"(?i:\W*{_LEVEL}\b)|.*(?:\W|^){_LEVEL}\W*$|.* - {_LEVEL} - ")
# Or a program, whose name often has a dot. Some people write their own name like that of a program,
# so that one such name is no log.
_LOGGED_BY_PROGRAM = re.compile(rf"{_LOGGED.pattern}|[a-z][\w-]*\.[\w.-]*$")
_LIKE_PROGRAM = re.compile(r"[a-z][\w-]*(?:\[\d+\])?$|.*\] ")
_SECONDS = re.compile(r"\d\d:\d\d:\d\d")
_EDITED = re.compile("\u200e<[^<>\n]*>")
_FILE = (
    r"\S[^\n]{0,100}\.(?i:jpe?g|heic|png|tiff?|bmp|svg|webp|gif|mp[34]|m4[av]|mpe?g|mov|mkv|avi|webm"
    r"|wmv|3gp|opus|ogg|wav|flac|wma|aac|amr|pdf|epub|docx?|xlsx?|pptx?|od[pst]|rtf|pages|key|numbers"
    r"|csv|json|xml|html?|ics|vcf|zip|rar|7z|apk|txt) \([^()\n]+\)"
    r"|\S[^\n]{0,100}\.\w{2,5}[^\n]{0,40}\u200e<[^<>\n]*>"
)
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
_KEPT = f"({{num}}); {named('clean', 'false')} keeps them"
_STAMPS = "message", f"left out of {{label}}: the dates and times of a chat {_KEPT}"
_UNWRITTEN = (
    "message",
    "left out {num} of {label} that stand for pictures, deleted ones, or what the program says",
)
_LIKE_CHAT = (
    "message",
    "{label} looks like a chat of {num}, of which many have no name: its dates and times stay",
)


def find_stamps(text: str) -> list[tuple[int, int]]:
    """Return where the stamps of the most frequent form begin and end in a text; none if there are
    too few.

    It tells by the beginning of a file whether it may be a chat, before all of it is read by
    `parse_chat`.
    """
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


def parse_chat(text: str, changes: Counter[Change]) -> Chat | None:
    """Return what somebody wrote in a chat, each message after the name; None for a text that is no
    chat, or not surely one.

    Half of an exported chat are dates and notices of the program. A novel with dates in it must
    stay as it is: therefore the doubt.
    """
    stamps = find_stamps(text)
    if not stamps:
        return None
    may_be_log = _may_be_log(text[slice(*stamps[0])]) and "\u200e" not in text
    logged = _LOGGED_BY_PROGRAM if may_be_log else _LOGGED
    messages = _messages_at(stamps, text=text, logged=logged)
    names = [said["name"] for _, said in messages if said]
    num_like_programs = sum(1 for name in names if _LIKE_PROGRAM.match(name))
    if may_be_log and 2 * num_like_programs > len(names):
        return None

    # A group begins with what the program says of it.
    first = next((index for index, (_, said) in enumerate(messages) if said), len(messages))
    # The sentences of a diary with a colon begin differently, and few say something twice.
    least = NAMED_SHARE * (len(messages) - first)
    if not names or len(names) < least or len(set(names)) > MOST_NAMES * len(names):
        if 2 * len(names) > len(messages):
            changes[_LIKE_CHAT] += len(messages)
        return None

    # What stands before the first stamp is no message. The numbers of lines are those of the file.
    position = messages[0][0]
    kept = [Line(number=1, content=text[:position])]
    number = 1 + text.count("\n", 0, position)
    for begin, said in messages:
        number += text.count("\n", position, begin)
        position = begin
        lines = list(_lines_of(said, number))
        if not lines:
            changes[_UNWRITTEN] += 1
        kept += lines
    changes[_STAMPS] += len(messages)
    speakers = {_LEFT_OUT_OF_NAMES.sub("", name).strip() for name in names}
    return Chat(kept, frozenset(speakers))


def _may_be_log(stamp: str) -> bool:
    """Whether a log may have such stamps: with seconds, as chats on an iPhone, which have a comma
    before the time and marks of the direction of writing."""
    is_of_iphone = "[" in stamp and "," in stamp
    return _SECONDS.search(stamp) is not None and not is_of_iphone


def _messages_at(
    stamps: Sequence[tuple[int, int]], text: str, logged: re.Pattern[str]
) -> list[tuple[int, re.Match[str] | None]]:
    """Return where each message begins, and its name with what was said; None for a message without
    a name, or with what was `logged` in its place."""
    # Everything up to the next stamp belongs to a message.
    ends = [*(begin for begin, _ in stamps[1:]), len(text)]
    messages = []
    for (begin, after), end in zip(stamps, ends, strict=True):
        said = _NAME.match(text, after, end)
        if said and (logged.match(said["name"]) or _STAMP.match(said["name"])):
            said = None
        messages.append((begin, said))
    return messages


def _lines_of(said: re.Match[str] | None, number: int) -> Iterator[Line]:
    """Yield the lines of a message without what the program wrote. A caption keeps the name."""
    if said is None:
        return
    before = _LEFT_OUT_OF_NAMES.sub("", said[0][: said.start("said") - said.start()])
    has_begun = False
    for place, line in split_lines([Line(number, said["said"])]):
        content = line.rstrip("\n")
        # A person may write such a line, too, but not the mark before it.
        is_of_program = content.startswith("\u200e")
        if not has_begun:
            is_of_program = not content.strip() or bool(_PROGRAM_LINE.fullmatch(content))
        if is_of_program:
            continue
        yield Line(place, before + _EDITED.sub("", line))
        before = ""
        has_begun = True
