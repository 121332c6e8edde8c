"""A run that charrnn saved loads for ever, and is what it was.

The run is a few kilobytes: 240 characters of `make_corpus(num_chars=100, seed=12)`, learned by
heart. So are two model files of `charrnn export`, one of which has the words of that text. A folder
is added when a released format changes, and none is ever written anew. The run of
`format-2-planned` had a budget in minutes that was planned three times.
"""

import json
from pathlib import Path

import pytest
from saved_runs import rewrite_manifest
from synthetic import make_corpus

import charrnn
from charrnn.errors import DataError
from charrnn.runs.checkpoint import FORMAT_VERSION
from charrnn.runs.logs import MetricsLog
from charrnn.runs.model_file import MODEL_FILE_VERSION, pack
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter
from charrnn.training.optim import learning_rate_at

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(folder.name for folder in GOLDEN.iterdir())
LATEST = f"format-{FORMAT_VERSION}"
FILES = Path(__file__).parent / "golden-files"
FILE_FORMATS = sorted(folder.name for folder in FILES.iterdir())
PLANNED = "format-2-planned"
OUTPUT_SCALES = {"format-2": 1.0, PLANNED: 3.0}
"""The first one does not record it: its version had one rate for embedding and output."""


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
    config = RunReader(run).read_config()
    assert config.output_scale == OUTPUT_SCALES[name], "the rate of its version"
    assert config.plan is None, "new steps have one plan"


def test_the_rates_of_a_run_that_was_planned_three_times_are_those_of_its_plans():
    run = RunReader(GOLDEN / PLANNED / "run")
    config = run.read_config()
    assert config.plan_entries == ((0, 1500, 1), (400, 956, 1), (650, 899, 1))
    steps = [
        record for record in MetricsLog(run.path / "metrics.jsonl").read() if "grad_norm" in record
    ]
    assert [step["learning_rate"] for step in steps] == [
        pytest.approx(learning_rate_at(step["step"] - 1, config), rel=1e-12) for step in steps
    ]
    assert {400, 401, 650, 651, 899} <= {step["step"] for step in steps}


def test_a_run_of_a_newer_format_asks_for_an_upgrade(command, copied):
    run = copied(LATEST)
    rewrite_manifest(RunWriter(run), RunReader(run).checkpoints()[0], format=FORMAT_VERSION + 1)
    before = contents(run)

    ran = command("train --resume")

    ran.assert_refused(4, f"newer charrnn (format {FORMAT_VERSION + 1}); upgrade")
    assert len(ran.err.splitlines()) <= 3
    assert {name: data for name, data in contents(run).items() if name != "lock"} == before


def test_the_latest_format_of_model_files_is_there():
    assert f"format-{MODEL_FILE_VERSION}" in FILE_FORMATS


def files_of(name, content, *, is_zip, folder):
    """A model file of a format, as it is or packed."""
    if not is_zip:
        return FILES / name / content
    packed = folder / f"{content}.zip"
    packed.write_bytes(pack(contents(FILES / name / content)))
    return packed


@pytest.mark.parametrize("name", FILE_FORMATS)
@pytest.mark.parametrize("content", ["with-words", "without-words"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_model_file_writes_the_same_text_and_is_left_as_it_is(tmp_path, name, content, is_zip):
    before = contents(FILES / name)
    expected = json.loads((FILES / name / "expected.json").read_text())
    model = charrnn.load(files_of(name, content, is_zip=is_zip, folder=tmp_path))

    written = model.sample(prime=expected["prime"], length=len(expected["greedy"]), temperature=0)

    assert (model.step, written.text) == (expected["step"], expected["greedy"])
    assert contents(FILES / name) == before


@pytest.mark.parametrize("name", FILE_FORMATS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_model_file_with_words_knows_them(tmp_path, name, is_zip):
    expected = json.loads((FILES / name / "expected.json").read_text())
    model = charrnn.load(files_of(name, "with-words", is_zip=is_zip, folder=tmp_path))

    written = model.sample(
        prime=expected["prime"], length=len(expected["known"]), temperature=0, known_words=True
    )

    assert list(model.word_list.words) == expected["words"]
    assert written.text == expected["known"] != expected["greedy"][: len(written.text)]


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_a_model_file_without_words_refuses_them(name):
    model = charrnn.load(FILES / name / "without-words")
    with pytest.raises(DataError, match="would have kept them"):
        model.sample(length=9, known_words=True)
