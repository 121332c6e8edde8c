"""What is copied is what a naive search finds, and is marked. N characters of the text, M of the
corpus.

Tests `plugins.reports.copies`, too.
"""

import io

import numpy as np
import pytest
from drawn import lines
from example_results import novelty
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import charrnn
from charrnn.errors import DataError, UsageError
from charrnn.plugins.reports import novelty as plugin
from charrnn.plugins.reports.novelty import (
    LINES,
    STYLES,
    CopiedText,
    find_copies,
    tell_new,
)
from charrnn.text import copies
from charrnn.text.copies import HashedText
from charrnn.views.theme import visible

EXAMPLES = settings(max_examples=60)


def spans(novelty):
    return [(copy.start, copy.length, copy.source) for copy in novelty.copies]


def naive_spans(text, corpus, min_length):
    """(start, length, first place in the corpus) of the matches that no other contains, looked up
    one by one."""
    extents = []
    for start in range(len(text)):
        stop = start
        while stop < len(text) and text[start : stop + 1] in corpus:
            stop += 1
        extents.append((start, stop))
    return [
        (start, stop - start, corpus.find(text[start:stop]))
        for start, stop in extents
        if stop - start >= min_length
        and not any(a <= start and stop <= b and (a, b) != (start, stop) for a, b in extents)
    ]


@st.composite
def text_and_corpus(draw):
    """Both of the same few letters, pieces of each repeated and pieces of the corpus in the
    text."""
    letters = st.text(draw(st.sampled_from(["a", "ab", "ab\n", "aé日🙂\ud800"])), max_size=30)
    corpus = draw(letters)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(corpus)))
        corpus += corpus[start : start + draw(st.integers(0, 12))] + draw(letters)
    text = draw(letters)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(corpus)))
        text += corpus[start : start + draw(st.integers(0, 20))] + draw(letters)[:2]
    return text, corpus


@given(text_and_corpus(), st.integers(1, 9), st.integers(1, 40), st.sampled_from([None, 3, 1]))
@EXAMPLES
def test_it_equals_a_search(texts, min_length, block_chars, num_hashes):
    text, corpus = texts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "BLOCK_CHARS", block_chars)
        if num_hashes:
            hashes = HashedText.window_hashes
            patch.setattr(
                HashedText, "window_hashes", lambda *of: hashes(*of) % np.uint64(num_hashes)
            )
        found = find_copies(text, corpus, min_length=min_length)
    assert spans(found) == naive_spans(text, corpus, min_length)
    assert [copy.source_line for copy in found.copies] == [
        corpus[: c.source].count("\n") + 1 for c in found.copies
    ]
    covered = {position for copy in found.copies for position in range(copy.start, copy.stop)}
    assert found.num_copied == len(covered)
    assert found.share_copied == (len(covered) / len(text) if text else 0)


@given(text_and_corpus(), st.integers(1, 9), st.integers(1, 40), st.integers(1, 9))
@EXAMPLES
def test_where_not_all_pairs_are_followed_the_share_is_the_same(texts, min_length, block, pairs):
    text, corpus = texts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "BLOCK_CHARS", block)
        patch.setattr(copies, "MAX_PAIRS", 1)
        patch.setattr(copies, "LEAST_PAIRS", pairs)
        found = find_copies(text, corpus, min_length=min_length)
    covered = set()
    for start, length, _ in naive_spans(text, corpus, min_length):
        covered.update(range(start, start + length))
    assert found.num_copied == len(covered)
    for copy in found.copies:
        copied = text[copy.start : copy.stop]
        assert corpus.startswith(copied, copy.source)
        assert copy.length >= min_length


def test_a_repeated_character_is_followed_from_few_places(monkeypatch):
    """Not a clock but the pairs: there are 594 million."""
    followed = []
    common_lengths = HashedText.common_lengths

    def count(text, starts, *others, **named):
        followed.append(len(starts))
        return common_lengths(text, starts, *others, **named)

    monkeypatch.setattr(HashedText, "common_lengths", count)
    assert spans(find_copies("a" * 3_000 + "b", "a" * 200_000)) == [(0, 3_000, 0)]
    assert 0 < sum(followed) < 50_000
    assert len(find_copies("a" * 5_000, "a" * 100).copies) == 4_901


def test_what_cannot_be_compared_is_refused(monkeypatch):
    for text, corpus in (("", "abc"), ("abc", ""), ("a" * 29, "a" * 100), ("a" * 100, "a" * 29)):
        found = find_copies(text, corpus)
        assert (found.copies, found.share_copied, found.longest) == ((), 0, None)
    with pytest.raises(UsageError, match=r"`min_length` is 0; it must be at least 1"):
        find_copies("abc", "abc", min_length=0)
    with pytest.raises(TypeError, match="str with bytes"):
        find_copies("abc", b"abc")
    monkeypatch.setattr(plugin, "MAX_CHARS", 10)
    find_copies("a" * 10, "abc")
    with pytest.raises(
        DataError, match=r"has 11 characters; at most 10 are compared\. Give a part"
    ):
        find_copies("a" * 11, "abc")


def test_copies_that_overlap_are_both_told_and_counted_once_in_json_too():
    data = find_copies("xabcdefgh", "abcdef\n cdefgh", min_length=3).to_json()
    assert (len(data["copies"]), data["num_copied"], data["share_copied"]) == (2, 8, 8 / 9)
    assert data["longest"] == data["copies"][0]
    (copy,) = find_copies("Annabel", "Tom\0Two\nlines\0Annabel\0", min_length=5).copies
    assert copy.source_line == 4, "each document is a line"


def test_a_model_has_its_own_corpus(lstm, corpus, monkeypatch):
    monkeypatch.setattr(plugin, "HELD_OUT_CHARS", 1_000)
    model = charrnn.load(lstm.path)
    begin = int(0.9 * len(corpus.text))
    copied, held_out = corpus.text[1_000:1_200], corpus.text[begin : begin + 1_000]
    found = model.novelty("Ж€!" + copied.replace("\n", "\r\n") + "Ж€!")
    assert found.text == "Ж€!" + copied + "Ж€!", "line ends are those of the corpus"
    assert spans(found) == [(3, 200, corpus.text.find(copied))]
    assert found.copies[0].source_line == corpus.text[:1_000].count("\n") + 1
    # The validation text is not learned from: that it stands in the file is no copy.
    expected = find_copies(held_out, corpus.text[:begin], min_length=12)
    found = model.novelty(held_out, min_length=12)
    assert found.copies == expected.copies and found.held_out_share == expected.share_copied
    assert 0 < expected.share_copied < 1
    with pytest.raises(UsageError, match="at least 1"):
        model.novelty("", min_length=0)


def test_a_byte_model_compares_bytes(byte_run):
    model = charrnn.load(byte_run.path)
    line = "zäb «molü» 語 🙂\n"
    found = model.novelty("é" + line * 2)
    assert found.text == ("é" + line * 2).encode()
    assert spans(found) == [(2, 2 * len(line.encode()), 0)] and model.novelty(found.text) == found
    assert model.novelty("\ud800").text == b"\xed\xa0\x80"


@EXAMPLES
@given(
    st.lists(st.text("ab", max_size=4), max_size=12),
    st.sets(st.text("ab", max_size=5), max_size=6),
    st.integers(1, 9),
    st.booleans(),
)
def test_documents_are_found_in_slices(corpus, asked, slice_chars, as_bytes):
    joined = "".join(f"{text}\0" for text in corpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin, "SLICE_CHARS", slice_chars)
        patch.setattr(copies, "SLICE_CHARS", slice_chars)
        is_new = tell_new(joined.encode() if as_bytes else joined)
    found = {text for text in asked if not is_new(text)}
    assert found == asked & set(corpus)


def styled(renderable, width):
    """The characters printed with colours, newlines left out, and the index of the style of
    each."""
    console = Console(
        file=io.StringIO(), width=width, color_system="truecolor", force_terminal=True, _environ={}
    )
    return [
        (character, STYLES.index(segment.style or STYLES[0]))
        for segment in console.render(renderable)
        for character in segment.text
        if character != "\n"
    ]


def test_copies_that_adjoin_or_overlap_are_told_apart():
    assert lines(CopiedText(novelty("abcdefgh", (0, 3), (3, 3))))[1] == "━━━═══"
    assert lines(CopiedText(novelty("abcdefgh", (0, 2), (3, 2), (6, 2))))[1] == "━━ ══ ━━"
    assert lines(CopiedText(novelty("abcdefgh", (0, 5), (3, 5))))[1] == "━━━━━═══", (
        "the first has what several have"
    )
    assert lines(CopiedText(novelty("abcdefgh", (0, 3), (1, 5), (2, 6))))[1] == "━━━═══━━"


def test_bytes_are_spelled_and_marked_by_the_character():
    text = "aé日".encode() + b"\xff\x80b"
    assert lines(CopiedText(novelty(text, (1, 5)))) == ["aé日<dcff><dc80>b", " ━━━"]
    # One that is cut is not copied, what is no UTF-8 is a character of its own.
    assert lines(CopiedText(novelty(text, (2, 5)))) == ["aé日<dcff><dc80>b", "  ━━━━━━━━"]


@given(
    st.text(st.characters() | st.sampled_from("lamp 日\t\n\x1b\u202e\u0301"), max_size=150),
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 40)), max_size=6),
    st.sampled_from([9, 60]),
)
@EXAMPLES
def test_nothing_sticks_out_or_is_lost_in_any_colours(text, spans, width):
    longest_at = {
        start: min(length, len(text) - start)
        for start, length in sorted(spans)
        if start < len(text)
    }
    contained = [
        a
        for a in longest_at
        for b in longest_at
        if a > b and a + longest_at[a] <= b + longest_at[b]
    ]  # as copies never are
    found = novelty(
        text, *((start, length) for start, length in longest_at.items() if start not in contained)
    )
    shown = lines(CopiedText(found), width)
    assert all(cell_len(line) <= width for line in shown)
    assert "".join(line for line in shown if not line or set(line) - set(LINES)) == "".join(
        map(visible, text)
    )
    copied = {position for copy in found.copies for position in range(copy.start, copy.stop)}
    marked = "".join(char for char, style in styled(CopiedText(found), width) if style)
    assert marked == "".join(
        visible(character) for position, character in enumerate(text) if position in copied
    )
    num_marks = sum(
        len(line.replace(" ", "")) for line in shown if line and not set(line) - set(LINES)
    )
    assert num_marks == cell_len(marked)
