"""Decodes ids to text as they are drawn or found, cuts it at stop strings, and finds loops at its
end."""

import io
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from charrnn.generation.beam import Beam, BeamSearch
from charrnn.generation.generated import GeneratedText
from charrnn.generation.sampling import Block
from charrnn.text.vocab import Vocab


class Piece(NamedTuple):
    """Text of one drawn id ("" within a character of several bytes), its log-probability in nats,
    and the value of the shown cell after it."""

    text: str
    logprob: float
    value: float


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
        keeps_stop: bool,
        end_id: int | None = None,
        on_cut: Callable[[], object] = lambda: None,
    ) -> None:
        """Cut the text before the first of `stops` that appears, or after it if `keeps_stop`.

        `on_cut` is called if `finish` ends a document before its END.
        """
        self._vocab, self._decoder = vocab, vocab.decoder()
        self._stops, self._keeps_stop = tuple(stops), keeps_stop
        self._end_id, self._on_cut = end_id, on_cut
        self._pending: list[Piece] = []
        self.is_done, self.stop = False, ""
        self.has_ended: bool | None = None if end_id is None else False
        """Whether the document has reached its END; None without documents."""

    def feed(self, id: int, logprob: float, value: float) -> list[Piece]:
        """Add an id, and return the pieces that now certainly belong to the text; the last one,
        END, has none."""
        if id == self._end_id:
            released = self._flush()
            if not self.is_done:
                self.is_done = self.has_ended = True
                released.append(Piece("", logprob, value))
            return released
        self._pending.append(Piece(self._decoder.feed(id), logprob, value))
        return self._release()

    @property
    def is_plain(self) -> bool:
        """Whether every id is one character and nothing ends the text, so that nothing stays
        pending."""
        return self._vocab.kind == "char" and not self._stops and self._end_id is None

    def feed_all(self, ids: Iterable[int]) -> str:
        """Add ids, and return the text that is now certain."""
        if self.is_plain:
            return self._vocab.decode(ids)
        released: list[Piece] = []
        for id in ids:
            if not self.is_done:
                released += self.feed(id, 0.0, 0.0)
        return "".join(piece.text for piece in released)

    def finish(self) -> list[Piece]:
        """End the text, and return its last pieces."""
        released = self._flush()
        if self.has_ended is False and not self.is_done:
            self._on_cut()
        return released

    def _flush(self) -> list[Piece]:
        if rest := self._decoder.finish():
            self._pending[-1] = self._pending[-1]._replace(text=self._pending[-1].text + rest)
        released = self._release()
        if not self.is_done:
            released += self._pending
            self._pending = []
        return released

    def _release(self) -> list[Piece]:
        text = "".join(piece.text for piece in self._pending)
        found = [
            (begin, begin + len(stop)) for stop in self._stops if (begin := text.find(stop)) >= 0
        ]
        if found:
            self.is_done = True
            begin, end = min(found)
            self.stop = text[begin:end]
            return self._cut(end if self._keeps_stop else begin)
        may_begin = max((_overlap(text, stop) for stop in self._stops), default=0)
        released: list[Piece] = []
        # Keep the first id of an unfinished character: if the text ends here, `finish` adds its
        # text to that piece.
        num_kept = 1 if self._decoder.is_amid_character else 0
        while len(self._pending) > num_kept and len(text) - len(self._pending[0].text) >= may_begin:
            released.append(self._pending.pop(0))
            text = text[len(released[-1].text) :]
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


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `stop`."""
    return max(
        (n for n in range(1, min(len(text), len(stop) - 1) + 1) if text.endswith(stop[:n])),
        default=0,
    )


def write_text(blocks: Iterator[Block], stream: TextStream) -> Iterator[Piece]:
    """Yield the pieces of the only stream of `blocks`, as soon as they are certain."""
    for block in blocks:
        for id, logprob, value in zip(
            block.ids[0].tolist(), block.logprobs[0].tolist(), block.values[0], strict=True
        ):
            yield from stream.feed(id, logprob, float(value))
            if stream.is_done:
                return
    yield from stream.finish()


def write_chunks(blocks: Iterator[Block], stream: TextStream) -> Iterator[str]:
    """Yield the text of the only stream of `blocks` in chunks as large as the blocks: as
    `write_text`, but faster."""
    for block in blocks:
        yield stream.feed_all(block.ids[0].tolist())
        if stream.is_done:
            return
    yield "".join(piece.text for piece in stream.finish())


def write_texts(
    blocks: Iterator[Block], streams: Sequence[TextStream], seeds: Sequence[int]
) -> Iterator[GeneratedText]:
    """Yield the whole text of every stream of `blocks`, drawn with its seed; stops drawing when all
    are done.

    Until its text is yielded, a log-probability takes 8 bytes.
    """
    texts = [io.StringIO(newline="") for _ in streams]  # "" keeps every line end as it is
    logprobs = [array("d") for _ in streams]

    def keep(index: int, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            texts[index].write(piece.text)
            logprobs[index].append(piece.logprob)

    for block in blocks:
        for index, stream in enumerate(streams):
            if stream.is_plain:
                texts[index].write(stream.feed_all(block.ids[index].tolist()))
                logprobs[index].extend(block.logprobs[index].tolist())
                continue
            for id, logprob in zip(
                block.ids[index].tolist(), block.logprobs[index].tolist(), strict=True
            ):
                if stream.is_done:
                    break
                keep(index, stream.feed(id, logprob, 0.0))
        if all(stream.is_done for stream in streams):
            break
    for index, (stream, seed) in enumerate(zip(streams, seeds, strict=True)):
        if not stream.is_done:
            keep(index, stream.finish())
        text, values = texts[index].getvalue(), tuple(logprobs[index])
        yield GeneratedText(
            text=text, logprobs=values, seed=seed, stop=stream.stop, has_ended=stream.has_ended
        )


class TextSearch:
    """A beam search that decodes what it finds.

    Iterating yields the best text piece by piece: no piece changes later. Then `texts` has all
    texts that were found.
    """

    def __init__(
        self,
        search: BeamSearch,
        vocab: Vocab,
        stops: Sequence[str],
        *,
        keeps_stop: bool,
        end_id: int | None = None,
    ) -> None:
        """Cut every text at `stops` and `end_id` as `TextStream` does. `search` has them as ids."""
        self.texts: list[GeneratedText] = []
        self._end_id = end_id
        self._search, self._vocab, self._stops, self._keeps_stop = search, vocab, stops, keeps_stop

    def __iter__(self) -> Iterator[str]:
        stream = TextStream(
            self._vocab, self._stops, keeps_stop=self._keeps_stop, end_id=self._end_id
        )
        for ids in self._search:
            if text := stream.feed_all(ids):
                yield text
        if not stream.is_done and (rest := "".join(piece.text for piece in stream.finish())):
            yield rest
        self.texts = [self._text_of(beam) for beam in self._search.beams]

    def best(self, count: int | None = None) -> list[GeneratedText]:
        """Return the first `count` of `texts`, those of a stochastic search most likely first.

        A stochastic search finds its texts in the order of their noisy log-probabilities: the first
        k are k texts drawn without replacement.
        """
        texts = self.texts[:count]
        if self._search.options.mode == "stochastic":
            texts.sort(key=lambda text: -text.logprob)
        return texts

    def _text_of(self, beam: Beam) -> GeneratedText:
        has_ended = self._end_id is not None and beam.ids[-1:] == (self._end_id,)
        begin = len(beam.ids) - beam.stop_length
        kept = len(beam.ids) if self._keeps_stop and not has_ended else begin
        options = self._search.options
        return GeneratedText(
            text=self._vocab.decode(beam.ids[:kept]),
            logprobs=beam.logprobs[: kept + has_ended],
            seed=options.seed if options.mode == "stochastic" else None,
            score=beam.score,
            stop="" if has_ended else self._vocab.decode(beam.ids[begin:]),
            has_ended=None if self._end_id is None else has_ended,
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
        reverse = text[: len(text) - after][::-1]
        for period in range(1, len(reverse) // MIN_REPEATS + 1):
            # This is not quadratic: if a text agrees with itself for m characters at two distances
            # that differ by less than m / 3, their difference is a period, and the search has ended
            # there. So N take O(N log N).
            agreed = 0
            while period + agreed < len(reverse) and reverse[agreed] == reverse[period + agreed]:
                agreed += 1
            repeats = (period + agreed) // period
            if repeats >= MIN_REPEATS and period * repeats >= MIN_CHARS:
                return Loop(period, repeats, after)
    return None
