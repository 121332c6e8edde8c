"""`charrnn runs check` reads everything, writes nothing, and says which files are damaged and which steps are whole."""

import gzip
import json
import os

import pytest
from saved_runs import rewrite_manifest

from charrnn.runs.checking import check_runs
from charrnn.runs.checkpoint import FORMAT_VERSION
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter
from charrnn.text import word_list


def flip_byte(path):
    """Change a byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def files_below(folder):
    """Return the content and the time of each file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture
def steps(lab):
    """The steps of the run in `checkpoints/`, ascending."""
    return [int(name.removeprefix("step-")) for name in RunReader(lab).checkpoints()]


def test_a_whole_run_has_all_its_steps_and_nothing_is_written(lab, steps, command):
    before = files_below(lab)
    ran = command("runs check")
    assert ran.code == 0 and lab.name in ran.out and "whole" in ran.out
    [found] = check_runs([])
    assert (found.steps, found.num_saved, found.problems) == (tuple(steps), len(steps), ())
    assert files_below(lab) == before


CHECKPOINT_FILES = (
    *("manifest.json", "model.safetensors", "training.safetensors", "training.json"),
    *("config.yaml", "vocab.json"),
)


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_damaged_file_of_a_checkpoint_is_named_beside_the_step_that_can_be_used(
    name, lab, steps, command
):
    flip_byte(lab / f"step-{steps[-1]:08d}" / name)
    ran = command(f"runs check {lab.name}")
    assert ran.code == 4 and name in ran.err
    assert f"{lab.name}@{steps[-2]}" in ran.out
    [found] = check_runs([lab.name])
    assert found.steps == tuple(steps[:-1])


def test_a_step_that_is_named_is_checked_alone(lab, steps):
    flip_byte(lab / f"step-{steps[-1]:08d}" / "model.safetensors")
    [whole, damaged] = check_runs([f"{lab.name}@{steps[0]}", f"{lab.name}@{steps[-1]}"])
    assert whole.is_whole and whole.steps == (steps[0],)
    assert not damaged.is_whole and damaged.steps == ()


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.yaml", "vocab.json"])
def test_damage_beside_the_checkpoints_leaves_all_steps(name, lab, steps, command):
    path = lab / name
    path.write_bytes(b"{damaged\n" + path.read_bytes())
    ran = command("runs check", lab)
    assert ran.code == 4 and name in ran.err and "its steps, which are whole" in ran.out
    assert check_runs([str(lab)])[0].steps == tuple(steps)


@pytest.mark.parametrize("name", ["config.yaml", "vocab.json"])
def test_damage_beside_a_step_that_is_named_is_said(name, lab, steps, command):
    (lab / name).write_bytes(b"{damaged\n" + (lab / name).read_bytes())
    step = f"{lab.name}@{steps[0]}"
    ran = command("runs check", step)
    assert ran.code == 4 and name in ran.err
    ran = command("sample --length 5", step)
    assert ran.code == 0 and name in ran.err and f"using step-{steps[0]:08d}" in ran.err


def test_kept_documents_that_are_not_those_of_the_run_are_named(lab, command):
    (lab / "documents.gz").write_bytes(gzip.compress(b"[]"))
    ran = command("runs check", lab)
    assert ran.code == 4 and "documents.gz" in ran.err


def test_a_text_that_is_gone_or_has_changed_is_no_damage(lab, command, tmp_path):
    *_, state = sorted(lab.glob("step-*/training.json"))
    [text] = json.loads(state.read_text("utf-8"))["corpus_locations"]
    moved = tmp_path / "moved.txt"
    os.rename(text, moved)
    try:
        ran = command("runs check", lab)
    finally:
        os.rename(moved, text)
    assert ran.code == 0
    assert f"The text of {lab.name} is not here" in ran.err


def test_a_folder_that_only_looks_like_a_run_is_checked_too(lab, steps, command):
    for name in ("config.yaml", "vocab.json"):
        (lab / name).unlink()
    for step in steps:
        (lab / f"step-{step:08d}" / "manifest.json").unlink()
    ran = command("runs check")
    assert ran.code == 4 and lab.name in ran.out and "no step can be used" in ran.out
    assert command("runs check", lab).code == 4


def test_no_link_is_followed(lab, steps, command, tmp_path):
    file = lab / f"step-{steps[-1]:08d}" / "model.safetensors"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert command("runs check", lab).code == 4


def test_a_step_in_whose_place_is_something_else_is_named(lab, steps, command, tmp_path):
    linked = lab / f"step-{steps[0]:08d}"
    replaced = lab / f"step-{steps[1]:08d}"
    for step in (linked, replaced):
        step.rename(tmp_path / step.name)
    linked.symlink_to(tmp_path / linked.name)
    replaced.write_bytes(b"")
    ran = command("runs check", lab)
    assert ran.code == 4
    assert f"{linked.name} is a link" in ran.err and f"{replaced.name}/manifest.json" in ran.err
    assert check_runs([str(lab)])[0].steps == tuple(steps[2:])


def test_what_a_newer_charrnn_has_saved_is_not_called_damaged(lab, steps, command):
    for name in RunReader(lab).checkpoints():
        rewrite_manifest(RunWriter(lab), name, format=FORMAT_VERSION + 1)
    ran = command("runs check", lab)
    assert ran.code == 4 and "newer charrnn" in ran.err and "upgrade charrnn" in ran.err
    assert "damaged" not in ran.out + ran.err
    [found] = check_runs([str(lab)])
    assert (found.steps, found.problems, found.is_whole) == ((), (), False)
    assert len(found.not_read) == len(steps)


def test_the_words_of_a_newer_charrnn_are_not_called_damaged(lab, command, tmp_path, monkeypatch):
    monkeypatch.setattr(word_list, "LIST_VERSION", word_list.LIST_VERSION + 1)
    assert command("export", lab, f"{tmp_path}/model.zip", "--known-words").code == 0
    monkeypatch.undo()
    ran = command("runs check", f"{tmp_path}/model.zip")
    assert ran.code == 4 and "newer charrnn" in ran.err and "damaged" not in ran.out + ran.err


def test_a_model_file_is_checked_with_its_words(lab, command, tmp_path):
    for name in ("model.zip", "model/"):
        assert command("export", lab, f"{tmp_path}/{name}", "--known-words").code == 0
        assert command("runs check", f"{tmp_path}/{name}").code == 0
    for damaged in ("words", "model.safetensors"):
        flip_byte(tmp_path / "model" / damaged)
        ran = command("runs check", tmp_path / "model")
        assert ran.code == 4 and f"{damaged} is damaged" in ran.err


def test_its_json_has_all_that_was_found(lab, steps, command):
    flip_byte(lab / f"step-{steps[-1]:08d}" / "training.safetensors")
    ran = command("runs check --json")
    [found] = json.loads(ran.out)
    assert ran.code == 4
    assert (found["name"], found["steps"], found["is_whole"]) == (lab.name, steps[:-1], False)
    assert len(found["problems"]) == 1 and found["notes"] == []


def test_a_run_that_is_called_check_is_named_by_its_path(lab, command, tmp_path):
    lab.rename(tmp_path / "checkpoints" / "check")
    assert command("runs checkpoints/check").code == 0
    assert "whole" not in command("runs checkpoints/check").out
    assert "whole" in command("runs check check").out


def test_without_a_run_a_note_names_the_next_step(command, here):
    ran = command("runs check")
    assert ran.code == 0 and ran.out == "" and "no runs" in ran.err


@pytest.mark.parametrize("lines", [None, 0, 3])
def test_a_log_that_is_gone_or_lacks_its_end_is_named(lines, lab, steps):
    log = lab / "metrics.jsonl"
    kept = log.read_bytes().splitlines(keepends=True)[:lines]
    log.unlink()
    if lines is not None:
        log.write_bytes(b"".join(kept))
    [found] = check_runs([lab.name])
    assert found.steps == tuple(steps)
    [problem] = found.problems
    assert "metrics.jsonl lacks its end" in problem and str(steps[-1]) in problem


def test_the_folder_of_a_step_is_no_run_and_the_message_says_how_it_is_named(lab, steps, command):
    ran = command("runs check", lab / f"step-{steps[-1]:08d}")
    assert ran.code == 4 and ran.out == ""
    assert "is one step of a run" in ran.err and f"{lab}@{steps[-1]}" in ran.err
    assert command("runs check", f"{lab}@{steps[-1]}").code == 0
