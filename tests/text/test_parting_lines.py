"""Records between lines of one text, such as % in a file of sayings: parted, and found in a
text."""

from pathlib import Path

import pytest
from built_runs import build_chain
from hypothesis import given
from hypothesis import strategies as st
from read_texts import read_corpus

import charrnn
from charrnn.errors import DataError
from charrnn.text.given_text import read_text_file, whole_text
from charrnn.text.parting_lines import describe_parting, name_repeated, repeated_lines

pytestmark = pytest.mark.usefixtures("here")

SAYINGS = [
    f"A saying, number {number} of the wise\nthat goes on.\n\t-- Ann" for number in range(30)
]
MARKS = {
    "%": "".join(f"{saying}\n%\n" for saying in SAYINGS),
    "==========": "".join(f"{saying}\r\n==========\r\n" for saying in SAYINGS),
    "<|endoftext|>": "\n<|endoftext|>\n".join(SAYINGS) + "\n",
}
"""The same records in a text, by the line that parts them."""


def documents(text, mark, **options):
    Path("a.txt").write_bytes(text.encode())
    settings = {"documents": f"line:{mark}", "order": "sorted", **options}
    return str(read_corpus(["a.txt"], **settings).content).split("\0")[:-1]


@pytest.mark.parametrize("mark", MARKS)
def test_records_are_what_stands_between_the_lines(mark):
    assert documents(MARKS[mark], mark) == SAYINGS
    assert documents(MARKS[mark], f"  {mark} ") == SAYINGS


LINES = st.lists(st.sampled_from(["%", " % ", "%\t", "%%", "50 %", "", " ", "one", " two"]))


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_a_line_parts_if_it_is_equal_but_for_blanks_at_its_ends(lines, end):
    # Something to learn, and one line that parts.
    lines = ["a first record, long enough", "%", *lines]
    records = [[]]
    for line in lines:
        if line.strip() == "%":
            records.append([])
        else:
            records[-1].append(line)
    expected = []
    for record in records:
        while record and not record[0].strip():
            record = record[1:]
        if text := "\n".join(record).rstrip():
            expected.append(text)
    assert documents(end.join([*lines, ""]), "%") == expected


def test_a_joined_paragraph_ends_at_the_line():
    wide = "a wrapped line of a saying that is as wide as an editor makes it, so"
    saying = f"{wide}\n{wide}\nends"
    found = documents(f"{saying}\n%\n{saying}\n%\n", "%", join_lines=True)
    assert found == [saying.replace("\n", " ")] * 2


@pytest.mark.parametrize(
    "kind, problem",
    [
        ("line:", "documents` is 'line:', without a text"),
        ("line:  ", "documents` is 'line:', without a text"),
        ("line:%%", "a.txt has no line '%%', which parts documents"),
    ],
)
def test_without_such_a_line_the_most_frequent_lines_are_named(kind, problem):
    Path("a.txt").write_text(MARKS["%"])
    with pytest.raises(DataError) as error:
        read_corpus(["a.txt"], documents=kind)
    assert problem in str(error.value)
    named = str(error.value).partition("its most frequent lines are ")[2]
    assert all(f"{line!r} (30 times)" in named for line in ("%", "that goes on.", "-- Ann"))


def test_of_a_folder_some_files_have_the_line():
    Path("texts").mkdir()
    Path("texts/a.txt").write_text(MARKS["%"])
    Path("texts/b.txt").write_text("A record alone\n")
    corpus = read_corpus(["texts"], documents="line:%", order="sorted")
    assert str(corpus.content).split("\0")[:-1] == [*SAYINGS, "A record alone"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_note_proposes_the_line(mark):
    Path("a.txt").write_text(MARKS[mark])
    [note] = read_corpus(["a.txt"]).notes
    assert f"has {MARKS[mark].count(mark)} lines {mark!r}" in note
    assert f"line:{mark}" in note
    assert read_corpus(["a.txt"], documents=f"line:{mark}").notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"Heading {n}\n=======\n\nA paragraph of it.\n\n" for n in range(40)),
        "".join(f"A scene.\n\n* * *\n\nIt ends in {n}.\n" for n in range(40)),
        "".join(f"\\section{{A{n}}}\n%\nIt is so.\n" for n in range(40)),
        "".join(f"if x:\n{{\n  y({n});\n}}\n" for n in range(40)),
        "%\nonce\n",
    ],
)
def test_no_note_proposes_what_parts_no_records(text):
    assert describe_parting(text) == ""


def test_the_names_of_repeated_lines_are_short():
    assert name_repeated(repeated_lines("a\nb\n")) == "no line of it is repeated"
    assert len(name_repeated(repeated_lines(f"{'long ' * 500}\n" * 2))) < 120


@pytest.mark.parametrize("way", ["--documents", "--set", "environment", "config.yaml"])
def test_a_run_takes_the_line_from_every_source_and_keeps_it(command, monkeypatch, way):
    Path("a.txt").write_text(MARKS["<|endoftext|>"])
    kind = "line:<|endoftext|>"
    more = ["a.txt", "--documents", kind]
    if way == "--set":
        more[1:] = ["--set", f"documents={kind}"]
    elif way == "environment":
        monkeypatch.setenv("CHARRNN_DOCUMENTS", kind)
        del more[1:]
    elif way == "config.yaml":
        assert command("train", *more, "--steps", 1, "--hidden-size", 4, "--out", "first").code == 0
        more = ["--recipe", "first/config.yaml"]
    assert command("train", *more, "--steps", 1, "--hidden-size", 4, "--out", "run").code == 0
    monkeypatch.delenv("CHARRNN_DOCUMENTS", raising=False)
    for run, start in (("run", []), ("next", ["--init-from", "run"])):
        if start:
            assert command("train a.txt --steps 1 --out", run, *start).code == 0
        config = charrnn.load(run).config
        assert (config.documents, config.parting_line) == (kind, "<|endoftext|>")
    corpus = read_text_file("a.txt", config)
    assert str(corpus.content).split("\0")[:-1] == SAYINGS


def test_samples_are_parted_as_the_text_was(command):
    Path("a.txt").write_text("ab\n%\n" * 20)
    build_chain(Path("run"), "\0ab\n", corpus=Path("a.txt"), documents="line:%")
    ran = command("sample run --count 3 --length 2 --seed 1")
    written = ran.out.split("\n%\n")
    assert ran.code == 0 and len(written) == 3


def test_a_text_without_the_line_is_one_document_where_it_is_given():
    config = charrnn.Config(documents="line:%", order="sorted")
    Path("b.txt").write_text("A record alone\n")
    corpus = read_text_file("b.txt", config)
    assert (corpus.content, len(corpus.notes)) == ("A record alone\0", 1)
    assert whole_text("one\n%\ntwo", config) == "one\0two\0"
