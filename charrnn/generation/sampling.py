"""Draw characters one after another, in one text or in several texts side by side.

`write_texts` is the loop; what it calls stands around it. `writing` has the texts, which decode
what is drawn.

Shapes: B rows, one for each text, N characters, V vocabulary; state as in `model.stepper`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from charrnn.generation.generated_text import GeneratedText
from charrnn.generation.rules import FollowedTexts, Rules, rule_tables
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.writing import DrawnText, Piece
from charrnn.model.stepper import Stepper
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.compiling import can_compile
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

    ids: Int64Array
    """(B, N)."""
    logprobs: Float64Array
    """(B, N), in nats."""
    values: Float32Array
    """The values (B, N) of the cell that is shown; 0 without a cell."""
    lengths: Int64Array
    """(B,): how many of the characters of each row were drawn before none might follow."""


class PrimedState(NamedTuple):
    """The prediction of a model after a prime, and its state.

    Many texts with one prime begin from it, and the prime is read once.
    """

    logits: NDArray[np.floating]
    """(1, V)."""
    state: Float32Array
    """The state of one row."""


@cache
def _compiled_module() -> ModuleType | None:
    """Import the module with the compiled loops; None if numba is missing or switched off."""
    # Importing numba takes a quarter of a second, which a short text does not wait for.
    if not can_compile():
        return None
    from charrnn.compiled import sampling

    return sampling


def compiled_loop(stepper: Stepper, function: str, num_chars: int) -> ModuleType | None:
    """Return the module with the compiled `function` (`write`, `read`), ready for this model; None
    if NumPy computes this number of characters sooner, or if nothing is compiled for it."""
    if num_chars < COMPILED_FROM:
        return None
    compiled = _compiled_module()
    if compiled is None or not compiled.can_compile(stepper):
        return None

    # Loading machine code takes up to a second, compiling it takes ten.
    if compiled.prepare(function, may_compile=num_chars >= UNCACHED_FROM) is None:
        return None
    return compiled


def prime_model(stepper: Stepper, prime: Ids) -> PrimedState:
    """Read the ids (N,) of a prime, N >= 1, from the initial state.

    A prime of a megabyte takes a while: Ctrl-C and a bar of progress work in between.

    They are read in blocks, because Ctrl-C is handled only between two calls of compiled code,
    during which no other thread runs.
    """
    num_blocks = math.ceil(len(prime) / LAST_BLOCK)
    blocks = np.array_split(prime.astype(np.int64), num_blocks)
    logits: NDArray[np.floating] = np.zeros((1, stepper.vocab_size), np.float32)
    state = stepper.initial_state(batch_size=1)
    compiled = compiled_loop(stepper, function="read", num_chars=len(prime))
    if compiled is not None:
        weights = compiled.pack(stepper)
        scratch = compiled.make_scratch(weights, num_streams=1)

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
    `generator_of` takes apart again.

    One text of a list can be drawn again without the others.
    """
    return seed + index * NUM_SEEDS


def place_of(seed: int | None) -> int:
    """Return the index of the text that a result of `seed_of_text` draws.

    Where texts were rejected, it tells how many had to be drawn.
    """
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
    """What texts that are drawn together have in common before their first character.

    It is made once for all texts of some options; what is different in each is in `DrawnText`.
    """

    stepper: Stepper
    primed: PrimedState
    rules: Rules
    """What may follow a text."""
    prime: Sequence[int] = ()
    """The ids with which the texts begin, for the rules."""
    ends_early: bool = False
    """Whether most texts end before their length, as documents do."""


class BegunText:
    """A text whose prime was read. What of it was not drawn yet is drawn when it is taken.

    `Generator.begin` returns it. `whole` is what `Model.sample` returns, `pieces` what `stream`
    yields, `chunks` what `write` yields.
    """

    def __init__(self, beginning: Beginning, options: SampleOptions, text: DrawnText):
        self._beginning = beginning
        self._options = options
        self._text = text

    def _write(self) -> Iterator[DrawnText]:
        if self._text.is_done:
            return iter([self._text])
        num_chars = self._options.length
        return write_texts(
            self._beginning, options=self._options, texts=[self._text], num_chars=num_chars
        )

    def pieces(self) -> Iterator[Piece]:
        """Draw the text, and yield its pieces as soon as they are certain."""
        for text in self._write():
            yield from text.take_pieces()

    def chunks(self) -> Iterator[str]:
        """Draw the text, and yield it in chunks of the size of the blocks that are drawn."""
        for text in self._write():
            yield text.take_text()

    def whole(self) -> GeneratedText:
        """Draw the text, and return what was not taken yet."""
        for _ in self._write():
            pass
        return self._text.whole()


def write_texts(
    beginning: Beginning,
    options: SampleOptions,
    texts: Iterable[DrawnText],
    *,
    num_chars: int,
    num_rows: int = 1,
) -> Iterator[DrawnText]:
    """Draw `texts`, each of which has at least one character and all of which have at most
    `num_chars` together. Yield them in their order: the first text that has not ended whenever it
    has grown, and each text once more when it has ended.

    Single texts and lists are drawn by it alike. `Generator` has what users need. `num_rows` texts
    are drawn side by side (`texts` must have at least as many), and where one has ended, the next
    one begins. A text has a uniform random number for each character, from
    `generator_of(text.seed)`: it is the same in every row, whatever is drawn beside it. In int8 it
    is the same compiled or not; in fp32 too, except for draws within rounding (about 1e-7) of a
    border between two characters.
    """
    waiting = iter(texts)
    in_rows = list(islice(waiting, num_rows))
    unfinished = list(in_rows)
    rows = Rows(
        beginning, options=options, seeds=[text.seed for text in in_rows], num_chars=num_chars
    )
    with reported("writing", total=num_chars, least=LONG_TEXT) as advance:
        while unfinished:
            block = rows.draw([0 if text.is_done else text.num_left for text in in_rows])
            # A row without a text is drawn on, in vain, as long as other rows have texts.
            advance(block.ids.size)

            # Decode. Each text takes its row of the block, up to its end.
            for row, text in enumerate(in_rows):
                if text.is_done:
                    continue
                length = int(block.lengths[row])
                text.add(
                    block.ids[row, :length].tolist(),
                    logprobs=block.logprobs[row, :length].tolist(),
                    values=block.values[row, :length].tolist(),
                )
                if length < block.ids.shape[1]:
                    rows.end(row, text)

                # Where the text has ended, the next one begins after the prime.
                if text.is_done and (following := next(waiting, None)) is not None:
                    in_rows[row] = following
                    unfinished.append(following)
                    rows.begin(row, following.seed)

            # Hand over. A text waits for those before it.
            while unfinished:
                yield unfinished[0]
                if not unfinished[0].is_done:
                    break
                del unfinished[0]


class Rows:
    """B texts that are drawn side by side: what the model predicts for each of them, its state, and
    random numbers."""

    def __init__(
        self, beginning: Beginning, options: SampleOptions, seeds: Sequence[int], num_chars: int
    ):
        """Begin a text of each seed after the prime; all texts that will be drawn have at most
        `num_chars` characters together."""
        num_rows = len(seeds)
        self._beginning = beginning
        self._options = options
        self._logits = np.repeat(beginning.primed.logits, num_rows, axis=0)
        self._state = np.repeat(beginning.primed.state, num_rows, axis=-2)
        self._generators = [generator_of(seed) for seed in seeds]
        self._followed = FollowedTexts(beginning.rules, beginning.prime, num_rows)

        self._num_chars = num_chars
        self._num_drawn = 0
        self._num_expected = 0
        self._compiled: NetworkRows | None = None
        self._block_size = FIRST_BLOCK
        # Beside other texts, what follows the end of a text is drawn in vain.
        ends_early = beginning.ends_early or options.stops or options.match is not None
        if num_rows > 1 and ends_early:
            self._block_size = EARLY_BLOCK

    def begin(self, row: int, seed: int) -> None:
        """Begin another text in a row."""
        primed = self._beginning.primed
        self._generators[row] = generator_of(seed)
        self._logits[row] = primed.logits[0]
        self._state = self._state.copy()
        self._state[..., row, :] = primed.state[..., 0, :]
        self._followed.begin(row)

    def end(self, row: int, text: DrawnText) -> None:
        """End the text of a row, which no character may follow."""
        # A text that matches and whose last word is whole is as long as it can be.
        if self._followed.is_complete(row):
            text.end()
        else:
            text.end_at(self._beginning.rules.names)

    def draw(self, num_left: Sequence[int]) -> Block:
        """Draw the next characters of every row: one in NumPy, a block of them in compiled code.
        `num_left` has how many may follow in each row (B,), and no more than the most are drawn."""
        # Compiled code takes over from NumPy where it saves time. The search for it is slow.
        num_expected = self._count_expected()
        if num_expected > self._num_expected and self._compiled is None:
            self._compiled = self._compile(num_expected)
        self._num_expected = num_expected

        if self._compiled is None:
            block = self._draw_step(num_left)
        else:
            block = self._draw_block(self._compiled, num_left)
        self._num_drawn += block.ids.size
        return block

    def _draw_step(self, num_left: Sequence[int]) -> Block:
        """Draw the next character of every row in NumPy."""
        # Draw. The log-probabilities are the model's own, before the options shape them.
        uniforms = [generator.random() for generator in self._generators]
        ids = np.zeros(len(uniforms), np.int64)
        lengths = np.zeros(len(uniforms), np.int64)
        for row, uniform in enumerate(uniforms):
            forbidden = ~self._followed.allowed(row, num_left[row])
            if forbidden.all():
                continue  # A character that is read in vain.
            weights = char_weights(self._logits[row], self._options, banned=forbidden)
            ids[row] = draw(weights, uniform)
            lengths[row] = 1
            self._followed.add(row, int(ids[row]))
        logprobs = log_softmax(self._logits)[np.arange(len(ids)), ids]

        # Read. The model reads the characters, and predicts the next ones.
        stepper = self._beginning.stepper
        self._logits, self._state = stepper.step(ids, self._state)
        values = np.zeros(len(ids), np.float32)
        if self._options.cell is not None:
            layer, unit = self._options.cell
            values = stepper.values(self._state)[layer, :, unit]
        return Block(
            ids[:, None], logprobs=logprobs[:, None], values=values[:, None], lengths=lengths
        )

    def _draw_block(self, compiled: "NetworkRows", num_left: Sequence[int]) -> Block:
        """Draw a block of characters of every row by compiled code, which takes the same steps."""
        size = min(self._block_size, max(num_left))
        if self._block_size > EARLY_BLOCK:
            self._block_size = min(2 * self._block_size, LAST_BLOCK)
        numbers = np.stack([generator.random(size) for generator in self._generators])
        self._followed.streams().num_left[:] = num_left
        drawn = compiled.draw(self._logits, state=self._state, uniforms=numbers)
        self._logits = drawn.logits
        self._state = drawn.state
        return Block(
            drawn.block.ids,
            logprobs=drawn.block.logprobs,
            values=np.zeros(numbers.shape, np.float32),
            lengths=drawn.block.lengths,
        )

    def _count_expected(self) -> int:
        """Return how many characters compiled code may be expected to draw."""
        # Compiled code calls no function of the text, and returns no values of a cell.
        if not self._beginning.rules.can_compile or self._options.cell is not None:
            return 0

        # The first characters appear before the module is loaded, which takes half a second.
        is_loaded = _compiled_module.cache_info().currsize > 0
        if self._num_drawn < BEFORE_LOADING and not is_loaded:
            return 0

        # For texts that end early, the loop is compiled only after enough characters to save time.
        if self._beginning.ends_early and self._num_drawn < UNCACHED_FROM:
            return min(self._num_chars, UNCACHED_FROM - 1)
        return self._num_chars

    def _compile(self, num_chars: int) -> "NetworkRows | None":
        """Return the rows that compiled code draws; None if NumPy draws them."""
        stepper = self._beginning.stepper
        compiled = compiled_loop(stepper, function="write", num_chars=num_chars)
        if compiled is None:
            return None
        rules = self._beginning.rules
        rows: NetworkRows = compiled.NetworkRows(
            stepper,
            shaping=compiled.shaping_numbers(self._options, rules.banned),
            rules=rule_tables(rules),
            streams=self._followed.streams(),
        )
        return rows
