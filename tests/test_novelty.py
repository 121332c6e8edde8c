"""What is copied from another text: the same as a naive search finds, whatever repeats, collides or is cut.

N characters of the text, M of the corpus.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TrainedRun
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import SyntheticCorpus

import charrnn
from charrnn.errors import DataError, UsageError
from charrnn.lab import novelty as room
from charrnn.lab.novelty import Copy, Novelty, find_copies, find_documents, window_hashes

EXAMPLES = settings(max_examples=300, deadline=None, derandomize=True)
Span = tuple[int, int, int]


def spans(novelty: Novelty) -> list[Span]:
    return [(copy.start, copy.length, copy.source) for copy in novelty.copies]


def naive_spans(text: str | bytes, corpus: str | bytes, min_length: int) -> list[Span]:
    """(start, length, first place in the corpus) of the matches that no other contains, looked up one by one."""
    extents = []
    for start in range(len(text)):
        stop = start
        while stop < len(text) and text[start : stop + 1] in corpus:  # type: ignore[operator]
            stop += 1
        extents.append((start, stop))
    return [
        (start, stop - start, corpus.find(text[start:stop]))  # type: ignore[arg-type]
        for start, stop in extents
        if stop - start >= min_length
        and not any(a <= start and stop <= b and (a, b) != (start, stop) for a, b in extents)
    ]


@st.composite
def text_and_corpus(draw: st.DrawFn) -> tuple[str, str]:
    """Both of the same few letters, pieces of each repeated and pieces of the corpus in the text."""
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


@given(text_and_corpus(), st.integers(1, 9), st.integers(1, 40), st.sampled_from(["good", "poor", "none"]))
@EXAMPLES
def test_it_finds_what_a_naive_search_finds(
    texts: tuple[str, str], min_length: int, block_chars: int, hashing: str
) -> None:
    text, corpus = texts
    good = window_hashes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_CHARS", block_chars)
        if hashing == "poor":
            patch.setattr(room, "window_hashes", lambda codes, length: good(codes, length) % np.uint64(3))
        elif hashing == "none":
            patch.setattr(room, "window_hashes", lambda codes, length: good(codes, length) * np.uint64(0))
        found = find_copies(text, corpus, min_length=min_length)
    assert spans(found) == naive_spans(text, corpus, min_length)
    assert [copy.source_line for copy in found.copies] == [corpus[: c.source].count("\n") + 1 for c in found.copies]
    covered = {position for copy in found.copies for position in range(copy.start, copy.stop)}
    assert found.num_copied == len(covered)
    assert found.share_copied == (len(covered) / len(text) if text else 0)
    assert (found.text, found.min_length) == (text, min_length)


def test_what_repeats_is_read_once() -> None:
    """Not a clock but the characters read: with each window read by itself they would be thirty times as many."""
    read: list[int] = []

    class Counting(room._SuffixAutomaton):
        def read(self, start: int, codes: room.Codes) -> None:
            read.append(len(codes))
            super().read(start, codes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_SuffixAutomaton", Counting)
        corpus = "a" * 200_000
        assert spans(find_copies("a" * 3_000 + "b", corpus)) == [(0, 3_000, 0)]
        assert 0 < sum(read) <= len(corpus)
        assert len(read) <= 1 + len(corpus) // room.BLOCK_CHARS
    assert len(find_copies("a" * 5_000, "a" * 100).copies) == 4_901


def test_what_cannot_be_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, corpus in (("", "abc"), ("abc", ""), ("a" * 29, "a" * 100), ("a" * 100, "a" * 29)):
        found = find_copies(text, corpus)
        assert (found.copies, found.share_copied, found.longest) == ((), 0, None)
    with pytest.raises(UsageError, match=r"`min_length` is 0; it must be at least 1"):
        find_copies("abc", "abc", min_length=0)
    with pytest.raises(TypeError, match="str with bytes"):
        find_copies("abc", b"abc")
    monkeypatch.setattr(room, "MAX_CHARS", 10)
    find_copies("a" * 10, "abc")
    with pytest.raises(DataError, match=r"has 11 characters; at most 10 are compared\. Give a part"):
        find_copies("a" * 11, "abc")


def test_copies_that_overlap_are_both_told_and_counted_once_in_json_too() -> None:
    found = find_copies("xabcdefgh", "abcdef\n cdefgh", min_length=3)
    copies = Copy(start=1, length=6, source=0, source_line=1), Copy(start=3, length=6, source=8, source_line=2)
    assert found.copies == copies and found.copies[1].stop == 9
    data = found.to_json()
    assert (data["num_copied"], data["share_copied"], data["longest"]) == (8, 8 / 9, data["copies"][0])
    (copy,) = find_copies("Annabel", "Tom\0Two\nlines\0Annabel\0", min_length=5).copies
    assert copy.source_line == 4, "each document is a line"


def test_a_model_compares_with_what_it_learned_from_and_nothing_else(
    lstm: TrainedRun, corpus: SyntheticCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "HELD_OUT_CHARS", 1_000)
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


def test_a_byte_model_compares_bytes(byte_run: TrainedRun) -> None:
    model = charrnn.load(byte_run.path)
    line = "zäb «molü» 語 🙂\n"
    found = model.novelty("é" + line * 2)
    assert found.text == ("é" + line * 2).encode()
    assert spans(found) == [(2, 2 * len(line.encode()), 0)]
    assert model.novelty(found.text) == found
    assert model.novelty("\ud800").text == b"\xed\xa0\x80"


@EXAMPLES
@given(
    st.lists(st.text("ab", max_size=4), max_size=12),
    st.sets(st.text("ab", max_size=5), max_size=6),
    st.integers(1, 9),
    st.booleans(),
)
def test_documents_are_found_however_the_corpus_is_sliced(
    corpus: list[str], asked: set[str], slice_chars: int, as_bytes: bool
) -> None:
    joined = "".join(f"{text}\0" for text in corpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "SLICE_CHARS", slice_chars)
        if as_bytes:
            found = find_documents({text.encode() for text in asked}, joined.encode())
            assert found == {text.encode() for text in asked & set(corpus)}
        else:
            assert find_documents(asked, joined) == asked & set(corpus)
