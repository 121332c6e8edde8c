"""The notes on a run that begins: which files are held out."""

from pathlib import Path

import pytest

from charrnn.config.settings import Config
from charrnn.training.notes import new_run_notes
from charrnn.training.plan import Plan
from charrnn.training.run_text import read_text

pytestmark = pytest.mark.usefixtures("here")


def held_out_notes(**settings):
    """The notes on held-out files, and the text that they are of."""
    config = Config(steps=1, **settings)
    text = read_text(config)
    notes = new_run_notes(config, Plan(config=config), text, initial=None)
    return [note for note in notes if note.startswith("held out as ")], text


def write_chapters(sizes, letters="abcdefghij"):
    """Write files of one letter each, so that a part of the text tells which files it has."""
    Path("book/one").mkdir(parents=True)
    for letter, size in zip(letters, sizes, strict=False):
        Path(f"book/one/{letter}.txt").write_text(f"{letter}" * size + "\n", encoding="utf-8")


def test_files_of_a_folder_are_named_as_far_as_they_are_held_out():
    write_chapters([400, 60, 30, 9])
    [note], _ = held_out_notes(corpus=("book",), order="sorted")
    assert note == "held out as validation text: the end of b.txt, c.txt, d.txt"


def test_a_part_of_a_file_is_named_as_such():
    write_chapters([400, 400])
    notes, _ = held_out_notes(corpus=("book",), order="sorted", split=(0.1, 0.2, 0.7))
    assert notes == [
        "held out as validation text: a part of a.txt",
        "held out as test text: the end of a.txt, b.txt",
    ]


def test_each_part_has_its_own_note():
    write_chapters([799, 99, 99])
    notes, _ = held_out_notes(corpus=("book",), order="sorted", split=(0.8, 0.1, 0.1))
    assert notes == [
        "held out as validation text: b.txt",
        "held out as test text: c.txt",
    ]


def test_characters_of_several_bytes_are_counted_as_characters():
    write_chapters([300, 100, 50], letters="aé😀")
    for order_seed in range(4):
        [note], text = held_out_notes(
            corpus=("book",), order="shuffled", order_seed=order_seed, split=(0.6, 0.4)
        )
        held_out = str(text.corpus.text(text.num_train, text.num_before_test))
        named = {letter for letter in "aé😀" if f"{letter}.txt" in note}
        assert named == set(held_out) - {"\n"}


def test_documents_are_files():
    write_chapters([30] * 10)
    [note], text = held_out_notes(corpus=("book",), documents="files", split=(0.7, 0.3))
    held_out = str(text.corpus.text(text.num_train, text.num_before_test))
    letters = sorted({*held_out} - {"\0"})
    assert note == f"held out as validation text: {', '.join(f'{name}.txt' for name in letters)}"


def test_many_files_are_counted():
    write_chapters([30] * 10)
    [note], _ = held_out_notes(corpus=("book",), order="sorted", split=(0.2, 0.8))
    assert note == "held out as validation text: c.txt, d.txt, e.txt, f.txt and 4 others"


def test_one_file_and_lines_that_are_documents_have_no_such_note():
    Path("book/one").mkdir(parents=True)
    for name in ("a", "b"):
        Path(f"book/one/{name}.txt").write_text(f"{name} word\n" * 50)
    assert held_out_notes(corpus=("book",), documents="lines")[0] == []
    assert held_out_notes(corpus=("book/one/a.txt",))[0] == []
