"""The stepper: reading is stepping, no overflow, and no weights of another network."""

import numpy as np
import pytest
from hand_built import hand_built_tensors

from charrnn.config.settings import Config
from charrnn.errors import CheckpointError
from charrnn.model.stepper import Stepper

V = 11
CELLS = ("lstm", "gru", "rnn")


def config_of(cell):
    return Config(cell_type=cell, num_layers=2, hidden_size=16, embedding_size=6, dropout=0.0)


@pytest.mark.parametrize("cell", CELLS)
def test_reading_is_stepping_and_continues_from_a_state(cell):
    stepper = Stepper(config_of(cell), hand_built_tensors(config_of(cell), V))
    ids = np.random.default_rng(4).integers(0, V, 20).astype(np.uint16)
    state = stepper.initial_state(1)
    for char in ids:
        logits, state = stepper.step(np.array([char]), state)
    for found in (stepper.read(ids), stepper.read(ids[9:], stepper.read(ids[:9])[1])):
        assert np.array_equal(found[0], logits)
        assert np.array_equal(found[1], state)
    with pytest.raises(ValueError, match="the text is empty"):
        stepper.read(ids[:0])


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_any_size_step_without_overflow(cell):
    tensors = {
        name: value * np.float32(1e4)
        for name, value in hand_built_tensors(config_of(cell), V).items()
    }
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        logits, state = Stepper(config_of(cell), tensors).read(np.arange(V))
    assert np.isfinite(logits).all()
    assert np.isfinite(state).all()


def test_weights_that_are_missing_surplus_or_of_another_shape_or_kind_are_refused():
    config = config_of("gru")
    tensors = hand_built_tensors(config, V)
    damaged = [
        {},
        hand_built_tensors(config_of("lstm"), V),
        {**tensors, "more": np.zeros(1, np.float32)},
    ]
    for name, value in tensors.items():
        damaged.append({key: other for key, other in tensors.items() if key != name})
        # NumPy would broadcast a single row.
        wrong = [
            value[:-1],
            value[:1],
            value[..., :-1],
            np.resize(value, (len(value) + 1, *value.shape[1:])),
        ]
        damaged += [{**tensors, name: one} for one in (*wrong, value.astype(np.int64))]
    for other in damaged:
        with pytest.raises(CheckpointError, match="not contain the gru model"):
            Stepper(config, other)
