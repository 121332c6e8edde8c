"""Draw text from a network and counts by a compiled loop: the loop of `charrnn.compiled.sampling`,
with the counts mixed in after every character.

The results equal those of `CountedStepper` bit for bit.

Shapes: B streams, N characters, V vocabulary, K characters of the longest context.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from charrnn.compiled import sampling as loops
from charrnn.counts import contexts
from charrnn.counts.compiled_mixing import SOURCES, LoopCounts, mix
from charrnn.counts.contexts import Float64Array, Int64Array
from charrnn.counts.counted_model import CountedState, CountedStepper
from charrnn.counts.mixing_powers import NUM_PAIRS
from charrnn.generation.sample_options import Shaping
from charrnn.generation.sampling import Block
from charrnn.system.compiling import CompiledLoop


def write_with_counts(
    model: Any,
    streams: Any,
    uniforms: Float64Array,
    shaping: Any,
    scratch: Any,
    ids: Int64Array,
    logprobs: Float64Array,
    counts: LoopCounts,
    histories: Int64Array,
) -> None:
    """Draw N characters in each of B streams by uniforms (B, N), as `loops.write` does.

    The logits (B, V) of `streams` are in float64; they, the state (L, S, B, H) and the histories
    (B, K) change in place.
    """
    num_streams, num_chars = uniforms.shape
    state, mixed = streams
    places = scratch.places
    state_at = np.int64(state.ctypes.data)
    logits = np.empty(mixed.shape, dtype=np.float32)
    logits_at = np.int64(logits.ctypes.data)
    scores = np.empty(mixed.shape[1])
    weights = np.empty(mixed.shape[1])
    count_scratch = contexts.make_scratch(counts.ngrams)
    drawn_now = np.empty(num_streams, dtype=np.int64)

    for index in range(num_chars):
        loops.draw_streams(
            mixed, uniforms, index, shaping, scores, weights, drawn_now, ids, logprobs
        )
        loops.step(model.layout, drawn_now, state_at, places)
        loops.predict(model.layout, num_streams, places, logits_at)
        for stream in range(num_streams):
            # The counts predict after the character that was drawn, as the network does.
            history = histories[stream]
            history[:-1] = history[1:]
            history[-1] = drawn_now[stream]
            mix(counts, logits[stream], history, mixed[stream], weights, count_scratch)


LOOP = CompiledLoop(write_with_counts, SOURCES)
"""The loop that `prepare` loads or compiles."""


def can_compile(stepper: CountedStepper) -> bool:
    """Return whether the loop of the network can be compiled."""
    return loops.can_compile(stepper.network)


class CountedRows(loops.NetworkRows):
    """Texts that the compiled loop draws, each with its history."""

    def __init__(
        self, stepper: CountedStepper, shaping: Shaping, banned: Sequence[int], num_rows: int
    ) -> None:
        super().__init__(stepper.network, shaping=shaping, banned=banned, num_rows=num_rows)
        self._counts = LoopCounts(stepper.counts.predictor, stepper.counts.powers.values)

    def _run_loop(
        self,
        logits: Float64Array,
        state: CountedState,
        uniforms: Float64Array,
        scratch: loops.Scratch,
        block: Block,
    ) -> None:
        LOOP(
            self._model,
            (state.network.vectors, logits),
            uniforms,
            self._shaping,
            scratch,
            block.ids,
            block.logprobs,
            self._counts,
            state.history,
        )


make_rows = CountedRows
"""Called by `generation.sampling`."""


def arguments_of() -> tuple[Any, ...]:
    """Return arguments of the loop with the types of every call: no characters, one stream."""
    model, (state, _), uniforms, shaping, scratch, drawn, logprobs = loops.arguments_of("write")
    places = np.zeros(1, np.int32)
    chars = np.zeros(1, np.uint16)
    depths = np.zeros(1, np.uint8)
    ngrams = contexts.NgramPredictor(
        contexts.SortedContexts(chars, places, followers=chars, depths=depths, shared=depths),
        contexts.FrequentContexts(
            np.zeros((1, 1), np.int32),
            intervals=np.zeros((1, 2), dtype=np.int64),
            probabilities=np.zeros((1, 1)),
        ),
        longest=0,
        discounts=np.zeros((1, 4)),
    )
    counts = LoopCounts(ngrams, powers=np.zeros((NUM_PAIRS, 2)))
    streams = (state, np.zeros((1, 1)))
    histories = np.zeros((1, 1), np.int64)
    return model, streams, uniforms, shaping, scratch, drawn, logprobs, counts, histories


def prepare(name: str, *, may_compile: bool) -> CompiledLoop | None:
    """Return the loop; None if it is not on disk and not `may_compile`, or cannot be compiled."""
    return loops.prepare_loop(LOOP, arguments_of(), may_compile=may_compile)
