"""The logs of runs in files of other programs."""

import csv
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from saved_runs import CONFIG, VOCAB

from charrnn.runs.config_files import RunDescription
from charrnn.runs.logs import MetricsLog
from charrnn.runs.writer import RunWriter

WRITER = """
class SummaryWriter:
    def __init__(self, folder, filename_suffix):
        from pathlib import Path
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.file = (Path(folder) / f"events.out.tfevents.7{filename_suffix}").open("a")
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
    def add_scalar(self, name, value, global_step, walltime):
        print(name, value, global_step, walltime, file=self.file)
"""
"""What torch has of it, if tensorboard is installed."""


@pytest.fixture
def logged(tmp_path):
    """Write a run whose log has a step, a validation and half a line, as while it is trained."""
    run = RunWriter.create_at(tmp_path / "a")
    run.write_description(RunDescription.of(run.path, CONFIG, VOCAB))
    log = MetricsLog(run.path / "metrics.jsonl")
    log.append({"event": "step", "step": 1, "seconds": 0.0, "train_nats": 2.5})
    log.append({"event": "evaluation", "step": 2, "seconds": 2.0, "val_nats": 1.5})
    with log.path.open("a") as file:
        file.write('{"event": "st')
    return run.path


def test_a_table_has_a_row_for_each_record(command, logged):
    ran = command("runs", logged, "--to", "csv:log.csv")
    assert (ran.code, ran.out, ran.err) == (0, "log.csv\n", "")
    with Path("log.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["run"], first["step"], first["train_nats"]) == ("a", "1", "2.5")
    assert (second["event"], second["train_nats"], second["val_nats"]) == ("evaluation", "", "1.5")


def test_events_are_replaced_and_not_added_to(command, logged, monkeypatch):
    fake = ModuleType("torch.utils.tensorboard")
    exec(WRITER, fake.__dict__)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.setattr("charrnn.errors.find_spec", lambda name: name)
    os.utime(logged / "metrics.jsonl", (1_000_000, 1_000_000))
    for _ in range(2):
        assert command("runs", logged, "--to", "tensorboard:logs").out == "logs\n"
    [file] = Path("logs/a").iterdir()
    written = [line.split() for line in file.read_text().splitlines()]
    assert [(name, value, step) for name, value, step, _ in written] == [
        ("seconds", "0.0", "1"),
        ("train_nats", "2.5", "1"),
        ("seconds", "2.0", "2"),
        ("val_nats", "1.5", "2"),
    ]
    # The log counts seconds; its last line, of second 2, was written with the file.
    assert [float(time) for *_, time in written] == [999_998, 999_998, 1_000_000, 1_000_000]


def test_without_tensorboard_it_says_how_to_install_it(command, logged, monkeypatch):
    monkeypatch.setattr("charrnn.errors.find_spec", lambda name: None)
    ran = command("runs", logged, "--to", "tensorboard:logs")
    assert ran.code != 0
    assert "Install it: pip install 'charrnn-lab[tensorboard]'" in ran.err


def test_two_runs_of_one_name_are_not_mixed(command, logged):
    (logged.parent / "other").mkdir()
    other = RunWriter.create_at(logged.parent / "other" / "a")
    other.write_description(RunDescription.of(other.path, CONFIG, VOCAB))
    assert (
        "Two of the runs have one name"
        in command("runs", logged, other.path, "--to", "csv:log.csv").err
    )
