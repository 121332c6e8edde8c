"""Eight-bit weights: sums that no order changes, and a tanh that every machine rounds alike."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.model.portable_math import SUM_BITS, TANH_LIMIT, Float32Array, Matrix, exact_tanh


def random_matrix(rows: int, columns: int, seed: int = 0) -> Float32Array:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 7, 512, 3000])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_product_in_eight_bits_is_the_exact_sum_of_what_was_rounded(columns: int, scale: float) -> None:
    weight, x = random_matrix(5, columns), random_matrix(3, columns, seed=1) * np.float32(scale)
    matrix = Matrix(weight, is_int8=True)
    found = matrix.product(x)
    for row in range(3):
        exponent = math.frexp(float(np.abs(x[row]).max()))[1]
        step = Fraction(2) ** (exponent - matrix.bits)
        whole = [round(Fraction(float(value)) / step) for value in x[row]]
        for output in range(5):
            total = sum(int(q) * n for q, n in zip(matrix.values[output], whole, strict=True))
            assert abs(total) <= 2**SUM_BITS
            expected = np.float32(total) * (matrix.scale[output] * np.float32(float(step)))
            assert found[row, output] == expected


def test_the_order_of_a_sum_changes_nothing_in_eight_bits_and_something_in_float32() -> None:
    weight, x = random_matrix(40, 700), random_matrix(1, 700, seed=1)
    order = np.random.default_rng(2).permutation(700)
    for is_int8 in (True, False):
        straight = Matrix(weight, is_int8=is_int8).product(x)
        shuffled = Matrix(weight[:, order], is_int8=is_int8).product(x[:, order])
        assert np.array_equal(straight, shuffled) == is_int8


def test_the_largest_sum_there_can_be_is_a_whole_number_that_float32_holds() -> None:
    for columns in (1, 3, 1024, 5000):
        matrix = Matrix(np.full((2, columns), 0.3, np.float32), is_int8=True)
        assert 127 * columns * 2**matrix.bits <= 2**SUM_BITS < 2 * 127 * columns * 2 ** (matrix.bits + 1)


def test_a_product_in_eight_bits_is_near_the_product() -> None:
    weight, x = random_matrix(64, 256), np.tanh(random_matrix(10, 256, seed=1))
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    # A weight is off by at most half of its row's largest over 127, an input by 2^-(bits + 1) of its largest.
    matrix = Matrix(weight, is_int8=True)
    bound = np.abs(x).sum(1, keepdims=True) * matrix.scale / 2 + np.abs(weight).sum(1) * 2.0 ** -(matrix.bits + 1)
    error = np.abs(matrix.product(x) - exact)
    assert (error <= bound + 1e-4).all()
    assert error.max() > 1e-3, "eight bits are not 24"
    assert np.abs(Matrix(weight, is_int8=False).product(x) - exact).max() < 1e-4


@pytest.mark.parametrize("is_int8", [True, False])
def test_rows_and_inputs_of_zeros_stay_zero(is_int8: bool) -> None:
    weight = random_matrix(3, 8)
    weight[1] = 0
    product = Matrix(weight, is_int8=is_int8).product(np.stack([np.zeros(8, np.float32), weight[0]]))
    assert np.isfinite(product).all() and not product[0].any() and product[1, 1] == 0 and product[1, 0] > 0


@pytest.mark.parametrize("largest", [1e-45, 2.66e-43, 1e-38, 1e-30, 1e38])
def test_rows_of_extreme_weights_are_rounded_or_taken_for_zeros(largest: float) -> None:
    weight = np.float32([[largest, -largest / 2, 0]])
    matrix = Matrix(weight, is_int8=True)
    assert matrix.values[0, 0] == (127 if largest > 2.0**-100 else 0)
    assert matrix.product(np.float32([[1, 0, 0]]))[0, 0] == pytest.approx(largest, rel=1e-6, abs=2.0**-100)


@pytest.mark.parametrize("size", [1e-45, 1e-30, 2.0**-60, 1e30, 3e38])
def test_inputs_of_extreme_size_neither_overflow_nor_lose_more_than_is_said(size: float) -> None:
    matrix = Matrix(np.float32([[1, 0.5]]), is_int8=True)
    found = matrix.product(np.float32([[size, 0]]))[0, 0]
    assert found == pytest.approx(size, rel=2.0**-matrix.bits, abs=2.0 ** (-61 - matrix.bits))


def test_tanh_is_tanh() -> None:
    x = np.linspace(-20, 20, 400_001, dtype=np.float32)
    assert np.abs(exact_tanh(x) - np.tanh(x.astype(np.float64))).max() < 5e-7
    assert np.array_equal(exact_tanh(-x), -exact_tanh(x))
    assert exact_tanh(np.float32([np.inf, TANH_LIMIT])).tolist() == [exact_tanh(np.float32([TANH_LIMIT]))[0]] * 2
    assert exact_tanh(x).dtype == np.float32


@given(st.floats(-30, 30, width=32))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_tanh_is_the_same_alone_and_in_a_row(value: float) -> None:
    alone = exact_tanh(np.float32([value]))[0]
    row = exact_tanh(np.full(37, value, np.float32))
    assert (row == alone).all()
