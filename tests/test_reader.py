"""Reading run folders on a real disk: checkpoints are loaded, and damaged ones are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from saved_runs import FILES, make_run, rewrite_manifest, save

from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import FORMAT_VERSION
from charrnn.runs.description import Description
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return make_run(tmp_path / "checkpoints" / "shakespeare-001")


@pytest.mark.parametrize(
    "garbage",
    [b"", b"../../etc", b"\xff\xfe", b"step-00000100\nmore"],
)
def test_the_newest_checkpoint_is_loaded_if_the_pointer_is_invalid(run: RunWriter, garbage: bytes) -> None:
    save(run, 100)
    save(run, 200)
    (run.path / "latest").write_bytes(garbage)
    assert run.reader.read_pointer("latest") is None
    loaded = run.reader.load_checkpoint("latest", with_training=False)
    assert loaded.step == 200
    assert len(loaded.warnings) == 1
    assert "latest" in loaded.warnings[0]
    assert "using step-00000200" in loaded.warnings[0]


def test_steps_are_in_numeric_order_and_nothing_else_counts(run: RunWriter) -> None:
    for name in ("step-100000000", "step-00000002", "step-99999999", "step-2", "step-0000000002", "step-0000000x"):
        (run.path / name).mkdir()
    (run.path / "step-00000003").write_text("a file")
    (run.path / "step-00000004").symlink_to(run.path / "step-00000002")
    assert run.reader.checkpoints() == ["step-00000002", "step-99999999", "step-100000000"]


# --- falling back


def test_a_newer_format_is_refused_with_the_way_out(run: RunWriter) -> None:
    save(run, 100)
    save(run, 200)
    rewrite_manifest(run, "step-00000200", format=FORMAT_VERSION + 1, files={"weights.bin": {}})
    with pytest.raises(CheckpointError, match=r"made by a newer charrnn \(format 3\); upgrade"):
        run.reader.load_checkpoint("latest", with_training=False)
    assert run.reader.load_checkpoint("step-00000100", with_training=False).step == 100


def test_falling_back_goes_to_earlier_steps_first_and_then_to_later_ones(run: RunWriter) -> None:
    for step in (100, 200, 300, 400, 500):
        save(run, step)

    def load_after_damaging(step: int) -> tuple[int, int]:
        (run.path / f"step-{step:08d}" / "model.safetensors").unlink()
        loaded = run.reader.load_checkpoint("step-00000300", with_training=True)
        return loaded.step, len(loaded.warnings)

    assert [load_after_damaging(step) for step in (300, 200, 100, 400)] == [(200, 1), (100, 2), (400, 3), (500, 4)]
    with pytest.raises(CheckpointError, match=r"no checkpoint of .* can be loaded: .*model\.safetensors"):
        load_after_damaging(500)


def test_a_checkpoint_pruned_while_it_is_read_is_replaced_by_a_later_one(run: RunWriter) -> None:
    save(run, 100)
    save(run, 200)
    run.write_pointer("latest", "step-00000100")
    real = RunReader.read_pointer

    def read_and_prune(self: RunReader, name: str) -> str | None:
        pointed = real(self, name)
        run.write_pointer("latest", "step-00000200")
        for file in FILES:
            (run.path / "step-00000100" / file).unlink(missing_ok=True)
        return pointed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunReader, "read_pointer", read_and_prune)
        assert run.reader.load_checkpoint("latest", with_training=True).step == 200


def test_an_unknown_checkpoint_is_an_error_that_lists_the_others(run: RunWriter) -> None:
    with pytest.raises(CheckpointError, match="nothing saved yet"):
        run.reader.load_checkpoint("latest", with_training=False)
    save(run, 100)
    for name in ("step-00000300", "../shakespeare-001/step-00000100"):
        with pytest.raises(CheckpointError, match="saved there: step-00000100"):
            run.reader.load_checkpoint(name, with_training=False)


# --- configuration and alphabet


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(b"\xff\xfe\x00"), lambda path: os.truncate(path, (1 << 24) + 1)],
)
def test_an_unreadable_config_or_vocab_is_a_bad_checkpoint(run: RunWriter, damage: Callable[[Path], object]) -> None:
    readers = {"vocab.json": lambda: Description.read(run.path).vocab(), "config.yaml": run.reader.read_config}
    for name, read in readers.items():
        damage(run.path / name)
        with pytest.raises(CheckpointError, match=name):
            read()
