"""Flipped bytes and truncation in every file of a run: detected before use, named in one line, an intact step used."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import SMALL_RUN, Ran, TrainedRun
from saved_runs import FILES
from synthetic import make_corpus

import charrnn
from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import read_checkpoint
from charrnn.runs.logs import MetricsLog, SampleLog
from charrnn.runs.reader import RunReader

BEFORE, LATEST = "step-00000004", "step-00000006"
STEPS = ("step-00000000", "step-00000002", BEFORE, LATEST)
BESIDE = ("config.yaml", "vocab.json", "latest", "best")
RECORDS = ("metrics.jsonl", "samples.txt")
NAMES = (*BESIDE, *RECORDS, *(f"{step}/{name}" for step in STEPS for name in FILES))


def flip(data: bytes, draw: random.Random) -> bytes:
    """One byte changed to any other."""
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :]


def truncate(data: bytes, draw: random.Random) -> bytes:
    """At least the last byte lost."""
    return data[: draw.randrange(len(data))]


@pytest.fixture(scope="module")
def trained(train_run: Callable[..., TrainedRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps, of which four are saved; the last is the best."""
    text = tmp_path_factory.mktemp("flips") / "text.txt"
    text.write_bytes(make_corpus(num_chars=600, seed=6).text[:600].encode())
    settings = {**SMALL_RUN, "hidden_size": 4, "steps": 6, "save_every": 2, "evaluate_every": 2, "keep": 9}
    run = train_run("flips-001", **settings, corpus=(str(text),)).path
    assert tuple(RunReader(run).checkpoints()) == STEPS and (run / "best").read_text() == LATEST + "\n"
    assert {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} == {*NAMES, "lock"}
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "checkpoints" / "run"))


@contextmanager
def damaged(path: Path, data: bytes) -> Iterator[None]:
    whole = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def warned(run: Path, which: str, name: str) -> str:
    """Load `which` and return the name of the step taken, having checked that one line names the damaged file."""
    folder = RunReader(run)
    loaded = folder.load_checkpoint("latest", with_training=True) if which == "latest" else folder.load_best()
    (reported,) = loaded.warnings
    assert "\n" not in reported and reported.endswith(f"; using {loaded.name}")
    # A flip in one of the hashes that a manifest lists would show as damage of the file it is of, but for its own.
    assert str(run / name) in reported
    return loaded.name


def silent(run: Path, which: str) -> str:
    folder = RunReader(run)
    loaded = folder.load_checkpoint("latest", with_training=True) if which == "latest" else folder.load_best()
    assert loaded.warnings == ()
    return loaded.name


def check(run: Path, name: str) -> bool:
    """Assert that damage to a file is detected by exactly what reads it; return whether it was detected."""
    step, _, file = name.rpartition("/")
    if step:
        with pytest.raises(CheckpointError, match=file):
            read_checkpoint(run / step, with_training=True)
        if step == LATEST:
            assert warned(run, "latest", name) == warned(run, "best", name) == BEFORE
            assert RunReader(run).load_checkpoint("latest", with_training=True).description.config().steps == 6
        else:
            assert silent(run, "latest") == silent(run, "best") == LATEST
        return True
    if name in ("latest", "best"):
        other = "best" if name == "latest" else "latest"
        assert warned(run, name, name) == silent(run, other) == LATEST
        return True
    if name in ("config.yaml", "vocab.json"):
        assert warned(run, "latest", name) == warned(run, "best", name) == LATEST
        return True
    assert silent(run, "latest") == silent(run, "best") == LATEST, "a record is used for nothing"
    log = MetricsLog(run / "metrics.jsonl")
    assert all(isinstance(record, dict) for record in log.read())
    assert SampleLog(run / "samples.txt").steps() is not None
    return bool(log.problems())


@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("damage", [flip, truncate])
def test_damage_is_detected_and_named(
    run: Path, damage: Callable[[bytes, random.Random], bytes], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(count)
    of_use, of_record, noticed = 0, 0, 0
    while of_use < count:
        name = draw.choice(NAMES)
        path = run / name
        with damaged(path, damage(path.read_bytes(), draw)):
            was_noticed = check(run, name)
        if name in RECORDS:
            of_record, noticed = of_record + 1, noticed + was_noticed
        else:
            assert was_noticed, name
            of_use += 1
    with capsys.disabled():
        if count >= 1_000:
            print(f"\n{damage.__name__}: {of_use} of {of_use} noticed; in records {noticed} of {of_record}")


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("name", [*BESIDE, "metrics.jsonl", *(f"{LATEST}/{name}" for name in FILES)])
def test_training_continues_from_an_intact_checkpoint_to_the_same_weights(
    command: Callable[..., Ran], run: Path, name: str, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    weights = (run / LATEST / "training.safetensors").read_bytes()
    path = run / name
    path.write_bytes(damage(path.read_bytes(), random.Random(name)))
    # Training asks nothing of `best`: it is mended without a word.
    num_warnings = {"metrics.jsonl": len(MetricsLog(run / "metrics.jsonl").problems()), "best": 0}.get(name, 1)
    ran = command("train", "--resume", "run")
    reported = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert (ran.code, len(reported)) == (0, num_warnings)
    assert all(name in line for line in reported)
    assert (run / LATEST / "training.safetensors").read_bytes() == weights
    assert (run / "latest").read_text() == (run / "best").read_text() == LATEST + "\n"
    # All of it is mended, and only what was damaged is kept aside.
    assert charrnn.load(run).warnings == () and silent(run, "latest") == LATEST
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    assert [entry.name for entry in run.glob("damaged-*")] == [f"damaged-{LATEST}"] * ("/" in name)
