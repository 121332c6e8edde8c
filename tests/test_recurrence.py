"""Products with a weight that is packed once, and the recurrences built on them, beside plain matrix products.

Shapes: T time, B batch, H hidden.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from charrnn.model import recurrence
from charrnn.model.recurrence import (
    LEAST_FP32_TO_PACK,
    LEAST_STEPS_TO_PACK,
    RecurrentProduct,
    RepeatedProduct,
    can_pack,
    gru,
    has_aten_backward,
    rnn,
    sigmoid_backward,
    tanh_backward,
)

T, B, H = 2 * LEAST_STEPS_TO_PACK, 5, 24
# A bf16 number has 8 significant bits; results are rounded once or twice, and errors of 2^-9 each add up over T steps.
ROUNDED: dict[str, Any] = {"rtol": 2**-6, "atol": 2**-5}


def draw(*shape: int, dtype: torch.dtype, seed: int, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_steps", [1, T])
@pytest.mark.parametrize("rows", [3 * H, LEAST_FP32_TO_PACK // H + 1])
def test_a_repeated_product_is_a_matrix_product(rows: int, dtype: torch.dtype, num_steps: int) -> None:
    weight, bias = draw(rows, H, dtype=dtype, seed=0), draw(rows, dtype=dtype, seed=1)
    x, added = draw(B, H, dtype=dtype, seed=2), draw(B, rows, dtype=dtype, seed=3)
    product = RepeatedProduct(weight, B, num_steps)
    before = added.clone()
    expected = x.double() @ weight.double().t()
    # One rounding of a sum of 24 terms of size 1.
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 40 * torch.finfo(dtype).eps}
    torch.testing.assert_close(product(x).double(), expected, **tolerance)
    torch.testing.assert_close(product(x, bias).double(), expected + bias.double(), **tolerance)
    torch.testing.assert_close(product.plus(x, added).double(), expected + added.double(), **tolerance)
    assert torch.equal(added, before), "what is added is left as it was"
    assert product(x).dtype == dtype


def test_only_a_weight_that_is_worth_it_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = []

    def reorder(weight: Tensor, batch_size: int) -> Tensor:
        packed.append((weight.dtype, len(weight), batch_size))
        return weight

    monkeypatch.setattr(recurrence, "can_pack", lambda dtype: True)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(_reorder_linear_weight=reorder))
    large = LEAST_FP32_TO_PACK // H + 1
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for num_steps in (1, LEAST_STEPS_TO_PACK - 1, LEAST_STEPS_TO_PACK):
            for rows in (H, large):
                RepeatedProduct(draw(rows, H, dtype=dtype, seed=0), B, num_steps)
    assert packed == [(torch.float32, large, B), (torch.bfloat16, H, B), (torch.bfloat16, large, B)]


def broken(*arguments: object) -> Tensor:
    raise RuntimeError("no such kernel")


def wrong(x: Tensor, packed: Tensor, *rest: object) -> Tensor:
    return torch.zeros(2, 4, dtype=torch.bfloat16)


@pytest.mark.parametrize(
    "operators",
    [
        SimpleNamespace(),
        SimpleNamespace(_reorder_linear_weight=broken, _linear_pointwise=wrong),
        SimpleNamespace(_reorder_linear_weight=lambda weight: weight, _linear_pointwise=wrong),
        SimpleNamespace(_reorder_linear_weight=lambda weight, size: weight, _linear_pointwise=wrong),
    ],
    ids=["missing", "not for this processor", "of another signature", "without a binary form"],
)
def test_without_the_packed_operators_plain_products_are_taken(
    monkeypatch: pytest.MonkeyPatch, operators: SimpleNamespace
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    can_pack.cache_clear()
    try:
        assert not can_pack(torch.bfloat16)
        weight, x = draw(H, H, dtype=torch.bfloat16, seed=0), draw(B, H, dtype=torch.bfloat16, seed=1)
        torch.testing.assert_close(RepeatedProduct(weight, B, T)(x), linear(x, weight), **ROUNDED)
    finally:
        can_pack.cache_clear()


def test_operators_that_compute_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong.binary = wrong  # type: ignore[attr-defined]
    operators = SimpleNamespace(_reorder_linear_weight=lambda weight, size: weight, _linear_pointwise=wrong)
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    can_pack.cache_clear()
    try:
        assert not can_pack(torch.bfloat16)
    finally:
        del wrong.binary  # type: ignore[attr-defined]
        can_pack.cache_clear()


@pytest.fixture
def no_operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch without the operators that are not public."""
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    monkeypatch.setattr(torch.ops, "aten", SimpleNamespace())
    clear_probes()
    yield
    monkeypatch.undo()
    clear_probes()


def clear_probes() -> None:
    can_pack.cache_clear()
    has_aten_backward.cache_clear()


def test_this_torch_has_the_derivatives_as_operators() -> None:
    assert has_aten_backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_operators", [True, False])
def test_derivatives_are_those_of_autograd(
    has_operators: bool, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    if not has_operators:
        request.getfixturevalue("no_operators")
        assert not has_aten_backward()
    x, gradient = draw(B, H, dtype=dtype, seed=0).requires_grad_(), draw(B, H, dtype=dtype, seed=1)
    # A strided part of a larger tensor, as in the recurrences.
    into = torch.zeros(B, 2 * H, dtype=dtype)[:, H:]
    # Three roundings at the most.
    tolerance = {"rtol": 8 * torch.finfo(dtype).eps, "atol": 8 * torch.finfo(dtype).eps}
    for function, backward in ((torch.tanh, tanh_backward), (torch.sigmoid, sigmoid_backward)):
        (expected,) = torch.autograd.grad(function(x), x, gradient)
        output = function(x).detach()
        assert backward(gradient, output, into=into) is into
        torch.testing.assert_close(into, expected, **tolerance)
    torch.testing.assert_close(
        tanh_backward(gradient, torch.tanh(x).detach()),
        torch.autograd.grad(torch.tanh(x), x, gradient)[0],
        **tolerance,
    )


def wrong_backward(gradient: Tensor, output: Tensor, grad_input: Tensor) -> Tensor:
    return grad_input.zero_()


@pytest.mark.parametrize(
    "operators",
    [
        SimpleNamespace(tanh_backward=wrong_backward, sigmoid_backward=wrong_backward),
        SimpleNamespace(tanh_backward=torch.ops.aten.tanh_backward),
        SimpleNamespace(tanh_backward=lambda gradient: gradient, sigmoid_backward=broken),
    ],
    ids=["computes something else", "one is missing", "of another signature"],
)
def test_operators_that_are_not_the_derivatives_are_not_used(
    monkeypatch: pytest.MonkeyPatch, operators: SimpleNamespace
) -> None:
    monkeypatch.setattr(torch.ops, "aten", operators)
    clear_probes()
    try:
        assert not has_aten_backward()
    finally:
        monkeypatch.undo()
        clear_probes()


@pytest.mark.parametrize("omega", [0.0, 0.5])
@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_a_recurrence_has_the_same_gradients_without_the_operators(
    cell: str, omega: float, request: pytest.FixtureRequest
) -> None:
    with_operators = [results(cell, dtype, omega) for dtype in (torch.float64, torch.float32)]
    request.getfixturevalue("no_operators")
    without = [results(cell, dtype, omega) for dtype in (torch.float64, torch.float32)]
    for found, expected, tolerance in zip(without, with_operators, (1e-12, 1e-4), strict=True):
        for one, other in zip(found, expected, strict=True):
            # Roundings of 1e-16 and 6e-8 per operation, over T steps.
            assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("rows", [3 * H, LEAST_FP32_TO_PACK // H + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_repeated_product_is_the_same_without_the_operators(
    dtype: torch.dtype, rows: int, request: pytest.FixtureRequest
) -> None:
    weight, bias = draw(rows, H, dtype=dtype, seed=0), draw(rows, dtype=dtype, seed=1)
    x, added = draw(B, H, dtype=dtype, seed=2), draw(B, rows, dtype=dtype, seed=3)

    def products() -> list[Tensor]:
        product = RepeatedProduct(weight, B, T)
        return [product(x), product(x, bias), product.plus(x, added)]

    expected = products()
    request.getfixturevalue("no_operators")
    for one, other in zip(products(), expected, strict=True):
        # One or two roundings of a sum of 24 terms of size 1.
        tolerance = {"rtol": 8 * torch.finfo(dtype).eps, "atol": 80 * torch.finfo(dtype).eps}
        torch.testing.assert_close(one, other, **tolerance)


def results(cell: str, dtype: torch.dtype, omega: float = 0.0) -> list[Tensor]:
    """The outputs and every gradient of a recurrence, in float64."""
    blocks = 3 if cell == "gru" else 1
    arguments = [
        draw(T, B, blocks * H, dtype=dtype, seed=0),
        draw(B, H, dtype=dtype, seed=1, scale=0.3),
        draw(blocks * H, H, dtype=dtype, seed=2, scale=0.1),
        draw(blocks * H, dtype=dtype, seed=3, scale=0.1),
    ]
    for argument in arguments:
        argument.requires_grad_()
    outputs = gru(*arguments) if cell == "gru" else rnn(*arguments, omega)
    outputs.backward(draw(T, B, H, dtype=dtype, seed=4, scale=0.2))  # type: ignore[no-untyped-call]
    return [
        value.detach().double() for value in (outputs, *(argument.grad for argument in arguments)) if value is not None
    ]


@pytest.mark.parametrize("omega", [0.0, 0.5])
@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_packing_changes_a_recurrence_by_its_rounding_alone(
    monkeypatch: pytest.MonkeyPatch, cell: str, omega: float
) -> None:
    packed = results(cell, torch.bfloat16, omega)
    monkeypatch.setattr(recurrence, "can_pack", lambda dtype: False)
    plain, exact = results(cell, torch.bfloat16, omega), results(cell, torch.float64, omega)
    for one, other, truth in zip(packed, plain, exact, strict=True):
        # A relative error of 2^-9 per rounding, of which some add up: measured 0.5 % at the most.
        assert (one - truth).norm() < 0.02 * truth.norm() and (other - truth).norm() < 0.02 * truth.norm()


def test_a_recurrent_product_in_bf16_has_the_gradients_of_a_plain_one() -> None:
    weight, bias = draw(H, H, dtype=torch.bfloat16, seed=0, scale=0.1), draw(H, dtype=torch.bfloat16, seed=1)
    start = draw(B, H, dtype=torch.bfloat16, seed=2)
    found = []
    for is_ours in (True, False):
        leaves = [value.clone().requires_grad_() for value in (weight, bias, start)]
        ours = RecurrentProduct(leaves[0], leaves[1], B, T)
        h = leaves[2]
        for _ in range(T):
            h = torch.tanh(ours(h) if is_ours else linear(h, leaves[0], leaves[1]))
        found.append(torch.autograd.grad(h.float().sum(), leaves))
    for one, other in zip(*found, strict=True):
        assert (one.double() - other.double()).norm() < 0.03 * other.double().norm()
