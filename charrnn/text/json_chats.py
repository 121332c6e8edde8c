"""Read the messages of a chat that a program exported as JSON, each after the name of its author.

`EXPORTERS` has a function for each program. It says who wrote a record and what, or why the record
is no text of a person; what is left out is counted by these reasons.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from charrnn.errors import named
from charrnn.text.json_size import fills_memory
from charrnn.text.text_files import Change, Chat, Line

Record = Mapping[str, Any]
"""An object of the JSON."""
Names = Mapping[str, str]
"""The names of people, roles and channels by their identifiers, as far as the file has them."""

_AUTHORS = ("sender_name", "senderName", "from", "author", "user_profile", "user")
_TIMES = r"messages|mapping|sender_name|ts|timestamp\w*|date\w*|create_time"
JSON_CHAT = re.compile(
    rf'\s*[\[{{](?=.*"(?:{"|".join(_AUTHORS)}|actor|bot_id)"\s*:)(?=.*"(?:{_TIMES})"\s*:)',
    re.DOTALL,
)
"""Matches the beginning of JSON that may be a chat: a list of books has authors, but no times."""
_TEXTS = ("content", "text", "value")

_READ = (
    "message",
    "read {num} of {label} out of its JSON, each after its name;"
    f" {named('column')} reads another field",
)
LEFT_OUT = "messages left out of {label}: {kinds}"
"""The note on messages of a chat that are left out."""
_MENTIONED = {"@": "of people (<@…>)", "#": "of channels (<#…>)"}
"""Kinds of mentions without a name, by their signs."""
_CODES = "mentions that stay as codes in {label}, which has no names for them: {kinds}"

OF_PROGRAM, DELETED = "of the program", "deleted"
"""Kinds of messages that are left out: who came, called or renamed something; and what was
withdrawn."""
NO_NAME, NO_TEXT = "without a name", "without a text"
"""Kinds of messages that are left out, if nothing says more."""


class Message(NamedTuple):
    """A message as an exporter reads it.

    All programs are brought to it, so that what follows does not know which program a chat is from.
    """

    name: str = ""
    """Who wrote it."""
    text: str = ""
    """What was written; "" if it is left out."""
    why_left_out: str = ""
    """Why it is left out, as a kind that is counted, such as "with photos"; "" if it is kept."""


class Exporter(NamedTuple):
    """How the messages of a program are known, and how one of them is read.

    A further program is one more of them.
    """

    is_message: Callable[[Record], bool]
    """Whether an object looks like a message of this program."""
    read: Callable[[Record, Names, Counter[str]], Message]
    """Return a message, given the names of the file. Mentions without a name are counted."""


def messages_of_json(text: str, changes: Counter[Change]) -> Chat | None:
    """Return the messages of chats that were exported as JSON, each after its name, with a blank
    line between two chats; None for any other file.

    Chats in plain text are parsed by `messages.parse_chat`; JSON of any other kind is read by one
    of its fields (`json_fields`). A person who exports a chat of Messenger, Telegram, Slack,
    Discord or ChatGPT gets such a file. What is left out, and the mentions for which the file has
    no name, are counted in `changes`.
    """
    if fills_memory(text):
        return None
    # What the parser takes may be too deep to walk through.
    try:
        data = json.loads(text)
        chats = list(_chats_in(data))
        if not chats:
            return None
        names = _names_in(data)
    except (ValueError, RecursionError):
        return None
    codes: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    num_said = 0
    speakers = set()
    parts = []
    for exporter, records in chats:
        said = []
        for record in records:
            message = exporter.read(record, names, codes)
            if message.text and message.name:
                said.append(f"{message.name}: {message.text}\n")
                speakers.add(message.name)
            else:
                left_out[message.why_left_out or NO_NAME] += 1
        num_said += len(said)
        # A conversation in which nobody wrote anything leaves no blank line.
        if said:
            parts.append("".join(said))

    # A message may have several lines.
    changes[_READ] += num_said
    for kind, num in left_out.items():
        changes[kind, LEFT_OUT] += num
    for kind, num in codes.items():
        changes[kind, _CODES] += num
    lines = [Line(number=1, content="\n".join(parts))]
    return Chat(lines, frozenset(speakers))


def _chats_in(data: object) -> Iterator[tuple[Exporter, Sequence[Record]]]:
    """Yield the messages of each chat in JSON, in the order of the file, and who exported it."""
    # JSON may be nested more deeply than functions may call each other.
    waiting = [data]
    while waiting:
        value = waiting.pop()
        # ChatGPT has each message in a node of a tree.
        if isinstance(value, dict) and isinstance(nodes := value.get("mapping"), dict):
            value = [node.get("message") for node in nodes.values() if isinstance(node, dict)]
        inner: list[object] = []
        if isinstance(value, dict):
            inner = list(value.values())
        elif isinstance(value, list):
            records = [record for record in value if isinstance(record, dict)]
            exporter = _exporter_of(records)
            if exporter is not None:
                yield exporter, _oldest_first(records)
            else:
                inner = value
        waiting.extend(reversed(inner))


def _exporter_of(records: Sequence[Record]) -> Exporter | None:
    """Return who exported a list of objects, of which at least half are messages; None for any
    other list."""
    for exporter in EXPORTERS.values():
        if exporter is _OTHERS:
            records = [record for record in records if not _is_of_program(record)]
        num = sum(map(exporter.is_message, records))
        if num and 2 * num >= len(records):
            return exporter
    return None


def _oldest_first(records: Sequence[Record]) -> Sequence[Record]:
    """Return messages in the order in which they were written: Messenger has the newest first."""
    times = [record.get("timestamp_ms", record.get("timestamp")) for record in records]
    numbers = [time for time in times if isinstance(time, int | float)]
    if numbers and numbers[0] > numbers[-1]:
        return records[::-1]
    return records


def _names_in(data: object) -> dict[str, str]:
    """Return the name of every identifier for which the file has one."""
    names: dict[str, str] = {}
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if not isinstance(value, dict):
            continue
        waiting.extend(value.values())
        identifier = value.get("id")
        described: object = value
        # Slack describes who writes beside the identifier.
        if isinstance(value.get("user_profile"), dict):
            identifier = value.get("user")
            described = value["user_profile"]
        if isinstance(identifier, str) and (name := _name_of(described)):
            names[identifier] = name
    return names


def _name_of(described: object) -> str:
    """Return the name of somebody: a text, or what an object that describes a person says."""
    if isinstance(described, str):
        return described
    if isinstance(described, dict):
        for field in ("real_name", "name", "nickname", "role"):
            if isinstance(name := described.get(field), str) and name:
                return name
    return ""


def _text_of(value: object) -> str:
    """Return a text that may stand in parts: Telegram parts it where its style changes, and
    ChatGPT has it in an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text_of(value.get("text", value.get("parts")))
    if isinstance(value, list):
        return "".join(map(_text_of, value))
    return ""


def _kind_of(record: Record, kinds: Mapping[str, str]) -> str:
    """Return what a message without a text has in its place: the first of some fields that it
    has."""
    for field, kind in kinds.items():
        if record.get(field):
            return kind
    return NO_TEXT


def _is_of_messenger(record: Record) -> bool:
    return ("sender_name" in record and "timestamp_ms" in record) or (
        "senderName" in record and "timestamp" in record
    )


_KINDS_OF_MESSENGER = {
    "sticker": "with a sticker",
    "photos": "with photos",
    "videos": "with videos",
    "gifs": "with a GIF",
    "audio_files": "with a voice message",
    "files": "with files",
    "media": "with photos or files",
    "share": "with a link",
}


def read_messenger(record: Record, names: Names, codes: Counter[str]) -> Message:
    """Read a message of Messenger or Instagram: an export of 2024 has other names of fields for
    encrypted chats."""
    if _is_of_program(record) or "call_duration" in record:
        return Message(why_left_out=OF_PROGRAM)
    text = _mended(_text_of(record.get("content", record.get("text"))))
    if not text and (record.get("is_unsent") or record.get("isUnsent")):
        return Message(why_left_out=DELETED)
    if not text:
        return Message(why_left_out=_kind_of(record, _KINDS_OF_MESSENGER))
    return Message(_mended(_text_of(record.get("sender_name", record.get("senderName")))), text)


def _mended(text: str) -> str:
    """Return a text of Messenger, which writes each byte of a letter as a letter."""
    # No other letters are bytes of UTF-8.
    with suppress(UnicodeError):
        return text.encode("latin-1").decode("utf-8")
    return text


def _is_of_telegram(record: Record) -> bool:
    return "text" in record and ("from_id" in record or record.get("type") == "service")


_KINDS_OF_TELEGRAM = {
    "sticker_emoji": "with a sticker",
    "poll": "with a poll",
    "location_information": "with a place",
    "contact_information": "with a contact",
    "game_title": "with a game",
    "photo": "with photos",
    "file": "with files",
}
_MEDIA_OF_TELEGRAM = {
    "sticker": "with a sticker",
    "voice_message": "with a voice message",
    "video_message": "with videos",
    "video_file": "with videos",
    "audio_file": "with files",
    "animation": "with a GIF",
}


def read_telegram(record: Record, names: Names, codes: Counter[str]) -> Message:
    """Read a message of Telegram. Who has deleted an account has an identifier, but no name."""
    if record.get("type") == "service":
        return Message(why_left_out=OF_PROGRAM)
    text = _text_of(record.get("text"))
    if not text:
        kind = _MEDIA_OF_TELEGRAM.get(_text_of(record.get("media_type")))
        return Message(why_left_out=kind or _kind_of(record, _KINDS_OF_TELEGRAM))
    return Message(_text_of(record.get("from")) or _text_of(record.get("from_id")), text)


def _is_of_slack(record: Record) -> bool:
    return "ts" in record and ("text" in record or "subtype" in record)


_OF_PEOPLE_IN_SLACK = frozenset(
    {
        *("", "bot_message", "file_comment", "file_mention", "file_share", "me_message"),
        *("reply_broadcast", "slackbot_response", "thread_broadcast"),
    }
)
"""The subtypes of what people and bots write; all others are messages of the program."""
_KINDS_OF_SLACK = {"files": "with files", "file": "with files", "attachments": "with attachments"}
_CODE_OF_SLACK = re.compile(
    r"<(?:(?P<sign>[@#])(?P<target>\w+)|!(?P<group>[a-z]+)(?:\^(?P<details>[^<>|\n]*))?"
    r"|(?P<link>[a-z][a-z\d+.-]*:[^<>|\s]+))(?:\|(?P<label>[^<>\n]*))?>"
)


def read_slack(record: Record, names: Names, codes: Counter[str]) -> Message:
    """Read a message of Slack, in which people and channels are identifiers."""
    subtype = _text_of(record.get("subtype"))
    if subtype == "tombstone":
        return Message(why_left_out=DELETED)
    if subtype not in _OF_PEOPLE_IN_SLACK:
        return Message(why_left_out=OF_PROGRAM)
    text = _text_of(record.get("text"))
    if not text:
        return Message(why_left_out=_kind_of(record, _KINDS_OF_SLACK))

    user = _text_of(record.get("user"))
    name = _name_of(record.get("user_profile")) or names.get(user, user)
    # A bot may have no other name than that under which it writes.
    name = name or _text_of(record.get("username")) or _name_of(record.get("bot_profile"))
    name = name or _text_of(record.get("bot_id"))
    written = _CODE_OF_SLACK.sub(lambda code: _said_in_slack(code, names, codes), text)
    # What somebody typed as & or < is &amp; or &lt; in the file.
    return Message(name, html.unescape(written))


def _said_in_slack(code: re.Match[str], names: Names, codes: Counter[str]) -> str:
    """Return what a reader of Slack sees in the place of a code such as `<@U2>` or `<#C7|general>`;
    the code, which is counted, if the file does not say."""
    label = code["label"]
    if code["link"]:
        return label or code["link"].removeprefix("mailto:")
    # <!here>, <!subteam^S1|@team>, <!date^1392734382^{date}|February 18th>
    if code["group"] and (label or not code["details"]):
        return label or f"@{code['group']}"
    if code["group"]:
        codes["of groups or times (<!…>)"] += 1
        return code[0]
    return _mentioned(code, name=names.get(code["target"]) or label, codes=codes)


def _mentioned(code: re.Match[str], name: str | None, codes: Counter[str]) -> str:
    """Return the name of somebody, of a role or of a channel after its sign; without a name, the
    code, which is counted."""
    sign = code["sign"][0]
    if name:
        return f"{sign}{name.removeprefix(sign)}"
    codes[_MENTIONED[sign]] += 1
    return code[0]


def _is_of_discord(record: Record) -> bool:
    return isinstance(record.get("author"), dict) and isinstance(record.get("content"), str)


_OF_PROGRAM_IN_DISCORD = re.compile("Recipient|Call|Channel|Guild|Thread|(?:[1-9]|1[0-8])$")
"""Types of messages of the program, also those that the exporter gives by their number."""
_KINDS_OF_DISCORD = {
    "attachments": "with files",
    "stickers": "with a sticker",
    "embeds": "with an embed",
    "forwardedMessage": "forwarded",
    "poll": "with a poll",
}
_CODE_OF_DISCORD = re.compile(
    r"<(?:(?P<sign>@[!&]?|#)(?P<target>\d+)|a?(?P<emoji>:\w+:)\d+|(?P<command>/[^:<>\n]+):\d+"
    r"|(?P<time>t:-?\d+(?::\w)?)|(?P<link>https?://[^<>\s]+))>"
)


def read_discord(record: Record, names: Names, codes: Counter[str]) -> Message:
    """Read a message of Discord. Its exporters write names in the place of identifiers, unless they
    are told not to."""
    if _OF_PROGRAM_IN_DISCORD.match(_text_of(record.get("type"))):
        return Message(why_left_out=OF_PROGRAM)
    text = _text_of(record.get("content"))
    if not text:
        return Message(why_left_out=_kind_of(record, _KINDS_OF_DISCORD))
    written = _CODE_OF_DISCORD.sub(lambda code: _said_in_discord(code, names, codes), text)
    return Message(_name_of(record.get("author")), written)


def _said_in_discord(code: re.Match[str], names: Names, codes: Counter[str]) -> str:
    """Return what a reader of Discord sees in the place of a code such as `<@42>` or `<:cat:77>`;
    the code, which is counted, if the file does not say."""
    if seen := code["emoji"] or code["command"] or code["link"]:
        return seen
    if code["time"]:
        codes["of times (<t:…>)"] += 1
        return code[0]
    return _mentioned(code, name=names.get(code["target"]), codes=codes)


def _is_of_chatgpt(record: Record) -> bool:
    content = record.get("content")
    author = record.get("author")
    return isinstance(author, dict) and isinstance(content, dict) and "content_type" in content


def read_chatgpt(record: Record, names: Names, codes: Counter[str]) -> Message:
    """Read a message of ChatGPT: of a person, of the model, or of one of its tools."""
    content = record["content"]
    text = _text_of(content.get("parts"))
    if text:
        return Message(_name_of(record.get("author")), text)
    kind = _text_of(content.get("content_type"))
    if _name_of(record.get("author")) == "system":
        return Message(why_left_out=OF_PROGRAM)
    if kind == "multimodal_text":
        return Message(why_left_out="with photos")
    if kind == "text":
        return Message(why_left_out=NO_TEXT)
    return Message(why_left_out="of a tool or a thought")


_OF_PROGRAM = re.compile(
    "Call|[Cc]hannel|Guild|group_|Recipient|Thread|Subscribe|Unsubscribe|service$"
)
"""Types of messages of other programs: who came, went or called, and what was renamed."""


def _is_of_program(record: Record) -> bool:
    return any(_OF_PROGRAM.match(_text_of(record.get(field))) for field in ("subtype", "type"))


def _is_of_others(record: Record) -> bool:
    return bool(
        _first(record, fields=_AUTHORS, read=_name_of)
        and _first(record, fields=_TEXTS, read=_text_of)
    )


def read_other(record: Record, names: Names, codes: Counter[str]) -> Message:
    """Read a message of any other program: the first field that may be a name, and the first that
    may be a text."""
    if _is_of_program(record):
        return Message(why_left_out=OF_PROGRAM)
    text = _first(record, fields=_TEXTS, read=_text_of)
    if not text:
        return Message(why_left_out=NO_TEXT)
    return Message(_first(record, fields=_AUTHORS, read=_name_of), text)


def _first(record: Record, fields: Sequence[str], read: Callable[[object], str]) -> str:
    """Return the first of some fields of a record that is a text, as it is read."""
    return next(filter(None, (read(record.get(field)) for field in fields)), "")


_OTHERS = Exporter(_is_of_others, read_other)
EXPORTERS: Mapping[str, Exporter] = {
    "Messenger": Exporter(_is_of_messenger, read_messenger),
    "Telegram": Exporter(_is_of_telegram, read_telegram),
    "Slack": Exporter(_is_of_slack, read_slack),
    "Discord": Exporter(_is_of_discord, read_discord),
    "ChatGPT": Exporter(_is_of_chatgpt, read_chatgpt),
    "another program": _OTHERS,
}
"""The programs whose chats are read, in the order in which a list of objects is compared with
them."""
