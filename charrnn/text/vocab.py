"""Encode characters or raw bytes as ids of an alphabet, and decode ids, all at once or one by one.

Shapes: M characters of context, N characters of a text (bytes, for the byte alphabet).
"""

import codecs
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import MIN_COUNT
from charrnn.errors import CheckpointError, DataError, UsageError, listed, named
from charrnn.system.arrays import BoolArray, Int64Array

NUL = "\0"
"""The character that ends a document."""

UNKNOWN = ""
"""The entry of the unknown symbol in `Vocab.characters`, the only entry that is no character."""

REPLACEMENT = "\ufffd"
"""The character to which the unknown symbol and invalid UTF-8 are decoded."""

MAX_VOCAB_SIZE = 65_535
"""The largest alphabet: ids are uint16, and `from_json` refuses more entries."""

NUM_UNICODE = 0x110000 - 0x800
"""Number of characters in Unicode: all code points except surrogates."""

MAX_CHARACTERS = 8192
"""Default limit for the number of entries of an alphabet."""

_PLAIN = {
    **dict.fromkeys("‘’‚‛′`´", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    "…": "...",
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
}
"""Replacements for characters that Unicode normalization does not decompose."""
GIVEN_AS_BYTES = "This model reads characters, and the text is given as bytes: decode it first."
"""What is said of bytes for an alphabet of characters."""


Typed = TypeVar("Typed", str, bytes, str | bytes)
"""A text of characters or of bytes, which stays what it is."""
IdArray = NDArray[np.unsignedinteger]
"""Ids: uint8 where the alphabet has at most 256 entries, else uint16; they may be mapped from a
file."""


@dataclass(frozen=True)
class Vocab:
    """An alphabet in the order of its ids.

    `Model.vocab` is the alphabet of a model. It encodes and decodes, and says what the model does
    not know (`unknown_characters`) and reads instead (`nearest`). The kind "char" has the unknown
    symbol (`UNKNOWN`) as entry 0, and a character as every other entry. If it was made by the
    setting `exact`, it has only characters, and a text with any other character cannot be encoded.
    The kind "byte" has 256 entries: entry i is chr(i), which is byte i decoded as latin-1. No byte
    is unknown.
    """

    kind: Literal["char", "byte"]
    """`char` or `byte`."""
    characters: tuple[str, ...]
    """The entries in the order of their ids."""
    _id_of: NDArray[np.uint16] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known_points = [ord(character) for character in self.characters if character != UNKNOWN]
        points = np.array(known_points, np.int64)

        # The ids are in a table by code point, so that NumPy looks up a whole text at once. The
        # entry after the largest known code point stays 0: larger code points are clipped to it.
        id_of = np.zeros(int(points.max(initial=0)) + 2, dtype=np.uint16)
        id_of[points] = np.arange(len(self.characters) - len(points), len(self.characters))
        object.__setattr__(self, "_id_of", id_of)

    @classmethod
    def from_counts(
        cls,
        counts: Int64Array,
        *,
        alphabet: str = "char",
        min_count: int = MIN_COUNT,
        max_size: int = MAX_CHARACTERS,
    ) -> "Vocab":
        """Make the alphabet of a text from the number of occurrences of each code point in it,
        ordered by code point; the unknown symbol stands for rare characters.

        A character is kept if it occurs at least min(min_count, 1 + N // 10_000) times in the N
        characters, so that a small text keeps all its characters. If more than `max_size` - 1
        characters are kept, the most frequent are used, with the lower code point first on a tie.
        NUL, which ends a document, is always kept and is entry 1.

        The `alphabet` "exact" keeps every character, and has no unknown symbol; "byte" has all
        bytes.

        Raises DataError if no character is kept, or if an exact alphabet exceeds `max_size`.
        """
        if alphabet == "byte":
            return cls.of_bytes()
        if alphabet == "exact":
            points = np.flatnonzero(counts).tolist()
            if len(points) > max_size:
                raise DataError(
                    f"the text has {len(points):,} different characters, and an"
                    f" alphabet at most {max_size:,}: use {named('alphabet', 'char')} or byte"
                    " instead of exact"
                )
            return cls("char", tuple(map(chr, points)))

        threshold = _threshold(counts, min_count)
        frequent = _most_frequent(counts, threshold)[: max_size - 1]
        if not len(frequent):
            raise DataError(
                f"no character of this text of length {counts.sum()} occurs {threshold} times:"
                f" learn them all with {named('min_count', 1)}, or their bytes with"
                f" {named('alphabet', 'byte')}"
            )
        return cls("char", characters=(UNKNOWN, *map(chr, np.sort(frequent).tolist())))

    def extended(self, counts: Int64Array, *, min_count: int = MIN_COUNT) -> "Vocab":
        """Return the alphabet with the new characters of a text at its end, ordered by code point.
        NUL, which ends a document, comes before all known characters; without it, all existing ids
        stay the same.

        A model that goes on with a text of other characters needs it; `from_counts` makes the
        alphabet of a new model. A character is added if it occurs as often as `from_counts`
        requires, or at all if the alphabet has no unknown symbol. If there were more than
        `MAX_CHARACTERS` entries, the most frequent characters are added. A byte alphabet has no new
        characters. Raises DataError if an alphabet without an unknown symbol exceeds
        `MAX_VOCAB_SIZE`.
        """
        if self.kind == "byte":
            return self

        # Without an unknown symbol, a character that is not added could not be encoded.
        least = 1
        room = None
        if self.has_unknown_symbol:
            least = _threshold(counts, min_count)
            room = max(0, MAX_CHARACTERS - len(self))
        frequent = _most_frequent(counts, least)
        unknown = frequent[~self.knows(frequent)]
        # NUL is always added: without it no document would end.
        new = np.sort(unknown[unknown > 0][:room])
        if len(self) + len(new) > MAX_VOCAB_SIZE:
            raise DataError(
                f"{len(new):,} new characters and the {len(self):,} of the alphabet are more than"
                f" {MAX_VOCAB_SIZE:,}: give a larger {named('min_count')} than {min_count}, or"
                f" use {named('extend_alphabet', 'false')}"
            )

        # The unknown symbol stays the first entry, and NUL follows it (`Config.end_id`).
        known = list(self.characters)
        if 0 in unknown:
            known.insert(int(self.has_unknown_symbol), NUL)
        return Vocab("char", characters=(*known, *map(chr, new.tolist())))

    def rows_in(self, other: "Vocab") -> Int64Array:
        """Return for each entry (V,) the id in `other` of the same entry, or else of the character
        that `other.nearest` puts first in its place, or else -1.

        The weights of a model are carried over to another alphabet by it: a new character begins as
        the most similar one.
        """
        ids = {character: id for id, character in enumerate(other.characters)}
        rows = []
        for character in self.characters:
            id = ids.get(character)
            if id is None:
                nearest = other.nearest(character)
                id = ids[nearest[0]] if nearest else -1
            rows.append(id)
        return np.array(rows, np.int64)

    @classmethod
    def of_bytes(cls) -> "Vocab":
        """Return the alphabet of the 256 bytes.

        It is the same for every text, so there is nothing to count.
        """
        return cls("byte", tuple(map(chr, range(256))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str | bytes) -> NDArray[np.uint16]:
        """Encode a text as ids (N,).

        It is for ids of one's own, such as those of a prime in a loop over characters;
        `Model.encode` makes of a text what methods take, with a context and similar characters.

        In a "char" alphabet, characters outside the alphabet become the unknown symbol; if there is
        none, they are an error. Bytes are refused. In a "byte" alphabet, bytes are used as they
        are, and a str is encoded in UTF-8, lone surrogates included.

        Args:
            text: A text of N characters or, for the byte alphabet, bytes or a text of N bytes.

        Returns:
            The ids (N,).

        Raises:
            DataError: The alphabet has no unknown symbol, and lacks a character of the text.
            UsageError: The text is bytes and the alphabet consists of characters.

        Example:
            >>> vocab = charrnn.load("prose").vocab
            >>> ids = vocab.encode("the king")
            >>> len(ids), vocab.decode(ids)
            (8, 'the king')
        """
        points = self._points_of(text)
        self.check_known(points)
        return self.ids_of(points).astype(np.uint16)

    def _points_of(self, text: str | bytes) -> NDArray[np.unsignedinteger]:
        """Return the code points of a text (N,), or its bytes, for a byte alphabet."""
        if self.kind == "byte":
            return code_points(as_bytes(text))
        if not isinstance(text, str):
            raise UsageError(GIVEN_AS_BYTES)
        return code_points(text)

    @property
    def id_type(self) -> np.dtype[np.unsignedinteger]:
        """The type of the ids of a long text: uint8 if it is large enough, else uint16."""
        return np.dtype(np.uint8 if len(self) <= 256 else np.uint16)

    @property
    def has_unknown_symbol(self) -> bool:
        """Whether id 0 stands for every character outside the alphabet."""
        return self.characters[0] == UNKNOWN

    @property
    def escape_nats(self) -> float:
        """The cost of an unknown character in addition to the cost of the unknown symbol.

        It is ln N nats, which identify one of the N characters of Unicode outside the alphabet; 0
        if no character is unknown. With it, the losses of models with different alphabets are code
        lengths of the same text. Without it, a model would look the better the fewer characters it
        knew. A character that is read as a similar one (`with_stand_ins`) costs ln N beside that
        one: no more than a few hundred of the N stand behind any character, so that the
        probabilities of all characters add up to less than 1.001.
        """
        if not self.has_unknown_symbol:
            return 0.0
        # All unknown characters are equally likely, which needs no model of rare characters.
        return math.log(NUM_UNICODE - (len(self) - 1))

    def escapes(self, ids: IdArray) -> NDArray[np.float32]:
        """Return what each of ids (N,) costs beside its own loss: `escape_nats` for the unknown
        symbol, else 0.

        Add it to the losses of a network before they are compared with those of a model of another
        alphabet.
        """
        return np.where(ids == 0, self.escape_nats, 0.0).astype(np.float32)

    def num_unknown(self, ids: IdArray) -> int:
        """Count the unknown symbols among the ids of a text.

        It takes the ids that a model reads, for a note; `unknown_characters` names the characters
        of a text.
        """
        if not self.has_unknown_symbol:
            return 0
        return int(np.count_nonzero(ids == 0))

    def knows(self, code_points: NDArray[np.integer]) -> BoolArray:
        """Return for each code point (or byte, in a byte alphabet) whether it is in the alphabet.

        It judges millions of characters at once; `unknown_characters` lists those of one text.
        """
        is_known: BoolArray = self.ids_of(code_points) != 0
        if not self.has_unknown_symbol:
            # Id 0 is a character, too.
            is_known |= code_points == ord(self.characters[0])
        return is_known

    def check_known(self, code_points: NDArray[np.integer]) -> None:
        """Raise DataError for characters that an alphabet without an unknown symbol does not have;
        the message names them.

        Call it before `ids_of`, which gives every unknown character the id 0.
        """
        if self.has_unknown_symbol:
            return
        missing = dict.fromkeys(code_points[~self.knows(code_points)].tolist())
        if missing:
            names = listed(repr(chr(point)) for point in missing)
            raise DataError(
                f"the alphabet of {len(self):,} characters has neither {names} nor an unknown"
                f" symbol: leave them out, or train with {named('alphabet', 'char')} or byte"
            )

    def ids_of(self, code_points: NDArray[np.integer]) -> IdArray:
        """Return the id of each code point (or byte, in a byte alphabet) as `id_type`; 0 for
        unknown characters.

        Use it for the blocks of a large text, which were checked; `encode` takes a text and checks
        it.
        """
        # The limit is a uint32, because it may not fit into the type of the code points.
        entries = np.minimum(code_points, np.uint32(len(self._id_of) - 1))
        return np.asarray(self._id_of[entries], self.id_type)

    def unknown_characters(self, text: str | bytes) -> list[str]:
        """Return the distinct characters of a text that are not in the alphabet.

        They are in the order of their first appearance: a message names them, and `nearest` says
        what is read in their place. `knows` tells of each character of a text whether it is one of
        them.

        Args:
            text: The text.

        Returns:
            A list of characters; empty for the byte alphabet.

        Example:
            >>> charrnn.load("prose").vocab.unknown_characters("naïve “naïve”")
            ['ï', '“', '”']
        """
        points = self._points_of(text)
        unknown = dict.fromkeys(points[~self.knows(points)].tolist())
        return list(map(chr, unknown))

    def nearest(self, character: str) -> str:
        """Return a text in the alphabet that replaces a character outside it, or "".

        It answers what a model makes of a character that it has not learned; `with_stand_ins`
        replaces them in a whole text.

        These are tried in order: its compatibility decomposition (Unicode NFKD), its letter without
        marks, and ASCII punctuation, each also in the other case. A space replaces any other white
        space.

        Args:
            character: The character.

        Returns:
            A text of the alphabet, mostly of one character; "" if none is similar.

        Example:
            >>> vocab = charrnn.load("prose").vocab
            >>> vocab.nearest("“"), vocab.nearest("é"), vocab.nearest("中")
            ('"', 'e', '')
        """
        compatible = unicodedata.normalize("NFKD", character)
        bare = "".join(mark for mark in compatible if not unicodedata.combining(mark))
        plain = _PLAIN.get(character, "")
        if character.isspace():
            plain = " "

        # The closest form first.
        for text in (compatible, bare, plain):
            for candidate in (text, text.swapcase()):
                if candidate and not self.unknown_characters(candidate):
                    return candidate
        return ""

    def with_stand_ins(self, text: Typed) -> Typed:
        """Return a text of the same length in which each character outside the alphabet is replaced
        by the first one of its `nearest` text, if it has one.

        Call it before `encode` where the text need not be read as it stands. A text that somebody
        gives to a model is read so: a novel has curly quotes, and a model that learned straight
        ones would take each of them for the unknown symbol. Bytes, and texts for an alphabet
        without an unknown symbol, which is exact, stay as they are.
        """
        if isinstance(text, bytes) or self.kind == "byte" or not self.has_unknown_symbol:
            return text
        stand_ins = {}
        for character in self.unknown_characters(text):
            if nearest := self.nearest(character):
                stand_ins[ord(character)] = nearest[0]
        return text.translate(stand_ins)

    def character(self, id: int) -> str:
        """Return the character of an id, `\\xNN` for a byte that is no character by itself, "" for
        the unknown symbol.

        It names a single entry, as in a table of predictions; `decode` makes a text of ids.
        """
        if self.kind == "byte" and id >= 128:
            return f"\\x{id:02x}"
        return self.characters[id]

    def decode(self, ids: Iterable[int]) -> str:
        """Decode ids (N,); the unknown symbol and invalid UTF-8 become U+FFFD.

        It is for ids that are there as a whole. Those that come one after the other go through a
        `Decoder`, because a character may be several bytes.

        Args:
            ids: The ids (N,).

        Returns:
            The text, of N characters unless the alphabet is bytes.

        Example:
            >>> model = charrnn.load("prose")
            >>> before = model.vocab.decode(model.generator.encode_prime(None))
            >>> before.endswith("\\n")
            True
        """
        if self.kind == "byte":
            # The ids are converted to int, because bytes(array) would copy the memory of the array,
            # which has two bytes for each id of type uint16.
            return bytes(map(int, ids)).decode("utf-8", "replace")
        return "".join(self.characters[id] or REPLACEMENT for id in ids)

    def to_json(self) -> dict[str, object]:
        """Return the content of `vocab.json`. It must be written in ASCII, because lone surrogates
        cannot be encoded in UTF-8."""
        return {"kind": self.kind, "characters": list(self.characters)}

    @classmethod
    def from_json(cls, data: object, origin: str = "vocab.json") -> "Vocab":
        """Build an alphabet from the content of `vocab.json`.

        Raises CheckpointError, which names `origin`, the path of the file.
        """
        problem = CheckpointError(
            f'{origin} is no alphabet: it needs a "kind", "char" or "byte", and "characters", a'
            f" list of 2 to {MAX_VOCAB_SIZE} different ones, or the 256 of latin-1 in order"
        )
        if not isinstance(data, dict):
            raise problem
        characters = data.get("characters")
        if data.get("kind") == "byte" and characters == list(cls.of_bytes().characters):
            return cls.of_bytes()
        if data.get("kind") != "char" or not isinstance(characters, list):
            raise problem

        # Ids are uint16. Only the first entry may be the unknown symbol, and a character in two
        # entries would have two ids.
        for index, entry in enumerate(characters):
            is_character = isinstance(entry, str) and len(entry) == 1
            if not is_character and (index, entry) != (0, UNKNOWN):
                raise problem
        if not 2 <= len(set(characters)) == len(characters) <= MAX_VOCAB_SIZE:
            raise problem
        return cls("char", tuple(characters))


class Decoder:
    """Decode ids one at a time. All returned texts together equal `Vocab.decode` of all ids.

    Generated ids come one by one, and a byte of them may be a third of a character: it shows a
    character as soon as it is complete.
    """

    def __init__(self, vocab: Vocab):
        self._vocab = vocab
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        """Waits for the bytes that complete a character, in a byte alphabet."""

    def feed(self, id: int) -> str:
        """Return the text that this id completes; "" inside a character of several bytes."""
        if self._vocab.kind == "byte":
            return self._utf8.decode(bytes((id,)))
        return self._vocab.characters[id] or REPLACEMENT

    @property
    def is_amid_character(self) -> bool:
        """Whether the last bytes are the beginning of a character that is not complete."""
        return self._utf8.getstate()[0] != b""

    def finish(self) -> str:
        """Return U+FFFD if the last character is incomplete, else "", and reset the decoder."""
        remainder = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return remainder


def _threshold(counts: Int64Array, min_count: int) -> int:
    """Return the number of occurrences that a character needs to be in the alphabet: fewer in a
    short text."""
    return max(1, min(min_count, 1 + int(counts.sum()) // 10_000))


def _most_frequent(counts: Int64Array, least: int) -> Int64Array:
    """Return the code points (M,) that occur at least `least` times, the most frequent first and
    the lower one first on a tie. NUL, which ends even a single document, is before all of them."""
    points = np.flatnonzero(counts)
    nums = np.where(points == 0, counts.sum(), counts[points])
    order = np.argsort(-nums, kind="stable")
    return points[order][nums[order] >= least]


def as_bytes(text: str | bytes) -> bytes:
    """Encode a text in UTF-8, with three bytes for a lone surrogate; bytes stay as they are.

    Texts of characters and of bytes are compared and written alike by it. Unlike `str.encode`, it
    takes whatever a file name or a JSON file may contain.
    """
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def code_points(text: str | bytes) -> NDArray[np.unsignedinteger]:
    """Return the code points (N,) of a text, as uint16 if that is large enough, because it is
    faster; of bytes, their values.

    Counting, hashing and encoding a text are array operations on them.
    """
    if isinstance(text, bytes):
        return np.frombuffer(text, np.uint8)
    # A character above U+FFFF, such as an emoji, takes two of these units.
    pairs = text.encode("utf-16-le", "surrogatepass")
    if len(pairs) == 2 * len(text):
        return np.frombuffer(pairs, "<u2")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


@dataclass(frozen=True, eq=False)
class EncodedText:
    """A text of N characters and the M characters of context before it, which the model reads but
    which are not measured.

    `Model.encode` returns it. `trace`, `study`, `survey`, `gates` and `why_places` take it in place
    of a text, so that a long one is encoded once for all of them.
    """

    ids: IdArray = field(repr=False)
    """(M + N,): the ids of the context, then the ids of the text."""
    first: int
    """M: the index in `ids` at which the text begins."""
    text: str
    """The N characters, one per id of the text: U+FFFD for the unknown symbol, chr(i) for byte
    i, and the character that was given for one that is read as a similar one."""
    vocab: Vocab
    """The alphabet of the ids."""
    is_stand_in: BoolArray | None = field(default=None, repr=False)
    """(M + N,): whether an id is that of a similar character, which is read in the place of one
    outside the alphabet; None if none is."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.text)

    @property
    def exact_ids(self) -> IdArray:
        """(M + N,): the ids with the unknown symbol in the place of each stand-in. One needs them
        for what the text costs, and `ids` for what the model reads."""
        if self.is_stand_in is None:
            return self.ids
        exact: IdArray = self.ids.copy()
        exact[self.is_stand_in] = 0
        return exact

    def part(self, begin: int, end: int | None = None) -> "EncodedText":
        """Return a part of the text, with everything before it as its context.

        A passage is measured so as it stands, with what came before it; encoded alone, it would be
        read as the beginning of a text.

        Args:
            begin: The index of its first character. Both indices are clipped as those of a slice;
                negative ones count from the end.
            end: The index after its last character; by default the end of the text.

        Returns:
            An `EncodedText` of `end` − `begin` characters.

        Example:
            >>> model = charrnn.load("prose")
            >>> model.encode("What is the king to me?").part(8, 16).text
            'the king'
        """
        begin, end, _ = slice(begin, end).indices(len(self.text))
        end = max(begin, end)
        is_stand_in = None
        if self.is_stand_in is not None:
            is_stand_in = self.is_stand_in[: self.first + end]
        return EncodedText(
            ids=self.ids[: self.first + end],
            first=self.first + begin,
            text=self.text[begin:end],
            vocab=self.vocab,
            is_stand_in=is_stand_in,
        )


def encode_text(vocab: Vocab, text: str | bytes, context: str | bytes = "") -> EncodedText:
    """Encode `text` and the `context` before it.

    Use it for what is measured as it stands; a text that somebody gives to a model goes through
    `encode_given`. Raises DataError for an empty text, UsageError for bytes if the alphabet
    consists of characters.
    """
    ids = vocab.encode(text)
    if len(ids) == 0:
        raise DataError("The text is empty: give at least one character.")
    decoded = vocab.decode(ids)
    if vocab.kind == "byte":
        decoded = "".join(map(chr, ids))
    # An empty context is not encoded: its type does not matter.
    before = ids[:0]
    if context:
        before = vocab.encode(context)
    return EncodedText(
        ids=np.concatenate((before, ids)),
        first=len(before),
        text=decoded,
        vocab=vocab,
    )


def encode_given(vocab: Vocab, text: str | bytes, context: str | bytes = "") -> EncodedText:
    """Encode a text that somebody gives to a model, and the `context` before it: a character
    outside the alphabet is read as a similar one, if there is one (`Vocab.with_stand_ins`).

    A run's own text is encoded by `encode_text`, as the run has read it. Raises the errors of
    `encode_text`.
    """
    exact = encode_text(vocab, text=text, context=context)
    text_read = vocab.with_stand_ins(text)
    context_read = vocab.with_stand_ins(context)
    if (text_read, context_read) == (text, context):
        return exact

    # What is shown is the text that was given.
    read = encode_text(vocab, text=text_read, context=context_read)
    shown = []
    for given, known in zip(str(text), read.text, strict=True):
        shown.append(known if known == REPLACEMENT else given)
    return replace(read, text="".join(shown), is_stand_in=read.ids != exact.ids)
