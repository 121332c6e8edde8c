"""`charrnn evaluate --errors` and `--long-range`: the same figures as from Python, drawn in 80 columns, exported."""

import json
from dataclasses import asdict
from pathlib import Path

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


def test_reports_have_80_columns(command: Command, lab: Path, gru: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = command("evaluate", "lstm-001", gru.path, "--errors", "--long-range", "--chars", "1500")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80 and any(line.split()[:1] == ["closing"] for line in lines)
    found = as_json(command("evaluate", "lstm-001", gru.path, "--errors", "--chars", "1500", "--json"))["errors"]
    first, second = found["models"]
    for kind, counts in zip(KINDS, zip(first["kinds"], second["kinds"], strict=True), strict=True):
        # A row of each model; none without an error.
        num_rows = sum(one["num_errors"] > 0 for one in counts)
        assert sum(line.split()[:1] == [kind] for line in lines) == num_rows, kind
    head = f"lstm-001: {first['num_errors']:,} errors in {found['num_chars']:,} characters ({first['share']:.1%})"
    assert head in ran.out and found["num_chars"] == 1500 < found["text_length"]
    assert "of the text, in segments spread evenly over it." in ran.out


def test_a_text_without_pairs_says_so(command: Command, lab: Path) -> None:
    Path("plain.txt").write_text("ab drel fon\n" * 50, encoding="utf-8")
    ran = command("evaluate", "--long-range", "--text", "plain.txt")
    assert "The scored text has no pair of brackets or quotation marks." in " ".join(ran.out.split())
    found = as_json(command("evaluate", "--long-range", "--text", "plain.txt", "--json"))
    assert "part" not in found and found["long_range"]["closings"] == []


def test_runs_with_other_alphabets_and_without_their_text_are_refused(
    command: Command, lab: Path, alphabet_run: Path, byte_run: TrainedRun
) -> None:
    Path("like.txt").write_text("zib\nab\n" * 300, encoding="utf-8")
    for option in ("--errors", "--long-range"):
        ran = command("evaluate", "lstm-001", byte_run.path, option, "--text", "like.txt")
        assert ran.code == 2 and "lstm-001 and byte-001 have different alphabets" in ran.err
        ran = command("evaluate", alphabet_run, option, "--text", "like.txt")
        assert ran.code == 3 and "alphabet-001 does not record the digest of its text" in ran.err
        assert "training text." in ran.err


def test_alphabets_that_differ_in_the_unknown_symbol_say_so() -> None:
    known, exact = (Vocab.from_text("ab", is_exact=is_exact) for is_exact in (False, True))
    assert describe_alphabets(known, exact) == "2 characters, the unknown symbol in one of them only"
    assert describe_alphabets(exact, Vocab.from_text("ac", is_exact=True)).endswith("'c' in one of them only")


def test_a_model_of_bytes_has_errors_too(byte_run: TrainedRun) -> None:
    model = api.load(byte_run.path)
    text = "zäb «molü» (語) zab\n" * 20
    assert error_kinds([model], text.encode()).num_chars == len(text.encode()) - 1
    assert [one.closing for one in long_range([model], text.encode()).closings] == [")"]
