"""Decodes ids to text as they are drawn or found, cuts it at stop strings, and finds loops at its
end."""

import io
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from charrnn.generation.beam import Beam, BeamSearch
from charrnn.generation.generated import GeneratedText
from charrnn.generation.sampling import (
    EARLY_BLOCK,
    FIRST_BLOCK,
    LAST_BLOCK,
    Block,
    TextRows,
)
from charrnn.text.vocab import Decoder, Vocab


class Piece(NamedTuple):
    """Text of one drawn id ("" within a character of several bytes), its log-probability in nats,
    the value of the shown cell after it, and the id; None: text that was not drawn."""

    text: str
    logprob: float
    value: float
    id: int | None = None


class TextStream:
    """Decodes one text id by id. A stop string ends it; text that may be the start of one stays
    pending.

    So does `end_id`, the END of a document, which is no part of the text.
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
        """Add an id, and return the pieces that now certainly belong to the text; the last one,
        END, has none."""
        if id != self.end_id:
            self._pending.append(
                Piece(text=self._decoder.feed(id), logprob=logprob, value=value, id=id)
            )
            return self._release()

        # A stop string in what was pending ends the text before END does.
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
        """Add ids, and return the text that is now certain."""
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
        """Return what is pending, which no stop string can follow any more."""
        # Bytes that wait for more of their character become U+FFFD.
        rest = self._decoder.finish()
        if rest:
            last = self._pending[-1]
            self._pending[-1] = last._replace(text=last.text + rest)

        # What looked like the start of a stop string belongs to the text.
        released = self._release()
        if not self.is_done:
            released += self._pending
            self._pending = []
        return released

    def _release(self) -> list[Piece]:
        """Return the pending pieces that certainly belong to the text; end it at a stop string."""
        text = text_of(self._pending)
        found = [(text.find(stop), stop) for stop in self._stops if stop in text]
        if found:
            self.is_done = True
            # Of several that begin there, the shortest one is complete first.
            begin, self.stop = min(found, key=lambda item: (item[0], len(item[1])))
            return self._cut(begin)

        # Of an unfinished character the last id stays: if the text ends here, `finish` adds its
        # text to that piece. What may be the start of a stop string stays, too.
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
        """Return the pending pieces up to `length` characters; of a piece of several characters a
        part."""
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
    # Downwards, because the longest one holds back the most.
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


def write_text(blocks: Iterator[Block], stream: TextStream) -> Iterator[Piece]:
    """Yield the pieces of the only stream of `blocks`, as soon as they are certain."""
    for block in blocks:
        ids = block.ids[0].tolist()
        logprobs = block.logprobs[0].tolist()
        values = block.values[0].tolist()
        for id, logprob, value in zip(ids, logprobs, values, strict=True):
            yield from stream.feed(id, logprob=logprob, value=value)
            if stream.is_done:
                return
    yield from stream.finish()


def write_chunks(blocks: Iterator[Block], stream: TextStream) -> Iterator[str]:
    """Yield the text of the only stream of `blocks` in chunks as large as the blocks. Faster than
    `write_text`."""
    for block in blocks:
        yield stream.feed_all(block.ids[0].tolist())
        if stream.is_done:
            return
    yield text_of(stream.finish())


class WrittenText:
    """A text while its ids are drawn. Until it is complete, a log-probability takes 8 bytes."""

    def __init__(self, stream: TextStream, seed: int, length: int) -> None:
        self._stream = stream
        self._seed = seed
        self.num_left = length
        """Characters that may still follow."""
        self._text = io.StringIO(newline="")  # "" keeps every line end as it is
        self._logprobs = array("d")

    @property
    def is_done(self) -> bool:
        """Whether the text has ended or has its whole length."""
        return self._stream.is_done or self.num_left == 0

    def add(self, ids: list[int], logprobs: list[float]) -> None:
        """Add drawn ids until the text ends."""
        ids = ids[: self.num_left]
        self.num_left -= len(ids)

        # A whole block at once, if only END can end the text inside it: it has a log-probability.
        if self._stream.is_plain:
            written = self._stream.feed_all(ids)
            self._text.write(written)
            self._logprobs.extend(logprobs[: len(written) + self._stream.is_done])
            return

        for id, logprob in zip(ids, logprobs, strict=False):
            if self._stream.is_done:
                break
            self._keep(self._stream.feed(id, logprob=logprob, value=0.0))

    def finish(self) -> GeneratedText:
        """End the text."""
        if not self._stream.is_done:
            self._keep(self._stream.finish())
        return GeneratedText(
            text=self._text.getvalue(),
            logprobs=tuple(self._logprobs),
            seed=self._seed,
            stop=self._stream.stop,
            has_ended=self._stream.has_ended,
        )

    def _keep(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._text.write(piece.text)
            self._logprobs.append(piece.logprob)


def write_whole(blocks: Iterator[Block], text: WrittenText) -> GeneratedText:
    """Return the text of the only stream of `blocks`."""
    for block in blocks:
        text.add(block.ids[0].tolist(), block.logprobs[0].tolist())
        if text.is_done:
            break
    return text.finish()


def write_texts(
    rows: TextRows,
    seeds: Sequence[int],
    *,
    num_rows: int,
    length: int,
    make_stream: Callable[[], TextStream],
    ends_early: bool,
    on_draw: Callable[[int], object],
) -> Iterator[GeneratedText]:
    """Yield a whole text for each of `seeds`, in their order; as many as there are rows are drawn
    side by side.

    The rows have begun with the first seeds. Where a text ends, the row goes on with the next one.
    """

    def begin(index: int) -> WrittenText:
        return WrittenText(stream=make_stream(), seed=seeds[index], length=length)

    # The number and the text in each row, and those that wait for the ones before them.
    drawn = {row: (row, begin(row)) for row in range(num_rows)}
    num_begun = num_rows
    finished: dict[int, GeneratedText] = {}
    num_yielded = 0
    size = FIRST_BLOCK
    while drawn:
        # Texts that all have the same length end together, so that nothing is drawn in vain.
        if ends_early:
            size = EARLY_BLOCK
        num_left = max(text.num_left for _, text in drawn.values())
        block = rows.draw(min(size, num_left))
        on_draw(block.ids.size)
        size = min(2 * size, LAST_BLOCK)

        # Each row that is free takes the next text.
        begun = {}
        for row, (index, text) in list(drawn.items()):
            text.add(block.ids[row].tolist(), block.logprobs[row].tolist())
            if not text.is_done:
                continue
            finished[index] = text.finish()
            if num_begun < len(seeds):
                drawn[row] = (num_begun, begin(num_begun))
                begun[row] = seeds[num_begun]
                num_begun += 1
            else:
                del drawn[row]
        if begun:
            rows.begin(begun)
        while num_yielded in finished:
            yield finished.pop(num_yielded)
            num_yielded += 1


class TextSearch:
    """A beam search that decodes what it finds.

    Iterating yields the best text piece by piece: no piece changes later. Then `texts` has all
    texts that were found, most likely first.
    """

    def __init__(
        self, search: BeamSearch, vocab: Vocab, stops: Sequence[str], *, end_id: int | None = None
    ) -> None:
        """Cut every text before the first of `stops` and before `end_id`, which `search` has as
        ids."""
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
        if not stream.is_done and (rest := text_of(stream.finish())):
            yield rest

        # The others are not cut character by character: the search says where each one ends.
        self.texts = [self._text_of(beam) for beam in self._search.beams]

    def _text_of(self, beam: Beam) -> GeneratedText:
        length = len(beam.ids) - beam.stop_length
        text = self._vocab.decode(beam.ids[:length])

        # END is no part of the text, but its log-probability is.
        if self._end_id is not None and beam.ids[-1:] == (self._end_id,):
            return GeneratedText(text=text, logprobs=beam.logprobs, has_ended=True)

        return GeneratedText(
            text=text,
            logprobs=beam.logprobs[:length],
            stop=self._vocab.decode(beam.ids[length:]),
            has_ended=None if self._end_id is None else False,
        )


MIN_REPEATS = 3
"""Repeats of a loop, at least: the most likely text of a character model often ends in one."""
MIN_CHARS = 30
"""Characters of all repeats at least."""
MAX_AFTER = 10
"""Characters after a loop, at most: a text that is cut at its length often leaves the loop just
before."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A text that ends in the same `period` characters, `repeats` times in a row, and `after`
    others."""

    period: int
    repeats: int
    after: int = 0


def find_loop(text: Sequence[object]) -> Loop | None:
    """Return the loop at the end of a text or of its ids, that with the smallest period; None if
    there is none.

    It has at least `MIN_REPEATS` repeats and `MIN_CHARS` characters. The last repeat may be cut
    anywhere. Up to `MAX_AFTER` characters may follow it, as few as possible.
    """
    for after in range(min(MAX_AFTER, len(text) - MIN_CHARS) + 1):
        # Read backwards: the loop is at the end, and its last repeat may be cut.
        reverse = text[: len(text) - after][::-1]
        for period in range(1, len(reverse) // MIN_REPEATS + 1):
            # This is not quadratic: if a text agrees with itself for m characters at two distances
            # that differ by less than m / 3, their difference is a period, and the search has ended
            # there. So N take O(N log N).
            agreed = 0
            while period + agreed < len(reverse) and reverse[agreed] == reverse[period + agreed]:
                agreed += 1

            # The first period has nothing before it with which it agrees.
            repeats = (period + agreed) // period
            if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
                return Loop(period=period, repeats=repeats, after=after)
    return None
