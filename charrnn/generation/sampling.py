"""Characters drawn one after another, in one text or in many at once.

Shapes: B streams, N characters, V vocabulary; state as in `model.stepper`. Speaks ids only; `writing` makes text of
them.
"""

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import Floats, Shaping, log_softmax, next_char_probs
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

Ids = NDArray[np.integer[Any]]
OnCompile = Callable[[], object]

COMPILED_FROM = 2_000
"""Characters from which on loading the compiled loop (0.2 seconds) is worth it."""
UNCACHED_FROM = 100_000
"""Characters from which on compiling it first (about 10 seconds, once on a machine) is worth it."""
FIRST_BLOCK, LAST_BLOCK = 32, 1024
"""Characters that the compiled loop writes before it hands them over: few at first, so that they are seen soon."""


class Block(NamedTuple):
    """Some characters of every stream: ids (B, N), log-probabilities (B, N), values of the shown cell (B, N)."""

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    values: NDArray[np.float32]


class Reading(NamedTuple):
    """What a model knows after a prime: logits (1, V) and state (L, S, 1, H)."""

    logits: NDArray[np.float32]
    state: NDArray[np.float32]


def compiled_loop(
    stepper: Stepper, num_chars: int, loop: str = "write", on_compile: OnCompile = lambda: None
) -> ModuleType | None:
    """`generation.compiled`, if it serves this model and its `loop` is worth loading for so many characters.

    Calls `on_compile` if the loop is to be compiled first.
    """
    if num_chars < COMPILED_FROM:
        return None
    try:
        # Imported by name, because numba may be missing, or find no folder to keep its code in (a RuntimeError).
        compiled = importlib.import_module("charrnn.generation.compiled")
    except (ImportError, RuntimeError):
        return None
    if not compiled.can_compile(stepper):
        return None
    if not compiled.is_cached(getattr(compiled, f"{loop}_{stepper.precision}")):
        if num_chars < UNCACHED_FROM:
            return None
        on_compile()
    return compiled


def read_prime(
    stepper: Stepper,
    prime: Ids,
    on_compile: OnCompile = lambda: None,
    on_read: Callable[[int], object] = lambda num_chars: None,
) -> Reading:
    """Read ids (N,), N >= 1, from the state that a text starts from.

    `on_compile` as in `compiled_loop`; `on_read` is told how many characters were read since it was last called.
    """
    compiled = compiled_loop(stepper, len(prime), "read", on_compile)
    state, logits = stepper.initial_state(1), np.zeros((1, stepper.vocab_size), np.float32)
    weights = scratch = None
    if compiled is not None:
        weights = compiled.pack(stepper)
        scratch = compiled.make_scratch(weights, 1)
    # In blocks, between which Ctrl-C is heard.
    for block in np.array_split(prime.astype(np.int64), -(-len(prime) // LAST_BLOCK)):
        if compiled is None:
            logits, state = stepper.read(block, state)
        else:
            getattr(compiled, f"read_{stepper.precision}")(weights, block, state, logits, scratch)
        on_read(len(block))
    return Reading(logits, state)


def generator_of(seed: int, stream: int) -> np.random.Generator:
    """The random numbers of one stream: the same however many streams there are. Stream 0's are those of `seed`."""
    sequence = np.random.SeedSequence(seed, spawn_key=(stream,)) if stream else np.random.SeedSequence(seed)
    return np.random.Generator(np.random.PCG64(sequence))


def draw(probs: Floats, uniform: float) -> int:
    """Draw one id from probabilities (V,) by inverting their running sum at a uniform number in [0, 1)."""
    cumulative = np.cumsum(probs)
    drawn = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    # Beyond the end only where a model ran away and all is nan: training samples it before it finds that out.
    return min(drawn, int(np.flatnonzero(probs)[-1]))


def sample_ids(
    stepper: Stepper,
    reading: Reading,
    shapings: Sequence[Shaping],
    seeds: Sequence[tuple[int, int]],
    *,
    length: int,
    max_line: int = 0,
    newline: int = -1,
    cell: tuple[int, int] | None = None,
    on_compile: OnCompile = lambda: None,
) -> Iterator[Block]:
    """Yield `length` characters of each of B streams, block by block, all of them after the same reading.

    Stream b draws with shapings[b] and one uniform number per character from `generator_of(*seeds[b])`. A line of
    `max_line` characters is ended by `newline`. Log-probabilities are the model's own, in nats, before any shaping.
    The values are those of `cell` (layer, unit) after each character; 0 without one. In int8, compiled or not, the
    same ids come for the same stream; in fp32 too, but for draws that fall within rounding (some 1e-7) of a border.
    `on_compile` as in `compiled_loop`.
    """
    columns = np.zeros(len(seeds), np.int64)
    generators = [generator_of(*seed) for seed in seeds]
    compiled = compiled_loop(stepper, length * len(seeds), "write", on_compile)
    if compiled is not None:
        drawing = compiled.Drawing(**_limits(shapings, stepper.vocab_size), max_line=max_line, newline=newline)
        yield from _compiled_blocks(compiled, stepper, reading, drawing, generators, length, cell)
        return
    logits, state = (np.repeat(reading.logits, len(seeds), axis=0), np.repeat(reading.state, len(seeds), axis=2))
    for index in range(length):
        ids = np.array(
            [
                draw(next_char_probs(logits[[stream]], shaping)[0], generator.random())
                for stream, (shaping, generator) in enumerate(zip(shapings, generators, strict=True))
            ]
        )
        if max_line:
            ids[columns >= max_line] = newline
        columns = np.where(ids == newline, 0, columns + 1)
        logprobs = np.take_along_axis(log_softmax(logits), ids[:, None], axis=1)
        if index + 1 < length or cell is not None:
            logits, state = stepper.step(ids, state)
        values = stepper.values(state)[cell[0], :, cell[1], None] if cell else np.zeros((len(ids), 1), np.float32)
        yield Block(ids[:, None], logprobs, values)


def _limits(shapings: Sequence[Shaping], vocab_size: int) -> dict[str, NDArray[Any]]:
    """The fields of `compiled.Drawing` that say how each stream is shaped; all have the same banned ids."""
    is_banned = np.zeros(vocab_size, np.bool_)
    is_banned[list(shapings[0].banned)] = True
    return {
        "temperature": np.array([shaping.temperature for shaping in shapings], np.float64),
        "top_k": np.array([min(shaping.top_k or vocab_size, vocab_size) for shaping in shapings]),
        "top_p": np.array([2.0 if shaping.top_p is None else shaping.top_p for shaping in shapings]),
        "min_p": np.array([shaping.min_p or 0.0 for shaping in shapings]),
        "is_banned": is_banned,
    }


def _compiled_blocks(
    compiled: ModuleType,
    stepper: Stepper,
    reading: Reading,
    drawing: Any,
    generators: list[np.random.Generator],
    length: int,
    cell: tuple[int, int] | None,
) -> Iterator[Block]:
    weights, loop = compiled.pack(stepper), getattr(compiled, f"write_{stepper.precision}")
    num_streams = len(generators)
    # Streams know nothing of each other: each processor takes some of them, without waiting for the others.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    groups = np.array_split(np.arange(num_streams), min(cores, num_streams))
    places = [
        (
            np.repeat(reading.state, len(group), axis=2),
            np.repeat(reading.logits, len(group), axis=0),
            np.zeros(len(group), np.int64),
            compiled.make_scratch(weights, len(group)),
        )
        for group in groups
    ]

    def write(index: int, uniforms: NDArray[np.float64]) -> Block:
        group, (state, logits, columns, scratch) = groups[index], places[index]
        shape = (len(group), uniforms.shape[1])
        block = Block(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.float32))
        shaped = drawing._replace(**{name: getattr(drawing, name)[group] for name in PER_STREAM})
        shown = cell or (-1, 0)
        loop(weights, state, logits, columns, uniforms[group], shaped, scratch, *shown, *block)
        return block

    # Nothing is drawn yet, but what is not compiled is compiled now: here, where Ctrl-C is heard.
    write(0, np.zeros((num_streams, 0)))
    written, size = 0, FIRST_BLOCK
    with ThreadPoolExecutor(len(groups)) as pool:
        while written < length:
            size = min(size, length - written)
            uniforms = np.stack([generator.random(size) for generator in generators])
            blocks = list(pool.map(write, range(len(groups)), [uniforms] * len(groups)))
            yield Block(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
            written += size
            size = min(2 * size, LAST_BLOCK)


PER_STREAM = ("temperature", "top_k", "top_p", "min_p")


def start_ids(vocab: Vocab) -> NDArray[np.uint16]:
    """What a model reads when nothing else comes before its text: a newline, or else its first character."""
    newline = vocab.encode("\n")
    return newline if vocab.kind == "byte" or newline[0] != 0 else np.ones(1, np.uint16)


def unwritable_ids(vocab: Vocab) -> tuple[int, ...]:
    """Ids that spell no character, and so are never drawn: the unknown symbol."""
    return (0,) if vocab.kind == "char" else ()
