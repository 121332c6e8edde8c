"""Documents: each ends in END, whatever the blocks of a file are; their order and the parts of a
split."""

import json
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import DataError
from charrnn.text.documents import (
    Documents,
    describe_start,
    document_order,
    end_documents,
    listed_columns,
    looks_like_list,
    split_documents,
)
from charrnn.text.id_builder import UNKNOWN_TYPE
from charrnn.text.sources import SHUFFLED, SORTED, Order
from charrnn.text.text_files import file_lines
from charrnn.text.vocab import Vocab

TEXTS = st.text(st.sampled_from("ab é\n\r\t "), max_size=60).map(str.encode)


def blocks_of(content, sizes):
    """Cut the content into blocks of these sizes, again and again."""
    at = index = 0
    while at < len(content):
        yield content[at : at + sizes[index % len(sizes)]]
        at += sizes[index % len(sizes)]
        index += 1


def ended(blocks, kind, column=None, label="a.csv"):
    """The text of the documents of a file in blocks."""
    lines = end_documents(file_lines(blocks), kind, label=label, column=column)
    return b"".join(line for _, line in lines)


def documents(content, kind, column=None, label="a.csv"):
    joined = ended([content], kind, column=column, label=label)
    assert joined == b"" or joined.endswith(b"\0")
    return joined.split(b"\0")[:-1]


def naive(content, kind):
    """The documents of a whole content, line by line."""
    if kind == "files":
        lines = content.split(b"\n")
        while lines and not lines[0].strip():
            del lines[0]
        return [text] if (text := b"\n".join(lines).rstrip()) else []
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    found = [[]]
    for line in lines:
        if kind == "lines" or not line.strip():
            found.append([])
        if line.strip():
            found[-1].append(line)
    return [b"\n".join(group) for group in found if group]


@given(
    TEXTS,
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.sampled_from(["files", "lines", "blank-lines"]),
)
@settings(max_examples=60)
def test_documents_are_the_same_whatever_the_blocks_of_the_file(content, sizes, kind):
    in_blocks = ended(blocks_of(content, sizes), kind)
    assert in_blocks == b"".join(document + b"\0" for document in naive(content, kind))


def test_what_a_document_is():
    poems = b"\n\n  Indented first\nline two  \n \t\n\n\nsecond poem\n"
    assert documents(poems, "blank-lines") == [b"  Indented first\nline two  ", b"second poem"]
    assert documents(poems, "lines") == [b"  Indented first", b"line two  ", b"second poem"]
    assert documents(poems, "files") == [b"  Indented first\nline two  \n \t\n\n\nsecond poem"]
    assert (
        documents(b" \n\n", "files")
        == documents(b" \n\n", "lines")
        == documents(b"", "blank-lines")
        == []
    )


@pytest.mark.parametrize("blank", ["\t \v", "\u00a0", "\u3000\u202f", "\u200b", "\u2060 \ufeff"])
def test_a_line_in_which_nobody_sees_anything_is_blank_in_text_and_in_bytes(blank):
    text = f"one\n{blank}\ntwo\n{blank}"
    assert documents(text.encode(), "lines") == [b"one", b"two"]
    assert documents(text.encode(), "blank-lines") == [b"one", b"two"]
    assert documents(f"{blank}\none{blank}\n{blank}".encode(), "files") == [b"one"]
    assert documents(f"text\n{blank}\none\n".encode(), "column", "text") == [b"one"]
    # A byte that is no UTF-8 is seen.
    assert documents(b"one\n\xa0\n", "lines") == [b"one", b"\xa0"]


def test_the_lines_of_a_value_end_with_lf():
    for value in ("one\rtwo\r\n\r", "one\r\ntwo"):
        assert documents(f'text\n"{value}"\n'.encode(), "column", "text") == [b"one\ntwo"]
        record = json.dumps({"text": value})
        assert documents(record.encode(), "column", "text", "a.jsonl") == [b"one\ntwo"]


@given(st.lists(st.text(st.sampled_from('ab ,;"\n'), max_size=8), max_size=6), st.integers(1, 9))
def test_the_values_of_a_column_whatever_the_blocks(values, size):
    rows = "".join(
        f'{index},"{value.replace(chr(34), chr(34) * 2)}"\n' for index, value in enumerate(values)
    )
    content = f"id,text\n{rows}".encode()
    got = ended(blocks_of(content, [size]), "column", column="text")
    assert got == b"".join(
        document + b"\0" for value in values for document in naive(value.encode(), "files")
    )


def test_the_delimiter_of_a_csv_file_and_an_unusable_one_is_one_error():
    assert documents(b"a\tb,c\n1\t2\n", "column", "b,c", "x.tsv") == [b"2"]
    assert documents(b"a;b\n1;2,5\n", "column", "b") == [b"2,5"]
    assert documents("\ufeffsep=;\r\na,c;b\r\n1;2,5\r\n".encode(), "column", "b") == [b"2,5"]
    assert documents("naïve,b\né,2\n".encode(), "column", "naïve") == ["é".encode()]
    assert documents(b"text\none\n\ntwo\n", "column", "text") == [b"one", b"two"]
    for content, message in (
        (
            b"id,body\n1,a\n",
            "a.csv has no column 'text'; its first line has id, body: give one of them",
        ),
        (b"sep=;\nid;text\n1\n", "a.csv, line 3: 1 value, but 'text' is column 2 of 2"),
        (b"text,id,text\n1,2,3\n", "a.csv has 2 columns 'text' in its header: rename all but one"),
        (b'id,text\n1,"open\n2,b\n', "a.csv, line 2, is not CSV"),
        (b'id,text\n1,a\n2,"Stop!" he said\n3,b\n', "a.csv, line 3, is not CSV .*double the marks"),
        (b'id,text\n1,"open\n2,"b"\n', "a.csv, line 2, is not CSV"),
        (b'id,text\n1,"two\nlines",3\n', "a.csv, line 2: 3 values"),
        (
            b"id,text\n1,a\n2\n",
            "a.csv, line 3: 1 value, but 'text' is column 2 of 2: mend the line",
        ),
        (
            b"text\nHello, world\n",
            "a.csv, line 2: 2 values, but 'text' is column 1 of 1: mend the line",
        ),
        (b"id,text\n1,a\0b\n", "a.csv, line 2, has a NUL"),
    ):
        with pytest.raises(DataError, match=message):
            documents(content, "column", "text")


@pytest.mark.parametrize(
    "label, content, column",
    [
        ("a.smi", "CCO CHEMBL1\nCC=O  ethyl alcohol\n", "smiles"),
        ("a.smi.gz", "CCO\tCHEMBL1\r\nCC=O\tethyl alcohol\r\n", "1"),
        ("a.SMI", "SMILES\tname\nCCO\tCHEMBL1\nCC=O\n", "smiles"),
        ("a.txt", "smiles name MW\nCCO ethanol 46.07\nCC=O ethanal 44.05\n", "smiles"),
        ("a.txt", "smiles name MW\nCCO ethanol 46.07\nCC=O ethanal 44.05\n", "1"),
        ("a.txt", "CCO ethanol\nCC=O 2,4-not ethanal\n", "1"),
        ("a.csv", "CCO,46.07\nCC=O,44.05\n", "1"),
        ("a.csv", "\n \nid,text\n1,CCO\n2,CC=O\n", "2"),
        ("a.tsv", "name\tmolecule\none\tCCO\ntwo\tCC=O\n", "2"),
        ("a.jsonl", '\ufeff{"a": "CCO"}\n\n{"b": [1], "a": "CC=O"}\n{"a": null}\n', "a"),
        ("standard input", '{"a": "CCO"}\n{"a": "CC=O"}', "a"),
        ("a.ndjson.gz", '{"a": "CCO"}\r\n{"a": "CC\\u003dO"}', "a"),
    ],
)
def test_a_column_is_found_by_its_name_or_its_position_with_and_without_a_header(
    label, content, column
):
    assert documents(content.encode(), "column", column, label) == [b"CCO", b"CC=O"]


@pytest.mark.parametrize(
    "rows, expected",
    [
        ('1\t"a\n2\tb\n3\tc\n', ['"a', "b", "c"]),
        ('1\t"a\n2\tb"\n', ['"a', 'b"']),
        ('1\t"a"\r\n2\tb"\r\n', ["a", 'b"']),
        ('1\t"Stop!" he said\n2\t6" pipe\n', ['"Stop!" he said', '6" pipe']),
        ('1\t"a ""b"" c"\n2\td', ['a "b" c', "d"]),
        ('1\t"a\tb"\n2\tc\n', ["a\tb", "c"]),
        ('1\t"two\n\n lines"\n2\tb\n', ["two\n\n lines", "b"]),
        ('"x\ny"\ta\n2\t"b\n\n3\tc\n', ["a", '"b', "c"]),
    ],
)
def test_a_mark_in_a_table_with_tabs_is_a_character_unless_two_enclose_a_value(rows, expected):
    found = documents(f"id\ttext\n{rows}".encode(), "column", "text", "a.tsv")
    assert [document.decode() for document in found] == expected


@pytest.mark.parametrize(
    "rows, has_header",
    [
        ("eco\tname\tpgn\nA00\tAmar\t1. Nh3\nA00\tAmar\t1. Nh3 d5\n", True),
        ("Text\tgenre\nAll is well\tnovel\nAnna\tnovel\n", True),
        ("Anna\tgirl\nBen\tboy\nCarl\tboy\n", False),
        ("1\tAnna\n2\tBen\n", False),
        ("one\t20\nthree\t40\n", False),
        ("CCO\tethanol\nCC=O\tethanal\n", False),
        ("a lamp, lit\tby night\nthe rain.\tby day\n", False),
    ],
)
def test_a_header_is_recognised_and_what_was_decided_is_said(rows, has_header):
    first = rows.split("\n")[0].split("\t")[1]
    assert (documents(rows.encode(), "column", "2", "a.tsv")[0].decode() != first) is has_header
    said = describe_start([rows.encode()], column="2", label="a.tsv")
    assert said.startswith("its header is" if has_header else "it has no header")


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "a.jsonl, line 2, is not JSON"),
        ("[1]", r"a.jsonl, line 2, is not an object such as \{\"text.* jq -c '.\[\]' FILE"),
        ('{"body": "a", "id": 1}', "line 2, has no 'text'; it has body, id: give one of them as"),
        ('{"text": 1}', "a.jsonl, line 2: 'text' is not a text"),
        ('{"text": "\\ud800"}', "a.jsonl, line 2: 'text' is not a text"),
        ('{"text": "a\\u0000"}', "a.jsonl, line 2, has a NUL"),
    ],
)
def test_a_line_of_json_without_the_text_is_an_error_with_its_number(line, message):
    with pytest.raises(DataError, match=message):
        documents(f'{{"text": "one"}}\n{line}\n'.encode(), "column", "text", "a.jsonl")
    assert listed_columns([b'\n{"a": 1, "b": ""}\n'], "a.jsonl") == "a, b"
    assert listed_columns([], "a.jsonl") == ""
    assert describe_start([b"{}"], column="text", label="a.jsonl") == ""


def test_json_of_several_lines_or_in_a_list_is_refused_with_the_command_that_mends_it():
    for content in ('{\n "text": "a"\n}\n', '[{"text": "a"}]\n', '[\n {"text": "a"}]\n'):
        with pytest.raises(DataError, match="jq -c"):
            documents(content.encode(), "column", "text", "a.json")
    number = f'{{"text": "a", "n": {"1" * 5000}}}\n'
    assert documents(number.encode(), "column", "text", "a.json") == [b"a"]


def test_a_table_may_begin_with_a_mark_and_lines_end_with_no_lone_cr():
    content = '\ufeff"text",id\n"a, b",1\n'
    assert documents(content.encode(), "column", "text", "a.csv") == [b"a, b"]
    with pytest.raises(DataError, match=r"line 2, is not CSV .*: put LF in the place of each CR"):
        documents(b"id,text\n1,a\rb\n", "column", "text", "a.csv")


@pytest.mark.parametrize(
    "content, column, message",
    [
        ("CC(C)Cc1,3\n", "smiles", r"first line has CC\(C\)Cc1, 3: give .* number from 1 to 2, as"),
        ("a,b\n1,2\n", "3", "number from 1 to 2, as"),
        ("\n \n", "text", "has no document that is not empty"),
        ("\n\ntext,id\none,2\nthree\n4,5,6\n", "2", "a.csv, line 5: 1 value, but '2' is column 2"),
    ],
)
def test_a_column_that_is_not_there_is_an_error_that_says_what_is(content, column, message):
    with pytest.raises(DataError, match=message):
        list(Documents("column", column).read(file_lines([content.encode()]), "a.csv"))


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
    ],
)
def test_a_list_has_short_lines_that_are_not_wrapped_and_end_without_punctuation(lines, expected):
    assert looks_like_list("".join(f"{line}\n" for line in lines).encode()) is expected


def test_the_order_is_a_fixed_shuffle():
    # docs/look-up/formats.md states the rule: runs of this version must find their parts again in every
    # later one.
    for seed in (0, 7, 2**32 - 1):
        keys = [splitmix64(seed, number) for number in range(8)]
        assert document_order(8, Order("shuffled", seed)).tolist() == sorted(
            range(8), key=keys.__getitem__
        )
    assert sorted(document_order(1000, SHUFFLED).tolist()) == list(range(1000))
    assert document_order(5, SORTED).tolist() == [0, 1, 2, 3, 4]


def splitmix64(seed, number):
    mask = 2**64 - 1
    key = seed + (number + 1) * 0x9E3779B97F4A7C15 & mask
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & mask
    key = (key ^ key >> 27) * 0x94D049BB133111EB & mask
    return key ^ key >> 31


@given(
    st.lists(st.lists(st.sampled_from("abcé"), max_size=8), min_size=1, max_size=30),
    st.integers(3, 20),
    st.booleans(),
)
@settings(max_examples=30)
def test_arranging_moves_whole_documents(contents, block, on_disk):
    vocab = Vocab("char", ("", "\0", "a", "b", "c"))
    parts = ["".join(content) + "\0" for content in contents]
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as file:
        patch.setattr("charrnn.text.documents._BLOCK_IDS", block)
        scratch = file if on_disk else None
        arranged = list(
            Documents("lines", order=SHUFFLED).arrange(
                encoded_in_blocks(text, vocab), vocab, scratch
            )
        )
        ids = np.concatenate([ids for ids, _ in arranged])
    assert all(len(some) <= max(block, *map(len, parts)) for some, _ in arranged)
    expected = "".join(parts[number] for number in document_order(len(parts), SHUFFLED))
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


def test_fewer_documents_than_parts():
    with pytest.raises(
        DataError, match=r"only 1 document .*too few for a training and a validation part"
    ):
        split_documents(np.array([40]), (0.9, 0.1), kind="files")
