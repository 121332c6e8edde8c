"""`--parameters N`: the largest model of a cell, a depth and an alphabet that has at most N
weights."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config.architectures import CELLS, DEPTHS
from charrnn.config.settings import MAX_HIDDEN_SIZE, Config
from charrnn.errors import UsageError
from charrnn.model import shapes
from charrnn.model.cell_type_registry import cell_type
from charrnn.model.network import CharRNN
from charrnn.model.shapes import check_multiple, fit_parameters, num_parameters
from charrnn.training.recipe import choose_embedding_size


def fit(budget, *, vocab_size=40, **model):
    """The configuration with the number of units that a number of weights allows."""
    config = Config(parameters=budget, **{"cell": "lstm", "num_layers": 1, **model})
    return of_size(
        config,
        fit_parameters(config, vocab_size, lambda units: choose_embedding_size(config, units)),
    )


def of_size(config, size):
    model = {
        name: getattr(config, name)
        for name in ("cell", "depth", "num_layers", "initial_state", "sum_outputs")
    }
    return Config(**model, hidden_size=size, embedding_size=choose_embedding_size(config, size))


@given(
    st.integers(3_000, 500_000),
    st.sampled_from(sorted(CELLS)),
    st.sampled_from(sorted(DEPTHS)),
    st.integers(1, 4),
    st.sampled_from(["zero", "learned"]),
    st.one_of(st.just("auto"), st.integers(4, 30)),
    st.integers(10, 300),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_one_more_unit_would_be_too_many(
    budget, cell, depth, num_layers, initial, embedding, vocab_size
):
    model = {"cell": cell, "depth": depth, "num_layers": num_layers, "initial_state": initial}
    try:
        fitted = fit(budget, vocab_size=vocab_size, **model, embedding_size=embedding)
    except UsageError as error:
        numbers = re.findall(r"\d[\d,]*", str(error).split(";")[1])
        least, most = [int(number.replace(",", "")) for number in numbers[:2]]
        assert budget < least or budget > most
        return
    if budget < 20_000:
        assert num_parameters(fitted, vocab_size) == CharRNN(fitted, vocab_size).num_parameters
    multiple = cell_type(cell).units_multiple
    assert isinstance(fitted.hidden_size, int) and fitted.hidden_size % multiple == 0
    wider = of_size(Config(embedding_size=embedding, **model), fitted.hidden_size + multiple)
    assert num_parameters(fitted, vocab_size) <= budget < num_parameters(wider, vocab_size)


@pytest.mark.parametrize("memory", [None, 60_000_000])
def test_the_range_ends_with_the_widest_layer_or_memory(memory, monkeypatch):
    monkeypatch.setattr(shapes, "memory_bytes", lambda: memory)
    widest = num_parameters(of_size(Config(cell="lstm", num_layers=1), MAX_HIDDEN_SIZE), 40)
    for budget in (5, 10**11):
        with pytest.raises(UsageError) as error:
            fit(budget)
        first, second = str(error.value).splitlines()
        assert first.startswith(f"`parameters` is {budget:,}; it must be between 136 and ")
        assert first.endswith(f"{widest:,}" if memory is None else "1,000,000"), (
            "fifteen times four bytes per weight"
        )
        assert second.startswith("for 1 layer of cell type lstm, an alphabet of 40 ")
    assert num_parameters(fit(136), 40) == 136
    if memory is None:
        assert fit(widest).hidden_size == MAX_HIDDEN_SIZE


def test_a_cell_may_need_a_multiple_of_some_number_of_units(monkeypatch):
    monkeypatch.setattr(cell_type("gru"), "units_multiple", 4)
    fitted = fit(20_000, cell="gru")
    assert isinstance(fitted.hidden_size, int) and fitted.hidden_size % 4 == 0
    least = num_parameters(of_size(Config(cell="gru", num_layers=1), 4), 40)
    assert fit(least, cell="gru").hidden_size == 4
    with pytest.raises(
        UsageError, match=r"^`hidden_size` is 30; the cell gru needs a multiple of 4\.$"
    ):
        check_multiple(Config(cell="gru", hidden_size=30))
