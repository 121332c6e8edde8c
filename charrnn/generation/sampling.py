"""Draw characters one after another, in one text or in several texts side by side.

Control goes one way. Whoever takes a `TextToDraw` asks `Rows` for the next characters. `Rows.draw`
draws them (distribution, draw, read), and adds them to a `WrittenText`, which makes text of them
and finds its end (`writing`).

Shapes: B rows, one for each text, N characters, V vocabulary; state as in `model.stepper`.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
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
from charrnn.generation.rules import FollowedTexts, rule_tables
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.writing import LONG_TEXT, Ending, Piece, WrittenText
from charrnn.model.stepper import Stepper
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.compiling import can_compile
from charrnn.system.progress import Task, task_from

if TYPE_CHECKING:
    from charrnn.compiled.sampling import CompiledRows

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
BEFORE_LOADING = 16
"""Characters that NumPy draws before the compiled loop is loaded, so that the first text appears at
once."""


class PrimedModel(NamedTuple):
    """A model that has read a prime, from which all texts with this prime begin."""

    stepper: Stepper
    logits: NDArray[np.floating]
    """(1, V), of the next character."""
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
    if compiled is None or not compiled.network.can_compile(stepper):
        return None

    # Loading machine code takes up to a second, compiling it takes ten.
    if compiled.prepare(function, may_compile=num_chars >= UNCACHED_FROM) is None:
        return None
    return compiled


def prime_model(stepper: Stepper, prime: Ids) -> PrimedModel:
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
        weights = compiled.network.pack(stepper)
        scratch = compiled.network.make_scratch(weights, num_streams=1)

    with task_from(SLOW_PRIME, "reading", total=len(prime)) as advance:
        for block in blocks:
            if compiled is None:
                logits, state = stepper.read(block, state)
            else:
                # The compiled loop changes logits and state in place.
                compiled.LOOPS["read"](weights, block, state, logits, scratch)
            advance(len(block))
    return PrimedModel(stepper, logits, state)


NUM_SEEDS = 1 << 32
"""The seeds of users are below this number. Larger seeds stand for the second and later texts of a
call; JSON keeps them exactly."""


def seed_of_text(seed: int, index: int) -> int:
    """Return the seed that draws text `index` of several texts alone: seed + index * 2^32, which
    `random_numbers_of` takes apart again.

    One text of a list can be drawn again without the others.
    """
    return seed + index * NUM_SEEDS


def place_of(seed: int | None) -> int:
    """Return the index of the text that a result of `seed_of_text` draws.

    Where texts were rejected, it tells how many had to be drawn.
    """
    return (seed or 0) // NUM_SEEDS


def random_numbers_of(seed: int) -> np.random.Generator:
    """Return the random numbers of a text. `seed` may be a result of `seed_of_text`.

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


class TextToDraw:
    """A text of which nothing is drawn before it is taken.

    `TextGenerator.begin` returns one: `pieces` is what `Model.stream` yields, `chunks` what
    `Model.write` yields, and `whole` what `Model.sample` returns.
    """

    def __init__(self, text: WrittenText, rows: "Rows"):
        """Take a text, and the rows of which one draws it."""
        self._text = text
        self._rows = rows

    def pieces(self) -> Iterator[Piece]:
        """Draw the text, and yield its pieces as soon as they are certain."""
        yield from self._text.take_pieces()
        with self._reported() as advance:
            while not self._text.is_done:
                advance(self._rows.draw())
                yield from self._text.take_pieces()

    def chunks(self) -> Iterator[str]:
        """Draw the text, and yield it in chunks of the size of the blocks that are drawn."""
        if self._text.is_done:
            yield self._text.take_text()
        with self._reported() as advance:
            while not self._text.is_done:
                advance(self._rows.draw())
                yield self._text.take_text()

    def whole(self) -> GeneratedText:
        """Draw the text to its end, and return what was not taken yet."""
        with self._reported() as advance:
            while not self._text.is_done:
                advance(self._rows.draw())
        return self._text.result()

    def _reported(self) -> AbstractContextManager[Task]:
        return task_from(LONG_TEXT, "writing", total=self._text.num_left)


class DrawnCharacters(NamedTuple):
    """N characters that were drawn in each row."""

    ids: Int64Array
    """(B, N)."""
    logprobs: Float64Array
    """(B, N): in nats, the model's own, before any shaping."""
    values: Float32Array
    """(B, N): those of the cell that is shown, or 0."""
    lengths: Int64Array
    """(B,): how many characters of each row were drawn before none might follow."""


class Rows:
    """B texts that are drawn side by side: what the model predicts for each of them, its state, and
    random numbers. Where a text has ended, the next one begins.

    A text has a uniform random number for each character, from `random_numbers_of(text.seed)`: it
    is the same in every row, whatever is drawn beside it. In int8 it is the same compiled or not;
    in fp32 too, except for draws within rounding (about 1e-7) of a border between two characters.
    """

    def __init__(
        self,
        primed: PrimedModel,
        *,
        texts: Iterable[WrittenText],
        ending: Ending,
        options: SampleOptions,
        num_chars: int,
        num_rows: int = 1,
    ):
        """Begin the first texts.

        Args:
            primed: The model, which has read the prime.
            texts: The texts, at least as many as rows, each of which has at least one character.
            ending: What may follow a text, and what ends it.
            options: How characters are drawn.
            num_chars: The largest number of characters of all texts together.
            num_rows: The number B of texts that are drawn side by side.
        """
        self._num_chars = num_chars
        # The texts that have begun, in their order, until `written_texts` has yielded them.
        self._begun = deque[WrittenText]()
        self._stepper = primed.stepper
        self._primed = primed
        self._rules = ending.rules
        self._options = options
        # Most documents end before their length.
        self._ends_early = ending.end_id is not None

        self._waiting = iter(texts)
        self._texts: list[WrittenText | None] = list(islice(self._waiting, num_rows))
        self._begun.extend(text for text in self._texts if text is not None)
        self._random_numbers = [random_numbers_of(text.seed) for text in self._begun]
        self._logits = np.repeat(primed.logits, len(self._texts), axis=0)
        self._state = np.repeat(primed.state, len(self._texts), axis=-2)
        self._followed = FollowedTexts(ending.rules, ending.prime, len(self._texts))

        self._num_drawn = 0
        self._num_expected = 0
        self._compiled: CompiledRows | None = None
        self._block_size = FIRST_BLOCK
        # Beside other texts, what follows the end of a text is drawn in vain.
        may_end_early = self._ends_early or options.stops or options.match is not None
        if len(self._texts) > 1 and may_end_early:
            self._block_size = EARLY_BLOCK

    def written_texts(self) -> Iterator[WrittenText]:
        """Draw all texts, and yield each as soon as it and all before it have ended.

        A list of texts is drawn by it; a single text is drawn when it is taken (`TextToDraw`).
        """
        with task_from(LONG_TEXT, "writing", total=self._num_chars) as advance:
            while self._begun:
                text = self._begun.popleft()
                while not text.is_done:
                    advance(self.draw())
                yield text

    def draw(self) -> int:
        """Draw the next characters of every row, add them to the texts, and return how many were
        drawn: one in each row in NumPy, a block in compiled code.

        A row without a text is drawn on, in vain, as long as other rows have texts.
        """
        # Compiled code takes over from NumPy where it saves time. The search for it is slow.
        num_expected = self._count_expected()
        if num_expected > self._num_expected and self._compiled is None:
            self._compiled = self._compile(num_expected)
        self._num_expected = num_expected

        num_left = [0 if text is None else text.num_left for text in self._texts]
        if self._compiled is None:
            drawn = self._draw_step(num_left)
        else:
            drawn = self._draw_block(self._compiled, num_left)
        self._add(drawn)
        self._num_drawn += drawn.ids.size
        return drawn.ids.size

    def _draw_step(self, num_left: Sequence[int]) -> DrawnCharacters:
        """Draw the next character of every row in NumPy. `num_left` has how many may follow in each
        row (B,)."""
        # Draw. The log-probabilities are the model's own, before the options shape them.
        uniforms = [numbers.random() for numbers in self._random_numbers]
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
        self._logits, self._state = self._stepper.step(ids, self._state)
        values = np.zeros(len(ids), np.float32)
        if self._options.cell is not None:
            layer, unit = self._options.cell
            values = self._stepper.values(self._state)[layer, :, unit]

        return DrawnCharacters(
            ids[:, None], logprobs=logprobs[:, None], values=values[:, None], lengths=lengths
        )

    def _draw_block(self, compiled: "CompiledRows", num_left: Sequence[int]) -> DrawnCharacters:
        """Draw a block of characters of every row by compiled code, which takes the same steps."""
        size = min(self._block_size, max(num_left))
        if self._block_size > EARLY_BLOCK:
            self._block_size = min(2 * self._block_size, LAST_BLOCK)
        uniforms = np.stack([numbers.random(size) for numbers in self._random_numbers])
        self._followed.streams().num_left[:] = num_left
        drawn = compiled.draw(self._logits, state=self._state, uniforms=uniforms)
        self._logits = drawn.logits
        self._state = drawn.state

        ids, logprobs, lengths = drawn.block
        values = np.zeros(ids.shape, np.float32)
        return DrawnCharacters(ids, logprobs=logprobs, values=values, lengths=lengths)

    def _add(self, drawn: DrawnCharacters) -> None:
        """Add the characters of each row to its text, which decodes them up to its end. Where a
        text has ended, the next one begins."""
        for row, text in enumerate(self._texts):
            if text is None:
                continue
            length = int(drawn.lengths[row])
            text.add(
                drawn.ids[row, :length].tolist(),
                logprobs=drawn.logprobs[row, :length].tolist(),
                values=drawn.values[row, :length].tolist(),
            )
            if length < drawn.ids.shape[1]:
                text.end(self._followed.blocked_by(row))
            if text.is_done:
                self._begin_next(row)

    def _begin_next(self, row: int) -> None:
        """Begin the next text, after the prime, in the row of a text that has ended."""
        text = next(self._waiting, None)
        self._texts[row] = text
        if text is None:
            return
        self._begun.append(text)
        self._random_numbers[row] = random_numbers_of(text.seed)
        self._logits[row] = self._primed.logits[0]
        self._state = self._state.copy()
        self._state[..., row, :] = self._primed.state[..., 0, :]
        self._followed.begin(row)

    def _count_expected(self) -> int:
        """Return how many characters compiled code may be expected to draw."""
        # Compiled code calls no function of the text, and returns no values of a cell.
        if not self._rules.can_compile or self._options.cell is not None:
            return 0

        # The first characters appear before the module is loaded, which takes half a second.
        is_loaded = _compiled_module.cache_info().currsize > 0
        if self._num_drawn < BEFORE_LOADING and not is_loaded:
            return 0

        # For texts that end early, the loop is compiled only after enough characters to save time.
        if self._ends_early and self._num_drawn < UNCACHED_FROM:
            return min(self._num_chars, UNCACHED_FROM - 1)
        return self._num_chars

    def _compile(self, num_chars: int) -> "CompiledRows | None":
        """Return the rows that compiled code draws; None if NumPy draws them."""
        compiled = compiled_loop(self._stepper, function="write", num_chars=num_chars)
        if compiled is None:
            return None
        rows: CompiledRows = compiled.CompiledRows(
            self._stepper,
            shaping=compiled.shaping_numbers(self._options, self._rules.banned),
            rules=rule_tables(self._rules),
            streams=self._followed.streams(),
        )
        return rows
