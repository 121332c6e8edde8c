"""Runs of every released format, saved by the charrnn of their day, load for ever and write what
they wrote.

Each is a few kilobytes: 240 characters of `make_corpus(num_chars=100, seed=12)`, learned by heart.
A run is added when the format changes, and none is ever written anew.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixture_types import Command
from saved_runs import rewrite_manifest
from synthetic import make_corpus

import charrnn
from charrnn.runs.checkpoint import FORMAT_VERSION
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = range(1, FORMAT_VERSION + 1)
EXPECTED: dict[str, dict[str, Any]] = {
    f"format-{version}/{name}": wrote
    for version in VERSIONS
    for name, wrote in json.loads((GOLDEN / f"format-{version}.json").read_text()).items()
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def version_of(run: Path) -> int:
    return int(json.loads(next(run.glob("step-*/manifest.json")).read_text())["format"])


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a golden run beside the text that it learned."""

    def copy(name: str) -> Path:
        text = make_corpus(num_chars=100, seed=12).text[:240]
        (tmp_path / "synthetic.txt").write_bytes(text.encode())
        run = tmp_path / "checkpoints" / name.replace("/", "-")
        # Not copytree: it copies permissions too, and a checkout may be read-only.
        for path, data in contents(GOLDEN / name).items():
            (run / path).parent.mkdir(parents=True, exist_ok=True)
            (run / path).write_bytes(data)
        return run

    return copy


def test_every_format_is_there() -> None:
    assert {version_of(GOLDEN / name) for name in EXPECTED} == set(VERSIONS)
    assert {
        path.parent.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*/config.yaml")
    } == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_it_writes_the_same_text_and_is_left_as_it_is(name: str) -> None:
    before = contents(GOLDEN / name)
    expected = EXPECTED[name]
    model = charrnn.load(GOLDEN / name)
    assert (model.step, model.warnings) == (expected["step"], ())
    written = model.sample(prime=expected["prime"], length=len(expected["greedy"]), temperature=0)
    assert written.text == expected["greedy"]
    assert written.logprob == pytest.approx(expected["logprob"], abs=1e-3)
    assert charrnn.evaluate(model, "tarn molu zib").num_chars > 0, "the same in torch"
    assert contents(GOLDEN / name) == before, "an older format is migrated in memory, not on disk"


@pytest.mark.parametrize("name", EXPECTED)
def test_it_trains_in_the_newest_format(
    command: Command, copied: Callable[[str], Path], name: str
) -> None:
    run = copied(name)
    ran = command("train", "--resume", run.name, "--steps", EXPECTED[name]["step"] + 1, "--keep", 9)
    assert (ran.code, [line for line in ran.err.splitlines() if "warning" in line]) == (0, [])
    steps = RunReader(run).checkpoints()
    assert [int(step[5:]) for step in steps] == [EXPECTED[name]["step"], EXPECTED[name]["step"] + 1]
    formats = [json.loads((run / step / "manifest.json").read_text())["format"] for step in steps]
    assert formats == [version_of(GOLDEN / name), FORMAT_VERSION]
    was = contents(GOLDEN / name / steps[0])
    assert contents(run / steps[0]) == was, "what was saved stays as it is"
    assert charrnn.load(run).warnings == ()


def test_a_newer_one_asks_for_an_upgrade(command: Command, copied: Callable[[str], Path]) -> None:
    run = copied([*EXPECTED][-1])
    rewrite_manifest(RunWriter(run), RunReader(run).checkpoints()[0], format=FORMAT_VERSION + 1)
    before = contents(run)
    ran = command("train", "--resume")
    assert (ran.code, ran.out) == (4, "")
    assert (
        f"newer charrnn (format {FORMAT_VERSION + 1}); upgrade" in ran.err
        and len(ran.err.splitlines()) <= 3
    )
    assert {name: data for name, data in contents(run).items() if name != "lock"} == before
