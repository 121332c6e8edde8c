"""A run that charrnn saved loads for ever, and is what it was.

The run is a few kilobytes: 240 characters of `make_corpus(num_chars=100, seed=12)`, learned by
heart. A folder is added when a released format changes, and none is ever written anew.
"""

import json
from pathlib import Path

import pytest
from saved_runs import rewrite_manifest
from synthetic import make_corpus

import charrnn
from charrnn.runs.checkpoint import FORMAT_VERSION
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(folder.name for folder in GOLDEN.iterdir())
LATEST = f"format-{FORMAT_VERSION}"


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def copied(tmp_path):
    """A copy of a golden run beside the text that it learned."""

    def copy(name):
        text = make_corpus(num_chars=100, seed=12).text[:240]
        (tmp_path / "synthetic.txt").write_bytes(text.encode())
        run = tmp_path / "checkpoints" / name
        # Not copytree: it copies permissions too, and a checkout may be read-only.
        for path, data in contents(GOLDEN / name / "run").items():
            (run / path).parent.mkdir(parents=True, exist_ok=True)
            (run / path).write_bytes(data)
        return run

    return copy


def test_the_latest_format_is_there():
    assert LATEST in FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_writes_the_same_text_and_is_left_as_it_is(name):
    before = contents(GOLDEN / name)
    expected = json.loads((GOLDEN / name / "expected.json").read_text())

    model = charrnn.load(GOLDEN / name / "run")
    written = model.sample(prime=expected["prime"], length=len(expected["greedy"]), temperature=0)

    assert (model.step, model.warnings) == (expected["step"], ())
    assert written.text == expected["greedy"]
    assert written.logprob == pytest.approx(expected["logprob"], abs=1e-3)
    assert charrnn.evaluate(model, "tarn molu zib").num_chars > 0, "the same in torch"
    assert contents(GOLDEN / name) == before


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_trains_on_and_keeps_what_was_saved(command, copied, name):
    run = copied(name)
    (saved,) = RunReader(run).checkpoints()
    step = charrnn.load(run).step

    ran = command("train --resume", run.name, "--steps", step + 1, "--set", "keep=9")

    assert (ran.code, ran.err.count("warning")) == (0, 0)
    assert RunReader(run).checkpoints() == [saved, f"step-{step + 1:08d}"]
    assert contents(run / saved) == contents(GOLDEN / name / "run" / saved)
    assert charrnn.load(run).warnings == ()
    assert RunReader(run).read_config().output_scale == 1.0, "the one rate of its version"


def test_a_run_of_a_newer_format_asks_for_an_upgrade(command, copied):
    run = copied(LATEST)
    rewrite_manifest(RunWriter(run), RunReader(run).checkpoints()[0], format=FORMAT_VERSION + 1)
    before = contents(run)

    ran = command("train --resume")

    ran.assert_refused(4, f"newer charrnn (format {FORMAT_VERSION + 1}); upgrade")
    assert len(ran.err.splitlines()) <= 3
    assert {name: data for name, data in contents(run).items() if name != "lock"} == before
