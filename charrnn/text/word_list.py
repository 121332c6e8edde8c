"""The words of a text: what a word is, the list of all that are different, and the file of a list.

A word is a run of letters and of the marks on them (categories L and M of Unicode), with single
apostrophes and hyphens inside: `don't`, `well-known`. All other characters part words, digits and
underscores too, so that the parts of an identifier in a program are words. Letters of scripts that
put no blanks between words, such as Chinese, are no letters here.

A word of a list counts as it stands, in small letters, and with a capital. A list is made once, and
keeps which characters are letters and what their capitals are: categories and cases differ between
versions of Unicode, and pages and modules, which read lists, have other tables than Python.

Shapes: N characters of a block, V vocabulary.
"""

import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.detectors.notations import num_molecules
from charrnn.detectors.source import count_lines
from charrnn.errors import CheckpointError, OtherVersionError, UsageError, counted, named
from charrnn.system.files import parse_json
from charrnn.system.progress import task
from charrnn.text.batches import release_pages
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END
from charrnn.text.vocab import Vocab, code_points

OTHER, LETTER, JOINER = range(3)
"""Kinds of characters: one that parts words, one that words consist of, and one that may stand
between two letters of a word."""
JOINERS = "'’-‐‑"
"""Apostrophes and hyphens."""
WITHOUT_BLANKS = (
    (0x0E00, 0x0E7F, "Thai"),
    (0x0E80, 0x0EFF, "Lao"),
    (0x1000, 0x109F, "Burmese"),
    (0x1780, 0x17FF, "Khmer"),
    (0x2E80, 0x2FDF, "Chinese"),
    (0x3005, 0x3007, "Chinese"),
    (0x3021, 0x3029, "Chinese"),
    (0x3040, 0x30FF, "Japanese"),
    (0x3100, 0x312F, "Chinese"),
    (0x31A0, 0x31BF, "Chinese"),
    (0x31F0, 0x31FF, "Japanese"),
    (0x3400, 0x9FFF, "Chinese"),
    (0xA9E0, 0xA9FF, "Burmese"),
    (0xAA60, 0xAA7F, "Burmese"),
    (0xF900, 0xFAFF, "Chinese"),
    (0xFF66, 0xFF9F, "Japanese"),
    (0x1AFF0, 0x1B16F, "Japanese"),
    (0x20000, 0x3FFFF, "Chinese"),
)
"""The first and the last code point of scripts that put no blanks between words."""
MOST_WITHOUT_BLANKS = 0.5
"""The largest share of the letters of a text that may belong to such scripts."""
MOST_MOLECULES = 0.1
"""The largest share of the lines of a text that may be molecules."""
MOST_CHARS = 10**9
"""Characters of a text whose words are listed, the first ones."""
MAX_WORD_LENGTH = 200
"""Characters of the longest word of a list. A longer run of letters is no word that somebody has
written, such as a sequence of DNA."""
MAX_LIST_BYTES = 1 << 26
"""The largest file of a list when it is unpacked, in bytes."""
MAX_LIST_CHARS = 1 << 27
"""The largest number of characters of all words of a file together."""
LIST_VERSION = 1
"""Format of the files that `WordList.to_bytes` makes."""
BLOCK_CHARS = 1 << 20
"""Characters of a text that are divided into words at a time."""
_ENTRY = re.compile("([0-9]{1,3})([^0-9]+)")
"""Matches a word of a file: how many characters it has in common with the word before it, and the
others."""


@dataclass(frozen=True)
class WordList:
    """The different words of a text that a model can write, sorted.

    `Model.word_list` is one: the words that a sample with `known_words` may contain. Of each word
    its small letters are listed; as it stands it is listed only where these do not imply it.
    """

    letters: str
    """The letters and marks of the model's alphabet, in its order."""
    joiners: str
    """Its apostrophes and hyphens."""
    capitals: Mapping[str, str] = field(repr=False)
    """The capital of each letter that has one in the alphabet."""
    words: tuple[str, ...] = field(repr=False)
    """Sorted by code points."""
    num_left_out: int = field(default=0, compare=False)
    """Words of the text that are not listed, because the alphabet has not all of their characters.
    """

    @classmethod
    def of(cls, words: Iterable[str], vocab: Vocab) -> "WordList":
        """Make the list of the words that the alphabet of a model can write."""
        kinds = KindTable()
        characters = [character for character in vocab.characters if character]
        letters = [one for one in characters if kinds.kind(one) == LETTER]
        joiners = [one for one in characters if kinds.kind(one) == JOINER]
        known = {*letters, *joiners}
        capitals = {}
        for letter in letters:
            capital = letter.title()
            if capital != letter and capital in known:
                capitals[letter] = capital

        # Small letters imply a word that begins with a capital, but not KING or McAdam.
        listed = set[str]()
        num_left_out = 0
        for word in words:
            small = word.lower()
            if not known.issuperset(word):
                num_left_out += 1
            elif not known.issuperset(small):
                listed.add(word)
            else:
                listed.add(small)
                if word not in (small, capitals.get(small[0], small[0]) + small[1:]):
                    listed.add(word)
        return cls(
            letters="".join(letters),
            joiners="".join(joiners),
            capitals=capitals,
            words=tuple(sorted(listed)),
            num_left_out=num_left_out,
        )

    def forms(self) -> Iterator[str]:
        """Yield every word as it may be written: as it is listed, and with a capital.

        They are what a user would call the words; `all_forms` is the set of them.
        """
        for word in self.words:
            yield word
            capital = self.capitals.get(word[0])
            if capital is not None:
                yield capital + word[1:]

    @cached_property
    def all_forms(self) -> frozenset[str]:
        """Every word as it may be written."""
        return frozenset(self.forms())

    def kinds(self, vocab: Vocab) -> NDArray[np.uint8]:
        """Return the kind (V,) of each character of an alphabet: OTHER, LETTER or JOINER."""
        kind_of = dict.fromkeys(self.letters, LETTER) | dict.fromkeys(self.joiners, JOINER)
        kinds = [kind_of.get(character, OTHER) for character in vocab.characters]
        return np.array(kinds, np.uint8)

    def to_bytes(self) -> bytes:
        """Return the file of the list. Raises UsageError for a list that is too large for one."""
        # Digits part the words, because none is part of one.
        entries = []
        before = ""
        for word in self.words:
            shared = 0
            while shared < min(len(word), len(before)) and word[shared] == before[shared]:
                shared += 1
            entries.append(f"{shared}{word[shared:]}")
            before = word
        content = {
            "version": LIST_VERSION,
            "letters": self.letters,
            "joiners": self.joiners,
            "capitals": "".join(chain.from_iterable(self.capitals.items())),
            "words": "".join(entries),
        }
        data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        if len(data) > MAX_LIST_BYTES or sum(map(len, self.words)) > MAX_LIST_CHARS:
            raise UsageError(
                f"The text has {counted(len(self.words), 'different word')}, more than a file"
                f" holds: leave out {named('known_words')}."
            )
        return zlib.compress(data, 9)

    @classmethod
    def from_bytes(cls, data: bytes, vocab: Vocab, path: Path) -> "WordList":
        """Read the file of a list for a model with an alphabet. Raises CheckpointError, which names
        the `path`, for anything that `to_bytes` does not make."""
        content = _parsed(_unpacked(data, path), path)
        letters, joiners = content["letters"], content["joiners"]
        known = {*letters, *joiners}
        is_alphabet = known <= {*vocab.characters} and len(known) == len(letters + joiners)
        if not is_alphabet:
            raise _damaged(path, "its letters are not those of the alphabet")
        pairs = content["capitals"]
        capitals = dict(zip(pairs[::2], pairs[1::2], strict=False))
        if not {*pairs} <= {*letters} or 2 * len(capitals) != len(pairs):
            raise _damaged(path, "its capitals are no letters")
        words = tuple(_read_entries(content["words"], path))
        letter = f"[{re.escape(letters)}]"
        joiner = f"[{re.escape(joiners)}]" if joiners else "(?!)"
        is_word = re.compile(f"{letter}+(?:{joiner}{letter}+)*").fullmatch
        if words and (not letters or not all(map(is_word, words))):
            raise _damaged(path, "an entry is no word of its letters")
        return cls(letters=letters, joiners=joiners, capitals=capitals, words=words)


def _damaged(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {problem}")


def _unpacked(data: bytes, path: Path) -> bytes:
    """Unpack the file of a list, at most `MAX_LIST_BYTES` of it."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, MAX_LIST_BYTES)
    except zlib.error as error:
        raise _damaged(path, str(error)) from error
    if not unpacker.eof or unpacker.unused_data:
        raise _damaged(path, f"it is cut, or has more than {MAX_LIST_BYTES:,} bytes unpacked")
    return content


def _parsed(content: bytes, path: Path) -> dict[str, str]:
    """Return the texts of the file of a list by name."""
    parsed: Any = parse_json(path, content)
    version = parsed.get("version") if isinstance(parsed, dict) else None
    if type(version) is not int or version < 1:
        raise _damaged(path, "it is no list of words")
    if version > LIST_VERSION:
        raise OtherVersionError(f"{path} was made by a newer charrnn (format {version}); upgrade")
    texts = {name: parsed.get(name) for name in ("letters", "joiners", "capitals", "words")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise _damaged(path, "a part of the list is missing")
    return texts


def _read_entries(entries: str, path: Path) -> Iterator[str]:
    """Yield the words of a file, which must be sorted."""
    before = ""
    end = num_chars = 0
    for entry in _ENTRY.finditer(entries):
        shared = int(entry[1])
        word = before[:shared] + entry[2]
        num_chars += len(word)
        if entry.start() != end or shared > len(before) or word <= before:
            raise _damaged(path, "its words are not sorted")
        if len(word) > MAX_WORD_LENGTH or num_chars > MAX_LIST_CHARS:
            raise _damaged(path, "its words are too long")
        yield word
        before = word
        end = entry.end()
    if end != len(entries):
        raise _damaged(path, "its words are not sorted")


class KindTable:
    """The kind of each code point, looked up in the tables of this Python once."""

    def __init__(self) -> None:
        # One more than the kinds: not looked up yet.
        self._kinds = np.full(0x110000, JOINER + 1, np.uint8)
        self.scripts: dict[int, str] = {}
        """The scripts without blanks of the code points that were looked up and belong to one."""

    def kind(self, character: str) -> int:
        """Return the kind of a character."""
        return int(self.kinds(np.array([ord(character)]))[0])

    def kinds(self, points: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the kinds (N,) of code points (N,)."""
        kinds: NDArray[np.uint8] = self._kinds[points]
        is_new = kinds > JOINER
        if is_new.any():
            for point in np.unique(points[is_new]).tolist():
                self._kinds[point] = self._look_up(point)
            kinds = self._kinds[points]
        return kinds

    def _look_up(self, point: int) -> int:
        character = chr(point)
        if character in JOINERS:
            return JOINER
        if unicodedata.category(character)[0] not in "LM":
            return OTHER
        for first, last, script in WITHOUT_BLANKS:
            if first <= point <= last:
                self.scripts[point] = script
                return OTHER
        return LETTER


def words_in(text: str, kinds: KindTable | None = None) -> list[str]:
    """Return all words of a text, in their order."""
    points = code_points(text)
    found = (kinds or KindTable()).kinds(points)
    return _blanked(points, found).split()


def _blanked(points: NDArray[np.unsignedinteger], kinds: NDArray[np.uint8]) -> str:
    """Return a text of code points (N,) with a blank for each character that is no part of a
    word."""
    is_letter = kinds == LETTER
    is_inside = kinds == JOINER
    is_inside[:1] = is_inside[-1:] = False
    is_inside[1:-1] &= is_letter[:-2] & is_letter[2:]
    kept = np.where(is_letter | is_inside, points, ord(" ")).astype("<u4")
    return kept.tobytes().decode("utf-32-le")


@dataclass
class TextWords:
    """The words of a text, and what decides whether it has any: block by block, as it is read."""

    words: set[str] = field(default_factory=set)
    num_letters: int = 0
    scripts: dict[str, int] = field(default_factory=dict)
    """How many letters each script without blanks between words has."""
    num_lines: int = 0
    num_molecules: int = 0
    """Lines that can be molecules as SMILES."""
    is_cut: bool = False
    """Whether the text is longer than `MOST_CHARS`."""
    _kinds: KindTable = field(default_factory=KindTable)

    def add(self, text: str) -> None:
        """Add a block of whole lines, or at least of whole words."""
        points = code_points(text)
        kinds = self._kinds.kinds(points)
        self.words.update(_blanked(points, kinds).split())

        self.num_letters += int(np.count_nonzero(kinds == LETTER))
        if self._kinds.scripts:
            counts = np.bincount(points[kinds == OTHER])
            for point, script in self._kinds.scripts.items():
                if point < len(counts) and counts[point]:
                    self.scripts[script] = self.scripts.get(script, 0) + int(counts[point])

        lines = text.replace(END, "\n")
        self.num_lines += count_lines(lines)
        self.num_molecules += num_molecules(lines)

    def end_of_words(self, text: str, *, behind: str = "a") -> int:
        """Return the index after the last character of a text that parts words; 0 without any.
        `behind` are the next two characters, in place of which there may be a letter."""
        points = code_points(text + behind)
        blanked = _blanked(points, self._kinds.kinds(points))
        return min(len(text), blanked.rfind(" ", 0, len(text) + 1) + 1)

    def end_of_lines(self, text: str) -> int:
        """Return the index after the last line or document of a text or, without any, after its
        last whole word."""
        end = max(text.rfind("\n"), text.rfind(END)) + 1
        return end or self.end_of_words(text)

    def without_run(self, text: str) -> str:
        """Return a text without the word, or what looks like one, with which it begins."""
        parting = np.flatnonzero(self._kinds.kinds(code_points(text)) == OTHER)
        return text[parting[0] :] if len(parting) else ""

    @property
    def notes(self) -> list[str]:
        """What a user should know of the words, one sentence each."""
        notes = []
        if self.scripts:
            scripts = ", ".join(self.scripts)
            notes.append(f"runs of letters of {scripts} are free: they are written without blanks")
        if self.is_cut:
            notes.append(f"words are those of the first {MOST_CHARS:,} characters of the text")
        return notes

    def check(self, name: str) -> None:
        """Raise UsageError if this is a text whose words cannot be told."""
        num_without_blanks = sum(self.scripts.values())
        if num_without_blanks > MOST_WITHOUT_BLANKS * (self.num_letters + num_without_blanks):
            script = max(self.scripts, key=lambda one: self.scripts[one])
            problem = f"{script} has no blanks between words"
        elif self.num_molecules > MOST_MOLECULES * self.num_lines:
            problem = f"{self.num_molecules / self.num_lines:.0%} of its lines are molecules"
        elif not self.words:
            problem = "it has no words"
        else:
            return
        raise UsageError(
            f"{named('known_words')} does not go with the text of {name}: {problem}. Leave it out."
        )


def read_words(part: CorpusPart) -> TextWords:
    """Read the words of a part of a text, at most of its first `MOST_CHARS` characters.

    It is for a model whose file has no list. The words of a text that is not one of words, such as
    molecules, are refused by the `check` of the result. A word that goes on behind the part is left
    out: the part has only its beginning.
    """
    found = TextWords(is_cut=len(part) > MOST_CHARS)
    num_chars = min(len(part), MOST_CHARS)
    rest = ""
    is_in_run = False
    with task("listing words", total=num_chars) as advance:
        for begin in range(0, num_chars, BLOCK_CHARS):
            piece = part[begin : min(begin + BLOCK_CHARS, num_chars)]
            assert isinstance(piece, str), "words are those of a text of characters"
            advance(len(piece))
            block = rest + piece
            if is_in_run:
                block = found.without_run(piece)
            end = found.end_of_lines(block)
            found.add(block[:end])
            rest = block[end:]

            # A run of letters that fills a block is longer than any word: the rest of it is none.
            is_in_run = (is_in_run and not block) or len(rest) >= BLOCK_CHARS
            if is_in_run:
                rest = ""
            release_pages(part.corpus.ids)

    # What stands behind the part may belong to its last word.
    end = part.begin + num_chars
    behind = part.corpus.text(end, end + 2) or "\n"
    assert isinstance(behind, str)
    found.add(rest[: found.end_of_words(rest, behind=behind)])
    found.words = {word for word in found.words if len(word) <= MAX_WORD_LENGTH}
    return found


def are_single_words(documents: Sequence[str]) -> bool:
    """Return whether more than half of some documents are a single word each, as names are.

    Of such documents, none can be both new and made of known words.
    """
    kinds = KindTable()
    num_single = sum(words_in(document, kinds) == [document] for document in documents)
    return num_single > len(documents) / 2
