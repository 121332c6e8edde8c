"""The optimizer's parts: the promised schedule, decay on matrices only, an average that forgets its
start."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.training import optim
from charrnn.training.optim import (
    ITERATIONS,
    RATE_FACTORS,
    SGD,
    AdamW,
    Muon,
    RMSProp,
    make_optimizers,
    orthogonal,
)

PEAK = 0.004


def make_config(**changes):
    sizes = {
        "cell_type": "gru",
        "num_layers": 2,
        "hidden_size": 5,
        "embedding_size": 4,
        "dropout": 0.0,
        "decay_shape": "cosine",
        "decay_share": 1.0,
    }
    return Config(**{**sizes, "learning_rate": PEAK, "weight_decay": 0.1, **changes})


def schedule(num_steps, **changes):
    config = make_config(steps=num_steps, **changes)
    return [optim.learning_rate_at(step, config) for step in range(num_steps)]


@given(st.integers(1, 3000), st.integers(0, 400), st.floats(0, 1))
@settings(max_examples=40)
def test_the_rate_rises_to_its_peak_and_falls(num_steps, warmup_steps, final_share):
    rates = schedule(num_steps, warmup_steps=warmup_steps, final_learning_rate=final_share)
    warmup = min(warmup_steps, num_steps // 10)
    # A product and a quotient of float64 numbers, then a cosine: relative 1e-12 is some thousand
    # roundings.
    np.testing.assert_allclose(
        rates[:warmup], [PEAK * (step + 1) / warmup for step in range(warmup)], rtol=1e-12
    )
    falling = rates[warmup:]
    assert falling[0] == pytest.approx(PEAK, rel=1e-12)
    assert all(later <= earlier for earlier, later in pairwise(falling))
    if len(falling) > 1:
        assert falling[-1] == pytest.approx(PEAK * final_share, rel=1e-12, abs=1e-18)
    if len(falling) % 2 == 1 and len(falling) > 1:
        assert falling[len(falling) // 2] == pytest.approx(PEAK * (1 + final_share) / 2, rel=1e-12)


@given(st.integers(3, 3000), st.integers(0, 400), st.floats(0.01, 1), st.floats(0, 1))
@settings(max_examples=40)
def test_the_rate_stays_at_its_peak_until_the_fall_begins(
    num_steps, warmup_steps, decay_share, final_share
):
    rates = schedule(
        num_steps,
        warmup_steps=warmup_steps,
        final_learning_rate=final_share,
        decay_shape="linear",
        decay_share=decay_share,
    )
    warmup = min(warmup_steps, num_steps // 10)
    falling = np.array(rates[warmup:])
    # In a straight line that reaches the final share at the last step, and never above the peak:
    # relative 1e-12 of the peak is some thousand roundings of float64.
    left = np.linspace(1, 0, len(falling))
    expected = final_share + (1 - final_share) * np.minimum(1, left / decay_share)
    np.testing.assert_allclose(falling, PEAK * expected, rtol=1e-12, atol=PEAK * 1e-12)
    assert falling.max() <= PEAK * (1 + 1e-12)


def test_a_fall_over_all_steps_by_half_a_cosine_has_the_bits_of_the_formula():
    """What earlier runs were trained with, which do not record how their rate fell."""
    for step, rate in enumerate(schedule(613)):
        progress = (step - 50) / (613 - 1 - 50)
        if step < 50:
            assert rate == PEAK * (step + 1) / 50
        else:
            assert rate == PEAK * (0.02 + (1 - 0.02) * (1 + math.cos(math.pi * progress)) / 2)


def test_a_late_fall_by_half_a_cosine_begins_and_ends_as_slowly():
    rates = schedule(401, warmup_steps=0, decay_share=0.5, final_learning_rate=0.0)
    assert rates[200] == PEAK
    assert rates[300] == pytest.approx(PEAK / 2, rel=1e-12)
    assert rates[210] > 0.99 * PEAK and rates[390] < 0.01 * PEAK


@pytest.mark.parametrize(
    "optimizer, classes",
    [
        ("muon", [Muon, AdamW, AdamW, AdamW]),
        ("adamw", [AdamW, AdamW, AdamW]),
        ("rmsprop", [RMSProp, RMSProp, RMSProp]),
        ("sgd", [SGD, SGD, SGD]),
    ],
)
def test_weight_decay_acts_on_matrices_only_and_beside_muon_on_the_output_faster(
    optimizer, classes
):
    config = make_config(
        weight_decay=0.5, optimizer=optimizer, precision="fp32", initial_state="learned"
    )
    network = CharRNN(config, 7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizers = make_optimizers(network, config)
    updated = [id(parameter) for built in optimizers for parameter in built.state]
    assert sorted(updated) == sorted(map(id, network.parameters())), "each parameter once"
    assert [type(built) for built in optimizers] == classes
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for built in optimizers:
        built.step(built.rate_scale * 0.1, 1)
    for name, parameter in network.named_parameters():
        # Decoupled decay: without a gradient a weight shrinks by rate * decay = 5 %, where 1 is
        # AdamW's rate. Float32 rounds relatively to 1e-7.
        share = 1 - 0.05 / RATE_FACTORS.get(optimizer, 1.0)
        if name == "output.weight" and optimizer == "muon":
            share = 1 - 3 * 0.05
        elif "bias" in name or name == "learned_state":
            share = 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * share, rtol=1e-6, atol=0.0)


def make_weights(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))
        for shape in ((3, 5), (7,))
    ]


def step_both(ours, weights, theirs, copies):
    """Take five steps of two optimizers along the same gradients, at a falling rate."""
    generator = torch.Generator().manual_seed(1)
    for number in range(1, 6):
        theirs.param_groups[0]["lr"] = 0.1 / number
        for weight, copied in zip(weights, copies, strict=True):
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            copied.grad = weight.grad.clone()
        ours.step(0.1 / number, number)
        theirs.step()


@pytest.mark.parametrize("is_fused", [True, False])
def test_adamw_is_that_of_torch_without_the_private_kernel_too(monkeypatch, is_fused):
    weights, copies = make_weights(), make_weights()
    theirs = torch.optim.AdamW(copies, weight_decay=0.3, betas=(0.8, 0.97), fused=is_fused)
    with monkeypatch.context() as patched:
        if not is_fused:
            patched.delattr(torch, "_fused_adamw_")
        ours = AdamW(weights, 0.3, Config(beta1=0.8, beta2=0.97))
        step_both(ours, weights, theirs, copies)
    # The same kernel to the bit; without it the order of a few float32 roundings differs.
    tolerance = {"rtol": 0.0, "atol": 0.0} if is_fused else {"rtol": 1e-5, "atol": 1e-6}
    for weight, copied in zip(weights, copies, strict=True):
        torch.testing.assert_close(weight, copied, **tolerance)
        assert ours.state[weight].keys() == {"exp_avg", "exp_avg_sq"}
        for moment, value in ours.state[weight].items():
            torch.testing.assert_close(value, theirs.state[copied][moment], **tolerance)


@pytest.mark.parametrize("name", ["rmsprop", "sgd"])
def test_rmsprop_and_sgd_are_those_of_torch_with_decoupled_decay(name):
    weights, copies = make_weights(torch.float64), make_weights(torch.float64)
    theirs = torch.optim.RMSprop(copies, alpha=0.97, eps=optim.EPSILON)
    if name == "sgd":
        theirs = torch.optim.SGD(copies, lr=0.1, momentum=0.97)
    make = {"rmsprop": RMSProp, "sgd": SGD}[name]
    config = Config(beta1=0.97, beta2=0.97)
    step_both(make(weights, 0.0, config), weights, theirs, copies)
    # Float64, five steps of a handful of operations on numbers around 1.
    torch.testing.assert_close(weights, copies, rtol=1e-12, atol=1e-12)
    before = [weight.detach().clone() for weight in weights]
    decay = 0.5 * RATE_FACTORS.get(name, 1.0)
    make(weights, decay, config).step(0.1, 1)
    make(copies, 0.0, config).step(0.1, 1)
    for weight, copied, start in zip(weights, copies, before, strict=True):
        torch.testing.assert_close(weight, copied - 0.05 * start, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 30, 50), (3, 64, 16)])
def test_newton_and_schulz_bring_singular_values_to_about_one(shape):
    blocks = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    blocks[-1] *= 1e-20  # however faint
    u, s, vh = torch.linalg.svd(blocks.double(), full_matrices=False)
    found = orthogonal(blocks)
    assert found.dtype == torch.float32
    # The same singular vectors, and each value mapped by the same odd polynomial of its share of
    # the block's norm.
    values = s / (s**8).sum(dim=-1, keepdim=True) ** 0.125
    for _ in range(ITERATIONS):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(found.double(), u @ torch.diag_embed(values) @ vh, rtol=0, atol=1e-4)
    large = values[s > 0.2 * s.amax(dim=-1, keepdim=True)]
    assert large.min() > 0.5 and large.max() < 1.3
    assert orthogonal(torch.zeros(shape)).count_nonzero() == 0, "no direction is no step, not a NaN"


def test_a_muon_step_is_its_formula_for_every_gate_by_itself():
    config = make_config(muon_scale=3.0, weight_decay=0.5, precision="fp32", embedding_size=7)
    network = CharRNN(config, 7)
    muon = make_optimizers(network, config)[0]
    weights = [weight for layer in network.recurrent_layers() for weight in layer.matrices()]
    assert list(muon.state) == weights
    generator = torch.Generator().manual_seed(1)
    momenta = [torch.zeros_like(weight) for weight in weights]
    for number in (1, 2):
        expected = []
        for weight, momentum in zip(weights, momenta, strict=True):
            weight.grad = torch.randn(weight.shape, generator=generator)
            momentum.mul_(0.9).add_(0.1 * weight.grad)
            direction = 0.1 * weight.grad + 0.9 * momentum
            moves = [orthogonal(block[None])[0] for block in direction.chunk(3)]  # a GRU's gates
            rate = 0.1 * 3.0 * 0.2 * math.sqrt(max(5, weight.shape[1]))  # blocks are 5x7 and 5x5
            expected.append(weight.detach() * (1 - 0.1 * 0.5) - rate * torch.cat(moves))
        muon.step(0.1, number)
        for weight, value in zip(weights, expected, strict=True):
            torch.testing.assert_close(weight.detach(), value, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
@settings(max_examples=30)
def test_the_average_follows_its_formula(step, decay):
    averaged = [
        torch.tensor([1.0, -3.0], dtype=torch.float64),
        torch.tensor([[0.5]], dtype=torch.float64),
    ]
    weights = [
        torch.tensor([2.0, 5.0], dtype=torch.float64),
        torch.tensor([[-0.5]], dtype=torch.float64),
    ]
    kept = min(decay, (1 + step) / (10 + step))
    expected = [kept * old + (1 - kept) * new for old, new in zip(averaged, weights, strict=True)]
    optim.update_average(averaged, weights, decay, step)
    # Float64, a handful of operations on numbers up to 5.
    torch.testing.assert_close(averaged, expected, rtol=0.0, atol=1e-12)
    assert weights[0].tolist() == [2.0, 5.0]
