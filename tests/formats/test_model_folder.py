"""The folder of a model that is given away: what is in it, and what stays at home.

Tests `formats.export`, too.
"""

import getpass
import json
import os
import platform
import re
import shutil
import socket
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import yaml
from killed import is_killed_before

import charrnn
from charrnn import trained_model
from charrnn.errors import CheckpointError, UsageError
from charrnn.formats.export import destination_of
from charrnn.formats.model_folder import files_of
from charrnn.reports import provenance
from charrnn.runs.checkpoint import CONFIG, MANIFEST, MODEL, VOCAB
from charrnn.runs.model_file import CARD, NEW, PAGE, ModelFile, is_model_file
from charrnn.text.sources import find_entry

NAMES = {CARD, PAGE, MANIFEST, CONFIG, VOCAB, MODEL}


def has_words(written):
    """Whether a file of a model has the list of the words, in any format."""
    if written.suffix in (".html", ".js"):
        content = written.read_text("utf-8")
        is_empty = 'id="words"></script>' in content or 'unpackWords("")' in content
        assert ('"has_words":false' in content) == is_empty
        return not is_empty
    return charrnn.load(written).words is not None


@pytest.mark.parametrize("name", ["given/", "given.zip", "given.html", "given.js"])
@pytest.mark.parametrize("is_included", [pytest.param(True, marks=pytest.mark.slow), False])
def test_words_are_given_away_only_where_somebody_asks_for_them(lab, tmp_path, name, is_included):
    model = charrnn.load("prose" if is_included else lab)
    assert not has_words(model.export(f"{tmp_path}/{name}"))
    assert has_words(model.export(f"{tmp_path}/{name}", known_words=True, force=True))


def test_words_of_an_earlier_model_do_not_stay_in_a_folder(lab, tmp_path):
    model = charrnn.load(lab)
    folder = model.export(f"{tmp_path}/given/", known_words=True)
    assert "- words of the text: in the file `words`" in (folder / CARD).read_text("utf-8")
    model.export(f"{tmp_path}/given/", force=True)
    assert {path.name for path in folder.iterdir()} == NAMES
    assert "words of the text" not in (folder / CARD).read_text("utf-8")


@pytest.mark.parametrize("name", ["given/", "given.zip"])
def test_a_file_with_words_writes_what_its_run_writes(command, lab, tmp_path, name):
    ran = command("export", lab, f"{tmp_path}/{name}", "--known-words")
    num_words = len(charrnn.load(lab).word_list.words)
    assert f"the words of the text are in the file: {num_words}\n" in ran.err
    texts = {
        command("sample --known-words --seed 1 --length 300", model).out
        for model in (lab, tmp_path / name)
    }
    assert len(texts) == 1


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["given/", "given.zip", "given.html"])
def test_private_things_stay_at_home(lstm, corpus_file, tmp_path, monkeypatch, name):
    secret = tmp_path / "users" / "zyxwvu" / "my-secret-diary.txt"
    # A run is mostly named after its text.
    model = charrnn.load(shutil.copytree(lstm.path, secret.with_suffix("")))
    model.config = replace(model.config, corpus=(str(secret),), init_from=str(secret.parent))
    written = model.export(f"{tmp_path}/{name}", title="t" if name.endswith("html") else None)
    parts = content_of(written) if written.is_dir() else {"": written.read_bytes()}
    if name == "given.zip":
        parts = {
            "": b"".join(content_of(charrnn.load(written).export(f"{tmp_path}/again/")).values())
        }
    private = ["zyxwvu", "my-secret-diary", str(corpus_file), str(lstm.path.parent), str(tmp_path)]
    private += [str(Path.home()), socket.gethostname(), platform.node(), os.getcwd()]
    everything = b"".join(parts.values())
    found = [word for word in private if len(word) > 5 and word.encode() in everything]
    assert found == []
    assert f"/{getpass.getuser()}/".encode() not in everything


def test_the_text_of_the_catalogue_is_named_by_its_name(lstm, tmp_path, monkeypatch):
    entry = find_entry("shakespeare")
    model = charrnn.load(lstm.path)
    model.config = replace(model.config, corpus=("shakespeare",))
    model.recorded_corpus = None
    folder = model.export(f"{tmp_path}/given/")
    assert charrnn.load(folder).config.corpus == ("shakespeare",)
    card = json.loads((folder / MANIFEST).read_text())["card"]
    assert (card["catalogue"], card["licence"]) == (["shakespeare"], entry.licence)

    # Another text may have that name.
    monkeypatch.chdir(tmp_path)
    Path("shakespeare.txt").write_text("my diary")
    model.config = replace(model.config, corpus=("shakespeare.txt",))
    again = charrnn.load(model.export(f"{tmp_path}/mine/"))
    assert again.config.corpus == ("a private text",)

    # So may one that is gone, and a folder of texts.
    recorded = charrnn.load(lstm.path).recorded_corpus
    for source in ("shakespeare.txt", "shakespeare"):
        model.config = replace(model.config, corpus=(source,))
        for location in (tmp_path / "gone" / source, tmp_path):
            model.recorded_corpus = replace(recorded, locations=(str(location),))
            again = charrnn.load(model.export(f"{tmp_path}/mine/", force=True))
            assert again.config.corpus == ("a private text",)


def test_the_same_model_gives_the_same_bytes(lstm, tmp_path):
    model = charrnn.load(lstm.path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = model.export(f"{tmp_path}/a/given/")
    assert content_of(first) == content_of(model.export(f"{tmp_path}/b/given/"))


def with_base(model, start, digest):
    """Return a model that started from another one."""
    return replace(model, config=replace(model.config, init_from=start), base={"digest": digest})


def test_a_private_run_called_like_an_included_model_is_not_taken_for_it(lstm, tmp_path):
    included = charrnn.load("prose").step_digest
    names = {}
    for digest in ("0", included):
        model = with_base(charrnn.load(lstm.path), "prose", digest)
        folder = model.export(f"{tmp_path / digest[:4]}/")
        names[digest] = yaml.safe_load((folder / CONFIG).read_text("utf-8"))["init_from"]
        assert ("War and Peace" in (folder / PAGE).read_text("utf-8")) == (digest == included)
    assert names == {"0": "a private model", included: "prose"}


def test_a_model_two_trainings_after_an_included_one_names_what_that_has_read(
    lstm, tmp_path, monkeypatch
):
    between = with_base(charrnn.load(lstm.path), "prose", charrnn.load("prose").step_digest)
    model = with_base(charrnn.load(lstm.path), "mine", "0")
    monkeypatch.setattr(trained_model, "load_base", lambda later: between)
    folder = model.export(f"{tmp_path / 'away'}/")
    again = charrnn.load(folder)
    assert ("begun from", "prose") in again.description.rows()
    readme = (folder / CARD).read_text("utf-8")
    assert re.search(r"^- text: .*War and Peace.* and then a private text$", readme, re.MULTILINE)
    assert "War and Peace" in (folder / PAGE).read_text("utf-8")


def test_a_run_that_was_trained_again_from_its_own_offspring_has_an_end(lstm, monkeypatch):
    model = with_base(charrnn.load(lstm.path), "offspring", "0")
    monkeypatch.setattr(trained_model, "load_base", lambda later: model)
    assert list(trained_model.earlier_models(model)) == [model, None]
    monkeypatch.setattr(provenance, "load_base", lambda later: model)
    with pytest.warns(
        RuntimeWarning, match="what offspring learned before is not compared: another"
    ):
        assert len(provenance.read_reference_text(model).parts) == 2


def test_several_private_texts_are_one_in_what_is_given_away(lstm, tmp_path):
    model = charrnn.load(lstm.path)
    model.config = replace(model.config, corpus=("diary.txt", "letters.txt"))
    again = charrnn.load(model.export(f"{tmp_path / 'away'}/"))
    assert again.description.text == "a private text"


def test_the_digest_of_a_private_text_stays_at_home(lstm, tmp_path):
    model = charrnn.load(lstm.path)
    folder = model.export(f"{tmp_path / 'away'}/")
    assert json.loads((folder / MANIFEST).read_text("utf-8"))["corpus_digest"] is None
    assert model.recorded_corpus.digest.encode() not in b"".join(content_of(folder).values())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked to be killed")
@pytest.mark.parametrize("has_earlier", [True, False])
def test_a_kill_leaves_the_earlier_or_the_new_model(alphabet_run, loop_run, tmp_path, has_earlier):
    earlier = charrnn.load(alphabet_run)
    files = files_of(charrnn.load(loop_run), "away")
    # The earlier model has a page, and a picture of an earlier version.
    del files[PAGE]
    others = {"cell.svg": b"<svg/>", "notes.txt": b"mine"}
    digests = [None]
    for number in count():
        folder = tmp_path / str(number) / "away"
        folder.parent.mkdir()
        if has_earlier:
            earlier.export(f"{folder}/")
            for name, data in others.items():
                (folder / name).write_bytes(data)
            digests[0] = ModelFile(folder).load_best().digest
        destination = destination_of(f"{folder}/", force=True, read=[])
        is_killed = is_killed_before(number, partial(destination.write, files))

        digest = None
        if is_model_file(folder):
            digest = ModelFile(folder).load_best().digest
        if digest != digests[-1]:
            digests.append(digest)
        if is_killed:
            destination.write(files)

        # The next export completes what the killed one had begun.
        expected = dict(files)
        if has_earlier:
            expected |= others
        assert content_of(folder) == expected
        shutil.rmtree(folder)
        if not is_killed:
            break
    # From one change on, it is the new model.
    assert len(digests) == 2 and number > 20


@pytest.mark.parametrize(
    "files, problem",
    [
        (["mine.txt"], "has other files than an exported model: give another name"),
        ([CONFIG, VOCAB], "has other files than an exported model"),
        ([MANIFEST], "exists: give another name, or `force`"),
    ],
)
def test_a_folder_with_other_files_is_refused(alphabet_run, tmp_path, files, problem):
    (tmp_path / "given").mkdir()
    for name in files:
        (tmp_path / "given" / name).write_text("precious")
    with pytest.raises(UsageError, match=problem):
        charrnn.load(alphabet_run).export(tmp_path / "given")
    if files != [MANIFEST]:
        with pytest.raises(UsageError, match=problem):
            charrnn.load(alphabet_run).export(tmp_path / "given", force=True)
    assert {path.read_text() for path in (tmp_path / "given").iterdir()} == {"precious"}


@pytest.mark.parametrize("kind", ["link", "file", "folder with a note", "folder with a link"])
def test_what_no_export_has_left_in_the_place_of_a_new_model_is_named(
    alphabet_run, loop_run, tmp_path, kind
):
    """A stranger's folder may have anything by that name: it is neither followed nor read."""
    folder = charrnn.load(alphabet_run).export(f"{tmp_path / 'given'}/")
    other = charrnn.load(loop_run).export(f"{tmp_path / 'other'}/")
    new = folder / NEW
    if kind == "link":
        new.symlink_to(other)
    elif kind == "file":
        new.write_text("mine")
    else:
        new.mkdir()
        if kind == "folder with a note":
            (new / "note.txt").write_text("mine")
        else:
            (new / MODEL).symlink_to(other / MODEL)
    if kind == "folder with a link":
        with pytest.raises(CheckpointError, match="is not a regular file"):
            ModelFile(folder).load_best()
    else:
        earlier = charrnn.load(alphabet_run).network.state_dict()
        read = charrnn.load(folder).network.state_dict()
        assert all(read[name].equal(weight) for name, weight in earlier.items())
    before = content_of(other)
    with pytest.raises(UsageError, match=rf"{NEW} is not what charrnn export leaves .* remove it"):
        charrnn.load(loop_run).export(folder, force=True)
    assert content_of(other) == before and os.path.lexists(new)


def test_a_card_that_is_a_pipe_is_not_waited_for(alphabet_run, tmp_path):
    model = charrnn.load(alphabet_run)
    folder = model.export(f"{tmp_path / 'given'}/")
    (folder / CARD).unlink()
    os.mkfifo(folder / CARD)
    with pytest.warns(RuntimeWarning, match=r"README\.md may have been edited: it stays"):
        model.export(folder, force=True)


def test_a_model_is_written_into_a_clone_and_again_with_force(alphabet_run, tmp_path):
    (tmp_path / "given" / ".git").mkdir(parents=True)
    model = charrnn.load(alphabet_run)
    folder = model.export(tmp_path / "given")
    (folder / "LICENSE").write_text("mine")
    (folder / PAGE).write_text("old")
    (folder / CARD).write_text("edited")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="README.md may have been edited: it stays"):
            model.export(folder, force=True)
        assert (folder / CARD).read_text() == "edited"
    assert {path.name for path in folder.iterdir()} == {*NAMES, ".git", "LICENSE"}
    assert (folder / PAGE).read_text() != "old"
    with pytest.raises(UsageError, match="is the model that is read"):
        destination_of(folder, force=True, read=[folder]).check()


def test_a_card_that_nobody_edited_is_replaced_whenever_its_file_was_made(alphabet_run, tmp_path):
    model = charrnn.load(alphabet_run)
    folder = model.export(f"{tmp_path / 'given'}/")
    new = (folder / CARD).stat().st_ino
    os.utime(folder / MANIFEST, (0, 0))
    model.export(folder, force=True)
    assert (folder / CARD).stat().st_ino != new


@pytest.mark.parametrize("name", ["zz\n# evil", "zz\r```\n# evil", "x`y``", "<b> [l](u) *s*"])
def test_a_name_makes_no_mark_of_its_own_in_the_card(alphabet_run, tmp_path, name):
    card = (charrnn.load(alphabet_run).export(f"{tmp_path / name}/") / CARD).read_text()
    assert not any(line.startswith("# evil") for line in card.splitlines())
    heading = next(line for line in card.splitlines() if line.startswith("# "))
    assert not re.search(r"(?<!\\)[`*\[\]<>]", heading)
