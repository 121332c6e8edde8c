"""Beam search (Graves 2012): find the most likely text instead of drawing a random text.

Shapes: W live texts, V vocabulary, N characters written so far. The model reads the next characters
of all texts in one step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import Float64Array, log_softmax
from charrnn.generation.patterns import Pattern
from charrnn.generation.sample_options import SearchOptions
from charrnn.model.stepper import Stepper

Indices = NDArray[np.int64]


class Ends(NamedTuple):
    """Which of W texts have ended."""

    has_ended: NDArray[np.bool_]
    """(W,)."""
    num_cut: Indices
    """(W,): the number of ids that are cut off the end of a text that has ended."""


FindEnds = Callable[[NDArray[np.int32]], Ends]
"""Called with texts (W, N); returns which of them have ended."""


@dataclass(frozen=True, slots=True)
class Beam:
    """A result of a beam search: the ids (N,) of a text, and the model's log-probability of each
    id, in nats."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    total: float
    """The log-probability of the whole text in nats, as the search added it up."""
    stop_length: int = 0
    """The number of ids of the stop string that ended the text, or of the longest if several did; 0
    if no stop string did."""


@dataclass(frozen=True, slots=True)
class _LiveTexts:
    """The texts that still grow, best first."""

    texts: NDArray[np.int32]
    """Ids (W, N)."""
    logprobs: Float64Array
    """The log-probability of each character (W, N)."""
    totals: Float64Array
    """The log-probability of each whole text (W,)."""

    parents: Indices
    """(W,): the row that each text had before its last character was written."""

    @property
    def num_chars(self) -> int:
        """Return N."""
        return int(self.texts.shape[1])

    def __len__(self) -> int:
        """Return W."""
        return len(self.totals)

    def take(self, rows: Indices) -> "_LiveTexts":
        """Return the texts of these rows."""
        return _LiveTexts(
            texts=self.texts.take(rows, axis=0),
            logprobs=self.logprobs.take(rows, axis=0),
            totals=self.totals.take(rows),
            parents=self.parents.take(rows),
        )

    def write(self, rows: Indices, chars: Indices, logprobs: Float64Array) -> "_LiveTexts":
        """Return the texts of `rows`, each with one more character and its log-probability."""
        shorter = self.take(rows)
        return _LiveTexts(
            texts=np.concatenate((shorter.texts, chars[:, None]), axis=1, dtype=np.int32),
            logprobs=np.concatenate((shorter.logprobs, logprobs[:, None]), axis=1),
            totals=shorter.totals + logprobs,
            parents=rows,
        )

    def beam(self, row: int, stop_length: int) -> Beam:
        """Return the text of a row as a result of the search."""
        return Beam(
            ids=tuple(self.texts[row].tolist()),
            logprobs=tuple(self.logprobs[row].tolist()),
            total=float(self.totals[row]),
            stop_length=stop_length,
        )


class BeamSearch:
    """Searches for the most likely texts after `prime`, while it is iterated over.

    Iterating yields the ids of the best text. An id is yielded as soon as all texts that may still
    become the best have it. Then `beams` has up to `width` different texts, best first. The search
    ends

    - when no character is allowed after any live text: with the texts that have ended or, if no
      text has ended, with the live texts;
    - when no text is live: every text has ended, or is worse than `width` texts that have ended;
    - when the live texts have `length` characters: they count as ended.
    """

    def __init__(
        self,
        stepper: Stepper,
        prime: NDArray[np.integer],
        options: SearchOptions,
        on_step: Callable[[int], object] = lambda num_chars: None,
        *,
        stops: Sequence[tuple[int, ...]] = (),
        banned: Sequence[int] = (),
        never_first: Sequence[int] = (),
        read_prime: Callable[[], tuple[NDArray[np.float32], Any]] | None = None,
        find_ends: FindEnds | None = None,
        pattern: Pattern | None = None,
    ) -> None:
        """Take the ids of the prime (P,), P >= 1, of stop strings and of `banned` characters, which
        are never chosen, or `never_first`. A text ends with the first stop string that it
        contains.

        `on_step` is called with 1 whenever the live texts have grown by one character. `read_prime`
        returns the logits (1, V) and the state after the prime; without it the stepper reads the
        prime. `find_ends` says which texts have ended without a stop string. With a `pattern`, all
        texts match it, and a text ends when nothing can follow.
        """
        self.beams: list[Beam] = []
        self._stepper = stepper
        self._prime = prime
        self._options = options
        self._on_step = on_step
        # The longest stop string comes last, because it overrides the shorter ones.
        self._stops = [np.array(stop) for stop in sorted(stops, key=len)]
        self._banned = list(banned)
        self._never_first = list(never_first)
        self._read_prime = read_prime or partial(stepper.read, prime)
        self._find_ends = find_ends
        self._pattern = pattern
        self._matching: _Matching | None = None
        self._ngrams: SeenNgrams | None = None

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Search, and yield the ids of the best text."""
        # Everything that follows the live texts starts anew, so that a search can be iterated over
        # again.
        self.beams = []
        if self._pattern is not None:
            self._matching = _Matching(self._pattern, self._options.length)
            self._find_ends = self._matching.find_ends
        if self._options.no_repeat is not None:
            self._ngrams = SeenNgrams(self._options.no_repeat, self._prime, num_texts=1)

        # The search begins with one empty text.
        empty = np.zeros((1, 0))
        live = _LiveTexts(
            texts=empty.astype(np.int32),
            logprobs=empty,
            totals=np.zeros(1),
            parents=np.zeros(1, np.int64),
        )

        logits, state = self._read_prime()
        num_yielded = 0
        while True:
            grown = self._write_likeliest(live, log_softmax(logits))
            if len(grown) == 0:
                break  # No character is allowed after any live text.
            self._on_step(1)
            live = self._collect(grown)

            # The ids that all rivals share are final, long before the search ends.
            final_ids = self._final_ids(live, num_yielded)
            if final_ids:
                num_yielded += len(final_ids)
                yield final_ids

            # The last characters are not read, because nothing is predicted after them.
            if len(live) == 0 or live.num_chars == self._options.length:
                break
            logits, state = self._read(live, state)

        # Live texts of the whole length are results. Shorter live texts, which no character may
        # follow, are results only if no text has ended.
        if live.num_chars == self._options.length or not self.beams:
            for row in range(len(live)):
                self._add(live, row, stop_length=0)
        last_ids = self.beams[0].ids[num_yielded:]
        if last_ids:
            yield last_ids

    def _write_likeliest(self, live: _LiveTexts, logprobs: Float64Array) -> _LiveTexts:
        """Return the `width` most likely texts with one more character, by the log-probabilities
        (W, V) of the next characters."""
        totals = live.totals[:, None] + self._allowed(logprobs, live)
        rows, chars = np.divmod(_greatest(totals, self._options.width), logprobs.shape[1])
        return live.write(rows=rows, chars=chars, logprobs=logprobs[rows, chars])

    def _read(self, live: _LiveTexts, state: Any) -> tuple[NDArray[np.floating], Any]:
        """Let the model read the last characters; return its logits (W, V) and its next state."""
        chars = live.texts[:, -1].astype(np.int64)
        if self._ngrams is not None:
            self._ngrams.grow(live.parents, chars)
        # The rows of the state are reordered as the texts were.
        reordered = state.map(partial(np.take, indices=live.parents, axis=-2))
        return self._stepper.step(chars, reordered)

    def _allowed(self, logprobs: Float64Array, live: _LiveTexts) -> Float64Array:
        """Return the log-probabilities (W, V) with -inf for characters that must not follow."""
        allowed: Float64Array = logprobs.copy()
        allowed[:, self._banned] = -np.inf
        if live.num_chars == 0:
            allowed[:, self._never_first] = -np.inf
        if self._ngrams is not None:
            self._ngrams.forbid(allowed)
        if self._matching is not None:
            allowed[self._matching.dead_ends(live.texts)] = -np.inf
        return allowed

    def _collect(self, live: _LiveTexts) -> _LiveTexts:
        """Add the texts that have ended to `beams`; return the texts that go on and may still be
        among the best."""
        ends = Ends(np.zeros(len(live), np.bool_), np.zeros(len(live), np.int64))
        if self._find_ends is not None:
            ends = self._find_ends(live.texts)

        # Stop strings come last: if a text ends in two ways, the stop string is cut off.
        for stop in self._stops:
            if len(stop) <= live.num_chars:
                has_stop = (live.texts[:, -len(stop) :] == stop).all(axis=1)
                ends.has_ended[has_stop] = True
                ends.num_cut[has_stop] = len(stop)
        for row in np.flatnonzero(ends.has_ended).tolist():
            self._add(live, row, stop_length=int(ends.num_cut[row]))
        goes_on = ~ends.has_ended

        # No text becomes more likely when it grows, so a text that is worse than all beams is lost.
        if len(self.beams) == self._options.width:
            goes_on &= live.totals > self.beams[-1].total
        if goes_on.all():
            return live
        return live.take(np.flatnonzero(goes_on))

    def _add(self, live: _LiveTexts, row: int, stop_length: int) -> None:
        """Add a text to `beams` if it is among the best; it comes after beams that are equally
        likely."""
        total = live.totals[row]

        # From the worst beam upwards, past the beams that are worse.
        rank = len(self.beams)
        while rank > 0 and self.beams[rank - 1].total < total:
            rank -= 1
        if rank < self._options.width:
            self.beams.insert(rank, live.beam(row, stop_length))
            del self.beams[self._options.width :]

    def _final_ids(self, live: _LiveTexts, start: int) -> tuple[int, ...]:
        """Return the ids from `start` on that are common to all texts that may still become the
        best."""
        # The rivals are the best text that has ended, and the live texts that can overtake it.
        rivals = live.texts[:, start:]
        if self.beams:
            rivals = rivals[live.totals > self.beams[0].total]
            shared = np.array(self.beams[0].ids[start:], np.int32)
        else:
            shared = rivals[0]

        # Up to the first column in which the rivals differ.
        differs = (rivals[:, : len(shared)] != shared).any(axis=0)
        if differs.any():
            shared = shared[: int(differs.argmax())]
        return tuple(shared.tolist())


def _greatest(values: Float64Array, number: int) -> Indices:
    """Return the flat indices of the `number` greatest finite values, greatest first. Equal values
    stay in their order."""
    flat = np.where(np.isfinite(values), values, -np.inf).ravel()

    # A partition finds the least of these values, so that few values are sorted and not all W * V.
    # All values that reach it are candidates, because a partition breaks ties arbitrarily.
    least = -np.inf
    if number < len(flat):
        least = np.partition(flat, -number)[-number]
    candidates = np.flatnonzero((flat >= least) & np.isfinite(flat))

    # Costs are sorted upwards: a reversed sort would reverse equal values, too.
    costs = -flat[candidates]
    cheapest = np.argsort(costs, kind="stable")[:number]
    return candidates[cheapest]


class _Matching:
    """Finds the characters that may follow growing texts which must match a pattern."""

    def __init__(self, pattern: Pattern, length: int) -> None:
        self._pattern = pattern
        self._length = length
        # The state of the pattern after each text of the last call.
        self._states = {b"": pattern.start}

    def dead_ends(self, texts: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return the characters (W, V) after which no text of at most `length` characters
        matches."""
        # Each text is a text of the last call, or continues it by one character. So the pattern
        # takes at most one step, and not a step for each character of the text.
        previous = self._states
        self._states = {}
        missing = []
        for text in texts:
            key = text.tobytes()
            if key in previous:
                state = previous[key]
            else:
                state = self._pattern.follow(previous[text[:-1].tobytes()], int(text[-1]))
            self._states[key] = state
            missing.append(self._pattern.missing_after(state))

        # After a dead end, more characters are missing than the length leaves room for.
        return np.asarray(np.stack(missing) >= self._length - texts.shape[1])

    def find_ends(self, texts: NDArray[np.int32]) -> Ends:
        """Return which of the texts (W, N) cannot go on; nothing is cut off them."""
        has_ended = np.asarray(self.dead_ends(texts).all(axis=1))
        return Ends(has_ended, np.zeros(len(texts), np.int64))


class SeenNgrams:
    """Tracks the n-grams of W growing texts, exactly, at a cost per character that does not depend
    on n.

    For each position of a text, `_agreements` counts how many characters before it equal the last
    characters of the text. If n - 1 characters do, a second character like the one at that position
    would repeat an n-gram.
    """

    def __init__(self, n: int, text: NDArray[np.integer], num_texts: int) -> None:
        """Start with `num_texts` copies of the same text (P,)."""
        self._num_context = n - 1

        # All positions at once, because a prime may have a million characters: from the last
        # character backwards, until no position agrees.
        agreements = np.zeros(len(text), np.int32)
        agrees = np.ones(len(text), bool)
        for back in range(1, min(n, len(text))):
            agrees[:back] = False
            agrees[back:] &= text[:-back] == text[-back]
            if not agrees.any():
                break
            agreements += agrees

        self._texts = np.tile(np.asarray(text, np.int32), (num_texts, 1))
        self._agreements = np.tile(agreements, (num_texts, 1))

    def forbid(self, logprobs: Float64Array) -> None:
        """Set to -inf, in place, the log-probabilities (W, V) of characters that would repeat an
        n-gram."""
        rows, positions = np.nonzero(self._agreements >= self._num_context)
        logprobs[rows, self._texts[rows, positions]] = -np.inf

    def grow(self, parents: Indices, chars: Indices) -> None:
        """Replace the texts by the texts in rows `parents` (W',), each followed by its character of
        `chars` (W',)."""
        texts = self._texts.take(parents, axis=0)
        column = chars[:, None].astype(np.int32)

        # If the character at position j equals the new character, position j + 1 agrees with the
        # end of the text in one character more than position j did before; else in none. Position 0
        # has nothing before it.
        agreements = self._agreements.take(parents, axis=0)
        agreements = np.where(texts == column, agreements + 1, 0)
        self._texts = np.concatenate((texts, column), axis=1)
        self._agreements = np.concatenate(
            (np.zeros_like(column), agreements), axis=1, dtype=np.int32
        )
