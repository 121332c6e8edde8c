"""Draw characters one after another, in one text or in several texts side by side.

`Rows.draw` is a step of the loop: distribution, draw, read. A `DrawnText` decodes what is drawn
(`writing`). `write_texts` draws a list of texts, and a single text is drawn when it is taken.

Shapes: B rows, one for each text, N characters, V vocabulary; state as in `model.stepper`.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.distribution import (
    CharWeights,
    char_weights,
    log_softmax,
)
from charrnn.generation.rules import FollowedTexts, Rules, rule_tables
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.writing import LONG_TEXT, DrawnText
from charrnn.model.stepper import Stepper
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.compiling import can_compile
from charrnn.system.progress import task_from

if TYPE_CHECKING:
    from charrnn.compiled.sampling import NetworkRows

Ids = NDArray[np.integer]
Primed = tuple[NDArray[np.floating], Float32Array]
"""The logits (1, V) of the character after a prime, and the state of one row: all texts with one
prime begin from them, and the prime is read once."""

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


def prime_model(stepper: Stepper, prime: Ids) -> Primed:
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

    with task_from(SLOW_PRIME, "reading", total=len(prime)) as advance:
        for block in blocks:
            if compiled is None:
                logits, state = stepper.read(block, state)
            else:
                # The compiled loop changes logits and state in place.
                compiled.LOOPS["read"](weights, block, state, logits, scratch)
            advance(len(block))
    return logits, state


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


def write_texts(rows: "Rows") -> Iterator[DrawnText]:
    """Draw the texts of some rows, and yield each as soon as it and all before it have ended.

    A list of texts is drawn by it; a single text draws itself when it is taken.
    """
    with task_from(LONG_TEXT, "writing", total=rows.num_chars) as advance:
        while rows.begun:
            text = rows.begun.popleft()
            while not text.is_done:
                advance(rows.draw())
            yield text


class Rows:
    """B texts that are drawn side by side: what the model predicts for each of them, its state, and
    random numbers. Where a text has ended, the next one begins.

    A text has a uniform random number for each character, from `generator_of(text.seed)`: it is the
    same in every row, whatever is drawn beside it. In int8 it is the same compiled or not; in fp32
    too, except for draws within rounding (about 1e-7) of a border between two characters.
    """

    def __init__(
        self,
        stepper: Stepper,
        primed: Primed,
        *,
        texts: Iterable[DrawnText],
        num_chars: int,
        rules: Rules,
        options: SampleOptions,
        num_rows: int = 1,
        prime: Sequence[int] = (),
        ends_early: bool = False,
    ):
        """Begin the first texts.

        Args:
            stepper: The model that reads what is drawn.
            primed: What `prime_model` returns of the prime.
            texts: The texts, at least as many as rows, each of which has at least one character.
            num_chars: The largest number of characters of all texts together.
            rules: What may follow a text.
            options: How characters are drawn.
            num_rows: The number B of texts that are drawn side by side.
            prime: The ids with which the texts begin, for the rules.
            ends_early: Whether most texts end before their length, as documents do.
        """
        self.num_chars = num_chars
        self.begun = deque[DrawnText]()
        """The texts that have begun, in their order; `write_texts` takes them."""
        self._stepper = stepper
        self._primed = primed
        self._rules = rules
        self._options = options
        self._ends_early = ends_early

        self._waiting = iter(texts)
        self._texts: list[DrawnText | None] = list(islice(self._waiting, num_rows))
        self.begun.extend(text for text in self._texts if text is not None)
        self._generators = [generator_of(text.seed) for text in self.begun]
        logits, state = primed
        self._logits = np.repeat(logits, len(self._texts), axis=0)
        self._state = np.repeat(state, len(self._texts), axis=-2)
        self._followed = FollowedTexts(rules, prime, len(self._texts))

        self._num_drawn = 0
        self._num_expected = 0
        self._compiled: NetworkRows | None = None
        self._block_size = FIRST_BLOCK
        # Beside other texts, what follows the end of a text is drawn in vain.
        if len(self._texts) > 1 and (ends_early or options.stops or options.match is not None):
            self._block_size = EARLY_BLOCK

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
            num_drawn = self._draw_step(num_left)
        else:
            num_drawn = self._draw_block(self._compiled, num_left)
        self._num_drawn += num_drawn
        return num_drawn

    def _draw_step(self, num_left: Sequence[int]) -> int:
        """Draw the next character of every row in NumPy. `num_left` has how many may follow in each
        row (B,)."""
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
        self._logits, self._state = self._stepper.step(ids, self._state)
        values = np.zeros(len(ids), np.float32)
        if self._options.cell is not None:
            layer, unit = self._options.cell
            values = self._stepper.values(self._state)[layer, :, unit]

        self._add(ids[:, None], logprobs[:, None], values=values[:, None], lengths=lengths)
        return ids.size

    def _draw_block(self, compiled: "NetworkRows", num_left: Sequence[int]) -> int:
        """Draw a block of characters of every row by compiled code, which takes the same steps."""
        size = min(self._block_size, max(num_left))
        if self._block_size > EARLY_BLOCK:
            self._block_size = min(2 * self._block_size, LAST_BLOCK)
        numbers = np.stack([generator.random(size) for generator in self._generators])
        self._followed.streams().num_left[:] = num_left
        drawn = compiled.draw(self._logits, state=self._state, uniforms=numbers)
        self._logits = drawn.logits
        self._state = drawn.state

        ids, logprobs, lengths = drawn.block
        self._add(ids, logprobs, values=np.zeros(ids.shape, np.float32), lengths=lengths)
        return ids.size

    def _add(
        self,
        ids: Int64Array,
        logprobs: Float64Array,
        *,
        values: Float32Array,
        lengths: Int64Array,
    ) -> None:
        """Add N drawn characters of each row (B, N) to its text, which decodes them up to its end.

        `logprobs` (B, N) are in nats, `values` (B, N) are those of the cell that is shown, or 0,
        and `lengths` (B,) is how many characters of each row were drawn before none might follow.
        """
        for row, text in enumerate(self._texts):
            if text is None:
                continue
            length = int(lengths[row])
            text.add(
                ids[row, :length].tolist(),
                logprobs=logprobs[row, :length].tolist(),
                values=values[row, :length].tolist(),
            )
            if length < ids.shape[1]:
                self._end(row, text)
            if text.is_done:
                self._begin_next(row)

    def _end(self, row: int, text: DrawnText) -> None:
        """End the text of a row, which no character may follow."""
        # A text that matches and whose last word is whole is as long as it can be.
        if self._followed.is_complete(row):
            text.end()
        else:
            text.end_at(self._rules.names)

    def _begin_next(self, row: int) -> None:
        """Begin the next text, after the prime, in the row of a text that has ended."""
        text = next(self._waiting, None)
        self._texts[row] = text
        if text is None:
            return
        self.begun.append(text)
        self._generators[row] = generator_of(text.seed)
        logits, state = self._primed
        self._logits[row] = logits[0]
        self._state = self._state.copy()
        self._state[..., row, :] = state[..., 0, :]
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
            return min(self.num_chars, UNCACHED_FROM - 1)
        return self.num_chars

    def _compile(self, num_chars: int) -> "NetworkRows | None":
        """Return the rows that compiled code draws; None if NumPy draws them."""
        compiled = compiled_loop(self._stepper, function="write", num_chars=num_chars)
        if compiled is None:
            return None
        rows: NetworkRows = compiled.NetworkRows(
            self._stepper,
            shaping=compiled.shaping_numbers(self._options, self._rules.banned),
            rules=rule_tables(self._rules),
            streams=self._followed.streams(),
        )
        return rows
