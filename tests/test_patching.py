"""Patching: exactly nothing where nothing reads the cell or the value is the same, else what a loop
computes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from effects_networks import ARCHITECTURES, CHARACTERS, H, make_network, make_text

from charrnn.analyses import patching
from charrnn.analyses.patching import PassageIds, patch_cells

ALL = [(layer, unit) for layer in range(3) for unit in range(H)]


@pytest.fixture(autouse=True)
def short_continuations(monkeypatch):
    monkeypatch.setattr(patching, "NUM_WRITTEN", 16)


def patch(network, cells, source, target, num_chars=120):
    text = make_text(num_chars)

    def passage(position):
        return PassageIds.in_text(text.ids, position=position, index=position, text=text.text)

    vocab = SimpleNamespace(
        decode=lambda ids: "".join(CHARACTERS[id] for id in ids), has_unknown_symbol=False
    )
    model = SimpleNamespace(network=network, character=CHARACTERS.__getitem__, vocab=vocab)
    return patch_cells(model, cells, source=passage(source), target=passage(target))


def assert_nothing_changed(found):
    assert found.divergence == 0
    assert [one.before for one in found.characters] == [one.after for one in found.characters]
    assert found.continuation_before == found.continuation_after


@pytest.mark.parametrize(("cell", "depth"), ARCHITECTURES[::2])
def test_a_patch_from_the_same_passage_changes_nothing(cell, depth):
    network = make_network(cell, depth, zoneout=0.2)
    found = patch(network, ALL, 20, 20)
    assert_nothing_changed(found)
    assert [one.source for one in found.cells] == [one.target for one in found.cells]
    assert len(found.cells) == 3 * H
    other = patch(network, ALL, 21, 20)
    assert other.divergence > 0
    assert [one.source for one in other.cells] != [one.target for one in other.cells]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_cell_that_nothing_reads_changes_nothing(cell):
    network = make_network(cell)
    with torch.no_grad():
        for layer in network.recurrent_layers():
            layer.weight("hh")[:, 4] = 0
        for layer in network.recurrent_layers()[1:]:
            layer.weight("ih")[:, 4] = 0
        network.output.weight[:, 4] = 0
    for layer in range(3):
        assert_nothing_changed(patch(network, [(layer, 4)], 20, 30))
        assert patch(network, [(layer, 3)], 20, 30).divergence > 0


@torch.no_grad()
def read_slowly(network, ids, state=None):
    """The log-probabilities (V,) after each character, one at a time, and the last state."""
    state = network.initial_state(1) if state is None else state
    found = []
    for id in ids.tolist():
        logits, state = network(torch.tensor([[id]]), state)
        found.append(logits[0, 0].log_softmax(-1))
    return found, state


def written_slowly(network, logprobs, state):
    written = ""
    for _ in range(patching.NUM_WRITTEN):
        id = int(logprobs.argmax())
        written += CHARACTERS[id]
        (logprobs,), state = read_slowly(network, np.array([id]), state)
    return written


def test_what_follows_is_what_a_loop_computes_from_the_patched_state():
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
    assert found.continuation_before == written_slowly(network, before[-1], free)
    assert found.continuation_after == written_slowly(network, after, state)


def test_an_lstm_keeps_the_output_gate_of_the_target():
    """Patching the memory c of the top layer: the next prediction is of h = o * tanh(c)."""
    network, text = make_network("lstm"), make_text(120)
    found = patch(network, [(2, 3)], 80, 40)
    _, target_state = read_slowly(network, text.ids[:41])
    _, source_state = read_slowly(network, text.ids[:81])
    h, c = target_state.vectors[2, :, 0].clone()
    from_c = source_state.vectors[2, 1, 0]
    h[3] = h[3] / c[3].tanh() * from_c[3].tanh()
    with torch.no_grad():
        after = network.output(h).softmax(-1)
    for one in found.characters:
        assert one.after == pytest.approx(float(after[CHARACTERS.index(one.character)]), abs=1e-12)
    (cell,) = found.cells
    assert (cell.source, cell.target) == pytest.approx(
        (float(from_c[3].tanh()), float(c[3].tanh())), abs=1e-12
    )


def test_a_continuation_ends_at_an_end():
    network = make_network("lstm")
    with torch.no_grad():
        network.output.bias[2] += 100
    assert set(patch(network, [(0, 0)], 30, 60).continuation_after) == {"c"}
    network.end_id = 2
    assert patch(network, [(0, 0)], 30, 60).continuation_after == ""


def test_a_passage_of_a_text_has_the_characters_that_are_read_and_shown():
    num = patching.CHARS_READ + 5
    passage = PassageIds.in_text(
        np.arange(num) % 7, position=num - 2, index=num - 2, text="x" * (num - 1) + "y"
    )
    assert (len(passage.ids), passage.ids[-1], passage.shown.position) == (
        patching.CHARS_READ,
        (num - 2) % 7,
        num - 2,
    )
    assert passage.shown.text == "x" * patching.CHARS_SHOWN
