"""Products with a packed weight, and the recurrences built on them. T time, B batch, H hidden."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import linear

from charrnn.model import layer as layer_module
from charrnn.model import recurrence
from charrnn.model.cell_types import CELLS
from charrnn.model.layer import TORCH, RecurrentLayer, uses_library
from charrnn.model.noise import Noise
from charrnn.model.recurrence import (
    FUNCTIONS,
    LEAST_FP32_TO_PACK,
    RepeatedProduct,
    can_pack,
)

T, B, H = 2 * recurrence.LEAST_STEPS_TO_PACK, 5, 24
# A bf16 number has 8 significant bits; results are rounded once or twice, and errors of 2^-9 each
# add up over T steps.
ROUNDED = {"rtol": 2**-6, "atol": 2**-5}


def draw(*shape, dtype, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_steps", [1, T])
@pytest.mark.parametrize("rows", [3 * H, LEAST_FP32_TO_PACK // H + 1])
def test_a_repeated_product_is_a_matrix_product(rows, dtype, num_steps):
    weight, bias = draw(rows, H, dtype=dtype, seed=0), draw(rows, dtype=dtype, seed=1)
    x, added = draw(B, H, dtype=dtype, seed=2), draw(B, rows, dtype=dtype, seed=3)
    product = RepeatedProduct(weight, (num_steps, B))
    before = added.clone()
    expected = x.double() @ weight.double().t()
    # One rounding of a sum of 24 terms of size 1.
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 40 * torch.finfo(dtype).eps}
    torch.testing.assert_close(product(x).double(), expected, **tolerance)
    torch.testing.assert_close(product(x, bias).double(), expected + bias.double(), **tolerance)
    torch.testing.assert_close(
        product.plus(x, added).double(), expected + added.double(), **tolerance
    )
    assert torch.equal(added, before), "what is added is left as it was"
    assert product(x).dtype == dtype


class Wrong:
    """An operator that computes something else, also in its binary form."""

    def __call__(self, x, packed, *rest):
        return torch.zeros(2, 4, dtype=torch.bfloat16)

    binary = __call__


@pytest.mark.parametrize(
    "operators",
    [
        SimpleNamespace(),
        SimpleNamespace(
            _reorder_linear_weight=lambda weight, size: weight, _linear_pointwise=Wrong()
        ),
    ],
    ids=["missing", "computes something else"],
)
def test_plain_products_replace_packed_operators(monkeypatch, operators):
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    can_pack.cache_clear()
    try:
        assert not can_pack(torch.bfloat16)
        weight, x = (
            draw(H, H, dtype=torch.bfloat16, seed=0),
            draw(B, H, dtype=torch.bfloat16, seed=1),
        )
        torch.testing.assert_close(RepeatedProduct(weight, (T, B))(x), linear(x, weight), **ROUNDED)
    finally:
        can_pack.cache_clear()


NUM_STEPS, NUM_ROWS, INPUTS, UNITS = 5, 3, 4, 6
# Both sides are the same sums of a dozen float64 terms in another order.
EXACT = {"rtol": 0.0, "atol": 1e-10}


def make_layer(cell, **options):
    """Return a layer in float64 with random weights and biases."""
    layer = RecurrentLayer(cell, INPUTS, UNITS, **options).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return layer


def make_inputs(layer):
    """Return inputs (NUM_STEPS, NUM_ROWS, INPUTS) and a state (S * D, NUM_ROWS, UNITS)."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(NUM_STEPS, NUM_ROWS, INPUTS, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(
        layer.cell.num_states * layer.dilation, NUM_ROWS, UNITS, generator=generator
    ).double()


def gradients(layer, outputs, last):
    """Return the gradients by all weights of a sum in which every output counts differently."""
    weights = torch.arange(outputs.numel(), dtype=outputs.dtype).cos().view(outputs.shape)
    return list(
        torch.autograd.grad((outputs * weights).sum() + last.sum(), tuple(layer.parameters()))
    )


@pytest.mark.parametrize(
    "cell, implementation",
    [
        ("lstm", "run_library"),
        ("gru", "FusedGru.apply"),
        ("irnn", "recurrent_product"),
        ("mingru", "Scan.apply"),
    ],
)
def test_the_fastest_implementation_is_chosen(cell, implementation, monkeypatch):
    def called(*_, **__):
        raise ZeroDivisionError

    layer = make_layer(cell)
    inputs, state = make_inputs(layer)
    module = recurrence if implementation.startswith("Fused") else layer_module
    monkeypatch.setattr(f"{module.__name__}.{implementation}", called)
    with pytest.raises(ZeroDivisionError):
        layer(inputs, state)


def test_a_gpu_uses_the_library_for_each_cell_type_that_it_has():
    used = {cell for cell in CELLS if uses_library(cell, torch.device("cuda"))}
    assert used == {*FUNCTIONS}


@pytest.mark.parametrize("options", [{}, {"dilation": 2}, {"weight_drop": 0.4}])
@pytest.mark.parametrize("device", ["cpu", "as on CUDA"])
@pytest.mark.parametrize("cell", FUNCTIONS)
def test_a_fast_recurrence_is_that_of_the_equations(cell, device, options, monkeypatch):
    if device == "as on CUDA":
        # Every cell type with a function of torch uses it, with converted arguments.
        monkeypatch.setattr("charrnn.model.layer.LIBRARY_ON_CPU", FUNCTIONS)
        monkeypatch.setattr(recurrence, "_casts", lambda device, dtype: True)
    layer = make_layer(cell, **options)
    inputs, state = make_inputs(layer)

    def noise():
        return Noise(torch.Generator().manual_seed(5), NUM_ROWS)

    found, _, last = layer(inputs, state, noise=noise())
    expected, _, expected_last = layer(inputs, state, noise=noise(), ops=TORCH)
    torch.testing.assert_close((found, last), (expected, expected_last), **EXACT)
    torch.testing.assert_close(
        gradients(layer, found, last), gradients(layer, expected, expected_last), **EXACT
    )
    if "weight_drop" not in options:
        with torch.no_grad():
            traced = layer(inputs, state, keeps_cells=True)
            expected_trace = layer(inputs, state, ops=TORCH, keeps_cells=True)
            torch.testing.assert_close(traced, expected_trace, **EXACT)


@pytest.mark.parametrize("cell", ["minlstm", "rglru"])
def test_linear_cells_with_closed_gates_learn_on(cell):
    """In float32 the sigmoid of -200 is 0: of two such gates the sum, and of a decay the root, has
    no derivative."""
    layer = make_layer(cell).float()
    inputs, state = make_inputs(layer)
    with torch.no_grad():
        layer.bias("ih").fill_(-200)
    outputs, _, last = layer(inputs.float(), state.float())
    upstream = torch.ones_like(outputs)
    outputs.backward(upstream)
    assert torch.equal(upstream, torch.ones_like(outputs)), (
        "the gradient that a scan gets is left as it was"
    )
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())
    assert outputs.isfinite().all() and last.isfinite().all()
