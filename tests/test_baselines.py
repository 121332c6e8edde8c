"""Rows of n-gram models in an evaluation, from a run whose model is a known Markov chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_runs import CYCLE, build_chain, chain_text

import charrnn
from charrnn import api
from charrnn.errors import DataError, UsageError
from charrnn.evaluation import comparison
from charrnn.evaluation.records import NGRAM, Evaluation, EvaluationRow
from charrnn.lab import ngrams
from charrnn.lab.ngrams import ORDERS, NgramModel
from charrnn.views.losses import shown_rows

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def model(chain_run: Path) -> api.Model:
    return charrnn.load(chain_run)


@pytest.fixture(scope="module")
def evaluation(model: api.Model) -> Evaluation:
    return comparison.evaluate_runs([model], ngrams=ORDERS)


def rows_of(evaluation: Evaluation, name: str) -> list[EvaluationRow]:
    return [row for row in evaluation.rows if row.name == name]


def test_rows_come_near_the_entropy_of_the_chain(evaluation: Evaluation) -> None:
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert [row.loss.protocol for row in rows_of(evaluation, NGRAM)] == [f"{order}-gram" for order in ORDERS]
    losses = [row.loss.nats_per_char for row in rows_of(evaluation, NGRAM)]
    for row in rows_of(evaluation, NGRAM):
        expected = row.loss.nats_per_char - evaluation.first.nats_per_char
        assert row.difference is not None and row.difference.mean == pytest.approx(expected, abs=1e-6)  # float32
    assert losses[0] == pytest.approx(np.log(8), abs=0.02)
    # 3,000 scored characters: a standard error of 0.01. Longer orders learn chance from 27,000 training characters.
    assert all(abs(loss - entropy) < 0.05 for loss in losses[1:6])


def test_n_grams_of_a_part_are_counted_in_the_training_text_alone(model: api.Model, evaluation: Evaluation) -> None:
    text = chain_text(30_000)
    training, held_out = model.vocab.encode(text[:27_000]), model.vocab.encode(text)
    expected = NgramModel.fit(training, len(model.vocab), 5).char_nats(held_out, np.arange(27_000, 30_000))
    row = next(row for row in evaluation.rows if row.loss.protocol == "5-gram")
    assert row.loss.nats_per_char == pytest.approx(expected.mean(dtype=np.float64), rel=1e-6)
    assert model.ngram_model(5).num_training_chars == 27_000


def test_reports_from_python_are_those_of_the_table(model: api.Model, evaluation: Evaluation) -> None:
    assert list(charrnn.evaluate_ngrams(model, model.held_out())) == [row.loss for row in rows_of(evaluation, NGRAM)]
    (report,) = charrnn.evaluate_ngrams(model, chain_text(2_000, seed=5), orders=[3, 3])
    assert report.protocol == "3-gram" and report.num_chars == 1_999


def test_a_note_names_the_share_that_is_counted(model: api.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "MOST_TRAINING_CHARS", 2_700)
    found = comparison.evaluate_runs([model], ngrams=(2,))
    assert "n-grams are counted in the last 2,700 characters of the training text (10 %)." in found.notes


def test_the_best_order_is_always_drawn(evaluation: Evaluation) -> None:
    """Order 4 is none of those that are drawn, unless it is the best."""
    rows = list(evaluation.rows)
    place = next(index for index, row in enumerate(rows) if row.loss.protocol == "4-gram")
    rows[place] = replace(rows[place], loss=replace(rows[place].loss, nats_per_char=0.1))
    assert rows[place] in shown_rows(rows)
    rows[place] = replace(rows[place], loss=replace(rows[place].loss, nats_per_char=9.0))
    assert rows[place] not in shown_rows(rows)


def test_orders_longer_than_the_training_text_are_left_out(tmp_path: Path) -> None:
    corpus = tmp_path / "short.txt"
    corpus.write_bytes(chain_text(20).encode())
    model = charrnn.load(build_chain(tmp_path / "short-001", CYCLE, corpus=corpus))
    text = chain_text(100)
    reports = charrnn.evaluate_ngrams(model, text, orders=(1, 18, 20))
    assert [report.protocol for report in reports] == ["1-gram", "18-gram"]
    with pytest.raises(DataError, match="too few for n-grams of order 20"):
        charrnn.evaluate_ngrams(model, text, orders=(20,))
    with pytest.raises(UsageError, match=r"`order` is 0"):
        charrnn.evaluate_ngrams(model, text, orders=(0,))


def test_a_training_text_that_is_gone_is_one_clear_error(tmp_path: Path, command: Command) -> None:
    corpus, text = tmp_path / "gone.txt", tmp_path / "text.txt"
    corpus.write_bytes(chain_text(2_000).encode())
    text.write_bytes(chain_text(2_000, seed=3).encode())
    run = build_chain(tmp_path / "gone-001", CYCLE, corpus=corpus)
    corpus.unlink()
    ran = command("evaluate", run, "--text", text, "--ngrams")
    assert ran.code == 3 and len(ran.err.strip().splitlines()) <= 3
    assert "gone.txt" in ran.err and "leave --ngrams out" in ran.err and "counted in the training text" in ran.err
    assert command("evaluate", run, "--text", text).code == 0
