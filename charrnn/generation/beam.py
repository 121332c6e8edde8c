"""Beam search: the most likely text rather than a random one.

Shapes: W live beams, V vocabulary, N characters written so far. All beams step together; one `take` per step reorders
their states.
"""

import math
from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import count, pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError, did_you_mean, named
from charrnn.generation.defaults import DEFAULT_DIVERSITY, DEFAULT_WIDTH
from charrnn.generation.distribution import Float64Array, log_softmax
from charrnn.generation.ngrams import SeenNgrams
from charrnn.model.stepper import CharacterModel

MAX_WIDTH = 4096
"""Beams of a search at most."""
MAX_BEAM_CHARS = MAX_WIDTH * 1024
"""Characters of all live texts together at most. A search keeps all of them, in about 100 bytes each, until it ends."""
MAX_LENGTH_PENALTY = 10
"""Largest exponent of the length penalty."""
Mode = Literal["plain", "diverse", "stochastic"]
"""What a search looks for; see `BeamOptions.mode`."""
Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamOptions:
    """Options of a beam search over ids. Raises UsageError naming the option, its value and its range."""

    width: int
    """Number of texts kept at every step, and returned."""
    length: int
    """Number of characters of a text, unless a stop string ends it earlier."""
    mode: Mode = "plain"
    """`plain`: the most likely texts (Graves 2012). `diverse`: groups that avoid each other's characters (Vijayakumar
    2016). `stochastic`: texts drawn without replacement (Kool, van Hoof & Welling 2019)."""
    groups: int | None = None
    """Number of groups of a diverse search, a divisor of the width. None: one per beam."""
    diversity: float | None = None
    """Nats subtracted in a diverse search for each beam of an earlier group that chose the character at a step. None:
    `DEFAULT_DIVERSITY` (Vijayakumar 2016 recommends 0.2 to 0.8). The penalty is not part of a beam's score."""
    length_penalty: float = 0.0
    """Alpha of Wu 2016: texts are ranked by log-probability / ((5 + N) / 6)^alpha. 0 prefers short texts."""
    no_repeat: int | None = None
    """Length of n-grams that occur at most once, those of the prime included. None: any may recur."""
    stops: tuple[tuple[int, ...], ...] = ()
    """Stop strings in ids: a text ends with the first of them that it contains."""
    banned: tuple[int, ...] = ()
    """Ids that are never chosen."""
    seed: int = 0
    """Seed of a stochastic search."""

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise UsageError(
                f"{named('width')} is {self.width}; it must be between 1 and {MAX_WIDTH}. Try {DEFAULT_WIDTH}."
            )
        if self.length < 1:
            raise UsageError(f"{named('length')} is {self.length}; beam search needs at least 1 character.")
        if self.width * self.length > MAX_BEAM_CHARS:
            raise UsageError(
                f"{named('width', self.width)} with {named('length', self.length)} would keep "
                f"{self.width * self.length:,} characters; at most {MAX_BEAM_CHARS:,} fit. "
                f"Use {named('length', MAX_BEAM_CHARS // self.width)} or fewer beams."
            )
        self._check_mode()
        self._check_length_penalty()
        if self.no_repeat is not None and self.no_repeat < 1:
            raise UsageError(f"{named('no_repeat')} is {self.no_repeat}; it must be at least 1. Try 20.")
        if not all(self.stops):
            raise UsageError(
                f"{named('stops')} is empty; it must be at least 1 character. Leave it out to write the whole length."
            )
        if self.seed < 0:
            raise UsageError(f"{named('seed')} is {self.seed}; it must be 0 or more.")

    def _check_mode(self) -> None:
        if self.mode not in get_args(Mode):
            near = did_you_mean(self.mode, get_args(Mode))
            raise UsageError(f"{named('mode')} is {self.mode!r}; it must be plain, diverse or stochastic.{near}")
        for name, value in (("groups", self.groups), ("diversity", self.diversity)):
            if value is not None and self.mode != "diverse":
                raise UsageError(
                    f"{named(name)} is {value}, but the search is {self.mode}. Add {named('mode', 'diverse')}."
                )
        if self.groups is not None and (self.groups < 1 or self.width % self.groups):
            divisors = ", ".join(str(d) for d in range(1, self.width + 1) if self.width % d == 0)
            raise UsageError(
                f"{named('groups')} is {self.groups}; it must divide {named('width', self.width)}: one of {divisors}."
            )
        if self.diversity is not None and not (math.isfinite(self.diversity) and self.diversity > 0):
            raise UsageError(
                f"{named('diversity')} is {self.diversity}; it must be more than 0, and finite. "
                f"Try {DEFAULT_DIVERSITY}."
            )

    def _check_length_penalty(self) -> None:
        if not 0 <= self.length_penalty <= MAX_LENGTH_PENALTY:
            raise UsageError(
                f"{named('length_penalty')} is {self.length_penalty}; it must be between 0 and "
                f"{MAX_LENGTH_PENALTY}. Try 0.6."
            )
        if self.length_penalty and self.mode == "stochastic":
            raise UsageError(
                f"{named('length_penalty')} is {self.length_penalty}, but a stochastic search draws texts by their "
                "probability. Leave it out, or search plain or diverse."
            )
        if self.length_penalty and not self.stops:
            raise UsageError(
                f"{named('length_penalty')} is {self.length_penalty}, but without {named('stops')} all texts are "
                f"equally long. Add {named('stops')}, or leave it out."
            )

    @property
    def num_groups(self) -> int:
        """Groups that search side by side: one, but in `diverse`."""
        return (self.groups or self.width) if self.mode == "diverse" else 1

    @property
    def penalty(self) -> float:
        """Nats per earlier group's beam with the same character."""
        return DEFAULT_DIVERSITY if self.diversity is None else self.diversity

    def length_divisor(self, num_chars: int) -> float:
        """Return the divisor of the log-probability of a text of `num_chars` (Wu 2016, equation 14)."""
        return math.pow((5 + num_chars) / 6, self.length_penalty)


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that was found: its ids (N,) and the model's log-probability of each, in nats."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float
    """What beams are ranked by: the log-probability divided by the length penalty; in a stochastic search the
    log-probability plus Gumbel noise."""
    stop_length: int = 0
    """Number of ids of the stop string that ended the text, the longest if there are several; 0 if none did."""

    @property
    def logprob(self) -> float:
        """Log-probability of the whole text, in nats."""
        return sum(self.logprobs)


class BeamSearch:
    """Searches for the best texts after `prime`, while it is iterated over.

    Iterating yields ids as soon as all texts that may still become the best have them in common: together they are the
    best text. Then `beams` has up to `width` different texts, best first. The search ends when the live beams have
    `length` characters, or when none of them can enter `beams` any more.

    A beam is dropped if `no_repeat` and `banned` leave it no character. If all are dropped, the search ends with the
    texts that were stopped or, if there are none, with the live ones as they are.
    """

    def __init__(
        self,
        stepper: CharacterModel,
        prime: NDArray[np.integer[Any]],
        options: BeamOptions,
        on_step: Callable[[int], object] = lambda num_chars: None,
        *,
        read_prime: Callable[[], tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None,
        find_ends: Callable[[NDArray[np.int32]], Indices] | None = None,
    ) -> None:
        """Take the ids of the prime (P,), P >= 1.

        `on_step` is called with 1 whenever the live texts have grown by one character. `read_prime` returns the logits
        (1, V) and the state after the prime; without it the stepper reads the prime. `find_ends` maps texts (W, N) to
        (W,): how many of its last ids a text that has ended is cut by, and -1 for one that goes on.
        """
        self.beams: list[Beam] = []
        self._read_prime = read_prime or (lambda: stepper.read(prime))
        self._find_ends = find_ends
        self._stepper, self._prime, self.options, self._on_step = stepper, prime, options, on_step

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        options = self.options
        generator = np.random.Generator(np.random.PCG64(options.seed))
        found = _Found(options, self._find_ends)
        live = _Live.start(options.num_groups)
        if options.mode == "stochastic":
            live.keys = generator.gumbel(size=1)
        rows = np.zeros(options.num_groups, np.int64)
        logits, state = self._read_prime()
        logits, state = logits.take(rows, axis=0), state.take(rows, axis=2)
        ngrams = None if options.no_repeat is None else SeenNgrams(options.no_repeat, self._prime, len(rows))
        num_yielded = 0
        while True:
            logprobs = log_softmax(logits)
            allowed = logprobs.copy()
            allowed[:, list(options.banned)] = -np.inf
            if ngrams is not None:
                ngrams.forbid(allowed)
            if options.mode == "stochastic":
                totals, keys = _perturb(live, allowed, generator)
            else:
                totals = keys = live.totals[:, None] + allowed
            rows, chars = self._choose(keys, live.groups)
            if len(rows) == 0:
                break
            live = live.write(rows, chars, logprobs[rows, chars], totals[rows, chars], keys[rows, chars])
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
        """Return rows and ids of the largest keys (W, V) of each group, group by group, best first."""
        size, vocab_size = self.options.width // self.options.num_groups, keys.shape[1]
        keys = np.where(np.isnan(keys), -np.inf, keys)
        penalties = np.zeros(vocab_size)
        chosen = []
        for start, end in pairwise(np.searchsorted(groups, np.arange(self.options.num_groups + 1)).tolist()):
            best = _greatest(keys[start:end] - penalties, size)
            np.add.at(penalties, best % vocab_size, self.options.penalty)
            chosen.append(start * vocab_size + best)
        rows, chars = np.divmod(np.concatenate(chosen), vocab_size)
        return rows, chars


@dataclass(slots=True)
class _Live:
    """The texts that still grow, group by group, best first in each group."""

    groups: Indices  # (W,), ascending
    texts: NDArray[np.int32]  # (W, N)
    logprobs: Float64Array  # (W, N), the model's own
    totals: Float64Array  # (W,), log-probabilities; in a stochastic search normalised over the allowed texts
    keys: Float64Array  # (W,), what beams are chosen by: the totals, in a stochastic search plus noise

    @classmethod
    def start(cls, num_groups: int) -> "_Live":
        texts, logprobs = np.zeros((num_groups, 0), np.int32), np.zeros((num_groups, 0))
        return cls(np.arange(num_groups), texts, logprobs, np.zeros(num_groups), np.zeros(num_groups))

    @property
    def num_chars(self) -> int:
        return int(self.texts.shape[1])

    def take(self, rows: Indices) -> "_Live":
        if len(rows) == len(self.groups):  # all of them, in their order
            return self
        texts, logprobs = self.texts.take(rows, axis=0), self.logprobs.take(rows, axis=0)
        return _Live(self.groups.take(rows), texts, logprobs, self.totals.take(rows), self.keys.take(rows))

    def write(
        self, rows: Indices, chars: Indices, logprobs: Float64Array, totals: Float64Array, keys: Float64Array
    ) -> "_Live":
        """Return the texts of `rows`, each with one more character."""
        texts = np.concatenate((self.texts.take(rows, axis=0), chars[:, None]), axis=1, dtype=np.int32)
        all_logprobs = np.concatenate((self.logprobs.take(rows, axis=0), logprobs[:, None]), axis=1)
        return _Live(self.groups.take(rows), texts, all_logprobs, totals, keys)


class _Found:
    """The best texts that have ended, up to as many for each group as it has beams."""

    def __init__(self, options: BeamOptions, find_ends: Callable[[NDArray[np.int32]], Indices] | None = None) -> None:
        self._options, self._find_ends = options, find_ends
        self._size = options.width // options.num_groups
        self._stops = [np.array(stop) for stop in sorted(options.stops, key=len)]
        # Best first. The number makes the first found of equals the better one in every comparison.
        self._groups: list[list[tuple[float, int, Beam]]] = [[] for _ in range(options.num_groups)]
        self._numbers = count()

    def collect(self, live: _Live) -> Indices:
        """Keep the texts that end here; return the rows of those that continue and may still be among the best."""
        stop_lengths = np.full(len(live.groups), -1) if self._find_ends is None else self._find_ends(live.texts)
        for stop in self._stops:
            if len(stop) <= live.num_chars:
                stop_lengths[(live.texts[:, -len(stop) :] == stop).all(axis=1)] = len(stop)
        for row in np.flatnonzero(stop_lengths >= 0).tolist():
            self._add(live, row, int(stop_lengths[row]))
        floors = [-beams[-1][0] if len(beams) == self._size else -np.inf for beams in self._groups]
        return np.flatnonzero((stop_lengths < 0) & (self._bounds(live) > np.array(floors)[live.groups]))

    def agreed(self, live: _Live, start: int) -> tuple[int, ...]:
        """Return the ids from `start` on that are common to all texts that may still become the best."""
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
        """Return all texts that were found, best first; live ones if they are complete, or if there are no others."""
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
        """Return the best score (W,) that each live text can reach: more characters make no text more likely."""
        return live.keys / self._options.length_divisor(self._options.length)


def _greatest(values: Float64Array, number: int) -> Indices:
    """Return the flat indices of the `number` greatest finite values, greatest first, the first of equals first."""
    flat = values.ravel()
    if number == 1 and len(flat):  # every group of a diverse search
        best: Indices = np.array([flat.argmax()])
    else:
        # All values that reach the last one wanted, because a partition alone breaks ties arbitrarily.
        least = np.partition(flat, -number)[-number] if number < len(flat) else -np.inf
        candidates = np.flatnonzero(flat >= least)
        best = candidates[np.argsort(-flat[candidates], kind="stable")[:number]]
    return best[np.isfinite(flat[best])]


def _perturb(live: _Live, allowed: Float64Array, generator: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Return log-probabilities (W, V) of all next texts, and these plus Gumbel noise with the row's key as row maximum.

    The k greatest keys are then those of k texts drawn without replacement (Kool, van Hoof & Welling 2019, section 3;
    the stable form of appendix B.3). `allowed` (W, V) is normalised over the allowed characters: the
    probability of a text must be the sum of those of its continuations.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # no key falls below another's -inf; a row may be all -inf
        totals = live.totals[:, None] + log_softmax(allowed)
        noisy = totals + generator.gumbel(size=totals.shape)
        above = live.keys[:, None] - noisy + np.log(-np.expm1(noisy - noisy.max(axis=1, keepdims=True)))
        keys = live.keys[:, None] - np.maximum(0, above) - np.log1p(np.exp(-np.abs(above)))
    return totals, keys
