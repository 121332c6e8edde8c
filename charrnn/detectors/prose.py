"""Label quotations, lines, words, numbers and web addresses of any text, and the speakers of plays.

Yes/no labels are bool arrays (N,), counts are int64 arrays (N,), for a text of N characters.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np

from charrnn.detectors.source import count_lines, has_strings, looks_like_source
from charrnn.system.arrays import BoolArray, Int64Array

MIN_SPEAKER_SHARE = 0.03
"""A text is a play if at least this share of its lines that are not blank names a speaker."""

# Thousands, decimals and 0x1f. The first branch consumes names together with their digits.
_NUMBER = re.compile(r"[^\W\d]\w*|(?P<number>0[xX][0-9a-fA-F]+|\d+(?:[.,_]\d+)*)")
_URL = re.compile(r"(?i)(?:https?|ftp)://[^\s<>\"“”{}|\\^`]+|(?<![\w.@/-])www\.[^\s<>\"“”{}|\\^`]+")
# What is said begins in the next line; (V.O.) and ^ may stand behind the name.
_CUE = re.compile(
    r"(?m)(?:\A|(?<=\n\n)|(?<=\n\r\n))[ \t]*(?P<name>[^\W\d_][\w.'’-]*(?: [\w.'’&-]+){0,3})"
    r"(?:[ \t]*\([^()\n]{1,40}\))*[ \t]*\^?[ \t]*\r?\n(?=[ \t]*\S)"
)
_SPEAKER = re.compile(r"(?m)^(?P<name>[^\W\d_][\w.'’-]*(?: [\w.'’&-]+){0,3}):[ \t\r]*$")


def label_spans(num_chars: int, spans: Iterable[tuple[int, int]]) -> BoolArray:
    """Return labels (num_chars,) that are true inside the spans [begin, end), which must not
    overlap: what a detector needs that finds its spans by reading a text once."""
    # The array has one more entry, for a span that ends with the text. An empty span changes
    # nothing.
    changes = np.zeros(num_chars + 1, np.int8)
    for begin, end in spans:
        changes[begin] += 1
        changes[end] -= 1
    return np.cumsum(changes[:-1], dtype=np.int8).astype(bool)


def label_matches(text: str, matches: Iterable[re.Match[str]], group: str | int = 0) -> BoolArray:
    """Return labels (N,) that are true inside a group of each match, for a detector that is a
    regular expression. An empty match is no span.

    Most detectors of one's own are a regular expression, and need no function.
    """
    return label_spans(len(text), spans=(match.span(group) for match in matches))


def _where(text: str, condition: Callable[[str], bool]) -> BoolArray:
    """Return for each character (N,) whether a condition holds, which is evaluated once for each
    distinct character."""
    # "surrogatepass": a text may contain lone surrogates.
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    different, index = np.unique(codes, return_inverse=True)
    return np.array([condition(chr(code)) for code in different], bool)[index]


def _is_newline(text: str) -> BoolArray:
    return _where(text, "\n".__eq__)


def last_index(marked: BoolArray) -> Int64Array:
    """Return for each character the index of the last marked character at or before it, or -1: a
    count since the last newline or blank is a difference of two indices."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))


CLOSING = {
    '"': '"”',
    "“": '"”',
    "”": "”",
    "„": '"“”',
    "«": "»",
    "»": "«»",
    "「": "」",
    "『": "』",
}
"""The double quotation marks that open a quotation, each with the marks that close it: those of
English, Swedish, German, French, Danish, Japanese and the languages that share them."""
LONG_LINE = 100
"""A line with more characters is a whole paragraph."""
LEAST_BLANK = 0.01
"""If less than this share of the lines is blank, every line is a paragraph."""

_BLANK_LINE = r"\n[ \t\r]*\n"
_ANY_MARK = re.compile(rf'["“”„«»「」『』]|{_BLANK_LINE}')
_DIRECTED_MARK = re.compile(
    r"""(?P<opening>(?<![^\s(\[{'‘])["“”„«»](?=[\w'‘’])|[「『])"""  # after a blank, before a letter
    r"""|(?P<inner_inch>(?<=[0-9])"(?=[ ][^"“”\n]*[^\s\d"“”]"(?!\w)))"""  # another mark closes
    r"""|(?P<closing>(?<=[\w.,;:!?…'’)\]—–-])["“”„«»](?=[\s.,;:!?)\]]|\Z))"""  # before a blank
    r"""|(?P<inch>(?<=[0-9])"(?![^\W\d_])|(?<=[א-ת])"(?=[א-ת]))|(?P<dashed>(?<=[—–-])[”»](?=\w))"""
    rf"|{_ANY_MARK.pattern}"
)
_INCHES = ("inner_inch", "inch")


def label_quotes(text: str) -> BoolArray:
    """True inside double quotation marks (CLOSING). Apostrophes are ignored.

    The end of a paragraph ends a quotation: a blank line, and in a text with one paragraph a line
    the end of the line, unless a mark closes the quotation later. Outside source code, a mark that
    stands like an opening mark never closes a quotation, and one that stands like a closing mark,
    or after a digit, never opens one: so a forgotten mark does no harm behind its paragraph.
    """
    inside = np.zeros(len(text), bool)
    tokens = _ANY_MARK if has_strings(text) else _DIRECTED_MARK
    paragraph_end = _paragraph_end(text)
    opener = ""
    begin = 0
    for match in tokens.finditer(text):
        # A mark changes the label of its own character; a blank line changes it at its newline.
        changed = match.end() - 1
        mark = text[changed]
        if not opener:
            opener = _opener(match)
            begin = changed
        elif mark == "\n":
            inside[begin : paragraph_end(begin, changed)] = True
            opener = ""
        elif mark in CLOSING[opener] and match.lastgroup not in ("opening", "inner_inch"):
            inside[begin:changed] = True
            opener = ""
        elif match.lastgroup == "opening" and mark in opener + CLOSING[opener]:
            # The quotation before has no closing mark.
            inside[begin : paragraph_end(begin, changed)] = True
            opener = mark
            begin = changed
    if opener:
        inside[begin : paragraph_end(begin, len(text))] = True
    return inside


def _opener(match: re.Match[str]) -> str:
    """Return the quotation mark of a match if it opens a quotation, else ""."""
    mark = match.group()
    if mark not in CLOSING or match.lastgroup in ("closing", *_INCHES):
        return ""
    # These marks mostly close.
    if mark in "”»" and match.lastgroup is None:
        return ""
    return mark


def _paragraph_end(text: str) -> Callable[[int, int], int]:
    """Return a function that returns where a quotation without a closing mark ends: at the end of
    its paragraph, but at `limit` at the latest."""
    # With few blank lines, a line of the text is a paragraph: the text is not wrapped.
    num_blank = len(re.findall(r"\n(?=[ \t\r]*\n)", text))
    are_paragraphs = num_blank < LEAST_BLANK * text.count("\n")

    def paragraph_end(begin: int, limit: int) -> int:
        line_end = text.find("\n", begin, limit)
        if line_end < 0 or text[line_end:limit].isspace():
            return limit

        # A line longer than any wrapped one is a paragraph in every text.
        line_begin = text.rfind("\n", 0, begin) + 1
        if are_paragraphs or line_end - line_begin > LONG_LINE:
            return line_end
        return limit

    return paragraph_end


def label_line_position(text: str) -> Int64Array:
    """Characters of this line read so far: 1 after its first character, 0 after the newline."""
    return np.arange(len(text)) - last_index(_is_newline(text))


def label_line_length(text: str) -> Int64Array:
    """Characters left before the newline that ends this line: 0 for the newline itself."""
    newlines = np.flatnonzero(_is_newline(text))
    index = np.arange(len(text))
    # The last line ends with the text, where it may have been cut.
    line_ends = np.append(newlines, len(text))[np.searchsorted(newlines, index)]
    return np.maximum(line_ends - index - 1, 0)


def label_newline_next(text: str) -> BoolArray:
    """True where the next character is a newline; false for the last character, whose successor is
    unknown."""
    return np.append(_is_newline(text), False)[1:]


def label_indentation(text: str) -> Int64Array:
    """Spaces and tabs that this line starts with; while they are read, their number so far."""
    # Where the line of each character begins, and where white space ends after that.
    index = np.arange(len(text))
    line_starts = last_index(np.append(True, _is_newline(text))[:-1])
    stops = np.append(np.flatnonzero(~_where(text, " \t".__contains__)), len(text))
    widths = stops[np.searchsorted(stops, line_starts)] - line_starts
    return np.asarray(np.minimum(widths, index - line_starts + 1))


def _words(text: str) -> BoolArray:
    """True for letters, combining marks, digits, underscores, and an apostrophe right after one of
    these."""

    def is_in_word(character: str) -> bool:
        return character == "_" or unicodedata.category(character)[0] in "LMN"

    # An apostrophe after a letter counts as part of the word, also at its end: the next character
    # is not known yet.
    is_letter = _where(text, is_in_word)
    follows = np.append(False, is_letter)[:-1]
    return is_letter | (follows & _where(text, "'’".__contains__))


def label_word_position(text: str) -> Int64Array:
    """Characters of this word read so far, 0 between words. `don't` is one word, and so is
    `num_lines`."""
    return np.arange(len(text)) - last_index(~_words(text))


def label_capitals(text: str) -> BoolArray:
    """True in a word whose letters so far are all capitals, from the second letter on.

    The first capital is left out: it may begin a sentence or a name, and can be recognized without
    memory. The space between two words in capitals is outside.
    """
    # The number of letters of a category in the word so far is their number in the text so far,
    # minus their number before the word.
    words = _words(text)
    before = last_index(~words)

    def num_in_word(*categories: str) -> Int64Array:
        is_of_category = _where(
            text, condition=lambda character: unicodedata.category(character) in categories
        )
        counts = np.cumsum(is_of_category)
        # The index -1, for no character before, is the 0 at the end.
        return np.asarray(counts - np.append(counts, 0)[before])

    has_capitals = num_in_word("Lu", "Lt") >= 2
    has_only_capitals = num_in_word("Ll") == 0
    return np.asarray(words & has_capitals & has_only_capitals)


def label_digits(text: str) -> BoolArray:
    """True in a number such as 1,234.5 or 0x1f, separators included; false for digits of a name
    such as x1."""
    return label_matches(text, (match for match in _NUMBER.finditer(text) if match["number"]))


def label_urls(text: str) -> BoolArray:
    """True in a web address, from its first character on, without the punctuation that follows
    it."""

    def spans() -> Iterable[tuple[int, int]]:
        for match in _URL.finditer(text):
            # A closing bracket ends the sentence around it, unless the address has an opening one.
            url = match.group()
            punctuation = ".,;:!?'’*]"
            if "(" not in url:
                punctuation += ")"
            yield match.start(), match.start() + len(url.rstrip(punctuation))

    return label_spans(len(text), spans())


def is_play(text: str) -> bool:
    """Return whether enough lines name a speaker, and the names repeat: a heading such as
    `Contents:` occurs once.

    Only there is a line with a colon the name of a speaker.
    """
    names = [match["name"] for match in _speakers(text)]
    if not 0 < 2 * len(set(names)) <= len(names):
        return False

    # Labels of source code such as `default:` name no speakers. This is checked last, because it
    # takes longest.
    has_enough = len(names) >= MIN_SPEAKER_SHARE * count_lines(text)
    return has_enough and not looks_like_source(text)


def label_speakers(text: str) -> BoolArray:
    """True in the name of a speaker, on a line of its own: before a colon or, as in screenplays, in
    capitals between a blank line and what is said."""
    return label_matches(text, _speakers(text), group="name")


def _speakers(text: str) -> list[re.Match[str]]:
    before_colons = [match for match in _SPEAKER.finditer(text) if match["name"][0].isupper()]
    in_capitals = [match for match in _CUE.finditer(text) if match["name"].isupper()]
    # A text has one of the two forms, and headings that look like the other.
    if len(in_capitals) > len(before_colons):
        return in_capitals
    return before_colons
