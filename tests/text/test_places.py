"""The places of characters are the lines of the files as an editor shows them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_words import WORD, lines_by_grep, write_texts
from read_texts import read_corpus

from charrnn.config.settings import Config
from charrnn.text.corpus import Corpus, Place
from charrnn.text.text_files import FileRecord, Line
from charrnn.text.vocab import Vocab, as_bytes


@pytest.mark.parametrize(
    "kind, options",
    [
        ("txt", {}),
        ("txt", {"alphabet": "byte"}),
        ("txt", {"join_lines": True}),
        ("txt", {"documents": "lines"}),
        ("txt", {"documents": "blank-lines", "join_lines": True}),
        ("txt", {"documents": "files"}),
        ("csv", {"documents": "column", "column": "text"}),
        ("cr.csv", {"documents": "column", "column": "text"}),
        ("jsonl", {"documents": "column", "column": "text"}),
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


@pytest.mark.parametrize("alphabet", ["char", "byte"])
def test_repeated_documents_are_left_out_and_the_others_keep_their_lines(alphabet, here):
    Path("names").mkdir()
    Path("names/a.txt").write_text("Zoë Ann\nBob\nZoë Ann\n", "utf-8")
    Path("names/b.txt").write_text("Bob\n\nCid\nZoë Ann\n\nDan and Bob\nCid", "utf-8")
    options = {"documents": "lines", "unique_documents": True, "alphabet": alphabet}
    corpus = read_corpus(["names"], **options)
    content = as_bytes(corpus.content)
    names = sorted(content.decode().split("\0")[:-1])
    assert names == ["Bob", "Cid", "Dan and Bob", "Zoë Ann"]
    assert any("left out 4 repeated documents of names" in note for note in corpus.notes)
    begins = [content.decode().index(name) for name in names]
    if alphabet == "byte":
        begins = [content.index(name.encode()) for name in names]
    places = corpus.places(np.array(begins))
    assert [(Path(place.file).stem, place.line) for place in places] == [
        ("a", 2),
        ("b", 3),
        ("b", 6),
        ("a", 1),
    ]
    Path("once.txt").write_text("Zoë Ann\nBob\nCid\nDan and Bob\n", "utf-8")
    assert read_corpus(["once.txt"], **options).digest == corpus.digest


LINES = st.lists(
    st.tuples(st.sampled_from(["a.txt", "b.txt"]), st.text("ab\né日", min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)


@given(LINES, st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_columns_count_characters_and_in_bytes_bytes(lines, is_text):
    numbered = []
    for number, (name, text) in enumerate(lines):
        numbered.append((FileRecord(name=name, label=name), Line(9 * number, text)))
    expected = []
    for file, piece in numbered:
        for number, content in enumerate(piece.content.splitlines(keepends=True), piece.number):
            length = len(content) if is_text else len(content.encode())
            for column in range(1, length + 1):
                expected.append(Place(file=file.name, line=number, column=column))
    reader = SimpleNamespace(config=Config(), lines=lambda: iter(numbered))
    vocab = Vocab("char", ("", "a")) if is_text else Vocab.of_bytes()
    corpus = Corpus(reader, vocab, ids=None, unknown=None)
    indices = np.arange(len(expected))
    assert corpus.places(indices) == expected
    assert corpus.places(indices[::-2]) == expected[::-2]
