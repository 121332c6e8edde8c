"""The distribution: always one, always what its options say, in the order that they say.

Shapes: B batch, V vocabulary.
"""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.generation.distribution import Float64Array, log_softmax, next_char_probs
from charrnn.generation.options import Shaping

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12))
ANY_LOGITS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32)))
TIED_LOGITS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.sampled_from([-2.0, 0.0, 0.5, 3.0])))
MODERATE_LOGITS = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-20, 20)))
LOGITS = st.one_of(ANY_LOGITS, TIED_LOGITS)
TEMPERATURES = st.one_of(st.just(0.0), st.floats(-6, 6).map(lambda power: 10.0**power))
SHARES = st.floats(0, 1, exclude_min=True)


def softmax(logits: NDArray[Any]) -> Float64Array:
    """The definition itself, for logits near zero."""
    exponentials = np.exp(logits.astype(np.float64))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


@st.composite
def shaped_logits(draw: st.DrawFn) -> tuple[NDArray[np.float32], Shaping]:
    """Logits and any options at all; at least one id is not banned."""
    logits = draw(LOGITS)
    ids = st.integers(0, logits.shape[1] - 1)
    shaping = Shaping(
        temperature=draw(TEMPERATURES),
        top_k=draw(st.none() | st.integers(1, 15)),
        top_p=draw(st.none() | SHARES),
        min_p=draw(st.none() | st.floats(0, 1)),
        banned=tuple(draw(st.lists(ids, max_size=logits.shape[1] - 1))),
    )
    return logits, shaping


@given(shaped_logits())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_every_row_is_a_distribution_without_a_warning(case: tuple[NDArray[np.float32], Shaping]) -> None:
    logits, shaping = case
    before = logits.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probs = next_char_probs(logits, shaping)
    assert np.array_equal(logits, before)
    assert probs.shape == logits.shape and probs.dtype == np.float64
    assert (probs >= 0).all(), "a NaN compares as false"
    # A float64 sum of at most 12 numbers that were divided by their sum: some 1e-16 off one.
    np.testing.assert_allclose(probs.sum(axis=-1), 1.0, rtol=0, atol=1e-12)
    assert (probs[:, list(shaping.banned)] == 0).all()
    # Whatever the options keep, the likeliest permitted id is among it, and none is likelier.
    permitted = logits.astype(np.float64)
    permitted[:, list(shaping.banned)] = -np.inf
    rows = np.arange(len(logits))
    assert (probs[rows, permitted.argmax(axis=-1)] == probs.max(axis=-1)).all()


@given(MODERATE_LOGITS, st.floats(0.5, 50))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_temperature_divides_the_logits(logits: NDArray[np.float64], temperature: float) -> None:
    # Relative 1e-12: two float64 exponentials of numbers up to 80, whose rounding the exponential enlarges 80 times.
    np.testing.assert_allclose(
        next_char_probs(logits, Shaping(temperature=temperature)), softmax(logits / temperature), rtol=1e-12, atol=0
    )
    np.testing.assert_allclose(next_char_probs(logits, Shaping()), softmax(logits), rtol=1e-12, atol=0)


@given(LOGITS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_temperature_0_takes_the_first_of_the_likeliest(logits: NDArray[np.float32]) -> None:
    expected = np.zeros(logits.shape)
    expected[np.arange(len(logits)), logits.argmax(axis=-1)] = 1.0
    assert np.array_equal(next_char_probs(logits, Shaping(temperature=0)), expected)
    everything = Shaping(temperature=0, top_k=5, top_p=0.9, min_p=0.1)
    assert np.array_equal(next_char_probs(logits, everything), expected)


@given(st.one_of(TIED_LOGITS, MODERATE_LOGITS), st.integers(1, 15))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_top_k_keeps_exactly_k_also_among_equals(logits: NDArray[Any], top_k: int) -> None:
    probs = next_char_probs(logits, Shaping(top_k=top_k))
    for row, row_logits in zip(probs, logits, strict=True):
        is_kept = row > 0
        assert is_kept.sum() == min(top_k, len(row))
        # Beside the largest logit, since float64 cannot tell apart what differs by less than 1e-16 of that distance.
        behind = row_logits - row_logits.max()
        assert behind[is_kept].min() >= behind[~is_kept].max(initial=-np.inf)
        np.testing.assert_allclose(row[is_kept], softmax(row_logits[is_kept]), rtol=1e-12, atol=0)


@given(st.one_of(TIED_LOGITS, MODERATE_LOGITS), SHARES)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: NDArray[Any], top_p: float) -> None:
    probs = next_char_probs(logits, Shaping(top_p=top_p))
    for row, whole in zip(probs, softmax(logits), strict=True):
        is_kept = row > 0
        kept = whole[is_kept]
        # Sums of 12 float64 numbers: 1e-12 forgives a p that lies on a running sum, to either side.
        assert kept.sum() >= top_p - 1e-12, "reaches p"
        assert len(kept) == 1 or kept.sum() - kept.min() < top_p + 1e-12, "with one less it would not"
        assert kept.min() >= whole[~is_kept].max(initial=0.0) * (1 - 1e-12), "the likeliest are kept"
        np.testing.assert_allclose(row[is_kept], kept / kept.sum(), rtol=1e-12, atol=0)


@given(st.one_of(TIED_LOGITS, MODERATE_LOGITS), st.floats(0, 1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(logits: NDArray[Any], min_p: float) -> None:
    probs = next_char_probs(logits, Shaping(min_p=min_p))
    for row, whole in zip(probs, softmax(logits), strict=True):
        share = whole / whole.max()
        # 1e-12: rounding may decide for a character that lies on the limit.
        assert (row[share > min_p + 1e-12] > 0).all()
        assert (row[share < min_p - 1e-12] == 0).all()
        np.testing.assert_allclose(row[row > 0], whole[row > 0] / whole[row > 0].sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("shaping", "expected"),
    [
        # Bans first: the k likeliest of what is left.
        (Shaping(banned=(0,), top_k=1), [0, 1, 0, 0]),
        (Shaping(banned=(0,), temperature=0), [0, 1, 0, 0]),
        # Top-k before top-p: of 4/7 and 3/7 the first alone reaches 0.5; of 0.4, 0.3, 0.2, 0.1 it would not.
        (Shaping(top_k=2, top_p=0.5), [1, 0, 0, 0]),
        (Shaping(top_p=0.5), [4 / 7, 3 / 7, 0, 0]),
        # Temperature before min-p: squared, the second is 9/16 as likely as the first, no longer 3/4.
        (Shaping(temperature=0.5, min_p=0.6), [1, 0, 0, 0]),
        (Shaping(min_p=0.6), [4 / 7, 3 / 7, 0, 0]),
        # Temperature before top-p: squared, 16/30 alone reaches 0.5.
        (Shaping(temperature=0.5, top_p=0.5), [1, 0, 0, 0]),
        # More than there are.
        (Shaping(top_k=9), [0.4, 0.3, 0.2, 0.1]),
        (Shaping(top_p=1.0), [0.4, 0.3, 0.2, 0.1]),
        (Shaping(min_p=0.0), [0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_the_options_apply_in_their_stated_order(shaping: Shaping, expected: list[float]) -> None:
    logits = np.log([[0.4, 0.3, 0.2, 0.1]]) + 7  # any constant: only differences between logits count
    # Float64 logarithms and back: some 1e-16.
    np.testing.assert_allclose(next_char_probs(logits, shaping), [expected], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        *(({"temperature": value}, "`temperature`") for value in (-0.1, math.inf, -math.inf, math.nan)),
        *(({"top_k": value}, "`top_k`") for value in (0, -3)),
        *(({"top_p": value}, "`top_p`") for value in (0.0, -0.1, 1.1, math.nan)),
        *(({"min_p": value}, "`min_p`") for value in (-0.1, 1.1, math.nan)),
    ],
)
def test_a_mistake_is_named_by_its_parameter_and_value(options: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Shaping(**options)
    (value,) = options.values()
    assert str(caught.value).startswith(f"{name} is {value};")


@given(st.one_of(ANY_LOGITS, TIED_LOGITS, MODERATE_LOGITS))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_log_softmax_is_the_logarithm_of_a_distribution(logits: NDArray[Any]) -> None:
    logprobs = log_softmax(logits)
    assert logprobs.dtype == np.float64 and (logprobs <= 1e-15).all()
    for row, row_logits in zip(logprobs.tolist(), logits.tolist(), strict=True):
        largest = max(row_logits)
        log_total = largest + math.log(math.fsum(math.exp(logit - largest) for logit in row_logits))
        # Differences of float64 numbers up to 2e4, which are exact to 4e-12.
        assert row == pytest.approx([logit - log_total for logit in row_logits], rel=0, abs=1e-11)
