"""The values of a column of a table or of JSON Lines, and what is said of a table."""

import json

import pytest

from charrnn.errors import DataError
from charrnn.text import columns
from charrnn.text.columns import column_values
from charrnn.text.documents import end_documents
from charrnn.text.text_files import Tally, file_lines


def documents(content, column, label="a.csv", tally=None):
    if isinstance(content, str):
        content = content.encode()
    lines = end_documents(
        file_lines([content]), "column", label=label, tally=tally or Tally(), column=column
    )
    return b"".join(line.content for line in lines).split(b"\0")[:-1]


def test_the_lines_of_a_value_end_with_lf():
    for value in ("one\rtwo\r\n\r", "one\r\ntwo"):
        assert documents(f'text\n"{value}"\n', "text") == [b"one\ntwo"]
        record = json.dumps({"text": value})
        assert documents(record.encode(), "text", "a.jsonl") == [b"one\ntwo"]


def test_the_delimiter_of_a_csv_file_and_an_unusable_one_is_one_error():
    assert documents(b"a\tb,c\n1\t2\n", "b,c", "x.tsv") == [b"2"]
    assert documents(b"a;b\n1;2,5\n", "b") == [b"2,5"]
    assert documents("\ufeffsep=;\r\na,c;b\r\n1;2,5\r\n".encode(), "b") == [b"2,5"]
    assert documents("naïve,b\né,2\n".encode(), "naïve") == ["é".encode()]
    assert documents(b"text\none\n\ntwo\n", "text") == [b"one", b"two"]
    for content, message in (
        (
            b"id,body\n1,a\n",
            "a.csv has no column 'text'; its first line has id, body .between commas.: give one of them",
        ),
        (b"sep=;\nid;text\n1\n", "a.csv, line 3: 1 value, but 'text' is column 2 of 2"),
        (b"text,id,text\n1,2,3\n", "a.csv has 2 columns 'text' in its header: rename all but one"),
        (b'id,text\n1,"open\n2,b\n', "a.csv, line 2, is not CSV"),
        (b'id,text\n1,a\n2,"Stop!" he said\n3,b\n', "a.csv, line 3, is not CSV .*double the marks"),
        (b'id,text\n1,"open\n2,"b"\n', "a.csv, line 2, is not CSV"),
        (b'id,text\n1,"two\nlines",3\n', "a.csv, line 2: 3 values"),
        (
            b"id,text\n1,a\n2\n",
            "a.csv, line 3: 1 value, but 'text' is column 2 of 2 between commas: mend the line",
        ),
        (
            b"text\nHello, world\n",
            "a.csv, line 2: 2 values, but 'text' is column 1 of 1 between commas: mend the line",
        ),
        (b"id,text\n1,a\0b\n", "a.csv, line 2, has a NUL"),
    ):
        with pytest.raises(DataError, match=message):
            documents(content, "text")


@pytest.mark.parametrize(
    "label, content, column",
    [
        ("a.smi", "CCO CHEMBL1\nCC=O  ethyl alcohol\n", "smiles"),
        ("a.smi.gz", "CCO\tCHEMBL1\r\nCC=O\tethyl alcohol\r\n", "1"),
        ("a.SMI", "SMILES\tname\nCCO\tCHEMBL1\nCC=O\n", "smiles"),
        ("a.txt", "smiles name MW\nCCO ethanol 46.07\nCC=O ethanal 44.05\n", "smiles"),
        ("a.csv", "CCO,46.07\nCC=O,44.05\n", "1"),
        ("a.csv", "\n \n1,CCO\n2,CC=O\n", "2"),
        ("a.smi", "CCO ethanol\nCC=O 2,4-not ethanal\n", "1"),
        ("a.jsonl", '\ufeff{"a": "CCO"}\n\n{"b": [1], "a": "CC=O"}\n{"a": null}\n', "a"),
        ("standard input", '{"a": "CCO"}\n{"a": "CC=O"}', "a"),
        ("a.ndjson.gz", '{"a": "CCO"}\r\n{"a": "CC\\u003dO"}', "a"),
    ],
)
def test_a_column_is_found_by_its_name_or_its_position_with_and_without_a_header(
    label, content, column
):
    assert documents(content.encode(), column, label) == [b"CCO", b"CC=O"]


@pytest.mark.parametrize(
    "rows, expected",
    [
        ('1\t"a\n2\tb\n3\tc\n', ['"a', "b", "c"]),
        ('1\t"a\n2\tb"\n', ['"a', 'b"']),
        ('1\t"a"\r\n2\tb"\r\n', ["a", 'b"']),
        ('1\t"Stop!" he said\n2\t6" pipe\n', ['"Stop!" he said', '6" pipe']),
        ('1\t"a ""b"" c"\n2\td', ['a "b" c', "d"]),
    ],
)
def test_a_mark_in_a_table_with_tabs_is_a_character_unless_two_enclose_a_value(rows, expected):
    found = documents(f"id\ttext\n{rows}", "text", "a.tsv")
    assert [document.decode() for document in found] == expected


@pytest.mark.parametrize("rows", ['1\t"a\tb"\n', '1\t"two\nlines"\n'])
def test_a_value_between_tabs_has_neither_tabs_nor_lines(rows):
    with pytest.raises(DataError, match=r"values?, but 'text' is column 2 of 2 between tabs"):
        documents(f"id\ttext\n{rows}", "text", "a.tsv")


def test_by_its_number_a_column_begins_with_the_first_line_and_a_note_says_so():
    rows = "name\tsex\nAnna\tgirl\nBen\tboy\n"
    assert documents(rows, "1", "a.tsv") == [b"name", b"Anna", b"Ben"]
    assert documents(rows, "name", "a.tsv") == [b"Anna", b"Ben"]
    notes = []
    for column in ("1", "name"):
        tally = Tally()
        list(column_values(file_lines([rows.encode()]), column=column, label="a.tsv", tally=tally))
        notes.append(tally.column_note)
    assert notes[0] == (
        "is read by column 1 of 2 between tabs, without the others; the first value is"
        " 'name': `column` with a name leaves a header out"
    )
    assert notes[1] == ""


@pytest.mark.parametrize(
    "content, column, expected",
    [
        ("id|name|sex\n1|Ann|f\n", "name", b"Ann"),
        ("id|name|sex\n", "2", b"name"),
        ("a;b, c\n1;2\n", "b, c", b"2"),
        ("a,b;c\n1,2\n", "b;c", b"2"),
        ("1, Toy Story\n", "2", b"Toy Story"),
        ("Anna\nBen\n", "1", b"Anna"),
    ],
)
def test_the_delimiter_is_that_by_which_the_first_line_has_the_column(content, column, expected):
    assert documents(content, column, "a.txt")[0].strip() == expected


@pytest.mark.parametrize(
    "value, text",
    [("1984", "1984"), ("1e400", "1e400"), ("true", "true"), ('"\\ud83d!"', "\ufffd!")],
)
def test_a_value_of_json_that_is_no_list_is_a_text(value, text):
    tally = Tally()
    record = f'{{"text": null}}\n{{"text": {value}}}\n'
    assert documents(record, "text", "a.jsonl", tally) == [text.encode()]
    assert (tally.changes[columns.NULL], tally.changes[columns.HALVES]) == (
        1,
        int("ud83d" in value),
    )


@pytest.mark.parametrize(
    "value, remedy",
    [
        ('[{"content": "hi"}]', "is a list, not a text: give a field with a text as"),
        ('{"body": "hi"}', "is an object, not a text: give a field with a text as"),
    ],
)
def test_a_list_or_an_object_is_no_text_and_the_error_says_what_to_do(value, remedy):
    with pytest.raises(DataError, match=remedy):
        documents(f'{{"text": {value}}}', "text", "a.jsonl")


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "a.jsonl, line 2, column 2, is not JSON .Expecting property name"),
        ('{"text":"a",}', r"a.jsonl, line 2, column 1[23], is not JSON"),
        ('[{"text":"a"}', "line 2, column 14, is not JSON"),
        ("\ud800", "line 2, is not JSON"),
        ("[1]", r"a.jsonl, line 2, is not an object such as \{\"text"),
        ('{"body": "a", "id": 1}', "line 2, has no 'text'; it has body, id: give one of them as"),
        ('{"text": "a\\u0000"}', "a.jsonl, line 2, has a NUL"),
    ],
)
def test_a_line_of_json_without_the_text_is_an_error_with_its_number(line, message):
    with pytest.raises(DataError, match=message):
        documents(
            f'{{"text": "one"}}\n{line}\n'.encode("utf-8", "surrogatepass"), "text", "a.jsonl"
        )


def test_json_of_several_lines_or_in_a_list_is_read_too():
    whole = '{"n": 1, "rows": [{"text": "a"}, {"text": "b"}]}'
    for content in (
        '[{"text": "a"}, {"text": "b"}]\n',
        '[\n {"text": "a"},\n{"text": "b"}]',
        whole,
    ):
        assert documents(content.encode(), "text", "a.json") == [b"a", b"b"]
    assert documents('{\n "text": "a"\n}\n', "text", "a.json") == [b"a"]
    number = f'{{"text": "a", "n": {"1" * 5000}}}\n'
    assert documents(number.encode(), "text", "a.json") == [b"a"]


def test_a_table_may_begin_with_a_mark_and_lines_end_with_no_lone_cr():
    content = '\ufeff"text",id\n"a, b",1\n'
    assert documents(content.encode(), "text", "a.csv") == [b"a, b"]
    with pytest.raises(DataError, match=r"line 2, is not CSV .*: put LF in the place of each CR"):
        documents(b"id,text\n1,a\rb\n", "text", "a.csv")


def test_repeated_headers_and_empty_values_of_joined_tables_are_left_out_and_counted():
    tally = Tally()
    joined = "name,city\nAnn,Bern\n\ufeffname,city\nBen,\n,Rome\nname,city\nCy,Bern\n"
    assert documents(joined, "name", tally=tally) == [b"Ann", b"Ben", b"Cy"]
    assert (tally.changes[columns.HEADERS], tally.changes[columns.EMPTY]) == (2, 1)
    assert documents("SMILES id\nCC 1\nSMILES id\nCO 2\n", "smiles", "a.smi") == [b"CC", b"CO"]


@pytest.mark.parametrize(
    "content, column, message",
    [
        (
            "CC(C)Cc1,3\n",
            "smiles",
            r"first line has CC\(C\)Cc1, 3 \(between commas\): give .* number from 1 to 2, as",
        ),
        ("a,b\n1,2\n", "3", "number from 1 to 2, as"),
        ("\n\ntext,id\none,2\nthree\n4,5,6\n", "2", "a.csv, line 5: 1 value, but '2' is column 2"),
    ],
)
def test_a_column_that_is_not_there_is_an_error_that_says_what_is(content, column, message):
    with pytest.raises(DataError, match=message):
        documents(content, column)
