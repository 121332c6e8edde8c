"""Draws characters one after another, in one text or in several at once.

Shapes: B streams, N characters, V vocabulary; state as in `model.stepper`. Works on ids; `writing`
decodes them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache, partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import (
    CharWeights,
    char_weights,
    log_softmax,
)
from charrnn.generation.patterns import Pattern, State
from charrnn.generation.sample_options import Forbid, Shaping
from charrnn.hooks.manager import find_named
from charrnn.hooks.specifications import compiled_loops
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.stepper import CharacterModel
from charrnn.system.process import check_settings_of_numba
from charrnn.system.progress import Task, task
from charrnn.text.documents import END
from charrnn.text.vocab import Vocab

Ids = NDArray[np.integer[Any]]

COMPILED_FROM = 2_000
"""Number of characters from which loading the compiled loop (0.2 to 0.5 seconds) saves time."""
UNCACHED_FROM = 100_000
"""Number of characters from which compiling it (about 10 seconds, once on a machine) saves time."""
FIRST_BLOCK, LAST_BLOCK = 32, 1024
"""Sizes of the first and the largest block of the compiled loop: small at first, so that text
appears soon."""
EARLY_BLOCK = 8
"""Characters of a block of texts that end early: what is drawn of a text after its end is lost."""
SLOW_PRIME = 20_000
"""Characters of a prime from which its reading is reported as a task: long enough to take seconds
without numba."""
BEFORE_LOADING = 16
"""Characters that NumPy draws before the compiled loop is loaded, so that the first text appears at
once."""


NEWLINE_SHARE = 0.02
"""Probability from which a model expects a newline. War and Peace has 0.86 after the newline that
ends a sentence, and 0.01 after the blank line."""
MOST_NEWLINES = 3
"""Newlines that are read at most before a text without a prime: Python has two blank lines before a
class."""


class Block(NamedTuple):
    """Consecutive characters of every stream: ids (B, N), log-probabilities (B, N), values of the
    shown cell (B, N)."""

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    values: NDArray[np.float32]


class PrimedState(NamedTuple):
    """What a model returns for a prime: logits (1, V) and the state of one row."""

    logits: NDArray[np.floating[Any]]
    state: Any


class Engine(Enum):
    """What computes the characters of a text."""

    NUMPY = auto()
    """NumPy."""
    LOADED = auto()
    """Compiled code if it is kept on this machine, else NumPy."""
    COMPILED = auto()
    """Compiled code, which is compiled now if it is not kept."""


def choose_engine(num_chars: int) -> Engine:
    """Return what takes the least time for so many characters."""
    if num_chars < COMPILED_FROM:
        return Engine.NUMPY
    if num_chars < UNCACHED_FROM:
        return Engine.LOADED
    return Engine.COMPILED


@cache
def _compiled_module(function: str) -> ModuleType | None:
    """Import the module with a compiled function; None if no package offers it, or if numba is
    missing."""
    check_settings_of_numba()
    with suppress(ImportError):
        found: ModuleType | None = find_named(compiled_loops, function)
        return found
    return None


def compiled_loop(
    stepper: CharacterModel, engine: Engine, function: str = "write"
) -> ModuleType | None:
    """Return the module whose compiled `function` (`write`, `read`, `code`) is ready for this
    model; None if NumPy computes instead."""
    # A mixture is several models, and not every cell is written for the loop.
    name = stepper.compiled_loops.get(function)
    if engine is Engine.NUMPY or name is None:
        return None
    compiled = _compiled_module(name)
    if compiled is None or not compiled.can_compile(stepper):
        return None

    # Seconds pass here: while machine code is loaded, and ten while it is compiled.
    if compiled.prepare(name, may_compile=engine is Engine.COMPILED) is None:
        return None
    return compiled


def read_blocks(
    stepper: CharacterModel, blocks: Sequence[Ids], primed: PrimedState | None = None
) -> Iterator[PrimedState]:
    """Read the blocks of a text, from the initial state or after `primed`, and yield what follows
    each of them.

    In blocks, because Ctrl-C is handled only between two calls of compiled code, which lets no
    other thread run.
    """
    logits, state = primed or unprimed(stepper)
    num_chars = sum(map(len, blocks))
    compiled = compiled_loop(stepper, choose_engine(num_chars), function="read")
    if compiled is None:
        for block in blocks:
            logits, state = stepper.read(block, state)
            yield PrimedState(logits, state)
        return

    # The loop changes logits and state in place, and the caller may keep those of each block.
    weights = compiled.pack(stepper)
    scratch = compiled.make_scratch(weights, 1)
    for block in blocks:
        logits = logits.copy()
        vectors = state.vectors.copy()
        compiled.LOOPS["read"](weights, block, vectors, logits, scratch)
        state = RecurrentState(vectors)
        yield PrimedState(logits, state)


def unprimed(stepper: CharacterModel) -> PrimedState:
    """Return what precedes a text, of whose first character nothing is predicted."""
    nothing = np.zeros((1, stepper.vocab_size), np.float32)
    return PrimedState(nothing, stepper.initial_state(1))


def prime_model(stepper: CharacterModel, prime: Ids) -> PrimedState:
    """Read the ids (N,) of a prime, N >= 1, from the initial state."""
    num_blocks = math.ceil(len(prime) / LAST_BLOCK)
    blocks = np.array_split(prime.astype(np.int64), num_blocks)
    results = read_blocks(stepper, blocks)

    # A task that is not shown takes the steps of a short prime.
    reading: Any = nullcontext(Task("reading"))
    if len(prime) > SLOW_PRIME:
        reading = task("reading", total=len(prime))
    with reading as advance:
        for block in blocks:
            primed = next(results)
            advance(len(block))
    return primed


NUM_SEEDS = 1 << 32
"""Seeds that a user counts with. Larger numbers name the texts of one call but the first; JSON
keeps them exactly."""


def seed_of_text(seed: int, index: int) -> int:
    """Return the seed that draws text `index` of several alone: seed + index * 2^32, which
    `generator_of` takes apart again."""
    return seed + index * NUM_SEEDS


def generator_of(seed: int) -> np.random.Generator:
    """Return the random generator of one text. `seed` may be that of `seed_of_text`.

    The texts of one seed have the independent streams of NumPy's SeedSequence, so that text i is
    the same however many there are.
    """
    # Text 0 has no key: it is what its seed draws without any other text.
    index, first_seed = divmod(seed, NUM_SEEDS)
    spawn_key = (index,) if index > 0 else ()
    sequence = np.random.SeedSequence(first_seed, spawn_key=spawn_key)
    return np.random.Generator(np.random.PCG64(sequence))


def draw(weights: CharWeights, uniform: float) -> int:
    """Draw one id by inverting the running sum of the weights at a uniform number in [0, 1)."""
    target = uniform * weights.total
    drawn = int(np.searchsorted(np.cumsum(weights.values), target, side="right"))
    # Only by rounding it is past the last id that has a weight.
    return min(drawn, int(np.flatnonzero(weights.values)[-1]))


@dataclass
class Streams:
    """State of B texts while they are drawn; logits and state change with every character."""

    logits: NDArray[np.floating[Any]]
    """(B, V)."""
    state: Any
    """Of B rows."""
    generators: list[np.random.Generator]
    shapings: Sequence[Shaping]
    banned: Sequence[int]
    """Ids that are never drawn."""


def sample_ids(
    stepper: CharacterModel,
    primed: PrimedState,
    shapings: Sequence[Shaping],
    seeds: Sequence[int],
    *,
    length: int,
    banned: Sequence[int] = (),
    cell: tuple[int, int] | None = None,
    ends_early: bool = False,
    pattern: Pattern | None = None,
    forbid: Forbid | None = None,
    read: Sequence[int] = (),
) -> Iterator[Block]:
    """Yield `length` characters of each of B streams, block by block, all after the same prime.

    Stream b draws with shapings[b] and one uniform number per character from
    `generator_of(seeds[b])`; ids that are `banned` are never drawn. Log-probabilities are the
    model's own, in nats, before any shaping. The values are those of `cell` (layer, unit) after
    each character, or 0. In int8 a stream has the same ids compiled or not; in fp32 too, except for
    draws within rounding (about 1e-7) of a border between two characters. With documents, what
    follows the first END of a stream is not part of its text; `ends_early` says that `length` is a
    limit, so that nothing is compiled before so many characters are drawn that it pays. Of a single
    stream, a `pattern` lets only characters follow that can lead to a match; where none does, it
    ends.
    """
    # Compiled code neither is guided nor returns the values of a cell.
    is_guided = pattern is not None or forbid is not None
    num_chars = length * len(seeds)
    if is_guided or cell is not None:
        num_chars = 0
    rows = TextRows(
        stepper=stepper,
        primed=primed,
        shapings=shapings,
        seeds=seeds,
        num_chars=num_chars,
        banned=banned,
        cell=cell,
        ends_early=ends_early,
    )
    if is_guided:
        yield from _guided_blocks(
            stepper, rows.streams, length=length, pattern=pattern, forbid=forbid, text=[*read]
        )
        return
    size = FIRST_BLOCK
    while length > 0:
        block = rows.draw(min(size, length))
        yield block
        length -= block.ids.shape[1]
        size = min(2 * size, LAST_BLOCK)


def _guided_blocks(
    stepper: CharacterModel,
    streams: Streams,
    length: int,
    pattern: Pattern | None,
    forbid: Forbid | None,
    text: list[int],
) -> Iterator[Block]:
    """Draw at most `length` characters in the only stream, one per block, so that they match and
    none is forbidden."""
    if pattern is not None:
        matched: State = pattern.start
    for left in range(length, 0, -1):
        allowed = streams.logits.copy()
        allowed[:, list(streams.banned)] = -np.inf
        # A character after which more are missing than are left leads to no match.
        if pattern is not None:
            allowed[:, pattern.missing_after(matched) >= left] = -np.inf
        if forbid is not None:
            allowed[:, forbid(text)] = -np.inf
        if np.isneginf(allowed).all():
            return

        block = _draw_block(stepper, streams, allowed=allowed)
        text.append(int(block.ids[0, 0]))
        if pattern is not None:
            matched = pattern.follow(matched, text[-1])
        yield block


def _draw_block(
    stepper: CharacterModel,
    streams: Streams,
    allowed: NDArray[np.floating[Any]],
    cell: tuple[int, int] | None = None,
) -> Block:
    """Draw the next character of each stream from logits (B, V), and let the model read them."""
    # Each stream has its own options and random numbers, so that it is the same among others.
    drawn = []
    for row, shaping, generator in zip(allowed, streams.shapings, streams.generators, strict=True):
        weights = char_weights(row, shaping, banned=streams.banned)
        drawn.append(draw(weights, generator.random()))
    ids = np.array(drawn)

    # The model's own probabilities, not those of the shaped distribution.
    logprobs = log_softmax(streams.logits)[np.arange(len(ids)), ids, None]
    streams.logits, streams.state = stepper.step(ids, streams.state)

    values = np.zeros((len(ids), 1), np.float32)
    if cell is not None:
        layer, unit = cell
        values = stepper.values(streams.state)[layer, :, unit, None]
    return Block(ids=ids[:, None], logprobs=logprobs, values=values)


class TextRows:
    """B texts that are drawn side by side, and others in their place when they have ended.

    The options are those of `sample_ids`; a text has the same ids in any row.
    """

    def __init__(
        self,
        stepper: CharacterModel,
        primed: PrimedState,
        shapings: Sequence[Shaping],
        seeds: Sequence[int],
        *,
        num_chars: int,
        banned: Sequence[int] = (),
        cell: tuple[int, int] | None = None,
        ends_early: bool = False,
    ) -> None:
        """Begin a text in each row; `num_chars` is how many characters all texts have at most."""
        self._stepper = stepper
        self._primed = primed
        # All begin with the state after the prime, which was read once.
        self.streams = Streams(
            logits=np.repeat(primed.logits, len(seeds), axis=0),
            state=primed.state.map(partial(np.repeat, repeats=len(seeds), axis=-2)),
            generators=[generator_of(seed) for seed in seeds],
            shapings=shapings,
            banned=banned,
        )
        self._cell = cell
        self._num_left = num_chars
        self._compiled: Any = None

        # The first characters appear before the module is loaded, which takes half a second.
        first = num_chars - BEFORE_LOADING
        if _compiled_module.cache_info().currsize > 0:
            first = num_chars
        # Texts that end early are compiled only after as many characters as pay for it. Each engine
        # is tried when so many are left.
        engine = choose_engine(num_chars)
        self._engines: list[tuple[int, Engine]] = []
        if engine is Engine.COMPILED and ends_early:
            self._engines = [(first, Engine.LOADED), (num_chars - UNCACHED_FROM, engine)]
        elif engine is not Engine.NUMPY:
            self._engines = [(first, engine)]

    def draw(self, num_chars: int) -> Block:
        """Draw the next characters of all texts: `num_chars`, or one if NumPy draws them."""
        while self._engines and self._num_left <= self._engines[0][0]:
            _, engine = self._engines.pop(0)
            compiled = compiled_loop(self._stepper, engine)
            if compiled is not None:
                self._compiled = compiled.CompiledRows(self._stepper, self.streams)
                self._engines = []

        if self._compiled is None:
            block = _draw_block(
                self._stepper, self.streams, allowed=self.streams.logits, cell=self._cell
            )
        else:
            block = self._compiled.draw(num_chars)
        self._num_left -= block.ids.size
        return block

    def begin(self, seeds: Mapping[int, int]) -> None:
        """Begin other texts, with the same shaping, in some rows: the seed of each by its row."""
        is_begun = np.zeros(len(self.streams.generators), np.bool_)
        for row, seed in seeds.items():
            is_begun[row] = True
            self.streams.generators[row] = generator_of(seed)
        if self._compiled is not None:
            self._compiled.begin(is_begun, self._primed)
            return

        mask = is_begun[:, None]
        streams = self.streams
        streams.logits = np.where(mask, self._primed.logits, streams.logits)
        streams.state = streams.state.map(
            lambda old, new: np.where(mask, new, old), self._primed.state
        )


def start_ids(vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the prime that stands for an empty one: a newline, or the first character if there is
    no newline.

    With documents it is their END, `end_id`, after which one begins.
    """
    if end_id is not None:
        return np.array([end_id], np.uint16)
    if vocab.kind == "byte" or not vocab.unknown_characters("\n"):
        return vocab.encode("\n")
    # Id 0 is no character if it is the unknown symbol.
    first = 1 if vocab.has_unknown_symbol else 0
    return np.array([first], np.uint16)


def opening_ids(
    stepper: CharacterModel, vocab: Vocab, end_id: int | None = None
) -> NDArray[np.uint16]:
    """Return the ids (N,) that are read before a text without a prime, so that it begins as texts
    begin.

    Those of `start_ids`; of a model that expects a newline after a full stop, that first, and of
    one that expects more newlines after one, as many. The model
    says itself what its text has, so that a file of it is enough; `stepper` has no clamps.
    """
    start = start_ids(vocab, end_id)
    if end_id is not None or vocab.decode(start) != "\n":
        return start

    def read(ids: Ids, state: Any = None) -> tuple[bool, Any]:
        """Return whether the model then expects a newline, and its state."""
        logits, state = stepper.read(ids, state)
        return log_softmax(logits)[0, start[0]] >= math.log(NEWLINE_SHARE), state

    # In wrapped lines blank lines alone are not enough: from its initial state a model of War and
    # Peace goes on in mid-sentence after two newlines (74 %), but not if a sentence ended (1 %).
    ids = start
    state = None
    if not vocab.unknown_characters("."):
        sentence_end = vocab.encode(".")
        is_expected, after_sentence = read(sentence_end)
        if is_expected:
            ids = np.concatenate((sentence_end, start))
            state = after_sentence

    # More newlines as far as they are expected: untrained, a model of few characters always does.
    for _ in range(MOST_NEWLINES - 1):
        is_expected, state = read(start, state)
        if not is_expected:
            break
        ids = np.concatenate((ids, start))
    return ids


def undrawable_ids(vocab: Vocab, end_id: int | None = None) -> tuple[int, ...]:
    """Return the ids of no character, which are never drawn: the unknown symbol, and END where it
    ends no document.

    A model without documents (`end_id` None) has END in its alphabet if it started from one with
    documents.
    """
    # Every byte can be drawn.
    if vocab.kind == "byte":
        return ()
    ids = []
    if vocab.has_unknown_symbol:
        ids.append(0)
    if end_id is None and END in vocab.characters:
        ids.append(vocab.characters.index(END))
    return tuple(ids)
