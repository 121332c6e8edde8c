"""`predict --numbers --backward`: every gradient is what torch.autograd computes, and what a reader
can recompute from the printed numbers."""

from functools import partial

import numpy as np
import pytest
import torch
from drawn import lines
from numbered import TEXT, VOCAB, config_of, hello_model, model_of, printed
from torch.nn.functional import cross_entropy

from charrnn.model.interventions import record
from charrnn.model.layer import TORCH

CALLS = {
    "rnn": {"tanh": [("da", "dh")]},
    "lstm": {
        "sigmoid": [("da_f", "df"), ("da_i", "di"), ("da_o", "do")],
        "tanh": [("da_g", "dg"), ("dc", "")],
    },
    "gru": {
        "sigmoid": [("da_z", "dz"), ("da_r", "dr")],
        "tanh": [("da_n", "dn")],
        "clamp": [("", "dh")],
    },
}
"""The rows of the argument and of the result of each call of a function in one step of a cell."""
SHAPES = [
    *((cell, {"num_layers": num_layers}) for cell in CALLS for num_layers in (1, 3)),
    *((cell, {"embedding_size": 6}) for cell in CALLS),
]


def assert_close(found, expected):
    """Both compute in float64, in another order."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10)


def autograd(model, text):
    """The parameters of the network, its logits, and the arguments and results of each function of
    each layer, all with their gradients of the sum of the losses."""
    network = model.network.double()
    kept = {}

    def keep(layer, name, argument, result):
        argument.retain_grad()
        result.retain_grad()
        kept.setdefault((layer, name), []).append((argument, result))

    ops = {}
    for layer in range(model.config.num_layers):
        functions = TORCH
        for name in CALLS[model.config.cell_type]:
            functions = record(functions, name, keep=partial(keep, layer, name))
        ops[layer] = functions
    ids = torch.from_numpy(VOCAB.encode(text).astype(np.int64))[:, None]
    logits, _ = network(ids, network.initial_state(1), ops=ops)
    logits.retain_grad()
    cross_entropy(logits[:-1, 0], ids[1:, 0], reduction="sum").backward()
    return dict(network.named_parameters()), logits, kept


@pytest.mark.parametrize("cell, options", SHAPES)
def test_the_gradients_are_those_of_autograd(cell, options):
    model = model_of(config_of(cell, **options))
    parameters, logits, kept = autograd(model, TEXT)
    backward = model.backpropagation(TEXT)
    compared = set()
    for weight in backward.gradients:
        place = "output" if weight.layer is None else f"layers.{weight.layer}"
        suffix = "" if weight.layer is None else f"_{weight.name[2:]}_l0"
        if weight.name == "embedding":
            place = "embedding"
        for kind, values in (("weight", weight.values), ("bias", weight.bias)):
            if values:
                assert_close(values, parameters[f"{place}.{kind}{suffix}"].grad)
                compared.add(f"{place}.{kind}{suffix}")
    assert compared == {*parameters}

    for time, step in enumerate(backward.steps):
        assert_close(step.logits.values, logits.grad[time, 0])
        for layer, found in enumerate(step.layers):
            for function, names in CALLS[cell].items():
                calls = kept[layer, function][time * len(names) :]
                for name, tensor in zip(sum(names, ()), sum(calls, ()), strict=False):
                    # Of the last step nothing has a loss, and torch computes no gradient.
                    if name and tensor.grad is not None:
                        assert_close(found.row(name).values, tensor.grad[0])
                    elif name:
                        assert_close(found.row(name).values, 0)
    assert any(np.abs(backward.steps[0].layers[0].row("dh right").values) > 1e-3)


def test_the_gradients_of_a_gru_are_its_equations():
    backward = model_of(config_of("gru", num_layers=1)).backpropagation("hello")
    for before, step in zip(backward.forward.steps, backward.steps, strict=True):
        found, d = before.layers[0].row, step.layers[0].row
        assert_close(d("du").values, np.multiply(d("da_n").values, found("r").values))
        dz = np.subtract(found("h before").values, found("n").values)
        assert_close(d("dz").values, np.multiply(d("dh").values, dz))


def test_the_update_is_a_step_of_sgd():
    backward = model_of(config_of("gru")).backpropagation("hello", learning_rate=0.5)
    for weight, gradient, updated in zip(
        backward.forward.weights, backward.gradients, backward.updated, strict=True
    ):
        assert_close(updated.values, np.subtract(weight.values, 0.5 * np.array(gradient.values)))
        assert_close(updated.bias, np.subtract(weight.bias, 0.5 * np.array(gradient.bias)))


def test_a_table_has_the_gradients_of_the_steps_and_of_the_weights():
    backward = model_of(config_of("gru", embedding_size=6)).backpropagation("hello")
    rows = backward.to_rows()
    assert rows[: len(backward.forward.to_rows())] == backward.forward.to_rows()
    found = {(row.get("step"), row["layer"], row["name"], row["row"]): row["value"] for row in rows}
    assert found[2, None, "dlogits", "l"] == backward.steps[1].logits.values[VOCAB.encode("l")[0]]
    assert found[2, 1, "dh right", "3"] == backward.steps[1].layers[1].row("dh right").values[3]
    [weight] = [weight for weight in backward.gradients if weight.name == "W_hy"]
    listed = [row["value"] for row in rows if row["name"] == "dW_hy" and row.get("column") == "1"]
    assert listed == [values[1] for values in weight.values]
    assert found[None, None, "db_y", "l"] == weight.bias[VOCAB.encode("l")[0]]


def test_a_reader_can_compute_every_gradient_from_the_printed_numbers():
    """Numbers of the network have three decimals, gradients five."""
    table = printed(lines(*hello_model().backpropagation("hello").view(), 60))
    coarse, fine = 5e-4, 5e-6
    h = table["h"]
    recomputed = table["dh above"] + table["dh right"]
    assert (abs(table["dh"] - recomputed) <= 3 * fine).all()
    recomputed = table["dh"] * (1 - h**2)
    assert (abs(table["da"] - recomputed) <= 2 * coarse * abs(table["dh"]) + 2 * fine).all()

    # From the logits to h, and from a to the h before.
    for below, weight, above in (
        (table["dh above"], table["W_hy"][:, :3], table["dlogits"]),
        (table["dh right"][:, :-1], table["W_hh"][:, :3], table["da"][:, 1:]),
    ):
        error = coarse * abs(above).sum(0) + fine * (abs(weight).sum(0)[:, None] + 1)
        assert (abs(below - weight.T @ above) <= error).all()

    # Sums over the steps: of da itself, and of da times h before.
    assert (abs(table["dW_hh"][:, 3] - table["da"].sum(1)) <= 6 * fine).all()
    recomputed = table["da"][:, 1:] @ h[:, :-1].T
    error = coarse * abs(table["da"]).sum(1, keepdims=True) + 6 * fine
    assert (abs(table["dW_hh"][:, :3] - recomputed) <= error).all()
