"""A text while it is drawn: decode its ids, cut it at stop strings, and find a loop at its end."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

from charrnn.generation.generated_text import DeadEnd, GeneratedText
from charrnn.system.progress import Task, task_from
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


class DrawnText:
    """A text while its ids are drawn: it decodes them, and finds the end of the text.

    `Generator.begin` returns one, of which nothing is drawn before it is taken: `pieces` is what
    `Model.stream` yields, `chunks` what `Model.write` yields, and `whole` what `Model.sample`
    returns.

    Whoever draws ids (`sampling.Rows`, a beam search) adds them and asks whether the text goes on:
    it turns ids into characters, and finds stop strings and ENDs. A beam search also asks, before
    it adds them, which of its continuations have ended.

    A stop string or `end_id`, the END of a document, ends the text; neither is part of it. Text
    that may be the start of a stop string stays pending. What is certain waits until it is taken,
    at about 24 bytes a character.
    """

    def __init__(
        self,
        vocab: Vocab,
        stops: Sequence[str] = (),
        *,
        length: int,
        end_id: int | None = None,
        seed: int = 0,
        prime: str = "",
        ends_word: Callable[[str], bool] | None = None,
    ):
        """Cut the text after `length` ids, or before the first of `stops` that appears.

        With `ends_word`, a stop string counts only behind a text, of which the `prime` is the
        beginning, for which this returns True.
        """
        self.seed = seed
        self.num_left = length
        """The largest number of ids that may still follow."""
        self.is_done = length == 0
        self.draw_next: Callable[[], int] | None = None
        """Draws the next characters, adds them, and returns how many were drawn; None if whoever
        made the text adds them."""
        self.stop = ""
        """The stop string that has ended the text, or ""."""
        self.has_ended: bool | None = None
        """Whether the document has reached its END; None without documents."""
        if end_id is not None:
            self.has_ended = False

        self.dead_end: DeadEnd | None = None
        """Where and why no character may follow."""

        self._length = length
        self._vocab = vocab
        self._stops = tuple(stops)
        self._ends_word = ends_word
        # The end of what is kept, with the word that it is in.
        self._last_kept = prime[-2 * MAX_WORD_LENGTH :]
        self._end_id = end_id
        self._decoder = Decoder(vocab)
        self._pending: list[Piece] = []
        self._clear()

    def _clear(self) -> None:
        # The pieces that certainly belong to the text, in columns, which take less memory.
        self._texts: list[str] = []
        self._logprobs = array("d")
        self._values = array("d")

    # Drawing and taking

    def pieces(self) -> Iterator[Piece]:
        """Draw the text, and yield its pieces as soon as they are certain."""
        yield from self.take_pieces()
        with self._reported() as advance:
            while not self.is_done:
                advance(self._draw_next())
                yield from self.take_pieces()

    def chunks(self) -> Iterator[str]:
        """Draw the text, and yield it in chunks of the size of the blocks that are drawn."""
        if self.is_done:
            yield self.take_text()
        with self._reported() as advance:
            while not self.is_done:
                advance(self._draw_next())
                yield self.take_text()

    def whole(self) -> GeneratedText:
        """Draw the text to its end, and return what was not taken yet."""
        with self._reported() as advance:
            while not self.is_done:
                advance(self._draw_next())
        return GeneratedText(
            text="".join(self._texts),
            logprobs=tuple(self._logprobs),
            seed=self.seed,
            stop=self.stop,
            has_ended=self.has_ended,
            dead_end=self.dead_end,
        )

    def _reported(self) -> AbstractContextManager[Task]:
        return task_from(LONG_TEXT, "writing", total=self.num_left)

    def _draw_next(self) -> int:
        assert self.draw_next is not None, "whoever made this text adds its ids"
        return self.draw_next()

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

    # Adding

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Decode the next ids, up to the end of the text; what follows was drawn in vain."""
        ids = ids[: self.num_left]
        self.num_left -= len(ids)
        if self._vocab.kind == "char" and not self._stops:
            self._add_block(ids, logprobs=logprobs, values=values)
        else:
            for id, logprob, value in zip(ids, logprobs, values, strict=False):
                if self.is_done:
                    break
                self._add_id(id, logprob=logprob, value=value)
        if self.num_left == 0:
            self.end()

    def end_at(self, options: Sequence[str]) -> None:
        """End the text, if it has not ended, where some options allow no next character.

        It is for a text that cannot go on because of its options, which the result then names;
        `end` is for any other end.
        """
        if not self.is_done:
            self.dead_end = DeadEnd(self._length - self.num_left, tuple(options))
        self.end()

    def end(self) -> None:
        """End the text here, if it has not ended."""
        if not self.is_done:
            self._flush()
            self._finish()

    def _finish(self) -> None:
        self.is_done = True
        # What draws the text also holds it: neither should keep the other in memory.
        self.draw_next = None

    def _add_block(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Add ids that are a character each, of which only END can end the text."""
        # All at once: one by one, this would take as long as drawing the characters.
        num_chars = len(ids)
        num_kept = num_chars
        if self._end_id in ids:
            num_chars = ids.index(self._end_id)
            num_kept = num_chars + 1
            self._finish()
            self.has_ended = True
        self._texts.extend(self._vocab.decode(ids[:num_chars]))
        if num_kept > num_chars:
            self._texts.append("")  # END has a log-probability, and no text
        self._logprobs.extend(logprobs[:num_kept])
        self._values.extend(values[:num_kept])

    def _add_id(self, id: int, logprob: float, value: float) -> None:
        if id != self._end_id:
            text = self._decoder.feed(id)
            self._pending.append(Piece(text, logprob=logprob, value=value))
            self._release()
            return

        # A stop string in the pending text ends the text before END does.
        self._flush()
        if not self.is_done:
            self._finish()
            self.has_ended = True
            self._keep([Piece("", logprob=logprob, value=value)])

    def _keep(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self._texts.append(piece.text)
            self._logprobs.append(piece.logprob)
            self._values.append(piece.value)
        if self._ends_word is not None:
            self._last_kept = (self._last_kept + text_of(pieces))[-2 * MAX_WORD_LENGTH :]

    def _flush(self) -> None:
        """Keep the pending pieces, which no stop string can end any more."""
        # Bytes of an unfinished character become U+FFFD.
        unfinished = self._decoder.finish()
        if unfinished:
            last = self._pending[-1]
            self._pending[-1] = last._replace(text=last.text + unfinished)

        # Text that looked like the start of a stop string belongs to the text.
        self._release()
        self._keep(self._pending)
        self._pending = []

    def _release(self) -> None:
        """Keep the pending pieces that certainly belong to the text; end it at a stop string."""
        text = text_of(self._pending)
        stops = [(self._find(stop, text), stop) for stop in self._stops]
        stops = [(begin, stop) for begin, stop in stops if begin >= 0]
        if stops:
            # If several begin at the same character, the shortest is complete first.
            begin, self.stop = min(stops, key=lambda item: (item[0], len(item[1])))
            self._finish()
            self._keep(_cut(self._pending, begin))
            self._pending = []
            return

        # The last id of an unfinished character stays: if the text ends here, `_flush` adds the
        # character to its piece. Text that may be the start of a stop string stays, too.
        num_kept = 0
        if self._decoder.is_amid_character:
            num_kept = 1
        overlaps = [_overlap(text, stop) for stop in self._stops]
        num_certain = len(text) - max(overlaps, default=0)

        # A piece of several characters is certain when all of them are.
        num_released = 0
        for piece in self._pending[: len(self._pending) - num_kept]:
            num_certain -= len(piece.text)
            if num_certain < 0:
                break
            num_released += 1
        self._keep(self._pending[:num_released])
        del self._pending[:num_released]

    def _find(self, stop: str, text: str) -> int:
        """Return where a stop string that counts begins in the pending text; -1 if none does."""
        begin = text.find(stop)
        if self._ends_word is not None:
            while begin >= 0 and not self._ends_word(self._last_kept + text[:begin]):
                begin = text.find(stop, begin + 1)
        return begin


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


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `stop`."""
    # Downwards, to find the longest first.
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


MIN_REPEATS = 3
"""The smallest number of repeats of a loop. The most likely text of a character model often ends in
a loop."""
MIN_CHARS = 30
"""The smallest number of characters of all repeats together."""
MAX_AFTER = 10
"""The largest number of characters after a loop: a text often leaves its loop just before it is cut
at its length."""


@dataclass(frozen=True)
class Loop:
    """The end of a text that repeats the same `period` characters `repeats` times, before `after`
    other characters."""

    period: int
    """Characters of one repeat."""
    repeats: int
    """How often they stand one after the other; the last repeat may be cut."""
    after: int = 0
    """Characters that follow the loop."""


def find_loop(text: Sequence[object]) -> Loop | None:
    """Return the loop with the smallest period at the end of a text, or of its ids; None if the
    text does not end in a loop.

    A command tells so a user whose text repeats itself.

    A loop has at least `MIN_REPEATS` repeats and `MIN_CHARS` characters. The last repeat may be cut
    anywhere. Up to `MAX_AFTER` characters may follow it, as few as possible.
    """
    for after in range(min(MAX_AFTER, len(text) - MIN_CHARS) + 1):
        # Backwards, because the loop is at the end.
        reverse = text[: len(text) - after][::-1]
        for period in range(1, len(reverse) // MIN_REPEATS + 1):
            # This is not quadratic: if a text agrees with itself for m characters at two distances
            # that differ by less than m / 3, their difference is a period, and the search has ended
            # there. So N characters take O(N log N).
            num_equal = 0
            while (
                period + num_equal < len(reverse)
                and reverse[num_equal] == reverse[period + num_equal]
            ):
                num_equal += 1

            # The first repeat has no earlier repeat to which it is equal.
            repeats = (period + num_equal) // period
            if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
                return Loop(period=period, repeats=repeats, after=after)
    return None
