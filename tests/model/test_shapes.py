"""Sizes: the largest model that `--parameters N` allows, files of a run that are refused before they
are read, and models that do not fit in memory."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_runs import CONFIG, VOCAB, forge, make_run, save
from torch.nn.utils import parameters_to_vector

from charrnn.config.architectures import CELL_DESCRIPTIONS, DEPTH_DESCRIPTIONS
from charrnn.config.settings import MAX_HIDDEN_SIZE, Config
from charrnn.errors import CheckpointError, UsageError
from charrnn.model import shapes
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.network import CharRNN
from charrnn.model.shapes import (
    MAX_HEADER_BYTES,
    fit_parameters,
    most_bytes,
    num_parameters,
)
from charrnn.training.recipe import choose_embedding_size


def test_a_saved_step_may_be_four_copies_of_the_weights_and_the_state():
    config = Config(
        cell_type="rnn", num_layers=1, hidden_size=200, embedding_size=100, batch_size=7
    )
    num_weights = 50 * 100 + 200 * (100 + 200) + 2 * 200 + 50 * 200 + 50
    state = 1 * 1 * 7 * 200
    assert most_bytes(config, 50) == 4 * (4 * num_weights + state) + MAX_HEADER_BYTES
    assert MAX_HEADER_BYTES == 2**20


@pytest.mark.parametrize("excess", [0, 1])
def test_a_larger_file_than_the_model_can_need_is_refused_by_its_size(tmp_path, excess):
    run = make_run(tmp_path / "run")
    name = save(run, 9)
    forge(run, name, "training.safetensors", bytes(most_bytes(CONFIG, len(VOCAB)) + excess))
    # Zeros are no tensors either: a file of the permitted size is read, and refused for its
    # content.
    reason = (
        "it is larger than config.yaml allows"
        if excess
        else "training.safetensors is damaged: (?!it is larger)"
    )
    with pytest.raises(CheckpointError, match=reason):
        run.load_checkpoint(name, with_training=True)


def numbers_in(message):
    """The whole numbers in a message, in order."""
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", message)]


def fit(budget, *, vocab_size=40, **model):
    """The configuration with the number of units that a number of weights allows."""
    config = Config(parameters=budget, **{"cell_type": "lstm", "num_layers": 1, **model})
    return of_size(
        config,
        fit_parameters(config, vocab_size, lambda units: choose_embedding_size(config, units)),
    )


def of_size(config, size):
    model = {
        name: getattr(config, name)
        for name in ("cell_type", "depth", "num_layers", "initial_state", "sum_outputs")
    }
    return Config(**model, hidden_size=size, embedding_size=choose_embedding_size(config, size))


@given(
    st.integers(3_000, 500_000),
    st.sampled_from(sorted(CELL_DESCRIPTIONS)),
    st.sampled_from(sorted(DEPTH_DESCRIPTIONS)),
    st.integers(1, 4),
    st.sampled_from(["zero", "learned"]),
    st.one_of(st.just("auto"), st.integers(4, 30)),
    st.integers(10, 300),
)
@settings(max_examples=40)
def test_one_more_unit_would_be_too_many(
    budget, cell, depth, num_layers, initial, embedding, vocab_size
):
    model = {"cell_type": cell, "depth": depth, "num_layers": num_layers, "initial_state": initial}
    try:
        fitted = fit(budget, vocab_size=vocab_size, **model, embedding_size=embedding)
    except UsageError as error:
        _, least, most, *_ = numbers_in(str(error))
        assert budget < least or budget > most
        return
    if budget < 20_000:
        weights = parameters_to_vector(CharRNN(fitted, vocab_size).parameters())
        assert num_parameters(fitted, vocab_size) == len(weights)
    multiple = cell_type(cell).units_multiple
    assert isinstance(fitted.hidden_size, int) and fitted.hidden_size % multiple == 0
    wider = of_size(Config(embedding_size=embedding, **model), fitted.hidden_size + multiple)
    assert num_parameters(fitted, vocab_size) <= budget < num_parameters(wider, vocab_size)


@pytest.mark.parametrize("memory", [None, 60_000_000])
def test_the_range_ends_with_the_widest_layer_or_memory(memory, monkeypatch):
    monkeypatch.setattr(shapes, "memory_bytes", lambda: memory)
    widest = num_parameters(of_size(Config(cell_type="lstm", num_layers=1), MAX_HIDDEN_SIZE), 40)
    for budget in (5, 10**11):
        with pytest.raises(UsageError) as error:
            fit(budget)
        first, second = str(error.value).splitlines()
        # Of the memory, each weight takes fifteen times four bytes.
        most = widest if memory is None else memory // 60
        assert numbers_in(first) == [budget, 136, most]
        # What the range depends on: layers, cell type and alphabet.
        assert numbers_in(second) == [1, 40] and "lstm" in second
    assert num_parameters(fit(136), 40) == 136
    if memory is None:
        assert fit(widest).hidden_size == MAX_HIDDEN_SIZE
