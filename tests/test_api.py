"""The public Python interface, used as its documentation shows it. N characters, L layers, H
units.

Tests `charrnn`, `trained_model`, `model_texts` and `evaluation.probabilities`, too.
"""

import math
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_RUN
from hand_built import vocab_of

import charrnn
from charrnn.config.settings import Config
from charrnn.detectors.registry import DETECTORS
from charrnn.errors import CheckpointError, DataError, NotHereError, UsageError, named
from charrnn.text.vocab import Vocab, encode_text
from charrnn.training.events import EvaluationEvent


def test_importing_the_package_changes_nothing(process):
    code = "import os, sys; before = dict(os.environ); import charrnn; print(os.environ == before, 'numpy' in sys.modules)"
    assert process("-c", code).stdout.decode().split() == ["True", "False"]


@pytest.fixture(scope="module")
def byte_model(byte_run):
    return charrnn.load(byte_run.path)


def test_a_model_is_loaded_by_path_name_or_age(lstm, gru, tmp_path, monkeypatch):
    assert charrnn.load(str(lstm.path)).config == charrnn.load(lstm.path).config
    monkeypatch.chdir(gru.path.parent)
    assert charrnn.load("gru-001").name == "gru-001"
    assert charrnn.load().config.cell_type == "gru"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no runs here or in"):
        charrnn.load()


def test_what_python_has_is_copied_to_other_processes(alphabet_run):
    """As joblib and ProcessPoolExecutor do, also after use."""
    model = charrnn.load(alphabet_run)
    study = model.study("abcd\n" * 100)
    expected = model.sample(length=20, seed=1)
    loss = charrnn.evaluate(model, "abcd")
    copy = ForkingPickler.loads(ForkingPickler.dumps(model))
    assert copy.sample(length=20, seed=1) == expected
    assert charrnn.evaluate(copy, "abcd") == loss
    findings = study.findings(untrained=False)
    assert ForkingPickler.loads(ForkingPickler.dumps(study)).findings(untrained=False) == findings
    error = ForkingPickler.loads(
        ForkingPickler.dumps(NotHereError("text", f"give {named('text')}"))
    )
    assert (error.source, str(error)) == ("text", "give `text`")


def test_a_corpus_is_a_name_a_path_or_several():
    for corpus in ("a.txt", Path("a.txt"), ["a.txt"], (Path("a.txt"),)):
        assert Config(corpus=corpus).corpus == ("a.txt",)


def test_without_a_seed_each_text_has_one_of_its_own_and_names_it(alphabet_run):
    model = charrnn.load(alphabet_run)
    options = {"length": 60, "temperature": 4.0}
    drawn = [model.sample(**options) for _ in range(3)]
    # Two of three numbers below 2^31 are the same once in 700 million tries.
    assert len({text.text for text in drawn}) == len({text.seed for text in drawn}) == 3
    assert model.sample(**options, seed=drawn[0].seed) == drawn[0]
    several = model.samples(3, **options)
    assert [model.sample(**options, seed=text.seed) for text in several] == several
    assert len({text.text for text in several}) == 3
    assert model.samples(3, **options, seed=several[0].seed) == several
    assert "".join(model.write(**options)) != "".join(model.write(**options))


@pytest.mark.trained
def test_log_probabilities_are_those_of_the_network(model):
    prime = 'molu tarn, "zib'
    sample = model.sample(prime=prime, length=60, seed=1, precision="fp32")
    ids = torch.from_numpy(model.vocab.encode(prime + sample.text).astype(np.int64))[:, None]
    with torch.no_grad():
        logits, _ = model.network(ids[:-1], model.network.initial_state(1))
    expected = logits.log_softmax(-1).gather(-1, ids[1:, :, None])[:, 0, 0]
    # float32 in another order of summation: far below a thousandth of a nat.
    assert sample.logprobs == pytest.approx(expected[len(prime) - 1 :].tolist(), abs=1e-3)
    assert model.trace(prime + sample.text).logprobs[1:] == pytest.approx(
        expected.numpy(), abs=1e-3
    )


def test_a_search_of_bytes_ends_at_a_stop(byte_model):
    best, *_ = byte_model.beam(width=4, length=40, prime="zäb ", stops=("語 語", "🙂"))
    assert best.stop == "🙂"


def test_encoded_text_is_read_as_text(model, byte_model, corpus):
    for reader in (model, byte_model):
        text, context = corpus.text[-300:], corpus.text[-500:-300]
        encoded = reader.encode(text, context=context)
        assert reader.encode(encoded) is encoded
        assert (reader.trace(encoded).cells == reader.trace(text, context=context).cells).all()
        rest = reader.trace(text[100:], context=context + text[:100])
        assert (reader.trace(encoded.part(100)).cells == rest.cells).all()
        assert reader.gates(encoded) == reader.gates(text, context=context)
        assert reader.survey(encoded, untrained=False) == reader.survey(
            text, context=context, untrained=False
        )
        with pytest.raises(UsageError, match="contains its context"):
            reader.encode(encoded, context="a")
        with pytest.raises(DataError, match="is empty"):
            reader.encode(encoded.part(300))


def test_a_text_of_another_alphabet_is_refused(model, byte_model):
    fewer = vocab_of("abc")
    more = Vocab("char", (*model.vocab.characters, "\U0001f600"))
    for other in (
        byte_model.encode("ab"),
        encode_text(fewer, "ab"),
        encode_text(more, "a\U0001f600"),
    ):
        with pytest.raises(UsageError, match="another alphabet"):
            model.trace(other)
    with pytest.raises(UsageError, match="another alphabet"):
        byte_model.trace(model.encode("ab"))
    with pytest.raises(UsageError, match="decode it first"):
        model.gates(b"ab")


@pytest.mark.trained
@pytest.mark.parametrize("run", ["gru", "byte_run"])
def test_evaluate_agrees_with_what_training_reported(run, request):
    trained = request.getfixturevalue(run)
    model = charrnn.load(trained.path)
    best = min(
        (e for e in trained.events if e.event == "evaluation"), key=lambda event: event.val_nats
    )
    assert (model.step, trained.events[-1].best_step) == (best.step, best.step)
    text, context = model.held_out_text()
    report = charrnn.evaluate(model, text, context=context, precision="fp32")
    # Training's context is the whole training text, here it is the last 4096 characters of it.
    assert report.nats_per_char == pytest.approx(best.val_nats, abs=1e-5)
    assert (report.protocol, report.num_chars) == ("stateful", len(text))
    assert report.bpc == pytest.approx(report.nats_per_char / math.log(2))


def test_a_test_text_is_held_out_of_everything(tmp_path, corpus, model):
    (tmp_path / "text.txt").write_text(corpus.text, encoding="utf-8")
    config = Config(
        corpus=(str(tmp_path / "text.txt"),), split=(0.8, 0.1, 0.1), **{**SMALL_RUN, "steps": 2}
    )
    events = list(charrnn.train(config, out=tmp_path / "run"))
    loaded = charrnn.load(tmp_path / "run")
    begin, end = int(0.8 * len(corpus.text)), int(0.9 * len(corpus.text))
    assert loaded.held_out_text("test") == (corpus.text[end:], corpus.text[:end])
    text, context = loaded.held_out_text()
    assert (text, context) == (corpus.text[begin:end], corpus.text[:begin])
    best = min(event.val_nats for event in events if isinstance(event, EvaluationEvent))
    validated = charrnn.evaluate(loaded, text, context=context, precision="fp32")
    assert validated.nats_per_char == pytest.approx(best, abs=1e-3)
    with pytest.raises(UsageError, match="'training'; use validation or test"):
        loaded.held_out_text("training")
    for evaluated, remedy in ((loaded, "give `part=test`"), (model, "train with `split=")):
        notes = charrnn.evaluate_runs([evaluated]).notes
        assert any(f"For a figure to quote, {remedy}" in note for note in notes)


def test_the_arrays_of_a_trace_contain_the_labels_of_the_detectors(model):
    arrays = model.trace("the lamp of 12\n").to_arrays([DETECTORS["digit"]], num_chosen_on=9)
    assert set(arrays) == {"ids", "text", "cells", "logprobs", "scored", "labels_digit"}
    assert np.flatnonzero(arrays["labels_digit"]).tolist() == [12, 13]
    assert arrays["scored"].tolist() == [index >= 9 for index in range(15)]
