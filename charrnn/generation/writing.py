"""A text while its ids are drawn: where it ends (`Ending`), and the characters of its ids up to
there (`WrittenText`)."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from charrnn.generation.generated_text import DeadEnd, GeneratedText
from charrnn.generation.rules import Rules, TextState
from charrnn.text.vocab import Decoder, Vocab
from charrnn.text.word_list import MAX_WORD_LENGTH

LONG_TEXT = 10_000
"""The number of characters from which writing is reported: it may take a second or more."""


class Piece(NamedTuple):
    """The text of a drawn id.

    `Model.stream` yields them: print `text` at once, and colour it by `logprob` or `value`.
    """

    text: str
    """"" within a character of several bytes."""
    logprob: float
    """In nats."""
    value: float
    """The value, after this id, of the cell that is shown."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What ends a text: its length, the END of a document, a stop string, or that no character may
    follow it.

    A beam search asks `has_ended` of each of its texts. A text that is drawn grows in a
    `WrittenText`, which ends it by the same fields; whoever draws it ends it where no character may
    follow. Neither END nor a stop string belongs to the text.
    """

    length: int
    """The largest number of ids of a text."""
    rules: Rules
    """What may follow a text. A text that matches a pattern ends when nothing can follow."""
    end_id: int | None = None
    """The id of END, which ends a document; None without documents."""
    stops: Sequence[tuple[int, ...]] = ()
    """The ids of the stop strings. The first that appears ends the text."""
    prime: Sequence[int] = ()
    """The ids with which the text begins, for the rules."""

    def has_ended(self, ids: Sequence[int], state: TextState) -> bool:
        """Whether a text of some ids and its state of the rules has ended before its length.

        A search asks so of each of its texts; a text that is drawn is cut as it grows.
        """
        if self.rules.is_complete(state):
            allowed = self.rules.allowed(state, self.length - len(ids))
            if not allowed.any():
                return True
        return ids[-1] == self.end_id or self.stop_at_end(ids, before=self.prime) != ()

    def stop_at_end(self, ids: Sequence[int], *, before: Sequence[int]) -> tuple[int, ...]:
        """Return the stop string with which some ids of a text end, the longest of several; empty
        if there is none.

        With known words, a stop string counts only behind a whole word, which may begin in the ids
        `before` these.
        """
        longest: tuple[int, ...] = ()
        for stop in self.stops:
            num_before = len(ids) - len(stop)
            if len(stop) <= len(longest) or tuple(ids[-len(stop) :]) != stop:
                continue
            if self.rules.ends_word([*before, *ids[:num_before]]):
                longest = stop
        return longest

    def num_held_back(self, ids: Sequence[int]) -> int:
        """Return how many of the last ids may be the beginning of a stop string, so that they may
        not belong to the text."""
        longest = max(map(len, self.stops), default=0)
        for length in range(min(len(ids), longest - 1), 0, -1):
            end = tuple(ids[-length:])
            if any(stop[:length] == end and stop != end for stop in self.stops):
                return length
        return 0


class WrittenText:
    """A text as its ids come: it turns them into characters, up to the end of the text.

    Whoever draws ids (`sampling.Rows`, a beam search) adds them and asks whether the text goes on.
    It knows nobody: what was added is taken from it, as pieces, as text, or as the `result`.

    Text that may be the start of a stop string stays pending until it is certain. What is certain
    waits until it is taken, at about 24 bytes a character.
    """

    def __init__(self, vocab: Vocab, ending: Ending, *, seed: int = 0):
        """Begin an empty text of the characters of an alphabet. Its random numbers have a seed."""
        self.seed = seed
        self.num_left = ending.length
        """The largest number of ids that may still follow."""
        self.is_done = ending.length == 0
        self._vocab = vocab
        self._ending = ending
        self._stop = ""
        self._dead_end: DeadEnd | None = None
        # Whether the document has reached its END; None without documents.
        self._has_ended: bool | None = None
        if ending.end_id is not None:
            self._has_ended = False

        # What is pending, and the ids before it, with the word that it is in.
        self._decoder = Decoder(vocab)
        self._pending: list[Piece] = []
        self._pending_ids: list[int] = []
        self._ids_before = list(ending.prime)
        self._clear()

    def _clear(self) -> None:
        # The pieces that certainly belong to the text, in columns, which take less memory.
        self._texts: list[str] = []
        self._logprobs = array("d")
        self._values = array("d")

    # Taking

    def take_pieces(self) -> list[Piece]:
        """Return the certain pieces that were not taken yet. The piece of END has no text."""
        pieces = list(map(Piece, self._texts, self._logprobs, self._values))
        self._clear()
        return pieces

    def take_text(self) -> str:
        """Return the certain text that was not taken yet."""
        text = "".join(self._texts)
        self._clear()
        return text

    def result(self) -> GeneratedText:
        """Return what was not taken yet, and how the text ended."""
        return GeneratedText(
            text="".join(self._texts),
            logprobs=tuple(self._logprobs),
            seed=self.seed,
            stop=self._stop,
            has_ended=self._has_ended,
            dead_end=self._dead_end,
        )

    # Adding

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Decode the next ids, up to the end of the text; what follows was drawn in vain."""
        ids = ids[: self.num_left]
        self.num_left -= len(ids)
        if self._vocab.kind == "char" and not self._ending.stops:
            self._add_block(ids, logprobs=logprobs, values=values)
        else:
            for id, logprob, value in zip(ids, logprobs, values, strict=False):
                if self.is_done:
                    break
                self._add_id(id, logprob=logprob, value=value)
        if self.num_left == 0:
            self.end()

    def end(self, blocked_by: Sequence[str] = ()) -> None:
        """End the text here, if it has not ended.

        Some options that allow no next character are a dead end, which the result names.
        """
        if self.is_done:
            return
        if blocked_by:
            self._dead_end = DeadEnd(self._ending.length - self.num_left, tuple(blocked_by))
        self._finish_character()
        self._keep(len(self._pending))
        self.is_done = True

    def _add_block(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Add ids that are a character each, of which only END can end the text."""
        # All at once: one by one, this would take as long as drawing the characters.
        num_chars = len(ids)
        num_kept = num_chars
        if self._ending.end_id in ids:
            num_chars = ids.index(self._ending.end_id)
            num_kept = num_chars + 1
            self.is_done = True
            self._has_ended = True
        self._texts.extend(self._vocab.decode(ids[:num_chars]))
        if num_kept > num_chars:
            self._texts.append("")  # END has a log-probability, and no text
        self._logprobs.extend(logprobs[:num_kept])
        self._values.extend(values[:num_kept])

    def _add_id(self, id: int, logprob: float, value: float) -> None:
        # END ends the text, and what looked like the start of a stop string belongs to it.
        if id == self._ending.end_id:
            self._finish_character()
            self._pending.append(Piece("", logprob=logprob, value=value))
            self._keep(len(self._pending))
            self.is_done = True
            self._has_ended = True
            return

        # A stop string ends it, and is no part of it.
        self._pending.append(Piece(self._decoder.feed(id), logprob=logprob, value=value))
        self._pending_ids.append(id)
        stop = self._ending.stop_at_end(self._pending_ids, before=self._ids_before)
        if stop:
            self._stop = self._vocab.decode(stop)
            num_chars = len(text_of(self._pending)) - len(self._stop)
            self._pending = _cut(self._pending, num_chars)
            self._keep(len(self._pending))
            self.is_done = True
            return

        # Otherwise only what may begin a stop string is not certain, and the last id of an
        # unfinished character: if the text ends here, the character is added to its piece.
        num_held_back = self._ending.num_held_back(self._pending_ids)
        if self._decoder.is_amid_character:
            num_held_back = max(num_held_back, 1)
        self._keep(len(self._pending) - num_held_back)

    def _finish_character(self) -> None:
        """Add U+FFFD to the last piece if its character is incomplete."""
        unfinished = self._decoder.finish()
        if unfinished:
            last = self._pending[-1]
            self._pending[-1] = last._replace(text=last.text + unfinished)

    def _keep(self, num_pieces: int) -> None:
        """Keep the first of the pending pieces, which certainly belong to the text."""
        for piece in self._pending[:num_pieces]:
            self._texts.append(piece.text)
            self._logprobs.append(piece.logprob)
            self._values.append(piece.value)
        self._ids_before += self._pending_ids[:num_pieces]
        del self._ids_before[: -2 * MAX_WORD_LENGTH]
        del self._pending[:num_pieces]
        del self._pending_ids[:num_pieces]


def text_of(pieces: Iterable[Piece]) -> str:
    """Return the text of pieces."""
    return "".join(piece.text for piece in pieces)


def _cut(pieces: Iterable[Piece], length: int) -> list[Piece]:
    """Return the first `length` characters of some pieces; a piece of several characters may be
    cut."""
    kept: list[Piece] = []
    for piece in pieces:
        if length <= 0:
            break
        kept.append(piece._replace(text=piece.text[:length]))
        length -= len(piece.text)
    return kept
