"""Documents from the corpus to the sample: trained, resumed, sampled, searched for and measured as
documents."""

import random
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from built_runs import build_chain
from conftest import SMALL_RUN, Ran
from hand_built import vocab_of

import charrnn
from charrnn.text.documents import END
from charrnn.training.run_text import read_text

SYLLABLES = ("an", "be", "la", "mi", "ro", "ta")
SETTINGS = {
    **SMALL_RUN,
    "corpus": ("names.txt",),
    "documents": "lines",
    "dropout": 0.3,
    "steps": 12,
}


@pytest.fixture
def names(command):
    """Names, one per line of `names.txt`."""
    draw = random.Random(0)
    names = [
        "".join(draw.choices(SYLLABLES, k=draw.randint(1, 5))).capitalize() for _ in range(300)
    ]
    Path("names.txt").write_text("\n".join(names) + "\n", "utf-8")
    return names


@pytest.fixture
def chain(command, tmp_path):
    """Build a run whose most likely document is `abcde`, by the kind of its documents."""
    return lambda documents: str(
        build_chain(tmp_path / f"{documents}-001", f"{END}abcde", documents=documents)
    )


@pytest.mark.parametrize("documents", ["lines", "column"])
def test_documents_are_separated(command, chain, documents):
    run = chain(documents)
    expected = 3 * "abcde\n"
    assert command("sample --temp 0 --count 3 --seed 0", run) == Ran(0, expected, "")
    # A prime of several documents: only the last one is continued.
    Path("before.txt").write_text("ab\nd\n")
    assert command("sample --temp 0 --seed 0 --prime @before.txt", run) == Ran(0, "e\n", "")


@pytest.fixture
def trained(command, names):
    """A run of documents that has hardly learned, and its training documents."""
    line = "train names.txt --documents lines --steps 30 --hidden-size 16"
    command(line, "--quiet")
    training = charrnn.load().read_parts()[0]
    return set(str(training[: len(training)]).split(END)[:-1])


@pytest.mark.trained
def test_new_documents_are_refused_where_known_words_would_be_all_of_them(command, trained):
    ran = command("sample --new --known-words")
    ran.assert_refused(2, "--known-words does not go with --new: the documents of")


@pytest.mark.trained
def test_documents_of_known_words_stand_in_the_text(command, trained):
    ran = command("sample --seed 4 --temp 1 --count 20 --known-words")
    assert {*ran.out.split()} <= trained


@pytest.mark.trained
@pytest.mark.parametrize("options", [(), ("--prime", "La"), ("--match", "[^b]*")])
def test_unique_and_new_documents_are_those_that_are_drawn_without(command, trained, options):
    call = ("sample --seed 4 --temp 1 --length 3", *options, "--count")
    drawn = command(*call, 4000).out.splitlines()
    known = {text.casefold() for text in trained}
    kept = {}
    for text in drawn:
        if text.casefold() not in known:
            kept.setdefault(text.casefold(), text)
    found = command(*call, 20, "--unique", "--new")
    assert found.out.splitlines() == list(kept.values())[:20]
    num_drawn = drawn.index(found.out.splitlines()[-1]) + 1
    assert f"20 of {num_drawn} drawn texts" in found.err


def test_whole_documents_are_split(names):
    parts = parts_of(read_text(charrnn.Config(**SETTINGS, split=(8, 1, 1))))
    assert sorted(all_of(parts)) == sorted(names)
    assert all_of(parts) != names, "shuffled"
    assert [round(len("".join(part)) / len("".join(names)), 1) for part in parts] == [0.8, 0.1, 0.1]
    kept = read_text(charrnn.Config(**SETTINGS, split=(8, 1, 1), order="sorted"))
    assert all_of(parts_of(kept)) == names


def parts_of(text):
    """The documents of the training, validation and test part."""
    whole = text.vocab.decode(text.ids)
    edges = [0, text.num_train, text.num_before_test, len(whole)]
    parts = [whole[begin:end] for begin, end in pairwise(edges) if begin < end]
    assert all(part.endswith(END) for part in parts)
    return [part.split(END)[:-1] for part in parts]


def all_of(parts):
    return [document for part in parts for document in part]


def test_a_list_with_repeated_documents_names_what_helps(command):
    Path("names.txt").write_text("".join(f"name {n % 150}\n" for n in range(400)))
    line = "train names.txt --steps 2 --hidden-size 8"

    def notes(*options):
        ran = command(line, "--documents", "lines", *options)
        return " ".join(ran.err.split())

    repeated = notes("--out", "all")
    assert "Train with --set unique_documents=true, which leaves repeated ones out." in repeated
    once = notes("--set", "unique_documents=true", "--out", "once")
    assert "left out 250 repeated documents of names.txt" in once
    assert "150 documents, 1" in once and "has as well" not in once
    assert command("train --resume once --steps 3 --quiet").code == 0
    assert command("evaluate once --json").code == 0


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_a_large_corpus_is_mapped_and_the_same(names, order, monkeypatch):
    Path("names.txt").write_text("\n".join([*names, "Élan"]), "utf-8")
    config = charrnn.Config(**SETTINGS, order=order)
    small = read_text(config, vocab := vocab_of("".join(names) + END))
    monkeypatch.setattr("charrnn.text.id_builder.MAX_BYTES_IN_MEMORY", 100)
    large = read_text(config, vocab)
    assert isinstance(large.ids, np.memmap)
    assert np.array_equal(large.ids, small.ids)
    assert (large.num_train, large.corpus.digest) == (small.num_train, small.corpus.digest)
    assert large.corpus.content == small.corpus.content
    assert "Élan" in str(large.corpus.content).split(END)


@pytest.mark.trained
def test_another_model_of_the_same_name_is_not_taken_for_the_first(command, trained):
    Path("more.txt").write_text("Abe\nBela\nLami\n" * 20, "utf-8")
    first = charrnn.load().path
    command("train more.txt --init-from", first, "--steps", 1, "--out", "more", "--quiet")
    continued = charrnn.load("more")
    shutil.rmtree(first)
    Path("others.txt").write_text("Quibble\nQuorum\n" * 30, "utf-8")
    command("train others.txt --documents lines --steps 1 --out", first, "--quiet")
    with pytest.warns(RuntimeWarning, match="not compared: another model has that name now"):
        accept = continued.new_documents()
    assert [accept("Abe"), accept("Quibble")] == [False, True]


@pytest.mark.trained
def test_new_documents_are_none_of_the_held_out_ones(command, trained):
    model = charrnn.load()
    held_out = str(model.held_out()[:]).split(END)[:-1]
    assert set(held_out) - trained
    written = ["", *held_out, *(f" {name.upper()}" for name in held_out)]
    assert not any(map(model.new_documents(), written))
