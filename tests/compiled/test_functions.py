"""exp and tanh of compiled loops: the bits of NumPy's."""

import numpy as np
import pytest

from charrnn.compiled import functions
from charrnn.model.portable_math import exact_exp, exact_tanh
from charrnn.system.compiling import CompiledLoop

pytest.importorskip("numba", reason="numba is not installed")


def exp_of(x):
    return [functions.exp(value) for value in x]


def tanh_of(x):
    return [functions.tanh(value) for value in x]


def test_exp_has_the_bits_of_numpy():
    numbers = np.random.default_rng(1).uniform(-30, 0, 200)
    x = np.concatenate((numbers, [0.0, -1e-300, -699.9, -700.0, -701.0, -np.inf]))
    assert CompiledLoop(exp_of)(x) == exact_exp(x).tolist()


def test_tanh_has_the_bits_of_numpy():
    numbers = np.random.default_rng(2).normal(scale=4, size=200)
    x = np.concatenate((numbers, [0.0, -0.0, 1e-30, 9.0, -9.1, 1e30])).astype(np.float32)
    found = np.array(CompiledLoop(tanh_of)(x), np.float32)
    assert found.tobytes() == exact_tanh(x).tobytes()
