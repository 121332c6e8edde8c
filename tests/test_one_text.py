"""A model writes one text for a seed: as a run, from Python, and given away as a folder or a .zip."""

import json

import pytest

import charrnn

KINDS = {
    "characters": {},
    "bytes": {"alphabet": "byte"},
    "documents": {"documents": "lines"},
}
TEMPERATURE, SEED, LENGTH = 0.7, 3, 80


def written(command, model):
    """The text that the command line writes, as it is."""
    options = ["--temp", TEMPERATURE, "--seed", SEED, "--length", LENGTH, "--json"]
    ran = command("sample", model, *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["text"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(
    params=["lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gru", "rnn"))]
)
def run(request, kind, train_run):
    settings = {"cell_type": request.param, "steps": 4, **KINDS[kind]}
    return train_run(f"{request.param}-{kind}", **settings).path


def test_a_run_its_folder_its_zip_and_python_write_one_text(run, command, tmp_path):
    model = charrnn.load(run)
    expected = written(command, run)
    assert len(expected) > 3
    drawn = model.sample(temperature=TEMPERATURE, seed=SEED, length=LENGTH)
    assert drawn.text == expected
    assert written(command, model.export(f"{tmp_path / 'away'}/")) == expected
    assert written(command, model.export(tmp_path / "away.zip")) == expected
