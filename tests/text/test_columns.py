"""The values of a column of a table or of JSON Lines, and what is said of a table."""

import json
import re
import shlex
import subprocess
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_texts import read_corpus

from charrnn.errors import DataError
from charrnn.text import columns, json_fields, json_size
from charrnn.text.documents import end_documents
from charrnn.text.json_chats import messages_of_json
from charrnn.text.text_files import FileRecord, Line


def documents(content, column, label="a.csv", file=None):
    file = file or FileRecord(name=label, label=label)
    file.start = content
    lines = end_documents([Line(1, content)], "column", file=file, column=column)
    return "".join(line.content for line in lines).split("\0")[:-1]


def test_the_lines_of_a_value_end_with_lf():
    for value in ("one\rtwo\r\n\r", "one\r\ntwo"):
        assert documents(f'text\n"{value}"\n', "text") == ["one\ntwo"]
        record = json.dumps({"text": value})
        assert documents(record, "text", "a.jsonl") == ["one\ntwo"]


def test_the_delimiter_of_a_csv_file_and_an_unusable_one_is_one_error():
    assert documents("a\tb,c\n1\t2\n", "b,c", "x.tsv") == ["2"]
    assert documents("a;b\n1;2,5\n", "b") == ["2,5"]
    assert documents("naïve,b\né,2\n", "naïve") == ["é"]
    assert documents("text\none\n\ntwo\n", "text") == ["one", "two"]
    for content, message in (
        (
            "id,body\n1,a\n",
            "a.csv has no column 'text'; its first line has id, body .between commas.: give one of them",
        ),
        ("text,id,text\n1,2,3\n", "a.csv has 2 columns 'text' .* the number of one of them .1, 3."),
        ('id,text\n1,"open\n2,b\n', "a.csv, line 2, is not CSV"),
        ('id,text\n1,a\n2,"Stop!" he said\n3,b\n', "a.csv, line 3, is not CSV .*double the marks"),
        ('id,text\n1,"open\n2,"b"\n', "a.csv, line 2, is not CSV"),
        ('id,text\n1,"two\nlines",3\n', "a.csv, line 2: 3 values"),
        (
            "id,text\n1,a\n2\n",
            "a.csv, line 3: 1 value, but 'text' is column 2 of 2 between commas: mend the line",
        ),
        (
            "text\nHello, world\n",
            "a.csv, line 2: 2 values, but 'text' is column 1 of 1 between commas: mend the line",
        ),
        ("id,text\n1,a\0b\n", "a.csv, line 2: there is a NUL .*\nremove it"),
    ):
        with pytest.raises(DataError, match=message):
            documents(content, "text")


def test_the_command_for_an_escaped_nul_takes_it_out_of_json(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"text": "one\0two"}), "utf-8")
    with pytest.raises(DataError, match="there is a NUL") as raised:
        documents(file.read_text("utf-8"), "text", "a.jsonl")
    _, _, command = str(raised.value).partition("such as by: ")
    command = command.replace("FILE", "a.jsonl").replace("NEW", "new.jsonl")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert documents((tmp_path / "new.jsonl").read_text("utf-8"), "text", "a.jsonl") == ["onetwo"]


@pytest.mark.parametrize(
    "label, content, column",
    [
        ("a.smi", "CCO CHEMBL1\nCC=O  ethyl alcohol\n", "smiles"),
        ("a.smi.gz", "CCO\tCHEMBL1\r\nCC=O\tethyl alcohol\r\n", "1"),
        ("a.SMI", "SMILES\tname\nCCO\tCHEMBL1\nCC=O\n", "smiles"),
        ("a.txt", "smiles name MW\nCCO ethanol 46.07\nCC=O ethanal 44.05\n", "smiles"),
        ("a.csv", "CCO,46.07\nCC=O,44.05\n", "1"),
        ("a.csv", "\n \n1,CCO\n2,CC=O\n", "2"),
        ("a.csv", "sep=;\nsmiles;MW\nCCO;46,07\nCC=O;44,05\n", "smiles"),
        ("a.smi", "CCO ethanol\nCC=O 2,4-not ethanal\n", "1"),
        ("a.jsonl", '\ufeff{"a": "CCO"}\n\n{"b": [1], "a": "CC=O"}\n{"a": null}\n', "a"),
        ("standard input", '{"a": "CCO"}\n{"a": "CC=O"}', "a"),
        ("a.ndjson.gz", '{"a": "CCO"}\r\n{"a": "CC\\u003dO"}', "a"),
    ],
)
def test_a_column_is_found_by_its_name_or_its_position_with_and_without_a_header(
    label, content, column
):
    assert documents(content, column, label) == ["CCO", "CC=O"]


@pytest.mark.parametrize(
    "rows, expected",
    [
        ('1\t"a\n2\tb\n3\tc\n', ['"a', "b", "c"]),
        ('1\t"a\n2\tb"\n', ['"a', 'b"']),
        ('1\t"a"\r\n2\tb"\r\n', ['"a"', 'b"']),
        ('1\t"Stop!" he said\n2\t6" pipe\n', ['"Stop!" he said', '6" pipe']),
    ],
)
def test_a_mark_in_a_table_with_tabs_is_a_character(rows, expected):
    found = documents(f"id\ttext\n{rows}", "text", "a.tsv")
    assert found == expected


@pytest.mark.parametrize("rows", ['1\t"a\tb"\n', '1\t"two\nlines"\n'])
def test_a_value_between_tabs_has_neither_tabs_nor_lines(rows):
    with pytest.raises(DataError, match=r"values?, but 'text' is column 2 of 2 between tabs"):
        documents(f"id\ttext\n{rows}", "text", "a.tsv")


@pytest.mark.parametrize(
    "content, column, expected",
    [
        ("id|name|sex\n1|Ann|f\n", "name", "Ann"),
        ("id|name|sex\n", "2", "name"),
        ("a;b, c\n1;2\n", "b, c", "2"),
        ("a,b;c\n1,2\n", "b;c", "2"),
        ("1, Toy Story\n", "2", "Toy Story"),
        ('"a\nb",c\n1,2\n', "c", "2"),
        ("\ufeffid;text\n1;a, b\n", "text", "a, b"),
        ("Anna\nBen\n", "1", "Anna"),
    ],
)
def test_the_delimiter_is_that_by_which_the_first_line_has_the_column(content, column, expected):
    assert documents(content, column, "a.txt")[0].strip() == expected


@pytest.mark.parametrize(
    "value, text",
    [("1984", "1984"), ("1e400", "1e400"), ("true", "true"), ('"x"', "x")],
)
def test_a_value_of_json_that_is_no_list_is_a_text(value, text):
    file = FileRecord(name="a.jsonl", label="a.jsonl")
    record = f'{{"text": null}}\n{{"text": {value}}}\n'
    assert documents(record, "text", file=file) == [text]
    assert file.changes[json_fields.NULL] == 1


def test_a_note_names_the_columns():
    start = "\ufeffsep=;\r\nid;text\r\n1;a, b\r\n"
    assert "Its first line has id, text:" in columns.describe_columns(
        start, label="a.csv", source="a.csv"
    )


@pytest.mark.parametrize(
    "name, content, column",
    [
        ("nest.json", [{"id": 1, "name": {"english": "Lamp", "french": "Lampe"}}], "name.french"),
        ("verses.json", [{"text": "I", "verses": [{"text": "It rains."}]}] * 9, "verses.text"),
        ("lists.json", [{"id": "a", "chapters": [["It rains."], ["It does."]]}], "chapters"),
        ("rows.json", {"about": "b", "rows": [{"a text": "It rains."}]}, "'rows.a text'"),
        ("people.csv", "first name,story\nAnn Bee,Born in Rome\n", "story"),
        ("births.csv", "day,state,num\n2026-12-01,Ohio,91405\n", "state"),
        ("twice.csv", "a;text;text\n1;b;It rains\n", "3"),
        ("pairs.txt", "Go.\tVa donc !\tby Ann\n" * 30, "1"),
        (
            "tweet.js",
            'window.YTD.tweet.part0 = [\n{"tweet": {"full_text": "Rain"}}]',
            "tweet.full_text",
        ),
    ],
)
def test_a_note_names_a_column_by_a_command_that_works(name, content, column, command, here):
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content))
    [note] = [
        line for line in command(f"train {name} --show-text").err.splitlines() if name in line
    ]
    assert f" {name} --column {column} reads" in note
    typed = re.search("charrnn (train .*?) reads", note)[1]
    ran = command("", *shlex.split(typed), "--show-text")
    assert ran.code == 0 and ran.out


def test_a_note_of_a_long_object_says_that_each_text_has_a_name():
    verses = json.dumps({f"Genesis 1:{number}": "It rains." for number in range(90)})
    described = columns.describe_columns(verses[:999], label="a.json", source="a.json")
    assert "jq -r '.. | strings' FILE" in described
    lists = json.dumps({f"word{number}": ["It rains."] for number in range(90)})
    described = columns.describe_columns(lists[:999], label="a.json", source="a.json")
    assert "jq -r '.. | strings' FILE" in described
    rooms = {f"room{number}": {f"sign{number}": "It rains."} for number in range(9)}
    nested = json.dumps({"house": rooms, **{f"rain{number}": "It does." for number in range(20)}})
    described = columns.describe_columns(nested, label="a.json", source="a.json")
    assert "jq -r '.. | strings' FILE" in described


@pytest.mark.parametrize(
    "content, column",
    [
        ({f"verse{n}": {"text": {"a": f"It rains {n}."}} for n in range(20)}, "text.a"),
        ({"about": "b", "data": {f"w{n}": [f"It rains {n}."] for n in range(20)}}, "data"),
        ({"data": {f"w{n}": [{"a": f"It rains {n}."}] for n in range(20)}}, "data.a"),
    ],
)
def test_an_object_with_a_record_after_each_key_is_read_as_a_list(content, column):
    expected = [f"It rains {n}." for n in range(20)]
    assert documents(json.dumps(content), column, "a.json") == expected
    described = columns.describe_columns(json.dumps(content), label="a.json", source="a.json")
    assert f" `column={column}` reads" in described
    with pytest.raises(DataError, match=rf"has {column}|has about, {column}"):
        documents(json.dumps(content), "story", "a.json")


def test_a_key_is_a_name_before_it_stands_for_a_list():
    texts = {f"verse{n}": {"text": f"It rains {n}."} for n in range(20)}
    assert documents(json.dumps(texts), "verse3.text", "a.json") == ["It rains 3."]
    # Of a few inner objects, none is a record.
    few = {f"verse{n}": {"text": f"It rains {n}."} for n in range(3)}
    with pytest.raises(DataError, match="has no field 'text'"):
        documents(json.dumps(few), "text", "a.json")


@pytest.mark.parametrize(
    "content, column, expected",
    [
        ({"a.b": "whole", "a": {"b": "parted"}}, "a.b", ["whole"]),
        ({"a": {"b.c": "one"}}, "a.b.c", ["one"]),
        ({"a": {"b": "one"}}, "a.b", ["one"]),
        ({"a": {"b": [["one", 2], [], ["three", True]]}}, "a.b", ["one", "2", "three", "true"]),
        ({"a": [{"b": "one"}, [{"b": "two"}]]}, "a.b", ["one", "two"]),
        ({"rows": [{"a": {"b": "one"}}, {"a": {"b": "two"}}]}, "a.b", ["one", "two"]),
        ({"rows": [{"text": "one"}], "text": {"x": 1}}, "rows.text", ["one"]),
    ],
)
def test_a_dotted_name_is_a_field_of_inner_objects_and_lists(content, column, expected):
    assert documents(json.dumps(content, indent=1), column, "a.json") == expected
    lines = json.dumps(content) + "\n"
    assert documents(lines, column, "a.jsonl") == expected


def test_what_has_no_text_in_the_field_is_left_out_and_counted():
    file = FileRecord(name="a.jsonl", label="a.jsonl")
    records = [{"a": {"b": "one"}}, {"a": {}}, {"x": 1}, {"a": {"b": {"c": "d"}}}, {"a": {"b": []}}]
    records += [{"a": None}, {"a": {"b": ["two", {"c": "d"}, None]}}]
    text = "".join(json.dumps(record) + "\n" for record in records)
    assert documents(text, "a.b", file=file) == ["one", "two"]
    changes = (json_fields.MISSING, json_fields.NO_TEXT, json_fields.EMPTY_LIST, json_fields.NULL)
    assert [file.changes[change] for change in changes] == [3, 2, 1, 1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_empty_values_are_counted(name):
    file = FileRecord(name=name, label=name)
    values = ["one", "", " \u200b", "two"]
    text = "".join(json.dumps({"a": value}) + "\n" for value in values)
    if name == "a.csv":
        text = "id,a\n" + "".join(f"1,{value}\n" for value in values)
    assert documents(text, "a", file=file) == ["one", "two"]
    assert file.changes[columns.EMPTY] == 2


def test_of_several_lists_with_the_field_the_first_is_read_and_the_others_are_counted():
    file = FileRecord(name="a.json", label="a.json")
    lists = json.dumps({"train": [{"text": "one"}], "test": [{"text": "two"}]})
    assert documents(lists, "text", file=file) == ["one"]
    assert file.changes[json_fields.OTHER_LISTS] == 1
    assert documents(lists, "test.text", file=file) == ["two"]


@pytest.mark.parametrize(
    "column, message",
    [
        ("english", "has no field 'english'; it has id, name.english, name.french: give one"),
        ("name", "has no text in the field 'name'; it has name.english, name.french: give one"),
    ],
)
def test_an_error_lists_the_fields_as_one_types_them(column, message):
    text = json.dumps([{"id": "1", "name": {"english": "Lamp", "french": "Lampe"}}])
    with pytest.raises(DataError, match=message):
        documents(text, column, "a.json")


@pytest.mark.parametrize(
    "content, column, expected",
    [
        ("a,b;c d\n1,2;3 4\n5,6;7\n", "a,b", ["1,2", "5,6"]),
        ("id;text\n" + "1;a, b, c\n" * 9, "text", 9 * ["a, b, c"]),
        ("a;b, c\n" + "1;2, 3\n" * 9, "b, c", 9 * ["2, 3"]),
        ("full text\nAnn Bee\n", "full text", ["Ann Bee"]),
    ],
)
def test_the_delimiter_parts_the_first_line_and_the_others_alike(content, column, expected):
    assert documents(content, column) == expected


@pytest.mark.parametrize("column", ["name", "first", "last"])
def test_a_part_of_a_name_is_no_column(column):
    content = "first name,last name\n" + "Ann Bee,Cee Dee\n" * 9
    with pytest.raises(
        DataError, match=r"its first line has first name, last name \(between commas\)"
    ):
        documents(content, column)


@pytest.mark.usefixtures("here")
def test_dna_is_not_called_base64():
    Path("a.txt").write_text("acgt" * 500)
    assert read_corpus(["a.txt"], is_for_training=False).notes == ()


def test_json_of_several_lines_or_in_a_list_is_read_too():
    whole = '{"n": 1, "rows": [{"text": "a"}, {"text": "b"}], "meta": [{"n": 1}]}'
    for content in (
        '[{"text": "a"}, {"text": "b"}]\n',
        '[\n {"text": "a"},\n{"text": "b"}]',
        whole,
    ):
        assert documents(content, "text", "a.json") == ["a", "b"]
    assert documents('{\n "text": "a"\n}\n', "text", "a.json") == ["a"]
    with pytest.raises(DataError, match="no object"):
        documents('[\n"a",\n"b"]', "text", "a.json")
    number = f'{{"text": "a", "n": {"1" * 5000}}}\n'
    assert documents(number, "text", "a.json") == ["a"]


def test_repeated_headers_and_empty_values_of_joined_tables_are_left_out_and_counted():
    file = FileRecord(name="a.csv", label="a.csv")
    joined = "name,city\nAnn,Bern\n\ufeffname,city\nBen,\n,Rome\nname,city\nCy,Bern\n"
    assert documents(joined, "name", file=file) == ["Ann", "Ben", "Cy"]
    assert (file.changes[columns.HEADERS], file.changes[columns.EMPTY]) == (2, 1)
    assert documents("SMILES id\nCC 1\nSMILES id\nCO 2\n", "smiles", "a.smi") == ["CC", "CO"]


def test_a_damaged_line_of_json_is_named():
    records = '{"text": "a"}\n{"text": "b\n{"text": "c"}\n'
    with pytest.raises(DataError, match=r"a\.jsonl, line 2, is not JSON"):
        documents(records, "text", "a.jsonl")


@pytest.mark.usefixtures("here")
def test_a_backslash_before_a_quotation_mark_is_noted_with_a_command():
    rows = "".join(f'{number},"Ann \\""Cup\\"" {number}"\n' for number in range(9))
    Path("a.csv").write_text(f"id,name\n{rows}")
    corpus = read_corpus(["a.csv"], column="name", documents="column", order="sorted")
    assert str(corpus.content).startswith('Ann \\"Cup\\" 0\0')
    [note] = [note for note in corpus.notes if "backslash" in note]
    assert note.startswith("9 values of a.csv have a backslash")
    command = re.search(r"sed .* > \S+", note)[0].replace("FILE", "a.csv")
    subprocess.run(command, shell=True, check=True)
    mended = read_corpus(["mended.csv"], column="name", documents="column", order="sorted")
    assert str(mended.content).startswith('Ann "Cup" 0\0')


LETTERS = 'aé語\U0001f642\ud800\0\x7f"\\/\n\r\u2028\ufeff ,:[]{}'
"""What JSON escapes, and what may part its values or end a line."""
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(LETTERS, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(LETTERS, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(JSON_VALUES, max_size=5), st.sampled_from([None, 0, 1]))
def test_the_items_of_a_list_are_those_of_the_whole(values, indent):
    written = json.dumps(values, indent=indent)
    items = list(json_fields._items_in(f"\ufeff {written} \n", "a.json"))
    assert items == json.loads(written, parse_int=str)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("between", ["", "\n", "\r\n\r\n"])
def test_objects_one_after_the_other_are_read_however_they_are_written(indent, between):
    """As jq writes them, without -c."""
    written = between.join(json.dumps({"text": text}, indent=indent) for text in "abc")
    assert documents(written, "text", label="a.json") == ["a", "b", "c"]


def test_the_line_of_a_damaged_object_among_several_is_named():
    content = '{\n"text": "one"\n}\n{\n"text": two\n}\n'
    with pytest.raises(DataError, match=r"a\.json, line 5, is not JSON"):
        documents(content, "text", label="a.json")


@pytest.mark.parametrize("wrong", ["[1 2]", "[1,]", "[1", "[", "[1]2", "[1],", "[,1]"])
def test_a_list_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError):
        list(json_fields._items_in(wrong, "a.json"))


def test_the_line_of_a_damaged_object_in_a_list_is_named():
    content = '[{"text": "one"},\n{"text": "two"}\n{"text": "three"}]'
    with pytest.raises(DataError, match=r"a\.json, line 3, is not JSON .*mend or remove the line"):
        documents(content, "text", label="a.json")


HOSTILE_JSON = {
    "objects": '{"text": [' + "{}," * 9_000 + '"a"]}',
    "lists": '{"text": [' + "[]," * 9_000 + '"a"]}',
    "texts": '{"text": [' + '"",' * 9_000 + '"a"]}',
    "a list": "[" + "{}," * 9_000 + '{"text": "a"}]',
}
"""Few characters that take much memory."""


@pytest.mark.parametrize("kind", HOSTILE_JSON)
def test_json_that_would_fill_the_memory_is_refused(kind, monkeypatch):
    monkeypatch.setattr(json_size, "MAX_DECODED", 100_000)
    with pytest.raises(DataError, match=r"a\.json has JSON of so many brackets .*jq -r"):
        documents(HOSTILE_JSON[kind], "text", label="a.json")
    in_a_chat = f'{{"messages": [{HOSTILE_JSON[kind]}], "author": "Ana", "date": "2026"}}'
    assert messages_of_json(in_a_chat, Counter()) is None


@pytest.mark.slow
def test_of_a_long_list_one_object_is_in_memory():
    """Its texts are kept, the other fields are not."""
    peaks = []
    for num in (2_000, 4_000):
        objects = [{"text": "a", "more": [number] * 50} for number in range(num)]
        lines = [Line(1, json.dumps(objects))]
        file = FileRecord(name="a.json", label="a.json")
        tracemalloc.start()
        for _ in json_fields.json_values(lines, column="text", file=file):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The text itself is copied once.
    assert peaks[1] - peaks[0] < 2.5 * len(json.dumps(objects)) / 2
