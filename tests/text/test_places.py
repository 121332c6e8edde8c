"""Passages are found in files where a search in each whole file finds them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.text.places import Place, Places, find_places


def blocks_of(data, size):
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


def naive_places(passage, files):
    """The first place by lines of the decoded file, and the number of all places."""
    first, num_places = None, 0
    for name, text in files:
        num_places += text.count(passage)
        if first is None and passage in text:
            before = text[: text.index(passage)]
            line = before.count("\n") + 1
            first = Place(file=name, line=line, column=len(before.rpartition("\n")[2]) + 1)
    return Places(first=first, num_places=num_places)


TEXTS = st.text("ab\né日", max_size=40)


@given(
    st.lists(TEXTS, min_size=1, max_size=3),
    st.lists(st.text("ab\né日", min_size=1, max_size=6), min_size=1, max_size=4, unique=True),
    st.integers(1, 9),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_passage_is_found_where_a_search_in_the_whole_file_finds_it(texts, passages, size):
    files = [(f"{number}.txt", text) for number, text in enumerate(texts)]
    blocks = [(name, blocks_of(text.encode(), size)) for name, text in files]
    found = find_places(passages, blocks)
    naive = [naive_places(passage, files) for passage in passages]
    assert [places.first for places in found] == [places.first for places in naive]
    # Where a passage overlaps itself, the end of a block decides which places count.
    for places, expected in zip(found, naive, strict=True):
        assert (places.num_places > 0) == (expected.num_places > 0)


def test_places_are_counted_across_blocks_and_files():
    passage = "a passage of forty characters or so, once"
    text = f"{passage}\n" * 3
    files = [("a.txt", blocks_of(text.encode(), 7)), ("b.txt", [passage.encode()])]
    [found] = find_places([passage], files)
    assert found == Places(first=Place(file="a.txt", line=1, column=1), num_places=4)


def test_bytes_have_columns_of_bytes():
    [found] = find_places([b"xyz"], [("a.bin", [b"\xe6\x97\xa5x", b"yz"])])
    assert found.first == Place(file="a.bin", line=1, column=4)


def test_a_passage_in_no_file_has_no_place():
    assert find_places(["ab"], [("a", [b"a"]), ("b", [b"b"])]) == [Places(first=None, num_places=0)]


def test_a_passage_of_joined_lines_has_the_place_of_the_lines_of_the_file():
    files = [("a.txt", blocks_of(b"one\ntwo words that\nwere wrapped\nhere\n", 7))]
    [found] = find_places(["words that were wrapped here"], files, joins_lines=True)
    assert found == Places(first=Place(file="a.txt", line=2, column=5), num_places=1)
    [found] = find_places(["words that were wrapped here"], files)
    assert found.first is None
