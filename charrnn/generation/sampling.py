"""Draw characters one after another, in one text or in several texts at once.

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

Ids = NDArray[np.integer]

COMPILED_FROM = 2_000
"""Number of characters from which loading the compiled loop (0.2 to 0.5 seconds) saves time."""
UNCACHED_FROM = 100_000
"""Number of characters from which compiling the loop (about 10 seconds, once on a machine) saves
time."""
FIRST_BLOCK, LAST_BLOCK = 32, 1024
"""Sizes of the first and the largest block of the compiled loop: small at first, so that text
appears soon."""
EARLY_BLOCK = 8
"""Characters of a block of texts that end early. It is small, because characters that are drawn
after the end of a text are lost."""
SLOW_PRIME = 20_000
"""The length from which reading a prime is reported as a task: it takes seconds without numba."""
BEFORE_LOADING = 16
"""Characters that NumPy draws before the compiled loop is loaded, so that the first text appears at
once."""


NEWLINE_SHARE = 0.02
"""Probability from which a model expects a newline. In War and Peace, the probability of a newline
is 0.86 after the newline that ends a sentence, and 0.01 after the blank line."""
MAX_NEWLINES = 3
"""The largest number of newlines that are read before a text without a prime: Python has two blank
lines before a class."""


class Block(NamedTuple):
    """Consecutive characters of every stream."""

    ids: NDArray[np.int64]
    """(B, N)."""
    logprobs: NDArray[np.float64]
    """(B, N), in nats."""
    values: NDArray[np.float32]
    """The values (B, N) of the cell that is shown."""


class PrimedState(NamedTuple):
    """The prediction of a model after a prime, and its state."""

    logits: NDArray[np.floating]
    """(1, V)."""
    state: Any
    """The state of one row."""


class Engine(Enum):
    """The code that computes the characters of a text."""

    NUMPY = auto()
    """NumPy."""
    LOADED = auto()
    """Compiled code if this machine has it in its cache, else NumPy."""
    COMPILED = auto()
    """Compiled code, which is compiled now if it is not in the cache."""


def choose_engine(num_chars: int) -> Engine:
    """Return the engine that takes the least time for a number of characters."""
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
        module: ModuleType | None = find_named(compiled_loops, function)
        return module
    return None


def compiled_loop(
    stepper: CharacterModel, engine: Engine, function: str = "write"
) -> ModuleType | None:
    """Return the module with the compiled `function` (`write`, `read`), ready for this
    model; None if NumPy computes instead."""
    # Mixtures and some cell types have no compiled loop.
    name = stepper.compiled_loops.get(function)
    if engine is Engine.NUMPY or name is None:
        return None
    compiled = _compiled_module(name)
    if compiled is None or not compiled.can_compile(stepper):
        return None

    # Loading machine code takes up to a second, compiling it takes ten.
    if compiled.prepare(name, may_compile=engine is Engine.COMPILED) is None:
        return None
    return compiled


def read_blocks(
    stepper: CharacterModel, blocks: Sequence[Ids], primed: PrimedState | None = None
) -> Iterator[PrimedState]:
    """Read the blocks of a text, from the initial state or after `primed`, and yield the logits and
    the state after each block.

    A text is read in blocks, because Ctrl-C is handled only between two calls of compiled code,
    during which no other thread runs.
    """
    logits, state = primed or unprimed(stepper)
    num_chars = sum(map(len, blocks))
    compiled = compiled_loop(stepper, choose_engine(num_chars), function="read")
    if compiled is None:
        for block in blocks:
            logits, state = stepper.read(block, state)
            yield PrimedState(logits, state)
        return

    # The loop changes logits and state in place, and the caller may keep them after each block.
    weights = compiled.pack(stepper)
    scratch = compiled.make_scratch(weights, 1)
    for block in blocks:
        logits = logits.copy()
        vectors = state.vectors.copy()
        compiled.LOOPS["read"](weights, block, vectors, logits, scratch)
        state = RecurrentState(vectors)
        yield PrimedState(logits, state)


def unprimed(stepper: CharacterModel) -> PrimedState:
    """Return the initial state, with logits of 0: nothing predicts the first character of a
    text."""
    logits = np.zeros((1, stepper.vocab_size), np.float32)
    return PrimedState(logits, stepper.initial_state(1))


def prime_model(stepper: CharacterModel, prime: Ids) -> PrimedState:
    """Read the ids (N,) of a prime, N >= 1, from the initial state."""
    num_blocks = math.ceil(len(prime) / LAST_BLOCK)
    blocks = np.array_split(prime.astype(np.int64), num_blocks)
    results = read_blocks(stepper, blocks)

    # The progress of a short prime goes to a task that nothing shows.
    reading: Any = nullcontext(Task("reading"))
    if len(prime) > SLOW_PRIME:
        reading = task("reading", total=len(prime))
    with reading as advance:
        for block in blocks:
            primed = next(results)
            advance(len(block))
    return primed


NUM_SEEDS = 1 << 32
"""The seeds of users are below this number. Larger seeds stand for the second and later texts of a
call; JSON keeps them exactly."""


def seed_of_text(seed: int, index: int) -> int:
    """Return the seed that draws text `index` of several texts alone: seed + index * 2^32, which
    `generator_of` takes apart again."""
    return seed + index * NUM_SEEDS


def generator_of(seed: int) -> np.random.Generator:
    """Return the random generator of a text. `seed` may be a result of `seed_of_text`.

    The texts of a seed have independent streams of NumPy's SeedSequence, so that text i does not
    depend on the number of texts.
    """
    # Text 0 has no key: it is the text that its seed draws alone.
    index, first_seed = divmod(seed, NUM_SEEDS)
    spawn_key = (index,) if index > 0 else ()
    sequence = np.random.SeedSequence(first_seed, spawn_key=spawn_key)
    return np.random.Generator(np.random.PCG64(sequence))


def draw(weights: CharWeights, uniform: float) -> int:
    """Draw an id by inverting the running sum of the weights at a uniform number in [0, 1)."""
    target = uniform * weights.total
    id = int(np.searchsorted(np.cumsum(weights.values), target, side="right"))
    # By a rounding error, the id may be after the last id with a weight.
    return min(id, int(np.flatnonzero(weights.values)[-1]))


@dataclass
class Streams:
    """The state of B texts while they are drawn; logits and state change with every character."""

    logits: NDArray[np.floating]
    """(B, V)."""
    state: Any
    """The state of B rows."""
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

    Stream b draws with shapings[b] and a uniform number for each character from
    `generator_of(seeds[b])`; `banned` ids are never drawn. Log-probabilities are the model's own,
    in nats, before any shaping. The values are the values of `cell` (layer, unit) after each
    character, or 0 without a cell. In int8 a stream has the same ids compiled or not; in fp32 too,
    except for draws within rounding (about 1e-7) of a border between two characters.

    In a model of documents, the characters after the first END of a stream are not part of its
    text. `ends_early` says that streams often end before `length`, so that the loop is compiled
    only after enough characters to save time. With a `pattern` there is a single stream, which has
    only characters that can lead to a match, and ends if no character can.
    """
    # Compiled code follows no pattern and returns no values of a cell.
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
    """Draw at most `length` characters in the only stream, one in each block, so that they can lead
    to a match and are not forbidden."""
    if pattern is not None:
        pattern_state: State = pattern.start
    for num_left in range(length, 0, -1):
        allowed = streams.logits.copy()
        allowed[:, list(streams.banned)] = -np.inf
        # A character leads to a match if the characters that are then missing fit into the length.
        if pattern is not None:
            allowed[:, pattern.missing_after(pattern_state) >= num_left] = -np.inf
        if forbid is not None:
            allowed[:, forbid(text)] = -np.inf
        if np.isneginf(allowed).all():
            return

        block = _draw_block(stepper, streams, allowed=allowed)
        text.append(int(block.ids[0, 0]))
        if pattern is not None:
            pattern_state = pattern.follow(pattern_state, text[-1])
        yield block


def _draw_block(
    stepper: CharacterModel,
    streams: Streams,
    allowed: NDArray[np.floating],
    cell: tuple[int, int] | None = None,
) -> Block:
    """Draw the next character of each stream from `allowed` logits (B, V), and let the model read
    it."""
    # Each stream has its own options and random numbers, so that the other streams do not matter.
    drawn_ids = []
    for row, shaping, generator in zip(allowed, streams.shapings, streams.generators, strict=True):
        weights = char_weights(row, shaping, banned=streams.banned)
        drawn_ids.append(draw(weights, generator.random()))
    ids = np.array(drawn_ids)

    # The log-probabilities are the model's own, before any shaping.
    logprobs = log_softmax(streams.logits)[np.arange(len(ids)), ids, None]
    streams.logits, streams.state = stepper.step(ids, streams.state)

    values = np.zeros((len(ids), 1), np.float32)
    if cell is not None:
        layer, unit = cell
        values = stepper.values(streams.state)[layer, :, unit, None]
    return Block(ids=ids[:, None], logprobs=logprobs, values=values)


class TextRows:
    """B texts that are drawn side by side. When a text has ended, another may take its row.

    The options are the same as in `sample_ids`; a text has the same ids in any row.
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
        """Begin a text in each row; all texts together have at most `num_chars` characters."""
        self._stepper = stepper
        self._primed = primed
        # All texts begin with the state after the prime, which was read once.
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
        load_when_left = num_chars - BEFORE_LOADING
        if _compiled_module.cache_info().currsize > 0:
            load_when_left = num_chars
        # For texts that end early, the loop is compiled only after enough characters to save time.
        # Each engine is tried when its number of characters is left.
        engine = choose_engine(num_chars)
        self._engines: list[tuple[int, Engine]] = []
        if engine is Engine.COMPILED and ends_early:
            self._engines = [(load_when_left, Engine.LOADED), (num_chars - UNCACHED_FROM, engine)]
        elif engine is not Engine.NUMPY:
            self._engines = [(load_when_left, engine)]

    def draw(self, num_chars: int) -> Block:
        """Draw the next `num_chars` characters of all texts, or only the next one if NumPy draws
        them."""
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
        """Begin other texts with the same shaping; `seeds` has the seed of each by its row."""
        is_begun = np.zeros(len(self.streams.generators), np.bool_)
        for row, seed in seeds.items():
            is_begun[row] = True
            self.streams.generators[row] = generator_of(seed)
        if self._compiled is not None:
            self._compiled.begin(is_begun, self._primed)
            return

        # The other rows keep their texts: they are drawn in the same matrix products.
        mask = is_begun[:, None]
        streams = self.streams
        streams.logits = np.where(mask, self._primed.logits, streams.logits)
        streams.state = streams.state.map(
            lambda old, new: np.where(mask, new, old), self._primed.state
        )


def start_ids(vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the ids that replace an empty prime: a newline, or the first character of an alphabet
    without a newline.

    In a model of documents they are END, `end_id`, after which a document begins.
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
    """Return the ids (N,) that are read before a text without a prime, so that it begins like the
    training text.

    These are the `start_ids`. If the model expects a newline after a full stop, a full stop comes
    before them; if it expects more newlines after a newline, as many follow. The training text is
    not needed, because the model's predictions show how its texts begin; `stepper` has no clamps.
    """
    start = start_ids(vocab, end_id)
    if end_id is not None or vocab.decode(start) != "\n":
        return start

    def read(ids: Ids, state: Any = None) -> tuple[bool, Any]:
        """Read ids; return whether the model then expects a newline, and its state."""
        logits, state = stepper.read(ids, state)
        return log_softmax(logits)[0, start[0]] >= math.log(NEWLINE_SHARE), state

    # Blank lines alone are not enough if the lines of the training text are wrapped: a model of War
    # and Peace goes on in mid-sentence after two newlines (74 %), but not after two newlines that
    # follow a full stop (1 %).
    ids = start
    state = None
    if not vocab.unknown_characters("."):
        sentence_end = vocab.encode(".")
        is_expected, after_sentence = read(sentence_end)
        if is_expected:
            ids = np.concatenate((sentence_end, start))
            state = after_sentence

    # More newlines as long as the model expects them. The number is limited, because an untrained
    # model with a small alphabet always expects them.
    for _ in range(MAX_NEWLINES - 1):
        is_expected, state = read(start, state)
        if not is_expected:
            break
        ids = np.concatenate((ids, start))
    return ids


def undrawable_ids(vocab: Vocab, end_id: int | None = None) -> tuple[int, ...]:
    """Return the ids that stand for no character and are never drawn: the unknown symbol, and END
    in a model without documents.

    A model without documents (`end_id` None) has END in its alphabet if it started from a model
    with documents.
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
