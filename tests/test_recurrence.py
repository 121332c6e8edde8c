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
from charrnn.model.device import cpu_computes_bf16
from charrnn.model.layer import TORCH, Noise, RecurrentLayer
from charrnn.model.recurrence import (
    FASTEST_ON_CPU,
    FUNCTIONS,
    LEAST_FP32_TO_PACK,
    LEAST_STEPS_TO_PACK,
    RecurrentProduct,
    RepeatedProduct,
    can_pack,
    gru,
    has_aten_backward,
    rnn,
    run_whole,
    runs_whole,
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


NUM_STEPS, NUM_ROWS, INPUTS, UNITS = 5, 3, 4, 6
# Both sides are the same sums of a dozen float64 terms in another order.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}


def make_layer(cell: str, **options: Any) -> RecurrentLayer:
    """Return a layer in float64 with random weights and biases."""
    layer = RecurrentLayer(cell, INPUTS, UNITS, **options).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return layer


def make_inputs(layer: RecurrentLayer) -> tuple[Tensor, Tensor]:
    """Return inputs (NUM_STEPS, NUM_ROWS, INPUTS) and a state (S * D, NUM_ROWS, UNITS)."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(NUM_STEPS, NUM_ROWS, INPUTS, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(layer.cell.num_states * layer.dilation, NUM_ROWS, UNITS, generator=generator).double()


def gradients(layer: RecurrentLayer, outputs: Tensor, last: Tensor) -> list[Tensor]:
    """Return the gradients by all weights of a sum in which every output counts differently."""
    weights = torch.arange(outputs.numel(), dtype=outputs.dtype).cos().view(outputs.shape)
    return list(torch.autograd.grad((outputs * weights).sum() + last.sum(), tuple(layer.parameters())))


@pytest.fixture
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every cell type with a function of torch use it, with converted arguments, as on CUDA."""
    monkeypatch.setattr("charrnn.model.layer.runs_whole", lambda name, device: name in FUNCTIONS)
    monkeypatch.setattr("charrnn.model.layer.run_whole", lambda *given: run_whole(*given, casts=True))


@pytest.mark.usefixtures("as_on_cuda")
@pytest.mark.parametrize("options", [{}, {"dilation": 2}, {"weight_drop": 0.4}])
@pytest.mark.parametrize("cell", FUNCTIONS)
def test_a_library_s_recurrence_is_that_of_the_equations(cell: str, options: dict[str, Any]) -> None:
    layer = make_layer(cell, **options)
    inputs, state = make_inputs(layer)

    def noise() -> Noise:
        return Noise(torch.Generator().manual_seed(5), NUM_ROWS)

    found, last = layer(inputs, state, None, noise())
    expected, expected_last = layer(inputs, state, None, noise(), TORCH)
    torch.testing.assert_close((found, last), (expected, expected_last), **EXACT)
    torch.testing.assert_close(gradients(layer, found, last), gradients(layer, expected, expected_last), **EXACT)
    if "weight_drop" not in options:
        with torch.no_grad():
            torch.testing.assert_close(layer.trace(inputs, state), layer.trace(inputs, state, ops=TORCH), **EXACT)


@pytest.mark.usefixtures("as_on_cuda")
@pytest.mark.parametrize("options", [{"zoneout": 0.3}, {"omega": 0.5}])
def test_what_a_library_does_not_compute_is_left_to_the_equations(options: dict[str, Any]) -> None:
    layer = make_layer("rnn", **options)
    inputs, state = make_inputs(layer)
    plain = make_layer("rnn")
    found, expected = (gradients(each, *each(inputs, state)) for each in (layer, plain))
    assert not all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", FUNCTIONS)
def test_converted_arguments_give_outputs_of_that_precision(cell: str, dtype: torch.dtype) -> None:
    layer = make_layer(cell).float()
    inputs, state = (part.float() for part in make_inputs(layer))
    weights = list(layer.parameters())
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0"]
    ordered = [weights[0], weights[2], weights[1], weights[3]]
    expected, _ = run_whole(cell, inputs, state, ordered)
    if dtype == torch.bfloat16 and cell == "lstm" and not cpu_computes_bf16():
        pytest.skip("oneDNN has no bf16 here")
    with torch.autocast("cpu", dtype):
        found, _ = run_whole(cell, inputs, state, ordered, casts=True)
    assert found.dtype == dtype
    # States are sums of up to NUM_STEPS terms around 1, each rounded to 8 (bf16) or 11 bits.
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)
    (gradient,) = torch.autograd.grad(found.float().sum(), ordered[1])
    assert gradient.dtype == torch.float32 and gradient.isfinite().all() and gradient.abs().sum() > 0


def test_cells_run_whole_where_that_is_fastest() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    cells = (*FUNCTIONS, "mlstm", "peephole")
    assert [name for name in cells if runs_whole(name, cpu)] == list(FASTEST_ON_CPU)
    assert [name for name in cells if runs_whole(name, cuda)] == list(FUNCTIONS)


def test_a_cell_whose_function_is_missing_steps_through_time(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make_layer("lstm")
    inputs, state = make_inputs(layer)
    expected = layer(inputs, state)
    monkeypatch.delattr(torch, "lstm")
    assert not runs_whole("lstm", inputs.device)
    torch.testing.assert_close(layer(inputs, state), expected, **EXACT)
