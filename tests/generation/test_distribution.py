"""The distribution equals a naive loop that applies the options in their stated order. B batch, V
vocabulary."""

import math
import warnings

import numpy as np
from hand_built import mask_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from charrnn.generation.distribution import char_weights
from charrnn.generation.sample_options import SampleOptions

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12))
ANY_LOGITS = SHAPES.flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32))
)
TIED_LOGITS = SHAPES.flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([-2.0, 0.0, 0.5, 3.0]))
)
TEMPERATURES = st.one_of(
    st.just(0.0), st.just(1.0), st.floats(-6, 6).map(lambda power: 10.0**power)
)


@st.composite
def shaped_logits(draw):
    """Logits, any options at all, and banned ids; at least one id is not banned."""
    logits = draw(ANY_LOGITS | TIED_LOGITS)
    ids = st.integers(0, logits.shape[1] - 1)
    shaping = SampleOptions(
        temperature=draw(TEMPERATURES),
        top_k=draw(st.none() | st.integers(1, 15)),
        top_p=draw(st.none() | st.floats(0, 1, exclude_min=True)),
        min_p=draw(st.none() | st.floats(0, 1)),
    )
    return logits, shaping, draw(st.lists(ids, max_size=logits.shape[1] - 1))


def naive_probs(logits, shaping, banned):
    """Return the probability of each character, and whether rounding may decide if a character is
    kept."""
    order = sorted(set(range(len(logits))) - {*banned}, key=lambda id: (-logits[id], id))
    kept = order[: 1 if shaping.temperature == 0 else shaping.top_k]
    weights = {
        id: math.exp((logits[id] - logits[order[0]]) / (shaping.temperature or 1)) for id in kept
    }
    is_near = False
    if shaping.top_p is not None:
        total, before = math.fsum(weights.values()), 0.0
        for id in kept:
            # The first character is kept whatever p is.
            is_near |= before > 0 and abs(before - shaping.top_p * total) < 1e-9
            if before and before >= shaping.top_p * total:
                del weights[id]
            else:
                before += weights[id]
    if shaping.min_p is not None:
        is_near |= any(
            weight and abs(weight - shaping.min_p) < 1e-9
            for weight in weights.values()
            if weight < 1
        )
        weights = {id: weight for id, weight in weights.items() if weight >= shaping.min_p}
    total = math.fsum(weights.values())
    return [weights.get(id, 0.0) / total for id in range(len(logits))], is_near


@given(shaped_logits())
@settings(max_examples=60)
def test_each_row_is_that_of_a_naive_loop(case):
    logits, shaping, banned = case
    before = logits.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probs = np.array(
            [char_weights(row, shaping, banned=mask_of(banned, len(row))).probs for row in logits]
        )
    assert np.array_equal(logits, before)
    assert probs.shape == logits.shape
    assert probs.dtype == np.float64
    # A float64 sum of at most 12 numbers that were divided by their sum: some 1e-16 off one.
    np.testing.assert_allclose(probs.sum(axis=-1), 1.0, rtol=0, atol=1e-12)
    for row, row_probs in zip(logits, probs, strict=True):
        expected, is_near = naive_probs(row.tolist(), shaping, banned)
        if not is_near:
            np.testing.assert_allclose(row_probs, expected, rtol=1e-9, atol=1e-12)
