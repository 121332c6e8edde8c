"""Beam search (Graves 2012): find the most likely text instead of drawing a random text.

Shapes: W live texts, V vocabulary, N characters written so far. The model reads the next characters
of all texts in one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import Float64Array, log_softmax
from charrnn.generation.patterns import Pattern
from charrnn.generation.sample_options import SearchOptions
from charrnn.generation.sampling import LONG_TEXT, reported
from charrnn.model.stepper import Stepper

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Beam:
    """A result of a beam search: the ids (N,) of a text, and the model's log-probability of each
    id, in nats."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    total: float
    """The log-probability of the whole text in nats, as the search added it up."""


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

    def beam(self, row: int) -> Beam:
        """Return the text of a row as a result of the search."""
        return Beam(
            ids=tuple(self.texts[row].tolist()),
            logprobs=tuple(self.logprobs[row].tolist()),
            total=float(self.totals[row]),
        )


class BeamSearch:
    """Searches for the most likely texts after `prime`: up to `width` different texts.

    The search ends

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
        *,
        stops: Sequence[tuple[int, ...]] = (),
        banned: Sequence[int] = (),
        never_first: Sequence[int] = (),
        pattern: Pattern | None = None,
    ) -> None:
        """Take the ids of the prime (P,), P >= 1, of stop strings and of `banned` characters, which
        are never chosen, or `never_first`. A text ends with the first stop string that it
        contains.

        With a `pattern`, all texts match it, and a text ends when nothing can follow.
        """
        self._beams: list[Beam] = []
        self._stepper = stepper
        self._prime = prime
        self._options = options
        self._stops = [np.array(stop) for stop in stops]
        self._banned = list(banned)
        self._never_first = list(never_first)
        self._matching: _Matching | None = None
        if pattern is not None:
            self._matching = _Matching(pattern, options.length)
        self._ngrams: SeenNgrams | None = None
        if options.no_repeat is not None:
            self._ngrams = SeenNgrams(options.no_repeat, prime, num_texts=1)

    def run(self) -> list[Beam]:
        """Search, and return the texts, best first."""
        # The search begins with one empty text.
        empty = np.zeros((1, 0))
        live = _LiveTexts(
            texts=empty.astype(np.int32),
            logprobs=empty,
            totals=np.zeros(1),
            parents=np.zeros(1, np.int64),
        )

        # A search computes each character once for every text that it keeps.
        length = self._options.length
        logits, state = self._stepper.read(self._prime)
        with reported("writing", total=length, least=LONG_TEXT // self._options.width) as advance:
            while True:
                grown = self._write_likeliest(live, log_softmax(logits))
                if len(grown) == 0:
                    break  # No character is allowed after any live text.
                advance(1)
                live = self._collect(grown)

                # The last characters are not read, because nothing is predicted after them.
                if len(live) == 0 or live.num_chars == length:
                    break
                logits, state = self._read(live, state)

        # Live texts of the whole length are results. Shorter live texts, which no character may
        # follow, are results only if no text has ended.
        if live.num_chars == length or not self._beams:
            for row in range(len(live)):
                self._add(live, row)
        return self._beams

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
        reordered = state.take(live.parents, axis=-2)
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
        has_ended = np.zeros(len(live), np.bool_)
        if self._matching is not None:
            has_ended |= self._matching.dead_ends(live.texts).all(axis=1)
        for stop in self._stops:
            if len(stop) <= live.num_chars:
                has_ended |= (live.texts[:, -len(stop) :] == stop).all(axis=1)
        for row in np.flatnonzero(has_ended).tolist():
            self._add(live, row)
        goes_on = ~has_ended

        # No text becomes more likely when it grows, so a text that is worse than all beams is lost.
        if len(self._beams) == self._options.width:
            goes_on &= live.totals > self._beams[-1].total
        if goes_on.all():
            return live
        return live.take(np.flatnonzero(goes_on))

    def _add(self, live: _LiveTexts, row: int) -> None:
        """Add a text to `beams` if it is among the best; it comes after beams that are equally
        likely."""
        total = live.totals[row]

        # From the worst beam upwards, past the beams that are worse.
        rank = len(self._beams)
        while rank > 0 and self._beams[rank - 1].total < total:
            rank -= 1
        if rank < self._options.width:
            self._beams.insert(rank, live.beam(row))
            del self._beams[self._options.width :]


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
