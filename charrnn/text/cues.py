"""Read subtitles by webvtt-py, which the extra `files` installs: a cue is a line."""

import html
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from charrnn.errors import UsageError, install_command, named
from charrnn.text.text_files import Change, Line

_TIME = r"(?:\d+:)?\d{1,2}:\d{1,2}[,.]\d{1,3}"
_ARROW = re.compile(rf"^[ \t]*{_TIME}\s*-->\s*{_TIME}", re.MULTILINE)
_BEGINNINGS = {
    "srt": re.compile(rf"\s*\d+[ \t]*\n[ \t]*{_TIME}\s*-->\s*{_TIME}"),
    "vtt": re.compile(r"WEBVTT(?:[ \t].*)?\n"),
    "sbv": re.compile(rf"\s*{_TIME},{_TIME}[ \t]*\n"),
}
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:b|i|u|s|c|v|ruby|font|lang)(?:\.[\w.-]*)?>|<(?:v|lang)(?:\.[\w.-]*)?[ \t][^<>]*>"
    r"|<font\s[^<>]*=[^<>]*>|<rt>.*?</rt>|<[\d:.]+>|\{\\[^{}]*\}|\{[A-Za-z]:[^{}]*\}",
    re.IGNORECASE,
)
_IDEOGRAPH = re.compile("[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60]")
ROLLING = 0.4
"""Share of the cues that begin with the end of the one before from which on all of these
repetitions are left out: automatic captions roll up."""

_TIMES = (
    "line",
    "left out of {label}: the numbers and times of subtitles ({num});"
    f" {named('clean', 'false')} keeps them",
)

Cue: TypeAlias = Sequence[tuple[int, str]]
"""The lines of a cue after their numbers in the file. One that begins with a voice begins with
`VOICE`."""
VOICE = "\x01"
"""Stands before the name of a voice."""


def cue_format(start: str) -> str:
    """Return the format of subtitles that a text begins with: `srt`, `vtt` or `sbv`; "" for any
    other text."""
    # The word WEBVTT alone may begin a text about the format.
    for name, beginning in _BEGINNINGS.items():
        if beginning.match(start) and (name != "vtt" or _ARROW.search(start)):
            return name
    return ""


def parse_cues(label: str, text: str, format: str, changes: Counter[Change]) -> list[Line] | None:
    """Return the cues of subtitles, each as one line, or as one for each of its voices; None if
    they are damaged. A line is in parts, with the numbers of their lines in the file.

    Raises UsageError if webvtt-py is missing.
    """
    try:
        import webvtt
    except ImportError:
        raise UsageError(
            f"{label} has subtitles, which charrnn reads by webvtt-py, and the extra files is"
            f" missing.\nInstall it: {install_command('files')}\n"
            f"Or take the file with its times: {named('clean', 'false')}."
        ) from None
    # It refuses blank lines at the beginning, and skips blocks that are no cues.
    try:
        captions = webvtt.from_buffer(io.StringIO(text.lstrip("\n \t")), format=format)
    except (webvtt.errors.MalformedFileError, webvtt.errors.MalformedCaptionError):
        return None

    file_lines = enumerate(text.split("\n"), 1)
    cues: list[Cue] = [[*_shown(caption.lines, file_lines)] for caption in captions.captions]
    # A cue may be empty, to clear the screen.
    cues = [cue for cue in cues if cue]
    if _are_rolling(cues):
        cues = _without_repeated(cues)
    changes[_TIMES] += text.count("\n") - len(cues)
    return [line for cue in cues for line in _joined(cue)]


def _shown(
    lines: Sequence[str], file_lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a cue without tags; a voice begins a line. The lines of the file are read
    up to them."""
    number = 0
    for line in lines:
        # The lines of cues stand in the file in their order.
        number = next((place for place, file_line in file_lines if file_line == line), number)
        # Several voices may speak in one line.
        marked = _VOICE.sub(rf"\n{VOICE}\1: ", line)
        for part in marked.split("\n"):
            shown = html.unescape(_TAG.sub("", part)).strip()
            if shown.strip(VOICE):
                yield number, shown


def _num_repeated(before: Cue, cue: Cue) -> int:
    """Return how many lines at the beginning of a cue are the last ones of the cue before."""
    for num in range(min(len(before), len(cue)), 0, -1):
        if [line for _, line in before[-num:]] == [line for _, line in cue[:num]]:
            return num
    return 0


def _grows(before: Cue, cue: Cue) -> bool:
    """Whether the last line of a cue is the beginning of the next cue's first line."""
    return cue[0][1].startswith(f"{before[-1][1]} ")


def _are_rolling(cues: Sequence[Cue]) -> bool:
    num = sum(
        _num_repeated(before, cue) > 0 or _grows(before, cue) for before, cue in pairwise(cues)
    )
    return num > ROLLING * (len(cues) - 1)


def _without_repeated(cues: Sequence[Cue]) -> list[Cue]:
    """Return cues without the lines that the cue before ends with."""
    kept = [*cues[:1]]
    for before, cue in pairwise(cues):
        # A line that grows word by word is written when it is whole.
        num = _num_repeated(before, cue)
        if not num and _grows(before, cue):
            kept[-1] = kept[-1][:-1]
        kept.append(cue[num:])
    return kept


def _joined(cue: Cue) -> Iterable[Line]:
    """Yield the lines of a cue as parts of one line, or of one for each voice."""
    # The parts of a line keep the numbers of their own lines.
    for index, (number, line) in enumerate(cue):
        end = "\n"
        if index + 1 < len(cue) and not cue[index + 1][1].startswith(VOICE):
            following = cue[index + 1][1]
            is_unspaced = _IDEOGRAPH.match(line[-1]) and _IDEOGRAPH.match(following)
            end = "" if is_unspaced else " "
        yield Line(number, line.removeprefix(VOICE) + end)
