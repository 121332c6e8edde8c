"""Arithmetic that rounds alike everywhere: right, whatever the order of a sum, and the same on
imitated processors."""

import math
import subprocess
import sys
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import clean_environment
from environment import HELPERS, python_path
from hand_built import TEXTS, text_hash
from numpy._core._multiarray_umath import __cpu_dispatch__

from charrnn.generation import sampling
from charrnn.model import portable_math
from charrnn.model.cell_types import Ops
from charrnn.model.layer import TORCH
from charrnn.model.portable_math import (
    EXACT,
    NUMPY,
    SUM_BITS,
    TANH_LIMIT,
    Matrix,
    attend,
    exact_product,
    exact_tanh,
)


@pytest.mark.parametrize("num_terms", [0, 1, 3, 64, 5000])
def test_a_product_does_not_depend_on_the_order_of_its_sums(num_terms):
    generator = np.random.default_rng(1)
    x = generator.standard_normal((4, num_terms)).astype(np.float32)
    weight = generator.standard_normal((9, num_terms)).astype(np.float32)
    found = exact_product(x, weight)
    assert found.shape == (4, 9)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(num_terms)
        assert np.array_equal(exact_product(x[:, order], weight[:, order]), found)
    assert np.array_equal(exact_product(np.ldexp(x, -60), weight), np.ldexp(found, -60)), (
        "relative to the largest"
    )
    plain = x.astype(np.float64) @ weight.T.astype(np.float64)
    # Both are off by a few units of the last bit of their largest terms; the parts of 20 bits lose
    # 2^-40 of them.
    np.testing.assert_allclose(found, plain, rtol=0, atol=2.0**-36 * max(num_terms, 1))
    assert np.array_equal(found.astype(np.float32), plain.astype(np.float32)) or num_terms > 64
    if num_terms:
        x[0, 0] = np.nan
        assert np.isnan(exact_product(x, weight)[0]).all()


@pytest.mark.parametrize("size", [1, 2, 33])
def test_attention_is_the_same_for_one_row_and_for_many(size):
    generator = np.random.default_rng(size)
    query, past = (
        generator.normal(size=(7, size)).astype(np.float32),
        generator.normal(size=(64, 7, size)),
    )
    past = past.astype(np.float32)
    read = attend(query, past)
    assert all(
        np.array_equal(read[[row]], attend(query[[row]], past[:, [row]])) for row in range(7)
    )
    assert np.array_equal(read[2:5], attend(query[2:5], past[:, 2:5]))


def test_cosine_and_sine_are_right():
    angles = np.concatenate(
        [np.linspace(-50, 50, 100_001), np.arange(-9, 9) * np.pi / 4, [0.0, 1e-300, 1e5]]
    )
    cos, sin = portable_math.exact_cos_sin(angles)
    np.testing.assert_allclose(cos, np.cos(angles), rtol=0, atol=4e-16)
    np.testing.assert_allclose(sin, np.sin(angles), rtol=0, atol=4e-16)
    angles = np.linspace(-7, 7, 1001).astype(np.float32)
    assert np.array_equal(EXACT.cos(angles), np.cos(angles.astype(np.float64)).astype(np.float32))
    assert np.array_equal(EXACT.sin(angles), np.sin(angles.astype(np.float64)).astype(np.float32))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 12, 17, 60, 97, 256])
def test_the_transform_is_that_of_numpy(size):
    re, im = np.random.default_rng(size).standard_normal((2, 5, size)).astype(np.float32)
    expected = np.fft.fft(re.astype(np.float64) + 1j * im, norm="ortho")
    found = portable_math.exact_fft(re, im)
    # Sums of some 20 terms in float64, rounded to float32.
    np.testing.assert_allclose(found[0], expected.real, rtol=6e-8, atol=1e-13)
    np.testing.assert_allclose(found[1], expected.imag, rtol=6e-8, atol=1e-13)


@pytest.mark.parametrize("cell", TEXTS)
def test_a_seed_writes_the_same_text_as_ever(cell):
    assert text_hash(cell) == TEXTS[cell]


WRITE = """
import hashlib, sys
import numpy as np
from hand_built import draw_texts, hand_built_stepper
from charrnn.generation import sampling
sampling.COMPILED_FROM = 10**9
for cell, depth in (("unitary", "stacked"), ("lstm", "stacked"), ("lstm", "grid")):
    stepper = hand_built_stepper(cell, depth)
    [text] = draw_texts(stepper, [1, 2], [3], length=80, cell=(1, 2))
    print(cell, hashlib.sha256(stepper.tables["layers.0.ih"].tobytes()).hexdigest(), text.ids, text.values)
"""
PROCESSORS = {
    "NumPy without options": {"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)},
    "BLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "BLAS for Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
}


@pytest.mark.slow
def test_every_processor_writes_the_text(monkeypatch, capsys):
    path = python_path(HELPERS)
    monkeypatch.setattr(sampling, "COMPILED_FROM", 10**9)
    exec(WRITE, {})
    printed = {"this one": capsys.readouterr().out}
    for name, changes in PROCESSORS.items():
        environment = clean_environment(
            **{"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"} | changes
        )
        done = subprocess.run(
            [sys.executable, "-c", WRITE],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        printed[name] = done.stdout
    assert len(printed["this one"].splitlines()) == 3
    assert {name: text for name, text in printed.items() if text != printed["this one"]} == {}


def random_matrix(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 7, 512, 3000])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_product_in_eight_bits_is_the_exact_sum_of_what_was_rounded(columns, scale):
    weight, x = random_matrix(5, columns), random_matrix(3, columns, seed=1) * np.float32(scale)
    matrix = Matrix(weight, is_int8=True)
    found = matrix.product(x)
    assert np.abs(matrix.values.astype(int)).sum(axis=1).max() * 2**matrix.bits <= 2**SUM_BITS
    order = np.random.default_rng(2).permutation(columns)
    assert np.array_equal(Matrix(weight[:, order], is_int8=True).product(x[:, order]), found), (
        "in any order"
    )
    for row in range(3):
        exponent = math.frexp(float(np.abs(x[row]).max()))[1]
        step = Fraction(2) ** (exponent - matrix.bits)
        whole = [round(Fraction(float(value)) / step) for value in x[row]]
        for output in range(5):
            total = sum(int(q) * n for q, n in zip(matrix.values[output], whole, strict=True))
            assert abs(total) <= 2**SUM_BITS
            expected = np.float32(total) * (matrix.scale[output] * np.float32(float(step)))
            assert found[row, output] == expected


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-30, 2.0**-60, 1e30, 3e38])
def test_weights_and_inputs_of_extreme_size_neither_overflow_nor_lose_more_than_is_said(size):
    assert Matrix(np.float32([[size, -size / 2]]), is_int8=True).values[0, 0] == (
        127 if size > 2.0**-100 else 0
    )
    matrix = Matrix(np.float32([[1, 0.5]]), is_int8=True)
    found = matrix.product(np.float32([[size, 0]]))[0, 0]
    assert found == pytest.approx(size, rel=2.0**-matrix.bits, abs=2.0 ** (-61 - matrix.bits))


def test_tanh_is_tanh_exp_is_exp_and_softplus_is_softplus():
    x = np.linspace(-20, 20, 400_001, dtype=np.float32)
    assert np.abs(exact_tanh(x) - np.tanh(x.astype(np.float64))).max() < 5e-7
    assert np.array_equal(exact_tanh(-x), -exact_tanh(x))
    assert (
        exact_tanh(np.float32([np.inf, TANH_LIMIT])).tolist()
        == [exact_tanh(np.float32([TANH_LIMIT]))[0]] * 2
    )
    assert exact_tanh(x).dtype == np.float32
    expected = np.logaddexp(0, x.astype(np.float64))
    np.testing.assert_allclose(
        EXACT.softplus(x), expected, rtol=1.2e-7, atol=0
    )  # two roundings to float32
    limit = portable_math.EXP_LIMIT
    values = portable_math.exact_exp(
        np.array([0.0, -1.0, limit, np.nextafter(limit, -np.inf), -np.inf, np.nan])
    )
    assert (
        values[:3] == pytest.approx([1, math.exp(-1), math.exp(limit)], abs=0)
        and not values[3:].any()
    )


rng = np.random.default_rng(0)
ARGUMENTS = {
    "sqrt": (rng.random((2, 6), np.float32),),
    "split": (rng.standard_normal((2, 6), np.float32), 3),
    "linear": (rng.standard_normal((2, 6), np.float32), rng.standard_normal((4, 6), np.float32)),
    "cat": ((rng.standard_normal((2, 3), np.float32), rng.standard_normal((2, 4), np.float32)),),
    "fft": tuple(rng.standard_normal((2, 2, 6), np.float32)),
}
DEFAULT = (4 * rng.standard_normal(12, np.float32),)


def to_torch(argument):
    if isinstance(argument, tuple):
        return tuple(map(to_torch, argument))
    return torch.from_numpy(argument) if isinstance(argument, np.ndarray) else argument


@pytest.mark.parametrize("ops", [NUMPY, EXACT], ids=["NUMPY", "EXACT"])
@pytest.mark.parametrize("name", [field.name for field in fields(Ops)])
def test_a_function_of_numpy_is_that_of_torch(name, ops):
    arguments = ARGUMENTS.get(name, DEFAULT)
    in_numpy = getattr(ops, name)
    in_torch = getattr(TORCH, name)
    found = in_numpy(*arguments)
    expected = in_torch(*map(to_torch, arguments))
    if isinstance(found, np.ndarray):
        found, expected = (found,), (expected,)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32 and one.shape == other.shape
        # `exact_tanh` is off by 4e-7, a transform of six numbers by a few roundings.
        np.testing.assert_allclose(one, other.numpy(), rtol=2e-6, atol=1e-6)
