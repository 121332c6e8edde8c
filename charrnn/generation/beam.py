"""Beam search: the most likely text rather than a random one.

Shapes: W live beams, V vocabulary, N characters written so far. All beams step together; one `take`
per step reorders their states.
"""

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import count, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, named
from charrnn.generation.distribution import Float64Array, log_softmax
from charrnn.generation.patterns import Pattern
from charrnn.generation.sample_options import SearchOptions
from charrnn.model.stepper import CharacterModel

Indices = NDArray[np.int64]
Stops = Sequence[tuple[int, ...]]
"""Stop strings in ids: a text ends with the first of them that it contains."""


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that was found: its ids (N,) and the model's log-probability of each, in nats."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float
    """What beams are ranked by: the log-probability divided by the length penalty; in a stochastic
    search the log-probability plus Gumbel noise."""
    stop_length: int = 0
    """Number of ids of the stop string that ended the text, the longest if there are several; 0 if
    none did."""

    @property
    def logprob(self) -> float:
        """Log-probability of the whole text, in nats."""
        return sum(self.logprobs)


class BeamSearch:
    """Searches for the best texts after `prime`, while it is iterated over.

    Iterating yields ids as soon as all texts that may still become the best have them in common:
    together they are the best text. Then `beams` has up to `width` different texts, best first. The
    search ends when the live beams have `length` characters, or when none of them can enter `beams`
    any more.

    A beam is dropped if `no_repeat` and `banned` leave it no character. If all are dropped, the
    search ends with the texts that were stopped or, if there are none, with the live ones as they
    are.
    """

    def __init__(
        self,
        stepper: CharacterModel,
        prime: NDArray[np.integer[Any]],
        options: SearchOptions,
        on_step: Callable[[int], object] = lambda num_chars: None,
        *,
        stops: Stops = (),
        banned: Sequence[int] = (),
        read_prime: Callable[[], tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None,
        find_ends: Callable[[NDArray[np.int32]], Indices] | None = None,
        pattern: Pattern | None = None,
    ) -> None:
        """Take the ids of the prime (P,), P >= 1, of stop strings and of characters that are never
        chosen.

        `on_step` is called with 1 whenever the live texts have grown by one character. `read_prime`
        returns the logits (1, V) and the state after the prime; without it the stepper reads the
        prime. `find_ends` maps texts (W, N) to (W,): how many of its last ids a text that has ended
        is cut by, and -1 for one that goes on. With a `pattern` all texts match, and end where
        nothing can follow. Raises UsageError for a length penalty without either.
        """
        if options.length_penalty and not stops and pattern is None:
            raise UsageError(
                f"{named('length_penalty')} is {options.length_penalty}, but without"
                f" {named('stops')} all texts are equally long. Add {named('stops')}, or leave it"
                " out."
            )
        self.beams: list[Beam] = []
        self._stops, self._banned = stops, list(banned)
        self._read_prime = read_prime or (lambda: stepper.read(prime))
        self._find_ends, self._pattern = find_ends, pattern
        self._stepper, self._prime, self.options, self._on_step = stepper, prime, options, on_step

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        options = self.options
        generator = np.random.Generator(np.random.PCG64(options.seed or 0))
        matching = None if self._pattern is None else _Matching(self._pattern, options.length)
        found = _Found(
            options, self._stops, self._find_ends if matching is None else matching.find_ends
        )
        zeros, empty = np.zeros(options.num_groups), np.zeros((options.num_groups, 0))
        live = _Live(np.arange(options.num_groups), empty.astype(np.int32), empty, zeros, zeros)
        if options.mode == "stochastic":
            live.keys = generator.gumbel(size=1)
        rows = np.zeros(options.num_groups, np.int64)
        logits, state = self._read_prime()
        logits, state = logits.take(rows, axis=0), state.take(rows, axis=2)
        ngrams = (
            None
            if options.no_repeat is None
            else SeenNgrams(options.no_repeat, self._prime, len(rows))
        )
        num_yielded = 0
        while True:
            logprobs = log_softmax(logits)
            allowed = logprobs.copy()
            allowed[:, self._banned] = -np.inf
            if ngrams is not None:
                ngrams.forbid(allowed)
            if matching is not None:
                allowed[matching.dead_ends(live.texts)] = -np.inf
            if options.mode == "stochastic":
                totals, keys = _perturb(live, allowed, generator)
            else:
                totals = keys = live.totals[:, None] + allowed
            rows, chars = self._choose(keys, live.groups)
            if len(rows) == 0:
                break
            live = live.write(
                rows, chars, logprobs[rows, chars], totals[rows, chars], keys[rows, chars]
            )
            self._on_step(1)
            going_on = found.collect(live)
            live, rows, chars = live.take(going_on), rows.take(going_on), chars.take(going_on)
            agreed = found.agreed(live, num_yielded)
            if agreed:
                num_yielded += len(agreed)
                yield agreed
            if len(rows) == 0 or live.num_chars == options.length:
                break
            if ngrams is not None:
                ngrams.grow(rows, chars)
            logits, state = self._stepper.step(chars, state.take(rows, axis=2))
        self.beams = found.ranked(live)
        if rest := self.beams[0].ids[num_yielded:]:
            yield rest

    def _choose(self, keys: Float64Array, groups: Indices) -> tuple[Indices, Indices]:
        """Return rows and ids of the largest keys (W, V) of each group, group by group, best
        first."""
        size, vocab_size = self.options.width // self.options.num_groups, keys.shape[1]
        keys = np.where(np.isnan(keys), -np.inf, keys)
        penalties = np.zeros(vocab_size)
        chosen = []
        for start, end in pairwise(
            np.searchsorted(groups, np.arange(self.options.num_groups + 1)).tolist()
        ):
            best = _greatest(keys[start:end] - penalties, size)
            np.add.at(penalties, best % vocab_size, self.options.penalty)
            chosen.append(start * vocab_size + best)
        return np.divmod(np.concatenate(chosen), vocab_size)


@dataclass(slots=True)
class _Live:
    """The texts that still grow, group by group, best first in each group."""

    groups: Indices  # (W,), ascending
    texts: NDArray[np.int32]  # (W, N)
    logprobs: Float64Array  # (W, N), the model's own
    totals: Float64Array  # (W,), log-probabilities; in a stochastic search normalised over the allowed texts  # noqa: E501
    keys: Float64Array  # (W,), what beams are chosen by: the totals, in a stochastic search plus noise  # noqa: E501

    @property
    def num_chars(self) -> int:
        return int(self.texts.shape[1])

    def take(self, rows: Indices) -> "_Live":
        if len(rows) == len(self.groups):  # all of them, in their order
            return self
        texts, logprobs = self.texts.take(rows, axis=0), self.logprobs.take(rows, axis=0)
        return _Live(
            self.groups.take(rows), texts, logprobs, self.totals.take(rows), self.keys.take(rows)
        )

    def write(
        self,
        rows: Indices,
        chars: Indices,
        logprobs: Float64Array,
        totals: Float64Array,
        keys: Float64Array,
    ) -> "_Live":
        """Return the texts of `rows`, each with one more character."""
        texts = np.concatenate(
            (self.texts.take(rows, axis=0), chars[:, None]), axis=1, dtype=np.int32
        )
        all_logprobs = np.concatenate((self.logprobs.take(rows, axis=0), logprobs[:, None]), axis=1)
        return _Live(self.groups.take(rows), texts, all_logprobs, totals, keys)


class _Found:
    """The best texts that have ended, up to as many for each group as it has beams."""

    def __init__(
        self,
        options: SearchOptions,
        stops: Stops,
        find_ends: Callable[[NDArray[np.int32]], Indices] | None,
    ) -> None:
        self._options, self._find_ends = options, find_ends
        self._size = options.width // options.num_groups
        self._stops = [np.array(stop) for stop in sorted(stops, key=len)]
        # Best first. The number makes the first found of equals the better one in every comparison.
        self._groups: list[list[tuple[float, int, Beam]]] = [[] for _ in range(options.num_groups)]
        self._numbers = count()

    def collect(self, live: _Live) -> Indices:
        """Keep the texts that end here; return the rows of those that continue and may still be
        among the best."""
        stop_lengths = (
            np.full(len(live.groups), -1)
            if self._find_ends is None
            else self._find_ends(live.texts)
        )
        for stop in self._stops:
            if len(stop) <= live.num_chars:
                stop_lengths[(live.texts[:, -len(stop) :] == stop).all(axis=1)] = len(stop)
        for row in np.flatnonzero(stop_lengths >= 0).tolist():
            self._add(live, row, int(stop_lengths[row]))
        floors = [-beams[-1][0] if len(beams) == self._size else -np.inf for beams in self._groups]
        return np.flatnonzero(
            (stop_lengths < 0) & (self._bounds(live) > np.array(floors)[live.groups])
        )

    def agreed(self, live: _Live, start: int) -> tuple[int, ...]:
        """Return the ids from `start` on that are common to all texts that may still become the
        best."""
        rivals = live.texts[:, start:]
        firsts = [beams[0] for beams in self._groups if beams]
        if firsts:
            best = min(firsts)
            rivals = rivals[self._bounds(live) > -best[0]]
            shared = np.array(best[2].ids[start:], np.int32)
        else:
            shared = rivals[0]
        differs = (rivals[:, : len(shared)] != shared).any(axis=0)
        return tuple(shared[: int(differs.argmax()) if differs.any() else None].tolist())

    def ranked(self, live: _Live) -> list[Beam]:
        """Return all texts that were found, best first; live ones if they are complete, or if there
        are no others."""
        if live.num_chars == self._options.length or not any(self._groups):
            for row in range(len(live.groups)):
                self._add(live, row, 0)
        # Groups may find the same text.
        different: dict[tuple[int, ...], Beam] = {}
        for _, _, beam in merge(*self._groups):
            different.setdefault(beam.ids, beam)
        return list(different.values())

    def _add(self, live: _Live, row: int, stop_length: int) -> None:
        beams = self._groups[live.groups[row]]
        score = float(live.keys[row]) / self._options.length_divisor(live.num_chars)
        if len(beams) < self._size or score > -beams[-1][0]:
            ids, logprobs = tuple(live.texts[row].tolist()), tuple(live.logprobs[row].tolist())
            insort(beams, (-score, next(self._numbers), Beam(ids, logprobs, score, stop_length)))
            del beams[self._size :]

    def _bounds(self, live: _Live) -> Float64Array:
        """Return the best score (W,) that each live text can reach: more characters make no text
        more likely."""
        return live.keys / self._options.length_divisor(self._options.length)


def _greatest(values: Float64Array, number: int) -> Indices:
    """Return the flat indices of the `number` greatest finite values, greatest first, the first of
    equals first."""
    flat = values.ravel()
    # All values that reach the last one wanted, because a partition alone breaks ties arbitrarily.
    least = np.partition(flat, -number)[-number] if number < len(flat) else -np.inf
    candidates = np.flatnonzero((flat >= least) & np.isfinite(flat))
    return candidates[np.argsort(-flat[candidates], kind="stable")[:number]]


def _perturb(
    live: _Live, allowed: Float64Array, generator: np.random.Generator
) -> tuple[Float64Array, Float64Array]:
    """Return log-probabilities (W, V) of all next texts, and these plus Gumbel noise with the row's
    key as row maximum.

    The k greatest keys are then those of k texts drawn without replacement (Kool, van Hoof &
    Welling 2019, section 3; the stable form of appendix B.3). `allowed` (W, V) is normalised over
    the allowed characters: the probability of a text must be the sum of those of its continuations.
    """
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # no key falls below another's -inf; a row may be all -inf
        totals = live.totals[:, None] + log_softmax(allowed)
        noisy = totals + generator.gumbel(size=totals.shape)
        above = (
            live.keys[:, None] - noisy + np.log(-np.expm1(noisy - noisy.max(axis=1, keepdims=True)))
        )
        keys = live.keys[:, None] - np.maximum(0, above) - np.log1p(np.exp(-np.abs(above)))
    return totals, keys


class _Matching:
    """Says which characters may follow in growing texts that must match a pattern."""

    def __init__(self, pattern: Pattern, length: int) -> None:
        self._pattern, self._length = pattern, length
        self._states = {b"": pattern.start}  # of the texts that were asked about last

    def dead_ends(self, texts: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return the characters (W, V) after which no text of the length matches, for the last
        texts or longer ones."""
        earlier, self._states = self._states, {}
        for text in texts:
            key, begin = text.tobytes(), text[:-1].tobytes()
            self._states[key] = (
                earlier[key]
                if key in earlier
                else self._pattern.follow(earlier[begin], int(text[-1]))
            )
        missing = [self._pattern.missing_after(self._states[text.tobytes()]) for text in texts]
        return np.asarray(np.stack(missing) >= self._length - texts.shape[1])

    def find_ends(self, texts: NDArray[np.int32]) -> Indices:
        """Return 0 for each of the texts (W, N) that nothing can follow, -1 for the others."""
        return np.where(self.dead_ends(texts).all(axis=1), 0, -1)


class SeenNgrams:
    """Tracks the n-grams of W growing texts, exactly, at a cost per character that does not depend
    on n.

    For each position of a text, `_agreements` counts how many characters before it equal the last
    characters of the text. Where n - 1 do, the character at that position would complete an n-gram
    for the second time.
    """

    def __init__(self, n: int, text: NDArray[np.integer[Any]], num_texts: int) -> None:
        """Start with `num_texts` copies of the same text (P,)."""
        self._num_context = n - 1
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
        rows, places = np.nonzero(self._agreements >= self._num_context)
        logprobs[rows, self._texts[rows, places]] = -np.inf

    def grow(self, parents: NDArray[np.int64], chars: NDArray[np.int64]) -> None:
        """Replace the texts by those of rows `parents` (W',), each followed by one of `chars`
        (W',)."""
        texts, agreements = (
            self._texts.take(parents, axis=0),
            self._agreements.take(parents, axis=0),
        )
        column = chars[:, None].astype(np.int32)
        agreements = np.where(texts == column, agreements + 1, 0)
        self._texts = np.concatenate((texts, column), axis=1)
        self._agreements = np.concatenate(
            (np.zeros_like(column), agreements), axis=1, dtype=np.int32
        )
