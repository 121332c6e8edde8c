"""Arithmetic that rounds alike everywhere: right, whatever the order of a sum, and the same on imitated processors."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import clean_environment
from environment import python_path
from hand_built import TEXTS, text_hash

from charrnn.model.portable_math import exact_cos, exact_cos_sin, exact_fft, exact_ifft, exact_product, exact_sin


@pytest.mark.parametrize("num_terms", [0, 1, 3, 64, 5000])
def test_a_product_does_not_depend_on_the_order_of_its_sums(num_terms: int) -> None:
    generator = np.random.default_rng(1)
    x, weight = (generator.standard_normal((rows, num_terms)).astype(np.float32) for rows in (4, 9))
    found = exact_product(x, weight)
    assert found.shape == (4, 9)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(num_terms)
        assert np.array_equal(exact_product(x[:, order], weight[:, order]), found)
    plain = x.astype(np.float64) @ weight.T.astype(np.float64)
    # Both are off by a few units of the last bit of their largest terms; the parts of 20 bits lose 2^-40 of them.
    np.testing.assert_allclose(found, plain, rtol=0, atol=2.0**-36 * max(num_terms, 1))
    assert np.array_equal(found.astype(np.float32), plain.astype(np.float32)) or num_terms > 64


def test_a_product_is_the_exact_sum_of_what_its_parts_hold() -> None:
    x = np.array([[1.0, 2.0**-40, -3.5, 1e-30]], np.float32)
    weight = np.array([[1.0, 2.0**22, 7.25, 5.0], [0, 0, 0, 0], [2.0**100, 2.0**99, 1, 1]], np.float32)
    found = exact_product(x, weight)[0]
    exact = [sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x[0], row, strict=True)) for row in weight]
    for value, expected, row in zip(found, exact, weight, strict=True):
        assert abs(Fraction(float(value)) - expected) <= Fraction(2) ** -45 * Fraction(
            float(4 * 3.5 * np.abs(row).max())
        )


def test_values_that_are_not_finite_stay_so() -> None:
    assert np.isnan(exact_product(np.array([[np.nan, 1.0]]), np.ones((2, 2)))).all()
    assert (exact_product(np.array([[np.inf, 1.0]]), np.ones((2, 2))) == np.inf).all()


def test_cosine_and_sine_are_right() -> None:
    angles = np.concatenate([np.linspace(-50, 50, 100_001), np.arange(-9, 9) * np.pi / 4, [0.0, 1e-300, 1e5]])
    cos, sin = exact_cos_sin(angles)
    np.testing.assert_allclose(cos, np.cos(angles), rtol=0, atol=4e-16)
    np.testing.assert_allclose(sin, np.sin(angles), rtol=0, atol=4e-16)
    angles = np.linspace(-7, 7, 1001).astype(np.float32)
    assert np.array_equal(exact_cos(angles), np.cos(angles.astype(np.float64)).astype(np.float32))
    assert np.array_equal(exact_sin(angles), np.sin(angles.astype(np.float64)).astype(np.float32))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 12, 17, 60, 97, 256])
def test_the_transform_is_that_of_numpy(size: int) -> None:
    generator = np.random.default_rng(size)
    re, im = generator.standard_normal((2, 5, size)).astype(np.float32)
    expected = np.fft.fft(re.astype(np.float64) + 1j * im, norm="ortho")
    found = exact_fft(re, im)
    # Sums of some 20 terms in float64, rounded to float32.
    np.testing.assert_allclose(found[0], expected.real, rtol=6e-8, atol=1e-13)
    np.testing.assert_allclose(found[1], expected.imag, rtol=6e-8, atol=1e-13)
    for part, original in zip(exact_ifft(*found), (re, im), strict=True):
        np.testing.assert_allclose(part, original, rtol=0, atol=2e-6)


@pytest.mark.parametrize("cell", TEXTS)
def test_a_seed_writes_the_same_text_as_ever(cell: str) -> None:
    assert text_hash(cell) == TEXTS[cell]


WRITE = """
import hashlib, sys
import numpy as np
from hand_built import hand_built_stepper
from charrnn.generation import sampling
from charrnn.generation.options import Shaping
sampling.COMPILED_FROM = 10**9
for cell, depth in (("unitary", "stacked"), ("lstm", "stacked"), ("lstm", "grid")):
    stepper = hand_built_stepper(cell, depth)
    reading = sampling.prime_model(stepper, np.array([1, 2]))
    blocks = sampling.sample_ids(stepper, reading, [Shaping()], [(3, 0)], length=200, cell=(1, 2))
    parts = [np.concatenate(part, axis=1).tobytes() for part in list(zip(*blocks))[::2]]
    print(cell, hashlib.sha256(b"".join([stepper.tables["layers.0.ih"].tobytes(), *parts])).hexdigest())
"""
PROCESSORS = {
    "this one": {},
    "without AVX2 in NumPy": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
    "BLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "BLAS for Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
}


def test_the_same_text_and_states_on_every_imitated_processor() -> None:
    path = python_path(Path(__file__).parent)
    printed = {}
    for name, changes in PROCESSORS.items():
        environment = clean_environment(**{"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"} | changes)
        done = subprocess.run(
            [sys.executable, "-c", WRITE], capture_output=True, text=True, env=environment, check=True
        )
        printed[name] = done.stdout
    assert len(printed["this one"].splitlines()) == 3
    assert {name: text for name, text in printed.items() if text != printed["this one"]} == {}
