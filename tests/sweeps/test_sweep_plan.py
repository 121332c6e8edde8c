"""What a sweep varies, the file by which it is recognised, and its table: order, intervals,
columns."""

import json
from pathlib import Path
from statistics import fmean

import drawn
import pytest

from charrnn.cli.train import SettingsOptions
from charrnn.config.settings import Config
from charrnn.config.settings_file import merge_settings
from charrnn.errors import CheckpointError, UsageError
from charrnn.runs.reader import SWEEP
from charrnn.statistics.intervals import estimate
from charrnn.sweeps.command import SweepOptions, plan_settings
from charrnn.sweeps.plan import (
    FAILED,
    FINISHED,
    SweepRun,
    parse_axis,
    plan_sweep,
    setting_arguments,
)
from charrnn.sweeps.record import read_plan, record_plan
from charrnn.sweeps.report import report_sweep, sweep_view

BASE = Config(corpus=("text.txt",), steps=10)


def grid(config=BASE, seeds=2, **axes):
    given = {name: str(values).split(",") for name, values in axes.items()}
    return plan_sweep(config, given, num_seeds=seeds)


@pytest.mark.parametrize(
    ("name", "values", "axis"),
    [
        ("cell", [" lstm ", " gru "], ("lstm", "gru")),
        ("learning_rate", ["3e-3", "auto"], (3e-3, "auto")),
        ("split", ["80/10/10", "90/10"], ((80.0, 10.0, 10.0), (90.0, 10.0))),
        ("column", ['a "b"', "none"], ('a "b"', None)),
    ],
)
def test_values_are_parsed_as_train_parses_them(name, values, axis):
    assert parse_axis(name, values) == axis


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("cell", ["lstm", "", "gru"], "empty value"),
        ("learning_rate", ["1e-3", "0.001"], "has the value 0.001 twice"),
        ("hidden_size", [64, "1e9"], "between 1 and"),
    ],
)
def test_values_that_cannot_be_used_are_named(name, values, message):
    with pytest.raises(UsageError, match=message):
        parse_axis(name, values)


def test_every_setting_is_run_with_the_first_seed_first():
    plan = grid(Config(steps=10, seed=5), learning_rate="3e-3,6e-3", cell="lstm,gru")
    runs = plan.runs()
    assert [run.seed for run in runs] == [5] * 4 + [6] * 4
    # In the order of the configuration, whatever that of the command is.
    assert runs[0].values == {"cell": "lstm", "learning_rate": 3e-3}
    assert [run.name for run in runs[:2]] == ["lstm_0.003_seed-5", "lstm_0.006_seed-5"]
    assert plan.config_of(runs[5]) == Config(steps=10, seed=6, cell="lstm", learning_rate=6e-3)
    assert grid(batch_size="8,16") == grid(batch_size="8,16")
    assert [run.name for run in grid(seeds=2).runs()] == ["seed-0", "seed-1"]


def test_names_are_unique_and_safe():
    values = ["a/b", "a:b", "ab", "-ab", "a_b", "..", "x" * 60, "x" * 61, "é"]
    names = [run.name for run in plan_sweep(BASE, {"init_from": values}, num_seeds=1).runs()]
    assert len(set(names)) == len(values)
    assert all(name.isascii() and len(name) < 70 and not set("/:\\ ") & set(name) for name in names)
    assert not any(name.startswith(("-", ".")) for name in names)


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ({"seed": [1, 2]}, {}, "cannot be swept: give the text, and `seeds`"),
        ({"cell": ["unitary", "lstm"], "hidden_size": [33, 34]}, {}, "needs an even one"),
        (
            {"hidden_size": list(range(1, 2000)), "warmup_steps": list(range(9))},
            {},
            "at most 10,000",
        ),
        ({}, {"config": Config(corpus=("-",))}, "standard input only once"),
        ({}, {"config": Config(seed=2**32 - 1), "num_seeds": 2}, "`seed` is 4294967296"),
    ],
)
def test_what_cannot_be_swept_is_refused(axes, options, message):
    with pytest.raises(UsageError, match=message):
        plan_sweep(**{"config": BASE, "axes": axes, "num_seeds": 1, **options})


def test_a_run_is_started_with_arguments_that_give_its_configuration():
    given = {
        "learning_rate": 0.1 + 0.2,
        "column": "a,b",
        "sum_outputs": True,
        "validation_chars": None,
    }
    config = Config(corpus=("text.txt",), split=(1 / 3, 1 / 3, 1 / 3), steps=7, threads=2, **given)
    arguments = setting_arguments(config)
    assert arguments[::2] == ["--set"] * (len(arguments) // 2)
    parsed = dict(argument.split("=", 1) for argument in arguments[1::2])
    # A variable of the environment gives way to every one of them.
    environment = {"CHARRNN_DROPOUT": "0.3"}
    merged = merge_settings(flags={"corpus": ("text.txt",), **parsed}, environment=environment)
    assert merged[0] == config


def test_a_run_of_a_sweep_inherits_how_a_text_is_read():
    arguments = setting_arguments(Config(init_from="old", encoding="latin-1"))
    assert "encoding=latin-1" in arguments
    assert "documents=none" not in arguments
    assert "documents=none" in setting_arguments(Config())


def test_what_follows_from_the_first_value_of_an_axis_is_not_kept():
    options = SweepOptions(settings=SettingsOptions(assignments=["column=a,b"]))
    config, axes = plan_settings(options)
    assert axes == {"column": ("a", "b")}
    assert config.documents == Config().documents


def test_a_sweep_is_recognised_with_more_values_and_seeds(tmp_path):
    record_plan(tmp_path, grid(cell="lstm,gru"))
    assert read_plan(tmp_path) == grid(cell="lstm,gru")
    record_plan(tmp_path, grid(cell="lstm,gru,rnn", seeds=5))
    assert read_plan(tmp_path) == grid(cell="lstm,gru,rnn", seeds=5)


def test_another_sweep_is_refused_with_the_difference(tmp_path):
    for other, difference in (
        (
            grid(Config(corpus=("text.txt",), steps=20), cell="lstm,gru"),
            "`steps` was 10 and is now 20",
        ),
        (
            grid(Config(corpus=("other.txt",), steps=10), cell="lstm,gru"),
            "`corpus` was text.txt and is now other.txt",
        ),
        (grid(cell="lstm,gru", dropout="0,0.1"), "`dropout` was auto and is now 0,0.1"),
        (
            grid(Config(corpus=("text.txt",), steps=10, cell="gru")),
            "`cell` was lstm,gru and is now gru",
        ),
    ):
        record_plan(tmp_path, grid(cell="lstm,gru"))
        before = (tmp_path / SWEEP).read_bytes()
        with pytest.raises(UsageError) as raised:
            record_plan(tmp_path, other)
        assert difference in str(raised.value).splitlines()[0]
        assert "give `out` another folder" in str(raised.value).splitlines()[1]
        assert (tmp_path / SWEEP).read_bytes() == before


def test_a_damaged_file_is_named(tmp_path):
    record_plan(tmp_path, grid(cell="lstm,gru"))
    whole = json.loads((tmp_path / SWEEP).read_text())
    for name, value, message in (
        ("format", 2, "newer version"),
        ("config", {"stepz": 1}, "is damaged: .*stepz"),
        ("axes", 3, "is damaged: "),
    ):
        (tmp_path / SWEEP).write_text(json.dumps(whole | {name: value}))
        with pytest.raises(CheckpointError, match=message):
            read_plan(tmp_path)


def made_report(axes, losses, **changes):
    plan = plan_sweep(Config(steps=1), axes, num_seeds=3)
    runs = []
    for run in plan.runs():
        key = tuple(run.values.values())
        size, loss = changes.get("sizes", {}).get(key, 100), losses[key][run.seed]
        found = {
            "status": FAILED if loss is None else FINISHED,
            "nats_per_char": loss,
        }
        runs.append(
            SweepRun(name=run.name, values=run.values, seed=run.seed, num_parameters=size, **found)
        )
    return report_sweep(plan, Path("sweep"), runs)


def test_rows_are_best_first_with_their_interval_and_difference():
    worse, better = [2.0, 2.1, 2.3], [1.0, 1.2, 1.3]
    first, second = made_report(
        {"learning_rate": [1e-3, 1e-2]}, {(1e-3,): worse, (1e-2,): better}
    ).rows
    assert (first.values, first.to_best) == ({"learning_rate": 1e-2}, None)
    assert first.nats == estimate(fmean(better), better)
    assert second.to_best == estimate(fmean(worse) - fmean(better), worse, better)


def test_a_setting_with_a_failed_run_comes_after_all_without():
    losses = {("lstm",): [1.5, 1.6, None], ("gru",): [1.7, 1.7, 1.8], ("rnn",): [None] * 3}
    report = made_report({"cell": ["rnn", "lstm", "gru"]}, losses)
    assert [row.values["cell"] for row in report.rows] == ["gru", "lstm", "rnn"]
    assert report.rows[2].nats is None


def test_settings_that_change_the_validation_text_are_noted():
    losses = {("char",): [1.0] * 3, ("byte",): [1.0] * 3}
    (note,) = made_report({"alphabet": ["char", "byte"]}, losses).notes
    assert "these losses do not compare" in note


def test_the_table_fits_80_columns():
    axes = {"cell": ["lstm", "gru"], "learning_rate": [3e-3, 6e-3]}
    losses = {
        (cell, rate): [1.5, 1.6, 1.7] for cell in axes["cell"] for rate in axes["learning_rate"]
    }
    report = made_report(axes, losses, sizes=dict.fromkeys(losses, 1_234_567))
    lines = [line.rstrip() for line in drawn.lines(sweep_view(report), 80) if line.strip()]
    rows, caption = lines[: 2 + 4], " ".join(lines[2 + 4 :])
    assert max(map(len, lines)) <= 80 and "1.23M" in rows[2]
    assert all("1.6000" in line and line.endswith("3/3") for line in rows[2:])
    assert "lower is better" in caption
