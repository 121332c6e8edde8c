"""`predict --numbers`: every number of a small network is what torch computes, and what a reader
can recompute.

Tests `analyses.number_tables` and `analyses.predict`, too.
"""

import numpy as np
import pytest
import torch
from drawn import lines
from hand_built import vocab_of
from numbered import TEXT, VOCAB, H, config_of, hello_model, model_of, printed
from torch.nn.functional import cross_entropy

from charrnn.config.architectures import CELL_DESCRIPTIONS

SHAPES = [*((cell, {}) for cell in CELL_DESCRIPTIONS), ("gru", {"embedding_size": 6})]


def assert_close(found, expected):
    """Both compute in float64, in another order."""
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell, options", SHAPES)
def test_they_are_those_of_the_network(cell, options):
    model = model_of(config_of(cell, **options))
    numbers = model.numbers(TEXT)
    network = model.network.double()
    ids = torch.from_numpy(VOCAB.encode(TEXT).astype(np.int64))[:, None]
    with torch.no_grad():
        (logits, _, hidden), state = network.trace(ids, network.initial_state(1))
    losses = cross_entropy(logits[:-1, 0], ids[1:, 0], reduction="none")
    assert [step.character for step in numbers.steps] == list(TEXT)
    assert [step.target for step in numbers.steps] == [*TEXT[1:], None]
    for time, step in enumerate(numbers.steps):
        assert_close(step.logits.values, logits[time, 0])
        assert_close(step.probabilities.values, logits[time, 0].softmax(-1))
        for layer, found in enumerate(step.layers):
            assert_close(found.row("h").values, hidden[time, 0, layer])
    assert_close([step.loss for step in numbers.steps[:-1]], losses)
    assert_close(numbers.mean_loss, losses.mean())
    assert numbers.steps[-1].loss is None
    if network.recurrent_layers()[0].cell.num_states == 2:
        assert_close(numbers.steps[-1].layers[0].row("c").values, state[0, 1, 0])


def add(*rows):
    return np.sum([row.values for row in rows], axis=0)


def sigmoid(values):
    return np.asarray(1 / (1 + np.exp(-np.asarray(values))))


def test_the_rows_of_gates_are_their_equations():
    for step in model_of(config_of("lstm", num_layers=1)).numbers("hello").steps:
        row = step.layers[0].row
        total = add(row("W_ih x"), row("b_ih"), row("W_hh h"), row("b_hh")).reshape(4, H)
        assert row("W_ih x").labels == tuple(
            f"{gate}{unit}" for gate in "ifgo" for unit in range(H)
        )
        for gate, values in zip("ifgo", total, strict=True):
            assert_close(row(f"a_{gate}").values, values)
            function = np.tanh if gate == "g" else sigmoid
            assert_close(row(gate).values, function(values))
        gates = {gate: np.array(row(gate).values) for gate in "ifgo"}
        c = gates["f"] * row("c before").values + gates["i"] * gates["g"]
        assert_close(row("c").values, c)
        assert_close(row("tanh(c)").values, np.tanh(c))
        assert_close(row("h").values, gates["o"] * np.tanh(c))


def test_the_table_folds_the_steps_to_the_width():
    model = model_of(config_of("rnn", num_layers=1), vocab_of("hello", is_exact=True))
    shown = lines(*model.numbers("hello" * 3).view(), 80)
    assert max(map(len, shown)) <= 80
    steps = [line.split()[1:] for line in shown if line.startswith("step ")]
    assert [number for part in steps for number in part] == [str(number) for number in range(1, 16)]
    assert "h before" not in "\n".join(shown), "that is the column before"
    assert shown[-1] == f"mean loss {model.numbers('hello' * 3).mean_loss:.4f} nats per character"


def test_a_reader_can_compute_every_entry_from_the_printed_numbers():
    """Each printed number is at most half of the last decimal off."""
    table = printed(lines(*hello_model().numbers("hello").view(), 46))
    half = 5e-4
    weight, bias = np.split(table["W_hh"], [3], axis=1)
    h = table["h"]
    expected = weight @ h[:, :-1]
    error = half * (abs(weight).sum(1, keepdims=True) + 3 + 1)
    assert (abs(table["W_hh h"][:, 1:] - expected) <= error).all()
    a = table["W_ih x"] + table["W_hh h"] + table["W_ih"][:, 4:] + bias
    assert (abs(table["a"] - a) <= 5 * half).all()
    assert (abs(h - np.tanh(table["a"])) <= 2 * half).all()
    logits = table["W_hy"][:, :3] @ h + table["W_hy"][:, 3:]
    error = half * (abs(table["W_hy"]).sum(1, keepdims=True) + 3 + 2)
    assert (abs(table["logits"] - logits) <= error).all()


@pytest.mark.parametrize("cell, options", SHAPES)
def test_the_products_are_those_of_the_listed_weights(cell, options):
    numbers = model_of(config_of(cell, **options)).numbers("hel")
    weights = {(weight.layer, weight.name): weight for weight in numbers.weights}
    step = numbers.steps[-1]
    product, bias = step.output
    assert weights[None, "W_hy"].labels == product.labels
    assert weights[None, "W_hy"].bias_name == bias.name == "b_y"

    # The input of the first layer, and the h that the recurrent weights of most cells read.
    below = step.input.values
    for layer, found in enumerate(step.layers):
        for row in found.rows:
            name, _, argument = row.name.partition(" ")
            if argument == "x":
                assert_close(row.values, np.array(weights[layer, name].values) @ below)
            elif argument == "h" and name.startswith("W_"):
                before = found.row("h before").values
                assert_close(row.values, np.array(weights[layer, name].values) @ before)
        below = found.rows[-1].values


def test_a_table_has_every_number_of_the_json():
    numbers = model_of(config_of("gru")).numbers("hello")
    rows = numbers.to_rows()
    found = {(row.get("step"), row["layer"], row["name"], row["row"]): row["value"] for row in rows}
    assert found[2, 1, "h", "3"] == numbers.steps[1].layers[1].row("h").values[3]
    assert found[2, None, "loss", "l"] == numbers.steps[1].loss
    (weight,) = [weight for weight in numbers.weights if weight.name == "W_hy"]
    listed = [row["value"] for row in rows if row["name"] == "W_hy" and row.get("column") == "1"]
    assert listed == [values[1] for values in weight.values]


def test_a_table_names_control_characters_by_visible_ones():
    vocab = vocab_of("helo\0", is_exact=True)
    model = model_of(config_of("lstm", documents="lines", alphabet="exact"), vocab)
    rows = model.numbers("hel").to_rows()
    names = "".join(f"{row['row']}{row.get('column', '')}" for row in rows)
    assert names.isprintable()


def test_the_end_of_a_document_resets_the_state(monkeypatch):
    vocab = vocab_of("helo\0", is_exact=True)
    model = model_of(config_of("lstm", documents="lines", alphabet="exact"), vocab)
    steps = model.numbers("hel").steps
    assert [step.character for step in steps] == ["\0", *"hel"]
    monkeypatch.setattr(
        model.generator, "encode_prime", lambda *_, **__: vocab.encode("\0hel\0hel")
    )
    twice = model.numbers("hel").steps
    assert [step.logits for step in twice[:4]] == [step.logits for step in twice[4:]]
    assert twice[1].logits != twice[3].logits
