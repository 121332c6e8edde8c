"""One checkpoint: it is loaded exactly as it was saved, or the damaged file is named and the checkpoint skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from saved_runs import FILES, description_of, forge, make_run, rewrite_manifest, save, tensors

from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import read_checkpoint
from charrnn.runs.writer import RunWriter


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


def test_a_step_comes_back_exactly(run: RunWriter) -> None:
    model = tensors(0.1) | {"transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    folder = run.save_checkpoint(
        800, model, tensors(0.2), {"cursor": [3, 4], "nested": {"best": 1.5}}, description_of(run)
    )
    run.write_pointer("best", folder.name)
    loaded = run.reader.load_checkpoint("best", with_training=True)
    assert (loaded.name, loaded.step, loaded.warnings) == ("step-00000800", 800, ())
    assert loaded.state == {"cursor": [3, 4], "nested": {"best": 1.5}}
    for saved, read in ((model, loaded.model), (tensors(0.2), loaded.training)):
        assert saved.keys() == read.keys()
        for name, tensor in saved.items():
            assert read[name].dtype == tensor.dtype
            assert read[name].shape == tensor.shape
            np.testing.assert_array_equal(read[name], tensor)
    assert run.reader.load_checkpoint("step-00000800", with_training=False).training == {}
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)


def expect_fall_back(run: RunWriter, damaged: str) -> None:
    with pytest.raises(CheckpointError, match=damaged):
        read_checkpoint(run.path / "step-00000200", with_training=True)
    loaded = run.reader.load_checkpoint("latest", with_training=True)
    assert loaded.step == 100
    assert loaded.model["weight"][0, 0] == 100
    assert len(loaded.warnings) == 1
    assert damaged in loaded.warnings[0]
    assert "using step-00000100" in loaded.warnings[0]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 8, 0.5, -1, None, "longer"])
def test_a_truncated_missing_or_longer_file_falls_back(run: RunWriter, name: str, length: float | str | None) -> None:
    save(run, 100)
    save(run, 200)
    path = run.path / "step-00000200" / name
    data = path.read_bytes()
    if length is None:
        path.unlink()
    elif isinstance(length, str):
        path.write_bytes(data + b"x")
    else:
        # The manifest ends with a newline that carries nothing, so the cut "at the end" takes the brace as well.
        cut = int(len(data) * length) if length == 0.5 else int(length) - (name == "manifest.json" and length < 0)
        path.write_bytes(data[:cut])
    expect_fall_back(run, name)


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", FILES)
def test_a_flip_in_any_byte_is_noticed(run: RunWriter, name: str, stride: int) -> None:
    save(run, 100)
    path = run.path / save(run, 200) / name
    data = path.read_bytes()
    for position in range(0, len(data), stride):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        # A flip in a hash that the manifest lists shows as damage of the file it belongs to.
        with pytest.raises(CheckpointError, match="step-00000200" if name == "manifest.json" else name):
            read_checkpoint(run.path / "step-00000200", with_training=True)


@pytest.mark.parametrize("name", FILES)
def test_links_are_refused(run: RunWriter, name: str) -> None:
    save(run, 100)
    path = run.path / save(run, 200) / name
    path.rename(run.path / "elsewhere")
    path.symlink_to(run.path / "elsewhere")
    expect_fall_back(run, name)


def test_a_linked_step_folder_is_refused(run: RunWriter, tmp_path: Path) -> None:
    save(run, 100)
    folder = run.path / save(run, 200)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    expect_fall_back(run, "step-00000200 is a link")


def listed(**extra: object) -> dict[str, object]:
    return {name: {"size": 1, "sha256": ""} for name in FILES[:-1]} | extra


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 201},
        {"format": "1"},
        {"files": None},
        {"files": listed(**{"../../config.yaml": {"size": 1, "sha256": ""}})},
        {"files": listed(**{"training.json": None})},
        {"files": listed(**{"training.json": {"size": "1", "sha256": ""}})},
    ],
)
def test_a_manifest_of_another_shape_is_damage(run: RunWriter, changes: dict[str, object]) -> None:
    save(run, 100)
    save(run, 200)
    rewrite_manifest(run, "step-00000200", **changes)
    expect_fall_back(run, "manifest.json")


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_damage(run: RunWriter, text: str) -> None:
    save(run, 100)
    (run.path / save(run, 200) / "manifest.json").write_text(text)
    expect_fall_back(run, "manifest.json")


def header(text: str, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        header('{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"1234"),
        header('{"weight":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}', b"1234"),
        header('{"weight":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}'),
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
def test_tensors_that_match_their_hash_and_are_no_tensors_are_damage(run: RunWriter, name: str, data: bytes) -> None:
    save(run, 100)
    forge(run, save(run, 200), name, data)
    expect_fall_back(run, name)


@pytest.mark.parametrize("data", [b"[]", b"\xff"])
def test_a_state_that_is_no_object_is_damage(run: RunWriter, data: bytes) -> None:
    save(run, 100)
    forge(run, save(run, 200), "training.json", data)
    expect_fall_back(run, "training.json")
