"""The models that come with the package are runs to every command, and `charrnn demo` shows one."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import charrnn
from charrnn import model_texts
from charrnn.model.portable_math import Matrix
from charrnn.runs.checkpoint import MODEL, SCALE
from charrnn.runs.included import INCLUDED

TEXT = '"Well, Prince," he said, "what is it?"\n' * 20


@pytest.mark.parametrize("name", ["code", "prose"])
def test_a_model_is_small_and_rounding_it_gives_the_stored_integers(name):
    assert (INCLUDED / f"{name}.zip").stat().st_size <= 800_000
    with zipfile.ZipFile(INCLUDED / f"{name}.zip") as archive:
        stored = safetensors.numpy.load(archive.read(MODEL))
    tensors = charrnn.load(name).tensors
    for tensor in [key for key in stored if key + SCALE in stored]:
        rounded = Matrix(tensors[tensor], is_int8=True)
        assert stored[tensor].dtype == np.int8
        assert rounded.values.tobytes() == stored[tensor].tobytes()
        assert rounded.scale.tobytes() == stored[tensor + SCALE].tobytes()


@pytest.mark.parametrize(
    "name, detector, least",
    [
        ("prose", "quote", 0.95),
        ("code", "string", 0.85),
        ("code", "line-position", 0.9),
        ("code", "indentation", 0.8),
    ],
)
def test_a_model_has_its_cells(name, detector, least):
    model = charrnn.load(name)
    assert detector in [found.detector for found in model.found_cells]
    (score,) = [score for score in model.card_scores if score.detector == detector]
    assert max(score.auc or 0, abs(score.spearman or 0)) >= least
    # It is drawn so that the inside is blue.
    assert model.polarity(score.layer, score.unit) == score.polarity


def test_a_run_of_the_same_name_comes_first_but_no_other_folder(alphabet_run, here):
    (here / "prose").mkdir()
    assert charrnn.load("prose").card
    shutil.copytree(alphabet_run, here / "checkpoints" / "prose")
    assert charrnn.load("prose").card == {}


@pytest.mark.parametrize(
    "words",
    [
        "sample prose --length 20",
        "predict prose a",
        "evaluate prose --text a.txt",
        "visualize prose --text a.txt --find",
        pytest.param("visualize prose --cell 0:231", marks=pytest.mark.slow),
        "export prose b.zip",
        "train a.txt --init-from prose --steps 1 --out run",
        "runs",
    ],
)
def test_a_command_takes_an_included_model_by_its_name(command, monkeypatch, words):
    monkeypatch.setattr(model_texts, "WRITTEN", replace(model_texts.WRITTEN, length=2000))
    Path("a.txt").write_text(TEXT)
    ran = command(words)
    assert ran.code == 0, ran.err


@pytest.mark.slow
def test_without_a_text_cells_are_shown_over_one_that_the_model_writes(command, monkeypatch):
    monkeypatch.setattr(model_texts, "WRITTEN", replace(model_texts.WRITTEN, length=2000))
    ran = command("visualize prose --find")
    assert "2,000 characters that it wrote itself" in ran.out
    assert "ρ -0.728 \n" in ran.out, "the scores of the card are the last column"
    written = command("sample prose --seed 1 --length 2000").out
    assert charrnn.load("prose").written_text() == written.removesuffix("\n")
