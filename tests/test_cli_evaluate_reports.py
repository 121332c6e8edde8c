"""`charrnn evaluate --errors` and `--long-range`: the same figures as from Python, drawn in 80 columns, exported.

The session's trained LSTM has learned its corpus; nothing here depends on how well.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Ran, TrainedRun
from rich.console import Console

from charrnn import api
from charrnn.evaluation import comparison
from charrnn.lab.error_kinds import KINDS, ErrorKind, ErrorReport, ModelErrors, error_kinds
from charrnn.lab.long_range import long_range

if TYPE_CHECKING:
    from synthetic import SyntheticCorpus

Command = Callable[..., Ran]


def as_json(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_errors_and_long_range_are_those_of_the_python_interface(
    command: Command, lstm: TrainedRun, gru: TrainedRun
) -> None:
    ran = command("evaluate", lstm.path, gru.path, "--errors", "--long-range", "--json", "--precision", "fp32")
    found = as_json(ran)
    models = [api.load(lstm.path), api.load(gru.path)]
    errors = error_kinds(models, precision="fp32")
    reach = long_range(models, precision="fp32")
    assert found == json.loads(
        json.dumps({"part": "validation", "errors": asdict(errors), "long_range": asdict(reach)})
    )

    losses = [comparison.evaluate(model, model.held_out(), precision="fp32").nats_per_char for model in models]
    assert [model.nats_per_char for model in errors.models] == pytest.approx(losses, abs=1e-6)
    for model in errors.models:
        assert [one.kind for one in model.kinds] == list(KINDS)
        assert 0 < model.num_errors == sum(one.num_errors for one in model.kinds) <= errors.num_chars
    fixed = [(one.num_fixed or 0) - (one.num_new or 0) for one in errors.models[1].kinds]
    assert sum(fixed) == errors.models[0].num_errors - errors.models[1].num_errors

    assert reach.predictors == ("lstm-001", "gru-001", "5-gram", "10-gram", "20-gram")
    assert {one.closing for one in reach.closings} >= {'"', ")"}
    for closing in reach.closings:
        assert closing.num_pairs == sum(one.num_pairs for one in closing.bins)
        for index in range(5):
            total = sum(one.num_pairs * one.probabilities[index].mean for one in closing.bins)
            assert total / closing.num_pairs == pytest.approx(closing.probabilities[index].mean)


def test_both_reports_are_drawn_in_80_columns(
    command: Command, lab: Path, gru: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = command("evaluate", "lstm-001", gru.path, "--errors", "--long-range", "--chars", "1500")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["closing"] for line in lines)
    found = as_json(command("evaluate", "lstm-001", gru.path, "--errors", "--chars", "1500", "--json"))["errors"]
    first, second = found["models"]
    counts = [
        (one["num_errors"], other["num_errors"]) for one, other in zip(first["kinds"], second["kinds"], strict=True)
    ]
    assert max(counts) > (0, 0)
    for kind, (before, after) in zip(KINDS, counts, strict=True):
        # One row of the first model, and one of what the second fixes of it; none without an error.
        num_rows = (before > 0) + (before + after > 0)
        assert sum(line.split()[:1] == [kind] for line in lines) == num_rows, kind
    head = f"lstm-001: {first['num_errors']:,} errors in {found['num_chars']:,} characters ({first['share']:.1%})"
    assert head in ran.out and "-0.0%" not in ran.out
    assert found["num_chars"] == 1500 < found["text_length"]
    assert "of the text, in segments spread evenly over it." in ran.out


@pytest.mark.parametrize("suffix", [".svg", ".json"])
def test_a_report_is_exported(command: Command, lab: Path, suffix: str) -> None:
    ran = command("evaluate", "--long-range", "--chars", "3000", "--export", f"report{suffix}")
    assert (ran.code, ran.out, ran.err) == (0, f"report{suffix}\n", "")
    content = Path(f"report{suffix}").read_text(encoding="utf-8")
    assert {".json": '"closings"'}.get(suffix, "Mean probability of the closing") in content


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--export", "report.npz"], 2, "an evaluation has no activations; use .json"),
        (["--text", "one.txt"], 3, "The text has 1 character"),
        (["--text", "empty.txt"], 3, "empty"),
    ],
)
def test_bad_arguments_are_refused(command: Command, lab: Path, arguments: list[str], code: int, message: str) -> None:
    Path("one.txt").write_text("a", encoding="utf-8")
    Path("empty.txt").write_text("", encoding="utf-8")
    for option in ("--errors", "--long-range"):
        ran = command("evaluate", option, *arguments)
        assert (ran.code, ran.out) == (code, "")
        assert message in ran.err


def test_a_text_without_pairs_says_so(command: Command, lab: Path) -> None:
    Path("plain.txt").write_text("ab drel fon\n" * 50, encoding="utf-8")
    ran = command("evaluate", "--long-range", "--text", "plain.txt")
    assert "The scored text has no pair of brackets or quotation marks." in " ".join(ran.out.split())
    found = as_json(command("evaluate", "--long-range", "--text", "plain.txt", "--json"))
    assert "part" not in found and found["long_range"]["closings"] == []


def test_runs_with_other_alphabets_and_without_their_text_are_refused(
    command: Command, lab: Path, corpus: SyntheticCorpus, alphabet_run: Path, byte_run: TrainedRun
) -> None:
    Path("like.txt").write_text("zib\nab\n" * 300, encoding="utf-8")
    for option in ("--errors", "--long-range"):
        ran = command("evaluate", "lstm-001", byte_run.path, option, "--text", "like.txt")
        assert ran.code == 2 and "lstm-001 and byte-001 have different alphabets" in ran.err
        ran = command("evaluate", alphabet_run, option, "--text", "like.txt")
        assert ran.code == 3 and "alphabet-001 does not record the digest of its text" in ran.err
        assert "training text." in ran.err


def test_a_model_of_bytes_has_errors_too(byte_run: TrainedRun) -> None:
    model = api.load(byte_run.path)
    text = "zäb «molü» (語) zab\n" * 20
    report = error_kinds([model], text.encode())
    assert report.num_chars == len(text.encode()) - 1
    assert [one.closing for one in long_range([model], text.encode()).closings] == [")"]


def test_the_tables_of_errors_explain_the_kinds_and_leave_out_those_without_errors() -> None:
    def model(run: str, *counts: int, **changes: int) -> ModelErrors:
        kinds = tuple(
            ErrorKind(kind=kind, num_errors=count, share=count / max(1, sum(counts)), nats=0.1, **changes)
            for kind, count in zip(KINDS, counts, strict=True)
        )
        return ModelErrors(run=run, nats_per_char=1.0, num_errors=sum(counts), share=0.5, kinds=kinds)

    rest = [0] * (len(KINDS) - 2)
    first, other = model("first", 7, 0, *rest), model("other", 0, 5, *rest, num_fixed=1, num_new=2)
    report = ErrorReport(num_chars=100, text_length=101, models=(first, other))
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(*report.view(), sep="\n")
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "memory-N: inside a word that occurs in the last N characters" in shown
    table, changes = shown.split("other in place of first")
    assert [line.split()[0] for line in table.splitlines() if line.split()[:1] and line.split()[0] in KINDS] == [
        "n-gram"
    ]
    listed = [line.split()[0] for line in changes.splitlines() if line.split()[:1] and line.split()[0] in KINDS]
    assert listed == ["n-gram", "memory-100"]
