"""`charrnn evaluate --errors` and `--long-range`: the same figures as from Python, drawn in 80 columns, exported."""

import json
from dataclasses import asdict

import pytest
from conftest import TrainedRun, as_json
from fixture_types import Command

from charrnn import api
from charrnn.evaluation import comparison
from charrnn.evaluation.comparison import describe_alphabets
from charrnn.lab.error_kinds import KINDS, error_kinds
from charrnn.lab.long_range import long_range
from charrnn.text.vocab import Vocab


def test_errors_and_long_range_are_those_of_the_library(command: Command, lstm: TrainedRun, gru: TrainedRun) -> None:
    ran = command("evaluate", lstm.path, gru.path, "--errors", "--long-range", "--json", "--precision", "fp32")
    found = as_json(ran)
    models = [api.load(lstm.path), api.load(gru.path)]
    errors, reach = error_kinds(models, precision="fp32"), long_range(models, precision="fp32")
    expected = {"part": "validation", "errors": asdict(errors), "long_range": asdict(reach)}
    assert found == json.loads(json.dumps(expected))
    losses = [comparison.evaluate(model, model.held_out(), precision="fp32").nats_per_char for model in models]
    assert [model.nats_per_char for model in errors.models] == pytest.approx(losses, abs=1e-6)
    for model in errors.models:
        assert [one.kind for one in model.kinds] == list(KINDS)
        assert 0 < model.num_errors == sum(one.num_errors for one in model.kinds) <= errors.num_chars
    assert reach.predictors == ("lstm-001", "gru-001", "5-gram", "10-gram", "20-gram")
    assert {one.closing for one in reach.closings} >= {'"', ")"}
    for closing in reach.closings:
        assert closing.num_pairs == sum(one.num_pairs for one in closing.bins)
        for index in range(5):
            total = sum(one.num_pairs * one.probabilities[index].mean for one in closing.bins)
            assert total / closing.num_pairs == pytest.approx(closing.probabilities[index].mean)


def test_alphabets_that_differ_in_the_unknown_symbol_say_so() -> None:
    known, exact = (Vocab.from_text("ab", is_exact=is_exact) for is_exact in (False, True))
    assert describe_alphabets(known, exact) == "2 characters, the unknown symbol in one of them only"
    assert describe_alphabets(exact, Vocab.from_text("ac", is_exact=True)).endswith("'c' in one of them only")


def test_a_model_of_bytes_has_errors_too(byte_run: TrainedRun) -> None:
    model = api.load(byte_run.path)
    text = "zäb «molü» (語) zab\n" * 20
    assert error_kinds([model], text.encode()).num_chars == len(text.encode()) - 1
    assert [one.closing for one in long_range([model], text.encode()).closings] == [")"]
