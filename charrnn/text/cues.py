"""Read subtitles by webvtt-py, which the extra `files` installs: a cue is a line."""

import html
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from charrnn.errors import UsageError, install_command, named
from charrnn.text.cleaning import joined
from charrnn.text.text_files import Change, Line

_TIME = r"(?:\d+: ?)?\d{1,2}: ?\d{1,2}[,.] ?\d{1,3}"
_ARROW = re.compile(rf"^[ \t]*{_TIME}\s*-->\s*{_TIME}", re.MULTILINE)
_BEGINNINGS = {
    "srt": re.compile(rf"[\n \t]*\d+[ \t]*\n[\n \t]*{_TIME}\s*-->\s*{_TIME}"),
    "vtt": re.compile(r"WEBVTT(?:[ \t].*)?\n"),
    "sbv": re.compile(rf"[\n \t]*{_TIME},{_TIME}[ \t]*\n"),
}
_CUE_BEGINS = re.compile(
    r"(?:^[ \t]*\d+[ \t]*\n|(?:(?<=\n\n)|\A\s*)\d+[ \t]*\n(?:[ \t]*\n)+)?"
    r"^[ \t]*\d+:(?:[^\s,.]*[,.]\S*| ?\d+:[\d:,. ]*)\s*--&gt;.*"
    rf"|^[ \t]*{_TIME},{_TIME}[ \t]*$",
    re.MULTILINE,
)
"""Matches the times of a cue, also damaged ones, and the number before them."""
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:b|i|u|s|c|v|ruby|font|lang)(?:\.[\w.-]*)?>|<(?:v|lang)(?:\.[\w.-]*)?[ \t][^<>]*>"
    r"|<font\s[^<>]*=[^<>]*>|<rt>.*?</rt>|<[\d:.]+>|\{\\[^{}]*\}|\{[A-Za-z]:[^{}]*\}",
    re.IGNORECASE,
)
_BEGINS_SPEECH = re.compile(
    r"(?P<mark>>>)|(?P<dash>[-‐‑–—][ \t]*\S)|(?P<name>[^\W\d_][\w .'’&-]{0,30}):[ \t]+\S"
)
"""Matches the beginning of what another person says in the same cue."""
ROLLING = 0.4
"""Share of the cues that begin with the end of the one before from which on all of these
repetitions are left out: automatic captions roll up."""

_TIMES = (
    "line",
    "left out of {label}: the numbers and times of subtitles ({num});"
    f" {named('clean', 'false')} keeps them",
)

Cue = list[Line]
"""The lines of a cue, or of one of its voices, without their ends."""


def cue_format(start: str) -> str:
    """Return the format of subtitles that a text begins with: `srt`, `vtt` or `sbv`; "" for any
    other text.

    The beginning decides, not the name: many subtitles are called .txt.
    """
    # The word WEBVTT alone may begin a text about the format.
    for name, beginning in _BEGINNINGS.items():
        if beginning.match(start) and (name != "vtt" or _ARROW.search(start)):
            return name
    return ""


def parse_cues(label: str, text: str, format: str, changes: Counter[Change]) -> list[Line]:
    """Return the cues of subtitles, each as one line, or as one for each of its voices. A line is
    in parts, with the numbers of their lines in the file.

    A model of subtitles as they stand would learn mostly time codes. Raises UsageError if webvtt-py
    is missing.
    """
    try:
        import webvtt
    except ImportError:
        raise UsageError(
            f"{label} has subtitles, which charrnn reads by webvtt-py, and the extra files is"
            f" missing.\nInstall it: {install_command()}\n"
            f"Or take the file with its times: {named('clean', 'false')}."
        ) from None
    # It would leave a cue out that has no number, a damaged time or an arrow in its words, so every
    # cue gets a number and times that are whole.
    escaped = text.replace("-->", "--&gt;")
    whole = _CUE_BEGINS.sub("\n0\n00:00:00.000 --> 00:00:01.000", escaped).lstrip()
    captions = webvtt.from_buffer(
        io.StringIO(f"{whole}\n\n"), format="vtt" if format == "vtt" else "srt"
    )

    file_lines = enumerate(escaped.split("\n"), 1)
    cues: list[Cue] = []
    for caption in captions.captions:
        cues += _cues_of(caption.lines, file_lines)
    changes[_TIMES] += text.count("\n") - len(cues)
    lines: list[Line] = []
    for cue in _without_repeated(cues):
        for said in _said_in(cue):
            lines += joined(said)
    return lines


def _cues_of(lines: Sequence[str], file_lines: Iterator[tuple[int, str]]) -> Iterator[Cue]:
    """Yield the lines of a cue without tags, those of each of its voices by themselves. The lines
    of the file are read up to them."""
    cue: Cue = []
    number = 0
    for line in lines:
        # The lines of cues stand in the file in their order.
        number = next((place for place, file_line in file_lines if file_line == line), number)
        # Several voices may speak in one line.
        for index, part in enumerate(_VOICE.sub(r"\n\1: ", line).split("\n")):
            if index and cue:
                yield cue
                cue = []
            if shown := html.unescape(_TAG.sub("", part.replace("[br]", " "))).strip():
                cue.append(Line(number, shown))
    # A cue may be empty, to clear the screen.
    if cue:
        yield cue


def _said_in(cue: Cue) -> list[Cue]:
    """Return the lines of each person who speaks in a cue: a mark or a name begins another one."""
    begins = [_BEGINS_SPEECH.match(line.content) for line in cue]
    # A single dash may be that of a sentence.
    has_dashes = sum(1 for begin in begins if begin and begin["dash"]) > 1
    said: list[Cue] = []
    for line, begin in zip(cue, begins, strict=True):
        is_name = bool(begin and begin["name"] and begin["name"].isupper())
        is_mark = bool(begin and (begin["mark"] or (begin["dash"] and has_dashes)))
        if is_name or is_mark or not said:
            said.append([])
        said[-1].append(line)
    return said


def _num_repeated(before: Cue, cue: Cue) -> int:
    """Return how many lines at the beginning of a cue are the last ones of the cue before."""
    for num in range(min(len(before), len(cue)), 0, -1):
        if [line.content for line in before[-num:]] == [line.content for line in cue[:num]]:
            return num
    return 0


def _without_repeated(cues: list[Cue]) -> list[Cue]:
    """Return cues without the lines that the cue before ends with, if so many begin with them that
    they roll up."""
    kept = cues[:1]
    num_rolling = 0
    for before, cue in pairwise(cues):
        num = _num_repeated(before, cue)
        if num:
            num_rolling += 1
        # A line that grows word by word is written when it is whole.
        elif cue[0].content.startswith(f"{before[-1].content} "):
            num_rolling += 1
            kept[-1] = kept[-1][:-1]
        kept.append(cue[num:])
    if num_rolling > max(1, ROLLING * (len(cues) - 1)):
        return kept
    return cues
