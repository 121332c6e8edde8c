"""What a cell does to the prediction: effects and output weights. n positions, V characters, L
layers, H units."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from effects_networks import ARCHITECTURES, CHARACTERS, H, V, make_network, make_text

from charrnn.analyses.outputs import output_gradients, quantities, rank_characters
from charrnn.analyses.sampled_states import characters_of, sample_states
from charrnn.model.interventions import hold
from charrnn.model.layer import TORCH
from charrnn.text.vocab import EncodedText


@torch.no_grad()
def finite_differences(states, layer, unit, step=1e-6):
    """The mean change (V,) of the log-probabilities if the cell is clamped a little higher at one
    step, per value."""
    network = states.network
    shows = network.recurrent_layers()[layer].cell.shows
    slopes = []
    for place in range(len(states)):
        quantity, moved = quantities(states)[place, layer, unit], []
        for sign in (1, -1):
            if shows == "tanh(c)":
                ops = {layer: _moving(unit, sign * step)}
            else:
                ops = {
                    layer: hold(TORCH, [unit], lambda _, value=float(quantity + sign * step): value)
                }
            before = states.before.map(partial(torch.narrow, dim=-2, start=place, length=1))
            logits, _ = network(states.ids[:, place : place + 1], before, ops=ops)
            moved.append(logits[0, 0].log_softmax(-1))
        slopes.append((moved[0] - moved[1]) / (2 * step))
    return torch.stack(slopes).mean(0)


def _moving(unit, change):
    """Add `change` to tanh(c) of a unit. Clamping would not do: zoneout stores another c than that
    which h reads."""

    def clamp(memory):
        memory = memory.clone()
        memory[:, unit] = (memory[:, unit].tanh() + change).atanh()
        return memory

    return replace(TORCH, clamp=clamp)


@pytest.mark.parametrize(
    "cell, depth, zoneout",
    [(*one, 0.2 * (index % 2)) for index, one in enumerate(ARCHITECTURES)],
)
def test_gradients_are_finite_differences(cell, depth, zoneout):
    states = sample_states(make_network(cell, depth, zoneout=zoneout), make_text(40), 5)
    few, many = list(range(V)), list(range(V)) * (H + 1)
    gradients = output_gradients(states, few)
    assert gradients.shape == (V, 3, H)
    assert len(few) <= H < len(many)
    for layer in range(3):
        # A central difference is off by its step squared, 1e-12, and by rounding over its step,
        # 1e-10.
        expected = finite_differences(states, layer, 4)
        np.testing.assert_allclose(gradients[:, layer, 4], expected, rtol=1e-5, atol=1e-8)
        assert expected.abs().max() > 1e-4
    # Many characters have the same gradients as few.
    torch.testing.assert_close(output_gradients(states, many), gradients.repeat(H + 1, 1, 1))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_effects_of_the_top_layer_are_its_output_weights(cell):
    """Relative to the mean of the predictions; for an lstm times the output gate, which is h /
    tanh(c)."""
    whole = make_text(300)
    ids = whole.ids[whole.ids != CHARACTERS.index("c")]  # only characters of the text are ranked
    text = EncodedText(ids, 0, "".join(CHARACTERS[id] for id in ids), "char")
    states = sample_states(make_network(cell), text, 50)
    network = states.network
    with torch.no_grad():
        (logits, values, outputs), _ = network.trace(states.ids, states.before)
        centred = (
            network.output.weight[None] - (logits[0].softmax(-1) @ network.output.weight)[:, None]
        )
        gates = (outputs / values)[0, :, -1]  # 1 for a gru, whose values are its outputs
        expected = (centred * gates[:, None]).mean(0) * values[0, :, -1].std(0, correction=0)
    for unit, found in enumerate(rank_characters(states, text)[-H:]):
        assert (found.layer, found.unit) == (2, unit)
        assert found.quantity == {"lstm": "tanh(c)", "gru": "h"}[cell]
        effects = {one.character: one.effect for one in (*found.promoted, *found.suppressed)}
        by_character = dict(zip(CHARACTERS, expected[:, unit].tolist(), strict=True))
        del by_character["c"]
        assert effects == pytest.approx(by_character, rel=1e-3)
        promoted = [one.effect for one in found.promoted]
        suppressed = [one.effect for one in found.suppressed]
        assert promoted == sorted(promoted, reverse=True)
        assert suppressed == sorted(suppressed)
        assert min(promoted) > 0 > max(suppressed)


def test_a_saturated_memory_has_an_effect_too():
    """A c of 40, whose tanh is 1 exactly: h = o * tanh(c) still changes by o if tanh(c) does."""
    network, text = make_network("lstm", num_layers=1), make_text(50)
    states = sample_states(network, text, 4)
    moderate = output_gradients(states, list(range(V)))
    with torch.no_grad():
        network.recurrent_layers()[0].bias("ih")[: 3 * H] += 60  # i, f and g
    states = sample_states(network, text, 4)
    assert bool((states.values == 1).all())
    saturated = output_gradients(states, list(range(V)))
    assert saturated.abs().amax(0).min() > 0.05 * moderate.abs().amax()


def test_a_byte_is_written_as_such():
    text = EncodedText(np.array([65, 195, 164], np.uint16), 0, "A\xc3\xa4", "byte")
    assert characters_of(text) == {65: "A", 195: "\\xc3", 164: "\\xa4"}


def test_a_cell_that_nothing_reads_promotes_nothing():
    network, text = make_network("gru", num_layers=1), make_text(200)
    with torch.no_grad():
        network.recurrent_layers()[0].weight("hh")[:, 2] = 0
        network.output.weight[:, 2] = 0
    assert rank_characters(sample_states(network, text), text)[2].promoted == ()
