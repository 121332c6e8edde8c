"""Parse a chat that was exported as plain text into messages, and leave out what nobody wrote.

A message begins with a stamp: a date and a time, in any language. `EXPORTS` has a function for each
kind of export, which finds the stamp at the beginning of a line. Everything up to the next stamp
belongs to the message, which is kept or left out whole.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from charrnn.errors import named
from charrnn.text.json_chats import DELETED, LEFT_OUT, NO_TEXT, OF_PROGRAM
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
_IN_BRACKETS = re.compile(rf"{_MARK}\[(?P<date>[^\]\[\n]{{8,60}})(?P<sign>\]){_BLANK}*")
_BEFORE_DASH = re.compile(rf"{_MARK}(?=\d)(?P<date>[^\n]{{8,50}}?){_BLANK}(?P<sign>[-–—]){_BLANK}")
_BEFORE_NAME = re.compile(
    rf"{_MARK}(?=\d)(?P<date>[^\n]{{8,50}}?)(?P<sign>,) (?=[^\n:]{{1,40}} : )"
)
# Numbers, the signs between them, and short words such as AM, um, klo, 년 and 下午.
_DATE = re.compile(rf"(?:[\d./:,،·()-]|{_BLANK}|[^\W\d_]{{1,12}}\.?)+")
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[^\W\d_]+\.?")
_NO_SIGN = re.compile(rf"{_LETTERS.pattern}|\d+|\s+")
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
_EDITED = re.compile(
    "[ \u00a0]?(?:\u200e<[^<>:\n]*>|<(?:This message was edited|Diese Nachricht wurde bearbeitet"
    "|Se editó este mensaje|Ce message a été modifié|Mensagem editada|Esta mensagem foi editada"
    r"|Questo messaggio è stato modificato|Dit bericht is bewerkt)\.?>(?=\n|\Z))"
)
"""Matches what stands behind an edited message: on an iPhone after a mark, in any language."""
_ATTACHED = re.compile("[ \u00a0]?\u200e<[^<>\n]*>")
_POLL_BEGINS = re.compile("\u200e?[^\\W\\d_]+[ \u00a0\u202f]?:\n")
_OPTION = re.compile(
    "^(?:\u200e[^:\n]{1,20}|OPTION|OPCIÓN|OPÇÃO|OPZIONE|OPTIE)[ \u00a0\u202f]?:"
    "[^\n]*\\(\u200e?\\d[^()\n]*\\)$",
    re.MULTILINE,
)
"""Matches an answer of a poll, with the number of those who chose it."""
_FILE = (
    r"\S[^\n]{0,100}\.(?i:jpe?g|heic|png|tiff?|bmp|svg|webp|gif|mp[34]|m4[av]|mpe?g|mov|mkv|avi|webm"
    r"|wmv|3gp|opus|ogg|wav|flac|wma|aac|amr|pdf|epub|docx?|xlsx?|pptx?|od[pst]|rtf|pages|key|numbers"
    r"|csv|json|xml|html?|ics|vcf|zip|rar|7z|apk|txt) \([^()\n]+\)"
    r"|\S[^\n]{0,100}\.\w{2,5}[^\n]{0,40}\u200e<[^<>\n]*>"
)
_WITH_A_POLL = "with a poll"
_KINDS = {
    "with a place": re.compile(
        r"\u200e?[^\W\d_]+(?: [^\W\d_]+)?[ \u00a0]?: ?https://maps\.google\.com/\?q=-?\d[\d.,-]*"
    ),
    DELETED: re.compile(
        r"\u200e?(?:This message was deleted|You deleted this message"
        r"|(?:Diese Nachricht wurde|Du hast diese Nachricht) gelöscht"
        r"|(?:Se eliminó|Eliminaste) este mensaje"
        r"|Ce message a été supprimé|Vous avez supprimé ce message"
        r"|Mensagem apagada|Esta mensagem foi apagada|Você apagou esta mensagem"
        r"|Questo messaggio è stato eliminato|Hai eliminato questo messaggio"
        r"|(?:Dit bericht is|Je hebt dit bericht) verwijderd)\.?"
    ),
    "with a contact": re.compile(
        r"\u200e?(?:Contact card omitted|\S[^\n]{0,100}\.(?i:vcf) \([^()\n]+\))"
    ),
    NO_TEXT: re.compile(rf"\s*|null|{_EDITED.pattern}"),
    "with photos or files": re.compile(
        rf"<[^<>\n]+>|{_FILE}|\u200e[^\n]*(?:<[^<>\n]*>|\b(?:omitted|weggelassen|ausgelassen|omitid[oa]"
        r"|omise?|ocultad[oa]|omess[oa]|weggelaten))"
    ),
    OF_PROGRAM: re.compile(
        r"\u200e[^\n]*"
        r"|(?:Missed (?:group )?(?:voice|video) call|Verpasster (?:Sprach|Video)anruf"
        r"|Appel (?:vocal|vidéo) manqué|Llamada perdida|Videollamada perdida)\.?"
    ),
}
"""The kinds of lines that the program wrote in the place of a message or a picture: a line has the
first kind that matches it. The program writes a mark before a line on an iPhone, in any language.
"""
_KEPT = f"({{num}}); {named('clean', 'false')} keeps them"
_STAMPS = "message", f"left out of {{label}}: the dates and times of a chat {_KEPT}"
_EDITS = (
    "mark",
    "left out of {label}: {num} behind edited messages;"
    f" {named('clean', 'false')} keeps {{them}}",
)
_LIKE_CHAT = (
    "message",
    "{label} looks like a chat of {num}, of which many have no name: its dates and times stay",
)


class Stamp(NamedTuple):
    """What stands before a message: a date and a time, if it is one."""

    begin: int
    """Where it begins in the text, which is where a line begins."""
    end: int
    """Where the name begins."""
    date: str
    """The date and the time, as the program wrote them."""
    sign: str
    """The sign behind them."""
    may_be_of_log: bool
    """Whether a log may have such a stamp: it has seconds."""


def stamp_of_iphone(text: str, begin: int) -> Stamp | None:
    """Find the stamp of WhatsApp on an iPhone: `[05.03.24, 21:07:12] Ana: It rains.`

    It has seconds as that of a log, which may stand in brackets, too, but without a comma.
    """
    stamp = _stamp(_IN_BRACKETS.match(text, begin))
    if stamp is not None and "," in stamp.date:
        return stamp._replace(may_be_of_log=False)
    return stamp


def stamp_of_android(text: str, begin: int) -> Stamp | None:
    """Find the stamp of WhatsApp on Android: `12.03.24, 21:07 - Ana: It rains.`"""
    return _stamp(_BEFORE_DASH.match(text, begin))


def stamp_of_kakaotalk(text: str, begin: int) -> Stamp | None:
    """Find the stamp of KakaoTalk: `2024년 3월 5일 오후 9:07, Ana : It rains.`"""
    return _stamp(_BEFORE_NAME.match(text, begin))


EXPORTS: Mapping[str, Callable[[str, int], Stamp | None]] = {
    "WhatsApp on an iPhone": stamp_of_iphone,
    "WhatsApp on Android": stamp_of_android,
    "KakaoTalk": stamp_of_kakaotalk,
}
"""The kinds of exports, each with the function that finds its stamp at the beginning of a line.
Other programs write like one of them."""


def _stamp(found: re.Match[str] | None) -> Stamp | None:
    if found is None:
        return None
    return Stamp(
        begin=found.start(),
        end=found.end(),
        date=found["date"],
        sign=found["sign"],
        may_be_of_log=_SECONDS.search(found["date"]) is not None,
    )


def _stamp_at(text: str, begin: int) -> Stamp | None:
    """Return the stamp at the beginning of a line, in which any text may stand for the date: the
    shortest one, if several kinds of exports have one."""
    stamps = [stamp for find in EXPORTS.values() if (stamp := find(text, begin)) is not None]
    return min(stamps, key=attrgetter("end"), default=None)


def find_stamps(text: str) -> list[Stamp]:
    """Return the stamps of the most frequent form in a text; none if there are too few.

    It tells by the beginning of a file whether it may be a chat, before all of it is read by
    `parse_chat`.
    """
    stamps: list[tuple[str, Stamp]] = []
    forms: Counter[str] = Counter()
    begin = 0
    for line in text.split("\n"):
        stamp = _stamp_at(text, begin)
        if stamp is not None and (form := _form(stamp)):
            forms[form] += 1
            stamps.append((form, stamp))
        begin += len(line) + 1
    if not stamps:
        return []
    ((usual, num),) = forms.most_common(1)
    if num < LEAST_STAMPS:
        return []
    return [stamp for form, stamp in stamps if form == usual]


def _form(stamp: Stamp) -> str:
    """Return the form of a stamp: the number of its numbers, and its signs; "" if it has no date
    with a time."""
    # The signs of writing directions differ from line to line.
    date = _MARKS.sub("", stamp.date)
    num_numbers = len(_DIGITS.findall(date))
    num_words = len(_LETTERS.findall(date))
    # The name of a month may stand for a number.
    has_month = num_numbers > 4 or num_words > 0
    if not 4 <= num_numbers <= 6 or not has_month or num_words > 5:
        return ""
    if not _TIME.search(date) or not _DATE.fullmatch(date):
        return ""
    # The hour, the names of months and the halves of the day differ.
    return f"{num_numbers}{_NO_SIGN.sub('', date)}{stamp.sign}"


class StampedMessage(NamedTuple):
    """What stands between two stamps."""

    begin: int
    """Where its stamp begins in the text."""
    said: re.Match[str] | None
    """Its `name`, and what that person `said`; None for what the program says."""


def parse_chat(text: str, changes: Counter[Change]) -> Chat | None:
    """Return what somebody wrote in a chat, each message after the name; None for a text that is no
    chat, or not surely one.

    Half of an exported chat are dates and notices of the program. A novel with dates in it must
    stay as it is: therefore the doubt.
    """
    stamps = find_stamps(text)
    if not stamps:
        return None
    may_be_log = stamps[0].may_be_of_log and "\u200e" not in text
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

    lines = _lines_of(messages, text, changes)
    changes[_STAMPS] += len(messages)
    speakers = {_LEFT_OUT_OF_NAMES.sub("", name).strip() for name in names}
    return Chat(lines, frozenset(speakers))


def _messages_at(
    stamps: Sequence[Stamp], text: str, logged: re.Pattern[str]
) -> list[StampedMessage]:
    """Return the messages behind stamps. What was `logged` has no name."""
    # Everything up to the next stamp belongs to a message.
    ends = [*(stamp.begin for stamp in stamps[1:]), len(text)]
    messages = []
    for stamp, end in zip(stamps, ends, strict=True):
        said = _NAME.match(text, stamp.end, end)
        if said and (logged.match(said["name"]) or _stamp_at(said["name"], 0)):
            said = None
        messages.append(StampedMessage(stamp.begin, said))
    return messages


def _lines_of(
    messages: Sequence[StampedMessage], text: str, changes: Counter[Change]
) -> list[Line]:
    """Return the lines of a chat with the numbers that they have in the file."""
    # What stands before the first stamp is no message.
    position = messages[0].begin
    kept = [Line(number=1, content=text[:position])]
    number = 1 + text.count("\n", 0, position)
    for begin, said in messages:
        number += text.count("\n", position, begin)
        position = begin
        lines = list(_written_lines(said, number, changes))
        if not lines:
            changes[_why_left_out(said), LEFT_OUT] += 1
        kept += lines
    return kept


def _why_left_out(said: re.Match[str] | None) -> str:
    """Return the kind of a message of which no line is kept."""
    if said is None:
        return OF_PROGRAM
    if _is_poll(said["said"]):
        return _WITH_A_POLL
    return _kind_of(said["said"].strip().split("\n")[0])


def _is_poll(said: str) -> bool:
    """Whether a message is a poll: a word and its colon, the question, and the answers."""
    return _POLL_BEGINS.match(said) is not None and _OPTION.search(said) is not None


def _kind_of(line: str) -> str:
    """Return what stands in the place of a line that the program wrote; "" for any other line."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(line)), "")


def _written_lines(
    said: re.Match[str] | None, number: int, changes: Counter[Change]
) -> Iterator[Line]:
    """Yield the lines of a message without what the program wrote. A caption keeps the name."""
    if said is None or _is_poll(said["said"]):
        return
    before = _LEFT_OUT_OF_NAMES.sub("", said[0][: said.start("said") - said.start()])
    has_begun = False
    for place, line in split_lines([Line(number, said["said"])]):
        content = line.rstrip("\n")
        # A person may write such a line, too, but not the mark before it.
        is_of_program = content.startswith("\u200e")
        if not has_begun:
            is_of_program = _kind_of(content) != ""
        if is_of_program:
            continue
        written, num_edits = _EDITED.subn("", line)
        changes[_EDITS] += num_edits
        yield Line(place, before + _ATTACHED.sub("", written))
        before = ""
        has_begun = True
