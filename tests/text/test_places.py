"""Passages are found in files where a search in each whole file finds them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.text import copies
from charrnn.text.copies import count_places
from charrnn.text.documents import Documents
from charrnn.text.places import Place, Stretch, find_places, windows


def blocks_of(data, size):
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


def stretches_of(files, size, overlap, is_text=True):
    """The windows of some files, in blocks of `size`."""
    for name, data in files:
        yield from windows(blocks_of(data, size), file=name, overlap=overlap, is_text=is_text)


def naive_place(passage, files):
    """The first place by the lines of the decoded file."""
    for name, text in files:
        if passage in text:
            before = text[: text.index(passage)]
            line = before.count("\n") + 1
            return Place(file=name, line=line, column=len(before.rpartition("\n")[2]) + 1)
    return None


TEXTS = st.text("ab\né日", max_size=40)
PASSAGES = st.lists(st.text("ab\né日", min_size=1, max_size=6), min_size=1, max_size=4, unique=True)


@given(st.lists(TEXTS, min_size=1, max_size=3), PASSAGES, st.integers(1, 9))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_passage_is_found_where_a_search_in_the_whole_file_finds_it(texts, passages, size):
    files = [(f"{number}.txt", text) for number, text in enumerate(texts)]
    searched = [passage.encode() for passage in passages]
    overlap = max(map(len, searched)) - 1
    stretches = stretches_of([(name, text.encode()) for name, text in files], size, overlap)
    found = find_places(searched, stretches)
    for passage in passages:
        assert found.get(passage.encode()) == naive_place(passage, files)


@given(TEXTS, PASSAGES, st.integers(1, 9), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_places_are_counted_across_slices(text, passages, size, is_bytes):
    data = text.encode() if is_bytes else text
    passages = [passage.encode() for passage in passages]
    # Where a passage overlaps itself, the end of a slice decides which places count.
    alone = []
    for passage in passages:
        if not any(passage.endswith(passage[:size]) for size in range(1, len(passage))):
            alone.append(passage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "SLICE_CHARS", size)
        found = count_places(passages, data)
    for passage in alone:
        assert found[passage] == text.encode().count(passage)


def test_no_file_is_read_after_the_last_passage_was_found():
    def stretches():
        yield from stretches_of([("a.txt", b"a passage")], 9, overlap=8)
        raise AssertionError("it is read on")

    assert find_places([b"passage"], stretches()) == {
        b"passage": Place(file="a.txt", line=1, column=3)
    }


def test_bytes_have_columns_of_bytes():
    stretches = stretches_of([("a.bin", b"\xe6\x97\xa5xyz")], 4, overlap=2, is_text=False)
    assert find_places([b"xyz"], stretches) == {b"xyz": Place(file="a.bin", line=1, column=4)}


def test_a_passage_in_no_file_has_no_place():
    assert find_places([b"ab"], stretches_of([("a", b"a"), ("b", b"b")], 1, overlap=1)) == {}


def test_a_passage_of_joined_lines_has_the_place_of_the_lines_of_the_file():
    file = ("a.txt", b"one\ntwo words that\nwere wrapped\nhere\n")
    passage = b"words that were wrapped here"
    stretches = stretches_of([file], 7, overlap=27)
    assert find_places([passage], stretches, joins_lines=True) == {
        passage: Place(file="a.txt", line=2, column=5)
    }
    assert find_places([passage], stretches_of([file], 7, overlap=27)) == {}


def test_documents_are_found_with_their_lines():
    text = b"\n one\ntwo \n\nthree\n"
    found = {
        "lines": [(1, b"\n"), (2, b" one\n"), (3, b"two \n"), (4, b"\n"), (5, b"three\n")],
        "blank-lines": [(1, b"\n"), (2, b" one\ntwo \n"), (4, b"\n"), (5, b"three\n")],
        "files": [(1, text)],
    }
    for kind, documents in found.items():
        assert list(Documents(kind=kind).find(blocks_of(text, 4), "a.txt")) == documents
    table = b'name,text\na,"one ""two""\nthree"\nb,four\n'
    documents = Documents(kind="column", column="text").find(blocks_of(table, 4), "a.csv")
    assert list(documents) == [(2, b'one "two"\nthree'), (4, b"four")]
    begin = Place(file="a.csv", line=2, column=1)
    stretch = Stretch(begin=begin, content=b'one "two"\nthree', is_text=True)
    assert find_places([b'"two"', b"hree"], [stretch]) == {
        b'"two"': Place(file="a.csv", line=2, column=5),
        b"hree": Place(file="a.csv", line=3, column=2),
    }
    records = b'{"text": "one"}\n\n{"text": "\\u00e9"}\n'
    documents = Documents(kind="column", column="text").find([records], "a.jsonl")
    assert list(documents) == [(1, b"one"), (3, "é".encode())]
