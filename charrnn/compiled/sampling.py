"""Reading and sampling compiled by numba: the loops of `Stepper` and `draw`, without Python between
characters.

`read` reads characters, and `write` draws them; both take the steps of `compiled.network`, whose
models alone they know. NumPy computes all other models. The texts equal those of NumPy, bit for
bit. `prepare` loads or compiles a loop; numba's cache keeps the code on disk.

Shapes: B streams, N characters, V vocabulary, H hidden, L layers.
"""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from charrnn.compiled import dot_products, functions, network
from charrnn.compiled import rules as following
from charrnn.compiled.dot_products import Longs
from charrnn.compiled.functions import exp
from charrnn.compiled.network import (
    Layout,
    PackedModel,
    Scratch,
    StepBuffers,
    make_scratch,
    pack,
    step,
)
from charrnn.compiled.rules import FollowedStreams, RuleTables, no_rules
from charrnn.model import portable_math
from charrnn.model.portable_math import Doubles, Float32Array
from charrnn.model.stepper import Stepper
from charrnn.system.compiling import CompiledLoop, for_loops
from charrnn.system.process import num_cores
from charrnn.system.progress import tell, warn

COMPILING = "compiling the sampling loop, once on this machine (about 10 seconds) ..."
"""Told before a loop is compiled."""


class ShapingNumbers(NamedTuple):
    """How logits become probabilities: options of `sample_options.SampleOptions` as numbers."""

    temperature: float
    top_k: int
    """V keeps all."""
    top_p: float
    """Infinity keeps all."""
    min_p: float
    """0 keeps all."""
    is_banned: NDArray[np.bool_]
    """(V,)."""


class DrawingBuffers(NamedTuple):
    """Room in which each character of a block is drawn."""

    scores: Doubles
    """(V,)."""
    weights: Doubles
    """(V,)."""
    is_forbidden: NDArray[np.bool_]
    """(V,)."""
    drawn_now: Longs
    """(B,): the characters that are read next."""


class DrawnBlock(NamedTuple):
    """What the loop draws."""

    ids: Longs
    """(B, N)."""
    logprobs: Doubles
    """(B, N): in nats, before any shaping."""
    lengths: Longs
    """(B,): how many characters of each stream were drawn before none might follow."""


def shaping_numbers(options: Any, is_banned: NDArray[np.bool_]) -> ShapingNumbers:
    """Return how logits become probabilities, by the `SampleOptions` of a text; the banned
    characters (V,) are never drawn."""
    vocab_size = len(is_banned)
    # An option that is switched off becomes a number, because compiled code has no None. Every
    # number has the type for which the loop is compiled.
    return ShapingNumbers(
        temperature=float(options.temperature),
        top_k=int(min(options.top_k or vocab_size, vocab_size)),
        top_p=math.inf if options.top_p is None else float(options.top_p),
        min_p=float(options.min_p or 0.0),
        is_banned=is_banned,
    )


@for_loops
def _most_likely(scores: Doubles, is_banned: NDArray[np.bool_]) -> int:
    """Return the first id with the largest of scores (V,) that is not banned."""
    most_likely = 0
    best = -np.inf
    for char in range(len(scores)):
        if not is_banned[char] and scores[char] > best:
            most_likely = char
            best = scores[char]
    return most_likely


@for_loops
def _keep_top(
    scores: Doubles,
    is_banned: NDArray[np.bool_],
    top_k: int,
    top_p: float,
    weights: Doubles,
) -> float:
    """Set weights (V,) to 0 beyond top-k and top-p, and return the sum of the rest."""
    # A stable sort: among equal scores, the first ids come first.
    size = len(scores)
    falling = np.empty(size)
    for char in range(size):
        falling[char] = np.inf if is_banned[char] else -scores[char]
    order = np.argsort(falling, kind="mergesort")

    # Top-k.
    for rank in range(top_k, size):
        weights[order[rank]] = 0.0

    # Top-p. Most likely first, as in `char_weights`, so that the same ids are kept at the border.
    total = 0.0
    for char in order:
        total += weights[char]
    if top_p > 1:
        return total
    border = top_p * total
    total = 0.0
    for char in order:
        if total >= border:
            weights[char] = 0.0
        total += weights[char]
    return total


@for_loops
def _draw(
    scores: Doubles,
    is_banned: NDArray[np.bool_],
    shaping: ShapingNumbers,
    uniform: float,
    weights: Doubles,
) -> int:
    """Draw an id from scores (V,), as `char_weights` and `draw` do, bit for bit; weights (V,) is
    overwritten."""
    # Temperature 0 draws nothing.
    size = len(scores)
    temperature = shaping.temperature
    most_likely = _most_likely(scores, is_banned)
    if temperature == 0:
        return most_likely

    # The weights of `char_weights`: exp((score - best) / temperature). Their sum has a loop of its
    # own: with the sum, this loop would not be vectorized.
    best = scores[most_likely]
    for char in range(size):
        weights[char] = exp((scores[char] - best) / temperature) if not is_banned[char] else 0.0
    total = 0.0
    for char in range(size):
        total += weights[char]

    # Shaping, in the order of `char_weights`.
    top_k = shaping.top_k
    top_p = shaping.top_p
    min_p = shaping.min_p
    if top_k < size or top_p <= 1:
        total = _keep_top(scores, is_banned, top_k, top_p, weights)
    if min_p > 0:
        total = 0.0
        for char in range(size):
            if weights[char] < min_p * weights[most_likely]:
                weights[char] = 0.0
            total += weights[char]

    # Invert the running sum; its end is missed only by rounding.
    target = uniform * total
    reached = 0.0
    last = most_likely
    for char in range(size):
        if weights[char] > 0:
            reached += weights[char]
            last = char
            if reached > target:
                return char
    return last


@njit(error_model="numpy", fastmath={"reassoc"})
def _log_sum(scores: Doubles, powers: Doubles) -> float:
    """Compute log(sum(exp(scores))); powers (V,) is overwritten."""
    largest = -np.inf
    for score in scores:
        largest = max(largest, score)

    # The largest power is 1, so that none overflows.
    for char in range(len(scores)):
        powers[char] = exp(scores[char] - largest)
    total = 0.0
    for char in range(len(scores)):
        total += powers[char]
    return largest + math.log(total)


def read(
    model: PackedModel, ids: Longs, state: Float32Array, logits: Float32Array, scratch: Scratch
) -> None:
    """Read ids (N,), N >= 1, in one stream: the state (L, S, 1, H) and the logits (1, V) change in
    place."""
    layout = model.layout
    state_at = np.int64(state.ctypes.data)
    logits_at = np.int64(logits.ctypes.data)

    # The logits of all characters are computed, as in `Stepper.read`; the logits of the last
    # character stay.
    for index in range(len(ids)):
        step(layout, ids[index : index + 1], state_at, scratch.buffers, logits_at)


@for_loops
def draw_streams(
    logits: Float32Array,
    uniforms: Doubles,
    index: int,
    shaping: ShapingNumbers,
    rules: RuleTables,
    streams: FollowedStreams,
    buffers: DrawingBuffers,
    drawn: DrawnBlock,
) -> None:
    """Draw character `index` of each of B streams from logits (B, V), as `write` does."""
    scores = buffers.scores
    for stream in range(len(logits)):
        # A stream after which no character may follow is drawn on in vain, by the model alone.
        is_forbidden = shaping.is_banned
        if rules.are_on:
            is_forbidden = buffers.is_forbidden
            num_allowed = following.forbid(
                rules, streams, stream, index, shaping.is_banned, is_forbidden
            )
            if num_allowed == 0:
                drawn.lengths[stream] = min(drawn.lengths[stream], index)
            if drawn.lengths[stream] <= index:
                buffers.drawn_now[stream] = 0
                continue

        # In float64, as NumPy does.
        for char in range(len(scores)):
            scores[char] = logits[stream, char]
        char = _draw(scores, is_forbidden, shaping, uniforms[stream, index], buffers.weights)
        buffers.drawn_now[stream] = char
        drawn.ids[stream, index] = char
        drawn.logprobs[stream, index] = scores[char] - _log_sum(scores, buffers.weights)
        if rules.are_on:
            following.follow(rules, streams, stream, char)


def write(
    model: PackedModel,
    arrays: tuple[Float32Array, Float32Array],
    uniforms: Doubles,
    shaping: ShapingNumbers,
    rules: RuleTables,
    streams: FollowedStreams,
    scratch: Scratch,
    drawn: DrawnBlock,
) -> None:
    """Draw N characters in each of B streams by uniforms (B, N).

    The `arrays`, state (L, S, B, H) and logits (B, V), and those of `streams` change in place;
    `drawn` is written.
    """
    # Addresses, and room that all characters use.
    num_streams, num_chars = uniforms.shape
    state, logits = arrays
    layout = model.layout
    state_at = np.int64(state.ctypes.data)
    logits_at = np.int64(logits.ctypes.data)
    vocab_size = logits.shape[1]
    buffers = DrawingBuffers(
        np.empty(vocab_size),
        np.empty(vocab_size),
        np.empty(vocab_size, np.bool_),
        np.empty(num_streams, np.int64),
    )

    for index in range(num_chars):
        draw_streams(logits, uniforms, index, shaping, rules, streams, buffers, drawn)
        step(layout, buffers.drawn_now, state_at, scratch.buffers, logits_at)


PARTS = (sys.modules[__name__], network, functions, dot_products, following, portable_math)
"""The modules whose functions are compiled into the loops."""
SOURCES = [Path(str(module.__file__)) for module in PARTS]
"""Their files: a change in any file makes the compiled code out of date."""
LOOPS = {loop.__name__: CompiledLoop(loop, SOURCES) for loop in (read, write)}
"""The loops that `prepare` loads or compiles."""


class DrawnRows(NamedTuple):
    """What was drawn in B rows, and what the model predicts after it."""

    block: DrawnBlock
    logits: NDArray[Any]
    """(B, V)."""
    state: Any


class CompiledRows:
    """Texts that the compiled loop draws: each core draws some of them, without waiting for other
    cores.

    `generation.sampling.Rows` uses it for a text that is long enough, where numba is
    installed and `can_compile` the model; it draws the same texts as NumPy, faster.
    """

    def __init__(
        self,
        stepper: Stepper,
        shaping: ShapingNumbers,
        rules: RuleTables,
        streams: FollowedStreams,
    ):
        """Divide the rows of `streams` among the cores."""
        self._model = pack(stepper)
        self._shaping = shaping
        self._rules = rules
        self._streams = streams

        # The scratch buffers of a group are in use by one thread.
        num_rows = len(streams.words)
        self._groups = np.array_split(np.arange(num_rows), min(num_cores(), num_rows))
        self._scratches = [
            make_scratch(self._model, num_streams=len(group)) for group in self._groups
        ]
        self._pool = ThreadPoolExecutor(len(self._groups))

    def draw(self, logits: NDArray[Any], state: Any, uniforms: Doubles) -> DrawnRows:
        """Draw characters by uniforms (B, N) after logits (B, V) and the state of B texts, and read
        them."""
        draw_group = partial(self._draw_group, logits, state, uniforms)
        groups = list(self._pool.map(draw_group, self._groups, self._scratches))

        # The rows of all groups, in their order.
        columns = zip(*(group.block for group in groups), strict=True)
        return DrawnRows(
            DrawnBlock(*map(np.concatenate, columns)),
            logits=np.concatenate([group.logits for group in groups]),
            state=np.concatenate([group.state for group in groups], axis=-2),
        )

    def _draw_group(
        self,
        logits: NDArray[Any],
        state: Any,
        uniforms: Doubles,
        group: Longs,
        scratch: Scratch,
    ) -> DrawnRows:
        """Draw the characters of the rows of a group; see `draw`."""
        # Copies, which the loop changes in place.
        logits = logits.take(group, axis=0)
        state = state.take(group, axis=-2)
        uniforms = uniforms.take(group, axis=0)
        drawn = DrawnBlock(
            ids=np.zeros(uniforms.shape, np.int64),
            logprobs=np.zeros(uniforms.shape),
            lengths=np.full(len(group), uniforms.shape[1], np.int64),
        )
        rows = slice(int(group[0]), int(group[-1]) + 1)
        LOOPS["write"](
            self._model,
            (state, logits),
            uniforms,
            self._shaping,
            self._rules,
            FollowedStreams._make(array[rows] for array in self._streams),
            scratch,
            drawn,
        )
        return DrawnRows(drawn, logits=logits, state=state)


def arguments_of(name: str) -> tuple[Any, ...]:
    """Make arguments of a loop with the types of every call: no characters, one stream, a model
    without layers."""
    # Only the types matter: the loops are compiled for them.
    nothing = np.zeros(1, np.uint8)
    numbers: dict[str, Any] = {
        name: False if kind is bool else 0 for name, kind in Layout.__annotations__.items()
    }
    model = PackedModel(Layout(**numbers), memory=nothing, most_rows=0)
    scratch = Scratch(StepBuffers(*[0] * len(StepBuffers._fields)), nothing)
    state = np.zeros((0, 1, 1, 1), np.float32)
    logits = np.zeros((1, 1), np.float32)

    if name == "read":
        return model, np.zeros(1, np.int64), state, logits, scratch
    uniforms = np.zeros((1, 0))
    shaping = ShapingNumbers(
        temperature=1.0, top_k=1, top_p=math.inf, min_p=0.0, is_banned=np.zeros(1, np.bool_)
    )
    longs = np.zeros(1, np.int64)
    codes = np.zeros(1, np.uint64)
    drawn = DrawnBlock(np.zeros((1, 0), np.int64), logprobs=uniforms, lengths=longs)
    streams = FollowedStreams(
        words=longs,
        patterns=longs,
        num_left=longs,
        begun=codes,
        num_read=longs,
        history=np.zeros((1, 0), np.uint64),
    )
    return model, (state, logits), uniforms, shaping, no_rules(), streams, scratch, drawn


def prepare(name: str, *, may_compile: bool) -> CompiledLoop | None:
    """Return the loop `read` or `write`; None if it is not on disk and not `may_compile`, or cannot
    be compiled."""
    loop = LOOPS[name]
    arguments = arguments_of(name)
    try:
        if loop.load(arguments):
            return loop
        if not may_compile:
            return None

        # Compiling pays even for this text alone: `may_compile` is only set for texts that take
        # NumPy longer.
        tell(COMPILING)
        loop.compile(arguments)
    except (NumbaError, OSError, RuntimeError) as error:
        # NumPy generates the same text. Other errors would be ours.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warn(
            f"numba cannot compile the loop ({reason}). NumPy generates the text, which takes"
            " longer."
        )
        return None

    return loop
