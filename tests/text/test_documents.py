"""Documents: each ends in END, whatever the blocks of a file are; their order and the parts of a
split.

Tests `text.document_order` and `text.splits`, too.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config.settings import Config
from charrnn.text.document_order import arrange, document_order
from charrnn.text.documents import end_documents
from charrnn.text.id_builder import UNKNOWN_TYPE, stored
from charrnn.text.reading_notes import looks_like_list
from charrnn.text.splits import split_documents
from charrnn.text.text_files import FileRecord, Line
from charrnn.text.vocab import Vocab

TEXTS = st.text(st.sampled_from("ab é\n\r\t "), max_size=60)


def documents(content, kind, column=None):
    file = FileRecord(name="a.csv", label="a.csv")
    lines = end_documents([Line(1, content)], kind, file=file, column=column)
    joined = "".join(line.content for line in lines)
    assert joined == "" or joined.endswith("\0")
    return joined.split("\0")[:-1]


def naive(content, kind):
    """The documents of a whole content, line by line."""
    if kind == "files":
        lines = content.split("\n")
        while lines and not lines[0].strip():
            del lines[0]
        return [text] if (text := "\n".join(lines).rstrip()) else []
    lines = [line.removesuffix("\r") for line in content.split("\n")]
    found = [[]]
    for line in lines:
        if kind == "lines" or not line.strip():
            found.append([])
        if line.strip():
            found[-1].append(line)
    return ["\n".join(group) for group in found if group]


@given(TEXTS, st.sampled_from(["files", "lines", "blank-lines"]))
@settings(max_examples=60)
def test_documents_are_those_of_a_loop(content, kind):
    assert documents(content, kind) == naive(content, kind)


def test_what_a_document_is():
    poems = "\n\n  Indented first\nline two  \n \t\n\n\nsecond poem\n"
    assert documents(poems, "blank-lines") == ["  Indented first\nline two  ", "second poem"]
    assert documents(poems, "lines") == ["  Indented first", "line two  ", "second poem"]
    assert documents(poems, "files") == ["  Indented first\nline two  \n \t\n\n\nsecond poem"]
    # A line that was joined comes in parts.
    parts = [Line(1, "The lamp "), Line(2, "is lit.\n"), Line(3, "It rains.\n"), Line(4, "\n")]
    file = FileRecord(name="a", label="a")
    lines = end_documents(parts, "blank-lines", file=file)
    assert "".join(line.content for line in lines) == "The lamp is lit.\nIt rains.\0"
    assert (
        documents(" \n\n", "files")
        == documents(" \n\n", "lines")
        == documents("", "blank-lines")
        == []
    )


@pytest.mark.parametrize("blank", ["\t \v", "\u00a0", "\u3000\u202f", "\u200b", "\u2060 \ufeff"])
def test_a_line_in_which_nobody_sees_anything_is_blank_in_text_and_in_bytes(blank):
    text = f"one\n{blank}\ntwo\n{blank}"
    assert documents(text, "lines") == ["one", "two"]
    assert documents(text, "blank-lines") == ["one", "two"]
    assert documents(f"{blank}\none{blank}\n{blank}", "files") == ["one"]
    assert documents(f"text\n{blank}\none\n", "column", "text") == ["one"]
    # A byte that is no UTF-8 is seen.
    assert documents("one\n\udca0\n", "lines") == ["one", "\udca0"]


@given(st.lists(st.text(st.sampled_from('ab ,;"\n'), max_size=8), max_size=6))
def test_the_values_of_a_column(values):
    rows = "".join(
        f'{index},"{value.replace(chr(34), chr(34) * 2)}"\n' for index, value in enumerate(values)
    )
    expected = [document for value in values for document in naive(value, "files")]
    assert documents(f"id,text\n{rows}", "column", "text") == expected


WRAPPED = [word * (60 // len(word)) for word in ("lamp", "sea", "house", "gate", "rain")]


@pytest.mark.parametrize(
    "lines, expected",
    [
        ([f"{'Anna' * (number % 4 + 1)}{number}" for number in range(99)], True),
        ([f"CC(=O)N{'C' * (number * 7 % 30)} CHEMBL{number}" for number in range(99)], True),
        (["Anna"] * 40, False),  # too short
        ([f"{'la' * (number % 9 + 1)}, said Anna." for number in range(99)], False),
        (WRAPPED * 20, False),
        ([*WRAPPED[:2], ""] * 40, False),
        (["Anna", "saw a lamp", ""] * 40, False),  # verses
        (["[12/03/24, 9:05] Ana: a lamp", "12:01 Ben: by night", "and more"] * 40, False),
        (["Ana: a lamp", "Ben: by night"] * 40, False),
        (["[22:13] <Ana> a lamp", "[22:14] <Ben> by night"] * 40, False),
        ([f"{number} lamps" for number in range(99)], True),
        ([f"Lamp {number}: of glass" for number in range(99)], True),
    ],
)
def test_a_list_has_short_lines_that_are_not_wrapped_and_end_without_punctuation(lines, expected):
    assert looks_like_list("".join(f"{line}\n" for line in lines)) is expected


def test_the_order_is_a_fixed_shuffle():
    # The docstring states the rule: runs of this version must find their parts again in every
    # later one.
    for seed in (0, 7, 2**32 - 1):
        keys = [splitmix64(seed, number) for number in range(8)]
        assert document_order(8, Config(order_seed=seed)).tolist() == sorted(
            range(8), key=keys.__getitem__
        )
    assert sorted(document_order(1000, Config()).tolist()) == list(range(1000))
    assert document_order(5, Config(order="sorted")).tolist() == [0, 1, 2, 3, 4]


def splitmix64(seed, number):
    mask = 2**64 - 1
    key = seed + (number + 1) * 0x9E3779B97F4A7C15 & mask
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & mask
    key = (key ^ key >> 27) * 0x94D049BB133111EB & mask
    return key ^ key >> 31


@given(
    st.lists(st.lists(st.sampled_from("abcé"), max_size=8), min_size=1, max_size=30),
    st.integers(1, 9),
)
@settings(max_examples=30)
def test_arranging_moves_whole_documents(contents, block):
    vocab = Vocab("char", ("", "\0", "a", "b", "c"))
    parts = ["".join(content) + "\0" for content in contents]
    encoded = stored(encoded_in_blocks("".join(parts), vocab), vocab=vocab, num_bytes=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.text.document_order._BLOCK_DOCUMENTS", block)
        arranged = list(arrange(encoded, Config(documents="lines")))
    ids = np.concatenate([ids for ids, _ in arranged])
    expected = "".join(parts[number] for number in document_order(len(parts), Config()))
    found = [vocab.characters[id] for id in ids]
    # The unknown characters moved with their documents.
    for position, code_point in np.concatenate([unknown for _, unknown in arranged]).tolist():
        assert found[position] == ""
        found[position] = chr(code_point)
    assert "".join(found) == expected


def encoded_in_blocks(text, vocab):
    """Encode a text in blocks of 5 characters, as `IdBuilder.encode` does."""
    for begin in range(0, len(text), 5):
        points = np.array([ord(character) for character in text[begin : begin + 5]])
        ids = vocab.ids_of(points)
        yield (
            ids,
            np.array([(begin + at, points[at]) for at in np.flatnonzero(ids == 0)], UNKNOWN_TYPE),
        )


@given(
    st.lists(st.integers(1, 50), min_size=3, max_size=40),
    st.sampled_from([(0.9, 0.1), (8.0, 1.0, 1.0), (1, 99)]),
)
def test_a_split_consists_of_whole_documents(lengths, fractions):
    ends = np.cumsum(lengths)
    parts = split_documents(ends, fractions, kind="lines")
    assert len(parts) == len(fractions)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == ends[-1]
    assert all(part.stop in ends and part.start < part.stop for part in parts)
    # The first part reaches its share with its last document, unless the others need that document.
    share, total = fractions[0] / sum(fractions), int(ends[-1])
    if len(fractions) == 2 and parts[0].stop < ends[-2]:
        last = lengths[ends.tolist().index(parts[0].stop)]
        assert parts[0].stop - last < share * total + 1e-9
        assert parts[0].stop >= share * total - 1e-9
