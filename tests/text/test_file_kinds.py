"""The command that a note or an error names makes the text that it promises."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from charrnn.errors import DataError
from charrnn.text.corpus import read_corpus
from charrnn.text.documents import Documents
from charrnn.text.sources import SORTED

pytestmark = pytest.mark.usefixtures("here")

TALK = "Mara: It rains.\nBen: Stay.\n"
MESSAGE = {"type": "message", "date": "2026-11-28T22:13:07"}
TELEGRAM = {
    "name": "Us",
    "messages": [
        {"type": "service", "from": None, "text": "", "text_entities": []},
        {
            **MESSAGE,
            "from": "Mara",
            "text": [],
            "text_entities": [{"text": "It "}, {"text": "rains."}],
        },
        {**MESSAGE, "from": "Ben", "text": "", "photo": "1.jpg", "text_entities": []},
        {**MESSAGE, "from": "Ben", "text": "Stay.", "text_entities": [{"text": "Stay."}]},
    ],
}
DISCORD = {
    "guild": {"name": "rain"},
    "messages": [
        {"author": {"name": "Mara"}, "content": "It rains."},
        {"author": {"name": "Ben"}, "content": ""},
        {"author": {"name": "Ben"}, "content": "Stay."},
    ],
}
SLACK = [
    {"ts": "1.5", "user": "U1", "text": "It rains.", "user_profile": {"real_name": "Mara"}},
    {"ts": "2.5", "user": "Ben", "text": "Stay."},
]
MAIL = "".join(
    f"From {name}@example.org Sat Jan  3 01:05:34 1998\nSubject: rain\n\n{text}\n\n"
    for name, text in (line.split(": ") for line in TALK.splitlines())
)
FASTA = ">P1 a protein\nMKTAYIAKQR\nQISFVKSHFS\n" * 2
GAME = '[Event "1"]\n[Site "river"]\n\n1. e4 e5\n2. Nf3 Nc6\n\n'
TURNS = [{"role": "Mara", "content": "It rains."}, {"role": "Ben", "content": "Stay."}]
SHARED = [{"from": "Mara", "value": "It rains."}, {"from": "Ben", "value": "Stay."}]
ASKED = {"instruction": "Ask:", "input": "", "output": "It rains today."}


def write_read(content, **options):
    text = content
    if not isinstance(content, str):
        text = json.dumps(content, indent=1)
    Path("a file").write_text(text)
    return read_corpus(["a file"], **options)


def run(command):
    """Run the command of a message; skip the test where its program is missing."""
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    subprocess.run(command, shell=True, check=True)


@pytest.mark.parametrize(
    "content, made, text",
    [
        (TELEGRAM, "chat.txt", TALK),
        ({"chats": {"list": [TELEGRAM]}}, "chat.txt", TALK),
        (DISCORD, "chat.txt", TALK),
        (SLACK, "chat.txt", TALK),
        (MAIL, "text.txt", "It rains.\n\nStay.\n\n"),
        (FASTA, "sequences.txt", "\nMKTAYIAKQRQISFVKSHFS" * 2),
        (GAME * 2, "records.txt", GAME.replace("]\n\n", "]\n") * 2),
    ],
)
def test_the_command_of_a_note_makes_the_text(content, made, text):
    note = write_read(content).notes[0]
    command, name = re.search(r"(?:alone|each), (.* > (\w+\.txt))", note).groups()
    assert name == made
    run(command)
    assert Path(made).read_text() == text


@pytest.mark.parametrize(
    "record",
    [
        "@book{rain,\n  title = {Rain},\n\n  year = {1984},\n}\n\n",
        "RAIN\n\nIt rains\nat night.\n\n",
    ],
)
def test_records_of_two_paragraphs_have_a_command_that_keeps_them_together(record):
    Path("records.in").write_text(record * 60)
    options = {"documents": Documents("blank-lines", order=SORTED)}
    (note,) = read_corpus(["records.in"], **options).notes
    run(re.search("each, (.* > records.txt)", note)[1])
    corpus = read_corpus(["records.txt"], **options)
    assert corpus.content.count("\0") == 60
    assert corpus.notes == ()


@pytest.mark.parametrize("end", ["\nat night.", ".\n\nStay.\n\nAt night\nit rains."])
def test_other_paragraphs_are_no_records(end):
    Path("rain.txt").write_text(f"It rains{end}\n\n" * 60)
    documents = Documents("blank-lines", order=SORTED)
    assert read_corpus(["rain.txt"], documents=documents).notes == ()


@pytest.mark.parametrize(
    "content, texts",
    [
        ([{"messages": TURNS}, {"messages": TURNS[:1]}], [TALK[:-1], "Mara: It rains."]),
        ({"conversations": SHARED}, [TALK[:-1]]),
        ([ASKED], ["Ask:\nIt rains today."]),
        (
            {"data": [{"prompt": "Ask:", "completion": "It rains today."}]},
            ["Ask:\nIt rains today."],
        ),
    ],
)
def test_json_whose_records_have_several_texts_is_refused(content, texts):
    with pytest.raises(DataError, match="write a text for each by jq") as caught:
        write_read(content)
    command = re.search("jq .*texts.jsonl", str(caught.value))[0]
    assert str(caught.value).endswith("`column=text`, or a file as it stands by `clean=false`")
    assert write_read(content, is_cleaned=False).notes
    run(command)
    documents = Documents("column", column="text", order=SORTED)
    assert read_corpus(["texts.jsonl"], documents=documents).content == "\0".join([*texts, ""])


def test_a_column_with_the_turns_of_a_conversation_is_not_torn():
    documents = Documents("column", column="messages", order=SORTED)
    with pytest.raises(DataError, match=r"conversations in JSON: .* texts\.jsonl"):
        write_read(json.dumps({"messages": TURNS}) + "\n", documents=documents)
    documents = Documents("column", column="text", order=SORTED)
    both = json.dumps({"text": "It rains all day.", "messages": TURNS}) + "\n"
    assert write_read(both, documents=documents).content == "It rains all day.\0"
