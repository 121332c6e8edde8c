"""The predictions of each character by a model and by n-grams, against the probabilities of both."""

import numpy as np
import pytest
import torch
from hand_built import hand_built_tensors, small_config

from charrnn.api import Model
from charrnn.ngrams.kneser_ney import NgramModel
from charrnn.reports.char_predictions import predict_chars, with_ngrams
from charrnn.text.vocab import Vocab

LETTERS = "\n .abcdefgh"
V = len(LETTERS) + 1
LONGEST = 5
"""Characters of the longest context that is counted."""


def text_of(num_chars, seed):
    """Ids (N,) of a text that repeats some words."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(1, V, size) for size in (2, 3, 5, 8)]
    return np.concatenate([words[i] for i in rng.integers(0, 4, num_chars)])[:num_chars]


TRAINING = text_of(3_000, seed=0).astype(np.uint8)
READ = np.concatenate((text_of(150, seed=0), text_of(50, seed=1)))
CONTEXT = np.array([1])


@pytest.fixture(scope="module")
def model():
    config = small_config(steps=1)
    return Model(config, Vocab("char", ("", *LETTERS)), hand_built_tensors(config, V), name="m")


@pytest.fixture(scope="module")
def measured(model):
    stepper = model.generator.model_for("fp32", {})
    logprobs = predict_chars(stepper, READ, context_ids=CONTEXT)
    predictor = NgramModel.fit(TRAINING, V, LONGEST + 1).predictor()
    escapes = np.zeros(len(READ), np.float32)
    return with_ngrams(logprobs, READ, context_ids=CONTEXT, predictor=predictor, escapes=escapes)


def test_the_probabilities_are_those_of_the_network_and_of_the_n_grams(model, measured):
    read = np.concatenate((CONTEXT, READ))
    with torch.no_grad():
        ids = torch.from_numpy(read[:-1])[:, None]
        logits, _ = model.network(ids, model.network.initial_state(1))
    rows = np.arange(len(READ))
    expected = logits[:, 0].double().log_softmax(-1).numpy()[rows, READ]
    # float32 logits.
    np.testing.assert_allclose(measured.logprobs, expected, atol=1e-5)

    predictor = NgramModel.fit(TRAINING, V, LONGEST + 1).predictor()
    probabilities = predictor.probabilities(read, np.arange(1, len(read)))[rows, READ]
    np.testing.assert_allclose(measured.ngram_logprobs, np.log(probabilities), rtol=1e-12)


def test_the_longest_context_is_the_longest_that_a_search_finds(measured):
    training = TRAINING.tolist()
    read = [*CONTEXT.tolist(), *READ.tolist()]
    for index in range(len(READ)):
        before = read[: index + 1]
        for length in range(min(LONGEST, len(before)), -1, -1):
            context = before[len(before) - length :]
            places = [
                end
                for end in range(length, len(training) + 1)
                if training[end - length : end] == context
            ]
            if places:
                break
        assert measured.context_lengths[index] == length
        assert measured.num_places[index] == len(places)
