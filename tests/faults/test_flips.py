"""Flipped bytes and truncation in every file of a run: detected before use, named in one line, an
intact step used."""

import json
import random
import shutil
from itertools import cycle
from pathlib import Path

import pytest
from conftest import SMALL_RUN
from saved_runs import FILES
from synthetic import make_corpus

import charrnn
from charrnn.runs.logs import MetricsLog
from charrnn.runs.reader import RunReader

LATEST = "step-00000006"
BESIDE = ("config.yaml", "vocab.json")


def flip(data, draw):
    """One byte changed to any other."""
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :]


def truncate(data, draw):
    """At least the last byte lost."""
    return data[: draw.randrange(len(data))]


@pytest.fixture(scope="module")
def trained(train_run, tmp_path_factory):
    """A run of six steps, of which four are saved; the last is the best."""
    text = tmp_path_factory.mktemp("flips") / "text.txt"
    text.write_bytes(make_corpus(num_chars=600, seed=6).text[:600].encode())
    settings = {
        **SMALL_RUN,
        "hidden_size": 4,
        "steps": 6,
        "save_every": 2,
        "evaluate_every": 2,
        "keep": 9,
    }
    run = train_run("flips-001", **settings, corpus=(str(text),)).path
    assert len(RunReader(run).checkpoints()) == 4
    assert (run / "best").read_text() == LATEST + "\n"
    return run


def remove(data, draw):
    """No file at all."""


DAMAGED = [*BESIDE, "metrics.jsonl", *(f"{LATEST}/{name}" for name in FILES[1::2])]


@pytest.mark.parametrize(
    "name, damage", [*zip(DAMAGED, cycle((flip, truncate))), *zip(BESIDE, cycle((remove,)))]
)
def test_training_continues_from_an_intact_checkpoint_to_the_same_weights(
    command, trained, tmp_path, name, damage
):
    run = Path(shutil.copytree(trained, tmp_path / "checkpoints" / "run"))
    weights = (run / LATEST / "training.safetensors").read_bytes()
    path = run / name
    damaged = damage(path.read_bytes(), random.Random(name))
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    problems = []
    assert [*MetricsLog(run / "metrics.jsonl").read(problems)]
    num_warnings = len(problems) if name == "metrics.jsonl" else 1
    ran = command("train --resume run")
    reported = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert (ran.code, len(reported)) == (0, num_warnings)
    assert all(name in line for line in reported)
    assert (run / LATEST / "training.safetensors").read_bytes() == weights
    assert_whole(run)
    # Only what was damaged is kept aside.
    kept = [f"damaged-{LATEST}"] if "/" in name else []
    assert [entry.name for entry in run.glob("damaged-*")] == kept


def assert_whole(run):
    """That no file of a run is damaged."""
    assert (run / "latest").read_text() == LATEST + "\n"
    assert (run / "best").read_text() == LATEST + "\n"
    assert charrnn.load(run).warnings == ()
    assert RunReader(run).load_checkpoint("latest", with_training=True).warnings == ()
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
