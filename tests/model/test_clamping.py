"""Holding a cell while the model writes: it stays where it is held, and what it stands for
follows."""

import numpy as np
import pytest
from built_runs import build_quoting
from effects_networks import tensors_of
from known_weights import QUOTING_UNIT, quoting_text

import charrnn
from charrnn.config.architectures import CELL_DESCRIPTIONS, DEPTH_DESCRIPTIONS
from charrnn.config.settings import Config
from charrnn.detectors.prose import label_quotes
from charrnn.model.network import CharRNN
from charrnn.model.stepper import Stepper

V, H = 11, 8
CELL = (0, QUOTING_UNIT)


@pytest.mark.parametrize(
    "cell, depth, zoneout",
    [
        *((cell, "stacked", 0.0) for cell in CELL_DESCRIPTIONS),
        *(("lstm", depth, 0.3) for depth in DEPTH_DESCRIPTIONS),
    ],
)
def test_a_held_cell_stays_where_it_is_and_the_others_notice(cell, depth, zoneout):
    config = Config(
        cell_type=cell,
        depth=depth,
        num_layers=2,
        hidden_size=H,
        embedding_size=4,
        dropout=0.0,
        zoneout=zoneout,
    )
    tensors = tensors_of(CharRNN(config, V))
    free, held = Stepper(config, tensors), Stepper(config, tensors)
    held.clamp(0, 3, 0.5)
    held.clamp(1, 6, -1.0)
    free_state, held_state = free.initial_state(2), held.initial_state(2)
    for ids in np.random.default_rng(0).integers(0, V, (6, 2)):
        free_logits, free_state = free.step(ids, free_state)
        held_logits, held_state = held.step(ids, held_state)
        values = held.values(held_state)
        assert values[0, :, 3] == pytest.approx(0.5, abs=1e-6)
        assert values[1, :, 6] == pytest.approx(-1.0, abs=2e-4), "tanh never reaches -1"
        assert not np.allclose(free.values(free_state)[0, :, 3], 0.5)
        assert not np.allclose(free_logits, held_logits)


@pytest.fixture(scope="module")
def quoting_model(tmp_path_factory):
    """A model of a text that has letters of its own inside quotations."""
    folder = tmp_path_factory.mktemp("quotes")
    (folder / "quotes.txt").write_text(quoting_text(20_000), encoding="utf-8")
    return charrnn.load(build_quoting(folder / "quoting", folder / "quotes.txt"))


@pytest.mark.slow
def test_with_its_quotation_cell_held_a_model_writes_as_in_or_outside_quotations(quoting_model):
    text, context = quoting_model.held_out_text()
    trace = quoting_model.trace(text, context=context)
    (found,) = charrnn.find_cells(trace, ["quote"]).scores
    assert found.auc > 0.99
    values = trace.cells[:, found.layer, found.unit]
    inside = label_quotes(trace.text)

    def share_inside(**options):
        written = quoting_model.sample(seed=0, length=1000, **options).text
        num_inside = sum(map(written.count, "xyz"))
        num_outside = sum(map(written.count, "abc"))
        return num_inside / (num_inside + num_outside)

    assert (found.layer, found.unit) == CELL
    assert 0.2 < share_inside() < 0.8
    assert share_inside(clamps={CELL: float(np.median(values[inside]))}) > 0.9
    assert share_inside(clamps={CELL: float(np.median(values[~inside]))}) < 0.1


def test_values_come_with_the_pieces_and_are_those_of_a_trace(quoting_model):
    pieces = list(
        quoting_model.stream(seed=0, length=200, cell=(0, 3), precision="fp32", prime="ab “xy")
    )
    trace = quoting_model.trace("ab “xy" + "".join(piece.text for piece in pieces))
    assert [piece.value for piece in pieces] == pytest.approx(
        trace.cells[6:, 0, 3].tolist(), abs=1e-4
    )


def test_a_prime_is_read_again_where_a_precision_or_clamp_reads_it_otherwise(quoting_model):
    ways = [
        {},
        {"precision": "fp32"},
        {"clamps": {CELL: 0.5}},
        {"clamps": {CELL: -1.0}},
    ]
    fresh = []
    for way in ways:
        quoting_model.generator._last_primed = None
        fresh.append(quoting_model.sample(seed=0, length=1, prime="ab “xy", **way).logprobs)
    assert len(set(fresh)) == len(ways), "the premise"
    assert [
        quoting_model.sample(seed=0, length=1, prime="ab “xy", **way).logprobs for way in ways
    ] == fresh
