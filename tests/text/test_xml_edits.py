"""Elements are found where they stand in a file, and what is not edited stays byte for byte."""

import tracemalloc
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text.pandoc import HEAP_PER_BYTE
from charrnn.text.xml_edits import Edits, elements_of

NAMES = st.sampled_from(["a", "b", "ä"])
ATTRIBUTES = st.sampled_from(["", " ", " c='d'", '\n c = ">"', " c='&lt;' e=\"'\" "])
TEXTS = st.sampled_from(["", "x", " ä\n", "&amp;", "<!-- <a> -->", "<![CDATA[<a>]]>", "<?a b?>"])


def element(inner):
    """An element with texts and elements in it."""
    parts = st.lists(st.tuples(inner, TEXTS).map("".join), max_size=3).map("".join)
    tags = st.tuples(NAMES, ATTRIBUTES)
    return st.one_of(
        st.tuples(tags, parts).map(lambda it: f"<{it[0][0]}{it[0][1]}>{it[1]}</{it[0][0]} >"),
        tags.map(lambda tag: f"<{tag[0]}{tag[1]}/>"),
    )


def text_without_b(one):
    """The text of an element of a tree without the elements called b."""
    if one.tag == "b":
        return ""
    inner = "".join(text_without_b(child) + (child.tail or "") for child in one)
    return (one.text or "") + inner


FILES = element(st.recursive(TEXTS, element, max_leaves=6))


@given(FILES)
def test_elements_are_found_where_they_stand(file):
    content = f"<?xml version='1.0'?>\n{file}\n<!-- end -->".encode()
    found = [content[one.begin : one.end] for one in elements_of(content)]
    expected = list(ET.fromstring(content).iter())
    assert sorted(ET.fromstring(part).tag for part in found) == sorted(one.tag for one in expected)
    assert Edits(content).edited() == content


@given(FILES)
def test_an_element_is_left_out_with_all_in_it_and_tags_without_it(file):
    content = f"<r>{file}</r>".encode()
    edits = Edits(content)
    for one in elements_of(content):
        if one.name == "b":
            edits.leave_out(one)
        elif one.name == "a":
            edits.replace_tags(one)
    shown = ET.fromstring(edits.edited())
    assert {one.tag for one in shown.iter()} <= {"r", "ä"}
    assert "".join(shown.itertext()) == text_without_b(ET.fromstring(content))


def test_an_ancestor_has_the_names_that_are_asked_for():
    content = b"<a><b><c/></b></a>"
    c, b, a = elements_of(content)
    assert (c.ancestor("b"), c.ancestor("b", "a"), b.ancestor("a")) == (b, a, a)
    assert (c.ancestor("a"), c.ancestor("b", "b"), a.ancestor("a")) == (None, None, None)


@pytest.mark.parametrize(
    "content",
    [b"<a>" + 30_000 * b"<b/>" + b"</a>", 30_000 * b"<a>" + 30_000 * b"</a>"],
    ids=["many", "deep"],
)
def test_a_hostile_file_takes_no_more_memory_than_pandoc_may(content):
    tracemalloc.start()
    try:
        edits = Edits(content)
        for one in elements_of(content):
            edits.leave_out(one)
        assert edits.edited() == b""
        assert tracemalloc.get_traced_memory()[1] < HEAP_PER_BYTE * len(content)
    finally:
        tracemalloc.stop()
