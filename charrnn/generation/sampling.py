"""Draw characters one after another, in one text or in several texts side by side.

`write_texts` is the loop; what it calls stands around it. `writing` has the texts, which decode
what is drawn.

Shapes: B rows, one for each text, N characters, V vocabulary; state as in `model.stepper`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import Enum, auto
from functools import cache
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import (
    CharWeights,
    char_weights,
    log_softmax,
)
from charrnn.generation.patterns import Guide
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.writing import DrawnText
from charrnn.model.stepper import Stepper
from charrnn.system.arrays import Float32Array
from charrnn.system.process import check_settings_of_numba
from charrnn.system.progress import Task, task

if TYPE_CHECKING:
    from charrnn.compiled.sampling import NetworkRows

Ids = NDArray[np.integer]

COMPILED_FROM = 2_000
"""Number of characters from which loading the compiled loop (0.2 to 0.5 seconds) saves time."""
UNCACHED_FROM = 20_000
"""Number of characters from which compiling the loop, once on a machine, saves time.

Compiling takes 8.5 seconds of one core. NumPy takes 0.55 milliseconds for a character of `prose`
in one text, so that 16,000 characters take as long, and 0.12 to 0.18 milliseconds beside other
texts. (AMD EPYC, 2026-11-29)
"""
FIRST_BLOCK, LAST_BLOCK = 32, 1024
"""Sizes of the first and the largest block of the compiled loop: small at first, so that text
appears soon."""
EARLY_BLOCK = 8
"""Characters of a block of texts that end early. It is small, because characters that are drawn
after the end of a text are lost."""
SLOW_PRIME = 20_000
"""The length from which reading a prime is reported as a task: it takes seconds without numba."""
LONG_TEXT = 10_000
"""The number of characters from which writing is reported: it may take a second or more."""
BEFORE_LOADING = 16
"""Characters that NumPy draws before the compiled loop is loaded, so that the first text appears at
once."""


class Block(NamedTuple):
    """Consecutive characters of every row."""

    ids: NDArray[np.int64]
    """(B, N)."""
    logprobs: NDArray[np.float64]
    """(B, N), in nats."""
    values: NDArray[np.float32]
    """The values (B, N) of the cell that is shown; 0 without a cell."""


class PrimedState(NamedTuple):
    """The prediction of a model after a prime, and its state."""

    logits: NDArray[np.floating]
    """(1, V)."""
    state: Float32Array
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
def _compiled_module() -> ModuleType | None:
    """Import the module with the compiled loops; None if numba is missing."""
    check_settings_of_numba()
    with suppress(ImportError):
        # Importing numba takes a quarter of a second, which a short text does not wait for.
        from charrnn.compiled import sampling

        return sampling
    return None


def compiled_loop(stepper: Stepper, engine: Engine, function: str = "write") -> ModuleType | None:
    """Return the module with the compiled `function` (`write`, `read`), ready for this
    model; None if NumPy computes instead."""
    if engine is Engine.NUMPY:
        return None
    compiled = _compiled_module()
    if compiled is None or not compiled.can_compile(stepper):
        return None

    # Loading machine code takes up to a second, compiling it takes ten.
    if compiled.prepare(function, may_compile=engine is Engine.COMPILED) is None:
        return None
    return compiled


def prime_model(stepper: Stepper, prime: Ids) -> PrimedState:
    """Read the ids (N,) of a prime, N >= 1, from the initial state.

    They are read in blocks, because Ctrl-C is handled only between two calls of compiled code,
    during which no other thread runs.
    """
    num_blocks = math.ceil(len(prime) / LAST_BLOCK)
    blocks = np.array_split(prime.astype(np.int64), num_blocks)
    logits: NDArray[np.floating] = np.zeros((1, stepper.vocab_size), np.float32)
    state = stepper.initial_state(1)
    compiled = compiled_loop(stepper, choose_engine(len(prime)), function="read")
    if compiled is not None:
        weights = compiled.pack(stepper)
        scratch = compiled.make_scratch(weights, 1)

    with reported("reading", total=len(prime), least=SLOW_PRIME) as advance:
        for block in blocks:
            if compiled is None:
                logits, state = stepper.read(block, state)
            else:
                # The compiled loop changes logits and state in place.
                compiled.LOOPS["read"](weights, block, state, logits, scratch)
            advance(len(block))
    return PrimedState(logits, state)


def reported(label: str, total: int, least: int) -> AbstractContextManager[Task]:
    """Return a report of work on `total` characters. Nothing shows less than `least` of them."""
    if total <= least:
        return nullcontext(Task(label))
    return task(label, total=total)


NUM_SEEDS = 1 << 32
"""The seeds of users are below this number. Larger seeds stand for the second and later texts of a
call; JSON keeps them exactly."""


def seed_of_text(seed: int, index: int) -> int:
    """Return the seed that draws text `index` of several texts alone: seed + index * 2^32, which
    `generator_of` takes apart again."""
    return seed + index * NUM_SEEDS


def place_of(seed: int | None) -> int:
    """Return the index of the text that a result of `seed_of_text` draws."""
    return (seed or 0) // NUM_SEEDS


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


class Beginning(NamedTuple):
    """What texts that are drawn together have in common before their first character."""

    stepper: Stepper
    primed: PrimedState
    banned: Sequence[int] = ()
    """Ids that are never drawn."""
    guide: Guide | None = None
    """Forbids characters of the only text; None forbids nothing."""
    ends_early: bool = False
    """Whether most texts end before their length, as documents do."""


def write_texts(
    beginning: Beginning,
    options: SampleOptions,
    texts: Iterable[DrawnText],
    *,
    num_chars: int,
    num_rows: int = 1,
) -> Iterator[DrawnText]:
    """Draw `texts`, each of which has at least one character and all of which have at most
    `num_chars` together, and yield each text whenever it has grown.

    `num_rows` texts are drawn side by side (`texts` must have at least as many), and where one has
    ended, the next one begins. A text has a uniform random number for each character, from
    `generator_of(text.seed)`: it is the same in every row, whatever is drawn beside it. In int8 it
    is the same compiled or not; in fp32 too, except for draws within rounding (about 1e-7) of a
    border between two characters.
    """
    # Begin. Every row starts with the logits and the state after the prime, which was read before.
    logits = np.repeat(beginning.primed.logits, num_rows, axis=0)
    state = np.repeat(beginning.primed.state, num_rows, axis=-2)
    waiting = iter(texts)
    in_rows = dict(enumerate(islice(waiting, num_rows)))
    generators = [generator_of(text.seed) for text in in_rows.values()]

    engine = Engine.NUMPY
    compiled: NetworkRows | None = None
    block_sizes = _block_sizes(beginning, options, num_rows=num_rows)
    num_drawn = 0
    with reported("writing", total=num_chars, least=LONG_TEXT) as advance:
        while in_rows:
            num_left = max(text.num_left for text in in_rows.values())

            # Compiled code takes over from NumPy where it saves time. The search for it is slow.
            faster = _next_engine(beginning, options, num_chars=num_chars, num_drawn=num_drawn)
            if faster is not engine:
                engine = faster
                compiled = _compiled_rows(
                    beginning, options=options, num_rows=num_rows, engine=engine
                )
            if compiled is None:
                drawn = _draw_step(
                    beginning,
                    options,
                    logits=logits,
                    state=state,
                    generators=generators,
                    num_left=num_left,
                )
                if drawn is None:
                    in_rows[0].end()
                    yield in_rows[0]
                    return
                block, logits, state = drawn
            else:
                # Compiled code takes the same steps, for a block of characters at once.
                size = min(next(block_sizes), num_left)
                numbers = np.stack([generator.random(size) for generator in generators])
                columns, logits, state = compiled.draw(logits, state=state, uniforms=numbers)
                block = Block(*columns, values=np.zeros(numbers.shape, np.float32))
            # A row without a text is drawn on, in vain, as long as other rows have texts.
            num_drawn += block.ids.size
            advance(block.ids.size)

            # Decode. Each text takes its row of the block, up to its end.
            for row, text in in_rows.items():
                text.add(
                    block.ids[row].tolist(),
                    logprobs=block.logprobs[row].tolist(),
                    values=block.values[row].tolist(),
                )
                yield text

            # Where a text has ended, the next one begins after the prime.
            for row in _replace_ended(in_rows, waiting):
                generators[row] = generator_of(in_rows[row].seed)
                logits[row] = beginning.primed.logits[0]
                state = state.copy()
                state[..., row, :] = beginning.primed.state[..., 0, :]


def _draw_step(
    beginning: Beginning,
    options: SampleOptions,
    *,
    logits: NDArray[np.floating],
    state: Float32Array,
    generators: Sequence[np.random.Generator],
    num_left: int,
) -> tuple[Block, NDArray[np.floating], Float32Array] | None:
    """Draw the next character of every row in NumPy; return it with the logits and the state after
    it, None if no character may follow."""
    # Distribution. A guide forbids characters of its only text.
    allowed = logits
    if beginning.guide is not None:
        allowed = beginning.guide.allow(logits, num_left=num_left)
        if np.isneginf(allowed).all():
            return None
    distributions = [char_weights(row, options, banned=beginning.banned) for row in allowed]

    # Draw. The log-probabilities are the model's own, before the options shape them.
    uniforms = [generator.random() for generator in generators]
    ids = np.array(list(map(draw, distributions, uniforms)))
    logprobs = log_softmax(logits)[np.arange(len(ids)), ids]
    if beginning.guide is not None:
        beginning.guide.add(int(ids[0]))

    # Read. The model reads the characters, and predicts the next ones.
    logits, state = beginning.stepper.step(ids, state)
    values = np.zeros(len(ids), np.float32)
    if options.cell is not None:
        layer, unit = options.cell
        values = beginning.stepper.values(state)[layer, :, unit]
    block = Block(ids[:, None], logprobs=logprobs[:, None], values=values[:, None])
    return block, logits, state


def _replace_ended(in_rows: dict[int, DrawnText], waiting: Iterator[DrawnText]) -> list[int]:
    """Replace each text that has ended by the next one, as long as texts are waiting. Return the
    rows of the new texts."""
    free = [row for row, text in in_rows.items() if text.is_done]
    for row in free:
        del in_rows[row]
    begun = dict(zip(free, waiting, strict=False))
    in_rows |= begun
    return list(begun)


def _block_sizes(beginning: Beginning, options: SampleOptions, num_rows: int) -> Iterator[int]:
    """Yield the sizes of the blocks that compiled code draws."""
    size = FIRST_BLOCK
    while True:
        # Beside other texts, what follows the end of a text is drawn in vain.
        if num_rows > 1 and (beginning.ends_early or options.stops):
            size = EARLY_BLOCK
        yield size
        size = min(2 * size, LAST_BLOCK)


def _next_engine(
    beginning: Beginning, options: SampleOptions, num_chars: int, num_drawn: int
) -> Engine:
    """Return the engine for texts of at most `num_chars` characters after `num_drawn` of them."""
    # Compiled code follows no guide and returns no values of a cell.
    if beginning.guide is not None or options.cell is not None:
        return Engine.NUMPY

    # The first characters appear before the module is loaded, which takes half a second.
    is_loaded = _compiled_module.cache_info().currsize > 0
    if num_drawn < BEFORE_LOADING and not is_loaded:
        return Engine.NUMPY

    # For texts that end early, the loop is compiled only after enough characters to save time.
    if beginning.ends_early and num_drawn < UNCACHED_FROM:
        num_chars = min(num_chars, UNCACHED_FROM - 1)
    return choose_engine(num_chars)


def _compiled_rows(
    beginning: Beginning, options: SampleOptions, num_rows: int, engine: Engine
) -> "NetworkRows | None":
    """Return the rows of an engine; None if NumPy draws the texts."""
    compiled = compiled_loop(beginning.stepper, engine)
    if compiled is None:
        return None
    stepper = beginning.stepper
    shaping = compiled.shaping_numbers(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        banned=beginning.banned,
        vocab_size=stepper.vocab_size,
    )
    rows: NetworkRows = compiled.NetworkRows(stepper, shaping=shaping, num_rows=num_rows)
    return rows
