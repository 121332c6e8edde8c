"""`charrnn sweep`: which runs it trains and skips, what becomes of those that fail, and how
commands find its runs."""

import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from built_runs import build_chain
from conftest import SMALL_FLAGS, SMALL_RUN, Ran
from synthetic import make_corpus

from charrnn.config.settings import Config
from charrnn.errors import CheckpointError, RunInUseError, UsageError
from charrnn.model.shapes import num_parameters
from charrnn.runs.overview import find_runs
from charrnn.runs.reader import SWEEP, open_run, runs_of_sweep
from charrnn.runs.writer import lock_folder
from charrnn.sweeps import sweep as sweeping
from charrnn.sweeps.plan import FAILED, FINISHED, STOPPED, plan_sweep
from charrnn.sweeps.record import run_state
from charrnn.sweeps.sweep import _Runner
from charrnn.training import loop


class Trainer:
    """Stands for the processes: trains each run in this one, when it is started."""

    def __init__(self):
        self.started = []
        self.codes = {}
        """For each run by name, exit codes with which its next starts fail."""
        self.stop_after = None
        """Events of the next run after which a signal stops it."""

    def train(self, runner, run, threads):
        if runner.is_stopped:
            return run
        self.started.append(run.name)
        codes = self.codes.get(run.name, [])
        if codes:
            messages = "warning: x\nerror: it failed\n       try another way\n"
            return runner._ended(run, codes.pop(0), messages)
        folder = runner.folder / run.name
        if (folder / "latest").exists():
            events = loop.resume(folder)
        else:
            events = loop.train(runner.plan.config_of(run), out=folder)
        for number, _ in enumerate(events):
            if number == self.stop_after:
                runner.stop()
                break
        events.close()
        return runner._ended(run, 0, "")


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(_Runner, "train", lambda *called: trainer.train(*called))
    return trainer


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_bytes(make_corpus(num_chars=3_000, seed=5).text.encode())
    return Config(corpus=("text.txt",), steps=4, evaluate_every=2, **SMALL_RUN, threads=1)


def report_of(config, axes, **options):
    *_, report = sweeping.sweep(config, axes, out="sweep", **options)
    return report


def test_a_grid_trains_runs_once(config, trainer):
    axes = {"cell": ["rnn", "gru"]}
    report = report_of(config, axes, seeds=2)
    assert trainer.started == ["rnn_seed-0", "gru_seed-0", "rnn_seed-1", "gru_seed-1"]
    assert [run.status for run in report.runs] == [FINISHED] * 4
    alone = list(loop.train(replace(config, cell="gru", seed=1), out=Path("x")))
    best = min(event.val_nats for event in alone if event.event == "evaluation")
    assert (report.runs[-1].name, report.runs[-1].nats_per_char) == ("gru_seed-1", best)
    assert alone[0].num_parameters == report.runs[-1].num_parameters
    trainer.started.clear()
    begun, end = sweeping.sweep(config, axes, seeds=2, out="sweep")
    assert begun == end == report == sweeping.read_sweep("sweep")
    report_of(config, {"cell": ["rnn", "gru", "lstm"]}, seeds=2)
    assert trainer.started == ["lstm_seed-0", "lstm_seed-1"], "more values train only what is new"


def test_a_stopped_run_continues_and_ends_as_if_it_had_not_stopped(config, trainer):
    undisturbed = report_of(config, {"cell": ["rnn"]}, seeds=2)
    trainer.stop_after = 4
    *_, report = sweeping.sweep(config, {"cell": ["rnn"]}, seeds=2, out="again")
    assert [run.status for run in report.runs] == [STOPPED, "waiting"]
    assert report.rows[0].nats is None
    trainer.stop_after = None
    *_, report = sweeping.sweep(config, {"cell": ["rnn"]}, seeds=2, out="again")
    assert report.runs == undisturbed.runs


def test_a_run_whose_last_step_is_saved_and_not_named_continues(config, trainer):
    report_of(config, {"cell": ["rnn"]}, seeds=1)
    run = Path("sweep", "rnn_seed-0")
    named = (run / "latest").read_text()
    (run / "latest").write_text("step-00000002\n")
    trainer.started.clear()
    report = report_of(config, {"cell": ["rnn"]}, seeds=1)
    assert (trainer.started, report.runs[0].status) == ([run.name], FINISHED)
    assert (run / "latest").read_text() == named


def test_a_run_that_fails_ends_no_other_and_is_tried_again(config, trainer):
    trainer.codes = {"rnn_seed-0": [5], "gru_seed-0": [-9]}
    report = report_of(config, {"cell": ["rnn", "gru", "lstm"]}, seeds=1)
    assert report.rows[0].values["cell"] == "lstm"
    failed = {run.name: run.message for run in report.runs if run.status == FAILED}
    assert failed["rnn_seed-0"] == "it failed try another way"
    assert "killed by SIGKILL" in str(failed["gru_seed-0"])
    trainer.started.clear()
    report = report_of(config, {"cell": ["rnn", "gru", "lstm"]}, seeds=1)
    assert trainer.started == ["rnn_seed-0", "gru_seed-0"]
    assert [run.status for run in report.runs] == [FINISHED] * 3


def test_a_sweep_that_runs_is_not_started_twice(config, trainer):
    Path("sweep").mkdir()
    Path("sweep/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already and is no sweep"):
        report_of(config, {"cell": ["rnn"]})
    Path("sweep/notes.txt").unlink()
    events = sweeping.sweep(config, {"cell": ["rnn"]}, seeds=1, out="sweep")
    next(events)
    # Another process would be refused; within one process the lock is that of another open file.
    with pytest.raises(RunInUseError, match="is in use by process"):
        next(sweeping.sweep(config, {"cell": ["rnn"]}, seeds=1, out="sweep"))
    events.close()
    with lock_folder(Path("sweep")):
        pass


SMALL = (*SMALL_FLAGS, "--set", "threads=1")


def test_the_command_prints_the_table_and_the_way_on(config, trainer, command, monkeypatch):
    monkeypatch.setenv("CHARRNN_DROPOUT", "0.1")
    arguments = (
        "sweep",
        "text.txt",
        "--cell",
        "rnn",
        "--cell",
        "gru",
        "--seeds",
        2,
        "--steps",
        4,
        *SMALL,
    )
    ran = command(*arguments)
    assert ran.code == 0
    assert "0 of 4 runs have ended in checkpoints/sweep-text" in ran.err
    assert "4/4  gru_seed-1: finished, " in ran.err
    assert "cell" in ran.out
    recorded = json.loads(Path("checkpoints/sweep-text/sweep.json").read_text())
    assert recorded["config"]["dropout"] == 0.1
    trainer.started.clear()
    found = json.loads(command(*arguments, "--json").out)
    assert len(found["runs"]) == 4 and trainer.started == []
    trainer.codes = {"seed-0": [5]}
    ran = command(
        "sweep", "text.txt", "--cell", "lstm", "--seeds", 1, "--out", "x", "--steps", 4, *SMALL
    )
    assert (ran.code, "1/1  seed-0: failed; it failed try another way" in ran.err) == (1, True)
    assert (
        "--cell has the value rnn twice"
        in command("sweep", "text.txt", "--cell", "rnn", "--set", "cell=rnn").err
    )


def test_a_process_gets_its_threads_and_its_error_is_kept(config, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", started := Mock(wraps=subprocess.Popen))
    plan = plan_sweep(config, {"cell": ["rnn"]}, num_seeds=1)
    (run,) = plan.runs()
    Path(run.name).mkdir()
    Path(run.name, "notes.txt").write_text("mine")
    with Path("lock").open("wb") as lock:
        ended = _Runner(folder=Path(), plan=plan, lock=lock.fileno()).train(run, threads=3)
    assert ended.status == FAILED
    assert f"{run.name} exists already" in str(ended.message)
    # The rule of `charrnn train` counts these: a run of a sweep has the weights of the same
    # command.
    assert started.call_args.kwargs["env"]["OMP_NUM_THREADS"] == "3"


def test_processes_are_stopped_once_even_if_they_start_meanwhile(config, monkeypatch):
    plan = plan_sweep(config, {"cell": ["rnn"]}, num_seeds=1)
    (run,) = plan.runs()
    runner = _Runner(folder=Path(), plan=plan, lock=0)

    def start(*_, **options):
        runner.stop()
        return Mock(communicate=lambda: ("", ""), returncode=143)

    monkeypatch.setattr(subprocess, "Popen", start)
    assert runner.train(run, threads=1).status == STOPPED
    runner.processes[0].terminate.assert_called_once_with()
    assert runner.train(run, threads=1) == run, "and none is started any more"


def test_a_run_is_finished_when_its_last_validation_is_done(tmp_path, monkeypatch):
    sizes = Config(steps=4, num_layers=1, hidden_size=5, embedding_size=2)
    plan = plan_sweep(sizes, {"cell": ["rnn"]}, num_seeds=1)
    (run,) = plan.runs()
    names, config = lambda: ["step-00000004"], lambda: plan.config_of(run)
    reader = SimpleNamespace(path=tmp_path, checkpoints=names, read_config=config)
    monkeypatch.setattr("charrnn.sweeps.record.RunReader", lambda folder: reader)
    (tmp_path / "latest").write_text("step-00000004\n")
    for state, status in (
        ({"best_nats": 1.5}, FINISHED),
        ({"best_nats": 1.5, "is_validation_due": True}, STOPPED),
        ({"best_nats": math.inf}, FAILED),
        ({}, FAILED),
    ):
        saved = SimpleNamespace(
            name="step-00000004",
            step=4,
            state=state,
            description=SimpleNamespace(vocab=lambda: "abc"),
        )
        reader.load_checkpoint = lambda name, with_training, saved=saved: saved
        found = run_state(tmp_path, plan, run)
        assert (found.status, found.nats_per_char) == (
            status,
            1.5 if status == FINISHED else None,
        )
        assert found.num_parameters == num_parameters(config(), 3)


def test_the_name_of_a_sweep_stands_for_its_runs_but_where_one_is_needed(command, tmp_path):
    checkpoints, names = (
        tmp_path / "checkpoints",
        ["book-001", "sweep-book/lstm_seed-0", "sweep-book/gru_seed-0"],
    )
    for number, name in enumerate(names):
        run = build_chain(checkpoints / name, "\nabcd")
        for file in ("latest", "config.yaml"):
            os.utime(run / file, (1000 + number, 1000 + number))
    (checkpoints / "sweep-book" / SWEEP).write_text("{}")
    assert [run["name"] for run in json.loads(command("runs", "--json").out)] == names
    assert [open_run(name).name for name in (None, *names)] == ["book-001", *names]
    found = find_runs(["sweep-book", "book-001", "sweep-book/gru_seed-0"])
    assert [run.name for run in found] == [
        "sweep-book/lstm_seed-0",
        "sweep-book/gru_seed-0",
        "book-001",
    ]
    assert runs_of_sweep(str(checkpoints / "sweep-book")) is not None
    assert runs_of_sweep("book-001") is runs_of_sweep("a\0b") is None
    (checkpoints / "sweep-new").mkdir()
    (checkpoints / "sweep-new" / SWEEP).write_text("{}")
    for name, message in (
        (
            "sweep-book",
            (
                "sweep-book is a sweep, not a run\nname one of its runs: sweep-book/lstm_seed-0,"
                " sweep-book/gru"
            ),
        ),
        ("sweep-book/gru_sed-0", "did you mean sweep-book/gru_seed-0\\?"),
        ("sweep-new", "it has none yet"),
    ):
        with pytest.raises(CheckpointError, match=message):
            open_run(name)
    assert command("runs", "sweep-new") == Ran(0, "", "warning: No runs in sweep-new.\n")


def test_a_training_that_a_signal_ended_says_that_it_has_saved():
    assert sweeping.error_text(143, "error: none") == "ended by SIGTERM, and saved"
