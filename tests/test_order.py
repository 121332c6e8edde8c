"""The files of a folder are shuffled by a rule that no version of Python and no file system changes, or sorted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL_RUN, Ran
from synthetic import make_corpus

import charrnn
from charrnn.config import Config
from charrnn.text.corpus import read_corpus
from charrnn.text.sources import SHUFFLED, SORTED, Order, find_origin, shuffle_key

NAMES = [f"{folder}/{letter}.txt" for folder in ("a", "b", "b/deep") for letter in "pqrs"]
SHUFFLED_NAMES = sorted(NAMES, key=lambda name: hashlib.sha256(f"0/{name}".encode()).hexdigest())


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder with `texts` in it, in which each file contains its own name."""
    folder = tmp_path / "project [1]*"
    monkeypatch.delenv("CHARRNN_CORPORA", raising=False)
    for name in NAMES:
        path = folder / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    monkeypatch.chdir(folder)
    return folder


def lines(source: str, order: Order) -> list[str]:
    content = read_corpus([source], order=order).content
    assert isinstance(content, str)
    return content.splitlines()


def test_the_rule_is_the_one_that_is_documented() -> None:
    assert lines("texts", SHUFFLED) == SHUFFLED_NAMES != NAMES
    assert lines("texts", SORTED) == sorted(NAMES)
    # Recorded runs depend on it: figures from another implementation of SHA-256, sha256sum.
    assert [["a", "b", "c"][index] for index in SHUFFLED.arrange(["a", "b", "c"])] == ["c", "b", "a"]
    assert lines("texts", Order(seed=1)) not in (SHUFFLED_NAMES, sorted(NAMES))
    assert sorted(lines("texts", Order(seed=1))) == sorted(NAMES)
    one_by_one = [f"texts/{name}" for name in reversed(NAMES)]
    assert str(read_corpus(one_by_one).content).splitlines() == NAMES[::-1], "as they are named"
    # Python decodes the byte 0xff of a file name as U+DCFF, whose three bytes UTF-8 itself does not allow.
    assert shuffle_key(7, "a\udcff") == hashlib.sha256(b"7/a\xed\xb3\xbf").digest()


@pytest.mark.parametrize("pattern", ["texts/**/*.txt", "./texts//**/*.txt", "{here}/texts/**/*.txt"])
def test_a_pattern_has_the_order_of_its_folder_from_any_working_folder(
    pattern: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import glob

    source = pattern.format(here=glob.escape(str(project)))
    assert lines(source, SHUFFLED) == SHUFFLED_NAMES
    location = read_corpus([source]).locations[0]
    assert location is not None
    monkeypatch.chdir(tmp_path)
    assert lines(location, SHUFFLED) == SHUFFLED_NAMES


def test_the_note_counts_the_files_that_were_shuffled() -> None:
    (Path("texts") / "empty.txt").touch()
    note = "shuffled the 12 files of texts: the validation text comes from all of it"
    assert note in read_corpus(["texts"]).notes
    assert not any("shuffled" in note for note in read_corpus(["texts"], order=SORTED).notes)
    for source in ("texts/a/p.txt", "texts/a/p*.txt"):
        assert read_corpus([source], is_for_training=False).notes == (), "there is nothing to shuffle in one file"


def test_links_to_folders_are_not_followed_and_links_to_files_are_read() -> None:
    Path("texts/linked").symlink_to("a", target_is_directory=True)
    Path("texts/linked.txt").symlink_to("a/p.txt")
    Path("texts/loop").symlink_to("loop")
    origin = find_origin("texts", stdin=None, corpora_dir=Path("corpora"), is_named_by_run=False, order=SORTED)
    assert [str(path.relative_to("texts")) for path in origin.paths] == sorted([*NAMES, "linked.txt"])


def test_every_command_reads_the_text_in_the_order_of_the_run(
    command: Callable[..., Ran], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    for number, name in enumerate(NAMES):
        Path("texts", name).write_text(make_corpus(num_chars=300, seed=number).text, encoding="utf-8")
    held_out = {}
    for order in ("shuffled", "sorted"):
        config = Config(corpus=("texts",), order=order, **{**SMALL_RUN, "steps": 1})
        list(charrnn.train(config, out=Path(order)))
        held_out[order], _ = charrnn.load(order).held_out_text()
        ran = command("train", "--resume", order, "--steps", 2)
        assert ran.code == 0, ran.err
        assert ("shuffled the 12 files of texts" in " ".join(ran.err.split())) is (order == "shuffled")
    last = {"shuffled": SHUFFLED_NAMES[-1], "sorted": sorted(NAMES)[-1]}
    for order, name in last.items():
        assert str(held_out[order]).endswith(Path("texts", name).read_text(encoding="utf-8"))
