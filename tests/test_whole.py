"""Recurrences that a library computes as a whole: the same as the equations, on the code path of an NVIDIA GPU too.

Shapes: T time, B batch, I input, H hidden, S state vectors.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from charrnn.model.device import cpu_computes_bf16
from charrnn.model.layer import TORCH, Noise, RecurrentLayer
from charrnn.model.recurrence import FASTEST_ON_CPU, FUNCTIONS, run_whole, runs_whole

T, B, I, H = 5, 3, 4, 6  # noqa: E741  # I: input
# Both sides are the same sums of a dozen float64 terms in another order.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}


def make_layer(cell: str, **options: Any) -> RecurrentLayer:
    """Return a layer in float64 with random weights and biases."""
    layer = RecurrentLayer(cell, I, H, **options).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return layer


def make_inputs(layer: RecurrentLayer) -> tuple[Tensor, Tensor]:
    """Return inputs (T, B, I) and a state (S * D, B, H)."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(T, B, I, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(layer.cell.num_states * layer.dilation, B, H, generator=generator).double()


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
        return Noise(torch.Generator().manual_seed(5), B)

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
    # States are sums of up to T terms around 1, each rounded to 8 (bf16) or 11 bits.
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
