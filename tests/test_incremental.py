"""A text that is read one character at a time, as the explorer reads what is typed."""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import hand_built_stepper, hand_built_tensors

from charrnn.apps.explore.state import IncrementalReader
from charrnn.config import Config
from charrnn.generation.distribution import log_softmax
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab

CHARACTERS = "\0abcdefghijklmnopqrstuvwxyz .\n"


@pytest.fixture
def reader() -> IncrementalReader:
    assert len(CHARACTERS) == 30
    return IncrementalReader(hand_built_stepper("lstm", precision="fp32"), Vocab("char", tuple(CHARACTERS)))


def test_values_and_guesses_are_those_of_the_stepper(reader: IncrementalReader) -> None:
    stepper = hand_built_stepper("lstm", precision="fp32")
    state, values, probs = stepper.initial_state(1), [], []
    for character in "a lamp.":
        logits, state = stepper.step(np.array([CHARACTERS.index(character)]), state)
        values.append(stepper.values(state)[1, 0, 7])
        probs.append(np.exp(log_softmax(logits))[0])
        reader.read(character)
    assert (reader.text, len(reader)) == ("a lamp.", 7)
    assert reader.values(1, 7).tolist() == values
    for index in (0, 3, 6):
        guesses = reader.guesses(index, 4)
        assert [probability for _, probability in guesses] == pytest.approx(sorted(probs[index])[:-5:-1])
        assert guesses[0][0] == np.argmax(probs[index])
    assert reader.guesses(7, 4) == []


def test_after_the_last_character_is_deleted_the_model_is_as_before(reader: IncrementalReader) -> None:
    reader.delete_last()
    for character in "ab":
        reader.read(character)
    before = reader.values(0, 3).tolist(), reader.guesses(1, 30)
    reader.read("z")
    reader.read("c")
    expected = reader.values(0, 3)[-1]
    reader.delete_last()
    reader.delete_last()
    assert (reader.text, reader.values(0, 3).tolist(), reader.guesses(1, 30)) == ("ab", *before)
    reader.read("c")
    assert reader.values(0, 3)[-1] != expected, "the state depends on what was deleted before"


def test_inside_a_character_of_several_bytes_nothing_is_predicted() -> None:
    config = Config(cell="lstm", num_layers=2, hidden_size=24, embedding_size=13, dropout=0.0)
    stepper = Stepper(config, hand_built_tensors(config, vocab_size=256), "fp32")
    reader = IncrementalReader(stepper, Vocab.of_bytes())
    for character in "aéb":
        reader.read(character)
    assert (len(reader), len(reader.text), reader.values(0, 0).shape) == (3, 4, (4,))
    assert [len(reader.guesses(index, 5)) for index in range(4)] == [5, 0, 5, 5]
