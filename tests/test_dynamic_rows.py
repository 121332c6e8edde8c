"""Rows of dynamic evaluation and of a fitted temperature, in the table, as JSON and from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_runs import CYCLE, build_chain, chain_text

import charrnn
from charrnn import api
from charrnn.evaluation import comparison
from charrnn.evaluation.losses import char_losses
from charrnn.evaluation.records import MAX_SCORED, Evaluation, EvaluationRow
from charrnn.lab import dynamic as dynamic_rows
from charrnn.lab.dynamic import adapt, fit_temperature

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def model(chain_run: Path) -> api.Model:
    return charrnn.load(chain_run)


@pytest.fixture(scope="module")
def evaluation(model: api.Model) -> Evaluation:
    return comparison.evaluate_runs([model], dynamic=True)


def row_of(evaluation: Evaluation, name: str, protocol: str) -> EvaluationRow:
    (row,) = (row for row in evaluation.rows if (row.name, row.loss.protocol) == (name, protocol))
    return row


def test_dynamic_evaluation_has_a_row_with_its_difference_to_the_static_loss(
    model: api.Model, evaluation: Evaluation
) -> None:
    static, found = row_of(evaluation, "chain", "stateful"), row_of(evaluation, "chain", "dynamic")
    assert evaluation.rows[0] == static
    assert found.loss.num_chars == static.loss.num_chars == 3_000
    assert found.loss.precision == "fp32"
    assert found.difference is not None and found.difference.high < 0
    # The static loss of the table may be computed in bf16.
    assert found.difference.mean == pytest.approx(found.loss.nats_per_char - static.loss.nats_per_char, abs=0.02)
    part = model.held_out()
    expected = adapt(model.network, part.ids, part.begin, scale=model.gradient_scale(part)).losses
    assert found.loss.nats_per_char == pytest.approx(expected.mean, rel=1e-6)


def test_fewer_characters_are_scored_in_one_piece_beside_their_static_loss(model: api.Model) -> None:
    evaluation = comparison.evaluate_runs([model], dynamic=True, max_chars=1_200)
    static, found = (row_of(evaluation, "chain[:1200]", protocol) for protocol in ("stateful", "dynamic"))
    part = model.held_out()
    expected = char_losses(model.network, part.ids[: part.begin + 1_200], part.begin, precision="fp32")
    assert static.loss.nats_per_char == pytest.approx(expected.mean, rel=1e-6)
    assert static.loss.num_chars == found.loss.num_chars == 1_200
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(found.loss.nats_per_char - expected.mean, abs=1e-6)


def test_unless_a_limit_is_given_a_long_text_is_scored_up_to_the_default(
    model: api.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_rows, "MAX_DYNAMIC", 1_100)
    row_of(comparison.evaluate_runs([model], dynamic=True), "chain[:1100]", "dynamic")
    for limit in (5_000, MAX_SCORED, None):
        row_of(comparison.evaluate_runs([model], dynamic=True, max_chars=limit), "chain", "dynamic")


def test_a_temperature_is_fitted_to_other_characters_than_those_it_scores(evaluation: Evaluation) -> None:
    found = row_of(evaluation, "chain", "temperature")
    assert found.loss.num_chars == 3_000
    # The text is less certain than the chain.
    assert found.difference is not None and found.difference.high < 0
    assert any(
        note.startswith("temperature of chain: ") and "each fitted to the half" in note for note in evaluation.notes
    )


def test_the_note_names_the_temperatures_in_the_order_of_the_halves(model: api.Model, evaluation: Evaluation) -> None:
    part = model.held_out()
    middle = part.begin + (len(part.ids) - part.begin) // 2
    first, second = (
        f"{fit_temperature(model.network, ids, begin):.3f}"
        for ids, begin in ((part.ids, middle), (part.ids[:middle], part.begin))
    )
    assert first != second
    assert any(f": {first} and {second}, each" in note for note in evaluation.notes)


def test_the_test_text_is_scored_at_the_temperature_of_the_validation_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(chain_text(9_000).encode())
    model = charrnn.load(build_chain(tmp_path / "chain", CYCLE, corpus=tmp_path / "text.txt"))
    object.__setattr__(model.config, "split", (0.7, 0.15, 0.15))
    evaluation = comparison.evaluate_runs([model], part="test", dynamic=True)
    assert row_of(evaluation, "chain", "temperature").difference is not None
    validation = model.held_out()
    temperature = f"{fit_temperature(model.network, validation.ids, validation.begin):.3f}"
    test = model.held_out("test")
    assert temperature != f"{fit_temperature(model.network, test.ids, test.begin):.3f}"
    assert f"temperature of chain: {temperature}, fitted to the validation text." in evaluation.notes


def test_another_text_needs_no_corpus(tmp_path: Path) -> None:
    model = charrnn.load(build_chain(tmp_path / "chain", CYCLE))
    text = chain_text(1_500)
    found = row_of(comparison.evaluate_runs([model], text, dynamic=True), "chain", "dynamic")
    again = comparison.evaluate(model, text, protocol="dynamic")
    assert found.loss == again
    assert comparison.evaluate(model, text, protocol="dynamic", max_chars=700).num_chars == 700


def test_the_command_draws_the_rows_in_80_columns(
    chain_run: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    drawn = command("evaluate", chain_run, "--dynamic", "--chars", 1_500)
    assert drawn.code == 0, drawn.err
    lines = drawn.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:2] == ["chain[:1500]", "dynamic"] for line in lines)
    found = json.loads(command("evaluate", chain_run, "--dynamic", "--json").out)
    protocols = {row["protocol"]: row for row in found["rows"]}
    assert list(protocols) == ["stateful", "windowed-256", "dynamic", "temperature"]
    assert protocols["dynamic"]["difference"]["high"] < 0
    assert "dynamic" not in command("evaluate", chain_run).out


@pytest.mark.parametrize("report", ["--errors", "--long-range"])
def test_other_reports_measure_the_static_model(chain_run: Path, command: Command, report: str) -> None:
    found = command("evaluate", chain_run, "--dynamic", report)
    assert found.code == 2 and f"--dynamic and {report} are reports of their own" in found.err


def test_of_several_runs_each_is_compared_with_its_own_static_loss(chain_run: Path, tmp_path: Path) -> None:
    corpus = chain_run.parent / "chain.txt"
    other = charrnn.load(build_chain(tmp_path / "other", "\nacegbdf", corpus=corpus))
    evaluation = comparison.evaluate_runs([charrnn.load(chain_run), other], dynamic=True)
    for name in ("chain", "other"):
        found = row_of(evaluation, name, "dynamic")
        static = row_of(evaluation, name, "stateful").loss.nats_per_char
        assert found.difference is not None
        # The static loss of the table may be computed in bf16.
        assert found.difference.mean == pytest.approx(found.loss.nats_per_char - static, abs=0.02)
    assert sum(note.startswith("temperature of ") for note in evaluation.notes) == 2
    assert "The differences of dynamic and temperature are to the stateful loss of the same run." in evaluation.notes


def test_a_text_without_halves_has_no_row_of_a_temperature(model: api.Model) -> None:
    evaluation = comparison.evaluate_runs([model], "ab", dynamic=True)
    assert [row.loss.protocol for row in evaluation.rows] == ["stateful", "dynamic"]
    assert [row.protocol for row in evaluation.skipped] == ["windowed-256", "temperature"]
