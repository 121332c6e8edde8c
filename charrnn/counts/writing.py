"""Text of a network and counts, written by a compiled loop: that of `charrnn.compiled.sampling`,
with the counts mixed in after every character.

The results are those of `CountedStepper`, bit for bit.

Shapes: B streams, N characters, V vocabulary, K characters of the longest context.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.compiled import sampling as loops
from charrnn.counts import contexts, mixing_powers
from charrnn.counts.counted_model import CountedState, CountedStepper
from charrnn.counts.mixing_powers import BORDERS, NUM_PAIRS, NUM_SURE, RUN
from charrnn.generation.sampling import PrimedState, Streams
from charrnn.model.portable_math import ARTANH, LN2_HIGH, LN2_LOW, SQRT_HALF
from charrnn.system.compiling import CompiledLoop, for_loops

FRACTION_BITS = 52
"""Bits of a float64 behind its exponent."""
EXPONENT_OF_HALF = 1022
"""The exponent of numbers from 1/2 on, as a float64 stores it."""
FRACTION = (1 << FRACTION_BITS) - 1
"""Mask of the bits behind the exponent."""
HALF = EXPONENT_OF_HALF << FRACTION_BITS
"""The bits of 1/2."""
A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14 = ARTANH
"""Coefficients of artanh."""


class LoopCounts(NamedTuple):
    """Counts, as the loop has them."""

    contexts: contexts.SortedContexts
    frequent: contexts.FrequentContexts
    longest: int
    discounts: NDArray[np.float64]
    powers: NDArray[np.float64]


@for_loops
def _how_sure(largest: Any) -> Any:
    """Return the class of a prediction whose most likely character has this probability."""
    number = 0
    for border in BORDERS:
        if largest >= border:
            number += 1
    return number


@for_loops
def _is_run(history: Any) -> Any:
    """Return whether a history (K,) ends with a run of the same character."""
    if len(history) < RUN:
        return False
    num_same = 1
    for back in range(2, RUN + 1):
        if history[-back] == history[-1]:
            num_same += 1
    return num_same == RUN


@for_loops
def _take_logarithms(values: Any, log_probs: Any) -> None:
    """Set log_probs (V,) to `exact_log` of values (V,), which are overwritten."""
    bits = values.view(np.int64)
    for char in range(len(values)):
        log_probs[char] = (bits[char] >> FRACTION_BITS) - EXPONENT_OF_HALF
        bits[char] = (bits[char] & FRACTION) | HALF
    for char in range(len(values)):
        factor = values[char]
        exponent = log_probs[char]
        is_small = factor < SQRT_HALF
        factor = factor + factor if is_small else factor
        exponent = exponent - 1.0 if is_small else exponent
        ratio = (factor - 1.0) / (factor + 1.0)
        x = ratio * ratio
        high = ((((((A14 * x + A13) * x + A12) * x + A11) * x + A10) * x + A9) * x + A8) * x + A7
        total = ((((((high * x + A6) * x + A5) * x + A4) * x + A3) * x + A2) * x + A1) * x + A0
        log_probs[char] = exponent * LN2_HIGH + ((ratio + ratio) * total + exponent * LN2_LOW)


@for_loops
def _mix(
    counts: Any,
    logits: Any,
    history: Any,
    mixed: Any,
    values: Any,
    room: Any,
    seen: Any,
    intervals: Any,
) -> None:
    """Set mixed (V,) to what `Counts.mix` makes of the logits (V,) of a network and a history (K,).
    values (V,) are overwritten; the others are the room of `contexts.predict_next`."""
    # How sure the network is: the largest exponential is 1.
    size = len(logits)
    largest = logits[0]
    for char in range(size):
        largest = max(largest, logits[char])
    for char in range(size):
        values[char] = loops.exp(np.float64(logits[char]) - np.float64(largest))
    total = 0.0
    for char in range(size):
        total += values[char]

    # What the counts say, and how sure they are.
    contexts.predict_next(
        counts.contexts,
        counts.frequent,
        counts.longest,
        counts.discounts,
        history,
        values,
        room,
        seen,
        intervals,
    )
    most_by_counts = 0.0
    for char in range(size):
        most_by_counts = max(most_by_counts, values[char])

    pair = NUM_SURE * _how_sure(1.0 / total) + _how_sure(most_by_counts)
    if _is_run(history):
        pair = NUM_PAIRS - 1
    chosen = counts.powers[pair]
    _take_logarithms(values, mixed)
    for char in range(size):
        score = np.float64(logits[char]) - np.float64(largest)
        mixed[char] = chosen[0] * score + chosen[1] * mixed[char]


def write_with_counts(
    weights: Any,
    streams: Any,
    uniforms: Any,
    drawing: Any,
    scratch: Any,
    ids: Any,
    logprobs: Any,
    counts: Any,
    histories: Any,
) -> None:
    """Draw N characters in each of B streams by uniforms (B, N), as `loops.write` does.

    The logits (B, V) of `streams` are in float64; they, the state (L, S, B, H) and the histories
    (B, K) change in place.
    """
    num_streams, num_chars = uniforms.shape
    state, mixed = streams
    places = scratch.places
    state_at = np.int64(state.ctypes.data)
    logits = np.empty(mixed.shape, np.float32)
    logits_at = np.int64(logits.ctypes.data)
    scores = np.empty(mixed.shape[1])
    probs = np.empty(mixed.shape[1])
    room = np.zeros(mixed.shape[1], np.int64)
    seen = np.zeros(mixed.shape[1], np.int64)
    intervals = np.empty((histories.shape[1] + 1, 2), np.int64)
    drawn_now = np.empty(num_streams, np.int64)

    for index in range(num_chars):
        loops.draw_streams(mixed, uniforms, index, drawing, scores, probs, drawn_now, ids, logprobs)
        loops.step(weights.plan, drawn_now, state_at, places)
        loops.predict(weights.plan, num_streams, places, logits_at)
        for stream in range(num_streams):
            history = histories[stream]
            history[:-1] = history[1:]
            history[-1] = drawn_now[stream]
            _mix(counts, logits[stream], history, mixed[stream], probs, room, seen, intervals)


SOURCES = [*loops.SOURCES, *(Path(str(module.__file__)) for module in (contexts, mixing_powers))]
"""The files of what is compiled into the loop."""
LOOP = CompiledLoop(write_with_counts, SOURCES)
"""The loop that `prepare` loads or compiles."""


def can_compile(stepper: CountedStepper) -> bool:
    """Return whether the loop of the network is compiled."""
    return loops.can_compile(stepper.network)


class CompiledRows(loops.CompiledRows):
    """B texts that are drawn by the compiled loop, each with its history."""

    def __init__(self, stepper: CountedStepper, streams: Streams) -> None:
        """Take the streams of texts that a `stepper` has begun."""
        state: CountedState = streams.state
        self._begin_groups(stepper.network, streams, vectors=state.network.vectors)
        predictor = stepper.counts.predictor
        self._counts = LoopCounts(
            predictor.contexts,
            predictor.frequent,
            longest=predictor.longest,
            discounts=predictor.discounts,
            powers=stepper.counts.powers.values,
        )
        self._histories = [state.history.take(group, axis=0) for group in self._groups]

    def _run_loop(self, index: int, *arguments: Any) -> None:
        LOOP(*arguments, self._counts, self._histories[index])

    def begin(self, is_begun: NDArray[np.bool_], primed: PrimedState) -> None:
        """Put the state after the prime into the rows that `is_begun` (B,) marks."""
        super().begin(is_begun, primed._replace(state=primed.state.network))
        for group, histories in zip(self._groups, self._histories, strict=True):
            histories[is_begun[group]] = primed.state.history


def arguments_of() -> tuple[Any, ...]:
    """Make arguments of the loop with the types of every call: no characters, one stream."""
    weights, (state, _), uniforms, drawing, scratch, drawn, logprobs = loops.arguments_of("write")
    places = np.zeros(1, np.int32)
    chars = np.zeros(1, np.uint16)
    depths = np.zeros(1, np.uint8)
    counts = LoopCounts(
        contexts.SortedContexts(chars, places, followers=chars, depths=depths, shared=depths),
        contexts.FrequentContexts(
            np.zeros((1, 1), np.int32),
            intervals=np.zeros((1, 2), np.int64),
            probabilities=np.zeros((1, 1)),
        ),
        longest=0,
        discounts=np.zeros((1, 4)),
        powers=np.zeros((NUM_PAIRS, 2)),
    )
    streams = (state, np.zeros((1, 1)))
    histories = np.zeros((1, 1), np.int64)
    return weights, streams, uniforms, drawing, scratch, drawn, logprobs, counts, histories


def prepare(name: str, *, may_compile: bool) -> CompiledLoop | None:
    """Return the loop; None if it is not on disk and not `may_compile`, or cannot be compiled."""
    return loops.prepare_loop(LOOP, arguments_of(), may_compile=may_compile)
