"""A model writes one text for a seed: as a run, from each form in which it is given away, from
Python, by the server and in its page."""

import json
import sys

import pytest
from model_hub import running_hub
from page_in_node import NODE, write_in_node

import charrnn
from charrnn.plugins.formats.model_page.page import to_model_page

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


def by_server(model, prime):
    testclient = pytest.importorskip("starlette.testclient")
    completions = pytest.importorskip("charrnn.plugins.serving.completions")
    client = testclient.TestClient(
        completions.Server(model, token=None).app, base_url="http://localhost"
    )
    asked = {"temperature": TEMPERATURE, "seed": SEED, "max_tokens": LENGTH}
    answer = client.post("/v1/completions", json={"prompt": prime, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=["lstm", "gru", "rnn"])
def run(request, kind, train_run):
    settings = {"cell": request.param, "steps": 4, **KINDS[kind]}
    return train_run(f"{request.param}-{kind}", **settings).path


def test_a_run_its_folder_its_zip_and_python_write_one_text(run, command, tmp_path):
    model = charrnn.load(run)
    expected = written(command, run)
    assert len(expected) > 3
    drawn = model.sample(temperature=TEMPERATURE, seed=SEED, length=LENGTH)
    assert drawn.text == expected
    assert written(command, model.export(f"{tmp_path / 'away'}/")) == expected
    assert written(command, model.export(tmp_path / "away.zip")) == expected


def test_the_server_writes_it(run):
    model = charrnn.load(run)
    options = {"temperature": TEMPERATURE, "seed": SEED, "length": LENGTH}
    assert by_server(model, "e") == model.sample(prime="e", **options).text


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
def test_the_page_writes_it(run, command, tmp_path):
    case = {"prime": "e", "temperature": TEMPERATURE, "seed": str(SEED), "length": LENGTH}
    [page] = write_in_node(to_model_page(charrnn.load(run)), [case | {"clamps": []}], tmp_path)
    options = {"temperature": TEMPERATURE, "seed": SEED, "length": LENGTH}
    assert page["text"] == charrnn.load(run).sample(prime="e", **options).text


def test_a_model_of_a_hub_writes_it(run, command, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    folder = charrnn.load(run).export(f"{tmp_path / 'away'}/")
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        # The package reads these variables when it is imported.
        for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
            monkeypatch.delitem(sys.modules, name)
        hub.add("me/model", {path.name: path.read_bytes() for path in folder.iterdir()})
        assert written(command, "hf:me/model") == written(command, run)
