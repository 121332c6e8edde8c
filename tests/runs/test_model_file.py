"""A model file, as a folder and as a .zip: that it is read like a run, and that a damaged one is
refused."""

import hashlib
import json
import math
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

import charrnn
from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import CONFIG, MANIFEST, MODEL, VOCAB
from charrnn.runs.model_file import WORDS, ModelFile, pack
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import WordList


@pytest.fixture
def file(alphabet_run, tmp_path):
    """Export the run that generates the alphabet."""
    return charrnn.load(alphabet_run).export(tmp_path / "abc.zip")


def content_of(file):
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(file, **changes):
    """Write the archive again with other content; None leaves a file out. Names have "_" instead of
    "."."""
    content = {**content_of(file)}
    for name, data in changes.items():
        content[name.replace("_", ".")] = data
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return file


def test_it_contains_the_weights_once_and_no_moments(lstm, tmp_path):
    model = charrnn.load(lstm.path)
    content = content_of(model.export(tmp_path / "given.zip"))
    assert len(content[MODEL]) < sum(tensor.nbytes for tensor in model.tensors.values()) + 10_000


def test_it_has_one_step(file):
    with pytest.raises(CheckpointError, match="leave the step out"):
        ModelFile(file).load_step(1)


def test_a_step_that_stands_for_the_damaged_best_is_exported_only_by_its_number(command, lab):
    model = charrnn.load(lab)
    weights = lab / f"step-{model.step:08d}" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    other = charrnn.load(lab).step
    ran = command("export", lab, "bad.zip", "--force")
    assert (ran.code, ran.out, Path("bad.zip").exists()) == (4, "", False)
    assert "model.safetensors is damaged" in ran.err
    assert f"to export that, name it: {lab.name}@{other}\n" in ran.err
    assert command("export", f"{lab}@{other}", "other.zip").code == 0
    assert charrnn.load("other.zip").step == other


def test_damage_anywhere_is_noticed_or_changes_nothing(file, alphabet_run):
    whole, model = file.read_bytes(), charrnn.load(alphabet_run)
    # Only what is read.
    content = content_of(file)
    whole = pack({name: content[name] for name in (CONFIG, VOCAB, MODEL, MANIFEST)})
    noticed = 0
    for position in range(0, len(whole), 101):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            loaded = ModelFile(file).load_best()
        except CheckpointError:
            noticed += 1
        else:
            assert all(
                np.array_equal(loaded.model[name], model.tensors[name]) for name in model.tensors
            )
            assert loaded.step == 1
    assert noticed > len(whole) / 101 / 2
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        ModelFile(file).load_best()


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"vocab_json": b'{"kind": "char", "characters": []}'}, "vocab.json is damaged: "),
        ({"config_yaml": None}, "it has no config.yaml"),
        ({"manifest_json": None}, "it has no manifest.json"),
        ({"manifest_json": b'{"format": 3}'}, "newer charrnn"),
        ({"manifest_json": b"[]"}, "damaged"),
        ({"manifest_json": b'{"format": 1, "step": -1, "files": {}}'}, "step"),
        (
            {"manifest_json": b'{"format": 1, "step": 1, "val_nats": null, "files": 7}'},
            "lists other files",
        ),
    ],
)
def test_another_archive_is_refused(file, changes, word):
    with pytest.raises(CheckpointError, match=word):
        ModelFile(repacked(file, **changes)).load_best()


def test_other_files_are_not_read(file):
    added = repacked(file, **{"../../outside": b"x", "LICENSE": b"MIT"})
    assert ModelFile(added).load_best().step == 1
    assert not (file.parent.parent / "outside").exists()


def signed(file, *, manifest=None, **changes):
    """Write the archive again with other content and the SHA-256 of it, and with other entries of
    the manifest."""
    entries = {**json.loads(content_of(file)[MANIFEST]), **(manifest or {})}
    for name, data in changes.items():
        listed = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        entries["files"][name.replace("_", ".")] = listed
    return repacked(file, manifest_json=json.dumps(entries).encode(), **changes)


@pytest.mark.parametrize(
    "entry, value, word",
    [
        *(("val_nats", value, "validation loss") for value in (math.nan, -5.0, 1e308, "2")),
        *(("step", value, "step") for value in (10**400, True)),
        *(("corpus_digest", value, "digest of its text") for value in (7, "../../etc")),
    ],
)
def test_figures_that_no_training_gives_are_refused(file, entry, value, word):
    with pytest.raises(CheckpointError, match=rf"abc\.zip is damaged: .*{word}"):
        ModelFile(signed(file, manifest={entry: value})).load_best()


def with_list(file, data, **entry):
    """Write the archive again with a file of words, and with its entry in the manifest."""
    listed = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} | entry
    manifest = {**json.loads(content_of(file)[MANIFEST]), WORDS: listed}
    return repacked(file, words=data, manifest_json=json.dumps(manifest).encode())


LIST = WordList.of(["abc", "ab"], Vocab("char", ("", *"abc "))).to_bytes()


def test_the_words_of_a_file_are_read(file):
    model = charrnn.load(with_list(file, LIST))
    assert model.word_list.words == ("ab", "abc")
    assert charrnn.load(file).step_digest == model.step_digest, "an older charrnn knows no words"


@pytest.mark.parametrize(
    "data, entry, problem",
    [
        (LIST, {"size": 7}, "words is damaged: .* expected 7"),
        (LIST, {"sha256": "0" * 64}, "words is damaged: its SHA-256"),
        (LIST, {"size": None}, "the size of a file is missing"),
        (None, {}, "it has no words"),
    ],
)
def test_a_damaged_file_of_words_is_refused(file, data, entry, problem):
    with_list(file, LIST, **entry)
    if data is None:
        repacked(file, words=None)
    with pytest.raises(CheckpointError, match=problem):
        ModelFile(file).load_best()


HOSTILE_LISTS = {
    "letters": b'{"version": 1, "letters": "Z", "joiners": "", "capitals": "", "words": "0Z"}',
    "sorted": b'{"version": 1, "letters": "ab", "joiners": "", "capitals": "", "words": "0b0a"}',
    "more than": b" " * (1 << 26) + b" ",
}
"""Lists that nobody wrote, by a word of the message: a character that the alphabet has not, words
that are not sorted, and one that is too large when it is unpacked."""


@pytest.mark.parametrize("problem", HOSTILE_LISTS)
@pytest.mark.parametrize(
    "line", ["sample {} --known-words --length 9", "export {} a.html --known-words"]
)
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_list_that_nobody_wrote_is_refused(command, file, tmp_path, problem, line, is_folder):
    """Pages and modules have the list of the model that is exported, so that it is read first."""
    with_list(file, zlib.compress(HOSTILE_LISTS[problem]))
    if is_folder:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(file := tmp_path / "unpacked")
    ran = command(line.format(file))
    assert (ran.code, ran.out) == (4, "")
    assert "words is damaged" in ran.err and problem in ran.err
    assert not Path("a.html").exists()


def test_a_bomb_is_unpacked_only_as_far_as_its_model_may_reach(file):
    repacked(file, model_safetensors=bytes(1 << 26))
    assert len(ModelFile(file).read_file(MODEL, 1000)) < 1 << 20
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        ModelFile(file).load_best()


def test_a_list_of_many_empty_files_is_not_read(file):
    with zipfile.ZipFile(file, "a") as archive:
        for index in range(6_000):
            archive.writestr(f"{index}", b"")
    with pytest.raises(CheckpointError, match="its list of files is too long"):
        ModelFile(file).load_best()


def test_a_model_that_is_larger_than_the_memory_is_not_read(file):
    config = content_of(file)[CONFIG].decode()
    for name, value in (("num_layers", 64), ("hidden_size", 16384)):
        config = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", config)
    with pytest.raises(
        CheckpointError, match=r"needs [\d,.]+ GB of memory, and this process may have"
    ):
        ModelFile(signed(file, config_yaml=config.encode())).load_best()


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_a_model_whose_predictions_are_not_finite_is_refused(command, file, value):
    damaged = {
        name: np.full_like(tensor, value) for name, tensor in load(content_of(file)[MODEL]).items()
    }
    signed(file, model_safetensors=save(damaged))
    Path("text.txt").write_text("abcdefgh" * 100, encoding="utf-8")
    for line in (
        "sample",
        "sample --precision fp32",
        "predict abc",
        "evaluate --text text.txt",
        "export a.html",
    ):
        name, *options = line.split()
        refused = command(name, file, *options)
        assert (refused.code, refused.out) == (4, ""), line
        assert "not finite" in refused.err, line


# --- folders


@pytest.fixture
def folder(file, tmp_path):
    """The same model as a folder."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "abc")
    return tmp_path / "abc"


def test_a_folder_is_the_zip_without_compression(alphabet_run, file, folder, tmp_path):
    (tmp_path / "new").mkdir()
    written = charrnn.load(alphabet_run).export(f"{tmp_path}/new/abc/")
    assert {path.name: path.read_bytes() for path in written.iterdir()} == content_of(file)
    assert charrnn.load(folder).step_digest == charrnn.load(file).step_digest


@pytest.mark.parametrize(
    "words", ["sample abc --length 20", "predict abc a", "sample . --length 9"]
)
def test_a_command_takes_a_folder_by_its_path(command, folder, monkeypatch, words):
    monkeypatch.chdir(folder if " . " in words else folder.parent)
    ran = command(words)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    "name, data, problem",
    [
        (MODEL, None, "model.safetensors: No such file"),
        (MODEL, b"x", "model.safetensors is damaged: 1 byte, expected"),
        (MODEL, b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        (CONFIG, b"x", "config.yaml is damaged: 1 byte, expected"),
        (MANIFEST, b"{}", "its format is not one of charrnn export"),
    ],
)
def test_a_missing_or_changed_file_of_a_folder_is_named(folder, name, data, problem):
    (folder / name).unlink()
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=re.escape(problem)):
        charrnn.load(folder)


def test_a_folder_that_was_zipped_as_a_folder_is_read(file):
    content = content_of(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("abc/", b"")
        for name, data in content.items():
            archive.writestr(f"abc/{name}", data)
    assert ModelFile(file).load_best().step == 1


def test_it_tells_nothing_of_a_private_text(lstm, tmp_path):
    model = charrnn.load(lstm.path)
    assert charrnn.load(model.export(tmp_path / "given.zip")).recorded_corpus is None
