"""The functions of each library compute the same, and a variant changes one of them alone."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.model.cells import Array, Ops
from charrnn.model.layer import TORCH
from charrnn.model.portable_math import EXACT, NUMPY

rng = np.random.default_rng(0)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "sqrt": (rng.random((2, 6), np.float32),),
    "split": (rng.standard_normal((2, 6), np.float32), 3),
    "cat": ((rng.standard_normal((2, 3), np.float32), rng.standard_normal((2, 4), np.float32)),),
    "permute": (rng.standard_normal((2, 6), np.float32), rng.permutation(6)),
    **{name: tuple(rng.standard_normal((2, 2, 6), np.float32)) for name in ("fft", "ifft")},
}
DEFAULT = (4 * rng.standard_normal(12, np.float32),)


def to_torch(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(map(to_torch, argument))
    return torch.from_numpy(argument) if isinstance(argument, np.ndarray) else argument


@pytest.mark.parametrize("ops", [NUMPY, EXACT], ids=["NUMPY", "EXACT"])
@pytest.mark.parametrize("name", [field.name for field in fields(Ops)])
def test_a_function_of_numpy_is_that_of_torch(name: str, ops: Ops[Any]) -> None:
    arguments = ARGUMENTS.get(name, DEFAULT)
    found, expected = getattr(ops, name)(*arguments), getattr(TORCH, name)(*map(to_torch, arguments))
    if isinstance(found, np.ndarray):
        found, expected = (found,), (expected,)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32 and one.shape == other.shape
        # `exact_tanh` is off by 4e-7, a transform of six numbers by a few roundings.
        np.testing.assert_allclose(one, other.numpy(), rtol=2e-6, atol=1e-6)


def test_a_variant_differs_in_what_it_replaces() -> None:
    variant = replace(TORCH, tanh=torch.sin)
    assert variant.tanh is torch.sin and TORCH.tanh is torch.tanh
    assert all(
        getattr(variant, field.name) is getattr(TORCH, field.name) for field in fields(Ops) if field.name != "tanh"
    )


@pytest.mark.parametrize("operation", ["add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "neg"])
def test_equations_may_use_the_usual_arithmetic_in_either_order(operation: str) -> None:
    assert all(callable(getattr(kind, f"__{operation}__")) for kind in (Array, np.ndarray, torch.Tensor))
