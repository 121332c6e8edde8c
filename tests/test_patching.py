"""Patching: exactly nothing where nothing reads the cell or the value is the same, else what a loop
computes."""

from types import SimpleNamespace

import pytest
import torch
from effects_networks import ARCHITECTURES, CHARACTERS, H, make_network, make_text

from charrnn.analyses.patching import patch_cells

ALL = [(layer, unit) for layer in range(3) for unit in range(H)]


def patch(network, cells, source, target, num_chars=120):
    text = make_text(num_chars)

    def passage(position):
        return text.part(0, position + 1)

    model = SimpleNamespace(network=network, character=CHARACTERS.__getitem__)
    return patch_cells(model, cells, source=passage(source), target=passage(target))


def assert_nothing_changed(found):
    assert found.divergence == 0
    assert [one.before for one in found.characters] == [one.after for one in found.characters]


@pytest.mark.parametrize(("cell", "depth"), ARCHITECTURES[::2])
def test_a_patch_from_the_same_passage_changes_nothing(cell, depth):
    network = make_network(cell, depth, zoneout=0.2)
    found = patch(network, ALL, 20, 20)
    assert_nothing_changed(found)
    assert [one.source for one in found.cells] == [one.target for one in found.cells]
    assert patch(network, ALL, 21, 20).divergence > 0


@torch.no_grad()
def read_slowly(network, ids, state=None):
    """The log-probabilities (V,) after each character, one at a time, and the last state."""
    state = network.initial_state(1) if state is None else state
    found = []
    for id in ids.tolist():
        logits, state = network(torch.tensor([[id]]), state)
        found.append(logits[0, 0].log_softmax(-1))
    return found, state


def test_the_prediction_is_what_a_loop_computes_from_the_patched_state():
    """In a gru the output is the memory: patching the top layer replaces a part of its state."""
    network, text = make_network("gru"), make_text(120)
    units = [1, 5]
    found = patch(network, [(2, unit) for unit in units], 80, 40)
    before, free = read_slowly(network, text.ids[:41])
    _, taken = read_slowly(network, text.ids[:81])
    state = free.map(torch.clone)
    state.vectors[2, 0, 0, units] = taken.vectors[2, 0, 0, units]
    with torch.no_grad():
        after = network.output(state.vectors[2, 0, 0]).log_softmax(-1)
    # Sums of few numbers in float64.
    divergence = float((before[-1].exp() * (before[-1] - after)).sum())
    assert found.divergence == pytest.approx(divergence, abs=1e-12)
    probabilities = torch.stack((before[-1], after), dim=1).exp().tolist()
    changes = [(one.character, one.before, one.after) for one in found.characters]
    assert changes == sorted(changes, key=lambda change: -abs(change[2] - change[1]))
    assert {name: numbers for name, *numbers in changes} == {
        name: pytest.approx(probabilities[id], abs=1e-12) for id, name in enumerate(CHARACTERS)
    }
