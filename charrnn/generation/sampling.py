"""Draws characters one after another, in one text or in several at once.

Shapes: B streams, N characters, V vocabulary; state as in `model.stepper`. Works on ids; `writing`
decodes them.
"""

import importlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import Float64Array, char_weights, log_softmax
from charrnn.generation.patterns import Pattern, State
from charrnn.generation.sample_options import Shaping
from charrnn.hooks import extensions
from charrnn.model.stepper import CharacterModel, Stepper
from charrnn.system.process import num_cores
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
SLOW_PRIME = 20_000
"""Characters of a prime from which its reading is reported as a task: long enough to take seconds
without numba."""
BEFORE_LOADING = 16
"""Characters that NumPy draws before the compiled loop is loaded, so that the first text appears at
once."""


class Block(NamedTuple):
    """Consecutive characters of every stream: ids (B, N), log-probabilities (B, N), values of the
    shown cell (B, N)."""

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    values: NDArray[np.float32]


class PrimedState(NamedTuple):
    """What a model returns for a prime: logits (1, V) and state (L, S, 1, H)."""

    logits: NDArray[np.floating[Any]]
    state: NDArray[np.float32]


@cache
def _compiled_module(loop: str) -> ModuleType | None:
    """Import the module with a compiled loop that a room offers; None if there is none, or if numba
    is missing."""
    offers = extensions.offered_by_rooms(extensions.CompiledSampling)
    with suppress(ImportError):
        return next(
            (importlib.import_module(one.module) for one in offers if loop in one.loops), None
        )
    return None


def compiled_loop(
    stepper: CharacterModel, num_chars: int, loop: str = "write"
) -> ModuleType | None:
    """Return the module of the compiled loops if it can run this model and saves time for
    `num_chars`, else None."""
    if num_chars < COMPILED_FROM or not isinstance(stepper, Stepper):
        return None
    compiled = _compiled_module(loop)
    if compiled is None or not compiled.can_compile(stepper):
        return None
    return compiled if compiled.prepare(loop, may_compile=num_chars >= UNCACHED_FROM) else None


def read_blocks(
    stepper: CharacterModel, blocks: Sequence[Ids], primed: PrimedState | None = None
) -> Iterator[PrimedState]:
    """Read the blocks of a text, from the initial state or after `primed`, and yield what follows
    each of them.

    In blocks, because Ctrl-C is handled only between two calls of compiled code, which lets no
    other thread run.
    """
    logits, state = primed or PrimedState(
        np.zeros((1, stepper.vocab_size), np.float32), stepper.initial_state(1)
    )
    compiled = compiled_loop(stepper, sum(map(len, blocks)), "read")
    weights = compiled and compiled.pack(stepper)
    scratch = compiled and compiled.make_scratch(weights, 1)
    for block in blocks:
        if compiled is None:
            logits, state = stepper.read(block, state)
        else:
            logits, state = logits.copy(), state.copy()
            compiled.LOOPS["read"](weights, block, state, logits, scratch)
        yield PrimedState(logits, state)


def prime_model(stepper: CharacterModel, prime: Ids) -> PrimedState:
    """Read the ids (N,) of a prime, N >= 1, from the initial state."""
    blocks = np.array_split(prime.astype(np.int64), -(-len(prime) // LAST_BLOCK))
    results = read_blocks(stepper, blocks)
    with (
        task("reading", len(prime))
        if len(prime) > SLOW_PRIME
        else nullcontext(Task("reading")) as advance
    ):
        for block in blocks:
            primed = next(results)
            advance(len(block))
    return primed


NUM_SEEDS = 1 << 32
"""Seeds of first streams: stream i of `seed` is the first one of `seed + i * NUM_SEEDS`, which JSON
keeps exactly."""


def generator_of(seed: int) -> np.random.Generator:
    """Return the random generator of one stream. It is the same however many streams there are."""
    stream, seed = divmod(seed, NUM_SEEDS)
    sequence = (
        np.random.SeedSequence(seed, spawn_key=(stream,))
        if stream
        else np.random.SeedSequence(seed)
    )
    return np.random.Generator(np.random.PCG64(sequence))


def draw(weights: Float64Array, total: float, uniform: float) -> int:
    """Draw one id from weights (V,) of a sum by inverting their running sum at a uniform number in
    [0, 1)."""
    drawn = int(np.searchsorted(np.cumsum(weights), uniform * total, side="right"))
    # Past the end only by rounding.
    return min(drawn, int(np.flatnonzero(weights)[-1]))


def sample_ids(
    stepper: CharacterModel,
    primed: PrimedState,
    shapings: Sequence[Shaping],
    seeds: Sequence[int],
    *,
    length: int,
    max_line: int = 0,
    newline: int = -1,
    cell: tuple[int, int] | None = None,
    ends_early: bool = False,
    last_id: int = 0,
    pattern: Pattern | None = None,
) -> Iterator[Block]:
    """Yield `length` characters of each of B streams, block by block, all after the same prime.

    Stream b draws with shapings[b] and one uniform number per character from
    `generator_of(seeds[b])`. A line of `max_line` characters is ended by `newline`.
    Log-probabilities are the model's own, in nats, before any shaping. The values are those of
    `cell` (layer, unit) after each character, or 0. In int8 a stream has the same ids compiled or
    not; in fp32 too, except for draws within rounding (about 1e-7) of a border between two
    characters. With documents, what follows the first END of a stream is not part of its text;
    `ends_early` says that `length` is a limit, so that nothing is compiled before so many
    characters are drawn that it pays. `last_id` ends the prime. Of a single stream, a `pattern`
    lets only characters follow that can lead to a match; where none does, it ends.
    """
    num_streams = len(seeds)
    streams = Streams(
        np.repeat(primed.logits, num_streams, axis=0),
        np.repeat(primed.state, num_streams, axis=2),
        np.zeros(num_streams, np.int64),
        [generator_of(seed) for seed in seeds],
        shapings,
        np.full(num_streams, last_id),
        pattern,
        pattern.start if pattern else frozenset(),
    )
    # Compiled code returns no values of a cell, and draws all characters alike.
    is_compiled = cell is None and pattern is None and shapings[0].inner_temperature is None
    drawn, num_chars = 0, length * num_streams * is_compiled
    if num_chars >= COMPILED_FROM and not _compiled_module.cache_info().currsize:
        drawn = min(length, BEFORE_LOADING // num_streams)
        yield from _numpy_blocks(stepper, streams, drawn, max_line, newline, cell)
    is_postponed = ends_early and num_chars >= UNCACHED_FROM > 0
    compiled = compiled_loop(stepper, UNCACHED_FROM - 1 if is_postponed else num_chars)
    if compiled is None and is_postponed:
        begin = min(length - drawn, UNCACHED_FROM // num_streams)
        yield from _numpy_blocks(stepper, streams, begin, max_line, newline, cell)
        drawn += begin
        compiled = compiled_loop(stepper, (length - drawn) * num_streams)
    if compiled is None:
        yield from _numpy_blocks(stepper, streams, length - drawn, max_line, newline, cell)
    else:
        assert isinstance(stepper, Stepper), "only that is compiled"
        yield from _compiled_blocks(compiled, stepper, streams, length - drawn, max_line, newline)


@dataclass
class Streams:
    """State of B texts while they are drawn; logits, state, columns and last ids change with every
    character."""

    logits: NDArray[np.floating[Any]]
    """(B, V)."""
    state: NDArray[np.float32]
    """(L, S, B, H)."""
    columns: NDArray[np.int64]
    """(B,) number of characters since the last newline."""
    generators: list[np.random.Generator]
    shapings: Sequence[Shaping]
    last_ids: NDArray[np.int64]
    """(B,)."""
    pattern: Pattern | None
    """What the only stream matches."""
    matched: State


def _numpy_blocks(
    stepper: CharacterModel,
    streams: Streams,
    length: int,
    max_line: int,
    newline: int,
    cell: tuple[int, int] | None,
) -> Iterator[Block]:
    """Draw `length` characters in each stream, one per block; fewer of a pattern that nothing can
    follow."""
    for left in range(length, 0, -1):
        logits = allowed = streams.logits
        if streams.pattern:
            allowed = np.where(
                streams.pattern.missing_after(streams.matched) < left, logits, -np.inf
            )
            if np.isneginf(allowed).all():
                return
        rows = zip(
            allowed, streams.shapings, streams.last_ids.tolist(), streams.generators, strict=True
        )
        ids = np.array(
            [
                draw(*char_weights(row, one.after(last)), random.random())
                for row, one, last, random in rows
            ]
        )
        if max_line:
            ids[streams.columns >= max_line] = newline
        streams.last_ids = ids
        if streams.pattern:
            streams.matched = streams.pattern.follow(streams.matched, int(ids[0]))
        streams.columns = np.where(ids == newline, 0, streams.columns + 1)
        logprobs = log_softmax(logits)[np.arange(len(ids)), ids, None]
        streams.logits, streams.state = stepper.step(ids, streams.state)
        shown = np.zeros((len(ids), 1), np.float32)
        if cell:
            assert isinstance(stepper, Stepper), "a mixture has no cells of its own"
            shown = stepper.values(streams.state)[cell[0], :, cell[1], None]
        yield Block(ids[:, None], logprobs, shown)


def _limits(shapings: Sequence[Shaping], vocab_size: int) -> dict[str, NDArray[Any]]:
    """Return the fields of `compiled.Drawing` for the shaping of each stream; all have the same
    banned ids."""
    is_banned = np.zeros(vocab_size, np.bool_)
    is_banned[list(shapings[0].banned)] = True
    return {
        "temperature": np.array([shaping.temperature for shaping in shapings], np.float64),
        "top_k": np.array([min(shaping.top_k or vocab_size, vocab_size) for shaping in shapings]),
        "top_p": np.array(
            [2.0 if shaping.top_p is None else shaping.top_p for shaping in shapings]
        ),
        "min_p": np.array([shaping.min_p or 0.0 for shaping in shapings]),
        "is_banned": is_banned,
    }


def _compiled_blocks(
    compiled: ModuleType,
    stepper: Stepper,
    streams: Streams,
    length: int,
    max_line: int,
    newline: int,
) -> Iterator[Block]:
    weights, loop = compiled.pack(stepper), compiled.LOOPS["write"]
    num_streams = len(streams.generators)
    # Streams are independent: each core draws some of them, without waiting for the others.
    groups = np.array_split(np.arange(num_streams), min(num_cores(), num_streams))
    places = [
        (
            streams.state.take(group, axis=2),
            streams.logits.take(group, axis=0),
            streams.columns.take(group),
        )
        for group in groups
    ]
    scratches = [compiled.make_scratch(weights, len(group)) for group in groups]
    limits = [
        _limits([streams.shapings[stream] for stream in group], stepper.vocab_size)
        for group in groups
    ]
    drawings = [compiled.Drawing(**limit, max_line=max_line, newline=newline) for limit in limits]

    def write(index: int, uniforms: NDArray[np.float64]) -> Block:
        group = groups[index]
        shape = (len(group), uniforms.shape[1])
        block = Block(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.float32))
        loop(
            weights,
            places[index],
            uniforms[group],
            drawings[index],
            scratches[index],
            block.ids,
            block.logprobs,
        )
        return block

    written, size = 0, FIRST_BLOCK
    with ThreadPoolExecutor(len(groups)) as pool:
        while written < length:
            size = min(size, length - written)
            uniforms = np.stack([generator.random(size) for generator in streams.generators])
            blocks = list(pool.map(write, range(len(groups)), [uniforms] * len(groups)))
            yield Block(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
            written += size
            size = min(2 * size, LAST_BLOCK)


def start_ids(vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the prime that stands for an empty one: a newline, or the first character if there is
    no newline.

    With documents it is their END, `end_id`, after which one begins.
    """
    if end_id is not None:
        return np.array([end_id], np.uint16)
    if not vocab.unknown_characters("\n" if vocab.kind == "char" else b"\n"):
        return vocab.encode("\n")
    return np.full(1, vocab.has_unknown_symbol, np.uint16)


def undrawable_ids(vocab: Vocab, end_id: int | None = None) -> tuple[int, ...]:
    """Return the ids of no character, which are never drawn: the unknown symbol, and END where it
    ends no document.

    A model without documents (`end_id` None) has END in its alphabet if it started from one with
    documents.
    """
    if vocab.kind == "byte":
        return ()
    unknown = (0,) if vocab.has_unknown_symbol else ()
    return (
        *unknown,
        *(
            id
            for id, character in enumerate(vocab.characters)
            if character == END and end_id is None
        ),
    )
