"""Decode ids to text as they are drawn or found, cut the text at stop strings, and find loops at
its end."""

import io
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from charrnn.generation.beam import Beam, BeamSearch
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.sampling import GrowingText
from charrnn.text.vocab import Decoder, Vocab


class Piece(NamedTuple):
    """The text of a drawn id."""

    text: str
    """"" within a character of several bytes."""
    logprob: float
    """In nats."""
    value: float
    """The value, after this id, of the cell that is shown."""
    id: int | None = None
    """None for text that was not drawn."""


class TextStream:
    """Decodes a text id by id.

    A stop string or `end_id`, the END of a document, ends the text; neither is part of it. Text
    that may be the start of a stop string stays pending.
    """

    def __init__(
        self,
        vocab: Vocab,
        stops: Sequence[str],
        *,
        end_id: int | None = None,
        on_cut: Callable[[], object] = lambda: None,
    ) -> None:
        """Cut the text before the first of `stops` that appears.

        `on_cut` is called if `finish` ends a document before its END.
        """
        self._vocab = vocab
        self._decoder = Decoder(vocab)
        self._stops = tuple(stops)
        self.end_id = end_id
        self._on_cut = on_cut
        self._pending: list[Piece] = []
        self.is_done = False
        self.stop = ""
        self.has_ended: bool | None = None
        """Whether the document has reached its END; None without documents."""
        if end_id is not None:
            self.has_ended = False

    def feed(self, id: int, logprob: float, value: float) -> list[Piece]:
        """Add an id, and return the pieces that now certainly belong to the text. The piece of END
        has no text."""
        if id != self.end_id:
            self._pending.append(
                Piece(text=self._decoder.feed(id), logprob=logprob, value=value, id=id)
            )
            return self._release()

        # A stop string in the pending text ends the text before END does.
        released = self._flush()
        if not self.is_done:
            self.is_done = True
            self.has_ended = True
            released.append(Piece(text="", logprob=logprob, value=value, id=id))
        return released

    @property
    def is_plain(self) -> bool:
        """Whether every id is one character and only END ends the text, so that nothing stays
        pending."""
        return self._vocab.kind == "char" and not self._stops

    def feed_all(self, ids: Sequence[int]) -> str:
        """Add ids, and return the text that now certainly belongs to the text."""
        # All at once: piece by piece, this would take as long as drawing the characters.
        if self.is_plain:
            if self.end_id in ids:
                self.is_done = True
                self.has_ended = True
                ids = ids[: ids.index(self.end_id)]
            return self._vocab.decode(ids)
        released: list[Piece] = []
        for id in ids:
            if self.is_done:
                break
            released += self.feed(id, logprob=0.0, value=0.0)
        return text_of(released)

    def finish(self) -> list[Piece]:
        """End the text, and return its last pieces."""
        released = self._flush()
        if self.has_ended is False and not self.is_done:
            self._on_cut()
        return released

    def _flush(self) -> list[Piece]:
        """Return the pending pieces, which no stop string can end any more."""
        # Bytes of an unfinished character become U+FFFD.
        unfinished = self._decoder.finish()
        if unfinished:
            last = self._pending[-1]
            self._pending[-1] = last._replace(text=last.text + unfinished)

        # Text that looked like the start of a stop string belongs to the text.
        released = self._release()
        if not self.is_done:
            released += self._pending
            self._pending = []
        return released

    def _release(self) -> list[Piece]:
        """Return the pending pieces that certainly belong to the text; end it at a stop string."""
        text = text_of(self._pending)
        stops = [(text.find(stop), stop) for stop in self._stops if stop in text]
        if stops:
            self.is_done = True
            # If several begin at the same character, the shortest is complete first.
            begin, self.stop = min(stops, key=lambda item: (item[0], len(item[1])))
            return self._cut(begin)

        # The last id of an unfinished character stays: if the text ends here, `finish` adds the
        # character to its piece. Text that may be the start of a stop string stays, too.
        num_kept = 0
        if self._decoder.is_amid_character:
            num_kept = 1
        overlaps = [_overlap(text, stop) for stop in self._stops]
        num_certain = len(text) - max(overlaps, default=0)

        # A piece of several characters is certain when all of them are.
        released: list[Piece] = []
        while len(self._pending) > num_kept:
            num_certain -= len(self._pending[0].text)
            if num_certain < 0:
                break
            released.append(self._pending.pop(0))
        return released

    def _cut(self, length: int) -> list[Piece]:
        """Return the first `length` characters of the pending pieces; a piece of several characters
        may be cut."""
        released: list[Piece] = []
        for piece in self._pending:
            if length <= 0:
                break
            released.append(piece._replace(text=piece.text[:length]))
            length -= len(piece.text)
        self._pending = []
        return released


def text_of(pieces: Iterable[Piece]) -> str:
    """Return the text of pieces."""
    return "".join(piece.text for piece in pieces)


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `stop`."""
    # Downwards, to find the longest first.
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class DrawnIds:
    """The ids of a text while it is drawn, with their log-probabilities and the values of the cell.
    Nothing ends the text before its length."""

    def __init__(self, seed: int, length: int) -> None:
        self.seed = seed
        self.num_left = length
        """Characters that may still follow."""
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.values: list[float] = []

    @property
    def is_done(self) -> bool:
        """Whether the text has its whole length."""
        return self.num_left == 0

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Keep the next ids, up to the length of the text."""
        self.ids += ids[: self.num_left]
        self.logprobs += logprobs[: self.num_left]
        self.values += values[: self.num_left]
        self.num_left -= min(len(ids), self.num_left)


class DecodedText:
    """A text while its ids are drawn and decoded by a `TextStream`."""

    def __init__(self, stream: TextStream, seed: int, length: int) -> None:
        self.seed = seed
        self.num_left = length
        """Characters that may still follow."""
        self._stream = stream

    @property
    def is_done(self) -> bool:
        """Whether the text has ended or has its whole length."""
        return self._stream.is_done or self.num_left == 0

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Decode the next ids, up to the end of the text."""
        ids = ids[: self.num_left]
        self.num_left -= len(ids)

        # The ids after a stop string or END are dropped.
        for id, logprob, value in zip(ids, logprobs, values, strict=False):
            if self._stream.is_done:
                break
            self._keep(self._stream.feed(id, logprob=logprob, value=value))

    def _end(self) -> None:
        """Keep the last pieces, which were pending."""
        if not self._stream.is_done:
            self._keep(self._stream.finish())

    def _keep(self, pieces: list[Piece]) -> None:
        raise NotImplementedError


class TextInPieces(DecodedText):
    """A text whose pieces are taken while it is drawn."""

    def __init__(self, stream: TextStream, seed: int, length: int) -> None:
        super().__init__(stream, seed=seed, length=length)
        self._pieces: list[Piece] = []

    def take(self) -> list[Piece]:
        """Return the pieces since the last call."""
        pieces = self._pieces
        self._pieces = []
        return pieces

    def finish(self) -> list[Piece]:
        """End the text, and return its last pieces."""
        self._end()
        return self.take()

    def _keep(self, pieces: list[Piece]) -> None:
        self._pieces += pieces


class WrittenText(DecodedText):
    """A text that is kept until it is whole; a log-probability takes 8 bytes."""

    def __init__(self, stream: TextStream, seed: int, length: int) -> None:
        super().__init__(stream, seed=seed, length=length)
        self._text = io.StringIO(newline="")  # "" keeps every line end as it is
        self._logprobs = array("d")

    def add(self, ids: list[int], logprobs: list[float], values: list[float]) -> None:
        """Decode the next ids, up to the end of the text."""
        if not self._stream.is_plain:
            super().add(ids, logprobs=logprobs, values=values)
            return

        # The whole block at once, if only END can end the text. END has a log-probability, too.
        ids = ids[: self.num_left]
        self.num_left -= len(ids)
        text = self._stream.feed_all(ids)
        self._text.write(text)
        self._logprobs.extend(logprobs[: len(text) + self._stream.is_done])

    def take(self) -> str:
        """Return the text since the last call, which is then forgotten."""
        text = self._text.getvalue()
        self._text = io.StringIO(newline="")
        self._logprobs = array("d")
        return text

    def finish(self) -> GeneratedText:
        """End the text, and return what was not taken of it."""
        self._end()
        return GeneratedText(
            text=self._text.getvalue(),
            logprobs=tuple(self._logprobs),
            seed=self.seed,
            stop=self._stream.stop,
            has_ended=self._stream.has_ended,
        )

    def _keep(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self._text.write(piece.text)
            self._logprobs.append(piece.logprob)


# Three renderings of the texts that `sampling.write_texts` yields whenever they have grown.


def in_pieces(grown: Iterator[GrowingText], text: TextInPieces) -> Iterator[Piece]:
    """Yield the pieces of the only text, each as soon as it certainly belongs to the text."""
    for _ in grown:
        yield from text.take()
    yield from text.finish()


def in_chunks(grown: Iterator[GrowingText], text: WrittenText) -> Iterator[str]:
    """Yield the only text in chunks of the size of the blocks, which is faster than `in_pieces`."""
    for _ in grown:
        yield text.take()
    yield text.finish().text


def as_wholes(grown: Iterator[GrowingText], begun: deque[WrittenText]) -> Iterator[GeneratedText]:
    """Yield all texts, each as a whole, in the order of `begun`, to which each is added when it
    begins."""
    for _ in grown:
        # A text that has ended waits for the texts before it.
        while begun and begun[0].is_done:
            yield begun.popleft().finish()

    # A guide may end a text before it has its length.
    for text in begun:
        yield text.finish()


class TextSearch:
    """A beam search that decodes its results.

    Iterating yields the best text piece by piece; a piece does not change later. Then `texts` has
    all texts that were found, most likely first.
    """

    def __init__(
        self, search: BeamSearch, vocab: Vocab, stops: Sequence[str], *, end_id: int | None = None
    ) -> None:
        """Cut every text before the first of `stops` and before `end_id`; `search` has the ids of
        both as its stop strings."""
        self.texts: list[GeneratedText] = []
        self._search = search
        self._vocab = vocab
        self._stops = stops
        self._end_id = end_id

    def __iter__(self) -> Iterator[str]:
        """Search, and yield the best text."""
        stream = TextStream(self._vocab, self._stops, end_id=self._end_id)
        for ids in self._search:
            if text := stream.feed_all(ids):
                yield text
        if not stream.is_done and (last_text := text_of(stream.finish())):
            yield last_text

        # Each result has the length of its stop string, so no stream has to search for it.
        self.texts = [self._text_of(beam) for beam in self._search.beams]

    def _text_of(self, beam: Beam) -> GeneratedText:
        length = len(beam.ids) - beam.stop_length
        text = self._vocab.decode(beam.ids[:length])

        # END is not part of the text, but its log-probability is kept.
        if self._end_id is not None and beam.ids[-1:] == (self._end_id,):
            return GeneratedText(text=text, logprobs=beam.logprobs, has_ended=True)

        return GeneratedText(
            text=text,
            logprobs=beam.logprobs[:length],
            stop=self._vocab.decode(beam.ids[length:]),
            has_ended=None if self._end_id is None else False,
        )


MIN_REPEATS = 3
"""The smallest number of repeats of a loop. The most likely text of a character model often ends in
a loop."""
MIN_CHARS = 30
"""The smallest number of characters of all repeats together."""
MAX_AFTER = 10
"""The largest number of characters after a loop: a text often leaves its loop just before it is cut
at its length."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The end of a text that repeats the same `period` characters `repeats` times, before `after`
    other characters."""

    period: int
    repeats: int
    after: int = 0


def find_loop(text: Sequence[object]) -> Loop | None:
    """Return the loop with the smallest period at the end of a text, or of its ids; None if the
    text does not end in a loop.

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
