"""A model on a hub: it is fetched from a server on the loopback and opened like a model file,
offline too, and nothing that somebody uploaded is executed or breaks a command."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from command_lines import run_line
from model_hub import running_hub

import charrnn
from charrnn.errors import CheckpointError, UsageError
from charrnn.runs.checkpoint import MANIFEST, MODEL
from charrnn.runs.config_files import CONFIG, VOCAB
from charrnn.runs.reader import is_run
from charrnn.system.files import LFS_POINTER, behind_cache_link
from charrnn.trained_model import load_steps

pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")

NEEDED = {CONFIG, VOCAB, MODEL, MANIFEST}
STRANGE = {
    "README.md": b"# A model\n",
    "index.html": b"<!doctype html>",
    "modeling.py": b"raise SystemExit('executed')\n",
    "pytorch_model.bin": b"\x80\x04cos\nsystem\n",
    "vocab.pkl": b"\x80\x04.",
    "folder/config.yaml": b"cell: gru\n",
    ".gitattributes": b"*.safetensors filter=lfs\n",
}
"""What somebody may upload beside a model."""
CARDS = {
    "objects": b"---\nx: !!python/object/apply:os.mkdir [executed]\n---\n",
    "escape codes": b"---\nlicense: \x1b]0;owned\x07\x1b[2J\x9b\n---\n# \x1b[31m",
    "wrong types": b"---\n- [1, {a: 2}]\n---\n",
    "references": b"---\na: &a [*a, *a]\n---\n",
    "no text": b"\xff\xfe\x00---",
    "huge": b"---\nx: " + b"[" * 1_000_000,
}

FACTS = (
    7,
    ["\x1b]0;owned\x07"],
    {"text": "\x1b[2J<script>", "losses": {"validation": "low"}, "cells": [{"name": []}]},
    {"split": None, "losses": [], "cells": {"0:1": 2}, "verdicts": "x" * 100_000, "digest": 1},
)
"""What the manifest may say of the model, in its card's part."""


@pytest.fixture(scope="module")
def hub():
    with running_hub() as running:
        yield running


@pytest.fixture
def online(hub, tmp_path, monkeypatch):
    """Let the package ask the hub, and keep what it fetches in a new folder."""
    settle(monkeypatch, HF_ENDPOINT=hub.address, HF_HOME=str(tmp_path / "home"))
    hub.is_broken = False
    hub.status = 0
    for known in (hub.repositories, hub.requests, hub.agents):
        known.clear()
    yield hub
    forget_package()


def settle(monkeypatch, **variables):
    """Set variables that the package reads when it is imported."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    forget_package()


def forget_package():
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def exported(alphabet_run, loop_run, tmp_path_factory):
    """Return the files of two exported models, which write the alphabet and a loop."""
    folder = tmp_path_factory.mktemp("exported")
    return [
        files_in(charrnn.load(run).export(f"{folder / run.name}/"))
        for run in (alphabet_run, loop_run)
    ]


@pytest.fixture
def files(exported):
    """Return the files of the model that writes the alphabet."""
    return dict(exported[0])


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def published(online, files):
    """Publish the model as me/abc, with files that nobody needs."""
    online.add("me/abc", {**files, **STRANGE})
    return online


def as_folder(path, files):
    """Write files to a folder, as git does, and return it."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def snapshot(home, name="me/abc"):
    """Return the folder of a model in the cache of the package."""
    (folder,) = (home / "hub").glob(f"models--{name.replace('/', '--')}/snapshots/*")
    return folder


def num_symbols(name):
    return len(charrnn.load(name).vocab)


SAMPLE = ("--length", "60", "--seed", "1")


def test_a_model_is_fetched_once_and_only_what_is_read_of_it(command, published, alphabet_run):
    expected = command("sample", alphabet_run, *SAMPLE).out

    first = command("sample", "hf:me/abc", *SAMPLE)
    assert (first.code, first.out, first.err) == (
        0,
        expected,
        command("sample", alphabet_run, *SAMPLE).err,
    )
    assert published.fetched() == NEEDED

    assert command("sample", "hf:me/abc@main", *SAMPLE).out == expected
    assert published.fetched() == set()


def test_every_command_takes_it_in_place_of_a_run(command, published, files):
    as_folder(Path("abc"), files)
    Path("text.txt").write_text("abcdefghijklmnopqrstuvwxyz\n" * 60, encoding="utf-8")
    for line in (
        "sample {run} --length 40 --seed 2 --json",
        "sample {run} --mix {run}=0.5 --length 40 --seed 2",
        "predict {run} abc",
        "evaluate {run} --text text.txt",
        "visualize {run} --text text.txt --cell 0:1",
        "export {run} model.zip --force",
    ):
        fetched = command(*line.format(run="hf:me/abc").split())
        assert fetched.code == 0, fetched.err
        assert fetched == command(*line.format(run="abc").split()), line


def test_python_opens_it_under_its_short_name(published, alphabet_run):
    model = charrnn.load("hf:me/abc")
    assert (model.name, model.path, model.step) == ("abc", None, 1)
    assert model.step_digest == charrnn.load(alphabet_run).step_digest
    with pytest.raises(CheckpointError, match="leave the step out"):
        charrnn.load("hf:me/abc", step=1)
    with pytest.raises(UsageError, match="one step of a run"):
        list(load_steps("hf:me/abc"))


def test_a_revision_is_a_branch_a_tag_or_a_commit(published, exported):
    _, other = exported
    repository = published.repositories["me/abc"]
    repository.revisions |= {"v1.0": other, "20260101": other, "refs/pr/1": other}
    for revision in ("v1.0", "20260101", "refs/pr/1", repository.commit_of("v1.0")):
        assert num_symbols(f"hf:me/abc@{revision}") == 6
    assert num_symbols("hf:me/abc") == 28

    # What a branch means may change; a commit stays what it is.
    commit = repository.commit_of("main")
    repository.revisions = {"main": other, "old": repository.revisions["main"]}
    assert num_symbols("hf:me/abc") == 6
    assert num_symbols(f"hf:me/abc@{commit}") == 28


def test_offline_the_model_in_the_cache_is_used(command, published, monkeypatch):
    expected = command("sample", "hf:me/abc", *SAMPLE).out
    commit = published.repositories["me/abc"].commit_of("main")
    published.requests.clear()

    settle(monkeypatch, HF_HUB_OFFLINE="1")
    for name in ("hf:me/abc", f"hf:me/abc@{commit}"):
        ran = command("sample", name, "--quiet", *SAMPLE)
        assert (ran.code, ran.out, ran.err) == (0, expected, "")
    command("sample", "hf:me/other").assert_refused(4, "was not fetched", "unset HF_HUB_OFFLINE")
    command("sample", "hf:me/abc@v1").assert_refused(4, "hf:me/abc@v1 was not fetched")
    assert published.requests == []


def test_a_hub_that_does_not_answer_is_replaced_by_the_cache(command, published, monkeypatch):
    expected = command("sample", "hf:me/abc", *SAMPLE).out
    published.is_broken = True
    for name in (published.address, "http://127.0.0.1:1"):
        settle(monkeypatch, HF_ENDPOINT=name)
        ran = command("sample", "hf:me/abc", *SAMPLE)
        assert (ran.code, ran.out) == (0, expected)
        assert "warning: the hub cannot be asked for hf:me/abc: what was fetched" in ran.err
    command("sample", "hf:me/none").assert_refused(4, "hub cannot be reached\n", "network")
    with pytest.warns(RuntimeWarning, match="what was fetched before is used") as warned:
        charrnn.load("hf:me/abc")
    assert warned[0].filename == __file__


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_missing_file_is_named_before_anything_is_fetched(command, online, files, name):
    del files[name]
    online.add("me/part", files)
    command("sample", "hf:me/part").assert_refused(
        4, f"hf:me/part is not a model of charrnn export: it has no {name}\n"
    )
    assert online.fetched() == set()


@pytest.mark.parametrize("name, size", [(VOCAB, (1 << 24) + 1), (MODEL, (1 << 32) + 1)])
def test_a_file_that_is_too_large_is_not_fetched(command, online, files, name, size):
    online.add("me/huge", files, sizes={name: size})
    command("sample", "hf:me/huge").assert_refused(
        4, f"hf:me/huge: {name} has {size:,} bytes; it may have at most {size - 1:,}\n"
    )
    assert online.fetched() == set()


def test_a_file_that_is_not_as_large_as_the_hub_says_is_refused(command, online, files):
    online.add("me/false", files, sizes={MODEL: 5})
    command("sample", "hf:me/false").assert_refused(4, "cannot fetch hf:me/false: ", "size")


@pytest.mark.parametrize(
    "name, change, problem",
    [
        (VOCAB, lambda data: data.replace(b"a", b"b", 1), "is damaged: "),
        (MODEL, lambda data: data[:-4], "is damaged: "),
        (MODEL, lambda data: data[:-1] + b"\x01", "is damaged: "),
        (CONFIG, lambda data: b"x: !!python/object/apply:os.mkdir [executed]\n", "is damaged: "),
        (MANIFEST, lambda data: data[:-9], "is damaged: not JSON"),
        (MANIFEST, lambda data: b"[" * 100_000, "is damaged: not JSON"),
    ],
)
def test_a_changed_file_is_refused(command, online, files, name, change, problem):
    files[name] = change(files[name])
    online.add("me/changed", files)
    command("sample", "hf:me/changed").assert_refused(4, f"hf:me/changed/{name} {problem}")
    assert not Path("executed").exists()


def test_a_file_that_changed_in_the_cache_is_refused(command, published, tmp_path):
    charrnn.load("hf:me/abc")
    weights = (snapshot(tmp_path / "home") / MODEL).resolve()
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    command("sample", "hf:me/abc").assert_refused(4, f"{MODEL} is damaged: ", "SHA-256")


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_neither_fetched_nor_read(command, online, files, tmp_path, card):
    files = {**files, **STRANGE, "README.md": CARDS[card]}
    online.add("me/abc", files)
    cloned = as_folder(tmp_path / "clone" / "abc", {**files, ".git/config": b"[core]\n"})
    fetched = command("sample", "hf:me/abc", *SAMPLE)
    assert fetched.code == 0, fetched.err
    assert fetched == command("sample", cloned, *SAMPLE)
    assert "\x1b" not in fetched.err and not Path("executed").exists()
    assert online.fetched() == NEEDED


@pytest.mark.parametrize("facts", FACTS)
def test_facts_of_the_card_that_are_false_change_nothing(command, online, files, facts):
    Path("text.txt").write_text("abcdefghijklmnopqrstuvwxyz\n" * 60, encoding="utf-8")
    online.add("me/true", files)
    manifest = json.loads(files[MANIFEST])
    online.add("me/false", {**files, MANIFEST: json.dumps({**manifest, "card": facts}).encode()})
    for line in (
        "sample hf:me/{} --length 60 --seed 1",
        "visualize hf:me/{} --text text.txt --cell 0:1 --json",
    ):
        told = command(*line.format("true").split())
        ran = command(*line.format("false").split())
        assert ran.code == 0, ran.err
        assert ran.out.replace('"false"', '"true"') == told.out
        assert "\x1b" not in ran.out + ran.err


@pytest.mark.parametrize(
    "name, words",
    [
        ("hf:me/none", ("the hub has no model hf:me/none, or does not show it", "hf auth login")),
        ("hf:me/private", ("does not show it to you",)),
        ("hf:me/abc@v9", ("there is no such revision: hf:me/abc@v9\n", "a commit after the @")),
        ("hf:me/refused", ("cannot fetch hf:me/refused: ",)),
    ],
)
def test_what_the_hub_does_not_have_is_named(command, published, files, name, words):
    published.add("me/private", files, is_private=True)
    published.add("me/refused", files, refused={MODEL: "not \x1b]0;today\x07"})
    command("sample", name).assert_refused(4, *words)


@pytest.mark.parametrize(
    "name",
    [
        "hf:",
        "hf:abc",
        "hf:me/abc/def",
        "hf:me/abc@",
        "hf:../abc",
        "hf:me/abc@../../x",
        "hf:me/abc@/etc/passwd",
        "hf:me/abc def",
        "hf:me/a\x1b[2J",
        "hf:me/.",
        "hf:" + "x" * 500,
    ],
)
def test_another_form_of_the_name_is_refused(command, online, name):
    command("sample", name).assert_refused(
        4, "\n       write hf:user/name, or hf:user/name@revision\n"
    )
    assert online.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "https://huggingface.co/me/abc",
        "huggingface.co/me/abc",
        "hf:https://hf.co/me/abc",
        "hf://me/abc",
        "hf:me/abc/",
        "HF:me/abc",
        "me/abc",
    ],
)
def test_the_name_that_is_meant_is_said(command, online, name):
    command("sample", name).assert_refused(4, "write hf:me/abc")
    assert online.requests == []


@pytest.mark.parametrize("name", ["https://huggingface.co/me/abc", "hf:me/abc"])
def test_an_address_and_a_model_are_no_texts(command, online, name):
    command("train", name, "--steps", "1").assert_refused(3, f"{name!r} is ")
    assert online.requests == []


@pytest.mark.parametrize(
    "status, remedy", [(401, "unset HF_TOKEN"), (403, "ask the owner"), (429, "later")]
)
def test_a_refusal_of_the_hub_is_in_its_own_words(command, published, status, remedy):
    published.status = status
    words = f"hf:me/abc was not fetched before, and the hub answers {status} in its own words"
    command("sample", "hf:me/abc").assert_refused(4, words, remedy)


def test_what_was_listed_is_fetched_and_no_more(command, published):
    charrnn.load("hf:me/abc")
    commit = published.repositories["me/abc"].commit_of("main")
    fetched = [line for line in published.requests if "/resolve/" in line]
    assert fetched and all(f"/resolve/{commit}/" in line for line in fetched)


def test_a_body_that_never_ends_is_not_fetched(command, online, files):
    online.add("me/long", files, endless={MODEL})
    command("sample", "hf:me/long").assert_refused(4, "the hub sends more than it has listed")


@pytest.mark.parametrize(
    "header, value",
    [
        ("ETag", '"../../../../outside"'),
        ("ETag", '"/{tmp_path}/outside"'),
        ("X-Linked-ETag", 'W/"..\\..\\outside"'),
        ("X-Repo-Commit", "../../../outside"),
    ],
)
@pytest.mark.parametrize("missing", [(), (VOCAB,)])
def test_no_answer_names_a_file_outside_of_the_cache(
    command, online, files, tmp_path, header, value, missing
):
    for name in missing:
        del files[name]
    online.add("me/evil", files, headers={header: value.format(tmp_path=tmp_path)})
    before = set(tmp_path.rglob("*outside*"))
    ran = command("sample", "hf:me/evil")
    assert ran.code == 4 and set(tmp_path.rglob("*outside*")) == before
    if not missing:
        ran.assert_refused(4, f"hf:me/evil: the hub answers with the {header} ")


def test_after_a_newer_version_that_is_not_whole_the_older_one_is_used(
    command, published, exported, monkeypatch
):
    expected = command("sample", "hf:me/abc", *SAMPLE).out
    published.add("me/abc", exported[1], refused={MODEL: "not today"})
    command("sample", "hf:me/abc").assert_refused(4, "cannot fetch hf:me/abc: ")
    settle(monkeypatch, HF_HUB_OFFLINE="1")
    assert command("sample", "hf:me/abc", *SAMPLE).out == expected


def test_what_is_missing_of_a_model_in_the_cache_is_said(command, published, monkeypatch, tmp_path):
    charrnn.load("hf:me/abc")
    (snapshot(tmp_path / "home") / MODEL).unlink()
    settle(monkeypatch, HF_HUB_OFFLINE="1")
    command("sample", "hf:me/abc").assert_refused(4, f"only in part, without {MODEL}, and HF_HUB")


def test_without_the_package_the_message_says_how_to_install_it(command, published, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    command("sample", "hf:me/abc").assert_refused(
        2, "hf:me/abc needs the package huggingface_hub", "pip install 'charrnn-lab[hub]'\n"
    )


@pytest.mark.trained
def test_training_starts_with_its_weights_but_does_not_continue_it(command, published):
    Path("text.txt").write_text("abcdefghijklmnopqrstuvwxyz\n" * 90, encoding="utf-8")
    line = "train text.txt --init-from hf:me/abc --steps 1 --out tuned --quiet"
    ran = command(*line.split())
    assert ran.code == 0, ran.err
    assert charrnn.load("tuned").config.init_from == "hf:me/abc"
    command("train", "--resume", "hf:me/abc").assert_refused(4, "--init-from hf:me/abc\n")
    command("runs", "hf:me/abc").assert_refused(4, "hf:me/abc has no learning curve")


def test_the_hub_hears_the_versions_and_nothing_else_of_the_machine(published):
    charrnn.load("hf:me/abc")
    (agent,) = published.agents
    names = [part.partition("/")[0] for part in agent.split("; ")]
    assert names == ["charrnn", "hf_hub", "python"]
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert all("/me/abc/" in line for line in published.requests), published.requests


def test_nothing_is_asked_of_the_hub_to_recognise_a_name(published):
    assert is_run("hf:me/abc") and is_run("hf:me/none")
    assert published.requests == []


def test_a_terminal_shows_what_is_fetched_unless_quiet(published, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = ("sample", "hf:me/abc", "--length", "20", "--seed", "1")
    assert "fetching hf:me/abc ..." in run_line(line, is_terminal=True).err
    shutil.rmtree(tmp_path / "home")
    assert run_line((*line, "--quiet"), is_terminal=True).err == ""


def test_other_models_do_not_import_the_package(process):
    code = "import charrnn, sys; charrnn.load('prose'); print('huggingface_hub' in sys.modules)"
    assert process("-c", code).stdout.split() == [b"False"]


def test_folders_of_git_and_of_the_package_open(command, published, files, tmp_path, alphabet_run):
    expected = command("sample", alphabet_run, *SAMPLE).out
    cloned = as_folder(tmp_path / "clone" / "abc", {**files, **STRANGE, ".git/HEAD": b"ref: x\n"})
    charrnn.load("hf:me/abc")
    cached = snapshot(tmp_path / "home")
    assert (cached / MODEL).is_symlink()
    for folder in (cloned, cached):
        ran = command("sample", folder, *SAMPLE)
        assert (ran.code, ran.out) == (0, expected), ran.err


def test_a_pointer_of_git_lfs_says_how_to_fetch_the_file(command, files, tmp_path):
    size = len(files[MODEL])
    files[MODEL] = LFS_POINTER + b"v1\noid sha256:" + b"0" * 64 + b"\nsize %d\n" % size
    command("sample", as_folder(tmp_path / "abc", files)).assert_refused(
        4, f"{MODEL} is a Git LFS pointer", "git lfs pull\n"
    )


def test_only_links_inside_the_cache_are_followed(command, files, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(files[VOCAB])
    for target in (outside, "../../../outside", "../../other/vocab.json"):
        cache = tmp_path / "cache"
        folder = as_folder(cache / "models--me--abc" / "snapshots" / ("0" * 40), files)
        as_folder(cache / "models--me--abc" / "other", {VOCAB: files[VOCAB]})
        (folder / VOCAB).unlink()
        (folder / VOCAB).symlink_to(target)
        assert behind_cache_link(folder / VOCAB) == folder / VOCAB
        command("sample", folder).assert_refused(4, f"{VOCAB} is not a regular file")
        shutil.rmtree(cache)

    # A blob may itself be a link to one that several models share.
    shared = as_folder(tmp_path / "cache" / "blobs" / "ab", {"abcd": files[VOCAB]})
    folder = as_folder(tmp_path / "cache" / "models--me--abc" / "snapshots" / ("0" * 40), files)
    blobs = as_folder(tmp_path / "cache" / "models--me--abc" / "blobs", {"x": b""})
    (blobs / "ef").symlink_to("../../blobs/ab/abcd")
    (folder / VOCAB).unlink()
    (folder / VOCAB).symlink_to("../../blobs/ef")
    assert behind_cache_link(folder / VOCAB) == shared / "abcd"
    assert command("sample", folder, *SAMPLE).code == 0
