"""The places of characters are the lines of the files as an editor shows them."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_words import WORD, lines_by_grep, write_texts

from charrnn.text import copies
from charrnn.text.copies import count_places
from charrnn.text.corpus import read_corpus
from charrnn.text.documents import Documents
from charrnn.text.places import Place, PlacedLine, find_places
from charrnn.text.sources import Order


@pytest.mark.parametrize(
    "kind, options",
    [
        ("txt", {}),
        ("txt", {"alphabet": "byte"}),
        ("txt", {"joins_lines": True}),
        ("txt", {"documents": Documents("lines", order=Order())}),
        ("txt", {"documents": Documents("blank-lines", order=Order()), "joins_lines": True}),
        ("txt", {"documents": Documents("files", order=Order())}),
        ("csv", {"documents": Documents("column", column="text", order=Order())}),
        ("cr.csv", {"documents": Documents("column", column="text", order=Order())}),
        ("jsonl", {"documents": Documents("column", column="text", order=Order())}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_line_of_each_word_is_that_of_grep(kind, options, seed, tmp_path):
    write_texts(tmp_path, kind, seed)
    corpus = read_corpus([str(tmp_path)], **options)
    content = corpus.content
    if isinstance(content, bytes):
        content = content.decode("latin-1")
    words = list(WORD.finditer(content))
    places = corpus.places(np.array([word.start() for word in words]))
    lines = {word[0]: (place.file, place.line) for word, place in zip(words, places, strict=True)}
    assert lines == lines_by_grep(tmp_path)


LINES = st.lists(
    st.tuples(st.sampled_from(["a.txt", "b.txt"]), st.text("ab\né日", min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)


def test_the_texts_have_wrapped_paragraphs_that_are_joined(tmp_path):
    write_texts(tmp_path, "txt", seed=0)
    num_lines = sum(path.read_bytes().count(b"\n") for path in tmp_path.iterdir())
    joined = read_corpus([str(tmp_path)], joins_lines=True).content
    assert joined.count("\n") < 0.8 * num_lines


@given(LINES, st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_columns_count_characters_and_in_bytes_bytes(lines, is_text):
    numbered = [PlacedLine(file, n, text.encode()) for n, (file, text) in enumerate(lines, 1)]
    expected = []
    for file, number, content, _ in numbered:
        length = len(content.decode()) if is_text else len(content)
        for column in range(1, length + 1):
            expected.append(Place(file=file, line=number, column=column))
    indices = range(len(expected))
    assert list(find_places(indices, numbered, is_text=is_text)) == expected
    assert list(find_places(indices[::2], numbered, is_text=is_text)) == expected[::2]


@given(
    st.text("ab\né日", max_size=40),
    st.lists(st.text("ab\né日", min_size=1, max_size=6), min_size=1, max_size=4, unique=True),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_places_are_counted_across_slices(text, passages, size, is_bytes):
    data = text.encode() if is_bytes else text
    if is_bytes:
        passages = [passage.encode() for passage in passages]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "SLICE_CHARS", size)
        patch.setattr(copies, "BLOCK_CHARS", size)
        found = count_places(passages, data)
    for passage in passages:
        assert found[passage] == data.count(passage)


def test_no_file_is_read_after_the_last_character_was_found():
    def lines():
        yield PlacedLine("a.txt", 1, b"a passage")
        raise AssertionError("it is read on")

    assert list(find_places([2], lines(), is_text=True)) == [Place(file="a.txt", line=1, column=3)]


@pytest.mark.parametrize("is_for_training, expected", [(True, None), (False, 2)])
def test_a_stream_is_kept_if_it_is_only_measured(monkeypatch, is_for_training, expected):
    stdin = io.TextIOWrapper(io.BytesIO(b"a text\nof some letters\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    corpus = read_corpus(["-"], is_for_training=is_for_training)
    [place] = corpus.places(np.array([9]))
    assert getattr(place, "line", None) == expected
