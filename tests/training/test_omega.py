"""Ω of the trainer is that of its formula, computed character by character from written-out
Jacobian matrices."""

import pytest
import torch

import charrnn
from charrnn.model.layer import RecurrentLayer
from charrnn.text.batches import BatchRows
from charrnn.training.omega import Omega
from charrnn.training.trainer import Trainer

NUM_STEPS, BATCH_SIZE, HIDDEN_SIZE = 6, 3, 4


def jacobian_of_rnn(layer, x, before):
    """Return the state after a character (1, H) and its derivative by the one before (H, H)."""
    weight = layer.weight("hh")
    h = torch.tanh(x + weight @ before[0] + layer.bias("hh"))
    slope = (1 - h**2).detach()
    return h[None].detach(), slope[:, None] * weight


def jacobian_of_lstm(layer, x, before):
    """Return the state after a character (2, H), h first, and its derivative by the one before
    (2H, 2H)."""
    weight = layer.weight("hh")
    by_i, by_f, by_g, by_o = weight.chunk(4)
    h, c = before
    i, f, g, o = (x + weight @ h + layer.bias("hh")).detach().chunk(4)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new_c = f * c + i * g
    new_h = o * new_c.tanh()

    c_by_h = (f * (1 - f) * c)[:, None] * by_f
    c_by_h = c_by_h + (i * (1 - i) * g)[:, None] * by_i + (i * (1 - g**2))[:, None] * by_g
    c_by_c = torch.diag(f)
    h_by_new_c = o * (1 - new_c.tanh() ** 2)
    h_by_h = (o * (1 - o) * new_c.tanh())[:, None] * by_o + h_by_new_c[:, None] * c_by_h
    h_by_c = h_by_new_c[:, None] * c_by_c
    rows = (torch.cat((h_by_h, h_by_c), dim=1), torch.cat((c_by_h, c_by_c), dim=1))
    return torch.stack((new_h, new_c)).detach(), torch.cat(rows)


JACOBIANS = {"rnn": jacobian_of_rnn, "lstm": jacobian_of_lstm}


def naive_omega(layer, inputs, d_outputs):
    """Compute Ω of outputs whose gradients by the loss are `d_outputs` (T, B, H), with the weight
    in the Jacobian matrices as its only variable."""
    total = torch.zeros((), dtype=torch.float64)
    for row in range(BATCH_SIZE):
        state = torch.zeros(layer.cell.num_states, HIDDEN_SIZE, dtype=torch.float64)
        jacobians = []
        for t in range(NUM_STEPS):
            x = layer.weight("ih") @ inputs[t, row] + layer.bias("ih")
            state, jacobian = JACOBIANS[layer.cell_name](layer, x.detach(), state)
            jacobians.append(jacobian)

        error = torch.zeros(state.numel(), dtype=torch.float64)
        for t in reversed(range(NUM_STEPS)):
            error[:HIDDEN_SIZE] += d_outputs[t, row]
            passed = error @ jacobians[t]
            total = total + (passed.norm() / error.norm() - 1) ** 2
            error = passed.detach().clone()
    return total / (NUM_STEPS * BATCH_SIZE)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_its_gradient_is_that_of_the_formula(cell):
    generator = torch.Generator().manual_seed(0)
    layer = RecurrentLayer(cell, 2, HIDDEN_SIZE).double()
    for weight in layer.parameters():
        torch.nn.init.uniform_(weight, -1, 1, generator=generator)
    shape = (NUM_STEPS, BATCH_SIZE)
    inputs = torch.rand(*shape, 2, generator=generator, dtype=torch.float64)
    d_outputs = torch.randn(*shape, HIDDEN_SIZE, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(
        0.7 * naive_omega(layer, inputs, d_outputs), layer.weight("hh")
    )

    state = torch.zeros(layer.cell.num_states, BATCH_SIZE, HIDDEN_SIZE, dtype=torch.float64)
    omega = Omega([layer], factor=0.7)
    outputs = layer(inputs, state).outputs
    (outputs * d_outputs).sum().backward()
    of_loss = layer.weight("hh").grad.clone()
    omega.add_gradients(NUM_STEPS * BATCH_SIZE)
    torch.testing.assert_close(layer.weight("hh").grad - of_loss, expected)


def test_a_character_that_no_loss_follows_counts_nothing():
    layer = RecurrentLayer("rnn", 2, HIDDEN_SIZE)
    layer.draw_weights(torch.Generator().manual_seed(0), forget_bias=1.0)
    inputs = torch.rand(NUM_STEPS, BATCH_SIZE, 2)
    state = torch.zeros(1, BATCH_SIZE, HIDDEN_SIZE)
    omega = Omega([layer], factor=1.0)
    with torch.no_grad():  # a validation, which is not recorded
        layer(inputs, state)
    layer(inputs, state).outputs[:2].sum().backward()
    of_loss = layer.weight("hh").grad.clone()
    omega.add_gradients(NUM_STEPS * BATCH_SIZE)
    assert layer.weight("hh").grad.isfinite().all()
    assert not torch.equal(layer.weight("hh").grad, of_loss)


def trainer(**changes):
    settings = {
        "cell_type": "rnn",
        "num_layers": 1,
        "hidden_size": 8,
        "embedding_size": 4,
        "num_members": 1,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "weight_drop": 0.0,
        "weight_decay": 0.0,
        "decay_shape": "cosine",
        "decay_share": 1.0,
        "batch_size": 4,
        "bptt_length": 10,
        "learning_rate": 0.01,
        "clip_norm": 1e9,
        "precision": "fp32",
        "steps": 100,
    }
    config = charrnn.Config(**{**settings, **changes})
    ids = torch.randint(5, (400,), generator=torch.Generator().manual_seed(1)).numpy()
    rows = BatchRows(ids.astype("uint8"), config.batch_size)
    return Trainer(config, rows, vocab_size=5, device=torch.device("cpu"))


@pytest.mark.parametrize("depth", ["stacked", "dilated", "residual"])
def test_a_step_differs_in_the_recurrent_weights_alone(depth):
    plain = trainer(depth=depth, num_layers=2)
    regular = trainer(depth=depth, num_layers=2, omega=10.0)
    assert plain.take_step().train_nats == pytest.approx(regular.take_step().train_nats)
    changed = [
        name
        for (name, one), other in zip(
            plain.network.named_parameters(), regular.network.parameters(), strict=True
        )
        if not torch.allclose(one.grad, other.grad, atol=1e-6)
    ]
    assert changed == [f"layers.{layer}.weight_hh_l0" for layer in range(2)]


@pytest.mark.slow
def test_it_keeps_the_error_from_vanishing():
    norms = {}
    for factor in (0.0, 5.0):
        one = trainer(omega=factor)
        with torch.no_grad():
            one.network.recurrent_layers()[0].weight("hh").mul_(0.3)
        for _ in range(100):
            one.take_step()
        norms[factor] = torch.linalg.matrix_norm(one.network.recurrent_layers()[0].weight("hh"))
    assert norms[5.0] > 1.5 * norms[0.0]
