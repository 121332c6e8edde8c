"""The table of logits for the last three to five characters, against a loop over them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hand_built import hand_built_tensors
from random_networks import in_numpy

from charrnn.config.settings import Config
from charrnn.model.network import CharRNN, load_network
from charrnn.model.noise import Noise
from charrnn.model.shapes import extend_rows, num_parameters, weight_shapes
from charrnn.model.stepper import Stepper
from charrnn.training.optim import MAX_ROW_CHARS, NGRAM_DECAY, NGRAM_RATE, TableSGD

V, ROWS = 30, 53
WITHOUT = Config(
    cell="gru", num_layers=2, hidden_size=12, embedding_size=5, dropout=0.0, input_dropout=0.0
)
END = 0


def config_of(**changes):
    return replace(WITHOUT, **{"ngram_rows": ROWS, **changes})


@pytest.mark.parametrize("documents", ["none", "lines"])
def test_the_logits_are_those_of_the_network_and_of_the_last_characters(documents):
    config = config_of(documents=documents, alphabet="exact")
    tensors = hand_built_tensors(config)
    table = tensors["ngrams.weight"]
    plain = {name: value for name, value in tensors.items() if name != "ngrams.weight"}
    network = load_network(
        config, V, {name: torch.from_numpy(value) for name, value in tensors.items()}
    )
    stepper = Stepper(config_of(documents=documents, alphabet="exact", ngram_rows=0), plain)
    ids = np.random.default_rng(3).integers(0, V, 90)
    ids[[20, 21, 60]] = END
    state, expected, before = stepper.initial_state(1), [], [0] * 5
    for char in ids:
        logits, state = stepper.step(np.array([char]), state)
        if documents == "lines" and char == END:
            before = [0] * 5
        before = [*before[1:], int(char) + 1]
        # The newest character has the highest power of 1009.
        rows = [
            sum(one * 1009**place for place, one in enumerate(before[-length:])) % ROWS
            for length in (3, 4, 5)
        ]
        expected.append(logits[0] + table[rows].sum(0))
    with torch.no_grad():
        found, _ = network(torch.from_numpy(ids)[:, None], network.initial_state(1))
        # In two parts, the second of which continues from the state of the first.
        _, middle = network(torch.from_numpy(ids[:41])[:, None], network.initial_state(1))
        rest, _ = network(torch.from_numpy(ids[41:])[:, None], middle)
        last = Stepper(config, tensors).read(ids[41:], in_numpy(middle))[0]
    np.testing.assert_allclose(last[0], expected[-1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:, 0], np.stack(expected), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rest[:, 0], np.stack(expected)[41:], rtol=1e-4, atol=1e-4)


def test_it_learns_from_nothing_and_its_rows_are_weights():
    network = CharRNN(config_of(), V)
    assert (
        network.num_parameters
        == num_parameters(config_of(), V)
        == CharRNN(WITHOUT, V).num_parameters + ROWS * V
    )
    assert not network.ngrams.weight.any()
    ids = torch.arange(V)[:, None]
    network(ids, network.initial_state(1))[0].sum().backward()
    assert network.ngrams.weight.grad.any()


@pytest.mark.parametrize(
    ("members", "batch_size", "num_chars"), [(1, 4, 32), (3, 4, 32), (1, 1024, 4096)]
)
def test_its_step_is_that_of_every_character_and_its_prior_does_not_depend_on_the_number_of_networks(
    members, batch_size, num_chars
):
    """As many as MAX_NGRAM_CHARS: 8,192 characters change the table as 4,096 do."""
    config = config_of(
        num_members=members, batch_size=batch_size, bptt_length=8, learning_rate=0.02, steps=200
    )
    before, mean = torch.randn(2, ROWS, V, generator=torch.Generator().manual_seed(1))
    table = torch.nn.Parameter(before.clone())
    table.grad = members * mean  # the loss of several networks is the sum of theirs
    TableSGD(table, config, 900).step(0.005, 1)
    rate = NGRAM_RATE * num_chars * 0.005 / 0.02
    torch.testing.assert_close(
        table.detach(), (1 - rate * NGRAM_DECAY / 900) * before - rate * mean
    )


@pytest.mark.parametrize(
    ("documents", "num_epochs", "factor", "most"),
    [
        ("none", 6, 1, 48),
        ("lines", 60, 1, MAX_ROW_CHARS),
        ("none", 3, 2, MAX_ROW_CHARS / 2),
        ("lines", 0.1, 4, MAX_ROW_CHARS / 4),
    ],
)
def test_a_text_that_is_seldom_read_has_a_higher_rate_and_its_rows_a_limit(
    documents, num_epochs, factor, most
):
    """Each of many short documents begins with the same rows, which would diverge."""
    config = config_of(
        documents=documents, steps=60, batch_size=4, bptt_length=8, learning_rate=0.02
    )
    rows = torch.tensor([[1] * 48 + [2, 2]])
    ones = torch.ones(rows.shape[1], V)
    table = torch.nn.Parameter(torch.zeros(ROWS, V))
    table.grad = torch.sparse_coo_tensor(rows, ones, (ROWS, V), check_invariants=False)
    TableSGD(table, config, round(60 * 32 / num_epochs)).step(0.02, 1)
    step = NGRAM_RATE * factor * 32
    assert table[:4, 0].tolist() == pytest.approx([0, -step * most, -step * 2, 0])


@pytest.mark.parametrize("documents", ["none", "lines"])
def test_training_leaves_the_table_out_for_the_share_of_characters_that_dropout_names(documents):
    config = config_of(documents=documents, alphabet="exact", dropout=0.4)
    tensors = {name: torch.from_numpy(value) for name, value in hand_built_tensors(config).items()}
    network = load_network(config, V, tensors)
    plain = load_network(config, V, tensors)
    assert network.ngrams is not None and plain.ngrams is not None
    torch.nn.init.zeros_(plain.ngrams.weight)
    ids = torch.from_numpy(np.random.default_rng(3).integers(0, V, (60, 6)))

    @torch.no_grad()
    def added(rows=slice(0, 6), *, is_noisy=True):
        """What the table adds to the logits of some batch rows."""
        read = ids[:, rows]
        logits = []
        for one in (network, plain):
            noise = Noise(torch.Generator().manual_seed(1), 6, rows) if is_noisy else None
            logits.append(one(read, one.initial_state(read.shape[1]), noise)[0])
        return logits[0] - logits[1]

    noisy = added()
    is_left_out = noisy.abs().amax(-1) < 1e-5
    assert 0.3 < is_left_out.float().mean() < 0.5
    kept = torch.where(is_left_out[..., None], 0, added(is_noisy=False) / 0.6)
    torch.testing.assert_close(noisy, kept, atol=1e-4, rtol=1e-4)
    assert torch.equal(added(), noisy)
    # One of several processes leaves out the same characters of its batch rows.
    torch.testing.assert_close(added(slice(2, 5)), noisy[:, 2:5], atol=1e-4, rtol=1e-4)


def test_new_characters_get_columns_of_zeros():
    tensors = hand_built_tensors(config_of())
    drawn = {
        name: value.detach().numpy()
        for name, value in CharRNN(config_of(), V + 2).state_dict().items()
    }
    extended = extend_rows(tensors, drawn)
    assert {name: value.shape for name, value in extended.items()} == weight_shapes(
        config_of(), V + 2
    )
    assert np.array_equal(extended["ngrams.weight"][:, :V], tensors["ngrams.weight"])
    assert not extended["ngrams.weight"][:, V:].any()
