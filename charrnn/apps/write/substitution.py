"""Reads a text as a model can: each character that it does not know as one that it does, with its place in the text.

Word processors write curly quotes, dashes, non-breaking spaces and other characters that most corpora lack. The text
itself is unchanged. Shapes: N characters of the text, M ids.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocab import IdArray, Vocab, nearest_known

_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""Characters that end a line or a page: line and page breaks of word processors among them."""
_DOUBLE_QUOTES = '"“”„‟″«»'
"""Quotation marks that are read as single ones where a text, such as Shakespeare's plays, has no double ones."""
_MARKED = re.compile(r"[^\W\d_][\u0300-\u036f]+")
"""A letter with combining marks, as macOS writes an accented letter."""
_MARK_CATEGORIES = ("Mn", "Me", "Cf")
"""Unicode categories of combining marks and of invisible characters, such as a soft hyphen."""


@dataclass(frozen=True, slots=True)
class KnownCharacters:
    """The characters that a model has learned: those of its alphabet and, of bytes, those that its text had."""

    vocab: Vocab
    newline: str = "\n"
    """How the model's text ends a line: with CRLF, if it was read as bytes and has CRLF."""
    unseen: frozenset[int] = frozenset()
    """Bytes that the model never saw; of the byte alphabet only."""

    def knows(self, text: str) -> bool:
        """Return whether the model has learned every character of a text."""
        if self.vocab.kind == "byte":
            return self.unseen.isdisjoint(text.encode("utf-8", "surrogatepass"))
        return not self.vocab.unknown_characters(text)


@dataclass(frozen=True, slots=True)
class Substitution:
    """Characters of a text that are read as others: `replacement` is "" for characters that are left out."""

    characters: str
    replacement: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadText:
    """A text as a model reads it."""

    ids: IdArray = field(repr=False)
    """(M,)"""
    offsets: NDArray[np.int64] = field(repr=False)
    """(N + 1,): character i of the text is read as the ids from offsets[i] to offsets[i + 1], which may be none."""
    substitutions: tuple[Substitution, ...]
    """What is read as something else, the most frequent first."""
    unknown: tuple[Substitution, ...]
    """Characters that the model does not know and nothing replaces: read as the unknown symbol, or left out where the
    alphabet has none. A byte model reads their bytes."""

    @property
    def num_substituted(self) -> int:
        """Number of characters that are read as others, or not known at all."""
        return sum(one.count for one in (*self.substitutions, *self.unknown))


def read_as_known(known: KnownCharacters, text: str) -> ReadText:
    """Encode a text with what `known` has in place of each character that it lacks.

    Tried in order: letters with combining marks as one letter; what `Vocab.nearest` finds; a newline for a line or page
    break; nothing for marks and invisible characters. A line end of any kind is one newline.
    """
    replaced = _replacements(known, text)
    lengths = np.ones(len(text), np.int64)
    if known.vocab.kind == "byte":
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        lengths += (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    parts, end = [], 0
    for start, stop, replacement in replaced:
        parts += [text[end:start], replacement]
        lengths[start:stop] = 0
        is_bytes = known.vocab.kind == "byte"
        # "surrogatepass": a lone surrogate that nothing replaces is read as its bytes.
        lengths[start] = len(replacement.encode("utf-8", "surrogatepass") if is_bytes else replacement)
        end = stop
    ids = known.vocab.encode("".join((*parts, text[end:])))
    substituted: Counter[tuple[str, str]] = Counter()
    for start, stop, replacement in replaced:
        if text[start:stop] != "\n" or replacement != known.newline:  # the model's own line end is no substitution
            substituted[text[start:stop], replacement] += 1
    return ReadText(
        ids=ids,
        offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))),
        substitutions=_listed({pair: num for pair, num in substituted.items() if not _is_unknown(known, *pair)}),
        unknown=_listed({pair: num for pair, num in substituted.items() if _is_unknown(known, *pair)}),
    )


def _is_unknown(known: KnownCharacters, characters: str, replacement: str) -> bool:
    if replacement:
        return characters == replacement
    return all(unicodedata.category(character) not in _MARK_CATEGORIES for character in characters)


def _listed(counts: dict[tuple[str, str], int]) -> tuple[Substitution, ...]:
    found = [Substitution(*pair, count) for pair, count in counts.items()]
    return tuple(sorted(found, key=lambda one: -one.count))


def _replacements(known: KnownCharacters, text: str) -> list[tuple[int, int, str]]:
    """Return what is replaced, in order: where it begins and ends, and by what."""
    distinct = set(text)
    unknown = {character for character in distinct if not known.knows(character)}
    if known.newline != "\n":
        unknown |= distinct & {"\n"}
    pattern = "|".join(
        (
            "\r\n?",
            *((_MARKED.pattern,) if any("\u0300" <= character <= "\u036f" for character in distinct) else ()),
            *(("[" + "".join(map(re.escape, sorted(unknown))) + "]",) if unknown else ()),
        )
    )
    singles = {character: _replacement(known, character) for character in unknown}
    found = []
    for match in re.finditer(pattern, text):
        characters = match[0]
        if characters[0] == "\r":
            replacement = known.newline if known.knows(known.newline) else _replacement(known, "\n")
            if characters == replacement:
                continue
        elif characters in singles:
            replacement = singles[characters]
        elif known.knows(characters):
            continue
        else:
            composed = unicodedata.normalize("NFC", characters)
            if not known.knows(composed):
                found += [
                    (match.start() + index, match.start() + index + 1, singles[character])
                    for index, character in enumerate(characters)
                    if character in singles
                ]
                continue
            replacement = composed
        found.append((match.start(), match.end(), replacement))
    return found


def _replacement(known: KnownCharacters, character: str) -> str:
    if character == "\n" and known.newline != "\n":
        return known.newline
    if character in _LINE_ENDS and known.knows(known.newline):
        return known.newline
    if replacement := nearest_known(character, known.knows):
        return replacement
    if character in _DOUBLE_QUOTES and known.knows("'"):
        return "'"
    if unicodedata.category(character) in _MARK_CATEGORIES:
        return ""
    # Itself: the unknown symbol, or bytes; nothing, where it could not be encoded.
    return character if known.vocab.kind == "byte" or known.vocab.has_unknown_symbol else ""


class CachedReading:
    """Reads a text as `read_as_known` does; of a text that was read before, only the parts that have changed.

    The text is cut after lines that are chosen by their content, about one in `PART_LINES`, so that a change moves no
    cut but those beside it.
    """

    def __init__(self, known: KnownCharacters) -> None:
        """Read with what `known` has."""
        self._known = known
        self._parts: dict[str, ReadText] = {}

    def read(self, text: str) -> ReadText:
        """Return what `read_as_known` returns."""
        parts = {part: self._parts.get(part) or read_as_known(self._known, part) for part in dict.fromkeys(_cut(text))}
        # Those of an earlier text are forgotten, so that memory is bounded.
        self._parts = parts
        return _joined([parts[part] for part in _cut(text)])


PART_LINES = 32
"""Lines of a part of a text on average."""


def _cut(text: str) -> Iterator[str]:
    begin = start = 0
    while (end := text.find("\n", start) + 1) > 0:
        if zlib.crc32(text[start:end].encode("utf-8", "surrogatepass")) % PART_LINES == 0:
            yield text[begin:end]
            begin = end
        start = end
    yield text[begin:]


def _joined(parts: Sequence[ReadText]) -> ReadText:
    """Join what was read of consecutive parts of a text."""
    bases = np.cumsum([0, *(len(part.ids) for part in parts)]).tolist()
    offsets = [part.offsets[1:] + base for part, base in zip(parts, bases, strict=False)]
    return ReadText(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate((np.zeros(1, np.int64), *offsets)),
        substitutions=_added([one for part in parts for one in part.substitutions]),
        unknown=_added([one for part in parts for one in part.unknown]),
    )


def _added(found: Sequence[Substitution]) -> tuple[Substitution, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in found:
        counts[one.characters, one.replacement] += one.count
    return _listed(dict(counts))
