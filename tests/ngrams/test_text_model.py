"""The n-grams of a training text as a model: alone and mixed with the network, in each way of
reading a text.

Tests `ngrams`, too.
"""

import json

import numpy as np
import pytest
import torch
from built_runs import build_chain
from hand_built import draw_texts
from known_weights import CYCLE, chain_text

import charrnn
from charrnn.errors import DataError, UsageError
from charrnn.ngrams import text_model
from charrnn.text.vocab import Vocab

TEXT = chain_text(200)


@pytest.fixture
def run(tmp_path):
    """A run of known weights, whose training text is a chain of letters."""
    corpus = tmp_path / "chain.txt"
    corpus.write_bytes(chain_text(12_000).encode())
    return build_chain(tmp_path / "checkpoints" / "chain", CYCLE, corpus=corpus)


@pytest.fixture
def model(run):
    return charrnn.load(run)


def probabilities(ngrams, text):
    """The probability of each character of a text after the first, by the predictor alone."""
    ids = ngrams.vocab.encode(text)
    places = np.arange(1, len(ids))
    return ngrams.predictor.probabilities(ids, places)[places - 1, ids[1:]]


def test_the_loss_of_n_grams_is_that_of_their_probabilities(model):
    ngrams = model.ngrams()
    report = charrnn.evaluate(ngrams, TEXT, precision="fp32")
    expected = -np.log(probabilities(ngrams, TEXT)).mean()
    assert report.nats_per_char == pytest.approx(expected, abs=1e-6)
    assert ngrams.logprob(TEXT) == pytest.approx(-expected * (len(TEXT) - 1), rel=1e-6)


def test_a_mixture_with_n_grams_is_the_weighted_sum(model):
    ngrams = model.ngrams()
    mixture = charrnn.mix([model, ngrams], (0.6, 0.4))
    ids = model.vocab.encode(TEXT).astype(np.int64)
    with torch.no_grad():
        network = model.network
        logits, _ = network(torch.from_numpy(ids[:-1, None]), network.initial_state(1))
    by_network = logits[:, 0].double().softmax(-1).numpy()[np.arange(len(ids) - 1), ids[1:]]
    expected = -np.log(0.6 * by_network + 0.4 * probabilities(ngrams, TEXT)).mean()
    report = charrnn.evaluate(mixture, TEXT, precision="fp32")
    assert report.nats_per_char == pytest.approx(expected, abs=1e-5)


def test_a_text_is_read_at_once_or_character_by_character(model):
    stepper = model.ngrams().generator.model_for("fp32", {})
    ids = model.vocab.encode(TEXT)[:30]
    read, after = stepper.read(ids)
    state = stepper.initial_state(1)
    for id in ids:
        logits, state = stepper.step(np.array([id]), state)
    np.testing.assert_array_equal(read, logits)
    np.testing.assert_array_equal(after.vectors, state.vectors)


def test_a_history_stays_with_its_row(model):
    mixture = charrnn.mix([model, model.ngrams()])
    stepper = mixture.generator.model_for("int8", {})
    ids = model.vocab.encode(TEXT)[:20]
    together = [text.ids for text in draw_texts(stepper, ids, [1, 2, 3], length=40)]
    alone = [draw_texts(stepper, ids, [seed], length=40)[0].ids for seed in (1, 2, 3)]
    assert together == alone


def test_the_command_mixes_the_n_grams_in(run, command):
    alone = json.loads(command("evaluate", run, "--json").out)["rows"]
    rows = json.loads(command("evaluate", run, "--mix", "ngrams=0.4", "--json").out)["rows"]
    assert rows[0] == alone[0]
    assert rows[1]["name"] == "mixture"
    drawn = command("sample", run, "--mix", "ngrams", "--seed", 1, "--length", 50, "--json")
    assert json.loads(drawn.out)["mix"] == [
        {"run": "chain", "weight": 0.5},
        {"run": "n-grams of chain", "weight": 0.5},
    ]
    assert command("predict", run, "abc", "--mix", "ngrams").code == 0


def test_a_run_called_ngrams_is_written_with_its_folder(run, command):
    run.rename(run.parent / "ngrams")
    drawn = command(
        "sample", "ngrams", "--mix", "./checkpoints/ngrams", "--seed", 1, "--length", 9, "--json"
    )
    assert [part["run"] for part in json.loads(drawn.out)["mix"]] == ["ngrams", "ngrams"]


def test_a_training_text_that_is_gone_is_one_clear_error(run, command, tmp_path):
    (tmp_path / "chain.txt").unlink()
    ran = command("sample", run, "--mix", "ngrams")
    assert ran.code == 3
    assert "leave --mix ngrams out" in ran.err


def test_a_long_text_is_not_counted_without_numba(model, monkeypatch):
    monkeypatch.setattr(text_model, "can_compile", lambda: False)
    assert model.ngrams().predictor.longest == text_model.NGRAM_ORDER - 1
    monkeypatch.setattr(text_model, "MOST_CHARS_OF_PYTHON", 1_000)
    with pytest.raises(DataError, match="numba, which is missing"):
        model.ngrams()


def test_n_grams_have_no_cells(model):
    ngrams = model.ngrams()
    with pytest.raises(UsageError, match="no cells"):
        ngrams.sample(length=3, clamps={(0, 0): 1.0})
    with pytest.raises(UsageError, match="no cells"):
        list(ngrams.stream(length=3, cell=(0, 0)))


def test_a_mixture_of_alphabets_reads_n_grams_in_the_common_one(model):
    other = charrnn.load("prose")
    mixture = charrnn.mix([model, model.ngrams(), other])
    assert mixture.vocab != model.vocab
    assert isinstance(mixture.vocab, Vocab)
    assert set(mixture.sample(length=40, seed=1).text) <= set(mixture.vocab.characters)
